"""The functions of the folder: what code each runs now, and how a save becomes new code.

A changed file makes a new version, which takes over once a fresh worker has imported it; until then, and while it does not import, the last good
one serves. Watching is for speed alone: a request looks at its files itself, so the first one after a save runs the new code.
"""
from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from microlam.errors import FunctionNotFound, MicrolamError
from microlam.functions.declared import settle_routes, triggers_of
from microlam.functions.live import Live, Step, what_now
from microlam.functions.looking import Looker, Plan, Seen
from microlam.functions.watching import Watcher
from microlam.hooks import Hook
from microlam.model import LATEST, Invocation, Outcome, Trigger, Version, function_arn
from microlam.packages import Copy, Packages, Stamp, stamp_of
from microlam.requirements import Requirements, RequirementsFailed

A = TypeVar("A")
T = TypeVar("T")

LOOK_ANYWAY = 5.0       # seconds; file events may get lost
LOOK_SOON = 0.5         # while a file may be half-written
LOOK_PAUSE = 3          # between looks that may come one after the other (for what is nowhere, during an import), in times of what a look takes
AT_ONCE = 4             # imports that no request waits for
LOOK_MEANWHILE = 0.1    # while an import lasts
PATIENCE = 10.0         # with an import, as long as AWS lets one take; then the last good code serves while it goes on

_IMPORT_ERRORS = frozenset({
    "Runtime.ImportModuleError", "Runtime.HandlerNotFound", "Runtime.UserCodeSyntaxError", "Runtime.MalformedHandlerName", "Runtime.BuiltInModuleConflict",
})


class TriggerTable(Protocol):
    """Where triggers are written to."""

    def replace(self, arn: str, triggers: Sequence[Trigger]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Made:
    """A version that the files of a function made, and what they were then."""

    version: Version
    missing: RequirementsFailed | None      # why what it requires could not be installed
    plan: Plan
    copy: Copy
    beside: Mapping[str, Stamp | None]
    marks: int


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function, for people to look at. `latest` is what requests run; before its first use, what they would."""

    name: str
    arn: str
    handler: str
    file: Path | None                       # None: it was created through the API
    latest: Version
    error: Mapping[str, object] | None      # errorType, errorMessage, stackTrace: why the code in the folder does not run
    warnings: tuple[str, ...]
    triggers: tuple[Trigger, ...]


class FolderFunctions:
    """Every function of a folder: each is the `$LATEST` that its files make.

    `warm` starts a worker that imports a version and tells what went wrong; `retire` ends a version's workers once they are done;
    `is_warm` says whether a version has workers, which is when new code is imported before anyone asks for it; `bucket_folder` tells where a bucket is,
    `interpreter` which Python a runtime runs on. Requests wait `patience` seconds for an import.
    """

    def __init__(
        self, folder: Path, data: Path, *, region: str, account: str, triggers: TriggerTable,
        warm: Callable[[Version], Awaitable[Outcome | None]], retire: Callable[[Version], Awaitable[None]], say: Callable[[str], None],
        env_vars: Path | None = None, poll: bool = False, is_warm: Callable[[Version], bool] = lambda version: True,
        bucket_folder: Callable[[str], Path] = Path, interpreter: Callable[[str], Awaitable[str]] | None = None, executor: str = "processes",
        requirements: Path | None = None, deployed: Hook[[Version]] | None = None, expect: Callable[[Version], None] = lambda version: None,
        patience: float = PATIENCE,
    ) -> None:
        self._region, self._account = region, account
        self._triggers, self._warm, self._retire, self._is_warm, self._say = triggers, warm, retire, is_warm, say
        folder, data = folder.resolve(), data.resolve()
        self._packages = Packages(data / "packages")
        self._requirements = Requirements(requirements or data / "requirements", say, interpreter)
        apart = frozenset(path.resolve() for path in (data, env_vars) if path)
        self._interpreter = interpreter
        self._looker = Looker(folder, apart, env_vars, self._requirements, self._packages, bucket_folder, executor)
        self._watcher = Watcher(poll=poll, say=say)
        self._live: dict[str, Live] = {}
        self._seen: Seen | None = None
        self._looks = 0
        self._looking = asyncio.Lock()
        self._next_look: asyncio.Task[None] | None = None
        self._look_pause_ends = 0.0
        self._tasks: set[asyncio.Task[object]] = set()
        self._ending: list[Version] = []
        self._deployed, self._expect, self._patience = deployed or Hook(), expect, patience

    # ---- who is there ------------------------------------------------------------------------------------------------

    def __contains__(self, arn: str) -> bool:
        return arn in self._live

    def file(self, arn: str) -> Path:
        """The file that its author edits."""
        return self._live[arn].plan.path

    def modified(self, arn: str) -> datetime:
        """When a file of its package last changed."""
        live = self._live[arn]
        stamps = [*live.files.values(), *filter(None, [stamp_of(live.plan.path)])]
        return datetime.fromtimestamp(max((stamp.modified_ns for stamp in stamps), default=0) / 1e9, UTC)

    def error(self, arn: str) -> Mapping[str, object] | None:
        """Why the code in the folder does not run; None while it does."""
        return self._live[arn].error

    def all(self) -> Sequence[Function]:
        """Every function, by name."""
        return [
            Function(
                name=live.plan.found.name, arn=arn, handler=live.plan.found.handler, file=live.plan.path, latest=live.good or live.plan.version(arn),
                error=live.error, warnings=(*live.plan.found.warnings, *live.warnings), triggers=live.triggers,
            )
            for arn, live in sorted(self._live.items())
        ]

    @property
    def warnings(self) -> Sequence[str]:
        """What is odd about the folder as a whole."""
        return (*self._seen.inputs.warnings, *self._seen.discovery.warnings) if self._seen else ()

    # ---- which code --------------------------------------------------------------------------------------------------

    def ready(self, arn: str) -> Version | None:
        """The version of what the files hold now, where that is known; for requests that came by a socket in an earlier turn of the loop."""
        live = self._live.get(arn)
        return live.good if live is not None and live.good is not None and live.unchanged_this_turn() else None

    async def current(self, arn: str) -> Version:
        """The version of what the files hold now, once it has been imported; the last good one while that fails."""
        live = self._live.get(arn)
        if live is None:
            raise FunctionNotFound(arn=arn)
        if live.good is not None and live.unchanged():
            return live.good
        if live.refreshing is not None:
            # It may have looked before the last save: only one that began after this call is sure to have seen it.
            await asyncio.shield(live.refreshing)
            if live.good is not None and live.unchanged():
                return live.good
        await asyncio.shield(self._refresh(live))
        if live.good is None:
            raise MicrolamError(reason=f"{live.plan.found.name}: {(live.trouble or {}).get('errorMessage')}")
        return live.good

    async def glance(self, arn: str) -> Version:
        """The version that would serve now, to be looked at: for a function that was never used nothing is installed, nor imported."""
        live = self._live.get(arn)
        if live is None:
            raise FunctionNotFound(arn=arn)
        return await self.current(arn) if live.good is not None else live.plan.version(arn, await asyncio.to_thread(self._looker.copy, live.plan))

    async def mend(self, root: str) -> None:
        """Have the copy that a worker starts from be what it was, where a handler has changed it and the files have not changed since."""
        packages = self._packages
        if not packages.holds(root):
            return
        sound = packages.is_sound(root) if packages.is_quick(root) else await asyncio.to_thread(packages.is_sound, root)
        plan = next((live.plan for live in self._live.values() if any(version.root == root for version in live.versions())), None)
        if plan is not None and not sound:
            await asyncio.to_thread(self._looker.mend, root, plan)

    def ended(self, invocation: Invocation, outcome: Outcome) -> None:
        """Take note of how the first import of a version went: a request's own worker did it, nobody else heard."""
        live = self._live.get(invocation.arn) if outcome.cold else None
        if live is None or live.good is None or live.good is not live.latest or outcome.version != LATEST:
            return
        error = outcome.error
        if error is not None and (error.get("errorType") in _IMPORT_ERRORS or outcome.init is None):
            live.broken = live.failure = error
            self._tell(live)
        elif live.broken is not None:
            live.broken = live.failure = None
            self._tell(live)

    # ---- new code ----------------------------------------------------------------------------------------------------

    def _refresh(self, live: Live) -> asyncio.Task[None]:
        """Bring a function up to date; one at a time each, whoever asks."""
        # One that is done but has not said so yet looked before whatever was saved by now.
        if live.refreshing is None or live.refreshing.done():
            def done(task: asyncio.Task[None]) -> None:
                if live.refreshing is task:
                    live.refreshing = None

            live.refreshing = self._start(self._renew(live))
            live.refreshing.add_done_callback(done)
        return live.refreshing

    async def _renew(self, live: Live) -> None:
        try:
            made: Made | None = await self._make(live)
            while made is not None:
                made = await self._take_over(live, made)
        except FunctionNotFound:
            raise
        except Exception as error:      # whatever it is: the last good code goes on serving, and the author is told
            live.trouble = _described(error)
            self._tell(live)

    async def _make(self, live: Live) -> Made | None:
        """What the files make of a function now; None where its own file is gone, or being saved by way of another: a later look will tell."""
        if self._seen is None or not (self._seen.still_holds(live.plan) and self._looker.requires_the_same(live.plan)):
            await self.look()
        if self._live.get(live.arn) is not live:
            raise FunctionNotFound(arn=live.arn)
        plan, beside, marks = live.plan, self._beside(live.plan), live.marks
        missing = await self._install(plan)
        if live.good is None and live.trouble is None:
            self._expect(plan.version(live.arn))
        copy = self._looker.copy_nowait(plan)
        if copy is None:
            copy = await asyncio.to_thread(self._looker.copy, plan)
        if plan.own not in copy.files and live.good is not None:
            return None
        live.files = copy.files
        return Made(version=plan.version(live.arn, copy, installed=missing is None), missing=missing, plan=plan, copy=copy, beside=beside, marks=marks)

    async def _install(self, plan: Plan) -> RequirementsFailed | None:
        """Install what a function requires; gives why that fails."""
        try:
            if plan.requirements is not None:
                await self._requirements.install(plan.requirements, plan.python)
        except RequirementsFailed as error:
            return error
        return None

    def _beside(self, plan: Plan) -> dict[str, Stamp | None]:
        """The files beside the code that the version depends on."""
        assert self._seen is not None
        requirements = {str(plan.requirements): stamp_of(plan.requirements)} if plan.requirements else {}
        return {**self._seen.inputs.stamps, **requirements}

    async def _take_over(self, live: Live, made: Made) -> Made | None:
        """Let a version serve as soon as a worker has imported it; gives a newer one where the files change before."""
        version = made.version
        live.trouble = _described(made.missing) if made.missing else None
        step = what_now(
            version.key, live.good.key if live.good else None, live.latest.key if live.latest else None,
            missing=made.missing is not None, broken=live.broken is not None, bare=live.bare,
        )
        if step is Step.SERVE:
            live.good = live.latest = version
        elif step is Step.GO_BACK:
            live.go_back()
        elif step is Step.IMPORT and (newer := await self._import(live, made)) is not None:
            return newer
        if live.good is not None and version.key == live.good.key:
            live.bare = made.missing is not None
        if over := live.forget_tried():
            self._start(self._end(*over))
        self._tell(live)
        live.adopt(made.plan, made.copy, made.beside, made.marks)
        return None

    async def _import(self, live: Live, made: Made) -> Made | None:
        """Have a worker import a version. One that takes long is given up for what is saved meanwhile, and in the end no longer waited for."""
        live.stop_importing()
        version, since, pause = made.version, time.monotonic(), LOOK_MEANWHILE
        live.tried.append(version)
        importing = live.importing = self._start(_called(self._warm, version))
        while not importing.done() and time.monotonic() - since < self._patience:
            await asyncio.wait({importing}, timeout=min(pause, self._patience))
            begun = time.monotonic()
            newer = None if importing.done() else await self._make(live)
            if newer is not None and newer.version.key != version.key:
                live.stop_importing()
                return newer
            pause = max(LOOK_MEANWHILE, LOOK_PAUSE * (time.monotonic() - begun))
        if self._live.get(live.arn) is not live:
            raise FunctionNotFound(arn=live.arn)
        if importing.done():
            self._imported(live, made, importing.result())
        else:
            live.latest, live.failure = version, {"errorType": "StillImporting", "errorMessage": f"after {self._patience:g} s the new code is not imported yet"}
            self._start(self._follow(live, made, importing))
        return None

    async def _follow(self, live: Live, made: Made, importing: asyncio.Task[Outcome | None]) -> None:
        """Let a version that takes its time serve once it has been imported after all."""
        await asyncio.wait({importing})
        if live.importing is importing and not importing.cancelled():
            self._imported(live, made, importing.result())
            self._tell(live)

    def _imported(self, live: Live, made: Made, outcome: Outcome | None) -> None:
        # Only now: had the import been cut off, the next request must begin it again.
        live.importing, live.latest, live.failure = None, made.version, outcome.error if outcome else None
        if outcome is None or live.broken is not None:
            self._replace(live, made)

    def _replace(self, live: Live, made: Made) -> None:
        before, live.good, live.broken, live.bare = live.good, made.version, live.failure, made.missing is not None
        live.tried.remove(made.version)
        self._start(self._deployed.tell(made.version))
        if before is not None:
            live.recent.append(before)
            self._start(self._end(before))
        if live.failure is None and not live.told:
            self._say(f"{made.version.name}: new code runs")

    async def _end(self, *versions: Version) -> None:
        """Let versions finish what they run, then remove the copies that nobody needs any more."""
        self._ending += versions
        for version in versions:
            await self._retire(version)
        self._ending = [version for version in self._ending if version not in versions]
        wanted = {Path(version.root) for version in [*self._ending, *(version for live in self._live.values() for version in live.versions())]}
        await asyncio.to_thread(self._packages.remove_all_but, wanted)

    def _tell(self, live: Live, *, aloud: bool = True) -> None:
        """Say what became of a function, once; not `aloud` where others do."""
        error = live.error
        words = f"{error.get('errorType')}: {error.get('errorMessage')}" if error else ""
        if words == live.told:
            return
        live.told = words
        if not aloud:
            return
        name = live.plan.found.name
        serves = live.good is not None and live.broken is None and not (live.trouble and live.bare)
        self._say(f"{name}: {words}{' — the last good code goes on serving' if serves else ''}" if words else f"{name}: mended")

    # ---- new and removed functions -----------------------------------------------------------------------------------

    async def load(self, *, tell: bool = True) -> None:
        """Find the functions, and `tell` which are broken; raises BrokenToml where their configuration cannot be read. Nothing is imported nor copied."""
        async with self._looking:
            self._apply(await asyncio.to_thread(self._looker.look, {}, {}, strict=True), first=True, tell=tell)

    async def look(self) -> None:
        """Notice now what has changed in the folder."""
        wanted = self._looks + 1
        async with self._looking:
            if self._looks >= wanted:
                return      # somebody's look began after this call, and has ended
            self._looks += 1
            known = {live.plan.found.name: live.plan.found for live in self._live.values()}
            in_use = {live.plan.found.name: live.files for live in self._live.values() if live.good is not None}
            self._apply(await asyncio.to_thread(self._looker.look, known, in_use))

    async def look_again(self) -> None:
        """Notice what has changed before this call. Many who ask at once share one look, and one follows the other after a pause."""
        if self._next_look is None:
            self._next_look = self._start(self._look_after_a_pause())
        await asyncio.shield(self._next_look)

    async def _look_after_a_pause(self) -> None:
        await asyncio.sleep(self._look_pause_ends - time.monotonic())
        self._next_look = None      # who comes from here on may have saved something that this look does not see
        began = time.monotonic()
        await self.look()
        self._look_pause_ends = time.monotonic() + LOOK_PAUSE * (time.monotonic() - began)

    def _apply(self, seen: Seen, *, first: bool = False, tell: bool = True) -> None:
        warned = self._all_warnings()
        before, self._seen = self._seen, seen
        arns = {function_arn(name, self._region, self._account): plan for name, plan in seen.plans.items()}
        for arn in self._live.keys() - arns.keys():
            self._remove(self._live.pop(arn))
        for arn, plan in arns.items():
            live = self._live.get(arn)
            if live is None:
                live = self._live[arn] = Live(arn, plan)
                if not first:
                    self._say(f"{plan.found.name}: a new function, in {plan.found.file}")
            if plan.found.name in seen.changed or not plan.runs_like(live.plan):
                live.mark()
            live.plan = plan
            self._tell(live, aloud=tell)
        if before is not None and before.discovery is seen.discovery:
            return
        self._settle_triggers()
        if not first:
            self._look_for_pythons()
            for warning in sorted(self._all_warnings() - warned):
                self._say(f"Warning: {warning}")

    def _look_for_pythons(self) -> None:
        """Have the Pythons found that functions name, so that one that is missing is told before it is needed."""
        if self._interpreter is not None:
            for runtime in {live.plan.python for live in self._live.values()}:
                self._start(self._look_for_python(self._interpreter, runtime))

    async def _look_for_python(self, interpreter: Callable[[str], Awaitable[str]], runtime: str) -> None:
        try:
            await interpreter(runtime)
        except Exception as error:      # whoever needs it is told again
            self._say(f"Warning: {runtime} cannot be looked for: {error!r}")

    def _all_warnings(self) -> set[str]:
        """Those about the folder, and those about a function with its name."""
        found = [live.plan.found for live in self._live.values()]
        return {*self.warnings, *(f"{one.name}: {warning}" for one in found for warning in one.warnings)}

    def _settle_triggers(self) -> None:
        found = {arn: live.plan.found for arn, live in self._live.items()}
        standing, warnings = settle_routes({arn: triggers_of(arn, one.declared, one.settings.serve) for arn, one in found.items()})
        for arn, live in self._live.items():
            live.warnings = tuple(warnings.get(arn, ()))
            if live.triggers != standing[arn]:
                live.triggers = standing[arn]
                self._triggers.replace(arn, live.triggers)

    def _remove(self, live: Live) -> None:
        self._triggers.replace(live.arn, ())
        self._say(f"{live.plan.found.name}: no longer a function; {live.plan.found.file} is gone or has no handler")
        live.stop_importing()
        if live.good is not None:
            self._start(self._end(live.good, *live.tried))

    # ---- watching ----------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Follow the folder until cancelled: functions come and go, and those with workers get their new code at once."""
        try:
            while True:
                assert self._seen is not None
                await self._watcher.changed(self._seen.folders, LOOK_SOON if self._seen.discovery.unsettled else LOOK_ANYWAY)
                await self.look()
                self._start(self._renew_used())
        finally:
            await self._watcher.close()
            await self.close()

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _renew_used(self) -> None:
        """Import the new code of functions that have workers, a few at a time."""
        waiting = deque(live for live in self._live.values() if live.marked and live.good is not None and self._is_warm(live.good))

        async def work() -> None:
            while waiting:
                live = waiting.popleft()
                if live.marked:     # no request was here first
                    with suppress(MicrolamError):
                        await asyncio.shield(self._refresh(live))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(waiting))):
                tasks.create_task(work())

    def _start(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Run something beside the caller, who may be cancelled; `close` ends what is still running."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _called(what: Callable[[A], Awaitable[T]], argument: A) -> T:
    return await what(argument)     # only now: of a task that is cancelled before it begins, nothing is left that nobody awaits


def _described(error: Exception) -> dict[str, object]:
    return {"errorType": type(error).__name__, "errorMessage": str(error)}
