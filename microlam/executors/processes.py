"""Processes: the default executor. Each worker is a process of its own, forked warm, killed with everything below it.

`run` takes a free worker of the version, the last one used first; else one is forked; else, at the limit, the longest idle worker of another
version makes room; else the caller waits for the first that comes free. A process is begun ahead of its worker where one is expected, and after
each start for the next: it waits, blank, until it is told what to run.
"""
from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from microlam.awake import PROCESSORS
from microlam.executors import INIT_TIMEOUT, Credentials, ExecutorStatistics, logs
from microlam.executors.blanks import Blank, Blanks
from microlam.executors.cgroups import Holds
from microlam.executors.debugging import Debugging
from microlam.executors.environment import context_of, environment_of, names_in, needs_fresh_process, new_log_stream, preload_of
from microlam.executors.interpreters import Interpreter, Interpreters
from microlam.executors.preloads import Preloads
from microlam.executors.scratch import Scratch
from microlam.executors.supervisor import Supervisor
from microlam.executors.worker import Pace, Place, Worker
from microlam.executors.zygotes import Zygote, Zygotes
from microlam.model import Invocation, Outcome, Version, new_id

SHORT = 0.0005          # seconds that an invocation takes which others may wait behind
TIDY_EVERY = 1.0        # seconds between looks at idle workers
EXPECTED_FOR = 1.0      # seconds that a process started ahead waits for a worker to need it
SPARE_FOR = 10.0        # the same where nobody has said so: a start seldom comes alone
SPARE_AFTER = 0.005     # seconds in which the reply of the one before goes out


@dataclass(eq=False)
class Pool:
    """The workers of one version."""

    version: Version
    preload: tuple[str, ...]
    fresh: bool
    bytecode: str
    idle: list[Worker] = field(default_factory=list)        # the last used at the end
    busy: deque[Worker] = field(default_factory=deque)
    workers: set[Worker] = field(default_factory=set)
    pace: Pace = field(default_factory=Pace)
    retired: bool = False
    complete: bool = False          # it has had all the workers that are to be kept for its version
    emptied: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def spare(self) -> bool:
        """Whether it can do with fewer workers."""
        return sum(not worker.over for worker in self.workers) > self.version.provisioned


@dataclass(frozen=True, eq=False)
class Waiting:
    """Who waits for a worker: gets one that came free, or None for the place of a new one."""

    pool: Pool
    new: bool       # only a new one will do
    place: asyncio.Future[Worker | None]


class Processes:
    """Runs versions in worker processes."""

    def __init__(
        self, scratch: Path, *, base_environment: Mapping[str, str], endpoint_url: str, credentials: Credentials, limit: int = 100, idle: float = 300.0,
        log_limit: int = 1 << 20, interpreters: Interpreters | None = None, mend: Callable[[str], Awaitable[None]] | None = None,
        debugging: Debugging | None = None, init_timeout: float = INIT_TIMEOUT, say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._scratch = Scratch(scratch)
        self._base, self._endpoint_url, self._credentials = dict(base_environment), endpoint_url, credentials
        self._limit, self._idle, self._log_limit, self._init_timeout = limit, idle, log_limit, init_timeout
        self._mend = mend                                   # have the code in a folder be what it was, before a worker starts from it
        self._interpreters = interpreters or Interpreters()     # that knows none but the server's own
        self._debugging = debugging
        self._debugged: Worker | None = None                    # the last that a debugger could attach to
        self._pools: dict[str, Pool] = {}
        self._retired: set[Pool] = set()
        self._workers: dict[Worker, Pool] = {}
        self._granted = 0                                   # places of workers that are about to start
        self._dying: set[Worker] = set()
        self._blanks = Blanks(self._scratch, log_limit)                # started ahead, for workers that are expected
        self._waiting: deque[Waiting] = deque()
        self._preloads = Preloads(say)
        self._zygotes = Zygotes(self._base, self._before_a_zygote)
        self._supervisor = Supervisor(self._workers.keys())
        self._holds = Holds()
        self._tidying: asyncio.TimerHandle | None = None
        self._replacing: set[asyncio.Future[Outcome | None]] = set()
        self._closed = False

    # ---- the executor's verbs -----------------------------------------------------------------------------------

    async def run(self, version: Version, invocation: Invocation) -> Outcome:
        """Run it in a worker of its version."""
        pool = self._pools.get(version.key) or self._open(version)
        while not self._closed:
            if pool.idle:
                worker = pool.idle.pop()
            else:
                try:
                    worker = await self._another(pool)
                except OSError as error:
                    return cannot_start(version, invocation, error)
            waiter: asyncio.Future[Outcome | None] = worker.loop.create_future()
            self._invoke(pool, worker, invocation, waiter)
            try:
                outcome = await waiter
            except asyncio.CancelledError:
                worker.catch_up()
                if worker.runs(invocation):     # else it has replied, and has others to run
                    self._drop(worker)
                raise
            if outcome is not None:
                return outcome
        raise asyncio.CancelledError    # the server ends

    def begin(self, version: Version, invocation: Invocation, waiter: asyncio.Future[Outcome | None]) -> bool:
        """Have a worker that is free run it."""
        pool = self._pools.get(version.key)
        if pool is None or not pool.idle:
            return False
        self._invoke(pool, pool.idle.pop(), invocation, waiter)
        return True

    def behind(self, version: Version) -> Worker | None:
        """A worker that is about to be free: where all processors are busy with short invocations, it takes longer to wake another one."""
        pool = self._pools.get(version.key)
        if pool is None or pool.pace.seconds > SHORT or len(pool.busy) < PROCESSORS:
            return None
        for _ in range(len(pool.busy)):
            worker = pool.busy[0]
            pool.busy.rotate(-1)
            if worker.takes_ahead:
                self._supervisor.queued(worker)
                return worker
        return None

    def abandon(self, invocation: Invocation) -> None:
        """End the worker that runs it."""
        for worker in list(self._workers):
            if worker.runs(invocation) or worker.has_ahead(invocation):
                worker.catch_up()
            if worker.runs(invocation):
                self._drop(worker)

    def _invoke(self, pool: Pool, worker: Worker, invocation: Invocation, waiter: asyncio.Future[Outcome | None]) -> None:
        self._supervisor.invoked(worker)
        if not worker.over:
            pool.busy.append(worker)
        worker.invoke(invocation, waiter)

    def _drop(self, worker: Worker) -> None:
        """End a worker that nobody waits for: whatever it is doing, its reply would be taken for the next one's."""
        self._discard(worker)
        self._serve_waiting()

    def at_most(self, version: Version, limit: int) -> int:
        """As many as the settings say, but one where a debugger attaches."""
        return 1 if self._is_debugged(version) else limit

    async def warm(self, version: Version) -> Outcome | None:
        """Start one more worker and import the handler."""
        pool = self._pools.get(version.key) or self._open(version)
        if pool.workers and self._is_debugged(version):
            return None     # it has its one
        try:
            worker = await self._another(pool, new=True)
        except OSError as error:
            return cannot_start(version, None, error)
        try:
            return await worker.warmed()
        except asyncio.CancelledError:
            self._drop(worker)
            raise

    async def retire(self, version: Version) -> None:
        """Let what runs finish, then end the version's workers."""
        pool = self._pools.pop(version.key, None)
        if pool is None:
            return
        pool.retired = True
        self._retired.add(pool)
        for worker in pool.idle[:]:
            self._discard(worker)
        self._serve_waiting()
        if pool.workers:
            await pool.emptied.wait()
        self._retired.discard(pool)
        if pool.bytecode and all(other.bytecode != pool.bytecode for other in (*self._pools.values(), *self._retired)):
            self._scratch.clear(pool.bytecode)

    def expect(self, version: Version) -> None:
        """Start the process of its next worker, which is told what it is once the code is there."""
        interpreter = self._interpreters.known(version.runtime)
        zygote = self._zygotes.known(interpreter.path, preload_of(version)) if interpreter is not None else None
        if zygote is not None and zygote.ready.done() and not needs_fresh_process(version):
            self._start_ahead(zygote, EXPECTED_FOR, expected=True)

    def statistics(self) -> ExecutorStatistics:
        """Its workers at this moment."""
        living = tuple(worker.statistics() for worker in self._workers if worker not in self._dying)
        return ExecutorStatistics(workers=living, waiting=sum(not waiting.place.done() for waiting in self._waiting))

    def warnings(self, version: Version) -> Sequence[str]:
        """What is wrong with what a version asks for, as far as a start of its workers has shown it."""
        interpreter = self._interpreters.known(version.runtime)
        return self._preloads.warnings(version, interpreter.path) if interpreter is not None else ()

    def prepare(self) -> None:
        """Start the default zygote ahead of the first invocation; nobody need wait for it."""
        self._zygote(self._interpreters.own, ())

    async def close(self) -> None:
        """Kill every worker with all below it, and end the zygotes."""
        self._closed = True
        self._supervisor.close()
        if self._tidying is not None:
            self._tidying.cancel()
        for replacing in self._replacing:
            replacing.cancel()
        for waiting in self._waiting:
            waiting.place.cancel()
        self._blanks.close()
        for worker in list(self._workers):
            self._discard(worker)
        await self._zygotes.close()
        for worker in list(self._workers):
            worker.ended(None)
        await self._holds.close()
        await self._scratch.close()

    # ---- getting a worker ---------------------------------------------------------------------------------------

    def _open(self, version: Version) -> Pool:
        bytecode = self._scratch.bytecode(version.sha256)
        pool = Pool(version=version, preload=preload_of(version), fresh=needs_fresh_process(version), bytecode=bytecode)
        self._pools[version.key] = pool
        return pool

    async def _another(self, pool: Pool, *, new: bool = False) -> Worker:
        """A worker of this version that nobody uses: a new one, or the first that comes free."""
        if not self._waiting and self._room(pool):
            self._granted += 1
            return await self._start(pool)
        waiting = Waiting(pool, new, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            worker = await waiting.place
        except asyncio.CancelledError:
            if waiting.place.done() and not waiting.place.cancelled():
                self._give_back(waiting.place.result())     # it was ours already: the next one's now
            raise
        return worker or await self._start(pool)

    def _room(self, pool: Pool) -> bool:
        """Whether one more worker of this version may start; the longest idle one of another makes room for it."""
        if len(self._workers) - len(self._dying) + self._granted < self._limit:
            return True
        idle = [other.idle[0] for other in {*self._workers.values()} if other is not pool and other.idle and other.spare]
        if not idle:
            return False
        self._discard(min(idle, key=lambda worker: worker.idle_since))
        return True

    def _give_back(self, worker: Worker | None) -> None:
        if worker is None:
            self._granted -= 1
            self._serve_waiting()
        elif not worker.over:
            self.freed(worker)

    def _serve_waiting(self) -> None:
        """Give what is free to those who wait, first come, first served: no version's callers can starve another's."""
        while self._waiting:
            first = self._waiting[0]
            if not first.place.done():
                if first.pool.idle and not first.new:
                    first.place.set_result(first.pool.idle.pop())
                elif self._room(first.pool):
                    self._granted += 1
                    first.place.set_result(None)
                else:
                    return
            self._waiting.popleft()

    async def _start(self, pool: Pool) -> Worker:
        """A new worker, in the place that was granted; it may be sent an invocation at once."""
        try:
            if self._mend is not None:
                await self._mend(pool.version.root)
            interpreter = await self._interpreters.find(pool.version.runtime)
            zygote = await self._zygote_of(pool, interpreter)
            worker = self._worker(pool, zygote, interpreter)
        except BaseException:
            self._granted -= 1
            self._serve_waiting()
            raise
        self._granted -= 1
        self._workers[worker] = pool
        pool.workers.add(worker)
        pool.complete = pool.complete or len(pool.workers) >= pool.version.provisioned > 0
        if self._tidying is None:
            self._tidy_later()
        return worker

    def _worker(self, pool: Pool, zygote: Zygote, interpreter: Interpreter) -> Worker:
        version, blank = pool.version, self._blank(zygote, fresh=pool.fresh)
        attached = f"{blank.folder}.attached" if self._is_debugged(version) else ""
        place = Place(number=blank.number, folder=blank.folder, log_stream=new_log_stream(version), attached=attached)
        worker = Worker(version, place, zygote, self, pool.pace, notice=interpreter.notice, init_timeout=self._init_timeout)
        if attached:
            self._hand_over(worker)
        worker.start(self._configuration(pool, place, interpreter), blank)
        return worker

    def _start_ahead(self, zygote: Zygote, seconds: float, *, expected: bool = False) -> None:
        """Have a process wait for a worker to need it."""
        self._blanks.begin(zygote, seconds, expected=expected, room=not self._closed and self._count() < self._limit)
        if self._tidying is None and not self._closed:
            self._tidy_later()

    def _blank(self, zygote: Zygote, *, fresh: bool) -> Blank:
        """A process for a worker: one that was started ahead for it, or a new one."""
        found = None if fresh else self._blanks.take(zygote)
        if found is not None:
            return found
        if self._blanks and self._count() > self._limit:
            self._blanks.let_go()       # no more processes than there may be workers
        return self._blanks.new(zygote, fresh=fresh)

    def _count(self) -> int:
        """The processes that there are, or are about to be."""
        return len(self._workers) + self._granted + len(self._blanks)

    def _configuration(self, pool: Pool, place: Place, interpreter: Interpreter) -> dict[str, object]:
        """All that a worker is told about itself."""
        version = pool.version
        return {
            "environment": environment_of(
                version, base=self._base, credentials=self._credentials, endpoint_url=self._endpoint_url, log_stream=place.log_stream,
                temporary=place.folder, runtime=self._scratch.runtime,
            ),
            "context": context_of(version, place.log_stream),
            "handler": version.handler, "root": os.path.abspath(version.root), "temporary": place.folder, "source": version.source, "path": version.path,
            "site": self._site_of(interpreter), "bytecode": pool.bytecode,
            "timeout": version.timeout, "log_format": version.log_format, "log_limit": self._log_limit,
            "debug": self._wish(version, place),
        }

    # ---- a debugger ---------------------------------------------------------------------------------------------

    def _is_debugged(self, version: Version) -> bool:
        return self._debugging is not None and self._debugging.wants(version)

    def _wish(self, version: Version, place: Place) -> dict[str, object] | None:
        if self._debugging is None or not place.attached:
            return None
        return self._debugging.wish(version, place.attached, ours=any(worker.place.attached for worker in self._workers))

    def _hand_over(self, worker: Worker) -> None:
        """The port is the new worker's: let the one that had it go, as soon as it has nothing to do."""
        before, self._debugged = self._debugged, worker
        if before is not None and not before.busy and before in self._workers:
            self._discard(before)

    # ---- zygotes ------------------------------------------------------------------------------------------------

    async def _zygote_of(self, pool: Pool, interpreter: Interpreter) -> Zygote:
        version = pool.version
        zygote = self._zygote(interpreter, pool.preload)
        if pool.preload:
            await zygote.ready
            self._preloads.heed(zygote, version)
            # What came along with the preload must not hide the function's own copy of it.
            if not zygote.alive or zygote.modules & names_in((version.root, *version.path)):
                pool.preload = ()
                zygote = self._zygote(interpreter, ())
        return zygote

    def _zygote(self, interpreter: Interpreter, preload: tuple[str, ...]) -> Zygote:
        if self._closed:        # while somebody waited for one
            raise asyncio.CancelledError
        return self._zygotes.get(interpreter.path, preload, self._site_of(interpreter))

    def _before_a_zygote(self) -> None:
        if self._scratch.prepare():
            self._holds.clear()

    def _site_of(self, interpreter: Interpreter) -> list[str]:
        # `runtime` holds microlam and nothing else: handlers may import its decorators, also on an interpreter that has it not installed.
        return [*interpreter.site, self._scratch.runtime]

    # ---- what workers tell --------------------------------------------------------------------------------------

    def started(self, worker: Worker) -> None:
        """A worker's process is there."""
        if not worker.over and not worker.place.attached:      # a debugger takes more than most functions
            self._holds.begin(worker, worker.place.number, worker.version.memory_bytes, lambda: worker in self._workers)

    def freed(self, worker: Worker) -> None:
        """A worker has nothing more to do."""
        pool = self._workers[worker]
        if pool.retired or (worker.place.attached and worker is not self._debugged):
            self._discard(worker)
            return
        if worker.peak > worker.unweighed and self._supervisor.exceeds(worker):
            self._drop(worker)      # it has replied: the next one starts cold
            return
        if worker.invocations == 1:
            worker.loop.call_later(SPARE_AFTER, self._start_ahead, worker.zygote, min(SPARE_FOR, self._idle))
        worker.idle_since = worker.loop.time()
        if worker in pool.busy:
            pool.busy.remove(worker)
        pool.idle.append(worker)
        if self._waiting:
            self._serve_waiting()

    def ended(self, worker: Worker) -> None:
        """A worker's process is gone."""
        pool = self._workers.pop(worker, None)
        self._dying.discard(worker)
        self._supervisor.ended(worker)
        self._scratch.clear(worker.place.folder)
        if worker.place.attached:
            Path(worker.place.attached).unlink(missing_ok=True)
        self._holds.end(worker)
        if pool is None:
            return      # it ended before it was one of ours
        pool.workers.remove(worker)
        if worker in pool.busy:
            pool.busy.remove(worker)
        if worker in pool.idle:
            pool.idle.remove(worker)
        if pool.retired and not pool.workers:
            pool.emptied.set()
        if not self._closed:
            self._serve_waiting()

    def lasts(self, worker: Worker) -> None:
        """An invocation takes longer than most: from now on its memory is looked at."""
        self._supervisor.lasts(worker)

    def _discard(self, worker: Worker) -> None:
        """End a worker; its place is free at once."""
        pool = self._workers.get(worker)
        if pool is None:
            return
        self._dying.add(worker)
        if worker in pool.idle:
            pool.idle.remove(worker)
        worker.kill()

    # ---- looking after ------------------------------------------------------------------------------------------

    def _tidy_later(self) -> None:
        self._tidying = asyncio.get_running_loop().call_later(TIDY_EVERY, self._tidy)

    def _tidy(self) -> None:
        """End what has been idle for long."""
        self._tidying = None
        now = asyncio.get_running_loop().time()
        for pool in {*self._workers.values()}:
            for worker in pool.idle[:]:
                if now - worker.idle_since > self._idle and pool.spare and not worker.place.attached:
                    self._discard(worker)
        self._supervisor.check()
        self._complete()
        self._blanks.tidy()
        self._zygotes.tidy(self._idle)
        self._holds.tidy()
        if self._workers or self._blanks or not self._zygotes.settled or any(pool.complete for pool in self._pools.values()):
            self._tidy_later()

    def _complete(self) -> None:
        """Replace those workers that ended of those that are to be kept."""
        for pool in self._pools.values():
            missing = pool.version.provisioned - len(pool.workers)
            if pool.complete and missing > 0:
                pool.complete = False
                for _ in range(missing):
                    replacing = asyncio.ensure_future(self.warm(pool.version))
                    self._replacing.add(replacing)
                    replacing.add_done_callback(self._replacing.discard)


def cannot_start(version: Version, invocation: Invocation | None, error: OSError) -> Outcome:
    """The outcome where the machine has no process or descriptor left to give."""
    message = f"RequestId: {invocation.id if invocation else new_id()} Error: no worker can start: {error}"
    return Outcome(status="crashed", payload=logs.platform_error("Runtime.InvalidEntrypoint", message), version=version.number)
