"""Drop folders: a file that is dropped, replaced or deleted in a bucket's folder becomes one S3 event.

What the file system tells is only a hint to look: the folder is compared with what is recorded, so nothing is lost when hints are. A
difference that has stood for `quiet` seconds, of a file nobody writes, is a change. A file is replaced when its size or modification time
is another (so `touch` counts, as a new PUT would); where only the inode is, as after a copy of everything, its content decides.
"""
from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from microlam.clock import Clock
from microlam.errors import RecordUnavailable
from microlam.resources.buckets import Adopted, Buckets
from microlam.sources.files import Busy, Look, Moved, Unreadable, Verdict, Whole, changed_since, differences, examine, scan
from microlam.store import ObjectRow
from microlam.triggers import Triggers

# How often to look whether a bucket's folder came, went or is another one: a few `stat` calls.
LOOK_EVERY = 1.0
# Files are examined and recorded so many at a time: one commit, some milliseconds of the loop.
BATCH = 200
# A file that stays busy or unreadable is looked at ever less often, down to this.
LONGEST_PAUSE = 2.0
# A folder in which something could not be looked at is compared again after so long.
LOOK_AGAIN = 10.0
# A large folder is compared at most a fifth of the time.
REST = 4


class Place(NamedTuple):
    """A bucket's folder, and what tells it from another folder of that path."""

    path: Path
    device: int
    inode: int


class Folders:
    """Watches the folders of all buckets that functions listen to; one `run()` a server."""

    def __init__(self, buckets: Buckets, triggers: Triggers, clock: Clock, *, quiet: float = 0.25, poll: bool = False,
                 say: Callable[[str], None] = print) -> None:
        self._buckets, self._triggers, self._clock, self._quiet, self._poll, self._say = buckets, triggers, clock, quiet, poll, say
        self._began = time.time_ns()            # what is dropped from now on is an event, also before `run` gets to look
        self._places: Mapping[str, Place] = {}
        self._followers: dict[str, Follower] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._problems: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Make events of what happens in the folders, until cancelled."""
        changed = asyncio.Event()
        self._triggers.subscribe(changed)
        async with asyncio.TaskGroup() as tasks:
            starting = True
            while True:
                changed.clear()
                await self._look(tasks, starting=starting)
                starting = False
                await self._next_look(changed)
                self._began = time.time_ns()

    async def _next_look(self, changed: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(changed.wait(), LOOK_EVERY if self._triggers.drops() else None)
        except TimeoutError:
            return

    async def _look(self, tasks: asyncio.TaskGroup, *, starting: bool) -> None:
        """See where the buckets are now, and follow what is new there."""
        places, problems = await asyncio.to_thread(_find, self._buckets)
        for problem in problems - self._problems:
            self._say(problem)
        self._problems = problems
        if places != self._places or (self._listening is not None and self._listening.done()):
            await self._follow(places, tasks, starting=starting)

    # ---- whom to follow -----------------------------------------------------------------------------------------

    async def _follow(self, places: Mapping[str, Place], tasks: asyncio.TaskGroup, *, starting: bool) -> None:
        await self._stop_listening()
        for bucket in list(self._followers):
            if bucket not in places or places[bucket].path != self._places[bucket].path:
                await self._stop_following(bucket)
        for bucket, place in places.items():
            if bucket not in self._followers:
                fresh = await self._arrive(bucket, starting=starting)
                follower = Follower(bucket, place.path, self._buckets, self._clock, quiet=self._quiet, say=self._say)
                self._followers[bucket] = follower
                self._following[bucket] = tasks.create_task(follower.run(taken_in_before=self._began if fresh else None))
        self._places = places
        if places:
            self._listening = tasks.create_task(self._listen([place.path for place in places.values()]))

    async def _arrive(self, bucket: str, *, starting: bool) -> bool:
        """Whether what is in a folder that is new to us was there first, and so is no event."""
        if bucket not in self._places:
            # One that is listened to only from now on is not told of what happened before.
            return not starting or not await self._buckets.known(bucket)
        if self._places[bucket].path.is_dir():
            # The bucket has moved to a folder made beside the functions. Nobody deleted what the old one still holds.
            await self._buckets.take_in(bucket, [], list(await self._buckets.objects(bucket)))
        return False

    async def _stop_following(self, bucket: str) -> None:
        # It ends by itself, so that what it is recording is recorded before another one starts from the record.
        self._followers.pop(bucket).stop()
        await self._following.pop(bucket)

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._listening = None

    # ---- hints --------------------------------------------------------------------------------------------------

    async def _listen(self, paths: Sequence[Path]) -> None:
        """Pass on which folders the file system speaks of, until one of them is gone; the next look begins anew."""
        while True:
            try:
                return await self._pass_on(paths)
            except FileNotFoundError:
                return None
            except ExceptionGroup:
                # watchfiles stumbles over a name that is not UTF-8. What else happened is looked for, and it begins anew.
                self._hint([str(path) for path in paths])
            except (OSError, RuntimeError) as error:
                if not self._poll:
                    self._say(f"Drop folders are looked at at intervals, as the system refuses to watch them: {error}")
                self._poll = True
            await asyncio.sleep(LOOK_EVERY)

    async def _pass_on(self, paths: Sequence[Path]) -> None:
        import watchfiles

        listening, everything = False, [str(path) for path in paths]
        hints = watchfiles.awatch(*paths, watch_filter=None, debounce=50, step=50, rust_timeout=1000, yield_on_timeout=True,
                                  force_polling=self._poll or None, ignore_permission_denied=True)
        async with aclosing(hints):
            # The first answer, within a second, says that the watches are set: what happened before is looked for then.
            async for changes in hints:
                self._hint([path for _, path in changes] if listening else everything)
                listening = True
                if any((watchfiles.Change.deleted, path) in changes for path in everything):
                    # One made in its place may even get its inode, but is not watched.
                    return

    def _hint(self, touched: Sequence[str]) -> None:
        for bucket, follower in self._followers.items():
            # macOS speaks of real paths, Linux of those that were given.
            roots = (str(self._places[bucket].path), os.path.realpath(self._places[bucket].path))
            if any(path.startswith(roots) for path in touched):
                follower.hint()


def _find(buckets: Buckets) -> tuple[Mapping[str, Place], frozenset[str]]:
    """The folders of all buckets, those under the data folder made where they are missing, and what prevents their use."""
    places, problems = {}, set()
    for bucket, path in buckets.places().items():
        try:
            path.mkdir(parents=True, exist_ok=True)
            status = path.stat()
            places[bucket] = Place(path, status.st_dev, status.st_ino)
        except OSError as error:
            problems.add(f"The folder {path} of bucket {bucket} cannot be used: {error.strerror or error}")
    return places, frozenset(problems)


@dataclass(frozen=True)
class Waiting:
    """A difference that must stand until `ready` (the loop's time) to be believed; `look` is None where the file is gone."""

    look: Look | None
    ready: float
    pause: float


class Follower:
    """One bucket's folder, kept equal with the record."""

    def __init__(self, bucket: str, folder: Path, buckets: Buckets, clock: Clock, *, quiet: float, say: Callable[[str], None]) -> None:
        self._bucket, self._folder, self._buckets, self._clock, self._quiet, self._say = bucket, folder, buckets, clock, quiet, say
        self._recorded: dict[str, ObjectRow] = {}
        self._waiting: dict[str, Waiting] = {}
        self._warned: set[str] = set()
        self._hinted = asyncio.Event()
        self._rested = 0.0              # not to be compared again before
        self._look_again = math.inf     # to be compared then, hint or not
        self._over = False

    def hint(self) -> None:
        """Something may have changed."""
        self._hinted.set()

    def stop(self) -> None:
        """Let `run` end."""
        self._over = True
        self._hinted.set()

    async def run(self, *, taken_in_before: int | None) -> None:
        """Follow the folder until stopped; files older than `taken_in_before` (nanoseconds) were there first and are no events."""
        self._recorded = await self._buckets.objects(self._bucket)
        if taken_in_before is not None:
            await self._take_in(taken_in_before)
        self._hinted.set()
        while not self._over:
            try:
                if self._now() >= (self._rested if self._hinted.is_set() else self._look_again):
                    await self._compare()
                await self._settle()
            except RecordUnavailable as error:
                self._warn(f"Bucket {self._bucket} waits until the record can be written again: {error}")
                await asyncio.sleep(LONGEST_PAUSE)
            await self._pause()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _take_in(self, before: int) -> None:
        there, gone = await asyncio.to_thread(self._what_is_there, before)
        for start in range(0, max(len(there), 1), BATCH):
            rows = await self._buckets.take_in(self._bucket, there[start:start + BATCH], gone if start == 0 else [])
            self._recorded.update((row.key, row) for row in rows)
        for key in gone:
            del self._recorded[key]
        await self._buckets.know(self._bucket)

    def _what_is_there(self, before: int) -> tuple[Sequence[Adopted], Sequence[str]]:
        """Files that were there before, not read for this: an empty eTag; and what is recorded and is not."""
        found = scan(self._folder).files
        there = [_adopted(key, look, "") for key, look in found.items() if not changed_since(self._folder, key, before)]
        return there, [key for key in self._recorded if key not in found]

    # ---- what differs -------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        self._hinted.clear()
        began = self._now()
        found = await asyncio.to_thread(differences, self._folder, self._recorded)
        now = self._now()
        self._rested = now + REST * (now - began)
        self._waiting = {key: self._wait_for(key, look, now) for key, look in found.changed.items()}
        for key, reason in found.blind.items():
            self._warn(f"{self._folder / key} cannot be read: {reason}")
        self._look_again = now + LOOK_AGAIN if found.blind else math.inf

    def _wait_for(self, key: str, look: Look | None, now: float) -> Waiting:
        waiting = self._waiting.get(key)
        return waiting if waiting is not None and waiting.look == look else Waiting(look, now + self._quiet, self._quiet)

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            self._say(sentence)

    async def _pause(self) -> None:
        """Wait for a hint that may be followed, or until something has waited long enough."""
        ready = min((waiting.ready for waiting in self._waiting.values()), default=self._look_again)
        if self._hinted.is_set() and not self._over:
            await asyncio.sleep(max(0.0, min(self._rested, ready) - self._now()))
            return
        try:
            await asyncio.wait_for(self._hinted.wait(), None if ready == math.inf else max(0.0, ready - self._now()))
        except TimeoutError:
            return

    # ---- what has changed ---------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        now = self._now()
        ready = [key for key, waiting in self._waiting.items() if waiting.ready <= now]
        for start in range(0, len(ready), BATCH):
            if self._over:
                return
            await self._settle_some(ready[start:start + BATCH])

    async def _settle_some(self, keys: Sequence[str]) -> None:
        verdicts = await asyncio.to_thread(self._examine, keys)
        put: list[Adopted] = []
        copied: list[Adopted] = []
        removed: list[str] = []
        for key, verdict in zip(keys, verdicts, strict=True):
            look = self._waiting[key].look
            if isinstance(verdict, Whole) and look is not None:
                (copied if self._only_copied(key, look, verdict) else put).append(_adopted(key, look, verdict.etag))
            elif look is None and verdict == Moved(None):
                removed.append(key)
            else:
                self._wait_on(key, verdict)
        await self._record(put, copied, removed)

    def _examine(self, keys: Sequence[str]) -> Sequence[Verdict]:
        return [examine(self._folder / key, self._waiting[key].look) for key in keys]

    def _only_copied(self, key: str, look: Look, whole: Whole) -> bool:
        row = self._recorded.get(key)
        # A row that was taken in has no eTag: the size and the nanosecond of its change are believed.
        return row is not None and (row.size, row.mtime_ns) == (look.size, look.mtime_ns) and row.etag in ("", whole.etag)

    def _wait_on(self, key: str, verdict: Verdict) -> None:
        waiting, now = self._waiting[key], self._now()
        if isinstance(verdict, Moved):
            if verdict.look is None and key not in self._recorded:
                del self._waiting[key]      # it came and went
            else:
                self._waiting[key] = Waiting(verdict.look, now + self._quiet, self._quiet)
            return
        if isinstance(verdict, Unreadable):
            self._warn(f"{self._folder / key} cannot be read and is tried again: {verdict.reason}")
        pause = min(max(2 * waiting.pause, 0.05), LONGEST_PAUSE) if isinstance(verdict, Busy | Unreadable) else waiting.pause
        self._waiting[key] = Waiting(waiting.look, now + waiting.pause, pause)

    async def _record(self, put: Sequence[Adopted], copied: Sequence[Adopted], removed: Sequence[str]) -> None:
        rows: list[ObjectRow] = []
        if copied:
            rows += await self._buckets.take_in(self._bucket, copied, [])
        if put or removed:
            rows += await self._buckets.change(self._bucket, put, removed, self._clock.now())
        for row in rows:
            self._recorded[row.key] = row
            del self._waiting[row.key]
        for key in removed:
            self._recorded.pop(key, None)
            del self._waiting[key]


def _adopted(key: str, look: Look, etag: str) -> Adopted:
    return Adopted(key=key, size=look.size, mtime_ns=look.mtime_ns, inode=look.inode, etag=etag)
