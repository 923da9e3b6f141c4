"""Control groups: a limit of memory that the kernel itself holds a worker and all below it to, where we may make such groups.

As a rule only root may, or a service that the system's manager has delegated one to; elsewhere the workers' memory is looked at often enough.
https://docs.kernel.org/admin-guide/cgroup-v2.html#memory, and cgroup-v1/memory.html for older systems
"""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

PREFIX = "microlam-"
# The kernel counts to a group what is nobody's resident memory too, such as files that were read and written. Its limit
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


class Member(Protocol):
    """A worker, as far as its group is concerned."""

    pid: int
    group: Group | None


class Holds:
    """The groups of an executor's workers, where the kernel lets us make any."""

    def __init__(self) -> None:
        self._groups = find_groups()
        self._beginning: set[asyncio.Future[None]] = set()
        self._one_by_one = asyncio.Lock()
        self._left: list[Group] = []        # in which something still ends

    def clear(self) -> None:
        """Remove those that a killed server left."""
        if self._groups is not None:
            self._groups.clear()

    def begin(self, worker: Member, number: int, limit: int, lives: Callable[[], bool]) -> None:
        """Have the kernel hold a worker to so many bytes. It takes milliseconds to move a process, and nobody is to wait for that."""
        if self._groups is not None:
            beginning = asyncio.ensure_future(self._begin(worker, self._groups.group(number), limit, lives))
            self._beginning.add(beginning)
            beginning.add_done_callback(self._beginning.discard)

    async def _begin(self, worker: Member, group: Group, limit: int, lives: Callable[[], bool]) -> None:
        async with self._one_by_one:
            if not lives():
                return      # the number of its process may be another's by now
            held = await asyncio.to_thread(group.hold, worker.pid, limit)
        if held and lives():
            worker.group = group
        elif held:
            self._remove(group)

    def end(self, worker: Member) -> None:
        """A worker's process is gone."""
        if worker.group is not None:
            self._remove(worker.group)

    def _remove(self, group: Group) -> None:
        if not group.remove():
            self._left.append(group)

    def tidy(self) -> None:
        """Remove what is empty by now."""
        self._left = [group for group in self._left if not group.remove()]

    async def close(self) -> None:
        """Remove what can be; every worker is gone."""
        await asyncio.gather(*self._beginning)
        self.tidy()


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
