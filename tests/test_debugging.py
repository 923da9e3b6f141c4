"""A debugger attached to a function: over the Debug Adapter Protocol, as VS Code speaks it, and Python's own on the terminal."""
from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WAIT, Serve, environment, until, write

PRICE = """
    RATE = 2

    def handler(event, context):
        price = event["count"] * RATE
        return {"price": price, "left": context.get_remaining_time_in_millis()}
    """


class Debugger:
    """A client of the Debug Adapter Protocol."""

    def __init__(self, port: int) -> None:
        def connected() -> socket.socket | None:
            try:
                return socket.create_connection(("127.0.0.1", port), WAIT)
            except OSError:
                return None

        found = until(connected, "for the debugger's port")
        assert found
        self._socket = found
        self._socket.settimeout(WAIT)
        self._file = self._socket.makefile("rb")
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def attach(self, file: Path, *lines: int) -> None:
        """Attach, with breakpoints, and let it run."""
        self.ask("initialize", adapterID="test", linesStartAt1=True, pathFormat="path")
        attached = self.send("attach", justMyCode=False)
        self.event("initialized")
        self.set_breakpoints(file, *lines)
        self.ask("configurationDone")
        self.answer(attached)

    def set_breakpoints(self, file: Path, *lines: int) -> None:
        answer = self.ask("setBreakpoints", source={"path": str(file)}, breakpoints=[{"line": line} for line in lines])
        assert all(found["verified"] for found in answer["breakpoints"]), answer

    def stopped(self) -> dict[str, Any]:
        """The frame in which it has stopped."""
        thread = self.event("stopped")["threadId"]
        frame: dict[str, Any] = self.ask("stackTrace", threadId=thread)["stackFrames"][0]
        return {**frame, "thread": thread}

    def value(self, frame: dict[str, Any], expression: str) -> str:
        return str(self.ask("evaluate", expression=expression, frameId=frame["id"], context="watch")["result"])

    def go_on(self, frame: dict[str, Any]) -> None:
        self.ask("continue", threadId=frame["thread"])

    # ---- messages ---------------------------------------------------------------------------------------------------

    def send(self, command: str, **arguments: Any) -> int:
        self._number += 1
        body = json.dumps({"seq": self._number, "type": "request", "command": command, "arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self._number

    def ask(self, command: str, **arguments: Any) -> Any:
        return self.answer(self.send(command, **arguments))

    def answer(self, number: int) -> Any:
        while (message := self._read()).get("request_seq") != number:
            self._events.append(message)
        assert message["success"], message
        return message.get("body")

    def event(self, name: str) -> Any:
        for event in self._events:
            if event.get("event") == name:
                self._events.remove(event)
                return event.get("body")
        while (message := self._read()).get("event") != name:
            self._events.append(message)
        return message.get("body")

    def _read(self) -> dict[str, Any]:
        length = 0
        while (line := self._file.readline().strip()) or not length:
            if not line:
                raise ConnectionError("the debugger's end has gone")
            length = int(line.partition(b":")[2])
        message: dict[str, Any] = json.loads(self._file.read(length))
        return message

    def close(self) -> None:
        self.ask("disconnect", terminateDebuggee=False)
        self._socket.close()


def attached(port: int, file: Path, line: int) -> Debugger:
    """A debugger at the worker that comes after one that is just ending, as an editor that attaches again finds it."""
    def attach() -> Debugger | None:
        debugger = Debugger(port)
        try:
            debugger.attach(file, line)
        except OSError:
            return None
        return debugger

    found = until(attach, "for the new worker")
    assert found
    return found


@contextmanager
def later() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def test_a_debugger_attaches_and_while_it_is_there_no_time_passes(serve: Serve) -> None:
    port = free_port()
    server = serve({"price.py": PRICE, "other.py": "def handler(event, context): return 1\n", "microlam.toml": "[functions.price]\ntimeout = 1\n"},
                   "--debug-port", str(port), "--debug-function", "price")
    file = server.folder / "price.py"
    client = server.client()

    def invoke(count: int) -> Any:
        reply = client.invoke(FunctionName="price", Payload=json.dumps({"count": count}))
        return json.load(reply["Payload"])

    assert invoke(1)["price"] == 2
    server.printed(f"price: a debugger may attach at 127.0.0.1:{port}")
    debugger = Debugger(port)
    debugger.attach(file, 5)
    with later() as pool:
        first, second = pool.submit(invoke, 3), pool.submit(invoke, 4)
        seen = set()
        for _ in range(2):      # one worker, one at a time
            frame = debugger.stopped()
            assert (frame["line"], Path(frame["source"]["path"])) == (5, file)
            seen.add(debugger.value(frame, "price"))
            threading.Event().wait(1.1)     # longer than its timeout
            debugger.go_on(frame)
        assert seen == {"6", "8"}
        replies = [first.result(WAIT), second.result(WAIT)]
        assert [reply["price"] for reply in replies] == [6, 8]
        assert all(reply["left"] > 500 for reply in replies)
        assert client.invoke(FunctionName="other")["StatusCode"] == 200
    debugger.set_breakpoints(file)
    debugger.close()
    server.write({"price.py": PRICE.replace('return {', 'while event["count"] == 9: pass\n        return {')})
    assert invoke(9)["errorType"] == "Sandbox.Timedout"     # nobody is attached any more
    assert invoke(1)["price"] == 2


def test_with_wait_a_debugger_sees_the_import_and_finds_new_code_at_the_same_port(serve: Serve) -> None:
    port = free_port()
    server = serve({"price.py": PRICE, "microlam.toml": "[functions.price]\ntimeout = 1\n"}, "--debug-port", str(port), "--wait")
    client = server.client()
    with later() as pool:
        def invoke() -> Any:
            return json.load(client.invoke(FunctionName="price", Payload=b'{"count": 1}')["Payload"])

        for rate in (2, 3):
            server.write({"price.py": PRICE.replace("RATE = 2", f"RATE = {rate}")})
            reply = pool.submit(invoke)
            until(lambda rate=rate: sum("waits for a debugger" in line for line in server.lines) == rate - 1, "for the worker")  # type: ignore[misc]
            debugger = attached(port, server.folder / "price.py", 1)
            frame = debugger.stopped()
            assert frame["line"] == 1
            debugger.go_on(frame)
            assert reply.result(WAIT)["price"] == rate
            debugger.close()
    assert server.stop() == 0
    assert until(lambda: _is_free(port))        # the adapter has gone with its worker


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def test_without_debugpy_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['debugpy'] = None; from microlam.cli import main; sys.exit(main(['dev', sys.argv[1], '--debug-port', '5678', '--port', '0']))"
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment(), timeout=WAIT)
    assert (ran.returncode, "pip install 'microlam[debug]'" in ran.stderr) == (1, True), ran.stderr


def refused(folder: Path, *flags: str) -> str:
    """What a server says that does not start."""
    ran = subprocess.run([sys.executable, "-m", "microlam", "dev", str(folder), "--port", "0", *flags], capture_output=True, text=True, env=environment(), timeout=WAIT)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1), ran
    return ran.stderr


def test_a_port_that_is_taken_is_noticed_at_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "--debug-port", str(port))
    assert said == f"microlam: Address 127.0.0.1:{port} is already in use. Stop the program that uses it, or choose another with --debug-port.\n"


def test_the_servers_own_port_is_not_the_debuggers(tmp_path: Path) -> None:
    port = str(free_port())
    assert "the server's own port. Choose another with --debug-port" in refused(tmp_path, "--port", port, "--debug-port", port)


def test_a_port_that_is_taken_later_is_told_where_a_debugger_would_attach(serve: Serve) -> None:
    port = free_port()
    server = serve({"price.py": PRICE}, "--debug-port", str(port))
    with later() as pool, socket.create_server(("127.0.0.1", port)) as taken:
        reply = pool.submit(server.client().invoke, FunctionName="price", Payload=b'{"count": 1}')
        server.printed(f"price: a debugger may attach at 127.0.0.1:{port}, once nothing else uses that port$")
        taken.close()
        assert json.load(reply.result(WAIT)["Payload"])["price"] == 2


def test_of_the_worker_before_that_still_has_the_port_nothing_is_said(serve: Serve) -> None:
    port = free_port()
    server = serve({"price.py": PRICE}, "--debug-port", str(port))
    client = server.client()

    def price() -> object:
        return json.load(client.invoke(FunctionName="price", Payload=b'{"count": 1}')["Payload"])["price"]

    assert price() == 2
    for rate in (3, 4):
        server.write({"price.py": PRICE.replace("RATE = 2", f"RATE = {rate}")})
        assert price() == rate
    server.stop()
    assert [line for line in server.lines if "a debugger may attach" in line] == 3 * [f"price: a debugger may attach at 127.0.0.1:{port}"]


@pytest.mark.parametrize(("flags", "setting"), [(["--debug-function", "hello"], "debug_function, from --debug-function"), (["--wait"], "wait, from --wait")])
def test_what_does_nothing_without_a_port_is_refused(tmp_path: Path, flags: list[str], setting: str) -> None:
    assert f"{setting}, does nothing without a port for the debugger: set --debug-port too" in refused(tmp_path, *flags)


def test_a_function_that_is_not_there_yet_is_told(serve: Serve) -> None:
    server = serve({"price.py": PRICE, "microlam.toml": "[microlam]\nwait = true\n"}, "--debug-port", str(free_port()), "--debug-function", "rpice")
    assert server.printed("Warning: --debug-function: there is no function rpice yet; there are: price")


def test_breakpoint_opens_pythons_own_debugger_in_the_servers_terminal(tmp_path: Path) -> None:
    write(tmp_path, {
        "price.py": PRICE.replace("return {", "breakpoint()\n        return {"),
        "later.py": PRICE.replace("def handler", "async def handler").replace("return {", "breakpoint()\n        return {"),
        "microlam.toml": '[microlam]\nexecutor = "inprocess"\n[functions.price]\ntimeout = 1\n',
    })
    terminal, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "microlam", "dev", str(tmp_path), "--port", "0"],
                               stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="dumb"), start_new_session=True)
    os.close(theirs)
    shown = b""

    def until_shown(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(terminal, 4096)

    try:
        until_shown(b"Ctrl-C")
        found = re.search(rb"Functions\s+\S*?(http://[\d.:]+)", shown)
        assert found
        url = found[1].decode()
        with later() as pool:
            for name in ("price", "later"):
                shown = b""
                answer = pool.submit(subprocess.run, [
                    sys.executable, "-m", "microlam", "invoke", name, "-e", "-", "--endpoint-url", url,
                ], input='{"count": 7}', capture_output=True, text=True, env=environment())
                until_shown(b"(Pdb)")
                threading.Event().wait(1.1)     # longer than its timeout
                shown = b""
                os.write(terminal, b"p price * 3\n")
                until_shown(b"42")
                until_shown(b"(Pdb)")
                os.write(terminal, b"c\n")
                assert json.loads(answer.result(WAIT).stdout)["price"] == 14
    finally:
        process.terminate()
        assert process.wait(WAIT) == 0
        os.close(terminal)
