"""Assembly: Microlam owns the parts, starts them, and stops them in order; `invoke` and `enqueue` are the host's way to its functions."""
from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from microlam.cli import settings_of
from microlam.clock import Clock, SystemClock
from microlam.connections import low_level
from microlam.errors import FolderIsFile, FolderMissing, InvalidParameter, RecordUnavailable, RequestTooLarge, SettingsError, did_you_mean
from microlam.executors import Credentials, Executors
from microlam.executors.debugging import Debugging
from microlam.executors.interpreters import Interpreters
from microlam.executors.processes import Processes
from microlam.faces import Faces
from microlam.functions import PATIENCE, Functions, Hosted, HostedSettings, read_hosted
from microlam.hooks import Hook
from microlam.invoke import Invoker
from microlam.model import EVENT_PAYLOAD_LIMIT, SYNC_PAYLOAD_LIMIT, Invocation, Outcome, Retry, Version, function_arn, new_id, read_function_name
from microlam.pauses import Pauses
from microlam.resources.accounts import Accounts
from microlam.resources.attached import Attached
from microlam.resources.buckets import Buckets, bucket_folder
from microlam.settings import SETTINGS, Named, Settings, url_of
from microlam.sources.folders import Folders
from microlam.sources.schedules import Schedules
from microlam.store import Store
from microlam.triggers import Triggers

if TYPE_CHECKING:
    from microlam.executors.inprocess import InProcess

# What of the server's own environment handlers see: nothing of AWS's, nothing secret.
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
             "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
PRUNE_EVERY = 600.0


Handler = TypeVar("Handler", bound=Callable[..., object])

_log = logging.getLogger("microlam")


class Microlam:
    """A folder of functions and all that runs them, for as long as it is entered.

    >>> async def main():
    ...     async with Microlam("functions/") as lam:
    ...         outcome = await lam.invoke("hello", {"name": "Ada"})
    ...         return outcome.value
    >>> asyncio.run(main())
    {'message': 'Hello, Ada!'}

    Settings are keyword arguments, named as on the command line (`data=`, `concurrency=`, …); what is not said comes from MICROLAM_* variables and
    microlam.toml. A server that has read them already passes `settings`, and the `endpoint_url` at which handlers find its AWS API; without one,
    a listener of our own on the loopback answers them. `say` gets what a developer should notice; by default it is logged.
    """

    def __init__(
        self, folder: str | Path, *, settings: Settings | None = None, endpoint_url: str | None = None, say: Callable[[str], None] = _log.warning,
        clock: Clock | None = None, **named: Unpack[Named],
    ) -> None:
        self.folder = Path(folder).absolute()
        if self.folder.is_file():
            raise FolderIsFile(file=self.folder, folder=self.folder.parent)
        self.settings = settings or _settings_of(self.folder, named)
        self.say = say
        self.clock: Clock = clock or SystemClock()
        self.endpoint_url = self._servers_url = endpoint_url or ""
        self.before: Hook[[Invocation]] = Hook()
        self.after: Hook[[Invocation, Outcome]] = Hook()
        self.on_failure: Hook[[Invocation, Outcome]] = Hook()
        self.on_deploy: Hook[[Version]] = Hook()        # new code serves, or has got a number
        self.credentials = Credentials(secret_key=secrets.token_urlsafe(24), session_token=secrets.token_urlsafe(24))
        self.running = False
        self._hosted: list[Hosted] = []
        self._life = AsyncExitStack()

    # ---- the host's verbs ----------------------------------------------------------------------------------------

    async def invoke(self, name: str, event: object = None, *, qualifier: str | None = None) -> Outcome:
        """Run a function now and wait for how it ends: a handler that fails is an Outcome too.

        `name` is a name, `name:qualifier` or an ARN; `event` anything that JSON can carry, or JSON as bytes. Raises FunctionNotFound, and Throttled
        where no slot came free in time.
        """
        invocation = self._invocation(name, event, qualifier)
        if len(invocation.payload) > SYNC_PAYLOAD_LIMIT:
            raise RequestTooLarge(reason=f"An event must be smaller than {SYNC_PAYLOAD_LIMIT} bytes.")
        version = await self.functions.current(invocation.arn, invocation.qualifier)
        return await self.invoker.invoke(version, invocation)

    async def enqueue(self, name: str, event: object = None, *, qualifier: str | None = None) -> Invocation:
        """Have a function run later: on disk when this returns, run at least once, retried when it fails. What became of it is on record, by its id."""
        invocation = self._invocation(name, event, qualifier, accepted=True)
        if len(invocation.payload) > EVENT_PAYLOAD_LIMIT:
            raise RequestTooLarge(reason=f"An event that is to be handled later must be smaller than {EVENT_PAYLOAD_LIMIT} bytes.")
        await self.functions.current(invocation.arn, invocation.qualifier)
        await self.invoker.enqueue(invocation)
        return invocation

    def function(
        self, name: str, handler: Callable[..., object] | None = None, *, version: int | None = None, **settings: Unpack[HostedSettings],
    ) -> Callable[[Handler], Handler]:
        """Let a callable of the host's be a function: `async def handler(event, context)` runs in the host's own loop, many at once.

        It has all that functions of the folder have; `settings` say what leads to it, as in microlam.toml. With `version` it is that number of the
        function too, so that aliases can tell one callable from another. Before the Microlam is entered; without `handler` it is a decorator.

            @lam.function("greet", http="GET /greet/{name}", timeout=10)
            async def greet(event, context):
                return f"Hello, {event['pathParameters']['name']}!"
        """
        if self.running:
            raise RuntimeError("Register functions before this Microlam is entered.")
        if not isinstance(name, str):
            raise TypeError(f'@lam.function takes the name of the function: write @lam.function("{getattr(name, "__name__", "NAME")}")')

        def register(handler: Handler) -> Handler:
            _see_that_it_takes_an_event(name, handler)
            hosted = read_hosted(name, handler, version, settings)
            for other in self._hosted:
                if other.name == name and other.number in (None, hosted.number) and other.handler is not handler:
                    raise InvalidParameter(reason=f"Function {name} has a handler already; give this one another name, or a version= of its own.")
            self._hosted.append(hosted)
            return handler

        if handler is not None:
            register(handler)
        return register

    @property
    def client_variables(self) -> dict[str, str]:
        """The environment variables with which AWS's clients find this server, as its handlers do."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url, "AWS_REGION": self.settings.region, "AWS_DEFAULT_REGION": self.settings.region,
            "AWS_ACCESS_KEY_ID": self.settings.account, "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key,
            "AWS_SESSION_TOKEN": self.credentials.session_token, "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }

    def _invocation(self, name: str, event: object, qualifier: str | None, *, accepted: bool = False) -> Invocation:
        if not self.running:
            raise RuntimeError("This Microlam does not run. Enter it first: async with lam")
        read = read_function_name(name)
        if read is None:
            raise InvalidParameter(reason=f"{name!r} does not name a function.")
        now = self.clock.now()
        return Invocation(
            id=new_id(), arn=function_arn(read.name, read.region or self.settings.region, read.account or self.settings.account),
            qualifier=qualifier or read.qualifier, payload=event if isinstance(event, bytes) else json.dumps({} if event is None else event).encode(),
            cause="invoke", summary="invoke", queued_at=now, accepted_at=now if accepted else None,
        )

    # ---- its life ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self.running:
            raise RuntimeError("This Microlam runs already.")
        if not self.folder.is_dir():
            raise FolderMissing(folder=self.folder)
        with nullcontext() if self._servers_url else _named_as_arguments():
            await self._start()
        self.running = True
        return self

    async def _start(self) -> None:
        async with AsyncExitStack() as life:
            listening = None if self._servers_url else life.enter_context(socket.create_server(("127.0.0.1", 0)))
            self.endpoint_url = self._servers_url or url_of("127.0.0.1", listening.getsockname()[1] if listening else 0)
            await self._build(life)
            await self._begin_tasks(life)
            if listening is not None:
                await self._answer_handlers(listening, life)
            life.push_async_callback(self.drain)
            self._life = life.pop_all()

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._life.aclose()
        finally:
            self.running = False

    async def drain(self, *replies: Awaitable[object]) -> bool:
        """Claim nothing more, and wait for what runs or is in line, and for `replies`: `drain` seconds at most, and only once. Whether that was enough.

        From then on nothing begins.
        """
        if self.invoker.stopping:
            return True
        self.invoker.stop()
        try:
            async with asyncio.timeout(self.settings.drain):
                await asyncio.gather(self.invoker.idle(), *replies)
            return True
        except TimeoutError:
            return False
        finally:
            self.invoker.refuse()

    async def settled(self) -> None:
        """Return when everything that has happened so far has been dealt with: nothing is due, and nothing runs."""
        while True:
            await self.folders.caught_up()
            await self.schedules.settled()
            if await self.invoker.settled():
                return

    async def _build(self, life: AsyncExitStack) -> None:
        settings = self.settings
        self.store = await Store.open(settings.data, unwritten=settings.unwritten)
        life.push_async_callback(self.store.close)
        if not self.store.indexed:
            self.say("This Python's SQLite has no full-text search (FTS5): a search of the record reads one invocation after the other.")
        await self.store.recover(self.clock.now())
        self.interpreters = Interpreters(
            lending=settings.data / "run", environment=os.environ, say=self.say, functions=lambda runtime: self.functions.on(runtime),
        )
        self.processes = self._processes()
        self.executors = Executors(self.processes, self._in_process)
        life.push_async_callback(self.executors.close)
        self.triggers = Triggers()
        self.pauses = Pauses(self.store, self.triggers)
        await self.pauses.load()
        self.accounts, self.attached = Accounts(self.store, settings.data / "layers"), Attached(self.store)
        self.functions = Functions(
            self.folder, settings.data, store=self.store, region=settings.region, account=settings.account, env_vars=settings.env_vars, poll=settings.poll,
            clock=self.clock, seed=settings.seed, triggers=self.triggers, warm=lambda version: self.executors[version.executor].warm(version),
            retire=lambda version: self.executors[version.executor].retire(version), is_warm=self._is_warm, say=self.say,
            bucket_folder=lambda name: bucket_folder(settings.buckets or self.folder, settings.data, name, self.buckets.home(name)), executor=settings.executor,
            requirements=settings.requirements, layer_folder=lambda layers: self.accounts.layers.folder(layers), warnings_of=self._warnings_of,
            interpreter=self._interpreter, deployed=self.on_deploy,
            expect=lambda version: self.executors[version.executor].expect(version),
            patience=PATIENCE if settings.debug_port is None else inf,      # an import may stand at a breakpoint
        )
        self.functions.forgotten.append(self.attached.forget)
        self.invoker = Invoker(
            store=self.store, executors=self.executors, current=self.functions.current, clock=self.clock, concurrency=settings.concurrency,
            server_concurrency=settings.server_concurrency, queue_limit=settings.queue_limit, queue_wait=settings.queue_wait,
            retry=Retry(delay=settings.retry_delay), limits=self.functions.concurrency.limits,
            retry_of=lambda arn, qualifier, otherwise: self.attached.event_invokes.retry(arn, qualifier, otherwise),
            before=self.before, after=self.after, on_failure=self.on_failure,
        )
        self.invoker.ended.append(self.functions.ended)
        self.buckets = Buckets(
            settings.buckets or self.folder, settings.data, store=self.store, triggers=self.triggers, wake=self.invoker.wake, region=settings.region,
        )
        self.schedules = Schedules(self.store, self.triggers, self.clock, wake=self.invoker.wake, catch_up=settings.catch_up, say=self.say)
        self.folders = Folders(self.buckets, self.triggers, self.clock, quiet=settings.file_quiet, poll=settings.poll, say=self.say)
        await self.buckets.load()       # functions are told where they are
        await self.functions.load(tell=not self._servers_url)       # else its banner does
        for hosted in self._hosted:
            for version in await self.functions.host(hosted):
                self.executors.inprocess.register(version, hosted.handler)

    def _is_warm(self, version: Version) -> bool:
        return any(worker.key == version.key for worker in self.executors[version.executor].statistics().workers)

    async def _interpreter(self, runtime: str) -> str:
        return (await self.interpreters.find(runtime)).path

    def _warnings_of(self, version: Version) -> Sequence[str]:
        """What is wrong with what a version's workers need."""
        if version.executor == "inprocess":
            return ()
        interpreter = self.interpreters.known(version.runtime)
        return [*([interpreter.notice] if interpreter is not None and interpreter.missing else []), *self.processes.warnings(version)]

    def _processes(self) -> Processes:
        settings = self.settings
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        processes = Processes(
            settings.data / "run", base_environment=environment, endpoint_url=self.endpoint_url, credentials=self.credentials,
            limit=settings.server_concurrency, idle=settings.idle, log_limit=settings.log_limit, interpreters=self.interpreters,
            debugging=self._debugging(), mend=lambda root: self.functions.mend(root), say=self.say,
        )
        if settings.executor == "processes":
            processes.prepare()     # the first invocation finds its zygote there
        return processes

    def _in_process(self) -> InProcess:
        from microlam.executors.inprocess import InProcess
        return InProcess(endpoint_url=self.endpoint_url, credentials=self.credentials, log_limit=self.settings.log_limit)

    def _debugging(self) -> Debugging | None:
        settings = self.settings
        if settings.debug_port is None:
            return None
        if find_spec("debugpy") is None:
            raise SettingsError(reason="A debugger needs debugpy, which is not installed: pip install 'microlam[debug]'")
        return Debugging(settings.debug_port, function=settings.debug_function, wait=settings.wait, say=self.say)

    async def _answer_handlers(self, listening: socket.socket, life: AsyncExitStack) -> None:
        """Let the handlers' own calls (AWS_ENDPOINT_URL) in, past everything of the host's, until `life` ends."""
        server = low_level(Faces(self, admin=None, untouched=True).serve)
        sockets = await asyncio.get_running_loop().create_server(server, sock=listening)
        life.push_async_callback(server.shutdown, 0.1)
        life.callback(sockets.close)

    async def _begin_tasks(self, life: AsyncExitStack) -> None:
        """Do what is done beside all requests until `life` ends.

        Were this, or what answers handlers, a context manager made of a generator: of a host whose start fails asyncio closes all generators at once,
        before what they are part of.
        """
        tasks = await life.enter_async_context(asyncio.TaskGroup())
        for run in (
            self.functions.watch(), self.invoker.work(), self.schedules.run(), self.folders.run(), self._prune(), self._look_for_interpreters(),
        ):
            life.callback(tasks.create_task(run).cancel)

    async def _look_for_interpreters(self) -> None:
        """Tell early, without keeping anybody waiting, which of the Pythons that functions ask for are missing."""
        for runtime in sorted({function.latest.runtime for function in self.functions.all() if function.latest.executor != "inprocess"}):
            await self.interpreters.find(runtime)

    async def _prune(self) -> None:
        age = timedelta(days=self.settings.retention_days).total_seconds()
        while True:
            with suppress(RecordUnavailable):       # a full disk keeps what is old a while longer, and the server running
                await self.store.prune(self.clock.now(), age, self.settings.retention_count)
            await asyncio.sleep(PRUNE_EVERY)


# ---- what the host says ----------------------------------------------------------------------------------------------

def _settings_of(folder: Path, named: Named) -> Settings:
    """The settings of a host, who names them as keyword arguments."""
    _refuse_unknown(named)
    with _named_as_arguments():
        settings = settings_of(folder, named)
    return replace(settings, origins={name: _as_arguments(origin) for name, origin in settings.origins.items()})


def _refuse_unknown(named: Named) -> None:
    known = [setting.name for setting in SETTINGS if setting.name != "port"]
    for name in named:
        if name == "port":
            raise TypeError("port= has no effect here: where to listen, the host's server says, as in web.run_app(app, port=…)")
        if name not in known:
            raise TypeError(f"there is no setting {name}. " + did_you_mean(name, known, f"There are: {', '.join(known)}."))


@contextmanager
def _named_as_arguments() -> Iterator[None]:
    """Have errors name settings as a host writes them: it has no command line."""
    try:
        yield
    except SettingsError as error:
        error.args = (_as_arguments(str(error)),)
        raise


def _as_arguments(text: str) -> str:
    return re.sub(r"--[a-z-]+", lambda flag: _ARGUMENTS.get(flag[0], flag[0]), text)


_ARGUMENTS = {setting.flag: f"{setting.name}=" for setting in SETTINGS}


def _see_that_it_takes_an_event(name: str, handler: Callable[..., object]) -> None:
    if not callable(handler):
        raise TypeError(f"function {name}: {handler!r} cannot be called")
    try:
        signature = inspect.signature(handler)
    except ValueError:      # of some that are written in C nothing is known
        return
    try:
        signature.bind({}, None)
    except TypeError:
        takes = signature.replace(return_annotation=inspect.Signature.empty)
        raise TypeError(f"function {name}: a handler takes (event, context), and {getattr(handler, '__qualname__', handler)}{takes} does not") from None
