"""Zips of code: checked, kept by their hash, and unpacked read-only, so that a version runs the same bytes for ever.

An archive comes from anybody: nothing in it may be written outside its own folder, nor fill the disk.
"""
from __future__ import annotations

import base64
import hashlib
import io
import lzma
import os
import posixpath
import re
import secrets
import shutil
import stat
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microlam.errors import BadArchive

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html; AWS says nothing of how many files there may be.
UNPACKED_LIMIT = 262_144_000
FILES_LIMIT = 100_000
_LINK_LIMIT = 4096
Seal = frozenset[tuple[str, int, int, int, int]]
_DRIVE = re.compile(r"[A-Za-z]:/")

_UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."
_BROKEN = (zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip that is kept: its hash, base64 as AWS's `CodeSha256`, and its size in bytes."""

    sha256: str
    size: int


class Archives:
    """The zips in one folder, and beside each its files. Safe to use from several threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound: dict[str, Seal] = {}   # by name: how the files stood of those that were compared with their zip since the start
        self._lock = threading.Lock()

    def keep(self, content: bytes) -> Archive:
        """Check, unpack and keep a zip; BadArchive where that would do harm or cannot be done."""
        digest = hashlib.sha256(content)
        name = digest.hexdigest()
        with self._lock:
            if name not in self._sound or not self._zip(name).is_file():
                self._unpack(name, content)
                _write(self._zip(name), content)
        return Archive(sha256=base64.b64encode(digest.digest()).decode(), size=len(content))

    def put(self, content: bytes) -> Archive:
        """Keep a zip of our own making; it is unpacked when somebody asks for its files."""
        digest = hashlib.sha256(content)
        with self._lock:
            path = self._zip(digest.hexdigest())
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, content)
        return Archive(sha256=base64.b64encode(digest.digest()).decode(), size=len(content))

    def root(self, sha256: str) -> Path:
        """The folder with the files of a kept zip, as they were in it."""
        name = name_of(sha256)
        with self._lock:
            if name not in self._sound or not (self._folder / name).is_dir():
                self._unpack(name, self._zip(name).read_bytes())
        return self._folder / name

    def holds(self, root: str) -> bool:
        """Whether a folder has the files of one of these zips."""
        folder, name = os.path.split(root)
        return folder == str(self._folder) and name in self._sound

    def mend(self, root: str) -> None:
        """Have the files of an unpacked zip be what they were, whatever a handler has done to them. Where it cannot be done, they are used as they are."""
        name = os.path.basename(root)
        if seal(Path(root)) != self._sound.get(name):
            with self._lock, suppress(BadArchive, OSError):
                self._unpack(name, self._zip(name).read_bytes())

    def together(self, hashes: Sequence[str]) -> Path:
        """The folder with the files of several kept zips, those of the later over those of the earlier."""
        if len(hashes) == 1:
            return self.root(hashes[0])
        target = self._folder / f"{hashlib.sha256(' '.join(hashes).encode()).hexdigest()}.together"
        roots = [self.root(sha256) for sha256 in hashes]
        with self._lock:
            if target.name not in self._sound or not target.is_dir():
                making = self._folder / f".making-{secrets.token_hex(8)}"
                making.mkdir(parents=True)
                try:
                    for root in roots:
                        _lay_over(making, root)
                    _close_folders(making)
                    _remove(target)     # of an earlier server, cut short or written to by a handler
                    os.rename(making, target)
                finally:
                    _remove(making)
                self._sound[target.name] = seal(target)
        return target

    def zip(self, sha256: str) -> Path | None:
        """The file of a kept zip."""
        path = self._zip(name_of(sha256))
        return path if path.is_file() else None

    def remove_all_but(self, wanted: Iterable[str]) -> None:
        """Remove the zips, by their hashes, that nothing refers to any more."""
        names = {name_of(sha256) for sha256 in wanted}
        with self._lock, suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                if path.name.removesuffix(".zip") not in names:
                    self._sound.pop(path.name, None)
                    _remove(path)

    def _zip(self, name: str) -> Path:
        return self._folder / f"{name}.zip"

    def _unpack(self, name: str, content: bytes) -> None:
        target = self._folder / name
        with _opened(content) as archive:
            entries = _checked(archive)
            if target.is_dir():     # one that a power failure cut short, or that a handler has written to
                _mend(target, archive, entries)
            else:
                self._place(target, archive, entries)
        self._sound[name] = seal(target)

    def _place(self, target: Path, archive: ZipFile, entries: list[_Entry]) -> None:
        """Unpack beside and rename: a folder of this name is whole, or is not there."""
        making = self._folder / f".making-{secrets.token_hex(8)}"
        making.mkdir(parents=True)
        try:
            for entry in _links_last(entries):
                _put(making / entry.path, archive, entry)
            _close_folders(making)
            os.rename(making, target)
        finally:
            _remove(making)


def name_of(sha256: str) -> str:
    """A hash, base64, as a file's name."""
    return base64.b64decode(sha256).hex()


def size_unpacked(content: bytes | Path | None) -> int:
    """How many bytes the files of a zip have; of one that is none, none."""
    try:
        with _opened(content or b"") as archive:
            return sum(info.file_size for info in archive.infolist())
    except BadArchive:
        return 0


def folder_around(content: bytes, handler: str) -> str | None:
    """The one folder in which all files of a zip lie, where the handler is not looked for in it; None where all is well."""
    try:
        with _opened(content) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except BadArchive:
        return None
    tops = {name.partition("/")[0] for name in names if not name.startswith("__MACOSX/")}
    if len(tops) != 1 or not all("/" in name for name in names):
        return None
    top = tops.pop()
    if top in ("", ".", ".."):      # a path that is refused for what it is
        return None
    return None if handler.replace(".", "/").partition("/")[0] == top else top


@contextmanager
def _opened(content: bytes | Path) -> Iterator[ZipFile]:
    """A zip, for as long as something is read from it; BadArchive where that cannot be done."""
    import zipfile  # a third of a megabyte, which a server whose functions lie in a folder need not have
    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
            yield archive
    except (zipfile.BadZipFile, *_BROKEN):
        raise BadArchive(reason=_UNREADABLE) from None


# ---- what an archive holds -------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Entry:
    """One file, folder or link of an archive."""

    info: ZipInfo
    path: str
    folder: bool
    link: str | None        # where it leads

    @property
    def executable(self) -> bool:
        return bool(self.info.create_system == 3 and self.info.external_attr >> 16 & 0o111)


def _checked(archive: ZipFile) -> list[_Entry]:
    """What is in an archive; BadArchive where any of it would land elsewhere, or all of it is too much."""
    infos = archive.infolist()
    if not infos:
        raise BadArchive(reason="Uploaded file must be a non-empty zip")
    if len(infos) > FILES_LIMIT:
        raise BadArchive(reason=f"The zip holds {len(infos)} files; it may hold {FILES_LIMIT}.")
    if sum(info.file_size for info in infos) >= UNPACKED_LIMIT:
        raise BadArchive(reason=f"Unzipped size must be smaller than {UNPACKED_LIMIT} bytes")
    entries = {entry.path: entry for info in infos for entry in [_entry(archive, info)]}        # of two with one name the last, as unzip does
    for path in entries:
        above = path
        while above := posixpath.dirname(above):
            if above in entries and not entries[above].folder:
                raise BadArchive(reason=f"The zip holds {path!r} below {above!r}, which is no folder.")
    return list(entries.values())


def _entry(archive: ZipFile, info: ZipInfo) -> _Entry:
    name = info.filename
    if "\\" in name:
        raise BadArchive(reason=f"The zip holds {name!r}. Make it again with slashes in its names, not backslashes.")
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/") or not name.strip("/"):
        raise BadArchive(reason=f"The zip holds {name!r}, which would be written outside its folder.")
    path, kind = posixpath.normpath(name), stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise BadArchive(reason=f"The zip holds {name!r}, which is neither a file nor a folder.")
    return _Entry(info, path, kind == stat.S_IFDIR or info.is_dir(), _link(archive, info, path) if kind == stat.S_IFLNK else None)


def _link(archive: ZipFile, info: ZipInfo, path: str) -> str:
    """Where a link leads. It climbs first and then only descends, so its words alone tell that it stays inside."""
    target = archive.read(info).decode() if info.file_size <= _LINK_LIMIT else "/"
    parts = target.split("/")
    climbs = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or not target or "\0" in target or ".." in parts[climbs:] or climbs > path.count("/"):
        raise BadArchive(reason=f"The zip holds {path!r}, a link that leads out of it.")
    return target


# ---- files -----------------------------------------------------------------------------------------------------------

def _links_last(entries: list[_Entry]) -> list[_Entry]:
    """No file is written by way of a link."""
    return sorted(entries, key=lambda entry: entry.link is not None)


def _put(target: Path, archive: ZipFile, entry: _Entry) -> None:
    """Write one file, folder or link of an archive."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.folder:
        target.mkdir(exist_ok=True)
    elif entry.link is not None:
        target.symlink_to(entry.link)
    else:
        with archive.open(entry.info) as read, target.open("wb") as written:
            shutil.copyfileobj(read, written)
            os.fchmod(written.fileno(), 0o555 if entry.executable else 0o444)


def _mend(folder: Path, archive: ZipFile, entries: list[_Entry]) -> None:
    """Have just what an archive holds in its folder, under the feet of those who run there."""
    files = {entry.path: entry for entry in entries if not entry.folder}
    found = _files_in(folder)
    added = found.keys() - files.keys()
    wrong = [entry for name, entry in files.items() if name not in found or not _is_same(found[name], entry)]
    if not added and not wrong:
        return
    _open_folders(folder)
    for name in added:
        found[name].unlink()
    for entry in _links_last(wrong):
        target = folder / entry.path
        beside = target.with_name(f".mending-{secrets.token_hex(8)}")
        _put(beside, archive, entry)
        if target.is_dir() and not target.is_symlink():
            _remove(target)
        os.replace(beside, target)
    for entry in entries:
        if entry.folder:
            (folder / entry.path).mkdir(parents=True, exist_ok=True)
    _close_folders(folder)


def _open_folders(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o700)


def _close_folders(folder: Path) -> None:
    # Read-only, as code is on AWS: a handler that writes beside its own files would change what further workers run.
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o555)


def _lay_over(folder: Path, root: Path) -> None:
    """Copy all that is in `root` into a folder, over what is there."""
    for entry in sorted(root.iterdir()):
        target = folder / entry.name
        if entry.is_dir() and not entry.is_symlink():
            if target.is_symlink() or not target.is_dir():
                target.unlink(missing_ok=True)
                target.mkdir()
            _lay_over(target, entry)
        else:
            _remove(target)
            shutil.copy2(entry, target, follow_symlinks=False)


def seal(folder: Path) -> Seal:
    """How all that is in a folder stands: whatever is written there changes it."""
    found = set()
    for path, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            with suppress(FileNotFoundError):
                status = os.lstat(os.path.join(path, name))
                found.add((os.path.join(path, name), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
    return frozenset(found)


def _files_in(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def _is_same(path: Path, entry: _Entry) -> bool:
    if entry.link is not None or path.is_symlink():
        return path.is_symlink() and os.readlink(path) == entry.link
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.info.file_size or bool(status.st_mode & 0o100) != entry.executable:
        return False
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum == entry.info.CRC


def _write(path: Path, content: bytes) -> None:
    """Have a file with this content, on disk, or none."""
    making = path.with_name(f".making-{secrets.token_hex(8)}")
    with making.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(making, path)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, though nobody may write there."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    _open_folders(path)
    shutil.rmtree(path, ignore_errors=True)
