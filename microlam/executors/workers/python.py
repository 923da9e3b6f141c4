"""One worker: one process, which imports one handler and runs one invocation after the other, until it is ended.

It is forked by a zygote (or exec'd, where the environment must be there from the start) and holds four descriptors: its link to the
server, the socket that its calls come by, the pipe that it writes to, and /dev/null.
"""
from __future__ import annotations

import _imp
import _socket
import fcntl
import gc
import io
import json
import linecache
import logging
import os
import resource
import select
import signal
import sys
import time
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)

from . import system
from .frames import BLOCK, CONFIGURATION, MARK, READY, REPLY, REQUEST, UNUSABLE
from .handler import (
    JsonFormatter,
    LambdaLoggerHandler,
    context_of,
    dump_error,
    error_line,
    error_of,
    fail,
    find_handler,
    finish,
    fitting,
    last_words,
    read_event,
)

TYPE_CHECKING = False
if TYPE_CHECKING:       # importing typing would cost every worker memory
    from collections.abc import Callable
    from typing import Any, NoReturn

# How many bytes wait in a pipe, which only Linux tells whoever writes them; elsewhere there is always a mark.
FIONREAD = 0x541B if sys.platform == "linux" else 0
NOTHING = bytes(4)
OWN_DESCRIPTORS = 100   # from here on, away from the numbers that programs close blindly
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def settle(link: int, calls: int, log: int, parent: int) -> tuple[_socket.socket, _socket.socket, int]:
    """Become a group of our own that nothing outlives, and let go of every descriptor that is not ours."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    system.adopt_orphans()
    system.die_with_parent(signal.SIGKILL)
    system.wait_for_turn()
    if os.getppid() != parent:      # it ended before the kernel knew what we want
        os._exit(1)
    os.dup2(log, 1)
    os.dup2(log, 2)
    own_link, own_calls, own_log = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, OWN_DESCRIPTORS) for descriptor in (link, calls, log))
    os.closerange(3, OWN_DESCRIPTORS)
    return _socket.socket(fileno=own_link), _socket.socket(fileno=own_calls), own_log


def read_configuration(link: _socket.socket) -> bytes:
    """The first frame, and not a byte more: the next one may have to be read by another program."""
    return receive(link, CONFIGURATION.unpack(receive(link, CONFIGURATION.size))[0])


def receive(link: _socket.socket, size: int) -> bytes:
    received = link.recv(size)
    while len(received) < size:
        more = link.recv(size - len(received))
        if not more:
            os._exit(0)     # the server is gone
        received += more
    return received


class Worker:
    """One handler, imported once, called for each invocation that the server sends.

    The zygote makes it, with all that is the same in every worker, before any process is forked to be it.
    """

    link: _socket.socket
    calls: _socket.socket
    configuration: dict[str, Any]
    context: type
    call: Callable[[Any, Any], Any]

    def __init__(self) -> None:
        self.log = Log()
        self.stdout, self.stderr = self.log.stream(1, "<stdout>"), self.log.stream(2, "<stderr>")
        self.timeout, self.log_format, self.request_id, self.pid = 0.0, "", "", 0
        self.logger = LambdaLoggerHandler(self.log.print, lambda: self.request_id, "Text")
        self.coroutines = Coroutines()

    def begin(self, link: int, calls: int, log: int, parent: int) -> NoReturn:
        """Be a worker, from a fresh process on; `link`, `calls` and `log` are descriptors, `parent` is the zygote."""
        self.link, self.calls, own_log = settle(link, calls, log, parent)
        if not select.select([self.link], [], [], 0)[0]:
            self.rehearse()     # while the server is still busy with the code
        text = read_configuration(self.link)
        begun = time.perf_counter()
        self.configure(json.loads(text), own_log)
        self.work(begun)

    def rehearse(self) -> None:
        """Do, and undo, what it will have to do when somebody waits for it.

        In the zygote: the first program that Python compiles takes a millisecond longer than others. In a worker: memory that it has in common with the
        zygote becomes its own when it is touched, and to have the kernel copy some hundred pages, one by one, takes longer than all else.
        """
        folder = os.path.dirname(__file__)
        Loader.root = folder
        spec = find_own(folder).find_spec("frames")
        if spec is not None and isinstance(spec.loader, Loader):
            exec(spec.loader.get_code("frames"), {"__name__": "frames"})
        os.environ["_"] = json.loads('["a", {"b": 1.5}]')[0]
        os.environ.clear()
        logging.getLogger().addHandler(self.logger)
        logging.getLogger().removeHandler(self.logger)
        context_of({"function_name": ""}, self.log.print)("", "", "", 1.0)
        read_event(b"{}")
        finish({"statusCode": 200})

    def configure(self, configuration: dict[str, Any], log: int) -> None:
        """Take in all that it is told about itself."""
        self.configuration = configuration
        self.timeout, self.log_format, self.pid = configuration["timeout"], configuration["log_format"], os.getpid()
        self.log.open(log, configuration["log_limit"], bytes.fromhex(configuration["mark"]))
        self.context = context_of(configuration["context"], self.log.print)

    def work(self, begun: float) -> NoReturn:
        """Import the handler, then serve for as long as we are let."""
        try:
            self.prepare()
            if self.configuration.get("debug"):
                from .debugging import listen
                self.context = listen(self.configuration["debug"], self.context)
            self.call = find_handler(self.configuration["handler"])
        except Exception as error:
            described = error_of(error, "")
            self.log.say(error_line(described, self.log_format))
            self.send(UNUSABLE, time.perf_counter() - begun, fitting(dump_error(described)))
            os._exit(1)
        except BaseException as error:
            self.leave(error)
        self.send(READY, time.perf_counter() - begun, "{}.{}.{}".format(*sys.version_info).encode())
        if not select.select([self.calls], [], [], 0)[0]:
            self.write_bytecode()   # nobody waits for it yet
        temporary = self.configuration["temporary"]
        while True:
            if not os.access(temporary, os.F_OK):
                os.makedirs(temporary, 0o700, exist_ok=True)      # a handler has cleared it away, as it would /tmp, which stays on AWS
            self.serve()

    def write_bytecode(self) -> None:
        """Keep what importing has compiled, for the workers that follow."""
        while Loader.unwritten:
            Loader.unwritten.pop()()

    def prepare(self) -> None:
        """Make the process look to the handler as a Lambda does."""
        configuration = self.configuration
        os.environ.clear()
        for name, value in configuration["environment"].items():
            os.environ[name] = value
        if hasattr(time, "tzset"):
            time.tzset()
        os.chdir(configuration["root"])
        sys.stdout = sys.__stdout__ = self.stdout   # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr   # type: ignore[misc]
        set_up_logging(self.logger, self.log_format)
        sys.argv = [__file__]
        behind = [entry for entry in sys.path if entry]
        sys.path[:] = [configuration["root"], *configuration["path"], *behind, *(entry for entry in configuration["site"] if entry not in behind)]
        load_from(configuration["root"], configuration["source"], configuration["bytecode"])
        gc.enable()

    def serve(self) -> None:
        """Receive one invocation, run it, and reply."""
        head, payload = self.next_request()
        started = time.perf_counter()
        request_id, arn, client_context = head.decode().split("\n", 2)
        self.request_id = request_id
        self.log.begin()
        digits = request_id.replace("-", "")
        os.environ["_X_AMZN_TRACE_ID"] = f"Root=1-{int(time.time()):08x}-{digits[-24:]};Parent={digits[-16:]};Sampled=0"
        try:
            kind, reply = self.run(request_id, arn, client_context, payload)
        except BaseException as error:
            self.leave(error)
        if os.getpid() != self.pid:
            os._exit(0)     # the handler forked, and this is the child: the reply is its parent's to give
        self.send(kind, time.perf_counter() - started, reply)
        self.write_bytecode()

    def run(self, request_id: str, arn: str, client_context: str, payload: bytes) -> tuple[int, bytes]:
        try:
            context = self.context(request_id, arn, client_context, self.timeout)
            result = self.call(read_event(payload), context)
            # AWS refuses a coroutine; here it is awaited.
            if hasattr(result, "__await__"):
                result = self.coroutines.run(result)
            return finish(result)
        except Exception as error:
            return fail(error, request_id, self.log_format, self.say)

    def say(self, text: str) -> None:
        """Print how it failed."""
        if os.getpid() == self.pid:
            self.log.say(text)
        else:       # a child that the handler has forked sets no marks: those of its parent are counted
            self.log.print(text)

    def leave(self, error: BaseException) -> NoReturn:
        """End as the interpreter would after sys.exit(), and after what nobody catches."""
        words, status = last_words(error)
        if words:
            # The server hears of no reply, and so not of what was dropped, with the end of a line perhaps.
            self.say(f"\n{words}" if self.log.dropped else words)
        import atexit
        atexit._run_exitfuncs()
        os._exit(status)

    def next_request(self) -> tuple[bytes, bytes]:
        # The next one may be there already: the server takes back what we do not read in time.
        received = self.calls.recv(BLOCK)
        while len(received) < BLOCK:
            received += receive(self.calls, BLOCK - len(received))
        head, payload = REQUEST.unpack_from(received)
        end = REQUEST.size + head + payload
        if end > BLOCK:
            received = b"".join([received, receive_long(self.link, end - BLOCK)])
        return received[REQUEST.size:REQUEST.size + head], received[REQUEST.size + head:end]

    def send(self, kind: int, seconds: float, payload: bytes) -> None:
        peak, marks = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT, self.log.end(imported=kind in (READY, UNUSABLE))
        try:
            self.link.sendall(REPLY.pack(MARK, kind, len(payload), seconds, peak, marks, self.log.dropped) + payload)
        except OSError:
            os._exit(1)     # the handler closed our socket, or the server is gone


def receive_long(link: _socket.socket, size: int) -> bytearray:
    received = bytearray(size)
    view, position = memoryview(received), 0
    while position < size:
        count = link.recv_into(view[position:])
        if not count:
            os._exit(0)
        position += count
    return received


class Coroutines:
    """The event loop that `async def` handlers are awaited on; it stays, with what they keep in it, from one invocation to the next."""

    def __init__(self) -> None:
        self._loop: Any = None

    def run(self, awaitable: Any) -> Any:
        if self._loop is None or self._loop.is_closed():
            import asyncio
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        result, error = self._loop.run_until_complete(self._settled(awaitable))
        if error is not None:
            raise error
        return result

    @staticmethod
    async def _settled(awaitable: Any) -> tuple[Any, BaseException | None]:
        # Caught here, the traceback begins with the handler's frames and not with the loop's.
        try:
            return await awaitable, None
        except BaseException as error:
            return None, error


# ---- output ----------------------------------------------------------------------------------------------------------

class Log:
    """The worker's log: a pipe that the server reads, at most `limit` bytes of it an invocation, and a mark after each that has written."""

    def __init__(self) -> None:
        self.open(-1, 0, b"")

    def open(self, descriptor: int, limit: int, mark: bytes) -> None:
        """Write there from now on."""
        self._descriptor, self._limit, self._mark = descriptor, limit, mark
        self.begin()

    def begin(self) -> None:
        """An invocation begins, with all its room."""
        self._room, self.dropped, self._marks = self._limit, 0, 0

    def write(self, data: bytes) -> None:
        """Write what there is room for, and count the rest."""
        if len(data) > self._room:
            self.dropped += len(data) - self._room
            data = data[:self._room]
        self._room -= len(data)
        self._put(data)

    def print(self, text: str) -> None:
        """Write text, as far as there is room."""
        self.write(text.encode("utf-8", "backslashreplace"))

    def say(self, text: str) -> None:
        """Print how it failed, however much has been printed before, in as many bytes again."""
        self._put(self._mark)       # by itself: so short a write is never torn
        self._put(text.encode("utf-8", "backslashreplace")[:self._limit])
        self._marks += 1

    def end(self, *, imported: bool = False) -> int:
        """Set a mark behind what was written, by sub-processes too, and tell how many there are; none where the server has read all.

        Behind an import there is always one: the server is still reading while the first invocation writes.
        """
        if imported or self._marks or not FIONREAD or fcntl.ioctl(self._descriptor, FIONREAD, NOTHING) != NOTHING:
            self._put(self._mark)
            self._marks += 1
        return self._marks

    def _put(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data):]
            except BlockingIOError:     # the handler has made its descriptors so, and ours with them
                select.select([], [self._descriptor], [])

    def stream(self, number: int, name: str) -> io.TextIOWrapper:
        """A text stream for sys.stdout or sys.stderr: each write is in the pipe when it returns, so a crash loses none."""
        return io.TextIOWrapper(Stream(self, number, name), encoding="utf-8", errors="backslashreplace", write_through=True)


class Stream(io.BufferedIOBase):
    """Bytes on their way to the log; calls itself descriptor 1 or 2 but does not need them."""

    def __init__(self, log: Log, number: int, name: str) -> None:
        self._log, self._number, self.name, self.mode = log, number, name, "wb"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        taken = bytes(data)
        self._log.write(taken)
        return len(taken)


def set_up_logging(handler: logging.Handler, log_format: str) -> None:
    if log_format == "JSON":
        handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper().replace("TRACE", "DEBUG")
    if level in ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "FATAL", "CRITICAL"):
        root.setLevel(level)


# ---- importing the function's own modules ----------------------------------------------------------------------------

class Loader(SourceFileLoader):
    """Imports what lies under `root`: its bytecode is kept in `bytecode` (nowhere, if empty), its code says it is from `source`.

    `unwritten` is the bytecode that is still to be written: nobody who waits for an import is to wait for that.
    """

    root = source = bytecode = ""
    unwritten: list[Callable[[], None]] = []  # noqa: RUF012  one process has one root

    def source_to_code(self, data: Any, path: Any, **more: Any) -> Any:  # type: ignore[override]
        return super().source_to_code(data, self.shown(path), **more)

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        if not self.bytecode:
            return self.source_to_code(self.get_data(path), path)
        # Only for the function's own modules: all others keep theirs beside them, or would be compiled anew for each version.
        sys.pycache_prefix, others = self.bytecode, sys.pycache_prefix
        try:
            code = super().get_code(fullname)
        finally:
            sys.pycache_prefix = others
        # Bytecode that was read back has been given the path it was read for.
        _imp._fix_co_filename(code, self.shown(path))  # type: ignore[attr-defined]
        return code

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        self.unwritten.append(lambda: super(Loader, self).set_data(path, data, _mode=_mode))

    def shown(self, path: str) -> str:
        return self.source + path[len(self.root):] if is_under(path, self.root) else path


def find_own(path: str) -> FileFinder:
    """Finds modules in the function's own folders, for `Loader`."""
    if not is_under(path, Loader.root):
        raise ImportError
    return FileFinder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (Loader, SOURCE_SUFFIXES), (SourcelessFileLoader, BYTECODE_SUFFIXES))


def load_from(root: str, source: str, bytecode: str) -> None:
    """Import what lies under `root` by our own loader."""
    Loader.root, Loader.source, Loader.bytecode = root, source or root, bytecode
    sys.path_hooks.insert(0, find_own)
    if Loader.source != root:
        show_lines(root, source)


def show_lines(root: str, source: str) -> None:
    """Let tracebacks show the lines that run, also when the author's file has changed since."""
    update = linecache.updatecache

    def updatecache(filename: str, module_globals: Any = None) -> list[str]:
        lines = update(root + filename[len(source):], module_globals) if is_under(filename, source) else []
        if not lines:
            return update(filename, module_globals)
        linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
        return lines

    linecache.updatecache = updatecache


def is_under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)
