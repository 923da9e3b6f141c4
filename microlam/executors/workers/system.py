"""What the kernel is asked for beyond Python's os: who dies with whom, and who is whose child. Elsewhere than on Linux: nothing."""
from __future__ import annotations

import os
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def prctl(option: int, value: int) -> None:
    """prctl(2). Through `_ctypes` itself: the ctypes package would cost every worker half a megabyte."""
    if sys.platform != "linux":
        return
    try:
        import _ctypes
        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        _ctypes.call_function(_ctypes.dlsym(library, "prctl"), (option, value, 0, 0, 0))
    except (ImportError, AttributeError, OSError):
        pass    # an interpreter without it does without the backstop


def adopt_orphans() -> None:
    """Let processes below this one, whose parents end, become its children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when its parent ends."""
    prctl(PR_SET_PDEATHSIG, signal)


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
