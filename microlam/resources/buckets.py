"""Buckets: folders whose files are objects. Here a change of objects becomes rows and the invocations it causes, in one commit.

A bucket is the folder of its name beside the functions if there is one, else a folder under the data folder. One that has lost the folder in
which its recorded objects lie is still there, so that who makes it again has the bucket back.
"""
from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from microlam.errors import InvalidParameter
from microlam.events.s3 import DELETE, PUT, s3_event
from microlam.model import Drop, Invocation, Trigger, account_of, new_id, split_arn
from microlam.store import Document, ObjectRow, Store
from microlam.triggers import Triggers, listeners

# S3's first rules, as botocore still takes them, rather than today's (3-63, lower case): folders have names like "in" or "My_Files".
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_KIND = "bucket"


def check_bucket(name: str) -> None:
    """Raise InvalidParameter unless a bucket, and so its folder, may be called that."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(reason=f'"{name}" cannot be a bucket: use up to 63 letters, digits, dots, hyphens and underscores, the first a letter or digit. '
                                      "A folder within a bucket is a prefix.")


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """A whole file, as it was found."""

    key: str
    size: int
    mtime_ns: int
    inode: int
    etag: str


def bucket_folder(folder: Path, data: Path, bucket: str, home: Path | None) -> Path:
    """A bucket is the folder of its name beside the functions if there is one, or was while objects were recorded, else one of the server's own.

    `home` is where its recorded objects lie; None where there are none.
    """
    beside, own = (folder / bucket).absolute(), (data / "buckets" / bucket).absolute()
    return beside if beside.is_dir() or home not in (None, own) else own


class Buckets:
    """Where buckets are and what is in them."""

    def __init__(self, folder: Path, data: Path, *, store: Store, triggers: Triggers, wake: Callable[[], None], region: str) -> None:
        self._folder, self._data, self._store, self._triggers, self._wake, self._region = folder, data, store, triggers, wake, region
        self._sequence = 0
        self._homes: dict[str, Path] = {}       # where recorded objects lie, of the buckets that have any

    async def load(self) -> None:
        """Learn from the record where objects lie."""
        for kept in await self._store.documents(_KIND):
            if kept.owner not in self._homes and await self._store.objects(kept.owner):
                # Its own moves with the data folder.
                self._homes[kept.owner] = Path(kept.body["beside"]) if kept.body["beside"] else self.own(kept.owner)

    def place(self, bucket: str) -> Path:
        """The folder of a bucket."""
        check_bucket(bucket)
        return bucket_folder(self._folder, self._data, bucket, self.home(bucket))

    def own(self, bucket: str) -> Path:
        """The folder under the data folder that it has where there is none beside the functions."""
        return (self._data / "buckets" / bucket).absolute()

    def home(self, bucket: str) -> Path | None:
        """The folder in which the recorded objects of a bucket lie; None where there are none."""
        return self._homes.get(bucket)

    def has_lost(self, bucket: str) -> bool:
        """Whether a bucket has recorded objects and no folder."""
        return self.home(bucket) is not None and not self.place(bucket).is_dir()

    def names(self) -> Sequence[str]:
        """All buckets that a function listens to; one whose triggers are paused is still kept in mind, so that nothing piles up."""
        names = {trigger.when.bucket for trigger in self._triggers.drops() if isinstance(trigger.when, Drop)}
        return [name for name in sorted(names) if _NAME.fullmatch(name)]

    def places(self) -> Mapping[str, Path]:
        """The folders of all these, by name."""
        return {name: self.place(name) for name in self.names()}

    # ---- what is recorded ---------------------------------------------------------------------------------------

    async def known(self, bucket: str) -> bool:
        """Whether the files that were there first have been taken in."""
        return await self._store.bucket_known(bucket)

    async def objects(self, bucket: str) -> dict[str, ObjectRow]:
        """The objects of a bucket, by key."""
        rows = await self._store.objects(bucket)
        # Sequencers go on rising even where the clock was put back meanwhile.
        self._sequence = max(self._sequence, *(int(row.sequencer, 16) for row in rows.values()), 0)
        return rows

    async def take_in(self, bucket: str, files: Iterable[Adopted], gone: Sequence[str]) -> Sequence[ObjectRow]:
        """Record files without events."""
        rows = [self._row(file) for file in files]
        await self._store.change_objects(bucket, rows, gone, [])
        return rows

    def lie(self, bucket: str, home: Path | None) -> None:
        """Take note of where recorded objects lie, and that there are any."""
        if home is None:
            self._homes.pop(bucket, None)
        else:
            self._homes[bucket] = home

    async def settle(self, bucket: str, folder: Path) -> None:
        """Remember which folder a bucket's objects lie in."""
        now = Document(kind=_KIND, owner=bucket, name="folder", body={"beside": None if folder == self.own(bucket) else str(folder)})
        if await self._store.documents(_KIND, bucket) != [now]:
            await self._store.change_documents(keep=[now])

    async def know(self, bucket: str) -> None:
        """The files that were there first are taken in; from now on each is an event."""
        await self._store.know_bucket(bucket)

    # ---- events -------------------------------------------------------------------------------------------------

    async def change(self, bucket: str, put: Iterable[Adopted], removed: Sequence[str], now: datetime) -> Sequence[ObjectRow]:
        """Record files that were dropped or replaced and keys that are gone, and invoke who listens; gives the new rows."""
        drops = self._triggers.drops(bucket)
        rows = [self._row(file) for file in put]
        invocations = [self._invocation(trigger, bucket, row, PUT, now) for row in rows for trigger in listeners(drops, row.key, PUT)]
        for key in removed:
            gone = ObjectRow(key=key, size=0, mtime_ns=0, inode=0, etag="", sequencer=self._next_sequencer())
            invocations += [self._invocation(trigger, bucket, gone, DELETE, now) for trigger in listeners(drops, key, DELETE)]
        await self._store.change_objects(bucket, rows, removed, invocations)
        if invocations:
            self._wake()
        return rows

    def _row(self, file: Adopted) -> ObjectRow:
        return ObjectRow(key=file.key, size=file.size, mtime_ns=file.mtime_ns, inode=file.inode, etag=file.etag, sequencer=self._next_sequencer())

    def _next_sequencer(self) -> str:
        """Hexadecimal, of one length, each greater than all before."""
        self._sequence = max(self._sequence + 1, time.time_ns())
        return f"{self._sequence:018X}"

    def _invocation(self, trigger: Trigger, bucket: str, row: ObjectRow, name: str, now: datetime) -> Invocation:
        arn, qualifier = split_arn(trigger.target)
        id, put = new_id(), name == PUT
        event = s3_event(
            bucket=bucket, key=row.key, name=name, time=now, sequencer=row.sequencer, request_id=id, region=self._region, account=account_of(arn),
            configuration_id=trigger.id, size=row.size if put else None, etag=row.etag if put else None,
        )
        return Invocation(
            id=id, arn=arn, qualifier=qualifier, payload=orjson.dumps(event), cause="file", summary=f"{bucket}/{row.key} {'created' if put else 'removed'}",
            queued_at=now, accepted_at=now,
        )
