"""A folder that lives: real files, real watching, and workers that really import."""
from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from microlam.errors import BrokenToml, FunctionNotFound
from microlam.functions.folder import FolderFunctions
from microlam.functions.live import Step, what_now
from microlam.model import Invocation, Outcome, Version, function_arn
from microlam.triggers import Triggers
from tests.test_requirements import wheel

HANDLER = "def handler(event, context):\n    return {!r}\n"
HELLO = function_arn("hello")

# A worker in miniature: import the handler's module from the version's folder, and call it.
WORKER = """
import importlib, json, sys
root, path, handler, call = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
sys.path[:0] = [root, *path]
module, _, name = handler.rpartition(".")
function = getattr(importlib.import_module(module), name)
if call == "call":
    print(json.dumps(function({}, None)))
"""


class Folder:
    """A folder of functions, and what its server did."""

    def __init__(self, path: Path, *, poll: bool = False, env_vars: Path | None = None, patience: float = 30.0,
                 interpreter: Callable[[str], Awaitable[str]] | None = None) -> None:
        self.path = path
        self.said: list[str] = []
        self.spoke = asyncio.Event()
        self.warmed: list[Version] = []
        self.retired: list[Version] = []
        self.triggers = Triggers()
        self.functions = FolderFunctions(
            path, path / ".microlam", region="us-east-1", account="000000000000", triggers=self.triggers, warm=self._warm, retire=self._retire,
            say=self._hear, poll=poll, env_vars=env_vars, patience=patience, interpreter=interpreter,
        )

    def _hear(self, words: str) -> None:
        self.said.append(words)
        self.spoke.set()

    async def _warm(self, version: Version) -> Outcome | None:
        self.warmed.append(version)
        status, _, errors = await work(version, "import")
        if status == 0:
            return None
        kind, _, message = errors.splitlines()[-1].partition(": ")
        return Outcome(status="failed", payload=json.dumps({"errorType": kind, "errorMessage": message}).encode(), cold=True)

    async def _retire(self, version: Version) -> None:
        self.retired.append(version)

    def write(self, files: Mapping[str, str]) -> None:
        for path, text in files.items():
            (self.path / path).parent.mkdir(parents=True, exist_ok=True)
            (self.path / path).write_text(text)

    async def load(self, files: Mapping[str, str]) -> None:
        """Take in these files, as at a server's start."""
        self.write(files)
        await self.functions.load()

    async def answer(self, name: str = "hello") -> object:
        """What a request is answered, by whatever code it gets."""
        return await answer_of(await self.functions.current(function_arn(name)))

    def names(self) -> list[str]:
        return [function.name for function in self.functions.all()]

    def error(self, name: str = "hello") -> str:
        error = next(function.error for function in self.functions.all() if function.name == name)
        return f"{error['errorType']}: {error['errorMessage']}" if error else ""

    def routes(self) -> list[str]:
        return [str(trigger.when) for trigger in self.triggers.all()]

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.functions.watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


async def work(version: Version, what: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-B", "-c", WORKER, version.root, json.dumps(version.path), version.handler, what,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(version.environment), cwd=version.root,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(), errors.decode()


async def answer_of(version: Version) -> object:
    status, output, errors = await work(version, "call")
    assert status == 0, errors
    answer: object = json.loads(output)
    return answer


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():      # noqa: ASYNC110  # files say nothing by themselves
            await asyncio.sleep(0.005)


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Folder]:
    (tmp_path / "functions").mkdir()
    folder = Folder(tmp_path / "functions")
    yield folder
    await folder.functions.close()


# ---- what becomes of a save ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("key", "good", "latest", "state", "step"), [
    ("new", None, None, {}, Step.SERVE),
    ("new", None, None, {"missing"}, Step.SERVE),
    ("same", "same", "same", {}, Step.KEEP),
    ("tried", "good", "tried", {}, Step.KEEP),
    ("good", "good", "tried", {}, Step.GO_BACK),
    ("new", "good", "tried", {}, Step.IMPORT),
    ("new", "good", "good", {"missing"}, Step.GO_BACK),
    ("new", "good", "new", {"missing"}, Step.GO_BACK),
    ("new", "good", "good", {"missing", "bare"}, Step.IMPORT),
    ("new", "good", "good", {"missing", "broken"}, Step.IMPORT),
    ("same", "same", "same", {"missing", "bare"}, Step.KEEP),
])
def test_what_becomes_of_what_the_files_make(key: str, good: str | None, latest: str | None, state: set[str], step: Step) -> None:
    assert what_now(key, good, latest, missing="missing" in state, broken="broken" in state, bare="bare" in state) is step


# ---- finding ---------------------------------------------------------------------------------------------------------

async def test_loading_imports_and_copies_nothing(folder: Folder) -> None:
    await folder.load({"hello.py": "raise SystemExit\n" + HANDLER.format("hi"), "shop/app.py": HANDLER.format("shop"), "helper.py": "x = 1"})

    assert folder.names() == ["hello", "shop"]
    assert function_arn("shop") in folder.functions
    assert folder.routes() == ["ANY /hello", "ANY /hello/{proxy+}", "ANY /shop", "ANY /shop/{proxy+}"]
    assert not (folder.path / ".microlam").exists()
    assert folder.functions.all()[0].latest.runtime == f"python3.{sys.version_info.minor}"


async def test_who_is_not_there_is_not_found(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("hi")})

    with pytest.raises(FunctionNotFound, match="function:nobody"):
        await folder.functions.current(function_arn("nobody"))
    with pytest.raises(FunctionNotFound):
        await folder.functions.current(function_arn("hello", region="eu-west-1"))
    assert (await folder.functions.current(HELLO)).number == "$LATEST"


async def test_a_broken_configuration_stops_the_start(folder: Folder) -> None:
    folder.write({"microlam.toml": "[functions"})

    with pytest.raises(BrokenToml):
        await folder.functions.load()


async def test_settings_and_variables_reach_the_version(folder: Folder, tmp_path: Path) -> None:
    env_vars = tmp_path / "env.json"
    env_vars.write_text('{"hello": {"C": "3"}}')
    folder = Folder(folder.path, env_vars=env_vars)
    folder.write({
        "hello.py": HANDLER.format("hi"), ".env": "A=1\nAWS_REGION=eu-west-1",
        "microlam.toml": '[functions.hello]\ntimeout = 7\nmemory = 256\nconcurrency = 3\npreload = ["json"]\nenvironment = { B = "2" }',
    })
    await folder.functions.load()

    version = await folder.functions.current(HELLO)

    assert (version.timeout, version.memory, version.concurrency, version.preload) == (7, 256, 3, ("json",))
    assert version.environment == {"A": "1", "B": "2", "C": "3"}
    assert [warning for warning in folder.functions.warnings if "AWS_REGION is reserved" in warning]


# ---- packages --------------------------------------------------------------------------------------------------------

async def test_a_version_runs_from_a_copy_of_its_own_package(folder: Folder) -> None:
    folder.write({
        "hello.py": "import helper, lib.deep\nfrom pathlib import Path\n"
                    "def handler(event, context):\n    return [helper.x, lib.deep.y, Path(__file__).with_name('data.json').read_text()]",
        "helper.py": "x = 1", "lib/__init__.py": "", "lib/deep.py": "y = 2", "data.json": "3",
        "other.py": HANDLER.format("other"), "shop/app.py": HANDLER.format("shop"), "shop/events/a.json": "{}", "events/hello.json": "{}", "tests/t.py": "",
    })
    await folder.functions.load()

    version, shop = await folder.functions.current(HELLO), await folder.functions.current(function_arn("shop"))

    assert await answer_of(version) == [1, 2, "3"]
    assert version.source == str(folder.path)
    assert Path(version.root).is_relative_to(folder.path / ".microlam" / "packages")
    assert sorted(os.listdir(version.root)) == ["data.json", "hello.py", "helper.py", "lib"]
    assert (shop.source, os.listdir(shop.root)) == (str(folder.path / "shop"), ["app.py"])
    assert shop.handler == "app.handler"


async def test_a_data_folder_among_the_functions_is_no_code(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HANDLER.format("hi"))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "app.py").write_text(HANDLER.format("no"))
    said: list[str] = []

    async def nothing(version: Version) -> None: ...

    functions = FolderFunctions(tmp_path, tmp_path / "state", region="us-east-1", account="000000000000", triggers=Triggers(), warm=nothing, retire=nothing,
                          say=said.append)
    await functions.load()

    version = await functions.current(HELLO)

    assert [function.name for function in functions.all()] == ["hello"]
    assert os.listdir(version.root) == ["hello.py"]


async def test_requirements_come_after_the_package(folder: Folder) -> None:
    folder.write({"hello.py": "import tiny\ndef handler(event, context):\n    return tiny.SIZE", "requirements.txt": "--no-index\n"})
    folder.write({"requirements.txt": f"--no-index\n{wheel(folder.path, 'tiny', 'SIZE = 5')}", "shop/app.py": HANDLER.format("shop")})
    await folder.load({"shop/requirements.txt": "--no-index\nno-such-package"})

    assert await folder.answer() == 5
    assert await folder.answer("shop") == "shop"
    assert folder.error() == ""
    assert "no-such-package" in folder.error("shop")


# ---- new code --------------------------------------------------------------------------------------------------------

async def test_the_very_next_request_runs_what_was_saved(folder: Folder) -> None:
    # No watcher runs: whatever the operating system says, or when, a request looks for itself.
    await folder.load({"hello.py": HANDLER.format(0)})

    for number in range(1, 6):
        await folder.functions.current(HELLO)
        folder.write({"hello.py": HANDLER.format(number)})
        assert await folder.answer() == number


async def test_a_save_just_as_another_import_ends_is_seen(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format(0)})
    await folder.functions.current(HELLO)

    async def save_and_ask() -> object:
        folder.spoke.clear()
        await folder.spoke.wait()       # "new code runs" is said in the last step of the renewal: this is the loop's very next one
        folder.write({"hello.py": HANDLER.format(2)})
        return await folder.answer()

    asked = asyncio.create_task(save_and_ask())
    folder.write({"hello.py": HANDLER.format(1)})
    await folder.answer()

    assert await asked == 2


async def test_a_request_looks_at_the_helpers_too(folder: Folder) -> None:
    await folder.load({"hello.py": "import helper\ndef handler(event, context):\n    return helper.x", "helper.py": "x = 0"})
    for number in range(1, 6):
        await folder.functions.current(HELLO)
        await folder.functions.current(HELLO)
        folder.write({"helper.py": f"x = {number}"})
        assert await folder.answer() == number


@pytest.mark.parametrize(("handler", "helper"), [("hello.py", "helper.py"), ("hello.py", "lib/helper.py"), ("hello/app.py", "hello/helper.py")])
async def test_a_request_sees_helpers_come_and_go(folder: Folder, handler: str, helper: str) -> None:
    imported = helper.removeprefix("hello/").removesuffix(".py").replace("/", ".")
    folder.write({
        handler: f"try:\n    from {imported} import x\nexcept ImportError:\n    x = 'none'\ndef handler(event, context):\n    return x",
        "lib/__init__.py": "", "lib/other.py": "",
    })
    await folder.functions.load()
    for number in range(3):
        assert await folder.answer() == "none"
        folder.write({helper: f"x = {number}"})
        assert await folder.answer() == number
        (folder.path / helper).unlink()


async def test_a_changed_helper_is_noticed_too(folder: Folder) -> None:
    await folder.load({"hello.py": "import helper\ndef handler(event, context):\n    return helper.x", "helper.py": "x = 1", "other.py": HANDLER.format("other")})
    assert await folder.answer() == 1
    other = await folder.functions.current(function_arn("other"))

    async with folder.watched():
        folder.write({"helper.py": "x = 2"})
        await until(lambda: len(folder.warmed) == 2)
        assert await folder.answer() == 2
    assert (await folder.functions.current(function_arn("other"))).root != other.root, "helper.py is part of its package"


async def test_the_first_use_is_one_cold_start(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("hi")})

    await folder.answer()

    assert folder.warmed == []


async def test_broken_code_leaves_the_last_good_one_serving(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("good")})
    good = await folder.functions.current(HELLO)

    folder.write({"hello.py": "import nothing_of_that_name\n" + HANDLER.format("bad")})
    for _ in range(5):
        assert (await folder.functions.current(HELLO)).root == good.root
    assert await folder.answer() == "good"
    assert folder.error() == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert len(folder.warmed) == 1, "the same bytes are not imported again"
    assert "ModuleNotFoundError" in folder.said[-1]
    assert "the last good code goes on serving" in folder.said[-1]

    folder.write({"hello.py": HANDLER.format("mended")})
    assert await folder.answer() == "mended"
    assert folder.error() == ""
    broken, _ = folder.warmed
    await until(lambda: sorted(version.root for version in folder.retired) == sorted([good.root, broken.root]))


async def test_going_back_to_the_good_code_needs_no_import(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("good")})
    good = await folder.functions.current(HELLO)
    folder.write({"hello.py": "1 / 0"})
    await folder.functions.current(HELLO)

    folder.write({"hello.py": HANDLER.format("good")})

    assert await folder.functions.current(HELLO) is good
    assert (folder.error(), len(folder.warmed)) == ("", 1)


async def test_an_empty_or_half_written_file_is_waited_out(folder: Folder) -> None:
    folder.write({"hello.py": "from microlam import http\n@http('GET /greeting')\n" + HANDLER.format("good")})
    sys_path = folder.path / "microlam.py"      # the worker in miniature has no microlam: give it one
    sys_path.write_text("def http(route):\n    return lambda handler: handler")
    await folder.functions.load()
    assert await folder.answer() == "good"

    async with folder.watched():
        for text in ("", "import os\n", "def handler(event"):
            folder.write({"hello.py": text})
            await folder.functions.look()
            assert folder.names() == ["hello"]
            assert folder.routes() == ["GET /greeting"]
            assert await folder.answer() == "good"


async def test_a_first_import_that_fails_is_noted(folder: Folder) -> None:
    await folder.load({"hello.py": "import nothing\n" + HANDLER.format("bad")})
    broken = await folder.functions.current(HELLO)
    invocation = Invocation(id="1", arn=HELLO, payload=b"{}", cause="http", queued_at=datetime.now(UTC))
    payload = {"errorType": "Runtime.ImportModuleError", "errorMessage": "Unable to import module 'hello': No module named 'nothing'"}
    folder.functions.ended(invocation, Outcome(status="failed", payload=json.dumps(payload).encode(), cold=True))
    assert "No module named 'nothing'" in folder.error()

    # There is no good code to fall back to: the new code serves, so that the invocation shows its own error.
    folder.write({"hello.py": "import nothing_else\n" + HANDLER.format("bad")})
    worse = await folder.functions.current(HELLO)
    assert worse.root != broken.root
    assert "nothing_else" in folder.error()

    folder.write({"hello.py": HANDLER.format("good")})
    assert await folder.answer() == "good"
    assert folder.error() == ""


async def test_env_vars_for_a_function_that_is_not_there_are_warned_about(tmp_path: Path) -> None:
    env_vars = tmp_path / "env.json"
    env_vars.write_text('{"Parameters": {"A": "1"}, "helo": {"B": "2"}, "zzz": {"B": "2"}, "hello": {"B": "2"}}')
    (tmp_path / "functions").mkdir()
    folder = Folder(tmp_path / "functions", env_vars=env_vars)
    await folder.load({"hello.py": HANDLER.format("hi")})

    assert folder.functions.warnings == (
        "env.json: there is no function helo in the folder, so its variables reach nobody. Did you mean hello?",
        "env.json: there is no function zzz in the folder, so its variables reach nobody. Create it, or remove the entry.",
    )
    folder.write({"zzz.py": HANDLER.format("there now")})
    env_vars.write_text('{"shop": {"B": "2"}}')
    await folder.functions.look()
    assert folder.said[-1] == "Warning: env.json: there is no function shop in the folder, so its variables reach nobody. Create it, or remove the entry."
    assert len(folder.functions.warnings) == 1
    await folder.functions.close()


async def test_a_syntax_error_is_known_before_anybody_asks(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("hi") + "def ("})

    assert folder.error().startswith("Runtime.UserCodeSyntaxError: Syntax error in module 'hello': invalid syntax (hello.py, line 3)")
    assert folder.said == [f"hello: {folder.error()}"]


async def test_many_requests_wait_for_one_import(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("old")})
    await folder.functions.current(HELLO)

    folder.write({"hello.py": HANDLER.format("new")})
    versions = await asyncio.gather(*(folder.functions.current(HELLO) for _ in range(50)))

    assert len({version.root for version in versions}) == 1
    assert await answer_of(versions[0]) == "new"
    assert len(folder.warmed) == 1


async def test_a_request_that_gives_up_does_not_stop_the_import_for_others(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("old")})
    await folder.functions.current(HELLO)
    folder.write({"hello.py": HANDLER.format("new")})
    impatient, patient = (asyncio.create_task(folder.functions.current(HELLO)) for _ in range(2))
    await until(lambda: folder.warmed)

    impatient.cancel()

    assert await answer_of(await patient) == "new"


HANGING = "import time\ntime.sleep(600)\n" + HANDLER.format("late")


async def test_what_is_saved_while_an_import_hangs_is_imported_in_its_place(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("old")})
    await folder.functions.current(HELLO)
    folder.write({"hello.py": HANGING})
    waiting = asyncio.create_task(folder.answer())
    await until(lambda: folder.warmed)

    folder.write({"hello.py": HANDLER.format("new")})

    assert await waiting == "new"
    assert await folder.answer() == "new"
    hanging, new = folder.warmed
    await until(lambda: hanging in folder.retired)      # whatever its import came to, its worker does not stay
    assert new not in folder.retired


async def test_requests_wait_only_so_long_for_an_import(folder: Folder) -> None:
    folder = Folder(folder.path, patience=0.01)
    door = folder.path.parent / "door"
    await folder.load({"hello.py": HANDLER.format("old")})
    await folder.functions.current(HELLO)
    folder.write({"hello.py": f"import os, time\nwhile not os.path.exists({str(door)!r}):\n    time.sleep(0.01)\n" + HANDLER.format("new")})

    assert [await folder.answer() for _ in range(3)] == ["old"] * 3
    assert folder.error() == "StillImporting: after 0.01 s the new code is not imported yet"
    assert "the last good code goes on serving" in folder.said[-1]
    assert len(folder.warmed) == 1

    folder.write({"requirements.txt": "--no-index\nno-such-package"})
    assert await folder.answer() == "old"
    assert "no-such-package" in folder.error()
    (folder.path / "requirements.txt").unlink()
    assert await folder.answer() == "old"
    assert "StillImporting" in folder.error()
    door.touch()
    await until(lambda: not folder.error())
    assert await folder.answer() == "new"
    assert len(folder.warmed) == 2

    folder.write({"hello.py": HANGING})
    assert await folder.answer() == "new"
    folder.write({"hello.py": HANDLER.format("new") + "# mended"})
    await folder.functions.current(HELLO)
    await until(lambda: not folder.error())
    await folder.functions.close()


async def test_requirements_that_cannot_be_installed_leave_the_last_good_code_serving(folder: Folder) -> None:
    good = f"--no-index\n{wheel(folder.path, 'tiny', 'SIZE = 5')}\n"
    await folder.load({"hello.py": "import tiny\ndef handler(event, context):\n    return tiny.SIZE", "requirements.txt": good})
    assert await folder.answer() == 5

    folder.write({"requirements.txt": good + "no-such-package\n"})
    for _ in range(3):
        assert await folder.answer() == 5
    folder.write({"hello.py": "import tiny\ndef handler(event, context):\n    return tiny.SIZE + 1"})
    assert await folder.answer() == 5
    assert "no-such-package" in folder.error()
    assert "the last good code goes on serving" in folder.said[-1]

    folder.write({"requirements.txt": good})
    assert await folder.answer() == 6
    assert folder.error() == ""


async def test_who_never_had_what_it_requires_runs_new_code_without(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("old"), "requirements.txt": "--no-index\nno-such-package"})
    assert await folder.answer() == "old"

    folder.write({"hello.py": HANDLER.format("new")})

    assert await folder.answer() == "new"
    assert "no-such-package" in folder.error()


async def test_a_file_saved_without_a_change_restarts_nothing(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("hi")})
    before = await folder.functions.current(HELLO)

    folder.write({"hello.py": HANDLER.format("hi")})

    assert await folder.functions.current(HELLO) is before
    assert folder.warmed == []


async def test_old_versions_keep_their_bytes(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format(0)})
    versions = []
    for number in range(6):
        folder.write({"hello.py": HANDLER.format(number)})
        versions.append(await folder.functions.current(HELLO))

    assert [await answer_of(version) for version in versions] == list(range(6))


async def test_what_a_handler_writes_beside_itself_changes_nothing(folder: Folder) -> None:
    await folder.load({"hello.py": "from pathlib import Path\ndef handler(event, context):\n    return Path(__file__).with_name('out.py').write_text('x')"})
    before = await folder.functions.current(HELLO)

    async with folder.watched():
        await answer_of(before)
        await folder.functions.look()
        assert await folder.functions.current(HELLO) is before
    assert not (folder.path / "out.py").exists()


# ---- watching --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("poll", [False, True])
async def test_new_and_removed_functions_come_and_go(folder: Folder, poll: bool) -> None:
    folder = Folder(folder.path, poll=poll)
    await folder.load({"hello.py": HANDLER.format("hi")})
    async with folder.watched():
        folder.write({"new.py": HANDLER.format("new"), "shop/app.py": HANDLER.format("shop")})
        await until(lambda: folder.names() == ["hello", "new", "shop"])
        assert await folder.answer("shop") == "shop"

        # The sub-folder is new itself: what happens in it must be seen too.
        folder.write({"shop/app.py": "from microlam import http\n@http('GET /shop')\n" + HANDLER.format("shop")})
        await until(lambda: "GET /shop" in folder.routes())

        (folder.path / "new.py").unlink()
        shutil.rmtree(folder.path / "shop")
        await until(lambda: folder.names() == ["hello"])
        assert folder.routes() == ["ANY /hello", "ANY /hello/{proxy+}"]
        await until(lambda: {version.name for version in folder.retired} == {"shop"})
        with pytest.raises(FunctionNotFound):
            await folder.functions.current(function_arn("shop"))


async def test_functions_in_use_get_their_new_code_before_anyone_asks(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("old"), "unused.py": HANDLER.format("old")})
    await folder.functions.current(HELLO)

    async with folder.watched():
        folder.write({"hello.py": HANDLER.format("new"), "unused.py": HANDLER.format("new")})
        await until(lambda: folder.retired)

    assert [version.name for version in folder.warmed] == ["hello"]
    assert await answer_of(folder.functions.all()[0].latest) == "new"


async def test_a_name_that_is_not_utf_8_does_not_end_the_watch(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format("hi")})
    async with folder.watched():
        folder.write({os.fsdecode(b"\xff.txt"): "", "one.py": HANDLER.format("x")})
        await until(lambda: "one" in folder.names())
        folder.write({os.fsdecode(b"\xfe.txt"): "", "two.py": HANDLER.format("x")})
        await until(lambda: "two" in folder.names())
        folder.write({"hello.py": "from microlam import http\n@http('GET /new')\n" + HANDLER.format("new")})
        await until(lambda: "GET /new" in folder.routes())
    assert folder.names() == ["hello", "one", "two"]


async def test_saving_by_rename_and_by_deletion(folder: Folder) -> None:
    await folder.load({"hello.py": HANDLER.format(0)})
    await folder.functions.current(HELLO)
    async with folder.watched():
        (folder.path / "hello.py~").write_text(HANDLER.format(1))
        os.replace(folder.path / "hello.py~", folder.path / "hello.py")
        assert await folder.answer() == 1

        (folder.path / "hello.py").unlink()
        await until(lambda: folder.names() == [])
        folder.write({"hello.py": HANDLER.format(2)})
        await until(lambda: folder.names() == ["hello"])
        assert await folder.answer() == 2


async def test_a_checkout_of_many_files(folder: Folder) -> None:
    def tree(number: int) -> dict[str, str]:
        modules = {f"lib/m{index}.py": f"x = {number}" for index in range(100)}
        imports = "".join(f"import lib.m{index}\n" for index in range(100))
        total = " + ".join(f"lib.m{index}.x" for index in range(100))
        return {**modules, "lib/__init__.py": "", "hello.py": f"{imports}def handler(event, context):\n    return {total}"}

    folder.write(tree(1))
    await folder.functions.load()
    assert await folder.answer() == 100
    async with folder.watched():
        folder.write(tree(2))
        assert await folder.answer() == 200
        folder.write(tree(3))
        await until(lambda: not folder.functions._tasks and folder.functions.all()[0].latest is not folder.warmed[0])
        assert await folder.answer() == 300
        assert folder.error() == ""


async def test_configuration_and_variables_are_followed(folder: Folder) -> None:
    await folder.load({"hello.py": "import os\ndef handler(event, context):\n    return os.environ.get('A')", ".env": "A=1"})
    assert await folder.answer() == "1"
    async with folder.watched():
        folder.write({".env": "A=2"})
        assert await folder.answer() == "2"

        folder.write({"microlam.toml": '[functions.hello]\nhttp = ["GET /a"]\nenvironment = { A = "3" }'})
        await until(lambda: folder.routes() == ["GET /a"])
        assert await folder.answer() == "3"

        folder.write({"microlam.toml": "[functions.hello"})
        await until(lambda: any("stays in force" in line for line in folder.said))
        assert folder.routes() == ["GET /a"]
        assert await folder.answer() == "3"


async def test_the_data_folder_wakes_nobody(folder: Folder) -> None:
    folder.write({"hello.py": HANDLER.format("hi"), "shop/app.py": HANDLER.format("hi")})
    (folder.path / ".microlam").mkdir()
    await folder.functions.load()
    async with folder.watched():
        folder.write({"fresh.py": HANDLER.format("x")})
        await until(lambda: "fresh" in folder.names())
        looks = folder.functions._looks

        for number in range(200):
            folder.write({".microlam/microlam.db-wal": "x" * number})
        folder.write({"marker.py": HANDLER.format("x")})
        await until(lambda: "marker" in folder.names())

        # The marker alone was a reason to look; a hundred commits were none.
        assert folder.functions._looks <= looks + 3


async def test_copies_of_old_code_go(folder: Folder) -> None:
    folder.write({"hello.py": HANDLER.format("first")})
    left = folder.path / ".microlam" / "packages" / ("0" * 64)
    left.mkdir(parents=True)
    await folder.functions.load()
    await folder.functions.current(HELLO)

    folder.write({"hello.py": HANDLER.format("second")})
    await folder.functions.current(HELLO)

    await until(lambda: not left.exists())
    assert await folder.answer() == "second"


async def test_two_hundred_functions_are_found(folder: Folder) -> None:
    await folder.load({f"f{number}.py": textwrap.dedent(HANDLER.format(number)) for number in range(200)})

    assert len(folder.names()) == 200
    assert await folder.answer("f150") == 150


# ---- the Pythons that functions name -----------------------------------------------------------------------------------

async def test_a_python_that_cannot_be_looked_for_is_told(tmp_path: Path) -> None:
    async def broken(runtime: str) -> str:
        raise OSError(f"no descriptor left for {runtime}")

    folder = Folder(tmp_path, interpreter=broken)
    await folder.load({})
    folder.write({"hello.py": HANDLER.format(1)})
    await folder.functions.look()
    await until(lambda: any("cannot be looked for: OSError('no descriptor left for " in words for words in folder.said))
    await folder.functions.close()


async def test_what_is_closed_before_it_begins_leaves_nothing_that_was_never_awaited(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    async def found(runtime: str) -> str:
        return sys.executable

    folder = Folder(tmp_path, interpreter=found)
    await folder.load({})
    folder.write({"hello.py": HANDLER.format(1)})
    await folder.functions.look()
    await folder.functions.close()      # in the turn in which they were to be looked for
    gc.collect()
    assert not [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)]
