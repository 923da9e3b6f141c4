"""What the system is asked for beyond Python's os: who dies with whom, who is whose child, and where memory comes from. Elsewhere than on Linux: nothing."""
from __future__ import annotations

import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
M_ARENA_MAX = -8
OPEN_FILES = 1024


def _find(name: str) -> Callable[[int, int], object]:
    """A function of libc, through `_ctypes` itself: the ctypes package would cost every worker half a megabyte."""
    try:
        import _ctypes
        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), name)  # type: ignore[arg-type]
        return lambda option, value: _ctypes.call_function(address, (option, value, 0, 0, 0))
    except (ImportError, AttributeError, OSError):
        return lambda option, value: None   # an interpreter, or a system, without it does without the backstop


prctl = _find("prctl") if sys.platform == "linux" else lambda option, value: None


def adopt_orphans() -> None:
    """Let processes below this one, whose parents end, become its children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when its parent ends."""
    prctl(PR_SET_PDEATHSIG, signal)


def share_heap() -> None:
    """Have the threads that are yet to start take memory from one heap: glibc gives each its own, which keeps what it once needed."""
    if sys.platform == "linux":
        _find("mallopt")(M_ARENA_MAX, 1)


def limit_files(pid: int) -> None:
    """Let a process, and all it starts, have as many files open as on AWS: the server may have more, for its connections."""
    if sys.platform == "linux":
        import resource
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if hard == resource.RLIM_INFINITY or hard >= OPEN_FILES:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def parents() -> dict[int, int]:
    """Every process and its parent, as far as /proc tells."""
    found = {}
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", 0) as file:
                    # The command's name, in parentheses, may hold anything.
                    found[int(name)] = int(file.read(1024).rpartition(b")")[2].split(None, 2)[1])
            except (OSError, IndexError, ValueError):
                continue    # it has just ended
    return found


def children(pid: int) -> list[int]:
    """The processes whose parent `pid` is; quick where the kernel keeps a list."""
    try:
        found: list[int] = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", 0) as file:
                found.extend(map(int, file.read().split()))
        return found
    except OSError:
        return [child for child, parent in parents().items() if parent == pid]


def wait_for_turn() -> None:
    """Let the kernel not put us in the server's place the moment it sends us something: it has more to send. Our share of the processor is the same."""
    with suppress(OSError):     # musl's libc knows no schedulers, and a container may not be let choose one
        if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
