"""What the file system tells of changes, by watchfiles' Rust half alone: the Python half around it would take over a megabyte, most of it anyio's."""
from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

DELETED = 3             # watchfiles.Change.deleted
POLL_EVERY = 300        # milliseconds, where the file system sends no events

_RUST = "watchfiles._rust_notify"


class Stumbled(Exception):
    """A name that is not UTF-8 was come upon; what else happened is not told, and nothing more will be."""


async def changes(
    folders: Iterable[Path], *, recursive: bool, debounce: int, step: int, silence: int, poll: bool = False,
) -> AsyncGenerator[Set[tuple[int, str]], None]:
    """Kind and path of what changes in the folders, a burst at a time, and an empty set after each `silence`; all in milliseconds.

    By the time the first one is waited for, the folders are subscribed to. Raises OSError or RuntimeError where that is refused.
    """
    watcher = _rust()([str(folder) for folder in folders], False, poll or _sends_no_events(), POLL_EVERY, recursive, True)
    # A thread of its own: it would hold one of the few that everybody shares for ever.
    thread, over = ThreadPoolExecutor(1, thread_name_prefix="microlam-watching"), Event()
    try:
        while True:
            try:
                found = await asyncio.get_running_loop().run_in_executor(thread, watcher.watch, debounce, step, silence, over)
            except RuntimeError as error:
                raise Stumbled from error
            yield found if isinstance(found, Set) else frozenset()
    finally:
        over.set()
        thread.shutdown(wait=False)
        watcher.close()


def _rust() -> type[RustNotify]:
    """The module under the name that it has for everybody, loaded without the package that it lies in."""
    if _RUST not in sys.modules:
        package = find_spec("watchfiles")
        spec = PathFinder.find_spec(_RUST, package.submodule_search_locations if package else None)
        if spec is None or spec.loader is None:
            raise ImportError(f"There is no {_RUST}", name=_RUST)
        module = sys.modules[_RUST] = module_from_spec(spec)
        spec.loader.exec_module(module)
    found: type[RustNotify] = sys.modules[_RUST].RustNotify
    return found


def _sends_no_events() -> bool:
    """Whether the file system is known to send none: Windows' seen from a Linux within it, or what watchfiles' own variable says."""
    told = os.environ.get("WATCHFILES_FORCE_POLLING")
    return told.lower() not in ("false", "disable", "disabled") if told else "microsoft-standard" in os.uname().release.lower()
