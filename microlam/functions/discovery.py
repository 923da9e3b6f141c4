"""Which functions a folder holds, decided from its listing and its configuration alone: nothing here reads a file."""
from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from microlam.functions.configuration import Configuration, FunctionSettings
from microlam.functions.declared import Declared, default_routes, read_mark
from microlam.functions.listing import ENTRY_FILES, Listing, Source
from microlam.functions.reading import Reading
from microlam.model import OWN_RUNTIME, Drop

_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_TEST_FILE = re.compile(r"test_.*|.*_test|conftest")
# A file that loses its handler may be half-written: for so long it is taken for what it was.
SETTLING_NS = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Found:
    """One function of the folder: its file, the folder of its own where it has one, and what its author declared."""

    name: str
    file: str                           # relative to the folder of functions
    folder: str = ""                    # its sub-folder; "" for a root file
    handler: str
    settings: FunctionSettings
    source: Source | None               # None: there is no such file
    declared: tuple[Declared, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def reading(self) -> Reading:
        return self.source.reading if self.source else Reading()

    @property
    def module(self) -> str:
        return self.handler.rpartition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """All functions of the folder by name, what their packages share, and what its author should know about the folder as a whole."""

    functions: Mapping[str, Found]
    shared: tuple[str, ...] = ()        # root modules, packages and data files that belong to no function
    warnings: tuple[str, ...] = ()
    unsettled: bool = False             # a file was taken for what it was; look again soon


def named_files(configuration: Configuration) -> set[str]:
    """The files in which functions that `microlam.toml` names may have their handlers."""
    return {path for name, settings in configuration.functions.items() for path in _places(name, settings)}


def discover(
    listing: Listing, configuration: Configuration, known: Mapping[str, Found] | None = None, *, executor: str = "processes",
) -> Discovery:
    """The functions of a folder; a `known` one stays what it was while its file is empty or broken. `executor` runs those that name none."""
    found: dict[str, Found] = {}
    warnings: list[str] = []
    unsettled = False
    candidates = _without_buckets(list(_candidates(listing, configuration, known or {})), warnings)
    for name, file, folder in candidates:
        if not _NAME.fullmatch(name):
            warnings.append(f'{file} is no function: "{name}" cannot be its name. Rename it with letters, digits, "-" and "_", 64 at most.')
        elif name in found:
            warnings.append(f"{found[name].file} and {file} are both function {name}; {found[name].file} is it. Rename one.")
        else:
            source = listing.sources.get(file)
            before = (known or {}).get(name)
            kept = before if before and before.file == file and source and _is_no_news(source, before, listing.taken_ns) else None
            unsettled = unsettled or bool(kept and source and not source.reading.blank and not source.reading.problem)
            one = _found(name, file, folder, configuration.functions.get(name, FunctionSettings()), source, kept)
            found[name] = replace(one, warnings=(*one.warnings, *_runtime_warnings(one, executor)))
    warnings += [f"[functions.{name}] in microlam.toml: {_missing(name, settings)}" for name, settings in configuration.functions.items() if name not in found]
    shared = _shared(listing, found)
    importable = {one.folder or one.file.removesuffix(".py"): one for one in found.values()}
    found = {name: replace(one, warnings=(*one.warnings, *_import_warnings(one, listing, importable))) for name, one in sorted(found.items())}
    warnings += _helper_warnings(listing, found)
    return Discovery(functions=found, shared=shared, warnings=tuple(warnings), unsettled=unsettled)


# ---- candidates ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Candidate:
    name: str
    file: str
    folder: str
    buckets: frozenset[str]

    def __iter__(self) -> Iterator[str]:
        return iter((self.name, self.file, self.folder))


def _candidates(listing: Listing, configuration: Configuration, known: Mapping[str, Found]) -> Iterator[_Candidate]:
    """Name, file and sub-folder of all that looks like a function: what `microlam.toml` names, then root files, then sub-folders."""
    for name, settings in configuration.functions.items():
        place = next((path for path in _places(name, settings) if path in listing.sources), None)
        if place is None and name in listing.folders:
            place = f"{name}/{ENTRY_FILES[0]}"      # nothing is there to run, and invoking it says so
        if place is None and f"{name}.py" in listing.sources:
            place = f"{name}.py"
        if place:
            folder = name if place.startswith(f"{name}/") and name in listing.folders else ""
            reading = listing.sources[place].reading if place in listing.sources else Reading()
            yield _Candidate(name, place, folder, _buckets(reading, settings))
    for file in listing.root_files:
        name = file.removesuffix(".py")
        source = listing.sources[file]
        if name not in configuration.functions and name != "__init__" and _is_function(file, source, known.get(name), listing.taken_ns):
            yield _Candidate(name, file, "", _buckets(source.reading))
    for folder in listing.folders:
        if folder in configuration.functions:
            continue
        for file in (f"{folder}/{entry}" for entry in ENTRY_FILES):
            if file in listing.sources and _is_function(file, listing.sources[file], known.get(folder), listing.taken_ns):
                yield _Candidate(folder, file, folder, _buckets(listing.sources[file].reading))
                break


def _places(name: str, settings: FunctionSettings) -> list[str]:
    """Where the handler of a function that `microlam.toml` names may lie, the likeliest first."""
    module = (settings.handler or "").rpartition(".")[0].replace(".", "/")
    if not module:
        return [f"{name}.py", *(f"{name}/{entry}" for entry in ENTRY_FILES)]
    return [f"{folder}{module}{rest}" for folder in (f"{name}/", "") for rest in (".py", "/__init__.py")]


def _missing(name: str, settings: FunctionSettings) -> str:
    if not (settings.handler or "").rpartition(".")[0]:
        return f"there is no {name}.py and no {name}/. Create one, or remove the entry."
    own, _, root, _ = _places(name, settings)
    return f"its handler is {settings.handler}, but there is no {root} and no {own}. Create one, or correct the handler."


def _is_function(file: str, source: Source, before: Found | None, now_ns: int) -> bool:
    if before and before.file == file and _is_no_news(source, before, now_ns):
        return True
    handler = source.reading.handler
    # A test that does `from hello import handler` is not a second hello.
    is_test = "/" not in file and _TEST_FILE.fullmatch(file.removesuffix(".py")) and handler in source.reading.only_imported
    return handler is not None and not is_test


def _is_no_news(source: Source, before: Found, now_ns: int) -> bool:
    """Whether a file tells nothing about the function it held: it is empty or broken, or has only just lost its handler."""
    reading = source.reading
    if reading.blank or reading.problem:
        return True
    return before.handler.rpartition(".")[2] not in reading.names and reading.handler is None and now_ns - source.stamp.modified_ns < SETTLING_NS


def _buckets(reading: Reading, settings: FunctionSettings | None = None) -> frozenset[str]:
    declared = [*_declared(reading, reading.handler or "")[0], *(settings.triggers if settings else ())]
    return frozenset(one.when.bucket for one in declared if isinstance(one.when, Drop))


def _without_buckets(candidates: list[_Candidate], warnings: list[str]) -> list[_Candidate]:
    """A folder that files are dropped into is never code, whatever is dropped into it."""
    buckets = {bucket for candidate in candidates for bucket in candidate.buckets}
    for candidate in candidates:
        if candidate.folder in buckets:
            warnings.append(f"{candidate.file} is no function: {candidate.folder}/ is a bucket that files are dropped into. Rename the folder or the bucket.")
    return [candidate for candidate in candidates if candidate.folder not in buckets]


# ---- one function ----------------------------------------------------------------------------------------------------

def _found(name: str, file: str, folder: str, settings: FunctionSettings, source: Source | None, kept: Found | None) -> Found:
    reading = source.reading if source else Reading()
    module = file.removeprefix(f"{folder}/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    handler = settings.handler or (kept.handler if kept else f"{module}.{reading.handler or 'lambda_handler'}")
    if kept:
        declared = tuple(one for one in kept.declared if one.origin == "decorator")
        warnings: list[str] = []
    else:
        declared, warnings = _declared(reading, handler.rpartition(".")[2], file)
    if not handler.rpartition(".")[0]:
        there = handler if handler in reading.names else reading.handler or "handler"
        warnings.append(f'functions.{name}.handler = "{handler}" names no module; write "{module}.{there}".')
    if not (declared or settings.triggers or default_routes(name)):
        warnings.append(f"{file}: paths under /{name} belong to the server, so nothing leads to the function. Declare a route, or rename it.")
    if not folder and name in sys.stdlib_module_names:
        warnings.append(_shadow(file))
    return Found(
        name=name, file=file, folder=folder, handler=handler, settings=settings, source=source,
        declared=(*declared, *settings.triggers), warnings=tuple(warnings),
    )


def python_of(found: Found, executor: str) -> str:
    """The runtime on which a function really runs: in the server's own process it is the server's. `executor` is that of those that name none."""
    return OWN_RUNTIME if (found.settings.executor or executor) == "inprocess" else found.settings.runtime or OWN_RUNTIME


def _runtime_warnings(found: Found, executor: str) -> Iterator[str]:
    wanted, python = found.settings.runtime or OWN_RUNTIME, python_of(found, executor)
    if wanted != python:
        yield (f'runtime = "{wanted}" is of no effect with executor = "inprocess": the server\'s own process runs the function, on {python}. '
               f'Write executor = "processes", or leave out runtime.')


def _declared(reading: Reading, handler: str, file: str = "") -> tuple[tuple[Declared, ...], list[str]]:
    """What the marks on a handler say, and a warning for each that says nothing or marks something else."""
    declared: list[Declared] = []
    warnings: list[str] = []
    for mark in reading.marks.get(handler, ()):
        try:
            declared.append(read_mark(mark))
        except ValueError as error:
            warnings.append(f"{file} line {mark.line}: {error}. Until it is mended, the decorator is ignored.")
    for name, marks in reading.marks.items():
        if name != handler and not any(mark in reading.marks.get(handler, ()) for mark in marks):
            warnings.append(f"{file} line {marks[0].line}: @{marks[0].kind} marks {name}, but the handler is {handler}. Mark that one.")
    return tuple(declared), warnings


# ---- packages and their pitfalls -------------------------------------------------------------------------------------

def _shared(listing: Listing, found: Mapping[str, Found]) -> tuple[str, ...]:
    """What travels with every root file: the root modules and packages that are not functions, and plain data files."""
    files = {one.file for one in found.values()}
    folders = {one.folder for one in found.values()} | buckets_of(found.values())
    # A module that holds several functions is also the others' helper; one that is a function by its own name is not.
    modules = [file for file in listing.root_files if file not in files]
    return (*sorted(modules), *(name for name, python in listing.folders.items() if python and name not in folders), *listing.data)


def buckets_of(functions: Iterable[Found]) -> set[str]:
    return {one.when.bucket for function in functions for one in function.declared if isinstance(one.when, Drop)}


def _import_warnings(one: Found, listing: Listing, importable: Mapping[str, Found]) -> Iterator[str]:
    """What a root file imports, and will not find, because it is a function itself; `importable` are the functions by that name."""
    if one.folder:
        return
    for name, line in one.reading.imports.items():
        other = importable.get(name)
        if other and other.file != one.file:
            yield (f"{one.file} line {line} imports {name}, but {other.file} is a function and no part of its package. "
                   "Move what they share into a module without a handler.")
    if one.file == f"{one.name}.py" and listing.folders.get(one.name):
        yield f"{one.name}/ hides {one.file} from Python's import. Rename one."


def _helper_warnings(listing: Listing, found: Mapping[str, Found]) -> Iterator[str]:
    functions = {one.file for one in found.values()}
    for file in listing.root_files:
        if file in functions:
            continue
        if file.removesuffix(".py") in sys.stdlib_module_names:
            yield _shadow(file)
        for name, marks in listing.sources[file].reading.marks.items():
            module = file.removesuffix(".py")
            yield (f"{file} line {marks[0].line}: @{marks[0].kind} marks {name}, but the file is no function. "
                   f'Call it handler, or name it in microlam.toml: [functions.{module}] handler = "{module}.{name}"')


def _shadow(file: str) -> str:
    return f"{file} hides Python's own module {file.removesuffix('.py')}, and whatever imports that gets this file. Rename it."
