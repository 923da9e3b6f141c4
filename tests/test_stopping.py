"""The end of a server: what runs may finish, what waits is answered, and what is not begun stays on disk."""
from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from microlam import Microlam
from microlam.faces import Faces
from tests.conftest import Serve, Server, until

HELLO = "def handler(event, context): return {'message': 'hello'}"
SLOW = """
import os, time
def handler(event, context):
    open(os.environ["BEGAN"], "a").write("x")
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)
    return "done"
"""
INVOKE = "/2015-03-31/functions/slow/invocations"


def connect(server: Server) -> http.client.HTTPConnection:
    host, port = re.findall(r"//([^:/]+):(\d+)", server.url)[0]
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.connect()
    return connection


class Slow:
    """A function that runs until it is let go, and those who call it."""

    def __init__(self, serve: Serve, folder: Path, *flags: str, concurrency: int = 1) -> None:
        self.began, self._go = folder / "began", folder / "go"
        self._go.unlink(missing_ok=True)
        self.server: Server = serve({
            "hello.py": HELLO, "slow.py": SLOW,
            "microlam.toml": f"[functions.slow]\ntimeout = 60\nconcurrency = {concurrency}\nenvironment = {{ BEGAN = '{self.began}', GO = '{self._go}' }}\n",
        }, *flags)
        self.statuses: list[int] = []
        self._callers: list[threading.Thread] = []

    def call(self, method: str = "POST", path: str = INVOKE) -> None:
        """Call it, and go on."""
        connection = self.connect()
        connection.request(method, path, b"{}" if method == "POST" else None)
        caller = threading.Thread(target=self._read, args=(connection,))
        caller.start()
        self._callers.append(caller)
        assert self.server.health["status"] == "ready"      # it has come before this

    def _read(self, connection: http.client.HTTPConnection) -> None:
        try:
            self.statuses.append(connection.getresponse().status)
        except ConnectionError:
            self.statuses.append(0)

    def connect(self) -> http.client.HTTPConnection:
        return connect(self.server)

    def let_go(self) -> None:
        self._go.touch()

    def ended(self) -> list[int]:
        """What the callers got, once the server has ended."""
        assert self.server.process.wait(30) == 0
        for caller in self._callers:
            caller.join()
        assert self.server._reader
        self.server._reader.join()
        return self.statuses

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.server.process.send_signal(number)


def test_a_stopping_server_finishes_what_it_has_and_takes_nothing_more(serve: Serve, tmp_path: Path) -> None:
    slow = Slow(serve, tmp_path)
    idle = slow.connect()
    idle.request("GET", "/hello")
    assert json.loads(idle.getresponse().read()) == {"message": "hello"}
    slow.call()
    until(slow.began.exists)
    slow.call("GET", "/slow")       # waits for the one worker
    slow.signal()
    assert slow.server.printed("Stopping: 2 invocations still run or wait, at most 10 s; Ctrl-C again ends at once")
    with pytest.raises(ConnectionRefusedError):
        slow.connect()
    idle.request("GET", "/hello")
    refused = idle.getresponse()
    assert (refused.status, refused.headers["Connection"]) == (503, "close")
    slow.let_go()
    assert slow.ended() == [200, 200]
    assert slow.began.read_text() == "xx"


def test_a_handler_that_finishes_may_still_call_aws_on_the_connection_it_has(serve: Serve, tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    server = serve({"hello.py": HELLO, "last.py": f"""
        import json, os, time
        import boto3
        def handler(event, context):
            client = boto3.client("lambda")
            replies = [json.load(client.invoke(FunctionName="hello")["Payload"])]
            open({str(began)!r}, "w").close()
            while not os.path.exists({str(go)!r}):
                time.sleep(0.01)
            return replies + [json.load(client.invoke(FunctionName="hello")["Payload"])]
    """, "microlam.toml": "[functions.last]\ntimeout = 60\n"})
    with ThreadPoolExecutor(1) as thread:
        reply = thread.submit(server.get, "/last")
        until(began.exists)
        server.process.send_signal(signal.SIGTERM)
        assert server.printed("Stopping: 1 invocation still runs")
        go.touch()
        assert reply.result().json() == [{"message": "hello"}] * 2
    assert server.process.wait(30) == 0


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/hello", 200), ("POST", "/2015-03-31/functions/hello/versions", 201)])
def test_what_waits_for_its_saved_code_is_answered_too(serve: Serve, tmp_path: Path, method: str, path: str, status: int) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    server = serve({"hello.py": HELLO})
    assert server.get("/hello").status == 200
    server.write({"hello.py": f"import os, time\nopen({str(began)!r}, 'w').close()\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n" + HELLO})
    waiting = connect(server)
    waiting.request(method, path, b"{}" if method == "POST" else None)
    until(began.exists)
    assert server.health["status"] == "ready"       # it has come before this
    server.process.send_signal(signal.SIGTERM)
    assert server.printed("Stopping")
    go.touch()
    assert waiting.getresponse().status == status
    assert server.process.wait(30) == 0


@pytest.mark.parametrize("sent", [b"POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12", b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3])
def test_a_client_that_is_not_done_does_not_hold_up_the_stop(serve: Serve, tmp_path: Path, sent: bytes) -> None:
    server = serve({"hello.py": HELLO, "large.py": "def handler(event, context): return {'body': 'x' * 5_900_000}"}, "--drain", "3600")
    host, port = re.findall(r"//([^:/]+):(\d+)", server.url)[0]
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(sent)
        assert server.get("/hello").status == 200       # it has come before this
        if b"large" in sent:
            server.ended(1, function="large")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


def test_what_waits_is_refused_when_the_time_is_over_and_all_is_on_record(serve: Serve, tmp_path: Path) -> None:
    slow = Slow(serve, tmp_path, "--drain", "0.5")
    slow.call()
    until(slow.began.exists)
    slow.call()
    slow.call("GET", "/slow")
    slow.signal(signal.SIGINT)
    assert sorted(slow.ended()) == [0, 429, 503]
    lines = [line for line in slow.server.lines if re.search("slow .*(crashed|throttled)", line)]
    assert sorted(word for line in lines for word in ("crashed", "throttled") if word in line) == ["crashed", "throttled", "throttled"]
    records = serve().invocations(function="slow")
    assert sorted(record["status"] for record in records) == ["crashed", "throttled", "throttled"]
    [crashed] = [record for record in records if record["status"] == "crashed"]
    assert crashed["duration_ms"] > 0


def test_events_that_are_not_begun_stay_on_disk(serve: Serve, tmp_path: Path) -> None:
    slow = Slow(serve, tmp_path)
    for _ in range(3):
        slow.server.client().invoke(FunctionName="slow", InvocationType="Event", Payload=b"{}")
    until(slow.began.exists)
    assert len(slow.server.invocations(status="pending")) == 2      # they stand in line
    slow.signal()
    assert slow.server.printed("Stopping: 1 invocation still runs, at most 10 s")
    slow.let_go()
    assert slow.ended() == []
    assert slow.began.read_text() == "x"
    assert [record["status"] for record in serve().ended(3, function="slow")] == ["succeeded"] * 3
    assert slow.began.read_text() == "xxx"


def test_a_signal_that_comes_twice_at_once_is_one(serve: Serve, tmp_path: Path) -> None:
    slow = Slow(serve, tmp_path)
    slow.call()
    until(slow.began.exists)
    slow.signal(signal.SIGTERM)
    slow.signal(signal.SIGINT)      # `timeout` signals its child, and then the group that the child is in
    assert slow.server.printed("Stopping")
    slow.let_go()
    assert slow.ended() == [200]


def test_a_live_tail_does_not_hold_up_the_stop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    server = serve({"hello.py": HELLO})
    assert server.get("/hello").status == 200
    group = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/hello"
    stream = iter(server.client("logs").start_live_tail(logGroupIdentifiers=[group])["responseStream"])
    assert "sessionStart" in next(stream)
    server.process.send_signal(signal.SIGTERM)
    assert all("sessionUpdate" in event for event in stream)     # it ends, and is not cut off
    assert server.process.wait(30) == 0


async def test_what_still_arrives_is_refused(tmp_path: Path) -> None:
    async with Microlam(tmp_path) as lam:
        faces = Faces(lam)
        runner = web.ServerRunner(web.Server(faces.serve))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
            faces.close()
            async with client.get("/_microlam/health") as reply:
                assert (reply.status, reply.headers["Connection"], json.loads(await reply.read())) == (503, "close", {"message": "Service Unavailable"})
        await runner.cleanup()
