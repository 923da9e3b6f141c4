"""What a test looks at: replies to HTTP requests, and invocations as they are on record."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from microlam.store import Record, full_record_json


@dataclass(frozen=True)
class Reply:
    """An HTTP reply. Header names may be written in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One attempt of an invocation as it is on record; `event`, `reply` and `error` are JSON values."""

    id: str
    function: str
    arn: str
    version: str | None
    qualifier: str | None
    cause: str
    status: str
    summary: str
    attempt: int
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: float | None
    init_ms: float | None
    cold: bool
    event: Any
    reply: Any = None
    error: Any = None
    logs: str
    parent: str | None

    @classmethod
    def of(cls, record: Record) -> Self:
        """A record, read in full."""
        facts = full_record_json(record) | {"queued_at": record.queued_at, "started_at": record.started_at, "ended_at": record.ended_at}
        return cls(**{name: value for name, value in facts.items() if name in cls.__dataclass_fields__})  # type: ignore[arg-type]  # the same facts by name
