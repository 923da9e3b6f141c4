"""Waiting for files to change. What is reported is a hint, never the truth: whoever waits looks for himself."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from microlam.watching import Stumbled, changes

# In milliseconds: how long a burst of changes may be gathered, how long a pause ends it, and how long nothing need be told.
DEBOUNCE, STEP, SILENCE = 50, 10, 5_000
POLL_EVERY = 0.3


class Watcher:
    """Subscribes to folders, each by itself: nothing that happens in a folder it was not given wakes it."""

    def __init__(self, *, poll: bool, say: Callable[[str], None]) -> None:
        self._poll = poll
        self._say = say
        self._folders: frozenset[Path] = frozenset()
        self._hint = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def changed(self, folders: frozenset[Path], timeout: float) -> None:
        """Wait until something may have changed in these folders, or for `timeout` seconds."""
        if self._poll:
            await asyncio.sleep(min(timeout, POLL_EVERY))
            return
        if folders != self._folders:
            # The new subscription begins before the old one ends, so that nothing falls between them.
            before, self._folders = self._listening, folders
            self._listening = asyncio.create_task(self._listen(folders))
            await asyncio.sleep(0)
            await _end(before)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._hint.wait()
        self._hint.clear()

    async def _listen(self, folders: frozenset[Path]) -> None:
        try:
            # By the loop's next turn they are subscribed to: what changed before is for the one who waits to find.
            asyncio.get_running_loop().call_soon(self._hint.set)
            async for found in changes(folders, recursive=False, debounce=DEBOUNCE, step=STEP, silence=SILENCE):
                if found:
                    self._hint.set()
        except (FileNotFoundError, Stumbled):       # a folder that went in the meantime has a parent that is watched too
            self._folders = frozenset()
        except (OSError, RuntimeError) as error:
            self._poll = True
            self._say(f"File events cannot be had ({error}); looking for changes every {POLL_EVERY} s instead.")
        self._hint.set()

    async def close(self) -> None:
        await _end(self._listening)


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
