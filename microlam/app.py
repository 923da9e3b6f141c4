"""Assembly: Microlam owns the parts, starts them, and stops them in order; `run` is the standalone server.

A request falls straight through: the admin's paths, then the AWS wire, then the folder's routes.
"""
from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from microlam import __version__
from microlam.admin import Admin
from microlam.aws import Wire
from microlam.clock import Clock, SystemClock
from microlam.errors import FolderMissing, PortTaken, SettingsError
from microlam.executors import Credentials, Executor
from microlam.executors.inprocess import InProcess
from microlam.executors.processes import Processes
from microlam.functions import Functions
from microlam.gateway import Gateway
from microlam.guard import Guard, may_start
from microlam.invoke import Invoker
from microlam.model import Retry
from microlam.resources.buckets import Buckets
from microlam.settings import Settings, url_of
from microlam.sources.folders import Folders
from microlam.sources.schedules import Schedules
from microlam.store import Store
from microlam.terminal import Terminal
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
        await self.store.recover(self.clock.now())
        self.credentials = Credentials(access_key=settings.account, secret_key=secrets.token_urlsafe(24), session_token=secrets.token_urlsafe(24))
        self.executors = self._executors()
        for executor in self.executors.values():
            life.push_async_callback(executor.close)
        self.triggers = Triggers()
        self.functions = Functions(
            self.folder, settings.data, region=settings.region, account=settings.account, env_vars=settings.env_vars, poll=settings.poll,
            triggers=self.triggers, warm=lambda version: self.executors[version.executor].warm(version),
            retire=lambda version: self.executors[version.executor].retire(version), say=self.say,
        )
        self.invoker = Invoker(
            store=self.store, executors=self.executors, current=self.functions.current, clock=self.clock, concurrency=settings.concurrency,
            server_concurrency=settings.server_concurrency, queue_limit=settings.queue_limit, queue_wait=settings.queue_wait,
            retry=Retry(delay=settings.retry_delay),
        )
        self.buckets = Buckets(self.folder, settings.data, store=self.store, triggers=self.triggers, wake=self.invoker.wake, region=settings.region)
        self.schedules = Schedules(self.store, self.triggers, self.clock, wake=self.invoker.wake, catch_up=settings.catch_up)
        self.folders = Folders(self.buckets, self.triggers, self.clock, quiet=settings.file_quiet, poll=settings.poll, say=self.say)
        await self.functions.load()

    def _executors(self) -> dict[str, Executor]:
        settings = self.settings
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {
            "processes": Processes(
                settings.data / "run", base_environment=environment, endpoint_url=self.endpoint_url, credentials=self.credentials,
                limit=settings.server_concurrency, idle=settings.idle, log_limit=settings.log_limit,
            ),
            "inprocess": InProcess(log_limit=settings.log_limit),
        }

    @asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            living = [tasks.create_task(run) for run in (
                self.functions.watch(), self.invoker.work(), self.schedules.run(), self.folders.run(), self._prune(),
            )]
            try:
                yield
            finally:
                for task in living:
                    task.cancel()

    async def _prune(self) -> None:
        age = timedelta(days=self.settings.retention_days).total_seconds()
        while True:
            await self.store.prune(self.clock.now(), age, self.settings.retention_count)
            await asyncio.sleep(PRUNE_EVERY)


class Server:
    """The standalone server: one coroutine for every request, under aiohttp's low-level server."""

    def __init__(self, lam: Microlam) -> None:
        settings = lam.settings
        guard = Guard(bind=settings.host, allowed_hosts=settings.allowed_host)
        self.admin = Admin(
            lam.functions, lam.triggers, lam.store, lam.invoker, lam.schedules, lam.buckets, folder=lam.folder, version=__version__, guard=guard,
            admin_token=settings.admin_token, clock=lam.clock,
        )
        self.wire = Wire(
            lam.functions, lam.invoker, region=settings.region, account=settings.account, guard=guard, credentials=lam.credentials,
            keys=(settings.access_key, settings.secret_key) if settings.access_key and settings.secret_key else None, say=lam.say,
        )
        self.gateway = Gateway(lam.functions, lam.triggers, lam.invoker, error_page=self.admin.error_page, clock=lam.clock)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, to the face that it is for."""
        if self.admin.wants(request):
            return await self.admin.serve(request)
        if self.wire.wants(request):
            return await self.wire.serve(request)
        return await self.gateway.serve(request)


async def run(settings: Settings, folder: Path, terminal: Terminal) -> None:
    """Serve a folder until a signal ends it; raises SettingsError where it cannot start."""
    if not folder.is_dir():
        raise FolderMissing(folder=folder)
    may_start(settings.host, settings.admin_token, settings.access_key, settings.secret_key)
    listening = listen(settings.host, settings.port)
    url = url_of(settings.host, listening.getsockname()[1])
    stopping = _stop_signals()
    try:
        async with Microlam(folder, settings, endpoint_url=url, say=terminal.warn) as lam:
            lam.invoker.ended.append(terminal.ended)
            await _serve(lam, Server(lam), listening, terminal, url, stopping)
    except* SettingsError as errors:
        raise errors.exceptions[0] from None
    finally:
        listening.close()


async def _serve(lam: Microlam, server: Server, listening: socket.socket, terminal: Terminal, url: str, stopping: asyncio.Event) -> None:
    # Bodies pass to the handlers as they came, and a client refused for its body is not waited for long.
    low_level = web.Server(server.serve, access_log=None, auto_decompress=False, lingering_time=2.0, max_line_size=16_384, max_field_size=16_384)
    sockets = await asyncio.get_running_loop().create_server(low_level, sock=listening, backlog=1024)
    terminal.show_banner(
        lam.folder, url, lam.functions.all(), version=__version__, next_times=lam.schedules.next_times(), buckets=lam.buckets.places(),
        warnings=lam.functions.warnings,
    )
    await stopping.wait()
    sockets.close()
    lam.invoker.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(lam.settings.drain):
            await lam.invoker.idle()
    await low_level.shutdown(0.1)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises PortTaken, or SettingsError where the address is not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(reason=f"Address {host} cannot be listened on: {error.strerror or error}. Choose another with --host.") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        if error.errno == 98 or "in use" in str(error):
            raise PortTaken(host=host, port=port) from None
        raise SettingsError(reason=f"Address {host}:{port} cannot be listened on: {error.strerror}. Choose others with --host and --port.") from None
    listening.setblocking(False)
    return listening


def _stop_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; the second ends the process at once."""
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        if stopping.is_set():
            # The zygotes see our end of their sockets close, and kill every worker.
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopping
