"""Marks change nothing, and the file that bears them runs on every Python that AWS has."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import microlam

REPOSITORY = Path(microlam.__file__).parents[1]

HANDLER = """
import sys
from microlam import http, on_file, schedule

@http("GET /orders/{id}")
@schedule("rate(5 minutes)", timezone="Europe/Berlin", qualifier="live")
@on_file("uploads", prefix="in/", suffix=".png", events=["s3:ObjectCreated:*"])
def handler(event, context):
    return "answered"

print(handler({}, None), *sorted(name for name in sys.modules if name.partition(".")[0] in ("microlam", "aiohttp", "asyncio")))
"""


def _pythons() -> list[str]:
    """Every other Python from 3.8 on that starts: those on the path, and pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [shutil.which(f"python3.{minor}") for minor in range(8, 16)]
    found = [path for path in named if path and "shims" not in path] + [str(path) for path in sorted(versions.glob("3.*/bin/python3"))]
    return [path for path in found if _starts(path)]


def _starts(path: str) -> bool:
    try:
        return subprocess.run([path, "-c", "import sys; sys.exit(sys.version_info < (3, 8))"], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize("python", [sys.executable, *_pythons()])
def test_a_marked_file_runs_with_the_standard_library_alone(python: str, tmp_path: Path) -> None:
    # The package as `pip install --no-deps microlam -t package` leaves it.
    shutil.copytree(REPOSITORY / "microlam", tmp_path / "microlam", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "hello.py").write_text(HANDLER)

    done = subprocess.run([python, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import hello"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["answered", "microlam", "microlam.declare"]


def test_the_adapters_and_the_testing_kit_are_there_when_they_are_asked_for() -> None:
    asked = """
import microlam, sys
early = sorted(name for name in sys.modules if name in ("microlam.adapters", "microlam.testing"))
print(early, microlam.adapters.asgi.__name__, microlam.testing.Client.__name__, hasattr(microlam, "nothing"))
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout == "[] asgi Client False\n", done.stderr


def test_coroutines_and_applications_can_be_marked() -> None:
    async def handler() -> None: ...

    application = object()

    assert microlam.http("GET /")(handler) is handler
    assert microlam.schedule("rate(1 day)")(application) is application


def test_other_public_names_come_when_they_are_asked_for() -> None:
    from microlam.model import Outcome

    assert microlam.Outcome is Outcome
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = microlam.nonsense
