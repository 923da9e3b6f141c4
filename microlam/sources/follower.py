"""One drop folder: a file that is dropped, replaced or deleted in it becomes one S3 event.

What the file system tells is only a hint to look: the folder is compared with what is recorded, so nothing is lost when hints are. A
difference that has stood for `quiet` seconds, of a file nobody writes, is a change. A file is replaced when its size or modification time
is another (so `touch` counts, as a new PUT would); where only the inode is, as after a copy of everything, its content decides.
"""
from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from microlam.clock import Clock
from microlam.errors import RecordUnavailable
from microlam.resources.buckets import Adopted, Buckets
from microlam.sources.files import Busy, Look, Moved, Unreadable, Verdict, Whole, changed_since, differences, examine, scan
from microlam.store import ObjectRow

# Files are examined and recorded so many at a time: one commit, some milliseconds of the loop.
BATCH = 200
# Larger ones are read one at a time, while what is dropped after them goes on.
LARGE = 8 * 1024 * 1024
# A file that stays busy or unreadable is looked at ever less often, down to this.
LONGEST_PAUSE = 2.0
# A folder in which something could not be looked at is compared again after so long.
LOOK_AGAIN = 10.0
# A large folder is compared at most a fifth of the time.
REST = 4


@dataclass(frozen=True)
class Waiting:
    """A difference that must stand until `ready` (the loop's time) to be believed; `look` is None where the file is gone."""

    look: Look | None
    ready: float
    pause: float

    @property
    def large(self) -> bool:
        """Whether it is read by itself, while others go on."""
        return self.look is not None and self.look.size > LARGE


@dataclass(frozen=True)
class Reading:
    """A large file that is being examined."""

    key: str
    look: Look | None
    verdict: asyncio.Task[Verdict]


class Follower:
    """One bucket's folder, kept equal with the record."""

    def __init__(self, bucket: str, folder: Path, buckets: Buckets, clock: Clock, *, quiet: float, say: Callable[[str], None]) -> None:
        self._bucket, self._folder, self._buckets, self._clock, self._quiet, self._say = bucket, folder, buckets, clock, quiet, say
        self._recorded: dict[str, ObjectRow] = {}
        self._waiting: dict[str, Waiting] = {}
        self._reading: Reading | None = None
        self._warned: set[str] = set()
        self._hinted = asyncio.Event()
        self._rested = 0.0              # not to be compared again before
        self._look_again = math.inf     # to be compared then, hint or not
        self._begun = self._over = False
        self._looks = 0                 # comparisons that have been begun
        self._rests = asyncio.Event()

    def hint(self) -> None:
        """Something may have changed."""
        self._hinted.set()

    def stop(self) -> None:
        """Let `run` end."""
        self._over = True
        self._hinted.set()

    async def run(self, *, taken_in_before: int | None, moved: bool = False) -> None:
        """Follow the folder until stopped; files older than `taken_in_before` (nanoseconds) were there first and are no events.

        Where the bucket has `moved` here, what is on record lies elsewhere still: nobody has deleted it.
        """
        try:
            await self._follow(taken_in_before, moved)
        finally:
            self._over = True       # what is being read need not be read to its end
            self._rests.set()
            if self._reading is not None:
                self._reading.verdict.cancel()

    async def _follow(self, taken_in_before: int | None, moved: bool) -> None:
        while not self._over:
            try:
                if not self._begun:
                    await self._begin(taken_in_before, moved)
                    self._begun = True
                if self._now() >= (self._rested if self._hinted.is_set() else self._look_again):
                    await self._compare()
                await self._settle()
            except RecordUnavailable as error:
                await self._stumble(f"Bucket {self._bucket} waits until the record can be written again: {error}")
            except Exception as error:      # the other buckets and the server go on, whatever this one holds
                await self._stumble(f"Bucket {self._bucket} cannot be followed and is tried again: {error!r}")
            self._rests.set()
            await self._pause()

    async def caught_up(self) -> None:
        """Return when what is in the folder now is on record."""
        looks = self._looks
        while not self._over and (self._looks <= looks or self._hinted.is_set() or self._waiting):
            self._rests.clear()
            self._hinted.set()
            await self._rests.wait()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _begin(self, taken_in_before: int | None, moved: bool) -> None:
        self._recorded = await self._buckets.objects(self._bucket)
        if moved:
            await self._buckets.take_in(self._bucket, [], list(self._recorded))
            self._recorded = {}
        await self._buckets.settle(self._bucket, self._folder)
        if taken_in_before is not None:
            await self._take_in(taken_in_before)
        self._lie()
        self._hinted.set()

    async def _stumble(self, sentence: str) -> None:
        """Say what went wrong, and look at everything anew after a while."""
        self._warn(sentence)
        await asyncio.sleep(LONGEST_PAUSE)
        self._hinted.set()

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
        found = scan(self._folder)
        there = [_adopted(key, look, "") for key, look in found.files.items() if not changed_since(self._folder, key, before)]
        return there, [key for key in self._recorded if key not in found.files and not found.gone]

    # ---- what differs -------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        self._hinted.clear()
        self._looks += 1
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
        ready = min((waiting.ready for waiting in self._waiting.values() if not (self._reading and waiting.large)), default=self._look_again)
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
        ready = [(key, waiting) for key, waiting in self._waiting.items() if waiting.ready <= now]
        small = [key for key, waiting in ready if not waiting.large]
        for start in range(0, len(small), BATCH):
            if self._over:
                return
            keys = small[start:start + BATCH]
            await self._conclude(keys, *await asyncio.to_thread(self._examine, keys))
        await self._settle_large([key for key, waiting in ready if waiting.large])

    async def _settle_large(self, keys: Sequence[str]) -> None:
        """Conclude what has been read, and begin to read the next one."""
        reading = self._reading
        if reading is not None:
            if not reading.verdict.done():
                return
            self._reading = None
            waiting = self._waiting.get(reading.key)
            if waiting is not None and waiting.look == reading.look:     # else it has changed meanwhile, and waits anew
                await self._conclude([reading.key], [reading.verdict.result()], folder_is_there=True)
        following = next((key for key in keys if reading is None or key != reading.key), None)
        if following is not None:
            look = self._waiting[following].look
            verdict = asyncio.create_task(asyncio.to_thread(examine, self._folder / following, look, self._is_over))
            self._reading = Reading(following, look, verdict)
            verdict.add_done_callback(lambda _: self._hinted.set())

    async def _conclude(self, keys: Sequence[str], verdicts: Sequence[Verdict], folder_is_there: bool) -> None:
        put: list[Adopted] = []
        copied: list[Adopted] = []
        removed: list[str] = []
        for key, verdict in zip(keys, verdicts, strict=True):
            look = self._waiting[key].look
            if isinstance(verdict, Whole) and look is not None:
                (copied if self._only_copied(key, look, verdict) else put).append(_adopted(key, look, verdict.etag))
            elif look is None and verdict == Moved(None):
                if folder_is_there:
                    removed.append(key)
                else:
                    del self._waiting[key]      # where all is gone with the folder, nothing was deleted
            else:
                self._wait_on(key, verdict)
        await self._record(put, copied, removed)

    def _examine(self, keys: Sequence[str]) -> tuple[Sequence[Verdict], bool]:
        """A verdict for each, and whether the folder was still there after them."""
        return [examine(self._folder / key, self._waiting[key].look, self._is_over) for key in keys], self._folder.is_dir()

    def _is_over(self) -> bool:
        return self._over

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
        self._lie()

    def _lie(self) -> None:
        self._buckets.lie(self._bucket, self._folder if self._recorded else None)


def _adopted(key: str, look: Look, etag: str) -> Adopted:
    return Adopted(key=key, size=look.size, mtime_ns=look.mtime_ns, inode=look.inode, etag=etag)
