"""Drop folders: where the buckets that functions listen to are, and hints that something happened there, one Follower a folder."""
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from microlam.clock import Clock
from microlam.resources.buckets import Buckets
from microlam.triggers import Triggers
from microlam.watching import DELETED, Stumbled, changes

if TYPE_CHECKING:
    from microlam.sources.follower import Follower

# How often to look whether a bucket's folder came, went or is another one: a few `stat` calls.
LOOK_EVERY = 1.0


class Place(NamedTuple):
    """A bucket's folder, and what tells it from another folder of that path."""

    path: Path
    device: int
    inode: int


class Followed(NamedTuple):
    """A bucket whose folder is followed, by a task that ends when the follower is stopped."""

    place: Place
    follower: Follower
    running: asyncio.Task[None]


class Folders:
    """Watches the folders of all buckets that functions listen to; one `run()` a server."""

    def __init__(self, buckets: Buckets, triggers: Triggers, clock: Clock, *, quiet: float = 0.25, poll: bool = False,
                 say: Callable[[str], None] = print) -> None:
        self._buckets, self._triggers, self._clock, self._quiet, self._poll, self._say = buckets, triggers, clock, quiet, poll, say
        self._began = time.time_ns()            # what is dropped from now on is an event, also before `run` gets to look
        self._names: Sequence[str] = ()
        self._followed: dict[str, Followed] = {}
        self._listening: asyncio.Task[None] | None = None
        self._problems: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Make events of what happens in the folders, until cancelled."""
        changed = self._changed
        self._triggers.subscribe(changed)
        await self._buckets.load()
        async with asyncio.TaskGroup() as tasks:
            starting = True
            while True:
                changed.clear()
                self._looked.clear()
                await self._look(tasks, starting=starting)
                self._looked.set()
                starting = False
                await self._next_look(changed)
                self._began = time.time_ns()

    async def caught_up(self) -> None:
        """Return when what is in the folders now is on record."""
        while not self._looked.is_set() or self._changed.is_set():
            self._looked.clear()
            await self._looked.wait()
        for followed in list(self._followed.values()):
            await followed.follower.caught_up()

    async def _next_look(self, changed: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(changed.wait(), LOOK_EVERY if self._triggers.drops() else None)
        except TimeoutError:
            return

    async def _look(self, tasks: asyncio.TaskGroup, *, starting: bool) -> None:
        """See where the buckets are now, and follow what is new there."""
        names = self._buckets.names()
        places, problems = await asyncio.to_thread(_find, self._buckets, names)
        for problem in problems - self._problems:
            self._say(problem)
        self._problems = problems
        before = {bucket: followed.place for bucket, followed in self._followed.items()}
        if places != before or (self._listening is not None and self._listening.done()):
            await self._follow(places, tasks, starting=starting)
        self._names = names

    # ---- whom to follow -----------------------------------------------------------------------------------------

    async def _follow(self, places: Mapping[str, Place], tasks: asyncio.TaskGroup, *, starting: bool) -> None:
        await self._stop_listening()
        for bucket, followed in list(self._followed.items()):
            if bucket not in places or places[bucket].path != followed.place.path:
                await self._stop_following(bucket)
        from microlam.sources.follower import Follower  # many servers have no drop folder
        for bucket, place in places.items():
            if bucket in self._followed:
                self._followed[bucket] = self._followed[bucket]._replace(place=place)
                continue
            fresh = not await self._buckets.known(bucket) or self._only_now(bucket, starting=starting)
            moved = await asyncio.to_thread(_has_moved, self._buckets.home(bucket), place.path)
            follower = Follower(bucket, place.path, self._buckets, self._clock, quiet=self._quiet, say=self._say)
            running = tasks.create_task(follower.run(taken_in_before=self._began if fresh else None, moved=moved))
            self._followed[bucket] = Followed(place, follower, running)
        if places:
            self._listening = tasks.create_task(self._listen([place.path for place in places.values()]))

    def _only_now(self, bucket: str, *, starting: bool) -> bool:
        """Whether a bucket is listened to only from now on: what happened before is not told."""
        return not starting and bucket not in self._names

    async def _stop_following(self, bucket: str) -> None:
        # It ends by itself, so that what it is recording is recorded before another one starts from the record.
        followed = self._followed.pop(bucket)
        followed.follower.stop()
        await followed.running

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
            except Stumbled:
                # What else happened is looked for, and it begins anew.
                self._hint([str(path) for path in paths])
            except (OSError, RuntimeError) as error:
                if not self._poll:
                    self._say(f"Drop folders are looked at at intervals, as the system refuses to watch them: {error}")
                self._poll = True
            await asyncio.sleep(LOOK_EVERY)

    async def _pass_on(self, paths: Sequence[Path]) -> None:
        listening, everything = False, [str(path) for path in paths]
        async with aclosing(changes(paths, recursive=True, debounce=50, step=50, silence=1000, poll=self._poll)) as bursts:
            # The first answer, within a second, says that the watches are set: what happened before is looked for then.
            async for burst in bursts:
                self._hint([path for _, path in burst] if listening else everything)
                listening = True
                if any((DELETED, path) in burst for path in everything):
                    # One made in its place may even get its inode, but is not watched.
                    return

    def _hint(self, touched: Sequence[str]) -> None:
        for followed in self._followed.values():
            # macOS speaks of real paths, Linux of those that were given.
            roots = (str(followed.place.path), os.path.realpath(followed.place.path))
            if any(path.startswith(roots) for path in touched):
                followed.follower.hint()


def _find(buckets: Buckets, names: Sequence[str]) -> tuple[Mapping[str, Place], frozenset[str]]:
    """The folders of all buckets, and what prevents their use. One under the data folder is made, unless it is a lost one."""
    places, problems = {}, set()
    for bucket in names:
        path = buckets.place(bucket)
        if buckets.has_lost(bucket):
            problems.add(_lost(bucket, path, buckets.home(bucket)))
            continue
        try:
            if path == buckets.own(bucket):
                path.mkdir(parents=True, exist_ok=True)
            status = path.stat()
            places[bucket] = Place(path, status.st_dev, status.st_ino)
        except OSError as error:
            problems.add(f"The folder {path} of bucket {bucket} cannot be used: {error.strerror or error}")
    return places, frozenset(problems)


def _lost(bucket: str, folder: Path, home: Path | None) -> str:
    before = f" (it was {home} before)" if folder != home else ""
    return (f"Warning: bucket {bucket} has lost its folder: there is no {folder}{before}. Nothing in it is taken for deleted, unless it was before the folder "
            "was gone: once it is there again, only what differs is an event. An empty folder in its place says that its files are deleted.")


def _has_moved(home: Path | None, now: Path) -> bool:
    """Whether what is on record lies in another folder still. Nobody deleted what that one holds."""
    return home is not None and home != now and home.is_dir()
