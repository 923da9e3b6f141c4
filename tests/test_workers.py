"""The worker's side: every interpreter it may run on, and what the platform says in a log, by value."""
from __future__ import annotations

import asyncio
import glob
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microlam.executors.environment import needs_fresh_process, preload_of, site_packages
from microlam.executors.interpreters import Interpreters
from microlam.executors.logs import Run, exit_sentence, log_of, plain_log
from microlam.executors.workers.system import children
from microlam.model import Version, function_arn
from tests.conftest import OpenLab, lives
from tests.labs import Lab, new_processes, output, until

WORKERS = Path(__file__).parents[1] / "microlam" / "executors" / "workers"


def other_interpreters() -> list[str]:
    """Pythons of other versions that really start here."""
    found = {}
    for path in sorted(glob.glob(str(Path.home() / ".pyenv/versions/*/bin/python"))):
        told = subprocess.run([path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True).stdout.strip()
        if re.fullmatch(r"3\.(8|9|1\d)", told) and told != "{}.{}".format(*sys.version_info):
            found[told] = path
    return list(found.values())


VERSION = Version(arn=function_arn("hello"), handler="hello.handler", runtime="python3.11", root="/nowhere")
HANDLER = """
    import asyncio, decimal, helper, logging, os, sys
    import microlam
    async def handler(event, context):
        print("printed", event)
        logging.warning("logged")
        if event == "fail":
            helper.fail()
        await asyncio.sleep(0)
        return [list(sys.version_info[:2]), context.function_name, os.environ["AWS_LAMBDA_FUNCTION_NAME"], decimal.Decimal("1.50"), helper.__file__, "ä"]
"""


# ---- interpreters ----------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not other_interpreters(), reason="no other Python here")
@pytest.mark.parametrize("interpreter", other_interpreters())
async def test_a_worker_runs_on_another_interpreter(open_lab: OpenLab, tmp_path: Path, interpreter: str) -> None:
    lab = open_lab(interpreters=Interpreters({"python3.x": interpreter}))
    (tmp_path / "edited").mkdir()
    files = {"hello.py": HANDLER, "helper.py": "def fail():\n    raise ValueError('on purpose')\n"}
    version = lab.function(files, runtime="python3.x", sha256="abc", source=str(tmp_path / "edited"))
    for _ in range(2):      # the second one from bytecode
        outcome = await lab.run(version, "event")
        assert outcome.ok, outcome.logs.decode()
        minor = re.search(r"versions/3\.(\d+)", interpreter)
        assert minor
        escaped = '"\\u00e4"' if int(minor[1]) < 12 else '"ä"'
        assert outcome.payload.decode() == f'[[3, {minor[1]}], "hello", "hello", 1.50, "{version.root}/helper.py", {escaped}]'
        assert outcome.runtime.startswith(f"Python 3.{minor[1]}.")
        assert [line.split("\t")[-1] for line in output(outcome)] == ["printed event", "logged"]
        failed = await lab.run(version, "fail")
        assert failed.error is not None
        assert failed.error["stackTrace"] == [
            f'  File "{tmp_path}/edited/hello.py", line 7, in handler\n    helper.fail()\n',
            f"  File \"{tmp_path}/edited/helper.py\", line 2, in fail\n    raise ValueError('on purpose')\n",
        ]
        await lab.executor.retire(version)
    fresh = lab.function(files, name="fresh", runtime="python3.x", environment={"PYTHONOPTIMIZE": "1"})
    assert (await lab.run(fresh, "event")).ok
    crashed = await lab.run(lab.function("def handler(event, context): exit(3)", name="leaves", runtime="python3.x"))
    assert "exit status 3" in str(crashed.error)


async def test_an_interpreter_that_does_not_start_is_an_outcome(open_lab: OpenLab) -> None:
    lab = open_lab(interpreters=Interpreters({"python3.x": "/nowhere/python"}))
    outcome = await lab.run(lab.function("def handler(event, context): return 1", runtime="python3.x"))
    assert outcome.status == "crashed"
    assert outcome.error is not None
    assert outcome.error["errorType"] == "Runtime.InvalidEntrypoint"
    lab = open_lab(interpreters=Interpreters({"python3.x": "/bin/false"}))
    assert (await lab.run(lab.function("def handler(event, context): return 1", runtime="python3.x"))).status == "crashed"


@pytest.mark.parametrize("file", sorted(WORKERS.glob("*.py")), ids=lambda file: file.name)
def test_worker_code_imports_only_the_standard_library(file: Path) -> None:
    imported = re.findall(r"^\s*(?:from|import) +([\w.]+)", file.read_text(), re.MULTILINE)
    # debugpy is imported where a debugger is asked for, and nowhere else.
    known = sys.stdlib_module_names | ({"debugpy"} if file.name == "debugging.py" else set())
    assert all(name.startswith(".") or name.partition(".")[0] in known for name in imported), imported


async def test_a_cold_start_imports_nothing_that_the_zygote_has_not(open_lab: OpenLab) -> None:
    code = """
        import sys
        heavy = [name for name in sys.modules if name.startswith(("microlam", "typing", "async" "io", "ctypes", "socket", "subprocess"))]
        def handler(event, context): return heavy
    """
    assert await open_lab().value(code) == []


async def test_a_prepared_zygote_is_there_before_the_first_invocation(open_lab: OpenLab, tmp_path: Path) -> None:
    executor = new_processes(tmp_path)
    executor.prepare()
    lab = open_lab(executor)
    first, second = await asyncio.gather(*(lab.value("import os\ndef handler(event, context): return os.getppid()", name=name) for name in "ab"))
    assert first == second


async def test_an_expected_worker_is_the_process_that_was_started_for_it(open_lab: OpenLab) -> None:
    lab = open_lab()
    code = "import os, sys\ndef handler(event, context): return [os.getpid(), os.getppid(), os.environ.get('_'), 'frames' in sys.modules]"
    first, zygote, *_ = await lab.value(code)
    await until(lambda: set(children(zygote)) - {first}, "for the spare one that follows a start")
    spare, = set(children(zygote)) - {first}
    for name in ("second", "third"):
        lab.executor.expect(lab.function(code, name=name))
    assert await lab.value(code, name="second") == [spare, zygote, None, False]
    await until(lambda: len(children(zygote)) >= 3)
    waiting = set(children(zygote)) - lab.pids
    assert (await lab.value(code, name="third"))[0] in waiting
    await lab.executor.close()
    assert not children(zygote)


WHO = "import os\ndef handler(event, context): return [os.getpid(), os.getppid()]\n"


async def spare_of(lab: Lab) -> tuple[int, int]:
    """The process that waits, blank, after a first start, and its zygote."""
    first, zygote = await lab.value(WHO)
    await until(lambda: set(children(zygote)) - {first}, "for the spare one that follows a start")
    spare, = set(children(zygote)) - {first}
    return spare, zygote


async def test_a_blank_process_that_has_just_been_killed_fails_no_invocation(open_lab: OpenLab) -> None:
    lab = open_lab()
    spare, zygote = await spare_of(lab)
    os.kill(spare, signal.SIGKILL)
    while lives(spare):
        pass    # and nobody has heard of it: the loop has not turned
    pid, parent = await lab.value(WHO, name="second")
    assert (pid != spare, parent) == (True, zygote)


async def test_blank_processes_count_among_those_that_there_may_be(open_lab: OpenLab) -> None:
    lab = open_lab(limit=2)
    spare, _ = await spare_of(lab)
    assert await lab.value("async def handler(event, context): return 'of another zygote'", name="other") == "of another zygote"
    await until(lambda: not os.path.exists(f"/proc/{spare}"), "for the spare one to go")


async def test_a_worker_that_is_warmed_keeps_its_bytecode_for_those_that_follow(open_lab: OpenLab) -> None:
    lab = open_lab()
    assert await lab.executor.warm(lab.function({"hello.py": WHO}, sha256="abc=")) is None
    await until(lambda: list((lab.folder / "scratch" / "pycache").rglob("hello*.pyc")), "for the bytecode")


async def test_nothing_waits_for_a_worker_that_does_not_come(open_lab: OpenLab) -> None:
    lab = open_lab(idle=0.1)
    zygote = await lab.value("import os\ndef handler(event, context): return os.getppid()")
    lab.executor.expect(lab.function("def handler(event, context): pass", name="never"))
    await until(lambda: not children(zygote))


@pytest.mark.parametrize("environment", [{}, {"PYTHONOPTIMIZE": "1"}])
async def test_a_handler_that_forks_has_one_thread_in_its_child(open_lab: OpenLab, environment: dict[str, str]) -> None:
    code = """
        import logging, os, threading
        holds, pipe = threading.Event(), os.pipe()
        def hold():
            logging.getLogger().handlers[0].acquire()
            holds.set()
            threading.Event().wait()
        def handler(event, context):
            threading.Thread(target=hold, daemon=True).start()
            holds.wait()
            reading, writing = pipe
            if os.fork() == 0:
                logging.warning("the lock is the child's own, and free")
                os.write(writing, b"%d" % len(threading.enumerate()))
                os._exit(0)
            return os.read(reading, 10).decode()
    """
    assert await open_lab().value(code, environment=environment) == "1"


# ---- what the platform says ------------------------------------------------------------------------------------------

REPORT = "END RequestId: i\nREPORT RequestId: i\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 32 MB\t"


def test_the_log_of_a_warm_invocation() -> None:
    run = Run(version=VERSION, id="i", duration=0.00123, memory=32 << 20, output=b"out")
    assert log_of(run).decode() == f"START RequestId: i Version: $LATEST\nout\n{REPORT}\n"
    assert plain_log(VERSION, "i", 0.00123, 32 << 20, b"out") == log_of(run)
    assert plain_log(VERSION, "i", 0.00123, 32 << 20, b"").decode() == f"START RequestId: i Version: $LATEST\n{REPORT}\n"


def test_the_log_of_a_cold_invocation() -> None:
    run = Run(version=VERSION, id="i", duration=0.00123, memory=32 << 20, output=b"out\n", first=True, runtime="3.13.1", init=0.10011, init_output=b"import")
    first, *rest = log_of(run).decode().split("\n", 1)
    assert re.fullmatch(r"INIT_START Runtime Version: python:3\.13\.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", first)
    assert rest == [f"import\nSTART RequestId: i Version: $LATEST\nout\n{REPORT}Init Duration: 100.11 ms\t\n"]


def test_the_log_of_a_crash() -> None:
    run = Run(version=VERSION, id="i", duration=0.00123, memory=32 << 20, error="Runtime.ExitError", sentence="RequestId: i Error: Runtime exited")
    assert log_of(run).decode() == (
        f"START RequestId: i Version: $LATEST\nRequestId: i Error: Runtime exited\nRuntime.ExitError\n{REPORT}Status: error\tError Type: Runtime.ExitError\n"
    )


@pytest.mark.parametrize(("status", "text"), [
    (0, "Error: Runtime exited without providing a reason"),
    (256, "Error: Runtime exited with error: exit status 1"),
    (9, "Error: Runtime exited with error: signal: killed"),
    (11, "Error: Runtime exited with error: signal: segmentation fault"),
    (139, "Error: Runtime exited with error: signal: segmentation fault"),
    (6, "Error: Runtime exited with error: signal: aborted"),
    (15, "Error: Runtime exited with error: signal: terminated"),
    (None, "Error: Runtime exited with error: signal: killed"),
])
def test_why_a_runtime_exited(status: int | None, text: str) -> None:
    assert exit_sentence("i", status) == f"RequestId: i {text}"


# ---- what a worker is started with -----------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "fresh"), [
    ("LD_PRELOAD", True), ("PYTHONHASHSEED", True), ("MALLOC_ARENA_MAX", True), ("LANG", True), ("MINE", False), ("TZ", False), ("OLD_THING", False),
])
def test_which_variables_need_a_fresh_process(name: str, fresh: bool) -> None:
    assert needs_fresh_process(Version(arn=function_arn("a"), handler="a.b", runtime="python3.11", root="/", environment={name: "x"})) is fresh


def test_asyncio_is_preloaded_where_it_is_spoken_of(tmp_path: Path) -> None:
    def of(code: str, *preload: str) -> tuple[str, ...]:
        (tmp_path / "hello.py").write_text(code)
        return preload_of(Version(arn=function_arn("a"), handler="hello.handler", runtime="python3.11", root=str(tmp_path), preload=preload))

    assert of("def handler(event, context): ...") == ()
    assert of("async def handler(event, context): ...") == ("asyncio",)
    assert of("import asyncio", "boto3") == ("boto3", "asyncio")
    assert of("", "hello", "boto3") == ("boto3",), "its own modules are never another's"


def test_the_folder_the_server_was_started_in_is_not_on_the_path() -> None:
    assert any(entry.endswith("site-packages") for entry in site_packages())
    assert str(Path(__file__).parent) not in site_packages()
