"""A real server for tests that go through the front door: `serve` writes the files it is given and runs `microlam dev` over them. And a store for those behind it."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

import pytest

from microlam.executors import Executor
from microlam.store import Store
from tests.labs import Lab, new_processes

T = TypeVar("T")
WAIT = 30.0     # seconds until a test gives up on something that must come


def until(look: Callable[[], T], what: str = "") -> T:
    """Look again and again until there is something to see; for what comes without saying so."""
    deadline = time.monotonic() + WAIT
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited in vain {what}: {seen!r}"
        time.sleep(0.01)
    return seen


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass(frozen=True)
class Reply:
    """An HTTP reply."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running `microlam dev`."""

    folder: Path
    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as reply:
                return Reply(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def write(self, files: Mapping[str, str]) -> None:
        write(self.folder, files)

    def client(self, service: str = "lambda", **options: Any) -> Any:
        """A boto3 client of this server."""
        import boto3
        from botocore.config import Config
        config = Config(retries={"max_attempts": 0}, read_timeout=WAIT, signature_version=options.pop("signature_version", None))
        options = {"region_name": "us-east-1", "aws_access_key_id": "000000000000", "aws_secret_access_key": "test", **options}
        return boto3.client(service, endpoint_url=self.url, config=config, **options)  # type: ignore[call-overload]

    def invocations(self, **filters: str) -> list[dict[str, Any]]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        reply = self.get(f"/_microlam/invocations.json?{query}")
        assert reply.status == 200, reply.text
        invocations: list[dict[str, Any]] = reply.json()["invocations"]
        return invocations

    def invocation(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/_microlam/invocations/{id}.json").json()
        return found

    def ended(self, count: int = 1, **filters: str) -> list[dict[str, Any]]:
        """The invocations of a filter, once there are so many and all have ended."""
        def look() -> list[dict[str, Any]]:
            found = self.invocations(limit="1000", **filters)
            return found if len(found) >= count and all(each["status"] not in ("pending", "running") for each in found) else []
        return until(look, f"for {count} invocations of {filters}")

    @property
    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/_microlam/health").json()
        return found

    def printed(self, pattern: str) -> str:
        """The first line the server printed, or prints, that matches."""
        return until(lambda: next((line for line in list(self.lines) if re.search(pattern, line)), ""), f"for {pattern} in {self.lines}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(WAIT)
        if self._reader:
            self._reader.join(WAIT)
        return status

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))


def refused(call: Callable[..., Any], **params: Any) -> tuple[int, str, str]:
    """The status, code and sentence of a boto3 call that is refused."""
    from botocore.exceptions import ClientError
    with pytest.raises(ClientError) as caught:
        call(**params)
    response: Any = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Files by name, their text dedented."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content).lstrip("\n"))


def environment(**more: str) -> dict[str, str]:
    """The tests' own environment, without what would configure a server or a client."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MICROLAM_"))}
    return kept | more


def start(folder: Path, *flags: str, **variables: str) -> Server:
    """Run `microlam dev` over a folder and wait until it is ready."""
    command = [sys.executable, "-m", "microlam", "dev", str(folder), "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(**variables))
    server = Server(folder, process)
    server._reader = threading.Thread(target=server._read, daemon=True)
    server._reader.start()
    until(lambda: process.poll() is not None or any("Ctrl-C" in line for line in server.lines), "for the server's start")
    assert process.poll() is None, "\n".join(server.lines)
    found = re.search(r"http://\S+", next(line for line in server.lines if "Functions" in line))
    assert found
    server.url = re.sub(r"\x1b\[\d+m", "", found.group())
    return server


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """serve({"hello.py": "…"}, "--flag", …) → a Server over these files; called again, another over the same folder."""
    servers: list[Server] = []

    def begin(files: Mapping[str, str] | None = None, *flags: str, **variables: str) -> Server:
        folder = tmp_path / "functions"
        folder.mkdir(exist_ok=True)
        write(folder, files or {})
        servers.append(start(folder, *flags, **variables))
        return servers[-1]

    yield begin
    for server in servers:
        server.stop(signal.SIGKILL)


OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[OpenStore]:
    """await open_store() → a Store; called again after it was closed, another over the same folder."""
    async with AsyncExitStack() as stack:
        async def open_store(folder: Path = tmp_path / "data", **options: Any) -> Store:
            store = await Store.open(folder, **options)
            stack.push_async_callback(store.close)
            return store

        yield open_store


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()


OpenLab = Callable[..., Lab]


@pytest.fixture
async def open_lab(tmp_path: Path) -> AsyncIterator[OpenLab]:
    """open_lab(limit=4) → a Lab of worker processes with these settings; open_lab(executor) → one of that executor."""
    async with AsyncExitStack() as stack:
        def open_lab(executor: Executor | None = None, **settings: Any) -> Lab:
            lab = Lab(tmp_path, executor or new_processes(tmp_path, **settings))
            stack.push_async_callback(lab.executor.close)
            return lab

        yield open_lab
