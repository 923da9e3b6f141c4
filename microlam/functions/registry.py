"""The functions that live: what code each runs now, and how a save becomes new code.

A changed file makes a new version, which takes over once a fresh worker has imported it; until then, and while it does not import, the last good
one serves. Watching is for speed alone: a request looks at its files itself, so the first one after a save runs the new code.
"""
from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from microlam.errors import FunctionNotFound, MicrolamError
from microlam.functions.declared import settle_routes, triggers_of
from microlam.functions.discovery import Discovery, Found, buckets_of, discover, named_files
from microlam.functions.inputs import InputFiles, Inputs
from microlam.functions.listing import NEVER_CODE, FolderReader, Listing
from microlam.functions.live import Live
from microlam.functions.watching import Watcher
from microlam.model import LATEST, Invocation, Outcome, Trigger, Version, function_arn
from microlam.packages import Copy, Packages, Stamp, files_under, folders_under
from microlam.requirements import Requirements

LOOK_ANYWAY = 5.0       # seconds; file events may get lost
LOOK_SOON = 0.5         # while a file may be half-written
AT_ONCE = 4             # imports of code that no request waits for

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
_IMPORT_ERRORS = frozenset({
    "Runtime.ImportModuleError", "Runtime.HandlerNotFound", "Runtime.UserCodeSyntaxError", "Runtime.MalformedHandlerName", "Runtime.BuiltInModuleConflict",
})


class TriggerTable(Protocol):
    """Where triggers are written to."""

    def replace(self, arn: str, triggers: Sequence[Trigger]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function, for people to look at. `latest` is what requests run; before its first use, what they would."""

    name: str
    arn: str
    handler: str
    file: Path
    latest: Version
    error: Mapping[str, object] | None      # errorType, errorMessage, stackTrace: why the code in the folder does not run
    warnings: tuple[str, ...]
    triggers: tuple[Trigger, ...]


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What one look at the folder showed."""

    discovery: Discovery
    inputs: Inputs
    changed: frozenset[str]                 # functions in use whose package differs from what they run
    folders: frozenset[Path]                # to be watched


class Functions:
    """Every function of a folder.

    `warm` starts a worker that imports a version and tells what went wrong; `retire` ends a version's workers once they are done;
    `is_warm` says whether a version has workers, which is when new code is imported before anyone asks for it.
    """

    def __init__(
        self, folder: Path, data: Path, *, region: str, account: str, triggers: TriggerTable,
        warm: Callable[[Version], Awaitable[Outcome | None]], retire: Callable[[Version], Awaitable[None]], say: Callable[[str], None],
        env_vars: Path | None = None, poll: bool = False, is_warm: Callable[[Version], bool] = lambda version: True,
    ) -> None:
        self._folder = folder.resolve()
        self._apart = frozenset(path.resolve() for path in (data, env_vars) if path)
        self._region, self._account = region, account
        self._triggers, self._warm, self._retire, self._is_warm, self._say = triggers, warm, retire, is_warm, say
        self._packages = Packages(data.resolve() / "packages")
        self._requirements = Requirements(data.resolve() / "requirements", say)
        self._input_files = InputFiles(self._folder, env_vars)
        self._reader = FolderReader(self._folder, self._apart)
        self._watcher = Watcher(poll=poll, say=say)
        self._live: dict[str, Live] = {}
        self._discovery = Discovery(functions={})
        self._inputs = Inputs()
        self._watched: frozenset[Path] = frozenset({self._folder})
        self._looks = 0
        self._looking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[Path] = set()

    # ---- who is there ------------------------------------------------------------------------------------------------

    def named(self, name: str) -> str:
        """The ARN of the function with this name."""
        arn = function_arn(name, self._region, self._account)
        if arn not in self._live:
            raise FunctionNotFound(arn=arn)
        return arn

    def all(self) -> Sequence[Function]:
        """Every function, by name."""
        return [
            Function(
                name=live.found.name, arn=arn, handler=live.found.handler, file=Path(live.path), latest=live.good or self._plan(live.found),
                error=live.error, warnings=(*live.found.warnings, *live.warnings), triggers=live.triggers,
            )
            for arn, live in sorted(self._live.items())
        ]

    @property
    def warnings(self) -> Sequence[str]:
        """What is odd about the folder as a whole."""
        return (*self._inputs.warnings, *self._discovery.warnings)

    # ---- which code --------------------------------------------------------------------------------------------------

    def resolve(self, arn: str, qualifier: str | None = None) -> Version:
        """The version that serves, without a look at the files; one that was never used is made of them first."""
        live = self._find(arn, qualifier)
        if live.good is None:
            self._take(live, *self._snapshot(live.found, self._discovery, installed=True))
        assert live.good is not None
        return live.good

    async def current(self, arn: str, qualifier: str | None = None) -> Version:
        """The version that runs what the files hold now; waits for new code's import. While that fails it is the last good one."""
        live = self._find(arn, qualifier)
        if live.good is not None and live.unchanged() and not self._input_files_changed():
            return live.good
        return await self._fresh(live)

    def _find(self, arn: str, qualifier: str | None) -> Live:
        live = self._live.get(arn)
        if live is None or (qualifier is not None and qualifier != LATEST):
            raise FunctionNotFound(arn=f"{arn}:{qualifier}" if qualifier else arn)
        return live
