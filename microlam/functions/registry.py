"""Every function, the folder's, those created through the API and the host's own, and which version a name means now."""
from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from microlam.archives import Archive, Archives
from microlam.clock import Clock, SystemClock
from microlam.errors import AliasNotFound, FunctionExists, FunctionNotFound
from microlam.functions.concurrency import Concurrency
from microlam.functions.declared import triggers_of
from microlam.functions.folder import PATIENCE, FolderFunctions, Function, TriggerTable
from microlam.functions.hosted import Hosted, numbers_of
from microlam.functions.provisioning import Provisioning
from microlam.functions.shelves import Documents, Shelf, Shelves, latest_first
from microlam.functions.snapshot import ACTIVE, Change, Snapshot
from microlam.hooks import Hook
from microlam.model import LATEST, Alias, Invocation, Outcome, Trigger, Version, chosen_version, function_arn
from microlam.packages import zip_of

Forgotten = Callable[[str, str | None], Awaitable[None]]


class Registry:
    """Every function, to be looked up and looked at.

    `warm` starts a worker that imports a version and tells what went wrong; `retire` ends a version's workers once they are done;
    `is_warm` says whether a version has workers; `bucket_folder` tells where a bucket is; `layer_folder` where layers, by ARN, are unpacked together;
    `interpreter` says which Python a runtime runs on, and `warnings_of` what is wrong with that or else with what a version's workers need.
    What is in `forgotten` is told when a function, or one of its versions or aliases, is deleted.
    """

    def __init__(
        self, folder: Path, data: Path, *, store: Documents, region: str, account: str, triggers: TriggerTable,
        warm: Callable[[Version], Awaitable[Outcome | None]], retire: Callable[[Version], Coroutine[object, object, None]], say: Callable[[str], None],
        env_vars: Path | None = None, poll: bool = False, is_warm: Callable[[Version], bool] = lambda version: True,
        bucket_folder: Callable[[str], Path] = Path, executor: str = "processes", requirements: Path | None = None,
        layer_folder: Callable[[Sequence[str]], Awaitable[str]] | None = None, warnings_of: Callable[[Version], Sequence[str]] = lambda version: (),
        interpreter: Callable[[str], Awaitable[str]] | None = None, clock: Clock | None = None, seed: int | None = None,
        deployed: Hook[[Version]] | None = None, expect: Callable[[Version], None] = lambda version: None, patience: float = PATIENCE,
    ) -> None:
        self._region, self._account, self._warm, self._retire = region, account, warm, retire
        self._layer_folder, self._warnings_of = layer_folder, warnings_of
        self._clock: Clock = clock or SystemClock()
        self._dice = random.Random(seed).random
        self._folder = FolderFunctions(
            folder, data, region=region, account=account, triggers=triggers, warm=warm, retire=retire, say=say, env_vars=env_vars, poll=poll,
            is_warm=is_warm, bucket_folder=bucket_folder, interpreter=interpreter, executor=executor, requirements=requirements, deployed=deployed,
            expect=expect, patience=patience,
        )
        self._archives = Archives(data.resolve() / "code")
        self._shelves = Shelves(store, self._clock)
        self.concurrency = Concurrency(self._shelves, self._clock, Provisioning(self._load, warm, retire), self._start, self.__contains__)
        self._say, self._told = say, set[tuple[str, str]]()
        self._zipped: dict[str, Archive] = {}       # by the folder that was zipped
        self._tasks: set[asyncio.Task[None]] = set()
        self.forgotten: list[Forgotten] = []
        self._triggers, self._deployed = triggers, deployed or Hook()
        self._hosted: dict[str, tuple[Trigger, ...]] = {}       # by ARN, of the host's own: what leads to each

    # ---- who is there ------------------------------------------------------------------------------------------------

    def named(self, name: str) -> str:
        """The ARN of the function with this name."""
        arn = function_arn(name, self._region, self._account)
        if arn not in self:
            raise FunctionNotFound(arn=arn)
        return arn

    def __contains__(self, arn: str) -> bool:
        """Whether there is such a function, be it that only its versions are left."""
        return arn in self._folder or (arn in self._shelves.by_arn and not self._shelves.by_arn[arn].empty)

    def all(self) -> Sequence[Function]:
        """Every function that has a `$LATEST`, by ARN."""
        shelves = [shelf for shelf in self._shelves.by_arn.values() if shelf.arn not in self._folder]
        created = [_created(shelf.latest, shelf.loaded.get(LATEST), self._hosted.get(shelf.arn, ())) for shelf in shelves if shelf.latest]
        return sorted(map(self._warned, [*self._folder.all(), *created]), key=lambda function: function.arn)

    def _warned(self, function: Function) -> Function:
        """With what is wrong with what its workers need."""
        warnings = self._warnings_of(function.latest)
        return replace(function, warnings=(*function.warnings, *warnings)) if warnings else function

    def on(self, runtime: str) -> Sequence[str]:
        """The names of the functions whose workers run on a Python."""
        return [function.name for function in self.all() if function.latest.runtime == runtime and function.latest.executor != "inprocess"]

    def bereft(self) -> Sequence[str]:
        """The ARNs of functions whose file is gone, and of which there are versions still."""
        return sorted(shelf.arn for shelf in self._shelves.by_arn.values() if shelf.versions and not shelf.latest and shelf.arn not in self._folder)

    def file(self, arn: str) -> Path | None:
        """The file that makes a function; None for one that was created through the API."""
        return self._folder.file(arn) if arn in self._folder else None

    @property
    def warnings(self) -> Sequence[str]:
        """What is odd about the folder as a whole."""
        hidden = [shelf.latest.name for shelf in self._shelves.by_arn.values() if shelf.latest and shelf.arn in self._folder]
        return (*self._folder.warnings, *(f"{name} was created through the API too; the folder's {name} is what runs. Rename one." for name in sorted(hidden)))

    # ---- which code --------------------------------------------------------------------------------------------------

    def ready(self, arn: str, qualifier: str | None = None) -> Version | None:
        """The same as `current`, for what came by a socket, where nothing need be waited for: functions of the folder whose files are what they were."""
        return self._folder.ready(arn) if qualifier is None else None

    async def current(self, arn: str, qualifier: str | None = None) -> Version:
        """The version that an invocation by this name gets now. Asked for every invocation: what is loaded costs a look-up."""
        if qualifier is None or qualifier == LATEST:
            return await self._current_latest(arn)
        shelf = self._shelves.by_arn.get(arn)
        if shelf is None:
            raise self._missing(arn, qualifier)
        alias = shelf.aliases.get(qualifier)
        number = qualifier if alias is None else chosen_version(alias, self._dice())
        if number == LATEST:
            return await self._current_latest(arn)
        return shelf.kept_warm.get((qualifier, number)) or shelf.loaded.get(number) or await self._load(shelf, number, qualifier)

    async def _current_latest(self, arn: str) -> Version:
        if arn in self._folder:
            return await self._folder.current(arn)
        shelf = self._shelves.by_arn.get(arn)
        if shelf is None or shelf.latest is None:
            await self._folder.look_again()     # its file may have been saved this moment
            return await self._folder.current(arn)
        return shelf.loaded.get(LATEST) or await self._load(shelf, LATEST)

    async def _load(self, shelf: Shelf, number: str, qualifier: str | None = None) -> Version:
        """Have the code of a version there to run."""
        snapshot = shelf.latest if number == LATEST else shelf.versions.get(number)
        if snapshot is None:
            raise self._missing(shelf.arn, qualifier or number)
        version = await self._version(snapshot)
        if snapshot is (shelf.latest if number == LATEST else shelf.versions.get(number)):      # else it has changed meanwhile
            shelf.loaded[number] = version
        return version

    async def _version(self, snapshot: Snapshot) -> Version:
        root = await asyncio.to_thread(self._archives.root, snapshot.sha256)
        layers = await self._layer_folder(snapshot.layers) if self._layer_folder and snapshot.layers else ""
        return snapshot.version(str(root), layers)

    def _missing(self, arn: str, qualifier: str) -> FunctionNotFound:
        """The error; and a word to the author of a function whose triggers lead to what is not there."""
        name = arn.rpartition(":")[2]
        if arn in self._folder and (arn, qualifier) not in self._told:
            self._told.add((arn, qualifier))
            remedy = "" if qualifier.isdecimal() else f" Create it: microlam publish {name} && microlam alias {name} {qualifier} --version 1"
            self._say(f"{name}:{qualifier} was asked for, but there is no such version or alias.{remedy}")
        return FunctionNotFound(arn=f"{arn}:{qualifier}")

    async def mend(self, root: str) -> None:
        """Have the code in a folder be what was published, or what was saved, before a worker starts from it."""
        if self._archives.holds(root):
            await asyncio.to_thread(self._archives.mend, root)
        else:
            await self._folder.mend(root)

    # ---- the host's own ----------------------------------------------------------------------------------------------

    async def host(self, hosted: Hosted) -> list[Version]:
        """Let a callable of the host's be a function, and the version of its number; gives what is now its to run."""
        arn = function_arn(hosted.name, self._region, self._account)
        if arn in self._folder or (arn in self and arn not in self._hosted and self._shelves.look(arn).latest):
            raise FunctionExists(name=hosted.name)
        shelf, now = self._shelves.of(arn), self._clock.now()
        before = [shelf.loaded[number] for number in numbers_of(hosted) if number in shelf.loaded]
        for number in numbers_of(hosted):
            snapshot = hosted.snapshot(arn, number, now)
            shelf.loaded[number] = snapshot.version("")
            if number == LATEST:
                shelf.latest = snapshot
            else:
                shelf.versions[number] = snapshot
        if arn not in self._hosted or hosted.settings.triggers or hosted.settings.serve:
            self._hosted[arn] = triggers_of(arn, hosted.settings.triggers, hosted.settings.serve)
            self._triggers.replace(arn, self._hosted[arn])
        for version in before:
            self._start(self._retire(version))
        return [shelf.loaded[number] for number in numbers_of(hosted)]

    # ---- looking -----------------------------------------------------------------------------------------------------

    async def snapshot(self, arn: str, qualifier: str | None = None) -> Snapshot:
        """What a name means, to be looked at: `$LATEST` as it is now, a version, or the version an alias names first."""
        if qualifier is None or qualifier == LATEST:
            with suppress(FunctionNotFound):
                return await self._latest(arn)
            raise FunctionNotFound(arn=f"{arn}:{qualifier}" if qualifier else arn)
        shelf = self._shelves.look(arn)
        number = shelf.aliases[qualifier].number if qualifier in shelf.aliases else qualifier
        if number == LATEST:
            return await self._latest(arn)
        if number not in shelf.versions:
            raise FunctionNotFound(arn=f"{arn}:{qualifier}")
        return shelf.versions[number]

    async def _latest(self, arn: str) -> Snapshot:
        if arn in self._folder:
            return await self._snapshot_of_files(await self._folder.glance(arn))
        shelf = self._shelves.look(arn)
        while shelf.latest is not None and shelf.latest.status != ACTIVE and shelf.settling is not None:
            await asyncio.shield(shelf.settling)
        if shelf.latest is None:
            raise FunctionNotFound(arn=arn)
        return shelf.latest

    async def _snapshot_of_files(self, version: Version) -> Snapshot:
        """What the folder's files are now, zipped: what a publication would number."""
        archive = self._zipped.get(version.root)
        if archive is None:
            archive = self._zipped[version.root] = await asyncio.to_thread(lambda: self._archives.put(zip_of(Path(version.root))))
        return Snapshot(
            arn=version.arn, sha256=archive.sha256, size=archive.size, handler=version.handler, runtime=version.runtime, timeout=version.timeout,
            memory=version.memory, environment=dict(version.environment) or None, log_format=version.log_format, path=version.path,
            concurrency=version.concurrency, executor=version.executor, preload=version.preload, modified=self._folder.modified(version.arn),
            revision=str(UUID(version.key)),
        )

    def versions(self, arn: str) -> list[Snapshot]:
        """The numbered versions, the newest first."""
        return latest_first(self._shelves.look(arn).versions)

    def aliases(self, arn: str) -> list[Alias]:
        """The aliases, by name."""
        return [alias for _, alias in sorted(self._shelves.look(arn).aliases.items())]

    def alias(self, arn: str, name: str) -> Alias:
        alias = self._shelves.look(arn).aliases.get(name)
        if alias is None:
            raise AliasNotFound(arn=f"{arn}:{name}")
        return alias

    async def changes(self, arn: str) -> list[Change]:
        """What was done to a function and to what is its own, the newest first; also after it is gone."""
        return await self._shelves.changes(arn)

    def revision(self, arn: str, qualifier: str | None = None) -> str | None:
        """The revision that a function, or a version or alias of it, is at; None where its files say what it is."""
        shelf = self._shelves.by_arn.get(arn)
        kept = shelf and (shelf.latest if qualifier in (None, LATEST) else shelf.versions.get(qualifier or "") or shelf.aliases.get(qualifier or ""))
        return kept.revision if kept and not (arn in self._folder and qualifier in (None, LATEST)) else None

    def zip(self, sha256: str) -> Path | None:
        """The file with a version's zip, by its hash."""
        return self._archives.zip(sha256)

    # ---- living ------------------------------------------------------------------------------------------------------

    def ended(self, invocation: Invocation, outcome: Outcome) -> None:
        """Take note of how the first import of a version went."""
        self._folder.ended(invocation, outcome)

    async def load(self, *, tell: bool = True) -> None:
        """Find the functions, and `tell` which are broken; raises BrokenToml where the folder's files say what cannot be. Nothing is imported nor copied."""
        await self._shelves.load()
        await self._folder.load(tell=tell)
        self.concurrency.load()
        await asyncio.to_thread(self._archives.remove_all_but, await self._shelves.archives())

    async def look(self) -> None:
        """Notice now what has changed in the folder."""
        await self._folder.look()

    async def look_again(self) -> None:
        """Notice what has changed in the folder before this call; many who ask at once share a look."""
        await self._folder.look_again()

    async def watch(self) -> None:
        """Follow the folder, and keep workers ready where they were asked for, until cancelled."""
        try:
            self.concurrency.begin()
            await self._folder.watch()
        finally:
            await self.close()

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._folder.close()

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something beside the caller; `close` ends what is still running."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _created(latest: Snapshot, loaded: Version | None, triggers: tuple[Trigger, ...]) -> Function:
    return Function(
        name=latest.name, arn=latest.arn, handler=latest.handler, file=None, latest=loaded or latest.version(""), error=None, warnings=(),
        triggers=triggers,
    )
