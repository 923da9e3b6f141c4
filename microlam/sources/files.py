"""Looking at files: what a folder holds, how that differs from what is recorded, and whether a file is whole. All of it blocks.

A key is a file's path within its bucket's folder. No objects are: names that start with a dot (also `.DS_Store`, swap files, whole hidden
folders), names that end in `~`, `.part` or `.crdownload` (backups and downloads under way), pipes and sockets, links to folders.
"""
from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from microlam.store import ObjectRow

UNFINISHED = ("~", ".part", ".crdownload")
CHUNK = 1 << 20


class Look(NamedTuple):
    """What tells one state of a file from another without reading it."""

    size: int
    mtime_ns: int
    inode: int


@dataclass
class Scan:
    """A folder's files by key, and what could not be looked at: a file's or folder's key → why; the folder itself is ''."""

    files: dict[str, Look] = field(default_factory=dict)
    blind: dict[str, str] = field(default_factory=dict)
    gone: bool = False          # the folder itself is not there, which says nothing of its files


def scan(folder: Path) -> Scan:
    """All files of a folder; it may change meanwhile."""
    seen = Scan()
    folders = [""]
    while folders:
        within = folders.pop()
        try:
            with os.scandir(folder / within) as entries:
                for entry in entries:
                    _see(entry, within, seen, folders)
        except (FileNotFoundError, NotADirectoryError):
            seen.gone = seen.gone or not within
        except OSError as error:
            seen.blind[within] = error.strerror or str(error)
    return seen


def _see(entry: os.DirEntry[str], within: str, seen: Scan, folders: list[str]) -> None:
    if entry.name.startswith(".") or entry.name.endswith(UNFINISHED):
        return
    key = f"{within}/{entry.name}" if within else entry.name
    try:
        if entry.is_dir(follow_symlinks=False):
            folders.append(key)
        elif (look := _look(entry.stat())) is not None:
            if _speakable(entry.name):
                seen.files[key] = look
            else:
                seen.blind[key] = "its name is not UTF-8, as a key must be"
    except FileNotFoundError:
        return          # gone meanwhile, or a link to nothing
    except OSError as error:
        seen.blind[key] = error.strerror or str(error)


def _look(status: os.stat_result) -> Look | None:
    return Look(status.st_size, status.st_mtime_ns, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _speakable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- against the record ----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Differences:
    """Keys whose file is not as recorded: how it looks now, None where it is gone; and what could not be looked at."""

    changed: Mapping[str, Look | None]
    blind: Mapping[str, str]


def differences(folder: Path, recorded: Mapping[str, ObjectRow]) -> Differences:
    """How a folder differs from what is recorded of it."""
    seen = scan(folder)
    if seen.gone:
        return Differences({}, {})
    return Differences(dict(_differing(seen, recorded)), seen.blind)


def _differing(seen: Scan, recorded: Mapping[str, ObjectRow]) -> Iterator[tuple[str, Look | None]]:
    for key, look in seen.files.items():
        row = recorded.get(key)
        if row is None or (row.size, row.mtime_ns, row.inode) != look:
            yield key, look
    for key in recorded:
        # What cannot be seen is not gone.
        if key not in seen.files and not (seen.blind and hidden(key, seen.blind)):
            yield key, None


def hidden(key: str, blind: Mapping[str, str]) -> bool:
    """Whether a key, or a folder it is in, could not be looked at."""
    return any(key == part or not part or key.startswith(f"{part}/") for part in blind)


def changed_since(folder: Path, key: str, instant_ns: int) -> bool:
    """Whether a file came into its place, or changed, after this; a file that is gone did not."""
    try:
        return os.stat(folder / key).st_ctime_ns >= instant_ns
    except OSError:
        return False


# ---- is it whole? ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Whole:
    """Nobody writes it; this is its content's MD5."""

    etag: str


@dataclass(frozen=True)
class Moved:
    """It is not as it was a moment ago; None: it is not there."""

    look: Look | None


@dataclass(frozen=True)
class Busy:
    """Somebody has it open for writing."""


@dataclass(frozen=True)
class Unreadable:
    """It cannot be read, for this reason."""

    reason: str


Verdict = Whole | Moved | Busy | Unreadable


def examine(path: Path, look: Look | None, over: Callable[[], bool] = bool) -> Verdict:
    """Whether a file that has looked like this for a while is whole; nobody wants to know any more once it is `over`."""
    try:
        # Should it have become a pipe, opening must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Moved(None)
    except OSError as error:
        # Sockets, and what else in a folder is no file, cannot be opened at all.
        return Moved(None) if error.errno in (errno.ENXIO, errno.ENODEV) else Unreadable(error.strerror or str(error))
    now = _look(os.fstat(descriptor))
    if now != look or now is None:
        os.close(descriptor)
        return Moved(now)
    with open(descriptor, "rb") as file:
        if not _nobody_writes(descriptor):
            return Busy()
        try:
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if over():
                    return Busy()
        except OSError as error:
            return Unreadable(error.strerror or str(error))
        now = _look(os.fstat(descriptor))
    return Whole(digest.hexdigest()) if now == look else Moved(now)


def _nobody_writes(descriptor: int) -> bool:
    """Whether the kernel grants a read lease; where it gives none to us (foreign owner, file system, not Linux), quiet must do."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return True
    try:
        # A writer who comes while we hold it makes the kernel send a signal: by default SIGIO, which would end the server.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno != errno.EAGAIN
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True
