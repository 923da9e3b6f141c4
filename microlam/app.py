"""Assembly: Microlam owns the parts, starts them, and stops them in order."""
from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from microlam.clock import Clock, SystemClock
from microlam.executors import Credentials, Executor
from microlam.executors.inprocess import InProcess
from microlam.executors.interpreters import Interpreters
from microlam.executors.processes import Processes
from microlam.functions import Functions
from microlam.invoke import Invoker
from microlam.model import Retry, Version
from microlam.pauses import Pauses
from microlam.resources.attached import Attached
from microlam.resources.buckets import Buckets, bucket_folder
from microlam.resources.layers import Layers
from microlam.resources.logs import LogGroups
from microlam.resources.policies import Policies
from microlam.resources.roles import Roles
from microlam.resources.sessions import Sessions
from microlam.settings import Settings
from microlam.sources.folders import Folders
from microlam.sources.schedules import Schedules
from microlam.store import Store
from microlam.triggers import Triggers

# What of the server's own environment handlers see: nothing of AWS's, nothing secret.
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
             "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
PRUNE_EVERY = 600.0


class Microlam:
    """The parts of one server over one folder of functions; entered, they live."""

    def __init__(self, folder: Path, settings: Settings, *, endpoint_url: str, say: Callable[[str], None] = print, clock: Clock | None = None) -> None:
        self.folder, self.settings, self.say, self.endpoint_url = folder, settings, say, endpoint_url
        self.clock: Clock = clock or SystemClock()
        self._life = AsyncExitStack()

    async def __aenter__(self) -> Microlam:
        async with AsyncExitStack() as life:
            await self._build(life)
            await life.enter_async_context(self._tasks())
            self._life = life.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._life.aclose()

    async def _build(self, life: AsyncExitStack) -> None:
        settings = self.settings
        self.store = await Store.open(settings.data, unwritten=settings.unwritten)
        life.push_async_callback(self.store.close)
        if not self.store.indexed:
            self.say("This Python's SQLite has no full-text search (FTS5): a search of the record reads one invocation after the other.")
        await self.store.recover(self.clock.now())
        self.credentials = Credentials(secret_key=secrets.token_urlsafe(24), session_token=secrets.token_urlsafe(24))
        self.interpreters = Interpreters(lending=settings.data / "run", environment=os.environ, say=self.say)
        self.executors = self._executors()
        for executor in self.executors.values():
            life.push_async_callback(executor.close)
        self.triggers = Triggers()
        self.pauses = Pauses(self.store, self.triggers)
        await self.pauses.load()
        self.layers, self.attached = Layers(self.store, settings.data / "layers"), Attached(self.store)
        self.functions = Functions(
            self.folder, settings.data, store=self.store, region=settings.region, account=settings.account, env_vars=settings.env_vars, poll=settings.poll,
            clock=self.clock, seed=settings.seed, triggers=self.triggers, warm=lambda version: self.executors[version.executor].warm(version),
            retire=lambda version: self.executors[version.executor].retire(version), is_warm=self._is_warm, say=self.say,
            bucket_folder=lambda bucket: bucket_folder(self.folder, settings.data, bucket), layer_folder=self.layers.folder,
            runtime_warning=self._runtime_warning, interpreter=self._interpreter,
        )
        self.functions.forgotten.append(self.attached.forget)
        self.invoker = Invoker(
            store=self.store, executors=self.executors, current=self.functions.current, clock=self.clock, concurrency=settings.concurrency,
            server_concurrency=settings.server_concurrency, queue_limit=settings.queue_limit, queue_wait=settings.queue_wait,
            retry=Retry(delay=settings.retry_delay), retry_of=self.attached.event_invokes.retry, limits=self.functions.concurrency.limits,
        )
        self.invoker.ended.append(self.functions.ended)
        self.buckets = Buckets(self.folder, settings.data, store=self.store, triggers=self.triggers, wake=self.invoker.wake, region=settings.region)
        self.policies = Policies(self.store)
        self.roles = Roles(self.store, self.policies)
        self.sessions = Sessions(self.store)
        self.logs = LogGroups(self.store)
        self.schedules = Schedules(self.store, self.triggers, self.clock, wake=self.invoker.wake, catch_up=settings.catch_up, say=self.say)
        self.folders = Folders(self.buckets, self.triggers, self.clock, quiet=settings.file_quiet, poll=settings.poll, say=self.say)
        await self.functions.load()

    def _is_warm(self, version: Version) -> bool:
        return any(worker.key == version.key for worker in self.executors[version.executor].statistics().workers)

    async def _interpreter(self, runtime: str) -> str:
        return (await self.interpreters.find(runtime)).path

    def _runtime_warning(self, runtime: str) -> str:
        interpreter = self.interpreters.known(runtime)
        return interpreter.notice if interpreter is not None else ""

    def _executors(self) -> dict[str, Executor]:
        settings = self.settings
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        processes = Processes(
            settings.data / "run", base_environment=environment, endpoint_url=self.endpoint_url, credentials=self.credentials,
            limit=settings.server_concurrency, idle=settings.idle, log_limit=settings.log_limit, interpreters=self.interpreters,
            mend=lambda root: self.functions.mend(root),
        )
        processes.prepare()     # the first invocation finds its zygote there
        return {"processes": processes, "inprocess": InProcess(log_limit=settings.log_limit)}

    @asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            living = [tasks.create_task(run) for run in (
                self.functions.watch(), self.invoker.work(), self.schedules.run(), self.folders.run(), self._prune(),
                self._look_for_interpreters(),
            )]
            try:
                yield
            finally:
                for task in living:
                    task.cancel()

    async def _look_for_interpreters(self) -> None:
        """Tell early, without keeping anybody waiting, which of the Pythons that functions ask for are missing."""
        for runtime in sorted({function.latest.runtime for function in self.functions.all()}):
            await self.interpreters.find(runtime)

    async def _prune(self) -> None:
        age = timedelta(days=self.settings.retention_days).total_seconds()
        while True:
            await self.store.prune(self.clock.now(), age, self.settings.retention_count)
            await asyncio.sleep(PRUNE_EVERY)
