"""How much memory a worker and everything below it holds, as the kernel tells it. Elsewhere than on Linux nobody does: no limit there."""
from __future__ import annotations

import os
from collections.abc import Iterable

from microlam.executors.workers import system

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CHILDREN_KEPT = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def families(pids: Iterable[int]) -> dict[int, list[int]]:
    """Each process with all its descendants."""
    below: dict[int, list[int]] = {}
    if not _CHILDREN_KEPT:
        for child, parent in system.parents().items():
            below.setdefault(parent, []).append(child)
    found = {}
    for pid in pids:
        family = [pid]
        for member in family:   # grows while we go
            family.extend(system.children(member) if _CHILDREN_KEPT else below.get(member, ()))
        found[pid] = family
    return found


def held_by(family: Iterable[int], limit: int) -> int:
    """Resident bytes of these processes. Near the limit, pages that several share (with the zygote, too) are counted once among them."""
    roughly = sum(map(_resident, family))
    return roughly if roughly <= limit else sum(map(_proportional, family))


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb", 0) as file:
            return int(file.read(256).split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0    # it has just ended


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", 0) as file:
            for line in file.read(4096).splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except FileNotFoundError:
        return _resident(pid)   # a kernel before 4.14; or it has just ended, which counts nothing
    except OSError:
        return 0
    return 0
