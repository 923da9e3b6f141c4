"""Code as content-addressed copies: workers run from a copy that no editor touches, named by the hash of what is in it.

Copies or reflinks, never hard links: editors write in place.
"""
from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import secrets
import shutil
import stat
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from microlam.archives import Seal, seal
from microlam.errors import MicrolamError

# A file may change again within one tick of its file system's clock and look the same; git calls such files racy.
_TICK_NS = 20_000_000
_ATTEMPTS = 20
_FRESH = 60.0       # seconds for which a copy is not removed after it was asked for: an invocation may wait to run from it
_REFLINK = 0x40049409
_QUICK = 64         # files and folders


class PackageUnstable(MicrolamError):
    """The files of {folder} kept changing while they were copied. Save one of them again when they have come to rest."""


# ---- files -----------------------------------------------------------------------------------------------------------

class Stamp(NamedTuple):
    """What tells, without reading it, whether a file has changed. The change time also moves when a tool sets the modification time back."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int

    def settled(self, now_ns: int) -> bool:
        """Whether it changed long enough ago that another change would show."""
        return not 0 <= now_ns - self.changed_ns < _TICK_NS


def stamp_of(path: str | Path) -> Stamp | None:
    """The stamp of a file or folder, or of what a link leads to; None where there is none, or a pipe, whose reader would wait for ever."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return None
    return Stamp(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def is_code_folder(entry: os.DirEntry[str]) -> bool:
    """Whether code may lie in a folder: not in hidden ones, caches, other people's modules or virtual environments."""
    if entry.name.startswith(".") or entry.name in ("__pycache__", "node_modules"):
        return False
    return entry.is_dir() and not os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def code_in(folder: Path) -> list[str]:
    """The names in a folder under which code may lie."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and (entry.is_file() or is_code_folder(entry)))
    except OSError:
        return []


def files_under(root: Path, names: Iterable[str], apart: Collection[Path] = ()) -> dict[str, Stamp]:
    """Every file of a package: `names` are files and folders in `root`; links are followed, what lies `apart` is left out."""
    files = (path for path, is_folder in _everything(root, names, apart) if not is_folder)
    return {path: stamp for path in files if (stamp := stamp_of(os.path.join(root, path)))}


def folders_under(root: Path, names: Iterable[str], apart: Collection[Path] = ()) -> list[str]:
    """Every folder of a package, those that are still empty too."""
    return [path for path, is_folder in _everything(root, names, apart) if is_folder]


def _everything(root: Path, names: Iterable[str], apart: Collection[Path]) -> Iterator[tuple[str, bool]]:
    left_out = {str(path) for path in apart}
    for name in names:
        path = os.path.join(root, name)
        if path in left_out:
            continue
        is_folder = os.path.isdir(path)
        yield name, is_folder
        if is_folder:
            yield from _walk(path, name, left_out, (os.path.realpath(path),))


def _walk(folder: str, name: str, left_out: Collection[str], above: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(".pyc") or entry.path in left_out:
                continue
            path = f"{name}/{entry.name}"
            if entry.is_file():
                yield path, False
            elif is_code_folder(entry):
                real = os.path.realpath(entry.path)
                if real not in above:       # a link to a folder above it would never end
                    yield path, True
                    yield from _walk(entry.path, path, left_out, (*above, real))


# ---- copies ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class Copy:
    """A package as it was at one moment: its hash, where its copy lies, and the files it was made of."""

    sha256: str                         # base64, as AWS writes hashes of code
    root: Path
    files: Mapping[str, Stamp]
    folders: Mapping[str, Stamp | None] = field(default_factory=dict)       # they lay in, by path: where one comes or goes, its folder changes
    taken_ns: int

    @property
    def settled(self) -> bool:
        """Whether every later change of a file shows in its stamp."""
        return all(stamp is None or stamp.settled(self.taken_ns) for stamp in (*self.files.values(), *self.folders.values()))


class Packages:
    """The copies in one folder. Safe to use from several threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[Path, tuple[Stamp, bytes]] = {}
        self._asked: dict[str, float] = {}          # copies of this process by name, and when they were last asked for
        self._sound: dict[str, Seal] = {}           # by name: how a copy stood when it was made, or found to be what it should
        self._lock = threading.Lock()
        self._mending: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)     # by name: one mends, and the others wait for it

    def keep(self, root: Path, listed: Callable[[], Mapping[str, Stamp]]) -> Copy:
        """Copy the files that `listed` names below `root`, unless such a copy is there already."""
        for attempt in range(_ATTEMPTS):
            copy = self.keep_nowait(root, listed)
            if copy is not None:
                return copy
            time.sleep(0.005 * attempt)     # a checkout or a large save is under way
        raise PackageUnstable(folder=root)

    def keep_nowait(self, root: Path, listed: Callable[[], Mapping[str, Stamp]]) -> Copy | None:
        """The same, but None where a file changed meanwhile."""
        taken_ns = time.time_ns()
        files = listed()
        with contextlib.suppress(_Changed):
            digests = self._digests_of(root, files, taken_ns)
            name = _name(digests)
            self._place(name, root, digests)
            return Copy(sha256=base64.b64encode(bytes.fromhex(name)).decode(), root=self._folder / name, files=files, taken_ns=taken_ns)
        return None

    def holds(self, copy: str) -> bool:
        """Whether a folder is one of these copies."""
        return os.path.dirname(copy) == str(self._folder)

    def is_quick(self, copy: str) -> bool:
        """Whether to look at a copy takes no longer than to begin a thread for it."""
        seal = self._sound.get(os.path.basename(copy))
        return seal is not None and len(seal) <= _QUICK

    def is_sound(self, copy: str) -> bool:
        """Whether a copy is as it was made, whatever a handler has done to its own code."""
        return seal(Path(copy)) == self._sound.get(os.path.basename(copy))

    def mend(self, copy: str, root: Path, listed: Callable[[], Mapping[str, Stamp]]) -> None:
        """Put back what of a copy is missing or changed, if the files that `listed` names below `root` are still what it was made of.

        What was added stays. Where it cannot be done, the copy is used as it is.
        """
        with contextlib.suppress(_Changed, OSError):
            digests = self._digests_of(root, listed(), time.time_ns())
            if _name(digests) == os.path.basename(copy):
                self._place(_name(digests), root, digests)

    def remove_all_but(self, wanted: Collection[Path]) -> None:
        """Remove the copies that nothing refers to any more."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with self._lock:
                    asked = self._asked.get(entry.name, -_FRESH)
                    gone = Path(entry.path) not in wanted and time.monotonic() - asked >= _FRESH and not _being_made(entry)
                    if gone:
                        self._asked.pop(entry.name, None)
                        self._sound.pop(entry.name, None)
                        self._mending.pop(entry.name, None)
                        doomed = f"{entry.path}.gone-{secrets.token_hex(4)}"
                        os.rename(entry.path, doomed)
                if gone:
                    shutil.rmtree(doomed, ignore_errors=True)

    def _digests_of(self, root: Path, files: Mapping[str, Stamp], taken_ns: int) -> dict[str, bytes]:
        return {path: self._digest(root / path, stamp, taken_ns) for path, stamp in sorted(files.items())}

    def _digest(self, path: Path, stamp: Stamp, taken_ns: int) -> bytes:
        known = self._digests.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            digest = _digest_of(path)
        except OSError:
            raise _Changed from None
        if stamp.settled(taken_ns):
            self._digests[path] = (stamp, digest)
        return digest

    def _place(self, name: str, root: Path, digests: Mapping[str, bytes]) -> None:
        target = self._folder / name
        with self._lock:
            self._asked[name] = time.monotonic()
            mending = self._mending[name]
        if name in self._sound and target.is_dir():     # workers may run in it
            with mending:
                if not self.is_sound(str(target)):
                    _mend(target, root, digests)
                    self._sound[name] = seal(target)
            return
        # One that an earlier server left may have been cut short by a power failure, and any may have been written to by a handler.
        if target.is_dir():
            if _is_exactly(target, digests):
                self._sound[name] = seal(target)
                return
            shutil.rmtree(target, ignore_errors=True)
        making = self._folder / f".making-{secrets.token_hex(8)}"
        try:
            _copy_all(root, making, digests)
            with contextlib.suppress(OSError):      # another thread was first: then its copy, of the same bytes, stays
                os.rename(making, target)
            self._sound[name] = seal(target)
        finally:
            if making.is_dir():
                shutil.rmtree(making, ignore_errors=True)


class _Changed(Exception):
    """A file changed, or went, while it was read."""


def _being_made(entry: os.DirEntry[str]) -> bool:
    """A copy in the making, unless it was left behind an hour ago."""
    return entry.name.startswith(".making-") and time.time() - entry.stat().st_mtime < 3600


def _name(digests: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for path, digest in digests.items():
        whole.update(os.fsencode(f"{len(path)}:{path}") + digest)      # a name need not be UTF-8
    return whole.hexdigest()


def _digest_of(path: Path) -> bytes:
    """The hash of a file's bytes and of whether it can be executed."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        digest.update(b"x" if os.fstat(file.fileno()).st_mode & 0o100 else b"-")
        return digest.digest()


def _copy_all(root: Path, making: Path, digests: Mapping[str, bytes]) -> None:
    making.mkdir(parents=True)
    for path, digest in digests.items():
        target = making / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_as(digest, root / path, target)


def _mend(folder: Path, root: Path, digests: Mapping[str, bytes]) -> None:
    """Put back what is missing or changed, under the feet of those who run there; what was added stays."""
    for path, digest in digests.items():
        target = folder / path
        if target.is_file() and _digest_of(target) == digest:
            continue
        _make_way(folder, target)
        beside = target.with_name(f".mending-{secrets.token_hex(8)}")
        try:
            _copy_as(digest, root / path, beside)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)


def _make_way(folder: Path, target: Path) -> None:
    """Have folders above a file of a copy, and none in its place."""
    for above in reversed(target.relative_to(folder).parents[:-1]):
        if (folder / above).is_symlink() or not (folder / above).is_dir():
            (folder / above).unlink(missing_ok=True)
            (folder / above).mkdir()
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)


def _copy_as(digest: bytes, source: Path, target: Path) -> None:
    """Copy a file, and see that its copy is what was hashed."""
    try:
        _copy(source, target)
    except FileNotFoundError:
        raise _Changed from None
    if _digest_of(target) != digest:
        raise _Changed


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        if not _reflink(read.fileno(), written.fileno()):
            shutil.copyfileobj(read, written)
        # Read-only, as code is on AWS: a handler that writes over its own files would change what further workers run.
        os.fchmod(written.fileno(), 0o444 | (os.fstat(read.fileno()).st_mode & 0o111))


def _reflink(source: int, target: int) -> bool:
    """Let two files share their blocks until one is written to, on the file systems that can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _REFLINK, source)
    except OSError:
        return False
    return True


def _is_exactly(folder: Path, digests: Mapping[str, bytes]) -> bool:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    return found == set(digests) and all(_digest_of(folder / path) == digest for path, digest in digests.items())


# ---- zips ------------------------------------------------------------------------------------------------------------

def zip_of(folder: Path) -> bytes:
    """A folder as a zip, the same bytes for the same content: sorted, without dates, with executable bits."""
    import zipfile  # many servers never make one
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "replace")      # names in a zip are Unicode
            facts = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            facts.compress_type = zipfile.ZIP_DEFLATED
            facts.create_system = 3         # Unix, so that the mode counts
            facts.external_attr = (0o100755 if path.stat().st_mode & 0o100 else 0o100644) << 16
            archive.writestr(facts, path.read_bytes())
    return packed.getvalue()


def code_sha256(archive: bytes) -> str:
    """The `CodeSha256` of a zip."""
    return base64.b64encode(hashlib.sha256(archive).digest()).decode()
