"""Control groups: a limit of memory that the kernel itself holds a worker and all below it to, where we may make such groups.

As a rule only root may, or a service that the system's manager has delegated one to; elsewhere the workers' memory is looked at often enough.
https://docs.kernel.org/admin-guide/cgroup-v2.html#memory, and cgroup-v1/memory.html for older systems
"""
from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PREFIX = "microlam-"
# The kernel counts to a group what is nobody's resident memory too: the log, above all, of a program that writes faster than it is cut. Its limit
# only keeps what grows faster than it is looked at from taking the whole machine; to the megabyte, resident memory is looked at.
SLACK = 1 << 30


class Group:
    """One worker's group."""

    def __init__(self, folder: Path, *, unified: bool) -> None:
        self._folder, self._unified = folder, unified

    def hold(self, pid: int, limit: int) -> bool:
        """Put a process, with what it will start, under a limit of bytes; false where the kernel does not let us."""
        try:
            self._folder.mkdir()
            _write(self._folder / ("memory.max" if self._unified else "memory.limit_in_bytes"), limit + SLACK)
            if self._unified:
                _write(self._folder / "memory.oom.group", 1)
            _write(self._folder / "cgroup.procs", pid)
        except OSError:
            self.remove()
            return False
        return True

    def overrun(self) -> bool:
        """Whether something in it was killed for want of memory."""
        try:
            text = (self._folder / ("memory.events" if self._unified else "memory.oom_control")).read_text()
        except OSError:
            return False
        return any(line.split() != ["oom_kill", "0"] for line in text.splitlines() if line.startswith("oom_kill "))

    def remove(self) -> bool:
        """Remove it; false while something in it still ends."""
        try:
            self._folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True


class Groups:
    """Makes groups below our own."""

    def __init__(self, parent: Path, *, unified: bool) -> None:
        self.parent, self._unified = parent, unified

    def group(self, number: int) -> Group:
        """The group of a worker, which is not made yet."""
        return Group(self.parent / f"{PREFIX}{os.getpid()}-{number}", unified=self._unified)

    def clear(self) -> None:
        """Remove those that a killed server left; one in use cannot be removed."""
        for folder in self.parent.glob(f"{PREFIX}*"):
            with suppress(OSError):
                folder.rmdir()


def find_groups(proc: Path = Path("/proc/self"), root: Path = Path("/sys/fs/cgroup")) -> Groups | None:
    """Where we may make groups that limit memory; None where we may not."""
    try:
        own = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    except OSError:
        return None
    for number, controllers, path in own:
        unified = number == "0"
        parent = (root if unified else root / "memory") / path.lstrip("/")
        if (unified or "memory" in controllers.split(",")) and _may(parent, unified=unified):
            return Groups(parent, unified=unified)
    return None


def _may(parent: Path, *, unified: bool) -> bool:
    """Whether a group below this one can be made, and limits memory."""
    if unified and "memory" not in _read(parent / "cgroup.subtree_control").split():
        return False
    if not os.access(parent, os.W_OK) or not (parent / "cgroup.procs").exists():
        return False
    trial = Group(parent / f"{PREFIX}{os.getpid()}-trial", unified=unified)
    try:
        (parent / f"{PREFIX}{os.getpid()}-trial").mkdir()
    except OSError:
        return False
    trial.remove()
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, value: int) -> None:
    path.write_text(str(value))
