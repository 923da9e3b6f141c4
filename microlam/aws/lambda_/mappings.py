"""Event source mappings: which queue, stream or topic a function gets the records of."""
from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.existing import ResourceMissing, exists
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import target_of
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter
from microlam.model import LATEST
from microlam.resources.source_mappings import STREAMS, SourceMapping, defaults_of, is_pattern, kind_of
from microlam.resources.tags import check_tags

# A member of the wire, the field that it is, and the kinds of source that have it (None: all).
_KAFKA = ("kafka", "self-managed-kafka")
_MEMBERS: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
    ("BatchSize", "batch_size", None),
    ("MaximumBatchingWindowInSeconds", "batching_window", None),
    ("StartingPosition", "starting_position", (*STREAMS, *_KAFKA, "documentdb")),
    ("StartingPositionTimestamp", "starting_at", ("kinesis", *_KAFKA, "documentdb")),
    ("FunctionResponseTypes", "response_types", ("sqs", *STREAMS, *_KAFKA)),
    ("ParallelizationFactor", "parallelization", STREAMS),
    ("MaximumRetryAttempts", "retry_attempts", (*STREAMS, *_KAFKA)),
    ("MaximumRecordAgeInSeconds", "record_age", (*STREAMS, *_KAFKA)),
    ("BisectBatchOnFunctionError", "bisect", (*STREAMS, *_KAFKA)),
    ("TumblingWindowInSeconds", "tumbling_window", STREAMS),
    ("Topics", "topics", _KAFKA),
    ("Queues", "queues", ("mq",)),
)
_FURTHER: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
    ("KMSKeyArn", "key", None),
    ("MetricsConfig", "metrics", None),
    ("LoggingConfig", "logging", None),
    ("SourceAccessConfigurations", "access", (*_KAFKA, "mq", "documentdb")),
    ("SelfManagedEventSource", "endpoints", ("self-managed-kafka",)),
    ("AmazonManagedKafkaEventSourceConfig", "managed_kafka", ("kafka",)),
    ("SelfManagedKafkaEventSourceConfig", "own_kafka", ("self-managed-kafka",)),
    ("DocumentDBEventSourceConfig", "documentdb", ("documentdb",)),
    ("ProvisionedPollerConfig", "pollers", (*_KAFKA, "sqs")),
)
_GROUPS = {"kafka": "managed_kafka", "self-managed-kafka": "own_kafka"}
_NESTED: tuple[tuple[str, tuple[str, ...]], ...] = (("DestinationConfig", (*STREAMS, *_KAFKA)), ("ScalingConfig", ("sqs",)))
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "kinesis": ("StartingPosition",), "dynamodb": ("StartingPosition",), "documentdb": ("StartingPosition",), "kafka": ("StartingPosition", "Topics"),
    "self-managed-kafka": ("StartingPosition", "Topics"), "mq": ("Queues",),
}


# ---- operations ------------------------------------------------------------------------------------------------------

async def create_event_source_mapping(call: Call, params: Params) -> Params:
    """Let a function have the records of a source."""
    source = params.get("EventSourceArn")
    kind = kind_of(source, self_managed="SelfManagedEventSource" in params)
    if kind is None:
        raise InvalidParameter(reason="Unrecognized event source.")
    for member in _NEEDED.get(kind, ()):
        if params.get(member) is None:
            raise _null(member)
    _check_position(params, kind, source)
    id, said = str(uuid.uuid4()), _said(params, kind)
    if kind in _GROUPS:     # who reads a topic by no name of a group does so by the mapping's own
        said["further"][_GROUPS[kind]] = {"ConsumerGroupId": id} | said["further"].get(_GROUPS[kind], {})
    fields = {"kind": kind, "source": source, "modified": call.now, **defaults_of(kind), **said}
    mapping = SourceMapping(function=await _function(call, params), **fields)
    _check_batches(mapping)
    check_tags(params.get("Tags") or {})
    await call.attached.source_mappings.create(_owner(call), id, mapping)
    if params.get("Tags"):
        await call.attached.tags.add(_arn(call, id), params["Tags"])
    return _described(call, id, mapping, state="Creating")


async def get_event_source_mapping(call: Call, params: Params) -> Params:
    """One mapping."""
    return _described(call, params["UUID"], await _found(call, params))


async def update_event_source_mapping(call: Call, params: Params) -> Params:
    """Change a mapping: its function, how records are gathered, or whether it is at work."""
    before = await _found(call, params)
    said = _said(params, before.kind, before)
    if params.get("FunctionName"):
        said["function"] = await _function(call, params)
    mapping = dataclasses.replace(before, modified=call.now, **said)
    _check_batches(mapping)
    await call.attached.source_mappings.keep(_owner(call), params["UUID"], mapping)
    state = "Updating" if mapping.enabled == before.enabled else "Enabling" if mapping.enabled else "Disabling"
    return _described(call, params["UUID"], mapping, state=state)


async def delete_event_source_mapping(call: Call, params: Params) -> Params:
    """Take a function its source."""
    mapping = await _found(call, params)
    await call.attached.source_mappings.forget(_owner(call), params["UUID"])
    await call.attached.tags.forget(_arn(call, params["UUID"]))
    return _described(call, params["UUID"], mapping, state="Deleting")


async def list_event_source_mappings(call: Call, params: Params) -> Params:
    """The mappings of this account and region, or those of one source or function."""
    source, function = params.get("EventSourceArn"), _wanted(call, params)
    mappings = await call.attached.source_mappings.of(_owner(call))
    chosen = [
        (id, mapping) for id, mapping in mappings.items()
        if source in (None, mapping.source) and function in (None, mapping.function.removesuffix(f":{LATEST}"))
    ]
    shown, marker = page(chosen, lambda item: item[0], params, most=100)
    return {"EventSourceMappings": [_described(call, id, mapping) for id, mapping in shown], "NextMarker": marker}


OPERATIONS: Answers = {
    "CreateEventSourceMapping": create_event_source_mapping, "GetEventSourceMapping": get_event_source_mapping,
    "UpdateEventSourceMapping": update_event_source_mapping, "DeleteEventSourceMapping": delete_event_source_mapping,
    "ListEventSourceMappings": list_event_source_mappings,
}


# ---- whose, and of what ----------------------------------------------------------------------------------------------

def _owner(call: Call) -> str:
    return f"{call.account}:{call.region}"


def _arn(call: Call, id: str) -> str:
    return f"arn:aws:lambda:{call.region}:{call.account}:event-source-mapping:{id}"


async def _found(call: Call, params: Params) -> SourceMapping:
    mapping = await call.attached.source_mappings.find(_owner(call), params["UUID"])
    if mapping is None:
        raise ResourceMissing()
    return mapping


async def _function(call: Call, params: Params) -> str:
    """The ARN of the function, version or alias that is to get the records."""
    target = target_of(call, params["FunctionName"], None)
    if not exists(call, target):
        raise InvalidParameter(reason="Function does not exist")
    return target.invoked


def _wanted(call: Call, params: Params) -> str | None:
    if not params.get("FunctionName"):
        return None
    target = target_of(call, params["FunctionName"], None)
    return target.arn if target.qualifier in (None, LATEST) else f"{target.arn}:{target.qualifier}"


# ---- what is said ----------------------------------------------------------------------------------------------------

def _said(params: Params, kind: str, before: SourceMapping | None = None) -> dict[str, Any]:
    """The fields that a request sets; raises InvalidParameter for those that a source of this kind does not have."""
    for member, kinds in [*((member, kinds) for member, _, kinds in (*_MEMBERS, *_FURTHER)), *_NESTED]:
        if params.get(member) is not None and kinds is not None and kind not in kinds:
            raise InvalidParameter(reason=f"Unsupported {member} parameter for given event source mapping type.")
    said: dict[str, Any] = {field: _frozen(params[member]) for member, field, _ in _MEMBERS if params.get(member) is not None}
    if params.get("Enabled") is not None:
        said["enabled"] = params["Enabled"]
    if params.get("FilterCriteria") is not None:
        said["filters"] = _filters(params["FilterCriteria"])
    if params.get("DestinationConfig") is not None:
        said["on_failure"] = _destination(params["DestinationConfig"])
    if params.get("ScalingConfig") is not None:
        said["concurrency"] = params["ScalingConfig"].get("MaximumConcurrency")
    further = {name: params[member] for member, name, _ in _FURTHER if params.get(member) is not None}
    said["further"] = {**(before.further if before else {}), **further}
    return said


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _filters(criteria: Params) -> tuple[str, ...]:
    patterns = tuple(one.get("Pattern") or "" for one in criteria.get("Filters") or ())
    if not all(map(is_pattern, patterns)):
        raise InvalidParameter(reason="Invalid filter pattern definition.")
    return patterns


def _destination(config: Params) -> str | None:
    if config.get("OnSuccess"):
        raise InvalidParameter(reason="Unsupported DestinationConfig parameter for given event source mapping type.")
    destination: str | None = (config.get("OnFailure") or {}).get("Destination")
    return destination or None


def _check_position(params: Params, kind: str, source: str | None) -> None:
    if params.get("StartingPosition") != "AT_TIMESTAMP":
        return
    if kind == "dynamodb":
        raise InvalidParameter(reason=f"Unsupported starting position for arn type: {source}")
    if params.get("StartingPositionTimestamp") is None:
        raise _null("StartingPositionTimestamp")


def _check_batches(mapping: SourceMapping) -> None:
    if mapping.kind != "sqs":
        return
    if mapping.batching_window and (mapping.source or "").endswith(".fifo"):
        raise InvalidParameter(reason="Batching window is not supported for FIFO queues")
    if (mapping.batch_size or 0) > 10 and not mapping.batching_window:
        raise InvalidParameter(reason="Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")


def _null(member: str) -> InvalidParameter:
    name = member[:1].lower() + member[1:]
    return InvalidParameter(reason=f"1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null.")


# ---- answers ---------------------------------------------------------------------------------------------------------

def _described(call: Call, id: str, mapping: SourceMapping, *, state: str | None = None) -> Params:
    members = {member: getattr(mapping, field) for member, field, _ in _MEMBERS}
    further = {member: mapping.further.get(name) for member, name, _ in _FURTHER}
    streams = mapping.kind in STREAMS
    return {
        **members, **further,
        "UUID": id,
        "EventSourceMappingArn": _arn(call, id),
        "EventSourceArn": mapping.source,
        "FunctionArn": mapping.function,
        "LastModified": mapping.modified,
        "State": state or ("Enabled" if mapping.enabled else "Disabled"),
        "StateTransitionReason": "User action" if streams else "USER_INITIATED",
        "LastProcessingResult": "No records processed" if streams else None,
        "FilterCriteria": {"Filters": [{"Pattern": pattern} for pattern in mapping.filters]} if mapping.filters else None,
        "DestinationConfig": {"OnFailure": {"Destination": mapping.on_failure}} if streams or mapping.on_failure else None,
        "ScalingConfig": {"MaximumConcurrency": mapping.concurrency} if mapping.concurrency else None,
    }
