"""The server's side of zygotes: start one, give it orders, hear what becomes of its workers; end those that are of no more use."""
from __future__ import annotations

import array
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from microlam.executors.workers.frames import ENDED, EVENT, EXEC, FORK, HELLO, KILL, ORDER, STARTED
from microlam.executors.workers.system import limit_files

LAST_WAIT = 10.0        # seconds that a closing zygote has

_FOLDER = str(Path(__file__).parent / "workers")
_BOOT = ("import sys; p = type(sys)('_microlam_worker'); p.__path__ = [sys.argv[1]]; sys.modules[p.__name__] = p; "
         "from _microlam_worker import zygote; zygote.main()")


class Child(Protocol):
    """A worker, as its zygote speaks of it."""

    pid: int

    def started(self, pid: int) -> None:
        """Its process is there."""

    def ended(self, status: int | None, peak: int = 0) -> None:
        """Its process has ended, with this wait status, None where nobody knows, and with so many resident bytes at most."""


class Zygote:
    """One process that workers are forked from: one interpreter, one set of modules imported ahead."""

    def __init__(self, interpreter: str, preload: tuple[str, ...], *, environment: Mapping[str, str], site: list[str]) -> None:
        self.interpreter, self.preload = interpreter, preload
        self.workers: dict[int, Child] = {}
        self.alive = True
        self.idle_since = 0.0
        self.modules: frozenset[str] = frozenset()      # what the preload brought along
        self.failed: Mapping[str, str] = {}             # what of the preload could not be imported, and why
        self.forks = True                               # false: a preload left threads, which no fork would have
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._outgoing: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._incoming = b""
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        with theirs:
            self._process = _start(interpreter, preload, theirs, environment=environment, site=site)
        self._loop.add_reader(self._socket, self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, number: int, child: Child, link: socket.socket, calls: int, output: int, *, fresh: bool) -> None:
        """Have a process started that speaks over `link`, is called by `calls` and writes into `output`; forked, or exec'd."""
        self.workers[number] = child
        self._order(EXEC if fresh else FORK, number, (link.detach(), calls, output))

    def kill(self, number: int) -> None:
        """Have a worker killed, with everything below it."""
        self._order(KILL, number)

    def _order(self, order: int, number: int, descriptors: tuple[int, ...] = ()) -> None:
        self._outgoing.append((ORDER.pack(order, number), descriptors))
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                self._socket.sendmsg([data], rights)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:
                pass    # it is gone, which the next read tells
            self._outgoing.popleft()
            _close(descriptors)
        if self.alive:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            received = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._lost()
            return
        self._incoming += received
        while self.alive and len(self._incoming) >= EVENT.size:
            event, number, pid, status, peak = EVENT.unpack_from(self._incoming)
            size = EVENT.size + (number if event == HELLO else 0)
            if len(self._incoming) < size:
                return
            message, self._incoming = self._incoming[EVENT.size:size], self._incoming[size:]
            if event == HELLO:
                self._greeted(message)
            elif event == STARTED and number in self.workers:
                self.workers[number].started(pid)
            elif event == ENDED and number in self.workers:
                self._ended(number, status, peak)

    def _greeted(self, message: bytes) -> None:
        hello = json.loads(message)
        self.modules, self.failed, self.forks = frozenset(hello["modules"]), hello["failed"], hello["threads"] == 1
        self.ready.set_result(None)

    def _ended(self, number: int, status: int | None, peak: int = 0) -> None:
        worker = self.workers.pop(number)
        self.idle_since = self._loop.time()
        worker.ended(status, peak)

    def _lost(self) -> None:
        """It ended by itself, or somebody killed it. The kernel ends its workers; their groups are ours to end."""
        self._let_go()
        for number, worker in list(self.workers.items()):
            if worker.pid:
                with suppress(OSError):
                    os.killpg(worker.pid, signal.SIGKILL)
            self._ended(number, None)

    def _let_go(self) -> None:
        self.alive = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        for _, descriptors in self._outgoing:
            _close(descriptors)
        self._outgoing.clear()
        self._socket.close()
        if not self.ready.done():
            self.ready.set_result(None)

    def dismiss(self) -> None:
        """Let it end: it kills what it has started, and then itself."""
        if self.alive:
            self._let_go()

    def gone(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Wait, blocking, for its process to end, and kill it if it does not."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Zygotes:
    """The zygotes of an executor: one an interpreter and what is imported ahead on it. `before_each` is called before one is started."""

    def __init__(self, base: Mapping[str, str], before_each: Callable[[], None]) -> None:
        # Almost empty: /proc/self/environ of every worker shows it.
        self._environment = {name: value for name, value in base.items() if name in ("LANG", "LC_ALL", "LC_CTYPE")} or {"LANG": "C.UTF-8"}
        self._before_each = before_each
        self._zygotes: dict[tuple[str, tuple[str, ...]], Zygote] = {}
        self._dismissed: list[Zygote] = []

    @property
    def settled(self) -> bool:
        """Whether none is there but the one that stays."""
        return len(self._zygotes) <= 1 and not self._dismissed

    def known(self, interpreter: str, preload: tuple[str, ...]) -> Zygote | None:
        """The one that there is."""
        return self._zygotes.get((interpreter, preload))

    def get(self, interpreter: str, preload: tuple[str, ...], site: list[str]) -> Zygote:
        """The one that there is, or a new one."""
        zygote = self.known(interpreter, preload)
        if zygote is None or not zygote.alive:
            if zygote is not None:
                self._dismissed.append(zygote)
            self._before_each()
            zygote = self._zygotes[interpreter, preload] = Zygote(interpreter, preload, environment=self._environment, site=site)
        return zygote

    def tidy(self, idle: float) -> None:
        """Let those end that have had no worker for so many seconds; the default one stays."""
        now = asyncio.get_running_loop().time()
        for key, zygote in list(self._zygotes.items()):
            unused = not zygote.workers and now - zygote.idle_since > idle and key != (sys.executable, ())
            if unused or not zygote.alive:
                zygote.dismiss()
                self._dismissed.append(self._zygotes.pop(key))
        self._dismissed = [zygote for zygote in self._dismissed if not zygote.gone()]

    async def close(self) -> None:
        """Let all end, and wait until they have."""
        zygotes = [*self._zygotes.values(), *self._dismissed]
        for zygote in zygotes:
            zygote.dismiss()
        await asyncio.gather(*(asyncio.to_thread(zygote.wait, LAST_WAIT) for zygote in zygotes))


def _close(descriptors: tuple[int, ...]) -> None:
    """Close our copies of a worker's ends, once they are sent. Those of its calls stay: what it does not read is taken back."""
    if descriptors:
        link, _, output = descriptors
        os.close(link)
        os.close(output)


def _start(
    interpreter: str, preload: tuple[str, ...], control: socket.socket, *, environment: Mapping[str, str], site: list[str]
) -> subprocess.Popen[bytes]:
    # Another interpreter has its own site-packages; ours comes without, because reading .pth files takes longer than all else.
    own = interpreter == sys.executable
    wanted = json.dumps({"preload": preload, "site": site, "prefix": sys.prefix})
    command = [interpreter, *(("-S",) if own else ("-s",)), "-c", _BOOT, _FOLDER, str(control.fileno()), wanted]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(environment), cwd="/", pass_fds=(control.fileno(),), start_new_session=True,
    )
    limit_files(process.pid)
    return process
