"""Records, and what else the store holds, as frozen values; and how they become rows and JSON. Pure functions."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson

from microlam.events.http import refused, summary
from microlam.model import STATUSES, Invocation, Outcome
from microlam.store.database import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMBER = {status: number for number, status in enumerate(STATUSES)}


# ---- values ----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One attempt of one invocation, as it is remembered. What follows `parent` is filled in only for a record read alone."""

    id: str                             # the AWS request id, the same for every attempt
    key: str                            # this attempt's own
    arn: str
    cause: str
    status: str
    queued_at: datetime
    version: str | None = None          # what ran it; None while it is pending
    qualifier: str | None = None
    summary: str = ""
    attempt: int = 1
    accepted_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    duration: float | None = None
    init: float | None = None
    cold: bool = False
    memory: int = 0                     # most resident bytes
    error_type: str | None = None
    parent: str | None = None

    event: bytes = b""
    reply: bytes = b""                  # or the error object
    logs: bytes = b""
    log_stream: str = ""
    runtime: str = ""
    client_context: str | None = None
    attempts: tuple[Record, ...] = ()   # first to last, this one among them

    @property
    def function(self) -> str:
        return self.arn.rpartition(":")[2]

    @property
    def ended_at(self) -> datetime | None:
        if self.started_at is None or self.duration is None:
            return None
        return self.started_at + timedelta(seconds=self.duration)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRow:
    """A file in a bucket, as it was when its last event was made."""

    key: str
    size: int
    mtime_ns: int
    inode: int
    etag: str
    sequencer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """Something that was told to be kept: `kind` says what it is, `owner` whose (an ARN, or "ACCOUNT:REGION"), `name` which of the owner's."""

    kind: str
    owner: str
    name: str
    body: Mapping[str, Any] = field(default_factory=dict)      # JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """How many invocations of a function wait to be run, how many of them after a failure, and when the first is due."""

    arn: str
    pending: int
    retries: int
    due_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """About how many invocations are on record, when the oldest was made, and the bytes on disk."""

    invocations: int
    oldest: datetime | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Running:
    """That an invocation is being run, by this version, since then."""

    version: str
    started_at: datetime


# ---- plain values in the database ------------------------------------------------------------------------------------

def microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def key_bytes(key: str) -> bytes:
    """An id as it is stored; ValueError where it is not one."""
    packed = bytes.fromhex(key.replace("-", ""))
    if len(packed) != 16:
        raise ValueError(f"not an id: {key!r}")
    return packed


def key_text(packed: bytes) -> str:
    return str(UUID(bytes=packed))


def key_at(instant: datetime) -> bytes:
    """Below the key of everything that was made at this instant or later."""
    return max(0, microseconds(instant) // 1000).to_bytes(6, "big")


def key_instant(packed: bytes) -> datetime:
    """When a key was made."""
    return instant(int.from_bytes(packed[:6], "big") * 1000)


def _text(text: str) -> str:
    # A path or a file's name may hold what is not UTF-8; Python carries it as lone surrogates, which SQLite refuses.
    return text if text.isascii() else text.encode(errors="replace").decode()


def _optional_instant(value: int | None) -> datetime | None:
    return None if value is None else instant(value)


def _optional_microseconds(value: datetime | None) -> int | None:
    return None if value is None else microseconds(value)


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1_000_000


# ---- invocations to rows ---------------------------------------------------------------------------------------------

def _identity(invocation: Invocation) -> tuple[bytes, bytes | None]:
    key = key_bytes(invocation.record_key)
    return key, None if invocation.record_key == invocation.id else key_bytes(invocation.id)


def _origin(invocation: Invocation) -> Row:
    return (
        _text(invocation.summary), invocation.attempt, _optional_microseconds(invocation.accepted_at), microseconds(invocation.queued_at),
        _optional_microseconds(invocation.due_at), None if invocation.parent is None else key_bytes(invocation.parent),
    )


def pending_row(invocation: Invocation, function: int) -> Row:
    """The parameters of `accept_invocation`. What has no due time is due since it was queued."""
    summary, attempt, accepted_at, queued_at, due_at, parent = _origin(invocation)
    due_at = queued_at if due_at is None else due_at
    return (*_identity(invocation), function, invocation.qualifier, invocation.cause, summary, attempt, accepted_at, queued_at, due_at, parent)


def event_row(invocation: Invocation) -> Row:
    """The parameters of `keep_event`."""
    return key_bytes(invocation.record_key), invocation.payload, invocation.client_context


def running_row(invocation: Invocation, function: int, running: Running) -> Row:
    """The parameters of `note_running`."""
    return (
        *_identity(invocation), function, invocation.qualifier, invocation.cause, *_origin(invocation),
        running.version, microseconds(running.started_at),
    )


def ended_rows(invocation: Invocation, function: int, outcome: Outcome) -> tuple[Row, Row]:
    """The parameters of `put_invocation` and of `put_payload`. Made for every invocation: it must be quick."""
    id, record_key, parent, started_at, init = invocation.id, invocation.key or invocation.id, invocation.parent, outcome.started_at, outcome.init
    key = key_bytes(record_key)
    started = duration = stream = logged_at = error_type = None
    if started_at is not None:
        started, duration = microseconds(started_at), round(outcome.duration * 1_000_000)
        if outcome.logs and outcome.log_stream:
            stream, logged_at = stream_number(outcome.log_stream), started + duration
    if outcome.status != "succeeded" and outcome.error is not None:
        error_type = _text(str(outcome.error.get("errorType", ""))) or None
    row = (
        key, None if record_key == id else key_bytes(id), function, invocation.qualifier, invocation.cause, _NUMBER[outcome.status],
        _text(summary(invocation, outcome) if invocation.cause == "http" else invocation.summary), invocation.attempt,
        _optional_microseconds(invocation.accepted_at), microseconds(invocation.queued_at), _optional_microseconds(invocation.due_at),
        None if parent is None else key_bytes(parent), outcome.version, started, duration, None if init is None else round(init * 1_000_000),
        int(outcome.cold), outcome.memory, error_type, stream, logged_at,
    )
    return row, (key, invocation.payload, invocation.client_context, outcome.payload, outcome.logs or None, outcome.log_stream or None, outcome.runtime or None)


@lru_cache(maxsize=4096)
def stream_number(name: str) -> int:
    """A log stream's number: made of its name, so that nobody need ask for it."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def object_row(bucket: str, row: ObjectRow) -> Row:
    """The parameters of `put_object`."""
    return bucket, object_key(row.key), row.size, row.mtime_ns, row.inode, row.etag, row.sequencer


def object_key(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def document_row(document: Document) -> Row:
    """The parameters of `keep_document`."""
    return document.kind, document.owner, document.name, json.dumps(document.body)


# ---- rows to values --------------------------------------------------------------------------------------------------

def record_of(row: Row) -> Record:
    """A row of the columns that `record` names."""
    (key, request, arn, version, qualifier, cause, status, summary, attempt,
     accepted_at, queued_at, due_at, started_at, duration, init, cold, memory, error_type, parent) = row
    return Record(
        id=key_text(request or key), key=key_text(key), arn=arn, version=version, qualifier=qualifier, cause=cause, status=STATUSES[status],
        summary=summary, attempt=attempt, accepted_at=_optional_instant(accepted_at), queued_at=instant(queued_at),
        due_at=_optional_instant(due_at), started_at=_optional_instant(started_at), duration=_seconds(duration), init=_seconds(init),
        cold=bool(cold), memory=memory, error_type=error_type, parent=None if parent is None else key_text(parent),
    )


def filled(record: Record, payload: Row | None, attempts: tuple[Record, ...]) -> Record:
    """A record with its row of `payload` and its attempts; without a payload where retention took it in between."""
    event, reply, logs, log_stream, runtime, client_context = payload or (None,) * 6
    return replace(
        record, event=event or b"", reply=reply or b"", logs=logs or b"", log_stream=log_stream or "", runtime=runtime or "",
        client_context=client_context, attempts=attempts,
    )


def claimed(row: Row) -> Invocation:
    """A row of `claim`, ready to run."""
    event, client_context, *columns = row
    record = record_of(tuple(columns))
    return Invocation(
        id=record.id, key="" if record.key == record.id else record.key, arn=record.arn, payload=event, cause=record.cause,
        queued_at=record.queued_at, qualifier=record.qualifier, summary=record.summary, attempt=record.attempt,
        accepted_at=record.accepted_at, due_at=record.due_at, client_context=client_context, parent=record.parent,
    )


def waiting_of(row: Row) -> Waiting:
    """A row of `waiting`."""
    arn, pending, retries, due_at = row
    return Waiting(arn=arn, pending=pending, retries=retries, due_at=instant(due_at))


def object_of(row: Row) -> ObjectRow:
    """A row of `objects`."""
    key, size, mtime_ns, inode, etag, sequencer = row
    return ObjectRow(key=key.decode(errors="surrogateescape"), size=size, mtime_ns=mtime_ns, inode=inode, etag=etag, sequencer=sequencer)


# ---- records to JSON -------------------------------------------------------------------------------------------------

def record_json(record: Record) -> dict[str, object]:
    """A record as `invocations.json` lists it."""
    return {
        "id": record.id, "function": record.function, "arn": record.arn, "version": record.version, "qualifier": record.qualifier,
        "cause": record.cause, "status": record.status, "summary": record.summary, "attempt": record.attempt,
        "queued_at": _iso(record.queued_at), "accepted_at": _iso(record.accepted_at), "due_at": _iso(record.due_at),
        "started_at": _iso(record.started_at), "ended_at": _iso(record.ended_at),
        "duration_ms": _milliseconds(record.duration), "init_ms": _milliseconds(record.init), "cold": record.cold,
        "memory": record.memory, "error_type": record.error_type, "parent": record.parent,
    }


def full_record_json(record: Record) -> dict[str, object]:
    """A record as `invocations/ID.json` shows it: with its event, its reply or error, its logs, and its attempts."""
    return {
        **record_json(record), "event": _json_value(record.event), **_end_json(record),
        "logs": record.logs.decode(errors="replace"), "log_stream": record.log_stream, "runtime": record.runtime,
        "client_context": record.client_context, "attempts": [record_json(attempt) for attempt in record.attempts],
    }


def _end_json(record: Record) -> dict[str, object]:
    if record.status in ("pending", "running"):
        return {}
    if record.status != "succeeded":
        return {"error": _json_value(record.reply)}
    reason = refused(record.cause, Outcome(status=record.status, payload=record.reply))
    return {"reply": _json_value(record.reply), **({} if reason is None else {"refused": reason})}


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _json_value(payload: bytes) -> object:
    """JSON bytes as a value that can be written as JSON again; other bytes as text; none as None."""
    try:
        return orjson.loads(payload) if payload else None
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(payload, parse_constant=str)      # lone surrogates and large numbers; NaN, which is no JSON, as text
    except (ValueError, RecursionError):
        return payload.decode(errors="replace")
