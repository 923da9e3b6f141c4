"""The servers that are compared: each answers the same bytes at GET /hello on a port of 127.0.0.1."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BODY = '{"message": "hello"}'
HELLO = f"""
def handler(event, context):
    return {{"statusCode": 200, "headers": {{"content-type": "application/json"}}, "body": '{BODY}'}}
"""
ASYNC_HELLO = HELLO.replace("def ", "async def ")
BARE = f"""
import sys
from aiohttp import web
async def hello(request):
    return web.Response(text='{BODY}', content_type="application/json")
app = web.Application()
app.router.add_get("/hello", hello)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""
EMBEDDED = """
import sys
from aiohttp import web
import microlam
app = web.Application()
microlam.setup(app, sys.argv[2], prefix="", admin=None, data=sys.argv[3])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


@dataclass(frozen=True)
class Server:
    """A running one."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def get(self, path: str = "/hello") -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as reply:
            body: bytes = reply.read()
            return body


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def usual_environment() -> dict[str, str]:
    """The caller's, where Python keeps compiled modules, as it does for most people: else each start compiles ours anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextmanager
def running(
    command: Sequence[str], port: int, folder: Path, *, path: str = "/hello", wait: bool = True, environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server until the block ends; with `wait`, from its first reply on."""
    log = open(folder / f"log-{port}", "wb")  # noqa: SIM115
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**usual_environment(), **(environment or {})}, start_new_session=True)
    server = Server(process, port, folder)
    try:
        if wait:
            wait_for_reply(server, path)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own group: start_new_session
            process.wait()
        log.close()


def wait_for_reply(server: Server, path: str = "/hello") -> None:
    """Ask until it answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            server.get(path)
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                log = (server.folder / f"log-{server.port}").read_text(errors="replace")
                raise SystemExit(f"{server.process.args!r} does not answer: {error}\n{log}") from error
            time.sleep(0.002)


@contextmanager
def scratch(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder with these files."""
    with tempfile.TemporaryDirectory(prefix="microlam-bench-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        yield folder


@contextmanager
def bare(*, wait: bool = True) -> Iterator[Server]:
    """aiohttp with one route."""
    with scratch({"bare.py": BARE}) as folder:
        port = free_port()
        with running([sys.executable, "bare.py", str(port)], port, folder, wait=wait) as server:
            yield server


@contextmanager
def microlam(files: Mapping[str, str], *flags: str, path: str = "/hello", wait: bool = True) -> Iterator[Server]:
    """`microlam serve` over these files."""
    with scratch(files) as folder:
        port = free_port()
        command = [sys.executable, "-m", "microlam", "serve", str(folder), "--port", str(port), *flags]
        with running(command, port, folder, path=path, wait=wait) as server:
            yield server


@contextmanager
def embedded(files: Mapping[str, str]) -> Iterator[Server]:
    """microlam in an aiohttp Application."""
    with scratch({"host.py": EMBEDDED, **{f"functions/{name}": text for name, text in files.items()}}) as folder:
        port = free_port()
        with running([sys.executable, "host.py", str(port), "functions", "data"], port, folder) as server:
            yield server
