"""The wheel: installed in an empty environment it serves the samples, and older Pythons take its decorators."""
from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import pytest

from microlam.executors.interpreters import find_python
from tests.conftest import environment, until

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    [wheel] = folder.glob("microlam-*.whl")
    return wheel


@pytest.mark.parametrize("runtime", ["python3.8", "python3.10"])
def test_older_pythons_install_the_decorators(wheel: Path, tmp_path: Path, runtime: str) -> None:
    python = find_python(runtime, os.environ)
    if python is None:
        pytest.skip(f"there is no {runtime}")
    package = tmp_path / "package"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-requires-python", str(wheel), "-t", str(package)]
    subprocess.run(install, check=True)
    (package / "hello.py").write_text("from microlam import http\n@http('GET /')\ndef handler(event, context): return 'answered'\n")
    ran = subprocess.run([python, "-c", "import hello; print(hello.handler({}, None))"], cwd=package, capture_output=True, text=True, check=True)
    assert ran.stdout == "answered\n"
    # and no more than these
    for command in (["-m", "microlam", "dev", "."], [str(package / "bin" / "microlam"), "dev", "."]):
        ran = subprocess.run([python, *command], cwd=package, env=environment(PYTHONPATH=str(package)), capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"microlam needs Python 3.11 or newer; this is Python {runtime.removeprefix('python')}.\n")


def test_the_wheel_serves_the_samples_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty")
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", str(wheel)], check=True)
    command = [str(tmp_path / "empty" / "bin" / "microlam"), "dev", str(ROOT / "sample_functions"), "--port", "0", "--data", str(tmp_path / "data")]
    with open(tmp_path / "printed", "w") as printed:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=printed, env=environment())
    try:
        until(lambda: "Ctrl-C" in (tmp_path / "printed").read_text(), "for the server's start")
        url = next(word for word in (tmp_path / "printed").read_text().split() if word.startswith("http://"))
        with urllib.request.urlopen(f"{url}/hello?name=Ada") as reply:
            assert reply.read() == b'{"message": "Hello, Ada!"}'
        page = urllib.request.Request(url, headers={"Accept": "text/html"})
        with urllib.request.urlopen(page) as reply:
            assert b"thumbnails" in reply.read()
    finally:
        server.terminate()
        assert server.wait(30) == 0
