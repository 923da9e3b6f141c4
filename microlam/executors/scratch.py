"""The folders that workers live in: a TMPDIR each, compiled modules by package, and microlam's decorators for every interpreter to import."""
from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import secrets
import shutil
from pathlib import Path


class Scratch:
    """What lies under one folder, which is a server's own; what a killed server left there goes at its first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._temporary: Path | None = None
        self._clearing: set[asyncio.Future[None]] = set()
        self.runtime = str(self._folder / "runtime")        # holds microlam and nothing else

    def prepare(self) -> bool:
        """Make what is needed; true for the first time."""
        if self._temporary is not None:
            return False
        folders = self._folder / "tmp"
        folders.mkdir(parents=True, exist_ok=True)
        for left in folders.iterdir():
            self.clear(str(left))
        self._temporary = folders / secrets.token_hex(8)
        self._temporary.mkdir(mode=0o700)
        self._link_package()
        return True

    def place(self, number: int) -> str:
        """A new worker's temporary folder."""
        assert self._temporary is not None
        folder = self._temporary / str(number)
        folder.mkdir(mode=0o700)
        return str(folder)

    def bytecode(self, sha256: str) -> str:
        """Where a package's compiled modules are. Without its hash nothing tells old ones from new: then none are kept."""
        return str(self._folder / "pycache" / _safe_name(sha256)) if sha256 else ""

    def _link_package(self) -> None:
        link, package = Path(self.runtime) / "microlam", Path(__file__).parents[1]
        link.parent.mkdir(exist_ok=True)
        if link.is_symlink() and link.resolve() != package:
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(package, target_is_directory=True)

    def clear(self, folder: str) -> None:
        """Remove a folder that nobody uses any more, without waiting for it."""
        with contextlib.suppress(OSError):
            os.rmdir(folder)    # as a rule nothing is in it
            return
        clearing = asyncio.get_running_loop().run_in_executor(None, functools.partial(shutil.rmtree, folder, ignore_errors=True))
        self._clearing.add(clearing)
        clearing.add_done_callback(self._clearing.discard)

    async def close(self) -> None:
        """Remove the temporary folders."""
        await asyncio.gather(*self._clearing)
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)


def _safe_name(sha256: str) -> str:
    """A package's hash as a folder's name."""
    return hashlib.sha256(sha256.encode()).hexdigest()[:32]
