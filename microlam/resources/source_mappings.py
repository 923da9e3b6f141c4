"""Event source mappings: which queue, stream or topic a function is to be given the records of, and how."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from microlam.errors import Conflict
from microlam.resources.belongings import Belongings
from microlam.store import Store

STREAMS = ("kinesis", "dynamodb")


class MappingExists(Conflict):
    """The event source arn (" {source} ") and function (" {function} ") provided mapping already exists. \
Please update or delete the existing mapping with UUID {uuid}"""


class QueueMappingExists(Conflict):
    """An event source mapping with SQS arn (" {source} ") and function (" {function} ") already exists. \
Please update or delete the existing mapping with UUID {uuid}"""


@dataclass(frozen=True, kw_only=True)
class SourceMapping:
    """One source, one function, and how records pass from one to the other; None: it does not matter to a source of this kind."""

    function: str                           # ARN, with the version or alias that was named
    kind: str                               # sqs · kinesis · dynamodb · kafka · self-managed-kafka · mq · documentdb
    modified: datetime
    enabled: bool = True
    source: str | None = None               # ARN
    batch_size: int | None = None
    batching_window: int | None = None      # seconds
    starting_position: str | None = None
    starting_at: datetime | None = None
    filters: tuple[str, ...] = ()           # patterns, as JSON
    response_types: tuple[str, ...] | None = None
    parallelization: int | None = None
    retry_attempts: int | None = None       # -1: until the record is gone
    record_age: int | None = None           # seconds; -1: without limit
    bisect: bool | None = None
    tumbling_window: int | None = None      # seconds
    on_failure: str | None = None           # ARN
    concurrency: int | None = None
    topics: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    further: Mapping[str, Any] = field(default_factory=dict)    # kept and shown as it was said: keys, brokers, access to them


_STREAM = {"batch_size": 100, "batching_window": 0, "response_types": (), "parallelization": 1, "retry_attempts": -1, "record_age": -1, "bisect": False,
           "tumbling_window": 0}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sqs": {"batch_size": 10, "batching_window": 0, "response_types": ()},
    "kinesis": _STREAM,
    "dynamodb": _STREAM,
}


def defaults_of(kind: str) -> Mapping[str, Any]:
    """What holds for a source of a kind where nothing else was said."""
    return _DEFAULTS.get(kind, {"batch_size": 100})


def kind_of(source: str | None, *, self_managed: bool) -> str | None:
    """What sort of source an ARN names; None: none that a function can be given the records of."""
    if source is None:
        return "self-managed-kafka" if self_managed else None
    _, _, service, _, _, resource = source.split(":", 5)
    match service:
        case "sqs" | "kafka" | "mq":
            return service
        case "kinesis" if resource.startswith("stream/"):
            return service
        case "dynamodb" if "/stream/" in resource:
            return service
        case "rds" if resource.startswith("cluster:"):
            return "documentdb"
    return None


def is_pattern(text: str) -> bool:
    """Whether a filter's text is a pattern: an object whose leaves are lists of what may stand there."""
    try:
        return _is_pattern(json.loads(text))
    except ValueError:
        return False


def _is_pattern(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all((isinstance(inner, list) and bool(inner)) or _is_pattern(inner) for inner in value.values())


class SourceMappings:
    """The mappings of each account and region ("ACCOUNT:REGION"), by UUID."""

    def __init__(self, store: Store) -> None:
        self._kept = Belongings(store, "source-mapping", SourceMapping)

    async def find(self, owner: str, uuid: str) -> SourceMapping | None:
        return await self._kept.find(owner, uuid)

    async def of(self, owner: str) -> Mapping[str, SourceMapping]:
        return {name: mapping for _, name, mapping in await self._kept.of(owner)}

    async def create(self, owner: str, uuid: str, mapping: SourceMapping) -> None:
        """Keep a new mapping; raises Conflict where its source and function are mapped already."""
        async with self._kept.changing:
            for other_uuid, other in (await self.of(owner)).items():
                if _same(other) == _same(mapping):
                    error = QueueMappingExists if mapping.kind == "sqs" else MappingExists
                    raise error(source=mapping.source, function=mapping.function.partition(":function:")[2].partition(":")[0], uuid=other_uuid)
            await self.keep(owner, uuid, mapping)

    async def keep(self, owner: str, uuid: str, mapping: SourceMapping) -> None:
        await self._kept.keep(owner, uuid, mapping)

    async def forget(self, owner: str, uuid: str) -> None:
        await self._kept.forget(owner, uuid)


def _same(mapping: SourceMapping) -> tuple[object, ...]:
    """What no two mappings share."""
    return mapping.source, mapping.function, mapping.topics, mapping.queues, json.dumps(mapping.further.get("endpoints"), sort_keys=True)
