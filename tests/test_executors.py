"""The contract that every executor keeps, and the clauses that only processes can."""
from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from microlam.executors import Executor
from microlam.executors.cgroups import find_groups
from microlam.executors.inprocess import InProcess
from microlam.executors.interpreters import Interpreters
from microlam.model import Outcome, Version, function_arn, new_id
from tests.conftest import OpenLab, lives, write
from tests.labs import LOG_LIMIT, Lab, lines, new_processes, output, until


@pytest.fixture(params=["processes", "inprocess"])
def lab(request: pytest.FixtureRequest, open_lab: OpenLab) -> Lab:
    """Each executor in turn: what holds for one holds for the other."""
    return open_lab() if request.param == "processes" else open_lab(InProcess(log_limit=LOG_LIMIT))


@pytest.fixture
def processes(open_lab: OpenLab) -> Lab:
    """Processes alone, for what only they can keep."""
    return open_lab()


# ---- replies ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("expression", "reply"), [
    ("{'a': [1, 2.5, True, None, 'x']}", b'{"a": [1, 2.5, true, null, "x"]}'),
    ("None", b"null"),
    ("'text'", b'"text"'),
    ("(1, 2)", b"[1, 2]"),
    ("{1: 2}", b'{"1": 2}'),
    ("float('nan')", b"NaN"),
    ("__import__('decimal').Decimal('1.50')", b"1.50"),
    ("{'a': [__import__('decimal').Decimal('1E+2'), __import__('decimal').Decimal('NaN')]}", b'{"a": [1E+2, NaN]}'),
    ("b'\\x00raw'", b"\x00raw"),
    ("{'a': b'bytes'}", b'{"a": "bytes"}'),
])
async def test_what_a_handler_returns_becomes_json(lab: Lab, expression: str, reply: bytes) -> None:
    outcome = await lab.run(lab.function(f"def handler(event, context): return {expression}"))
    assert (outcome.status, outcome.payload) == ("succeeded", reply)


async def test_text_that_is_not_ascii_is_escaped_up_to_python_3_11(lab: Lab) -> None:
    outcome = await lab.run(lab.function("def handler(event, context): return event + 'ß'"), "ä")
    assert outcome.payload == (b'"\\u00e4\\u00df"' if sys.version_info < (3, 12) else '"äß"'.encode())


async def test_an_event_of_six_megabytes_comes_and_goes_whole(lab: Lab) -> None:
    text = "0123456789" * 600_000
    assert await lab.value("def handler(event, context): return event", text) == text


async def test_a_reply_beyond_the_limit_is_an_error(lab: Lab) -> None:
    exact, over = lab.function("def handler(event, context): return 'x' * event"), 6_291_556 - 2
    assert (await lab.run(exact, over)).ok
    outcome = await lab.run(exact, over + 1)
    assert outcome.status == "failed"
    assert outcome.payload == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
    )


async def test_coroutines_are_awaited_on_a_loop_that_stays(lab: Lab) -> None:
    version = lab.function("""
        import asyncio
        kept = None
        async def handler(event, context):
            global kept
            kept = kept or asyncio.get_running_loop().create_future()
            before = kept.done()
            await asyncio.sleep(0)
            if not before:
                kept.set_result(1)
            return [before, kept.get_loop() is asyncio.get_running_loop()]
    """)
    assert [(await lab.run(version)).value for _ in range(2)] == [[False, True], [True, True]]


async def test_many_at_once_each_get_their_own_reply(lab: Lab) -> None:
    version = lab.function("def handler(event, context): return [event, context.aws_request_id]")
    ids = [new_id() for _ in range(60)]
    outcomes = await asyncio.gather(*(lab.run(version, number, id=id) for number, id in enumerate(ids)))
    assert [outcome.value for outcome in outcomes] == [[number, id] for number, id in enumerate(ids)]


# ---- errors ----------------------------------------------------------------------------------------------------------

async def test_a_failing_handler_gives_the_error_object_of_aws(lab: Lab) -> None:
    version = lab.function("def handler(event, context):\n    raise Exception(\"Handler fails\")\n")
    outcome = await lab.run(version, id="6a36dcc0-1")
    assert outcome.status == "failed"
    assert list(json.loads(outcome.payload).items()) == [
        ("errorMessage", "Handler fails"), ("errorType", "Exception"), ("requestId", "6a36dcc0-1"),
        ("stackTrace", [f"  File \"{version.root}/hello.py\", line 2, in handler\n    raise Exception(\"Handler fails\")\n"]),
    ]
    assert output(outcome) == [
        "[ERROR] Exception: Handler fails", "Traceback (most recent call last):",
        f"\u00a0\u00a0File \"{version.root}/hello.py\", line 2, in handler", "\u00a0\u00a0\u00a0\u00a0raise Exception(\"Handler fails\")",
    ]
    assert (await lab.run(version)).status == "failed", "it goes on"


async def test_a_coroutines_traceback_begins_with_the_handler(lab: Lab) -> None:
    outcome = await lab.run(lab.function("async def handler(event, context):\n    1 / 0\n"))
    assert outcome.error is not None
    assert [re.sub(r'".*/', '"', line) for line in outcome.error["stackTrace"]] == [  # type: ignore[attr-defined]
        '  File "hello.py", line 2, in handler\n    1 / 0\n',
    ]


@pytest.mark.parametrize(("files", "handler", "kind", "message"), [
    ({"other.py": ""}, "hello.handler", "Runtime.ImportModuleError", "Unable to import module 'hello': No module named 'hello'"),
    ({"hello.py": "import missing_thing"}, "hello.handler", "Runtime.ImportModuleError", "Unable to import module 'hello': No module named 'missing_thing'"),
    ({"hello.py": "x = 1"}, "hello.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'hello'"),
    ({"hello.py": "def handler(:"}, "hello.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'hello': invalid syntax (hello.py, line 1)"),
    ({"hello.py": ""}, "hello", "Runtime.MalformedHandlerName", "Bad handler 'hello': not enough values to unpack (expected 2, got 1)"),
    ({"sys.py": ""}, "sys.handler", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
    ({"hello.py": "1 / 0"}, "hello.handler", "ZeroDivisionError", "division by zero"),
])
async def test_a_handler_that_cannot_be_imported_says_why_in_awss_words(lab: Lab, files: dict[str, str], handler: str, kind: str, message: str) -> None:
    version = lab.function(files, handler=handler)
    outcome = await lab.run(version, id="the-id")
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert (outcome.error["errorType"], outcome.error["errorMessage"], outcome.error["requestId"]) == (kind, message, "the-id")
    assert f"[ERROR] {kind}: {message}" in lines(outcome)
    assert (await lab.run(version)).error["errorType"] == kind, "each time anew"  # type: ignore[index]


async def test_a_traceback_of_an_import_shows_nothing_of_the_runtime(lab: Lab) -> None:
    version = lab.function({"hello.py": "import helper", "helper.py": "1 / 0"})
    outcome = await lab.run(version)
    assert outcome.error is not None
    trace: Any = outcome.error["stackTrace"]
    assert not [frame for frame in trace if "microlam/executors" in frame]
    assert [frame for frame in trace if version.root in frame] == [
        f'  File "{version.root}/hello.py", line 1, in <module>\n    import helper\n', f'  File "{version.root}/helper.py", line 1, in <module>\n    1 / 0\n',
    ]


async def test_a_syntax_error_shows_where(lab: Lab) -> None:
    version = lab.function("x = 1\ndef handler(:\n")
    outcome = await lab.run(version)
    assert outcome.error is not None
    assert outcome.error["stackTrace"] == [f'  File "{version.root}/hello.py" Line 2\n    def handler(:\n']


@pytest.mark.parametrize(("body", "kind", "message"), [
    ("return {1, 2}", "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable"),
    ("return (x for x in 'a')", "Runtime.MarshalError", "Unable to marshal response: Object of type generator is not JSON serializable"),
    ("return {(1, 2): 3}", "Runtime.MarshalError", "Unable to marshal response: keys must be str, int, float, bool or None, not tuple"),
    ("event = []; event.append(event); return event", "Runtime.MarshalError", "Unable to marshal response: Circular reference detected"),
    ("raise Silent()", "Silent", "<exception str() failed>"),
    ("return handler(event, context)", "RecursionError", "maximum recursion depth exceeded"),
    ("raise ValueError('\\ud800')", "ValueError", "\ud800"),
])
async def test_whatever_a_handler_raises_or_returns_there_is_an_error_object(lab: Lab, body: str, kind: str, message: str) -> None:
    version = lab.function(f"""
        class Silent(Exception):
            def __str__(self): raise ValueError
        def handler(event, context):
            if event:
                return "fine"
            {body}
    """)
    outcome = await lab.run(version)
    assert outcome.status == "failed"
    error = json.loads(outcome.payload)
    assert error["errorType"] == kind
    assert error["errorMessage"].startswith(message)
    assert (await lab.run(version, 1)).value == "fine"


async def test_an_event_that_is_not_json_is_the_runtimes_error(lab: Lab) -> None:
    outcome = await lab.run(lab.function("def handler(event, context): return 1"), b"{")
    assert outcome.error is not None
    assert outcome.error["errorType"] == "Runtime.UnmarshalError"
    assert str(outcome.error["errorMessage"]).startswith("Unable to unmarshal input: Expecting property name enclosed in double quotes")


@pytest.mark.parametrize(("code", "reason"), [
    ("sys.exit()", "Runtime exited without providing a reason"),
    ("sys.exit(0)", "Runtime exited without providing a reason"),
    ("sys.exit(3)", "Runtime exited with error: exit status 3"),
    ("sys.exit(-2)", "Runtime exited with error: exit status 254"),
    ("sys.exit(2 ** 70)", "Runtime exited with error: exit status 255"),
    ("sys.exit('bye')", "Runtime exited with error: exit status 1"),
    # AWS's runtime catches what is an Exception, and nothing else.
    ("raise KeyboardInterrupt('bye')", "Runtime exited with error: exit status 1"),
    ("raise GeneratorExit('bye')", "Runtime exited with error: exit status 1"),
    ("raise asyncio.CancelledError('bye')", "Runtime exited with error: exit status 1"),
    ("raise type('Own', (BaseException,), {})('bye')", "Runtime exited with error: exit status 1"),
])
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_leaving_is_an_exit_error_and_the_next_one_is_served(lab: Lab, kind: str, code: str, reason: str) -> None:
    version = lab.function(f"""
        import asyncio, sys
        {kind} handler(event, context):
            if event:
                return event
            {code}
    """)
    outcome = await lab.run(version, id="the-id")
    assert outcome.status == "crashed"
    assert json.loads(outcome.payload) == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: the-id Error: {reason}"}
    assert outcome.payload.startswith(b'{"errorType"')
    assert [line for line in output(outcome) if line.endswith("bye")] == [line for line in output(outcome)[-3:-2] if "bye" in code]
    assert (await lab.run(version, 1)).value == 1


@pytest.mark.parametrize(("code", "reason", "words"), [
    ("sys.exit()", "Runtime exited without providing a reason", ""),
    ("sys.exit(3)", "Runtime exited with error: exit status 3", ""),
    ("sys.exit('bye')", "Runtime exited with error: exit status 1", "bye"),
    ("raise KeyboardInterrupt('bye')", "Runtime exited with error: exit status 1", "KeyboardInterrupt: bye"),
])
async def test_leaving_at_import_is_an_exit_error_too(lab: Lab, code: str, reason: str, words: str) -> None:
    version = lab.function(f"import sys\nprint('before')\n{code}\n")
    warmed = await lab.executor.warm(version)
    assert warmed is not None
    for outcome in (await lab.run(version, id="the-id"), warmed):
        assert outcome.status == "crashed"
        assert outcome.error is not None
        assert (outcome.error["errorType"], str(outcome.error["errorMessage"]).partition("Error: ")[2]) == ("Runtime.ExitError", reason)
        told = lines(outcome)
        assert told[1] == "before"
        assert [line for line in told if line.endswith("bye")] == ([words] if words else [])
        report = next(line for line in told if line.startswith("INIT_REPORT"))
        assert re.fullmatch(r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError", report)
        assert told.index(report) < told.index(next(line for line in told if line.startswith("START ")))
        assert told[-1].endswith("Status: error\tError Type: Runtime.ExitError")


@pytest.mark.parametrize("make", [new_processes, lambda folder, **settings: InProcess(**settings)], ids=["processes", "inprocess"])
async def test_an_import_that_hangs_is_given_up(open_lab: OpenLab, tmp_path: Path, make: Callable[..., Executor]) -> None:
    lab = open_lab(make(tmp_path, init_timeout=1.0))
    gate = tmp_path / "gate"
    version = lab.function(f"""
        import os, time
        print("before")
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.01)
        def handler(event, context): return event
    """, timeout=0.5)
    warming = asyncio.create_task(lab.executor.warm(version))
    for outcome in (*await asyncio.gather(*(lab.run(version, id="the-id") for _ in range(3))), await warming):
        assert outcome is not None
        assert (outcome.status, outcome.duration) == ("timed_out", 1.0)
        assert outcome.error is not None
        assert outcome.error["errorType"] == "Sandbox.Timedout"
        assert str(outcome.error["errorMessage"]).endswith(" Error: Task timed out after 1.00 seconds of import")
        told = lines(outcome)
        assert told[-1].endswith("Status: timeout")
        assert "INIT_REPORT Init Duration: 1000.00 ms\tPhase: init\tStatus: timeout" in told
    gate.touch()
    assert (await lab.run(version, 1)).value == 1


async def test_a_warming_that_is_cancelled_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    version = lab.function(f"""
        import os, time
        open({str(tmp_path / 'began')!r}, "w").close()
        while not os.path.exists({str(tmp_path / 'go')!r}):
            time.sleep(0.01)
        def handler(event, context): return event
    """)
    finders = list(sys.meta_path)
    warming = asyncio.create_task(lab.executor.warm(version))
    await until(lambda: (tmp_path / "began").exists())
    warming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await warming
    assert lab.executor.statistics().workers == ()
    assert sys.meta_path == finders
    (tmp_path / "go").touch()
    outcome = await lab.run(version, 1)
    assert (outcome.value, outcome.cold) == (1, True)


@pytest.mark.parametrize("code", [
    "import time\ndef handler(event, context):\n    if event: return event\n    print('before')\n    time.sleep(1)",
    "import asyncio\nasync def handler(event, context):\n    if event: return event\n    print('before')\n    await asyncio.sleep(60)",
])
async def test_at_its_deadline_an_invocation_ends(lab: Lab, code: str) -> None:
    version = lab.function(code, timeout=0.3)
    outcome = await lab.run(version, id="the-id")
    assert outcome.status == "timed_out"
    assert outcome.payload == b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: the-id Error: Task timed out after 0.30 seconds"}'
    assert outcome.duration == 0.3
    printed = outcome.logs.decode()
    assert "before\n" in printed
    assert re.search(r"\d\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ the-id Task timed out after 0\.30 seconds\n\nEND ", printed)
    assert printed.endswith("\tStatus: timeout\n")
    assert (await lab.run(version, 1)).value == 1


# ---- what a handler sees ---------------------------------------------------------------------------------------------

async def test_the_context_tells_of_function_and_invocation(lab: Lab) -> None:
    version = lab.function("""
        def handler(event, context):
            return {
                "name": context.function_name, "version": context.function_version, "arn": context.invoked_function_arn,
                "memory": context.memory_limit_in_mb, "id": context.aws_request_id, "group": context.log_group_name,
                "stream": context.log_stream_name, "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
                "client": context.client_context, "tenant": context.tenant_id, "left": context.get_remaining_time_in_millis(),
                "type": type(context).__name__,
            }
    """, memory=256, timeout=60.0, number="7")
    outcome = await lab.run(version, id="the-id", qualifier="live")
    seen: Any = outcome.value
    assert 50_000 < seen.pop("left") <= 60_000
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[7\][0-9a-f]{32}", seen["stream"])
    assert seen.pop("stream") == outcome.log_stream
    assert seen == {
        "name": "hello", "version": "7", "arn": f"{version.arn}:live", "memory": "256", "id": "the-id", "group": "/aws/lambda/hello",
        "identity": [None, None], "client": None, "tenant": None, "type": "LambdaContext",
    }


async def test_the_client_context_comes_through(lab: Lab) -> None:
    version = lab.function("""
        def handler(event, context):
            client = context.client_context
            return [client.custom, client.env, client.client.app_title, client.client.installation_id]
    """)
    told = json.dumps({"custom": {"a": "1"}, "env": {"b": "2"}, "client": {"app_title": "t"}})
    assert (await lab.run(version, client_context=told)).value == [{"a": "1"}, {"b": "2"}, "t", None]
    broken = await lab.run(version, client_context="{")
    assert broken.error is not None
    assert broken.error["errorType"] == "Runtime.LambdaContextUnmarshalError"


@pytest.mark.parametrize("handler", ["folder/module.handler", "folder.module.handler"])
async def test_a_handler_may_lie_in_a_folder(lab: Lab, handler: str) -> None:
    module = "from folder import other\nimport top\nfrom .other import word\ndef handler(event, context): return [other.word, top.x, word]"
    files = {"folder/module.py": module, "folder/__init__.py": "", "folder/other.py": "word = 'found'", "top.py": "x = 1"}
    assert await lab.value(files, handler=handler) == ["found", 1, "found"]


async def test_functions_of_one_name_each_import_their_own(lab: Lab) -> None:
    files = {"hello.py": "import helper\ndef handler(event, context):\n    from helper import word\n    return [helper.word, word]"}
    first = lab.function({**files, "helper.py": "word = 1"}, name="one")
    second = lab.function({**files, "helper.py": "word = 2"}, name="two")
    assert [(await lab.run(version)).value for version in (first, second, first)] == [[1, 1], [2, 2], [1, 1]]
    assert "helper" not in sys.modules


async def test_installed_requirements_come_after_the_package(lab: Lab, tmp_path: Path) -> None:
    for name, word in (("wanted.py", "'requirement'"), ("both.py", "'requirement'")):
        (tmp_path / "installed").mkdir(exist_ok=True)
        (tmp_path / "installed" / name).write_text(f"word = {word}")
    files = {"hello.py": "import wanted, both\ndef handler(event, context): return [wanted.word, both.word]", "both.py": "word = 'package'"}
    assert await lab.value(files, path=(str(tmp_path / "installed"),)) == ["requirement", "package"]


async def test_tracebacks_name_the_file_that_its_author_edits(lab: Lab, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    edited.mkdir()
    files = {"hello.py": "import helper\ndef handler(event, context):\n    return helper.fail()", "helper.py": "def fail():\n    raise ValueError(__file__)"}
    version = lab.function(files, source=str(edited), sha256="abc")
    (edited / "helper.py").write_text("# quite\n# another text\n")
    for _ in range(2):
        outcome = await lab.run(version)
        assert outcome.error is not None
        assert outcome.error["errorMessage"] == f"{version.root}/helper.py"
        trace: Any = outcome.error["stackTrace"]
        assert [line.partition(", line")[0] for line in trace] == [f'  File "{edited}/hello.py"', f'  File "{edited}/helper.py"']
        await lab.executor.retire(version)


# ---- logs ------------------------------------------------------------------------------------------------------------

async def test_the_log_is_as_lambda_writes_it(lab: Lab) -> None:
    version = lab.function("""
        print("at import")
        def handler(event, context):
            print("hello", event)
            context.log("from context\\n")
    """)
    cold, warm = await lab.run(version, 1, id="id-1"), await lab.run(version, 2, id="id-2")
    assert (cold.cold, warm.cold) == (True, False)
    assert cold.init is not None
    number = r"\d+\.\d\d"
    patterns = [
        r"INIT_START Runtime Version: python:3\.\d+\.v\d+\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", "at import",
        r"START RequestId: id-1 Version: \$LATEST", "hello 1", "from context", "END RequestId: id-1",
        rf"REPORT RequestId: id-1\tDuration: {number} ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: {number} ms\t",
    ]
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, lines(cold), strict=True)), lines(cold)
    patterns = [
        r"START RequestId: id-2 Version: \$LATEST", "hello 2", "from context", "END RequestId: id-2",
        rf"REPORT RequestId: id-2\tDuration: {number} ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\t",
    ]
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, lines(warm), strict=True)), lines(warm)


async def test_logging_looks_as_on_lambda(lab: Lab) -> None:
    outcome = await lab.run(lab.function("""
        import logging
        def handler(event, context):
            logging.getLogger("mine").warning("careful %s", 1)
            logging.info("not shown")
    """), id="the-id")
    assert len(output(outcome)) == 1
    assert re.fullmatch(r"\[WARNING\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ\tthe-id\tcareful 1", output(outcome)[0])


async def test_each_record_begins_its_own_line(lab: Lab) -> None:
    outcome = await lab.run(lab.function("""
        import logging
        def handler(event, context):
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("failed")
            logging.warning("where", stack_info=True)
            context.log("one")
            context.log("two\\n")
            logging.warning("last")
    """))
    told = output(outcome)
    assert [line.split("\t")[-1] for line in told if line.startswith("[")] == ["failed", "where", "last"]
    assert told[-3:-1] == ["one", "two"]
    assert "ZeroDivisionError: division by zero" in told


async def test_logs_may_be_json(lab: Lab) -> None:
    version = lab.function("""
        import logging
        def handler(event, context):
            try:
                1 / 0
            except ZeroDivisionError:
                logging.getLogger("mine").error("oh %s", "no", exc_info=True, extra={"order": 7})
            raise ValueError("end")
    """, log_format="JSON")
    outcome = await lab.run(version, id="the-id")
    events = [json.loads(line) for line in lines(outcome)]
    assert [event.get("type") for event in events] == ["platform.initStart", "platform.start", None, None, "platform.report"]
    logged, failed, report = events[2], events[3], events[4]
    assert {name: logged[name] for name in ("level", "message", "logger", "requestId", "order", "errorType", "errorMessage")} == {
        "level": "ERROR", "message": "oh no", "logger": "mine", "requestId": "the-id", "order": 7,
        "errorType": "ZeroDivisionError", "errorMessage": "division by zero",
    }
    assert (failed["level"], failed["errorType"], failed["errorMessage"]) == ("ERROR", "ValueError", "end")
    assert report["record"]["requestId"] == "the-id"
    assert set(report["record"]["metrics"]) == {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"}


async def test_output_beyond_the_limit_is_counted_and_dropped(lab: Lab) -> None:
    version = lab.function("def handler(event, context):\n    for _ in range(event): print('x' * 999)")
    outcome = await lab.run(version, LOG_LIMIT // 1000 + 50)
    assert output(outcome)[-1] == f"[microlam] at least 50000 more bytes of output were dropped: an invocation keeps {LOG_LIMIT}."
    assert len(outcome.logs) < LOG_LIMIT + 1000
    assert output(await lab.run(version, 1)) == ["x" * 999]


async def test_each_event_of_a_json_log_has_its_own_time(lab: Lab) -> None:
    version = lab.function("""
        import time
        imported = time.time()
        def handler(event, context):
            began = time.time()
            time.sleep(0.02)
            return [imported, began, time.time()]
    """, log_format="JSON")
    assert await lab.executor.warm(version) is None
    outcome = await lab.run(version)
    times: Any = outcome.value
    imported, began, ended = times
    told = {event["type"]: datetime.fromisoformat(event["time"]).timestamp() for event in map(json.loads, lines(outcome))}
    # They are told to the millisecond.
    assert told["platform.initStart"] <= imported < told["platform.start"] + 0.001
    assert told["platform.start"] <= began < ended < told["platform.report"] + 0.001


async def test_threads_that_a_handler_starts_are_its_own(lab: Lab) -> None:
    version = lab.function("""
        import asyncio, logging, os, threading
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(1)
        def look(way, event):
            print(way, event, os.environ["AWS_LAMBDA_FUNCTION_NAME"], os.environ["MINE"])
            logging.warning(way)
        class Own(threading.Thread):
            def __init__(self, event):
                super().__init__()
                self.event = event
            def run(self):
                look("own", self.event)
        async def handler(event, context):
            for thread in threading.Thread(target=look, args=("thread", event)), Own(event), threading.Timer(0, look, ("timer", event)):
                thread.start()
                thread.join()
            pool.submit(look, "pool", event).result()
            list(pool.map(look, ["map"], [event]))
            await asyncio.get_running_loop().run_in_executor(None, look, "loop", event)
            await asyncio.to_thread(look, "to_thread", event)
    """, environment={"MINE": "yes"})
    for event in (1, 2):    # the pools' threads are there already
        outcome = await lab.run(version, event)
        assert outcome.ok, outcome.payload
        ways = ("thread", "own", "timer", "pool", "map", "loop", "to_thread")
        assert [line.split("\t")[-1] for line in output(outcome)] == [line for way in ways for line in (f"{way} {event} hello yes", way)]


async def test_output_of_invocations_at_once_is_never_mixed(lab: Lab) -> None:
    version = lab.function("""
        import logging, asyncio
        async def handler(event, context):
            for number in range(20):
                print(event, number)
                logging.warning("%s %s", event, number)
                await asyncio.sleep(0)
    """)
    outcomes = await asyncio.gather(*(lab.run(version, number) for number in range(30)))
    for number, outcome in enumerate(outcomes):
        assert [line.split("\t")[-1] for line in output(outcome)] == [f"{number} {index}" for index in range(20) for _ in range(2)]


# ---- coming and going ------------------------------------------------------------------------------------------------

async def test_context_variables_of_a_coroutine_are_its_own(lab: Lab) -> None:
    version = lab.function("""
        from contextvars import ContextVar
        seen = ContextVar("seen", default="nothing")
        async def handler(event, context):
            before = seen.get()
            seen.set(event)
            return before
    """)
    assert [(await lab.run(version, event)).value for event in ("a", "b", "c")] == ["nothing"] * 3


async def test_warming_imports_ahead(lab: Lab) -> None:
    version = lab.function("print('imported')\ndef handler(event, context): return 1")
    assert await lab.executor.warm(version) is None
    outcome = await lab.run(version)
    assert (outcome.value, outcome.cold, outcome.init) == (1, False, None)
    assert "imported" in lines(outcome), "what the import printed is not lost"


async def test_warming_what_does_not_import_gives_the_error(lab: Lab) -> None:
    failed = await lab.executor.warm(lab.function("import missing_thing"))
    assert failed is not None
    assert failed.error is not None
    assert failed.error["errorType"] == "Runtime.ImportModuleError"


async def test_retiring_lets_what_runs_finish(lab: Lab, tmp_path: Path) -> None:
    version = lab.function(f"""
        import asyncio, os
        async def handler(event, context):
            open({str(tmp_path / 'began')!r}, "w").close()
            while not os.path.exists({str(tmp_path / 'go')!r}):
                await asyncio.sleep(0.005)
            return "finished"
    """, timeout=30.0)
    running = asyncio.create_task(lab.run(version))
    await until(lambda: (tmp_path / "began").exists())
    retiring = asyncio.create_task(lab.executor.retire(version))
    await asyncio.sleep(0)
    assert not retiring.done()
    (tmp_path / "go").touch()
    assert (await running).value == "finished"
    await retiring
    assert lab.executor.statistics().workers == ()
    assert (await lab.run(version)).value == "finished", "who resolved it just before is still served"


async def test_a_cancelled_run_leaves_no_reply_behind(lab: Lab, tmp_path: Path) -> None:
    version = lab.function(f"""
        import asyncio
        async def handler(event, context):
            if event:
                return event
            open({str(tmp_path / 'began')!r}, "w").close()
            await asyncio.sleep(60)
    """, timeout=60.0)
    running = asyncio.create_task(lab.run(version))
    await until(lambda: (tmp_path / "began").exists())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [(await lab.run(version, number)).value for number in (1, 2)] == [1, 2]


async def test_statistics_tell_what_is_there(lab: Lab) -> None:
    version = lab.function("def handler(event, context): return 1", number="3")
    for _ in range(3):
        await lab.run(version)
    worker, = lab.executor.statistics().workers
    assert (worker.key, worker.name, worker.number, worker.busy, worker.invocations) == (version.key, "hello", "3", False, 3)
    assert lives(worker.pid)
    assert worker.memory > 1_000_000


async def test_errors_in_a_row_do_not_wear_it_out(lab: Lab) -> None:
    version = lab.function("def handler(event, context): raise ValueError(event)")
    outcomes = await asyncio.gather(*(lab.run(version, number) for number in range(100)))
    assert [outcome.error["errorMessage"] for outcome in outcomes if outcome.error] == [str(number) for number in range(100)]


# ---- in process only -------------------------------------------------------------------------------------------------

async def test_a_registered_coroutine_shares_the_hosts_objects(open_lab: OpenLab, tmp_path: Path) -> None:
    executor, seen = InProcess(), []

    async def handler(event: object, context: Any) -> str:
        seen.append(event)
        return str(context.function_name)

    version = Version(arn=function_arn("mine"), handler="", runtime="python3.11", root=str(tmp_path), executor="inprocess")
    executor.register(version, handler)
    assert (await open_lab(executor).run(version, {"a": 1})).value == "mine"
    assert seen == [{"a": 1}]


async def test_the_hosts_own_output_passes_by(open_lab: OpenLab, capsys: pytest.CaptureFixture[str]) -> None:
    lab, stdout, path = open_lab(InProcess()), sys.stdout, list(sys.path)
    version = lab.function("import asyncio\nasync def handler(event, context):\n    print('inner')\n    await asyncio.sleep(0.05)")
    running = asyncio.create_task(lab.run(version))
    await until(lambda: sys.stdout is not stdout)
    print("outer")
    assert output(await running) == ["inner"]
    assert sys.path == path
    await lab.executor.close()
    assert sys.stdout is stdout
    assert capsys.readouterr().out == "outer\n"
    assert not [name for name in sys.modules if name.startswith("_microlam_")]


# ---- processes only: what a handler sees -----------------------------------------------------------------------------

async def test_within_the_host_a_handler_has_its_own_variables_and_the_host_keeps_its(open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED", "the host's")
    monkeypatch.setenv("MINE", "the host's")
    before, lab = os.environ, open_lab(InProcess(endpoint_url="http://127.0.0.1:3000"))
    code = """
        import os
        AT_IMPORT = os.environ["MINE"]
        def handler(event, context):
            os.environ["WRITTEN"] = "1"
            os.environ.pop("SHARED", None)
            return [AT_IMPORT, os.getenv("MINE"), os.getenv("AWS_LAMBDA_FUNCTION_NAME"), os.getenv("AWS_ENDPOINT_URL"), "SHARED" in os.environ,
                    dict(os.environ).get("WRITTEN"), os.environ.get("PATH") is not None, len(os.environ) == len(list(os.environ))]
        """
    asynchronous = code.replace("def handler", "async def handler")
    for number, text in (("1", code), ("2", asynchronous)):
        assert await lab.value(text, name="shop", number=number, environment={"MINE": "yes"}) == ["yes", "yes", "shop", "http://127.0.0.1:3000", False, "1", True, True]
    assert (os.environ["SHARED"], os.environ["MINE"], os.getenv("WRITTEN"), os.getenv("AWS_LAMBDA_FUNCTION_NAME")) == ("the host's", "the host's", None, None)
    os.environ["AFTER"] = "seen"
    await lab.executor.close()
    assert os.environ is before
    assert os.environ.pop("AFTER") == "seen"


async def test_threads_and_pools_of_the_host_stay_its_own(open_lab: OpenLab, capsys: pytest.CaptureFixture[str]) -> None:
    hosts, loop = (threading.Thread.start, ThreadPoolExecutor.submit), asyncio.get_running_loop()
    lab = open_lab(InProcess())
    version = lab.function("""
        import asyncio
        async def handler(event, context):
            await asyncio.get_running_loop().run_in_executor(None, print, "the handler's")
            await asyncio.sleep(event)
    """, timeout=60.0)
    with ThreadPoolExecutor(1) as pool:
        loop.set_default_executor(pool)
        assert output(await lab.run(version, 0)) == ["the handler's"]
        running = asyncio.create_task(lab.run(version, 60))
        await until(lambda: lab.executor.statistics().workers[0].busy)
        # Its thread was started for a handler.
        assert await loop.run_in_executor(None, os.environ.get, "AWS_LAMBDA_FUNCTION_NAME") is None
        await loop.run_in_executor(None, print, "the host's")
        thread = threading.Thread(target=print, args=("the host's too",))
        thread.start()
        thread.join()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await lab.executor.close()
    assert capsys.readouterr().out == "the host's\nthe host's too\n"
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == hosts


async def test_what_outlives_its_import_or_invocation_prints_to_the_host(
    open_lab: OpenLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])    # as in a host that has set up none
    lab = open_lab(InProcess())
    version = lab.function("""
        import asyncio, logging, threading
        gate, turn, kept = threading.Event(), threading.Lock(), []
        def late(whose, log=None):
            gate.wait()
            with turn:
                print(whose, "printed")
                logging.error("%s logged", whose)
                if log: log(f"{whose} told its context")
        async def later():
            await asyncio.to_thread(late, "task")
        kept.append(threading.Thread(target=late, args=("import",)))
        kept[0].start()
        async def handler(event, context):
            print("printed in time")
            if event == "begin":
                kept.append(threading.Thread(target=late, args=("invocation", context.log)))
                kept[1].start()
                kept.append(asyncio.create_task(later()))
            else:
                gate.set()
                await kept.pop()
                for thread in kept: thread.join()
    """)
    for event in ("begin", "end"):
        outcome = await lab.run(version, event)
        assert (outcome.ok, output(outcome)) == (True, ["printed in time"])
    told = capsys.readouterr()
    assert sorted(told.out.splitlines()) == ["import printed", "invocation printed", "invocation told its context", "task printed"]
    assert sorted(told.err.splitlines()) == ["import logged", "invocation logged", "task logged"]


async def test_nothing_of_the_hosts_credentials_is_seen_within_it(open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "the host's")
    seen = await open_lab(InProcess()).value("import os\ndef handler(event, context): return [name for name, value in os.environ.items() if value == \"the host's\"]")
    assert seen == []


async def test_the_environment_is_lambdas(processes: Lab) -> None:
    code = "import os\ndef handler(event, context): return dict(os.environ)"
    version = processes.function(code, name="shop", number="4", environment={"MINE": "yes", "AWS_REGION": "no"})
    outcome = await processes.run(version)
    seen: Any = outcome.value
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", seen.pop("_X_AMZN_TRACE_ID"))
    folder, runtime = seen.pop("TMPDIR"), seen.pop("LAMBDA_RUNTIME_DIR")
    assert Path(folder).is_dir()
    assert seen == {
        "_HANDLER": "hello.handler", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_FUNCTION_NAME": "shop", "AWS_LAMBDA_FUNCTION_VERSION": "4", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/shop", "AWS_LAMBDA_LOG_STREAM_NAME": outcome.log_stream,
        "AWS_LAMBDA_LOG_FORMAT": "Text", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:3000", "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token", "AWS_ENDPOINT_URL": "http://127.0.0.1:3000",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true", "LAMBDA_TASK_ROOT": version.root, "MICROLAM": "1", "TZ": ":UTC", "PYTHONPATH": runtime, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "MINE": "yes",
    }


async def test_a_handler_signs_as_its_own_account(processes: Lab) -> None:
    code = "import os\ndef handler(event, context): return os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_REGION']"
    assert await processes.value(code, arn=function_arn("theirs", "eu-west-1", "111122223333")) == ["111122223333", "eu-west-1"]


async def test_the_trace_id_is_each_invocations_own(processes: Lab) -> None:
    version = processes.function("import os\ndef handler(event, context): return os.environ['_X_AMZN_TRACE_ID']")
    assert len({(await processes.run(version)).value for _ in range(3)}) == 3


async def test_the_servers_environment_cannot_be_read(processes: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-servers-own")
    assert await processes.value("def handler(event, context): return open('/proc/self/environ').read()") == "LANG=C.UTF-8\x00"


async def test_the_process_looks_like_a_lambda(processes: Lab) -> None:
    version = processes.function("""
        import os, sys, signal, threading, time, logging, tempfile
        def handler(event, context):
            return {
                "cwd": os.getcwd(), "path": sys.path[0], "stdout": [sys.stdout.fileno(), sys.stderr.fileno()], "stdin": sys.stdin.read(),
                "handlers": [signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler) for number in (2, 15, 17)],
                "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "threads": threading.active_count(),
                "zone": time.tzname[0], "loggers": len(logging.getLogger().handlers), "level": logging.getLogger().level,
                "group": os.getpgid(0) == os.getpid() == os.getsid(0), "temporary": tempfile.gettempdir() == os.environ["TMPDIR"],
                "exit": exit.__class__.__name__,
            }
    """)
    assert (await processes.run(version)).value == {
        "cwd": version.root, "path": version.root, "stdout": [1, 2], "stdin": "", "handlers": [True, True, True], "blocked": 0, "threads": 1,
        "zone": "UTC", "loggers": 1, "level": 30, "group": True, "temporary": True, "exit": "Quitter",
    }


async def test_a_worker_holds_no_descriptors_but_its_own(processes: Lab) -> None:
    version = processes.function("""
        import os
        def handler(event, context):
            held = []
            for number in range(1000):
                try:
                    held.append(os.readlink(f"/proc/self/fd/{number}").partition(":")[0])
                except OSError:
                    pass
            return held
    """)
    await asyncio.gather(*(processes.run(version) for _ in range(5)))
    assert sorted((await processes.run(version)).value) == ["/dev/null", "pipe", "pipe", "pipe", "socket", "socket"]  # type: ignore[call-overload]


async def test_the_time_zone_may_be_the_functions_own(processes: Lab) -> None:
    code = "import time\ndef handler(event, context): return time.localtime(0).tm_hour"
    assert await processes.value(code, environment={"TZ": "Asia/Tokyo"}) == 9


async def test_boto3_and_the_decorators_can_be_imported(processes: Lab) -> None:
    assert await processes.value("import boto3, microlam\ndef handler(event, context): return callable(microlam.http)") is True


async def test_a_temporary_folder_that_was_cleared_away_is_there_again(processes: Lab) -> None:
    version = processes.function("""
        import os, shutil, tempfile
        shutil.rmtree(tempfile.gettempdir())
        def handler(event, context):
            with tempfile.NamedTemporaryFile() as file:
                folder = os.path.dirname(file.name)
            shutil.rmtree(tempfile.gettempdir())
            return [folder == os.environ["TMPDIR"], os.getpid()]
    """)
    first, *later = [(await processes.run(version)).value for _ in range(3)]
    assert later == [first, first]


async def test_the_temporary_folder_is_the_workers_own_and_goes_with_it(processes: Lab) -> None:
    version = processes.function("""
        import os
        def handler(event, context):
            open(os.environ["TMPDIR"] + "/kept", "a").close()
            return os.environ["TMPDIR"]
    """)
    folder = str((await processes.run(version)).value)
    assert (await processes.run(version)).value == folder
    assert os.listdir(folder) == ["kept"]
    await processes.executor.retire(version)
    await until(lambda: not os.path.exists(folder))


# ---- processes only: isolation ---------------------------------------------------------------------------------------

async def test_nothing_leaks_from_one_function_to_another(processes: Lab) -> None:
    spoil = processes.function("""
        import logging, os, signal, sys, threading, builtins, json
        def handler(event, context):
            os.environ["LEAK"] = "1"
            sys.path.append("/leak")
            sys.modules["leak"] = sys
            os.chdir("/")
            os.umask(0)
            signal.signal(signal.SIGTERM, lambda *_: None)
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            kept.append(open("/dev/zero"))
            logging.getLogger().setLevel(1)
            logging.getLogger().addHandler(logging.NullHandler())
            builtins.leak = json.leak = 1
            sys.setrecursionlimit(5000)
        kept = []
    """, name="spoiler")
    look = processes.function("""
        import builtins, json, logging, os, signal, sys, threading
        def handler(event, context):
            return [os.environ.get("LEAK"), "/leak" in sys.path, "leak" in sys.modules, os.getcwd(), signal.getsignal(15) == signal.SIG_DFL,
                    threading.active_count(), max(number for number in range(90) if os.path.exists(f"/proc/self/fd/{number}")),
                    logging.getLogger().level, len(logging.getLogger().handlers), hasattr(builtins, "leak"), hasattr(json, "leak"), sys.getrecursionlimit()]
    """, name="looker")
    before = (await processes.run(look)).value
    assert (await processes.run(spoil)).ok
    await processes.executor.retire(look)
    assert (await processes.run(look)).value == before
    assert before == [None, False, False, look.root, True, 1, 2, 30, 1, False, False, 1000]


async def test_versions_of_one_function_have_workers_of_their_own(processes: Lab) -> None:
    code = "import os\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return [context.function_version, count]"
    one, two = processes.function(code, number="1"), processes.function(code, number="2")
    assert [(await processes.run(version)).value for version in (one, two, one, two)] == [["1", 1], ["2", 1], ["1", 2], ["2", 2]]


async def test_no_bytecode_lies_beside_the_source(processes: Lab) -> None:
    files = {"hello.py": "import helper, sys\ndef handler(event, context): return [helper.__cached__, sys.pycache_prefix]", "helper.py": ""}
    version = processes.function(files, sha256="abc=")
    cached, prefix = await processes.value(files, sha256="abc=")
    assert Path(cached).name.startswith("helper.")
    assert prefix is None, "other modules keep theirs where it is"
    cache = processes.folder / "scratch" / "pycache"
    await until(lambda: sorted(path.name.partition(".")[0] for path in cache.rglob("*.pyc")) == ["hello", "helper"], "for the bytecode")
    folder, = cache.iterdir()
    assert sorted(os.listdir(version.root)) == ["hello.py", "helper.py"]
    await processes.executor.retire(version)
    await until(lambda: not folder.exists())


async def test_an_environment_that_is_read_at_the_start_gets_a_fresh_process(processes: Lab) -> None:
    code = """
        import os, sys, helper
        def handler(event, context):
            return [sys.flags.optimize, os.environ["LD_DEBUG_OUTPUT"], sys.path[0], "/extra" in sys.path, os.getpgid(0) == os.getpid()]
    """
    version = processes.function({"hello.py": code, "helper.py": ""}, environment={"PYTHONOPTIMIZE": "2", "LD_DEBUG_OUTPUT": "x", "PYTHONPATH": "/extra"})
    first, second = await processes.run(version), await processes.run(version)
    assert first.value == second.value == [2, "x", version.root, True, True]
    assert (first.cold, second.cold) == (True, False)
    crash = processes.function("import os\ndef handler(event, context): os._exit(4)", environment={"PYTHONOPTIMIZE": "1"})
    assert "exit status 4" in str((await processes.run(crash)).error)


# ---- processes only: preloading --------------------------------------------------------------------------------------

async def test_what_is_preloaded_is_there_from_the_start(processes: Lab) -> None:
    code = "import sys\nbefore = 'decimal' in sys.modules\ndef handler(event, context): return before"
    assert await processes.value(code, name="without") is False
    assert await processes.value(code, name="with", preload=("decimal", "there_is_no_such_module")) is True


async def test_the_functions_own_copy_wins_over_a_preloaded_module(processes: Lab) -> None:
    code = "import jmespath, dateutil\ndef handler(event, context): return [jmespath.word, hasattr(dateutil, 'word')]"
    files = {"hello.py": code, "jmespath.py": "word = 'mine'"}
    assert await processes.value(files, preload=("jmespath", "dateutil")) == ["mine", False]
    # It came along with botocore, which it must not hide either.
    assert await processes.value({**files, "hello.py": files["hello.py"] + "\n"}, name="other", preload=("botocore.session",)) == ["mine", False]


async def test_a_preload_that_starts_threads_is_not_forked(open_lab: OpenLab, tmp_path: Path) -> None:
    starting = tmp_path / "site" / "threads_at_import.py"
    starting.parent.mkdir()
    starting.write_text("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n")
    interpreters = Interpreters()
    interpreters.own = dataclasses.replace(interpreters.own, site=(*interpreters.own.site, str(starting.parent)))
    lab = open_lab(interpreters=interpreters)
    code = "import sys\nbefore = 'threads_at_import' in sys.modules\ndef handler(event, context): return before"
    version = lab.function(code, preload=("threads_at_import",))
    assert (await lab.run(version)).value is False
    assert (await lab.run(version)).value is False


# ---- processes only: crashes -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("code", "reason"), [
    ("os._exit(7)", "exit status 7"),
    ("os.kill(os.getpid(), 9)", "signal: killed"),
    ("os.abort()", "signal: aborted"),
    ("__import__('ctypes').string_at(0)", "signal: segmentation fault"),
    ("os.kill(os.getpid(), 15); time.sleep(9)", "signal: terminated"),
    ("os.closerange(3, 1000); time.sleep(9)", "signal: killed"),
    ("threading.Thread(target=os._exit, args=(5,)).start(); time.sleep(9)", "exit status 5"),
])
@pytest.mark.parametrize("where", ["handler", "import"])
async def test_a_crash_is_told_with_its_reason_and_what_was_printed(processes: Lab, code: str, reason: str, where: str) -> None:
    head, body = ("", code) if where == "handler" else (f"print('before')\n{code}\n", "pass")
    version = processes.function(f"import os, sys, time, threading\n{head}def handler(event, context):\n    print('before')\n    {body}\n", timeout=30.0)
    outcome = await processes.run(version, id="the-id")
    assert outcome.status == "crashed"
    assert outcome.payload == f'{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: the-id Error: Runtime exited with error: {reason}"}}'.encode()
    assert "before" in lines(outcome)
    assert f"RequestId: the-id Error: Runtime exited with error: {reason}" in lines(outcome)
    assert lines(outcome)[-1].endswith("Status: error\tError Type: Runtime.ExitError")
    assert outcome.memory > 5_000_000


async def test_a_crash_is_known_though_a_child_keeps_the_socket_open(processes: Lab) -> None:
    version = processes.function("""
        import os, time
        def handler(event, context):
            if os.fork() == 0:
                time.sleep(60)
            os._exit(3)
    """, timeout=60.0)
    outcome = await processes.run(version)
    assert "exit status 3" in str(outcome.error)


async def test_a_child_that_comes_back_from_the_handler_gives_no_second_reply(processes: Lab) -> None:
    version = processes.function("import os\ndef handler(event, context):\n    return [event, os.fork() > 0]")
    assert [(await processes.run(version, number)).value for number in range(5)] == [[number, True] for number in range(5)]


@pytest.mark.parametrize(("end", "words"), [("raise ValueError", "[ERROR] ValueError: child"), ("sys.exit", "child")])
async def test_a_child_that_fails_is_told_of_in_its_own_invocation(processes: Lab, end: str, words: str) -> None:
    version = processes.function(f"""
        import os, sys
        def handler(event, context):
            child = os.fork()
            if child == 0:
                {end}(f"child {{event}}")
            os.waitpid(child, 0)
            print("parent", event)
    """)
    for number in range(3):
        told = output(await processes.run(version, number))
        assert (told[0], told[-1]) == (f"{words} {number}", f"parent {number}")


@pytest.mark.parametrize("garbage", ["b'x' * 10", "b'x' * 100000", "b''.join(bytes([i]) for i in range(256))"])
async def test_garbage_in_the_socket_harms_nobody(processes: Lab, garbage: str) -> None:
    version = processes.function(f"""
        import os, socket, stat
        def handler(event, context):
            if event:
                return event
            for fd in range(3, 300):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, {garbage})
                except OSError:
                    pass
            return "reply"
    """, timeout=5.0)
    assert (await processes.run(version)).status == "crashed"
    assert (await processes.run(version, 1)).value == 1


async def test_a_worker_that_died_idle_costs_nobody_an_invocation(processes: Lab) -> None:
    version = processes.function("import os\ndef handler(event, context): return [event, os.getpid()]")
    for number in range(10):
        replied: Any = (await processes.run(version, number)).value
        os.kill(replied[1], signal.SIGKILL)
        again: Any = (await processes.run(version, number)).value
        assert again[0] == number
        assert again[1] != replied[1]


async def test_workers_outlive_neither_a_killed_zygote_nor_is_anybody_left_waiting(processes: Lab) -> None:
    version = processes.function("import os, time\ndef handler(event, context):\n    time.sleep(event)\n    return os.getppid()", timeout=30.0)
    zygote = (await processes.run(version, 0)).value
    assert isinstance(zygote, int)
    running = asyncio.create_task(processes.run(version, 30))
    await until(lambda: any(worker.busy for worker in processes.executor.statistics().workers))
    pids = processes.pids
    os.kill(zygote, signal.SIGKILL)
    assert (await running).status == "crashed"
    await until(lambda: not any(map(lives, pids)))
    assert (await processes.run(version, 0)).value not in (None, zygote)


# ---- processes only: nothing survives --------------------------------------------------------------------------------

SPAWN = """
    import os, subprocess, sys, time
    def handler(event, context):
        if event == "check":
            return "alive"
        direct = subprocess.Popen(["sleep", "600"])
        apart = subprocess.Popen(["sleep", "600"], start_new_session=True)
        far = "setsid sh -c 'sleep 601 >/dev/null 2>&1 & echo $!; exec >/dev/null 2>&1; sleep 602' & sleep 0.1"
        double = subprocess.run(["sh", "-c", far], stdout=subprocess.PIPE)
        with open(event, "w") as file:
            file.write(f"{os.getpid()} {direct.pid} {apart.pid} {double.stdout.decode().strip()}")
        if context.function_name == "waits":
            time.sleep(600)
        if context.function_name == "crashes":
            os._exit(1)
"""


async def spawned(lab: Lab, name: str, timeout: float = 60.0) -> tuple[asyncio.Task[Outcome], Version, list[int]]:
    """A function that has started children in every way, and all their processes."""
    version, told = lab.function(SPAWN, name=name, timeout=timeout), lab.folder / "pids"
    running = asyncio.create_task(lab.run(version, str(told)))
    await until(lambda: told.exists() and len(told.read_text().split()) == 4, "for the children")
    return running, version, [int(pid) for pid in told.read_text().split()]


async def test_at_the_timeout_every_descendant_ends(processes: Lab) -> None:
    running, _, pids = await spawned(processes, "waits", timeout=1.0)
    assert (await running).status == "timed_out"
    await until(lambda: not any(map(lives, pids)), f"for {pids} to end")


async def test_after_a_crash_every_descendant_ends(processes: Lab) -> None:
    running, _, pids = await spawned(processes, "crashes")
    assert (await running).status == "crashed"
    await until(lambda: not any(map(lives, pids)), f"for {pids} to end")


async def test_children_live_as_long_as_their_worker_and_no_longer(processes: Lab) -> None:
    running, version, pids = await spawned(processes, "returns")
    assert (await running).ok
    other = processes.function("import os\ndef handler(event, context): os._exit(1)", name="other")
    await processes.run(other)
    assert all(map(lives, pids)), "another worker's end is not theirs"
    await processes.executor.retire(version)
    await until(lambda: not any(map(lives, pids)), f"for {pids} to end")


async def test_closing_ends_every_process(processes: Lab) -> None:
    running, _, pids = await spawned(processes, "waits")
    zygote = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    await processes.executor.close()
    assert (await running).status == "crashed"
    assert not any(map(lives, [*pids, zygote]))
    assert os.listdir(processes.folder / "scratch" / "tmp") == []


SERVER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.labs import Lab, new_processes
from tests.test_executors import spawned

async def main():
    lab = Lab(Path(sys.argv[1]), new_processes(Path(sys.argv[1])))
    running, _, pids = await spawned(lab, "waits")
    print(*pids, flush=True)
    await running

asyncio.run(main())
"""


async def test_when_the_server_is_killed_nothing_survives_it(open_lab: OpenLab, tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, str(tmp_path), str(Path(__file__).parents[1]), stdout=subprocess.PIPE)
    assert server.stdout
    pids = [int(pid) for pid in (await server.stdout.readline()).split()]
    assert len(pids) == 4
    zygote = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    server.kill()
    await server.wait()
    await until(lambda: not any(map(lives, [*pids, zygote])), f"for {pids} to end")
    lab = open_lab()
    assert (await lab.run(lab.function("def handler(event, context): return 1", name="after"))).ok
    await until(lambda: len(os.listdir(tmp_path / "scratch" / "tmp")) == 1, "for what it left to be cleared")


# ---- processes only: output ------------------------------------------------------------------------------------------

async def test_a_handler_that_closes_its_streams_still_prints_and_replies(processes: Lab) -> None:
    version = processes.function("""
        import os, sys
        def handler(event, context):
            os.closerange(0, 3)
            print("out")
            print("err", file=sys.stderr)
            return 1
    """)
    for _ in range(2):
        outcome = await processes.run(version)
        assert (outcome.value, output(outcome)) == (1, ["out", "err"])


async def test_output_of_programs_is_in_the_log_in_its_order(processes: Lab) -> None:
    version = processes.function("""
        import os, subprocess, sys
        def handler(event, context):
            print("one")
            subprocess.run(["sh", "-c", "echo two; echo three >&2"])
            os.write(1, b"four\\n")
            sys.stdout.buffer.write(b"five\\n")
            sys.stderr.write("six")
    """)
    for _ in range(2):
        assert output(await processes.run(version)) == ["one", "two", "three", "four", "five", "six"]


async def test_programs_may_open_their_output_by_its_name(processes: Lab) -> None:
    version = processes.function("""
        import subprocess
        def handler(event, context):
            print("before")
            subprocess.run("echo one > /dev/stderr; echo two >&2; echo three > /dev/stdout; echo four | tee /dev/stderr", shell=True)
            with open("/dev/stdout", "w") as file:
                print("five", file=file)
            print("after")
    """)
    for _ in range(3):
        assert output(await processes.run(version)) == ["before", "one", "two", "three", "four", "four", "five", "after"]


async def test_a_mark_that_was_taken_away_is_not_waited_for(processes: Lab) -> None:
    version = processes.function("""
        import os, subprocess
        def handler(event, context):
            if event == "steal":
                subprocess.Popen(["yes"])
                if os.fork() == 0:
                    pipe = os.open("/proc/self/fd/1", os.O_RDONLY)
                    while True: os.read(pipe, 1 << 16)
            return event
    """)
    for event in ("steal", 1, 2):
        assert (await processes.run(version, event)).value == event


async def test_a_handler_that_does_not_block_at_its_output_loses_none(processes: Lab) -> None:
    version = processes.function("""
        import os
        def handler(event, context):
            os.set_blocking(1, False)
            for number in range(2000): print(number, "x" * 1000 if number < 50 else "x" * 10)
    """)
    for _ in range(2):
        assert [line.split()[0] for line in output(await processes.run(version))] == [str(number) for number in range(2000)]


@pytest.mark.parametrize("where", ["import", "handler"])
async def test_a_failure_is_told_however_much_was_printed(lab: Lab, where: str) -> None:
    body = f"for _ in range({LOG_LIMIT // 1000 + 50}): print('x' * 999)\nraise ValueError('the real reason')"
    handler = "def handler(event, context): pass" if where == "import" else "def handler(event, context):\n" + textwrap.indent(body, "    ")
    outcome = await lab.run(lab.function(f"{handler}\n{body}" if where == "import" else handler))
    assert outcome.status == "failed"
    assert f"[microlam] at least 50000 more bytes of output were dropped: an invocation keeps {LOG_LIMIT}.\n" in outcome.logs.decode()
    assert "ValueError: the real reason" in outcome.logs.decode()


@pytest.mark.parametrize("where", ["import", "handler"])
@pytest.mark.parametrize("end", ["sys.exit('the real reason')", "raise KeyboardInterrupt('the real reason')"])
async def test_why_it_left_is_told_however_much_was_printed(lab: Lab, where: str, end: str) -> None:
    body = f"print('x' * {LOG_LIMIT + 50})\n{end}"
    handler = "import sys\ndef handler(event, context):\n" + textwrap.indent(body if where == "handler" else "pass", "    ")
    outcome = await lab.run(lab.function(handler if where == "handler" else f"{handler}\n{body}"))
    assert outcome.status == "crashed"
    assert [line.removeprefix("KeyboardInterrupt: ") for line in lines(outcome) if line.endswith("reason")] == ["the real reason"]


@pytest.mark.parametrize("where", ["import", "handler"])
async def test_a_failure_of_many_words_is_cut_as_output_is(lab: Lab, where: str) -> None:
    failing = "raise ValueError('x' * 7_000_000)"
    outcome = await lab.run(lab.function(f"{failing}\ndef handler(event, context): pass" if where == "import" else f"def handler(event, context): {failing}"))
    assert outcome.error is not None
    assert (outcome.status, outcome.error["errorType"]) == ("failed", "Function.ResponseSizeTooLarge")
    assert len(outcome.payload) < 1000
    assert "[ERROR] ValueError: xxx" in outcome.logs.decode()
    assert LOG_LIMIT < len(outcome.logs) < LOG_LIMIT + 1000


async def test_what_an_import_prints_beyond_the_limit_is_counted(lab: Lab) -> None:
    code = f"for _ in range({LOG_LIMIT // 1000 + 50}): print('x' * 999)\ndef handler(event, context): print('later')"
    log = (await lab.run(lab.function(code))).logs.decode()
    assert f"[microlam] at least 50000 more bytes of output were dropped: an invocation keeps {LOG_LIMIT}.\n" in log
    assert "later\n" in log


async def test_a_hundred_megabytes_of_output_harm_nobody(processes: Lab) -> None:
    version = processes.function("""
        import subprocess
        def handler(event, context):
            if event == "python":
                for _ in range(100): print("x" * 1_000_000)
            elif event:
                subprocess.run(["head", "-c", "100000000", "/dev/zero"])
            print("last")
    """, timeout=30.0)
    for event in ("python", "program"):
        outcome = await processes.run(version, event)
        assert outcome.ok
        dropped = re.search(r"\[microlam\] at least (\d+) more bytes of output were dropped", outcome.logs.decode(errors="replace"))
        assert dropped
        assert int(dropped[1]) > 50_000_000
        assert len(outcome.logs) < LOG_LIMIT + 1000
        assert output(await processes.run(version)) == ["last"]


async def test_a_program_that_writes_without_end_is_held_short(processes: Lab) -> None:
    version = processes.function("import subprocess\ndef handler(event, context): subprocess.run(['yes'])", timeout=0.3)
    outcome = await processes.run(version)
    assert outcome.status == "timed_out"
    assert len(outcome.logs) < LOG_LIMIT + 1000


async def test_what_a_leftover_thread_prints_goes_to_the_next_invocation(processes: Lab) -> None:
    version = processes.function("""
        import os, threading
        def late(pipe):
            os.read(pipe, 1)
            print("late")
        def handler(event, context):
            global pipe, thread
            if event == 1:
                pipe = os.pipe()
                thread = threading.Thread(target=late, args=(pipe[0],))
                thread.start()
            else:
                os.write(pipe[1], b"x")
                thread.join()
            print(event)
    """)
    assert output(await processes.run(version, 1)) == ["1"]
    assert output(await processes.run(version, 2)) == ["late", "2"]


# ---- processes only: limits ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("code", [
    "kept = bytearray(300_000_000)",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'kept = bytearray(300_000_000); import time; time.sleep(60)'])",
    "import os\n    if os.fork() == 0: os.setsid(); kept = bytearray(300_000_000)",
])
async def test_over_its_memory_a_worker_is_killed(processes: Lab, code: str) -> None:
    version = processes.function(f"import time\ndef handler(event, context):\n    if event: return event\n    {code}\n    time.sleep(60)", timeout=60.0)
    outcome = await processes.run(version)
    assert outcome.status == "crashed"
    assert outcome.error is not None
    assert str(outcome.error["errorMessage"]).endswith("Runtime exited with error: signal: killed")
    assert (await processes.run(version, 1)).value == 1


async def test_what_short_invocations_keep_counts_too(processes: Lab) -> None:
    version = processes.function("kept = []\ndef handler(event, context):\n    kept.append(b'x' * (8 << 20))\n    return len(kept)")
    outcomes = [await processes.run(version) for _ in range(60)]
    # As a rule all reply; one that a busy machine made last may be ended while it runs.
    assert {outcome.status for outcome in outcomes} <= {"succeeded", "crashed"}
    assert max(outcome.memory for outcome in outcomes) < 150 << 20
    assert sum(outcome.cold for outcome in outcomes) > 2


@pytest.mark.parametrize("start", ["multiprocessing.get_context('fork').Process(target=grow)", "threading.Thread(target=grow)"])
async def test_what_goes_on_after_the_reply_is_held_to_the_memory_too(processes: Lab, start: str) -> None:
    version = processes.function(f"""
        import multiprocessing, os, threading
        gate, kept = multiprocessing.Event(), []
        def grow():
            gate.wait()
            kept.append(bytearray(300_000_000))
            threading.Event().wait()
        def handler(event, context):
            if event == "go":
                gate.set()
            else:
                {start}.start()
            return os.getpid()
    """)
    pid: Any = (await processes.run(version)).value
    assert (await processes.run(version, "go")).value == pid
    await until(lambda: not lives(pid), "for the worker to end")
    after = await processes.run(version)
    assert (after.ok, after.cold) == (True, True)


@pytest.mark.skipif(find_groups() is None, reason="no control groups can be made here: root may, or a service that has one delegated")
async def test_the_kernel_holds_a_worker_to_its_memory(processes: Lab) -> None:
    groups = find_groups()
    assert groups is not None
    greedy = "import time\ndef handler(event, context):\n    kept = [bytearray(1 << 20) for _ in range(4000)]\n    time.sleep(60)"
    version = processes.function(greedy, timeout=60.0)
    outcome = await processes.run(version)
    assert (outcome.status, str((outcome.error or {})["errorMessage"]).rpartition(": ")[2]) == ("crashed", "killed")
    assert outcome.memory < 1400 << 20
    await processes.executor.close()
    assert not list(groups.parent.glob(f"microlam-{os.getpid()}-*"))


@pytest.mark.parametrize(("cgroup", "made", "writable"), [
    ("0::/user.slice/app.scope\n", {"user.slice/app.scope/cgroup.procs": "", "user.slice/app.scope/cgroup.subtree_control": "cpu memory\n"}, True),
    ("0::/user.slice/app.scope\n", {"user.slice/app.scope/cgroup.procs": "", "user.slice/app.scope/cgroup.subtree_control": "cpu\n"}, False),
    ("4:memory:/app\n0::/\n", {"memory/app/cgroup.procs": ""}, True),
    ("4:cpu:/app\n", {"cpu/app/cgroup.procs": ""}, False),
])
def test_control_groups_are_found_where_they_limit_memory(tmp_path: Path, cgroup: str, made: dict[str, str], writable: bool) -> None:
    write(tmp_path, {"proc/cgroup": cgroup, **{f"sys/{name}": text for name, text in made.items()}})
    assert (find_groups(tmp_path / "proc", tmp_path / "sys") is not None) == writable


async def test_memory_that_is_shared_counts_once(processes: Lab) -> None:
    version = processes.function("""
        import os, time
        kept = bytearray(60_000_000)
        def handler(event, context):
            children = [os.fork() for _ in range(3)]
            if 0 in children:
                time.sleep(1)
                os._exit(0)
            time.sleep(0.5)
            return "lives"
    """)
    outcome = await processes.run(version)
    assert outcome.value == "lives"
    assert outcome.memory > 60_000_000


async def test_a_burst_over_the_limit_is_served_by_so_many_workers(open_lab: OpenLab) -> None:
    lab = open_lab(limit=4)
    versions = [lab.function("import os\ndef handler(event, context): return [event, os.getpid()]", name=name) for name in ("one", "two")]
    seen = 0

    async def run(number: int) -> Outcome:
        nonlocal seen
        outcome = await lab.run(versions[number % 2], number)
        seen = max(seen, len(lab.pids))
        return outcome

    outcomes = await asyncio.gather(*(run(number) for number in range(200)))
    assert [outcome.value[0] for outcome in outcomes if isinstance(outcome.value, list)] == list(range(200))
    assert seen <= 4
    assert lab.executor.statistics().waiting == 0


async def test_at_the_limit_the_longest_idle_worker_of_another_makes_room(open_lab: OpenLab) -> None:
    lab = open_lab(limit=2)
    one, two, three = (lab.function("def handler(event, context): return 1", name=name) for name in ("one", "two", "three"))
    for version in (one, two, one, three):
        await lab.run(version)
    assert {worker.name for worker in lab.executor.statistics().workers} == {"one", "three"}


async def test_who_waits_gets_the_place_of_one_that_crashed_or_gave_up(open_lab: OpenLab) -> None:
    lab = open_lab(limit=1)
    version = lab.function("""
        import os, time
        def handler(event, context):
            if event == "crash":
                time.sleep(0.1)
                os._exit(1)
            if event == "wait":
                time.sleep(60)
            return event
    """, timeout=60.0)
    crashing = asyncio.create_task(lab.run(version, "crash"))
    hanging = asyncio.create_task(lab.run(version, "wait"))
    leaving = asyncio.create_task(lab.run(version, "never"))
    waiting = [asyncio.create_task(lab.run(version, number)) for number in range(3)]
    assert (await crashing).status == "crashed"
    leaving.cancel()
    await until(lambda: lab.executor.statistics().waiting == 3)
    hanging.cancel()
    assert [outcome.value for outcome in await asyncio.gather(*waiting)] == [0, 1, 2]
    await asyncio.gather(hanging, leaving, return_exceptions=True)


async def test_cancelling_at_any_moment_loses_no_worker(open_lab: OpenLab) -> None:
    lab = open_lab(limit=2)
    versions = [lab.function("def handler(event, context): return event", name=name) for name in ("one", "two", "three")]
    for round in range(40):
        tasks = [asyncio.create_task(lab.run(versions[number % 3], number)) for number in range(6)]
        for _ in range(round):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() or task.result().ok for task in tasks)
    assert (await lab.run(versions[0], "end")).value == "end"
    assert len(lab.pids) <= 2


async def test_idle_workers_and_zygotes_end(open_lab: OpenLab) -> None:
    lab = open_lab(idle=0.2)
    code = "import os\ndef handler(event, context): return os.getppid()"
    default, other = await lab.value(code), await lab.value(code, name="other", preload=("decimal",))
    pids = lab.pids
    await until(lambda: not lab.pids and not any(map(lives, pids)))
    await until(lambda: not lives(other))
    assert lives(default), "the default one is kept for the next cold start"
    await lab.executor.close()
    assert not lives(default)


async def test_an_import_has_ten_seconds_whatever_the_timeout(processes: Lab) -> None:
    version = processes.function("import time\ntime.sleep(0.4)\ndef handler(event, context):\n    return context.get_remaining_time_in_millis()", timeout=0.2)
    outcome = await processes.run(version)
    assert outcome.ok
    assert outcome.init is not None
    assert outcome.init > 0.4
    assert isinstance(outcome.value, int)
    assert outcome.value > 100, "the deadline starts when the handler does"


async def test_the_outcome_tells_when_and_where_it_ran(processes: Lab) -> None:
    before = datetime.now(UTC)
    outcome = await processes.run(processes.function("import time\ndef handler(event, context): time.sleep(0.05)", number="9"))
    assert outcome.started_at is not None
    assert before <= outcome.started_at <= datetime.now(UTC)
    assert 0.05 <= outcome.duration < 5
    assert (outcome.version, outcome.runtime) == ("9", "Python {}.{}.{}".format(*sys.version_info))
    assert outcome.memory > 5_000_000


def test_versions_differ_for_the_pool_when_any_field_does() -> None:
    version = Version(arn=function_arn("a"), handler="a.b", runtime="python3.11", root="/")
    assert version.key != dataclasses.replace(version, environment={"A": "1"}).key


async def test_workers_that_are_kept_for_a_version_outlast_idleness_and_are_replaced(open_lab: OpenLab) -> None:
    lab = open_lab(idle=0.2, limit=3)
    kept = lab.function("import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']", name="kept", provisioned=2)
    others = [lab.function("def handler(event, context): return 1", name=name) for name in ("one", "two")]
    assert [await lab.executor.warm(kept), await lab.executor.warm(kept)] == [None, None]
    first = lab.pids
    for other in others:
        assert (await lab.run(other)).ok
    await until(lambda: {worker.name for worker in lab.executor.statistics().workers} == {"kept"}, "for the others to end")
    assert lab.pids == first

    os.kill(min(first), signal.SIGKILL)

    await until(lambda: len(lab.pids - first) == 1 and all(not worker.busy for worker in lab.executor.statistics().workers), "for another one")
    outcome = await lab.run(kept)
    assert (outcome.value, outcome.cold) == ("provisioned-concurrency", False)
    await lab.executor.retire(kept)
    assert not lab.pids
