"""InProcess: handlers inside the host's own process and loop, for embedding and for debugging.

Coroutines run concurrently in the loop, other handlers on threads. There is no wall: working directory and memory are the host's, a thread that
overruns its time can only be abandoned, and a crash is the host's crash.
"""
from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast
from weakref import WeakValueDictionary

import orjson

from microlam.executors import INIT_TIMEOUT, Credentials, ExecutorStatistics, WorkerStatistics, logs, variables
from microlam.executors.belonging import belonging
from microlam.executors.capture import Output, capture, current, print_to_log
from microlam.executors.context import apart
from microlam.executors.environment import context_of, environment_of, new_log_stream
from microlam.executors.lasting import Call, Lasting
from microlam.executors.namespaces import Namespace
from microlam.executors.threads import Settled, Threads
from microlam.executors.workers import handler as runtime
from microlam.executors.workers.frames import SUCCEEDED
from microlam.executors.workers.python import RSS_UNIT
from microlam.model import Invocation, Outcome, Version, new_id

Handler = Callable[..., object]
Ending = tuple[str, bytes, str, str]    # status and payload; the platform's error and sentence, if it ended badly
_numbers = itertools.count(1)
PYTHON = platform.python_version()
RUNTIME = f"Python {PYTHON}"
MOMENT = 1.0            # seconds for which the output is held after an invocation


@dataclass(eq=False)
class Loaded:
    """A version whose handler has been imported."""

    version: Version
    call: Handler
    make_context: type[runtime.LambdaContext]
    namespace: Namespace | None
    variables: dict[str, str | None] | None     # None: it has the host's
    log_stream: str
    output: bytes           # printed by the import
    seconds: float          # it took
    since: datetime
    on_loop: bool           # a coroutine function: needs no thread
    invocations: int = 0
    running: int = 0


class NotLoaded(Exception):
    """The import failed, or took too long (then there is no error), and so does the invocation that wanted it."""

    def __init__(self, error: BaseException | None, output: Output, seconds: float) -> None:
        super().__init__()
        self.error, self.output, self.seconds = error, output, seconds


class Raised(Exception):
    """What a handler on a thread raised, carried past the coroutines in between: some exceptions mean something to them."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Limit:
    """The time that an invocation has: when it is over, the task that waits for it is cancelled. asyncio's own needs two coroutines more."""

    __slots__ = ("_loop", "_seconds", "_task", "_timer", "_wishes", "began", "call", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self._loop, self._seconds, self._task, self._wishes = loop, seconds, task, task.cancelling()
        self._timer: asyncio.TimerHandle | None = None
        self.began = loop.time()
        self.call: Call | None = None
        self.expired = False

    def watch(self) -> None:
        """The invocation lasts: from now on there is a timer."""
        self._timer = self._loop.call_at(self.began + self._seconds, self._expire)

    def forget(self) -> None:
        """Let an invocation that has come to a breakpoint take what time it likes. From any thread."""
        call = self.call
        if call is not None:
            call.over = True
        self._loop.call_soon_threadsafe(self._stop)

    def is_callers_wish(self) -> bool:
        """Whether it is the caller who has cancelled the task."""
        return self._task.cancelling() > self._wishes + self.expired

    def end(self) -> None:
        """The invocation is over."""
        self.call = None        # it knows us: neither would go before the next collection
        if self._timer is not None:
            self._stop()
        if self.expired:
            self._task.uncancel()

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class InProcess:
    """Runs versions in the host's process; imported handlers have the environment variables that a worker of their own would have."""

    def __init__(
        self, *, endpoint_url: str = "", credentials: Credentials | None = None, log_limit: int = 1 << 20, init_timeout: float = INIT_TIMEOUT,
    ) -> None:
        self._endpoint_url, self._log_limit, self._init_timeout = endpoint_url, log_limit, init_timeout
        self._credentials = credentials or Credentials(secret_key="", session_token="")
        self._registered: dict[str, Handler] = {}
        self._loaded: dict[str, Loaded] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()     # of imports that are under way
        self._leaving: dict[Loaded, asyncio.Event] = {}
        self._threads = Threads()
        self._lasting = Lasting()
        self._ran = False
        self._letting_go: asyncio.TimerHandle | None = None
        self._closed = False
        variables.enter()
        belonging.enter()

    def register(self, version: Version, handler: Handler) -> None:
        """Let this callable be the version's handler, instead of one to import."""
        self._registered[version.key] = handler

    # ---- the executor's verbs -----------------------------------------------------------------------------------

    async def run(self, version: Version, invocation: Invocation) -> Outcome:
        """Run it here and now. Cancelled, a coroutine is cancelled too, and a thread abandoned."""
        loaded = self._loaded.get(version.key)
        cold = loaded is None
        if loaded is None:
            try:
                loaded, cold = await self._load(version)
            except NotLoaded as failure:
                return unusable(version, failure, invocation.id)
        loaded.running += 1
        try:
            return await self._run(loaded, invocation, cold=cold)
        finally:
            loaded.running -= 1
            if not loaded.running and loaded in self._leaving:
                self._leaving[loaded].set()

    def begin(self, version: Version, invocation: Invocation, waiter: asyncio.Future[Outcome | None]) -> bool:
        """Nothing begins without its task."""
        return False

    def behind(self, version: Version) -> None:
        """Nothing need wait for another."""

    def abandon(self, invocation: Invocation) -> None:
        """Nothing was begun."""

    def at_most(self, version: Version, limit: int) -> int:
        """As many as may run."""
        return limit

    async def warm(self, version: Version) -> Outcome | None:
        """Import the handler."""
        try:
            await self._load(version)
        except NotLoaded as failure:
            return unusable(version, failure, new_id())
        return None

    def expect(self, version: Version) -> None:
        """Nothing of it can be started before its code is there."""

    async def retire(self, version: Version) -> None:
        """Let what runs finish, then forget the version's modules."""
        loaded = self._loaded.pop(version.key, None)
        self._registered.pop(version.key, None)
        if loaded is None:
            return
        if loaded.running:
            self._leaving[loaded] = asyncio.Event()
            await self._leaving[loaded].wait()
            del self._leaving[loaded]
        if loaded.namespace is not None:
            loaded.namespace.close()

    def statistics(self) -> ExecutorStatistics:
        """What is loaded, one entry a version."""
        return ExecutorStatistics(workers=tuple(
            WorkerStatistics(
                pid=os.getpid(), key=loaded.version.key, name=loaded.version.name, number=loaded.version.number, busy=loaded.running > 0,
                since=loaded.since, invocations=loaded.invocations, memory=peak(),
            ) for loaded in self._loaded.values()
        ))

    async def close(self) -> None:
        """Forget everything that was imported; threads that still run are abandoned."""
        self._threads.close()
        if not self._closed:
            self._closed = True
            belonging.leave()
            variables.leave()
        self._lasting.close()
        if self._letting_go is not None:
            self._letting_go.cancel()
            self._letting_go = None
            capture.leave()
        for loaded in self._loaded.values():
            if loaded.namespace is not None:
                loaded.namespace.close()
        self._loaded.clear()

    # ---- importing ----------------------------------------------------------------------------------------------

    async def _load(self, version: Version) -> tuple[Loaded, bool]:
        """The version's handler, and whether it had to be imported. Nobody waits for it longer than an import may take, whoever began it."""
        output, seconds = Output("", self._log_limit), max(self._init_timeout, version.timeout)
        limit = Limit(asyncio.get_running_loop(), seconds)
        output.stopped = limit.forget
        limit.watch()
        try:
            async with self._locks.setdefault(version.key, asyncio.Lock()):
                loaded = self._loaded.get(version.key)
                if loaded is not None:
                    return loaded, False
                loaded = self._loaded[version.key] = await self._import(version, output)
                return loaded, True
        except asyncio.CancelledError:
            if limit.is_callers_wish():
                raise
            raise NotLoaded(None, output, seconds) from None
        finally:
            limit.end()

    async def _import(self, version: Version, output: Output) -> Loaded:
        began, since, log_stream = time.perf_counter(), datetime.now(UTC), new_log_stream(version)
        namespace, own = None, None
        call: Handler
        if version.key in self._registered:
            call = self._registered[version.key]
        else:
            namespace = Namespace(f"_microlam_{next(_numbers)}", [version.root, *version.path], version.source)
            own = self._variables(version, log_stream)
            try:
                found, error = await self._find(version, namespace, output, own)
            except BaseException:       # cancelled: its thread goes on alone, with nothing to import from
                namespace.close()
                raise
            if found is None:
                namespace.close()
                raise NotLoaded(error or TypeError("the handler is None"), output, time.perf_counter() - began)
            call = found
        return Loaded(
            version=version, call=call, make_context=runtime.context_of(context_of(version, log_stream), print_to_log), namespace=namespace,
            variables=own, log_stream=log_stream, output=output.bytes(),
            seconds=time.perf_counter() - began, since=since,
            on_loop=inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None)),  # noqa: B004
        )

    async def _find(self, version: Version, namespace: Namespace, output: Output, own: dict[str, str | None]) -> Settled[Handler]:
        self._hold_output(asyncio.get_running_loop())
        token, seen = current.set((output, version.log_format)), variables.current.set(own)
        try:
            return await self._threads.run(lambda: runtime.find_handler(version.handler, namespace.import_module))
        finally:
            output.end()
            variables.current.reset(seen)
            current.reset(token)

    def _variables(self, version: Version, log_stream: str) -> dict[str, str | None]:
        environment = environment_of(
            version, base={"PATH": os.environ.get("PATH", os.defpath)}, credentials=self._credentials, endpoint_url=self._endpoint_url, log_stream=log_stream,
            temporary=tempfile.gettempdir(), runtime="",
        )
        # Whoever the host is to AWS, its handlers are not, nor do they know its settings, some of which are secrets: not even one
        # that another handler calls, and to whom those variables are hidden.
        hosts = dict.fromkeys((name for name in Context().run(list, os.environ) if name.startswith(("AWS_", "MICROLAM_"))), None)
        # Programs that it starts are the host's, and so is what they import.
        return hosts | {name: value for name, value in environment.items() if name != "PYTHONPATH" or name in version.environment}

    # ---- running ------------------------------------------------------------------------------------------------

    async def _run(self, loaded: Loaded, invocation: Invocation, *, cold: bool) -> Outcome:
        version, id = loaded.version, invocation.id
        output = Output(id, self._log_limit)
        first, loaded.invocations = loaded.invocations == 0, loaded.invocations + 1
        began_at, began = datetime.now(UTC), time.perf_counter()
        how, payload, error, sentence = await self._attempt(loaded, invocation, output)
        duration = version.timeout if how == "timed_out" else time.perf_counter() - began
        init = loaded.seconds if cold else None
        memory = peak()
        if first or cold or error or output.dropped or version.log_format == "JSON":
            log = logs.log_of(logs.Run(
                version=version, id=id, duration=duration, memory=memory, output=output.bytes(), began=began_at, init_began=loaded.since, first=first,
                runtime=PYTHON, init=init, init_output=loaded.output if first else b"", error=error, sentence=sentence,
            ))
        else:
            log = logs.plain_log(version, id, duration, memory, output.bytes())
        return Outcome(
            status=how, payload=payload, version=version.number, logs=log, started_at=began_at, duration=duration, init=init, cold=cold,
            memory=memory, log_stream=loaded.log_stream, runtime=RUNTIME,
        )

    async def _attempt(self, loaded: Loaded, invocation: Invocation, output: Output) -> Ending:
        """Call the handler."""
        version, loop = loaded.version, asyncio.get_running_loop()
        self._hold_output(loop)
        limit = Limit(loop, version.timeout)
        call = limit.call = self._lasting.begin(loop, limit.began, limit.watch)
        output.stopped = limit.forget
        token, seen = current.set((output, version.log_format)), variables.current.set(loaded.variables)
        try:
            context = loaded.make_context(invocation.id, invocation.invoked_arn, invocation.client_context or "", version.timeout)
            # An HTTP event is our own work, and orjson reads it as json does, in a third of the time; others may hold numbers beyond 64 bits.
            event = orjson.loads(invocation.payload) if invocation.cause == "http" else runtime.read_event(invocation.payload)
            if loaded.on_loop:
                result: object = await apart(cast(Awaitable[object], loaded.call(event, context)))     # on_loop says it can be awaited
            else:
                result = await self._on_thread(loaded.call, event, context)
            if not limit.expired:       # else it would not be cancelled, but took its time
                kind, payload = runtime.finish(result)
                return ("succeeded" if kind == SUCCEEDED else "failed"), payload, "", ""
        except BaseException as error:
            if isinstance(error, Raised):
                error = error.error
            elif isinstance(error, asyncio.CancelledError) and limit.is_callers_wish():
                raise
            if not limit.expired:
                return self._raised(loaded, invocation, output, error)
        finally:
            call.over = True
            limit.end()
            output.end()
            variables.current.reset(seen)
            current.reset(token)
        return timed_out(invocation.id, version.timeout)

    async def _on_thread(self, call: Handler, event: object, context: object) -> object:
        result, error = await self._threads.run(lambda: call(event, context))
        if error is not None:
            raise Raised(error)     # itself it might not pass through a coroutine: StopIteration
        return await apart(result) if isinstance(result, Awaitable) else result

    @staticmethod
    def _raised(loaded: Loaded, invocation: Invocation, output: Output, error: BaseException) -> Ending:
        if not isinstance(error, Exception):
            return exited(invocation.id, error, output)
        _, payload = runtime.fail(error, invocation.id, loaded.version.log_format, output.say)
        return "failed", payload, "", ""

    # ---- around each invocation ---------------------------------------------------------------------------------

    def _hold_output(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that what handlers print is theirs: from the first invocation until none has run for a moment."""
        self._ran = True
        if self._letting_go is not None:
            capture.renew()
            return
        capture.enter()
        self._letting_go = loop.call_later(MOMENT, self._let_go, loop)

    def _let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        importing = any(lock.locked() for lock in self._locks.values())
        if self._ran or importing or any(loaded.running for loaded in self._loaded.values()) or self._leaving:
            self._ran = False
            self._letting_go = loop.call_later(MOMENT, self._let_go, loop)
        else:
            self._letting_go = None
            capture.leave()


def unusable(version: Version, failure: NotLoaded, id: str) -> Outcome:
    """The outcome of an invocation whose handler cannot be imported."""
    how, payload, error, sentence = ending_of(version, failure, id)
    duration = 0.0 if how == "failed" else failure.seconds
    return Outcome(
        status=how, payload=payload, version=version.number, started_at=datetime.now(UTC), duration=duration, cold=True, memory=peak(), runtime=RUNTIME,
        logs=logs.log_of(logs.Run(
            version=version, id=id, duration=duration, memory=peak(), init_began=datetime.now(UTC) - timedelta(seconds=failure.seconds), first=True,
            runtime=PYTHON, init_output=failure.output.bytes(), init_failed=failure.seconds, error=error, sentence=sentence,
        )),
    )


def ending_of(version: Version, failure: NotLoaded, id: str) -> Ending:
    """How an invocation ends whose handler cannot be imported."""
    if failure.error is None:
        return timed_out(id, failure.seconds, importing=True)
    if not isinstance(failure.error, Exception):
        return exited(id, failure.error, failure.output)
    error = runtime.error_of(failure.error, "")
    failure.output.say(runtime.error_line(error, version.log_format))
    return "failed", runtime.fitting(json.dumps({**error, "requestId": id}).encode()), error["errorType"], ""


def timed_out(id: str, seconds: float, *, importing: bool = False) -> Ending:
    """How an invocation ends that, or whose import, has not ended after so many seconds."""
    sentence = logs.timeout_sentence(id, seconds, importing=importing)
    return "timed_out", logs.platform_error("Sandbox.Timedout", sentence), "Sandbox.Timedout", sentence


def exited(id: str, error: BaseException, output: Output) -> Ending:
    """A process of its own would have ended with this."""
    words, status = runtime.last_words(error)
    output.say(words)
    sentence = logs.exit_sentence(id, status << 8)
    return "crashed", logs.platform_error("Runtime.ExitError", sentence), "Runtime.ExitError", sentence


def peak() -> int:
    """Most resident bytes of the host's process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
