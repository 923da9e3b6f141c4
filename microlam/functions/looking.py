"""One look at the folder: its functions, what each would run as, and which of those in use have changed. Runs on a thread."""
from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from microlam.functions.discovery import Discovery, Found, buckets_of, discover, named_files, python_of
from microlam.functions.inputs import InputFiles, Inputs
from microlam.functions.listing import NEVER_CODE, FolderReader, Listing
from microlam.model import OWN_RUNTIME, Version
from microlam.packages import Copy, Packages, Stamp, code_in, files_under, folders_under, stamp_of
from microlam.requirements import Requirements

SMALL_FILES = 4
SMALL = 1 << 16     # bytes


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a function would run as, all but the copy of its code."""

    found: Found
    root: Path                              # the folder its package lies in
    path: Path                              # the handler's file
    names: tuple[str, ...] | None           # what of `root` belongs to the package; None: all that may be code
    environment: Mapping[str, str]
    requirements: Path | None               # the file
    installed: Path | None                  # where what it asks for is, or will be
    executor: str                           # where the function does not say how it is run

    @property
    def python(self) -> str:
        """The runtime on which it really runs: in the server's own process it is the server's."""
        return python_of(self.found, self.executor)

    @cached_property
    def own(self) -> str:
        """The handler's file within the package."""
        return self.path.relative_to(self.root).as_posix()

    def version(self, arn: str, copy: Copy | None = None, *, installed: bool = True) -> Version:
        """The version that this is; without a copy, one to be looked at only."""
        settings = self.found.settings
        return Version(
            arn=arn, handler=self.found.handler, runtime=settings.runtime or OWN_RUNTIME,
            root=str(copy.root if copy else self.root), source=str(self.root), sha256=copy.sha256 if copy else "",
            path=(str(self.installed),) if self.installed and installed else (),
            timeout=settings.timeout, memory=settings.memory, environment=self.environment, concurrency=settings.concurrency,
            executor=settings.executor or self.executor, preload=settings.preload, log_format=settings.log_format,
        )

    def runs_like(self, other: Plan) -> bool:
        """Whether all but the code is the same."""
        return (
            (self.found.handler, self.found.settings, self.root, self.names, self.environment, self.requirements, self.installed)
            == (other.found.handler, other.found.settings, other.root, other.names, other.environment, other.requirements, other.installed)
        )

    @cached_property
    def syntax_error(self) -> Mapping[str, object] | None:
        """What importing the handler's file would say, known without it."""
        problem = self.found.reading.problem
        if problem is None or self.python != OWN_RUNTIME:       # another Python may take it
            return None
        return {
            "errorType": "Runtime.UserCodeSyntaxError",
            "errorMessage": f"Syntax error in module '{self.found.module}': {problem.message}",
            "stackTrace": [f'  File "{self.path}" Line {problem.line}\n    {problem.text.strip()}\n'],
        }


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look showed."""

    discovery: Discovery
    inputs: Inputs
    plans: Mapping[str, Plan]               # by name
    changed: frozenset[str]                 # names of functions in use whose files differ from what they run
    folders: frozenset[Path]                # to be watched
    stamps: Mapping[str, Stamp | None]      # of the folder itself

    def still_holds(self, plan: Plan) -> bool:
        """Whether the folder, the files that shape functions and this function's own are what they were."""
        own = plan.found.source.stamp if plan.found.source else None
        return all(stamp_of(path) == stamp for path, stamp in {**self.stamps, **self.inputs.stamps, str(plan.path): own}.items())


class Looker:
    """Looks at one folder; `apart` is what lies in it and is neither code nor data of functions."""

    def __init__(self, folder: Path, apart: frozenset[Path], env_vars: Path | None, requirements: Requirements, packages: Packages,
                 bucket_folder: Callable[[str], Path], executor: str = "processes") -> None:
        self._folder, self._apart, self._executor = folder, apart, executor
        self._requirements, self._packages, self._bucket_folder = requirements, packages, bucket_folder
        self._input_files = InputFiles(folder, env_vars)
        self._reader = FolderReader(folder, apart)
        self._listing = Listing()
        self._before: Seen | None = None

    def look(self, known: Mapping[str, Found], in_use: Mapping[str, Mapping[str, Stamp]], *, strict: bool = False) -> Seen:
        """Look now. `in_use` tells the files that functions run; a broken configuration raises BrokenToml where `strict`."""
        stamps = {str(self._folder): stamp_of(self._folder)}
        inputs = self._input_files.read(strict=strict)
        listing = self._reader.read(named_files(inputs.configuration))
        before = self._before
        if before is None or before.discovery.unsettled or inputs is not before.inputs or not listing.same_as(self._listing):
            discovery = discover(listing, inputs.configuration, known, executor=self._executor)
            discovery = replace(discovery, warnings=(*discovery.warnings, *inputs.env_vars.strangers(discovery.functions.keys())))
        else:
            discovery = before.discovery
        plans = self._plans(discovery, inputs)
        shared = files_under(self._folder, discovery.shared, self._apart) if in_use else {}
        changed = {name for name, files in in_use.items() if name in plans and files != self._files(plans[name], shared)}
        folders = self._folders(discovery, set(listing.folders))
        self._listing = listing
        self._before = Seen(discovery=discovery, inputs=inputs, plans=plans, changed=frozenset(changed), folders=folders, stamps=stamps)
        return self._before

    def copy(self, plan: Plan) -> Copy:
        """Copy a function's package as it is now."""
        taken_ns, folders = time.time_ns(), self._folders_of(plan)
        return replace(self._packages.keep(plan.root, lambda: self._files(plan)), folders=folders, taken_ns=taken_ns)

    def copy_nowait(self, plan: Plan) -> Copy | None:
        """The same for a few small files: copied sooner than a thread for it would have begun. None where they are more, or just change."""
        if not self._is_small(plan):
            return None
        taken_ns, folders = time.time_ns(), {str(plan.root): stamp_of(plan.root)}
        copy = self._packages.keep_nowait(plan.root, lambda: self._files(plan))
        return replace(copy, folders=folders, taken_ns=taken_ns) if copy else None

    def mend(self, copy: str, plan: Plan) -> None:
        """Make a copy again, if a function's package is still what it was made of."""
        self._packages.mend(copy, plan.root, lambda: self._files(plan))

    @staticmethod
    def _is_small(plan: Plan) -> bool:
        if plan.names is None or len(plan.names) > SMALL_FILES:
            return False
        try:
            return all(stat.S_ISREG(status.st_mode) and status.st_size <= SMALL for name in plan.names if (status := os.stat(plan.root / name)))
        except OSError:
            return False

    def _plans(self, discovery: Discovery, inputs: Inputs) -> dict[str, Plan]:
        plans = {}
        for name, found in discovery.functions.items():
            root = self._folder / found.folder
            requirements, installed = self._required(found)
            plans[name] = Plan(
                found=found, root=root, path=self._folder / found.file,
                names=None if found.folder else tuple(dict.fromkeys([found.file.partition("/")[0], *discovery.shared])),
                environment=inputs.environment(name, found.settings.environment) | self._buckets_in_words(found),
                requirements=requirements, installed=installed, executor=self._executor,
            )
        return plans

    def _buckets_in_words(self, found: Found) -> dict[str, str]:
        """MICROLAM_BUCKETS: where the buckets are that a function listens to, so that it can read what was dropped."""
        names = sorted(buckets_of([found]))
        return {"MICROLAM_BUCKETS": json.dumps({name: str(self._bucket_folder(name)) for name in names})} if names else {}

    def requires_the_same(self, plan: Plan) -> bool:
        """Whether what a function requires is what it was."""
        return self._required(plan.found) == (plan.requirements, plan.installed)

    def _required(self, found: Found) -> tuple[Path, Path | None] | tuple[None, None]:
        runtime = python_of(found, self._executor)
        own = self._required_by(self._folder / found.folder, runtime) if found.folder else None
        return own or self._required_by(self._folder, runtime) or (None, None)

    def _required_by(self, folder: Path, runtime: str) -> tuple[Path, Path | None] | None:
        """A folder's requirements file, and where what it asks for is, or will be, for a runtime."""
        file = folder / "requirements.txt"
        return (file, self._requirements.place(file, runtime)) if file.is_file() else None

    def _files(self, plan: Plan, shared: Mapping[str, Stamp] | None = None) -> dict[str, Stamp]:
        """The files of a package; `shared` are those of all root files, where they are known already."""
        if plan.names is None or shared is None:
            return files_under(plan.root, self._names(plan), self._apart)
        return files_under(plan.root, plan.names[:1], self._apart) | dict(shared)

    def _folders_of(self, plan: Plan) -> dict[str, Stamp | None]:
        """The folders of a package, by path."""
        below = folders_under(plan.root, self._names(plan), self._apart)
        return {str(path): stamp_of(path) for path in (plan.root, *(plan.root / name for name in below))}

    def _names(self, plan: Plan) -> Sequence[str]:
        """What of its root belongs to a package."""
        return [name for name in code_in(plan.root) if name not in NEVER_CODE] if plan.names is None else plan.names

    def _folders(self, discovery: Discovery, tops: set[str]) -> frozenset[Path]:
        """What to subscribe to: the folder, its sub-folders (one may become a function), and all below those that hold code."""
        code = {found.folder or found.file.partition("/")[0] for found in discovery.functions.values()} | set(discovery.shared)
        below = folders_under(self._folder, sorted(code), self._apart)
        return frozenset({self._folder, *(self._folder / name for name in (tops - buckets_of(discovery.functions.values())) | set(below))})
