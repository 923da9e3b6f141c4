"""The wheel, installed in an empty environment, serves the samples."""
from __future__ import annotations

import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

from tests.conftest import environment, until

ROOT = Path(__file__).parent.parent


def test_the_wheel_serves_the_samples_from_an_empty_environment(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    [wheel] = tmp_path.glob("microlam-*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
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
