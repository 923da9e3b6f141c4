"""Runtimes on the interpreters of this machine: found, lent boto3, and missed with a warning."""
from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from microlam.executors.interpreters import Interpreters, allows, find_python
from microlam.functions.configuration import PYTHONS
from microlam.model import OWN_RUNTIME
from tests.conftest import Serve
from tests.test_requirements import wheel

FOUND = {name: path for name in PYTHONS if name != OWN_RUNTIME and (path := find_python(name, os.environ))}
HANDLER = """
    import sys
    def handler(event, context):
        try:
            import boto3
            account = boto3.client("sts", region_name="us-east-1").get_caller_identity()["Account"]
        except ImportError as error:
            account = str(error)
        return {"version": list(sys.version_info[:2]), "account": account}
"""


def script(folder: Path, name: str, text: str) -> Path:
    """A command of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# ---- through the front door ------------------------------------------------------------------------------------------

@pytest.mark.skipif(not FOUND, reason="no other Python here")
def test_each_runtime_runs_on_its_own_interpreter_and_can_call_aws_where_boto3_allows(serve: Serve) -> None:
    names = {runtime: runtime.replace(".", "_") for runtime in FOUND}
    toml = "".join(f'[functions.{name}]\nruntime = "{runtime}"\ntimeout = 20\n' for runtime, name in names.items())
    server = serve({"microlam.toml": toml, **{f"{name}.py": HANDLER for name in names.values()}})

    for runtime, name in names.items():
        minor = int(runtime.rpartition(".")[2])
        reply = server.client().invoke(FunctionName=name)
        answer = json.load(reply["Payload"])
        assert answer["version"] == [3, minor]
        # The locked boto3 needs 3.10; below it an interpreter has none, as if it were not installed.
        assert answer["account"] == ("000000000000" if minor >= 10 else "No module named 'boto3'")
        record = server.invocation(reply["ResponseMetadata"]["RequestId"])
        assert record["runtime"].startswith(f"Python 3.{minor}.")
        assert "[microlam]" not in record["logs"]
    assert all(function["warnings"] == [] for function in server.get("/_microlam/functions.json").json()["functions"])


@pytest.mark.skipif(not FOUND, reason="no other Python here")
def test_requirements_are_installed_by_the_python_that_runs_them(serve: Serve, tmp_path: Path) -> None:
    runtime = list(FOUND)[-1]
    # Only an installer of that version takes it.
    marker = f"python_version == '{runtime.removeprefix('python')}'"
    server = serve({
        "microlam.toml": f'[functions.old]\nruntime = "{runtime}"\ntimeout = 20\n', "old.py": "import tiny\ndef handler(event, context): return tiny.SIZE",
        "requirements.txt": f"--no-index\ntiny @ file://{tmp_path}/{wheel(tmp_path, 'tiny', 'SIZE = 7')[2:]} ; {marker}\n",
    })
    assert server.client().invoke(FunctionName="old")["Payload"].read() == b"7", server.lines


def test_a_runtime_that_is_missing_runs_on_the_servers_python_and_says_so(serve: Serve, tmp_path: Path) -> None:
    # What pyenv leaves on the path: a command that finds no such Python.
    shim = script(tmp_path / "shims", "python3.9", "echo 'pyenv: python3.9: command not found' >&2; exit 127")
    files = {"microlam.toml": '[functions.old]\nruntime = "python3.9"\n', "old.py": "import sys\ndef handler(event, context): return list(sys.version_info[:2])"}
    server = serve(files, PATH=f"{shim.parent}{os.pathsep}/bin", HOME=str(tmp_path), PYENV_ROOT="")

    sentence = f"no python3.9 was found on this machine, so Python 3.{sys.version_info.minor} runs it: install one (pyenv install 3.9, or uv python install 3.9)"
    server.printed(sentence.replace(" runs it:", " runs old:").partition("(")[0])     # nobody has called it yet
    reply = server.client().invoke(FunctionName="old")
    assert reply["Payload"].read() == f"[3, {sys.version_info.minor}]".encode()

    record = server.invocation(reply["ResponseMetadata"]["RequestId"])
    assert record["runtime"] == "Python {}.{}.{}".format(*sys.version_info)
    assert record["logs"].splitlines()[1].startswith(f"[microlam] {sentence}")
    [function] = server.get("/_microlam/functions.json").json()["functions"]
    assert [warning for warning in function["warnings"] if sentence in warning] == function["warnings"] != []
    again = server.client().invoke(FunctionName="old")
    assert "[microlam]" not in server.invocation(again["ResponseMetadata"]["RequestId"])["logs"]
    assert len([line for line in server.lines if "no python3.9 was found" in line]) == 1


def test_a_runtime_that_is_missing_is_told_with_who_asks_for_it_as_soon_as_that_is_saved(serve: Serve, tmp_path: Path) -> None:
    handler = "def handler(event, context): ..."
    server = serve({"one.py": handler, "two.py": handler, "three.py": handler}, PATH="/bin", HOME=str(tmp_path), PYENV_ROOT="")
    server.write({"microlam.toml": "".join(f'[functions.{name}]\nruntime = "python3.9"\n' for name in ("one", "two"))})
    assert server.printed(rf"^Warning: no python3\.9 was found on this machine, so Python 3\.{sys.version_info.minor} runs one, two: install one ")


@pytest.mark.parametrize("flags", [(), ("--executor", "inprocess")])
def test_a_runtime_is_of_no_effect_within_the_server_which_says_so(serve: Serve, flags: tuple[str, ...]) -> None:
    runtime = next(name for name in PYTHONS if name != OWN_RUNTIME)
    own = "" if flags else 'executor = "inprocess"\n'
    server = serve({
        "microlam.toml": f'[functions.old]\nruntime = "{runtime}"\n{own}[functions.same]\nruntime = "{OWN_RUNTIME}"\n{own}',
        "old.py": "import sys\ndef handler(event, context): return list(sys.version_info[:2])", "same.py": "def handler(event, context): ...",
    }, *flags)

    [warning] = server.health["warnings"]
    assert warning.startswith(f'old: runtime = "{runtime}" is of no effect with executor = "inprocess": the server\'s own process runs the function, on {OWN_RUNTIME}.')
    server.printed(f"Warning: {re.escape(warning)}")
    assert server.client().invoke(FunctionName="old")["Payload"].read() == json.dumps(list(sys.version_info[:2])).encode()
    server.write({"microlam.toml": f'[functions.old]\nexecutor = "inprocess"\n[functions.same]\nruntime = "{runtime}"\nexecutor = "inprocess"\n'})
    server.printed(f'Warning: same: runtime = "{runtime}" is of no effect')     # said of what is saved meanwhile, too


# ---- looking ---------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not FOUND, reason="no other Python here")
@pytest.mark.parametrize("place", ["path", ".pyenv/versions/{version}.99/bin", ".local/share/uv/python/cpython-{version}.1-linux-x86_64-gnu/bin"])
def test_one_is_found_on_the_path_and_where_pyenv_and_uv_keep_them(tmp_path: Path, place: str) -> None:
    name, real = next(iter(FOUND.items()))
    version = name.removeprefix("python")
    script(tmp_path / "shims", name, "exit 127")                                                                # does not start
    script(tmp_path / "liar", name, "echo python2.7 /usr/bin/python")                                           # is of another version
    there = script(tmp_path / place.format(version=version), name, f'exec "{real}" "$@"')
    path = os.pathsep.join([str(tmp_path / "nowhere"), str(tmp_path / "shims"), str(tmp_path / "liar"), *([str(there.parent)] if place == "path" else [])])

    assert find_python(name, {"PATH": path, "HOME": str(tmp_path)}) == real
    assert find_python("python3.99", {"PATH": path, "HOME": str(tmp_path)}) is None


async def test_one_is_looked_for_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    script(tmp_path, "python3.99", f"echo . >> {asked}; exit 1")
    said: list[str] = []
    interpreters = Interpreters(environment={"PATH": str(tmp_path)}, say=said.append)

    assert interpreters.known("python3.99") is None
    first = await interpreters.find("python3.99")
    assert (first.path, first.missing) == (sys.executable, "python3.99")
    assert await interpreters.find("python3.99") is first
    assert asked.read_text() == ".\n"
    assert len(said) == 1


async def test_the_servers_own_is_not_looked_for(tmp_path: Path) -> None:
    script(tmp_path, OWN_RUNTIME, f"echo . >> {tmp_path / 'asked'}")
    found = await Interpreters(environment={"PATH": str(tmp_path)}).find(OWN_RUNTIME)
    assert (found.path, found.notice) == (sys.executable, "")
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(("requires", "version", "allowed"), [
    ("", (3, 8), True), (">=3.10", (3, 9), False), (">= 3.10", (3, 10), True), ("!=3.0.*,!=3.1.*,!=3.2.*,>=2.7", (3, 8), True),
    (">=3.8,<3.13", (3, 13), False), ("!=3.9.*", (3, 9), False), ("~=3.9", (3, 9), False),
])
def test_what_a_distribution_requires_of_python_is_kept(requires: str, version: Any, allowed: bool) -> None:
    assert allows(requires, version) is allowed
