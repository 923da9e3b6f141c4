"""What lies in the folder of functions at one moment: its Python files as they read, its sub-folders, its plain data files."""
from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from microlam.functions.reading import Reading, read_source
from microlam.packages import Stamp, is_code_folder, stamp_of

# The order in which AWS's console, SAM and everybody else name the file of a function that has a folder of its own.
ENTRY_FILES = ("lambda_function.py", "app.py", "main.py", "index.py", "handler.py")
NEVER_CODE = frozenset({"events", "tests"})     # at the top of the folder, and of a function's own
CONFIGURATION_FILES = frozenset({"microlam.toml", "requirements.txt"})
# Plain files beside root functions that their handlers open: they travel with the code, as they would in a zip.
DATA_SUFFIXES = frozenset({
    ".json", ".csv", ".tsv", ".txt", ".xml", ".html", ".yaml", ".yml", ".toml", ".ini", ".sql", ".graphql", ".j2", ".jinja", ".jinja2", ".pem", ".crt",
})
DATA_LIMIT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """One Python file: when it was, and what it says."""

    stamp: Stamp
    reading: Reading


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The folder at one moment. Paths are relative to it, with slashes."""

    sources: Mapping[str, Source] = field(default_factory=dict)     # root files, the entry files of sub-folders, files that microlam.toml names
    folders: Mapping[str, bool] = field(default_factory=dict)       # sub-folders that may hold code; True where Python files lie directly in it
    data: tuple[str, ...] = ()
    taken_ns: int = 0

    def same_as(self, other: Listing) -> bool:
        """Whether nothing has changed but the time."""
        return (self.sources, self.folders, self.data) == (other.sources, other.folders, other.data)

    @property
    def root_files(self) -> list[str]:
        return [path for path in self.sources if "/" not in path]


class FolderReader:
    """Lists one folder again and again; a file is read only when it has changed since."""

    def __init__(self, folder: Path, apart: Iterable[Path]) -> None:
        self._folder = folder
        self._apart = frozenset(str(path) for path in apart)        # the data folder, the --env-vars file
        self._known: dict[str, Source] = {}

    def read(self, named: Iterable[str] = ()) -> Listing:
        """List the folder; `named` are further files to look into where they exist."""
        taken_ns = time.time_ns()
        files, folders = self._top()
        paths = [name for name in files if name.endswith(".py")]
        for folder in folders:
            paths += [f"{folder}/{name}" for name in ENTRY_FILES]
        sources = {path: source for path in dict.fromkeys([*paths, *named]) if (source := self._source(path, taken_ns))}
        self._known = sources
        data = tuple(sorted(name for name, status in files.items() if _is_data(name, status)))
        return Listing(sources=sources, folders={name: self._holds_python(name) for name in folders}, data=data, taken_ns=taken_ns)

    def _top(self) -> tuple[dict[str, os.stat_result], list[str]]:
        files: dict[str, os.stat_result] = {}
        folders: list[str] = []
        for entry in _entries(self._folder):
            if entry.name.startswith(".") or entry.path in self._apart:
                continue
            try:
                if entry.is_file():
                    files[entry.name] = entry.stat()
                elif entry.name not in NEVER_CODE and is_code_folder(entry):
                    folders.append(entry.name)
            except OSError:     # gone since, or a link that leads nowhere
                continue
        return files, sorted(folders)

    def _source(self, path: str, now_ns: int) -> Source | None:
        stamp = stamp_of(self._folder / path)
        if stamp is None:
            return None
        known = self._known.get(path)
        if known is not None and known.stamp == stamp and stamp.settled(now_ns):
            return known
        try:
            text = (self._folder / path).read_bytes()
        except OSError:
            return None
        return Source(stamp=stamp, reading=read_source(text, path.rpartition("/")[2]))

    def _holds_python(self, name: str) -> bool:
        return any(entry.name.endswith(".py") for entry in _entries(self._folder / name))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _is_data(name: str, status: os.stat_result) -> bool:
    suffix = os.path.splitext(name)[1]
    return suffix == ".so" or (suffix in DATA_SUFFIXES and name not in CONFIGURATION_FILES and status.st_size <= DATA_LIMIT)
