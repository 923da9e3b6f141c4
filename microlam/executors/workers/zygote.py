"""A zygote: imports once what workers need, forks them, waits for them, and sees to it that nothing of them is left.

Single-threaded and small. The server orders, one fixed frame an order; a worker's configuration never passes through here, so no function's
secrets are in the memory that the next one is forked from.
"""
from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # there since Python 3.5
import _socket
import array
import base64  # noqa: F401  imported for the workers, as is datetime
import datetime  # noqa: F401
import gc
import json
import os
import select
import signal
import site
import sys
import time
from contextlib import suppress

# What threading and logging do after a fork, to locks that another thread may have held, takes as long as the fork itself. The zygote has no other
# thread: it is put off until a worker may have some.
AT_FORK: list[dict[str, Callable[[], object]]] = []
_register, os.register_at_fork = os.register_at_fork, lambda **hooks: AT_FORK.append(hooks)
from . import python, system  # noqa: E402
from .frames import ENDED, EVENT, EXEC, HELLO, KILL, ORDER, STARTED  # noqa: E402

os.register_at_fork = _register

TYPE_CHECKING = False
if TYPE_CHECKING:       # importing typing would cost every worker memory
    from collections.abc import Callable
    from typing import NoReturn

DESCRIPTORS = array.array("i")
CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
LAST_WAIT = 5.0         # seconds that killed processes have to end when the server is gone
# Run by `python -c`, with the folder of these modules as the first argument; their package has a name that no handler's module has.
BOOT = "import sys; p = type(sys)('_microlam_worker'); p.__path__ = [sys.argv[1]]; sys.modules[p.__name__] = p; from _microlam_worker import zygote; zygote."
WORKER = BOOT + "become_worker()"


def main() -> NoReturn:
    """The zygote, from its command line: folder of these modules, the control socket's descriptor, and what to import."""
    control = _socket.socket(fileno=int(sys.argv[2]))
    wanted = json.loads(sys.argv[3])
    # Not die_with_parent: killed with the server, we could kill nobody. The end of the control socket tells us.
    system.adopt_orphans()
    prepare(wanted)
    before = set(sys.modules)
    failed = preload(wanted["preload"])
    worker = python.Worker()
    worker.rehearse()
    hello = json.dumps({"modules": sorted({name.partition(".")[0] for name in set(sys.modules) - before}), "failed": failed, "threads": threads()}).encode()
    gc.collect()
    gc.freeze()
    with suppress(OSError):     # the server is gone already: the first read says so
        control.sendall(EVENT.pack(HELLO, len(hello), os.getpid(), 0, 0) + hello)
    Zygote(control, worker).serve()


def become_worker() -> NoReturn:
    """A worker that was exec'd, from its command line: folder of these modules, and who its parent is."""
    register_hooks()
    python.Worker().begin(3, 4, 5, int(sys.argv[2]))


def register_hooks() -> None:
    """Let the forks of a handler do what those of the zygote did not need."""
    for hooks in AT_FORK:
        os.register_at_fork(**hooks)


def prepare(wanted: dict[str, object]) -> None:
    """What the interpreter's own start does, and -S left out."""
    gc.disable()
    if sys.flags.no_site:
        site.setquit()
        site.setcopyright()
        site.sethelper()
        sys.prefix = sys.exec_prefix = str(wanted["prefix"])
    sys.path[:] = [entry for entry in sys.path if entry]
    sys.path.extend(entry for entry in wanted["site"] if entry not in sys.path)  # type: ignore[attr-defined]


def preload(names: list[str]) -> dict[str, str]:
    """Import the modules; what fails is the handlers' to find out, but the server is told."""
    failed = {}
    for name in names:
        try:
            __import__(name)
        except BaseException as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def threads() -> int:
    if os.path.isdir("/proc/self/task"):
        return len(os.listdir("/proc/self/task"))
    import threading
    return threading.active_count()


class Zygote:
    """The loop: orders come in, children end."""

    def __init__(self, control: _socket.socket, worker: python.Worker) -> None:
        self.control, self.worker = control, worker
        self.numbers: dict[int, int] = {}       # process → worker
        self.pids: dict[int, int] = {}          # worker → process
        self.given: list[int] = []              # descriptors that have come and belong to the next orders
        self.received = b""
        self.wake, signalled = os.pipe()
        for descriptor in (self.wake, signalled):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        poll = select.poll()
        poll.register(self.control.fileno(), select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self.wake:
                    os.read(self.wake, 4096)
                    self.reap()
                else:
                    self.take_orders()

    def take_orders(self) -> None:
        try:
            received, extra, _, _ = self.control.recvmsg(4096, _socket.CMSG_SPACE(16 * DESCRIPTORS.itemsize), CLOSE_ON_EXEC)
        except OSError:         # reset: it went before it had read all we told
            received = b""
        if not received:
            self.end()
        for _, _, data in extra:
            self.given.extend(array.array("i", data[:len(data) - len(data) % DESCRIPTORS.itemsize]))
        self.received += received
        while len(self.received) >= ORDER.size:
            order, number = ORDER.unpack_from(self.received)
            self.received = self.received[ORDER.size:]
            if order == KILL:
                self.kill(number)
            else:
                self.start(number, fresh=order == EXEC)

    def start(self, number: int, *, fresh: bool) -> None:
        """Fork one worker; the descriptors that came with the order are its link, its calls and its log."""
        (link, calls, log), self.given = self.given[:3], self.given[3:]
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            become(start_fresh if fresh else self.worker.begin, link, calls, log, parent)
        for descriptor in (link, calls, log):
            os.close(descriptor)
        self.numbers[pid], self.pids[number] = number, pid
        self.tell(STARTED, number, pid)

    def kill(self, number: int) -> None:
        pid = self.pids.get(number)
        if pid is not None:
            kill_group(pid)

    def reap(self) -> bool:
        """Report the workers that have ended, and end whatever they leave behind; false when nobody is left."""
        anybody, ended = True, False
        while True:
            try:
                pid, status, peak = self.take_ended()
            except ChildProcessError:
                anybody = False
                break
            if not pid:
                break
            ended = True
            number = self.numbers.pop(pid, None)
            if number is not None:
                del self.pids[number]
                self.tell(ENDED, number, pid, status, peak)
        if ended and anybody:
            self.kill_orphans()
        return anybody

    def take_ended(self) -> tuple[int, int, int]:
        """A child that has ended, or 0, its wait status and its most resident bytes; its group ends with it."""
        if not hasattr(os, "waitid"):
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid in self.numbers:
                kill_group(pid)
            return pid, status, usage.ru_maxrss * python.RSS_UNIT
        # Looked at before it is taken away: until then the group's number cannot become another's.
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return 0, 0, 0
        if found.si_pid in self.numbers:
            kill_group(found.si_pid)
        pid, status, usage = os.wait4(found.si_pid, 0)
        return pid, status, usage.ru_maxrss * python.RSS_UNIT

    def kill_orphans(self) -> None:
        """Each worker adopts the orphans below it: one that has become our child has lost its worker."""
        for pid in system.children(os.getpid()):
            if pid not in self.numbers:
                kill_group(pid)

    def tell(self, event: int, number: int, pid: int, status: int = 0, peak: int = 0) -> None:
        """Let the server know what has become of a worker."""
        with suppress(OSError):     # the server is gone: the next read says so
            self.control.sendall(EVENT.pack(event, number, pid, status, peak))

    def end(self) -> NoReturn:
        """The server is gone, however it went: so is everything it started."""
        deadline = time.monotonic() + LAST_WAIT
        for pid in list(self.numbers):
            kill_group(pid)
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        while self.reap() and time.monotonic() < deadline:
            self.kill_orphans()
            if poll.poll(50):
                os.read(self.wake, 4096)
        os._exit(0)


def kill_group(pid: int) -> None:
    """Kill a process with its group; before it has become a group's leader, it alone."""
    for kill, target in ((os.killpg, pid), (os.kill, pid)):
        with suppress(OSError):
            kill(target, signal.SIGKILL)


def become(worker: Callable[[int, int, int, int], NoReturn], link: int, calls: int, log: int, parent: int) -> NoReturn:
    """Be a worker and never again the zygote, whatever happens."""
    try:
        signal.set_wakeup_fd(-1)
        _signal.signal(signal.SIGCHLD, _signal.SIG_DFL)  # signal.signal() is slow to find a name for what was there before
        register_hooks()
        worker(link, calls, log, parent)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def start_fresh(link: int, calls: int, log: int, parent: int) -> NoReturn:
    """Become a worker by exec: for environments that hold what is read only when a process starts."""
    own_link, own_calls, own_log = python.settle(link, calls, log, parent)
    environment = json.loads(python.read_configuration(own_link))["environment"]
    for descriptor, own in enumerate((own_link.fileno(), own_calls.fileno(), own_log), 3):
        os.dup2(own, descriptor)
    os.execve(sys.executable, [sys.executable, "-S", "-c", WORKER, os.path.dirname(__file__), str(parent)], environment)
