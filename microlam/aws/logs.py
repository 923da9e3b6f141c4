"""CloudWatch Logs over the record: what functions printed, by log group and stream."""
from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from microlam.aws.call import Answers, Call, Events
from microlam.aws.errors import Invalid
from microlam.aws.protocol import Params
from microlam.errors import BadRequest
from microlam.log_patterns import BadPattern, matcher
from microlam.model import new_id
from microlam.resources.logs import LAST, LogEvent, LogGroup, Search, after, microseconds
from microlam.store import LogPlace, LogStreamRow

T = TypeVar("T")

DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
PAGE = 50
EVENTS = 10_000
_TOKEN = re.compile(r"([fb])/(\d{1,19})/([0-9a-f-]*)/(\d{1,13})")

# A live tail tells every second what is new, as far as everybody has said so.
TAIL_EVERY = 1.0
TAIL_BEHIND = timedelta(seconds=0.25)
TAIL_MOST = 500
TAIL_LASTS = timedelta(hours=3)


class InvalidParameter(BadRequest):
    """{reason}"""

    code = "InvalidParameterException"


class Protected(Invalid):
    """The log group is protected against deletion. Turn its deletion protection off first."""

    code = "ValidationException"


# ---- groups ----------------------------------------------------------------------------------------------------------

async def create_log_group(call: Call, params: Params) -> Params:
    """A group that exists before anything is logged in it."""
    await call.logs.create(LogGroup(
        name=params["logGroupName"], owner=_owner(call), created_at=call.now, category=params.get("logGroupClass", "STANDARD"), key=params.get("kmsKeyId"),
        protected=params.get("deletionProtectionEnabled", False), tags=params.get("tags", {}),
    ))
    return {}


async def delete_log_group(call: Call, params: Params) -> Params:
    group = await call.logs.find(_owner(call), params["logGroupName"])
    if group.protected:
        raise Protected()
    await call.logs.remove(_owner(call), group.name)
    return {}


async def describe_log_groups(call: Call, params: Params) -> Params:
    prefix, pattern = params.get("logGroupNamePrefix"), params.get("logGroupNamePattern")
    if prefix and pattern:
        raise InvalidParameter(reason="LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    groups = (await call.logs.of(_owner(call))).values()
    named = {_group_name(identifier) for identifier in params["logGroupIdentifiers"]} if "logGroupIdentifiers" in params else None
    wanted = [
        group for group in groups
        if group.name.startswith(prefix or "") and (pattern or "") in group.name and params.get("logGroupClass", group.category) == group.category
        and (named is None or group.name in named) and group.name > params.get("nextToken", "")
    ]
    page, more = _first(wanted, params.get("limit", PAGE))
    return {"logGroups": [_group(group) for group in page], "nextToken": page[-1].name if more else None}


async def put_retention_policy(call: Call, params: Params) -> Params:
    days = params["retentionInDays"]
    if days not in DAYS:
        raise InvalidParameter(reason=f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                                      f"Member must satisfy enum value set: [{', '.join(map(str, DAYS))}]")
    await _change(call, params["logGroupName"], lambda group: dataclasses.replace(group, retention=days))
    return {}


async def delete_retention_policy(call: Call, params: Params) -> Params:
    await _change(call, params["logGroupName"], lambda group: dataclasses.replace(group, retention=None))
    return {}


async def list_tags_for_resource(call: Call, params: Params) -> Params:
    group = await call.logs.find(_owner(call), _group_name(params["resourceArn"]))
    return {"tags": dict(group.tags)}


async def tag_resource(call: Call, params: Params) -> Params:
    await _change(call, _group_name(params["resourceArn"]), lambda group: dataclasses.replace(group, tags={**group.tags, **params["tags"]}))
    return {}


async def untag_resource(call: Call, params: Params) -> Params:
    gone = set(params["tagKeys"])
    await _change(call, _group_name(params["resourceArn"]), lambda group: dataclasses.replace(
        group, tags={key: value for key, value in group.tags.items() if key not in gone},
    ))
    return {}


async def _change(call: Call, name: str, change: Callable[[LogGroup], LogGroup]) -> None:
    await call.logs.change(_owner(call), name, change)


# ---- streams ---------------------------------------------------------------------------------------------------------

async def describe_log_streams(call: Call, params: Params) -> Params:
    """The streams of a group by name, or by their last event."""
    group = await _group_of(call, params)
    prefix, by_time, limit = params.get("logStreamNamePrefix", ""), params.get("orderBy") == "LastEventTime", params.get("limit", PAGE)
    if by_time and prefix:
        raise InvalidParameter(reason="Cannot order by LastEventTime with a logStreamNamePrefix.")
    after = _stream_token(params.get("nextToken"))
    streams = await call.logs.streams(group, limit + 1, begin=prefix, after=after, by_time=by_time, descending=params.get("descending", False))
    page, more = _first(streams, limit)
    return {"logStreams": [_stream(group, stream) for stream in page], "nextToken": f"{microseconds(page[-1].last_at)}/{page[-1].name}" if more else None}


def _stream_token(token: str | None) -> tuple[int, str] | None:
    if token is None:
        return None
    at, slash, name = token.partition("/")
    if not slash or not at.isdecimal():
        raise InvalidParameter(reason="The specified nextToken is invalid.")
    return int(at), name


# ---- events ----------------------------------------------------------------------------------------------------------

async def get_log_events(call: Call, params: Params) -> Params:
    """The events of one stream, a page at a time and in both directions."""
    group = await _group_of(call, params)
    stream = await call.logs.stream(group, params["logStreamName"])
    token = _read_token(params.get("nextToken"))
    backward, start = token or (not params.get("startFromHead", False), None)
    since, until = max(_micros(params, "startTime", 0), group.begins(call.now)), _micros(params, "endTime", LAST.at)
    start = start or (LogPlace(until) if backward else LogPlace(since))
    page = await call.logs.search(group, Search(start=start, since=since, until=until, streams=[stream.name], backward=backward), params.get("limit", EVENTS))
    events = page.events[::-1] if backward else page.events
    first, last = (events[0].place, after(events[-1].place)) if events else (start, start)
    return {
        "events": [{"timestamp": _millis(event.at), "message": event.message, "ingestionTime": _millis(event.at)} for event in events],
        "nextForwardToken": _token("f", last),
        "nextBackwardToken": _token("b", first),
    }


async def filter_log_events(call: Call, params: Params) -> Params:
    """The events of a group that match a pattern, from all its streams or from some."""
    group = await _group_of(call, params)
    if "logStreamNames" in params and "logStreamNamePrefix" in params:
        raise InvalidParameter(reason="logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")
    token = _read_token(params.get("nextToken"))
    backward, start = token or (not params.get("startFromHead", True), None)
    since, until = max(_micros(params, "startTime", 0), group.begins(call.now)), _micros(params, "endTime", LAST.at - 1000) + 1000
    page = await call.logs.search(group, Search(
        start=start or (LAST if backward else LogPlace(since)), since=since, until=until, matches=_matcher(params.get("filterPattern", "")),
        streams=params.get("logStreamNames"), begin=params.get("logStreamNamePrefix", ""), backward=backward,
    ), params.get("limit", EVENTS))
    return {
        "events": [{**_event(event), "eventId": event.id} for event in page.events],
        "searchedLogStreams": [],
        "nextToken": _token("b" if backward else "f", page.rest) if page.rest else None,
    }


async def start_live_tail(call: Call, params: Params) -> Params:
    """A stream that tells every second what was logged in it."""
    groups = [await call.logs.find(_owner(call), _group_name(identifier)) for identifier in params["logGroupIdentifiers"]]
    names, prefixes = params.get("logStreamNames"), params.get("logStreamNamePrefixes")
    if names and prefixes:
        raise InvalidParameter(reason="logStreamNames and logStreamNamePrefixes are mutually exclusive parameters.")
    begun = {
        "requestId": call.request_id, "sessionId": new_id(), "logGroupIdentifiers": params["logGroupIdentifiers"], "logStreamNames": names or [],
        "logStreamNamePrefixes": prefixes or [], "logEventFilterPattern": params.get("logEventFilterPattern", ""),
    }
    return {"responseStream": _tail(call, groups, begun, _matcher(params.get("logEventFilterPattern", "")), names, tuple(prefixes or ("",)))}


async def _tail(
    call: Call, groups: Sequence[LogGroup], begun: Params, matches: Callable[[str], bool], names: Sequence[str] | None, prefixes: tuple[str, ...],
) -> Events:
    yield "sessionStart", begun
    told = call.now
    while told < call.now + TAIL_LASTS:
        if call.invoker.stopping:
            return
        await asyncio.sleep(TAIL_EVERY)
        now = datetime.now(UTC) - TAIL_BEHIND
        results = list[Params]()
        for group in groups:
            since = microseconds(told)
            page = await call.logs.search(
                group, Search(start=LogPlace(since), since=since, until=microseconds(now), matches=matches, streams=names), TAIL_MOST + 1,
            )
            results += [{**_event(event), "logGroupIdentifier": _owned(group)} for event in page.events if event.stream.startswith(prefixes)]
        told = now
        yield "sessionUpdate", {"sessionMetadata": {"sampled": len(results) > TAIL_MOST}, "sessionResults": results[:TAIL_MOST]}
    yield "SessionTimeoutException", {"message": "The live tail session has been open for three hours."}


# ---- what it is given, and what it gives -----------------------------------------------------------------------------

def _owner(call: Call) -> str:
    return f"{call.account}:{call.region}"


async def _group_of(call: Call, params: Params) -> LogGroup:
    """The group that a call names, by its name or its ARN."""
    name, identifier = params.get("logGroupName"), params.get("logGroupIdentifier")
    if (name is None) is (identifier is None):
        raise InvalidParameter(reason="Exactly one of logGroupName and logGroupIdentifier must be specified.")
    return await call.logs.find(_owner(call), name or _group_name(str(identifier)))


def _group_name(identifier: str) -> str:
    """The name in an identifier: itself, or what stands in an ARN."""
    return identifier.partition(":log-group:")[2].removesuffix(":*") if identifier.startswith("arn:") else identifier


def _owned(group: LogGroup) -> str:
    account, _, _ = group.owner.partition(":")
    return f"{account}:{group.name}"


def _matcher(pattern: str) -> Callable[[str], bool]:
    try:
        return matcher(pattern)
    except BadPattern:
        raise InvalidParameter(reason="Invalid filter pattern") from None


def _first(found: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """As many as are wanted, and whether there are more."""
    return found[:limit], len(found) > limit


def _token(way: str, place: LogPlace) -> str:
    return f"{way}/{place.at}/{place.key}/{place.event}"


def _read_token(token: str | None) -> tuple[bool, LogPlace] | None:
    """Whether a token leads backwards, and from where."""
    if token is None:
        return None
    read = _TOKEN.fullmatch(token)
    if read is None or (read[3] and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", read[3])):
        raise InvalidParameter(reason="The specified nextToken is invalid.")
    return read[1] == "b", LogPlace(int(read[2]), read[3], int(read[4]))


def _micros(params: Params, name: str, default: int) -> int:
    return min(params[name] * 1000, default or LAST.at) if name in params else default


def _millis(instant: datetime) -> int:
    return microseconds(instant) // 1000


def _event(event: LogEvent) -> Params:
    return {"logStreamName": event.stream, "timestamp": _millis(event.at), "message": event.message, "ingestionTime": _millis(event.at)}


def _group(group: LogGroup) -> Params:
    return {
        "logGroupName": group.name, "creationTime": _millis(group.created_at), "retentionInDays": group.retention, "metricFilterCount": 0,
        "arn": f"{group.arn}:*", "storedBytes": group.size, "kmsKeyId": group.key, "logGroupClass": group.category, "logGroupArn": group.arn,
        "deletionProtectionEnabled": group.protected,
    }


def _stream(group: LogGroup, stream: LogStreamRow) -> Params:
    return {
        "logStreamName": stream.name, "creationTime": _millis(stream.first_at), "firstEventTimestamp": _millis(stream.first_at),
        "lastEventTimestamp": _millis(stream.last_at), "lastIngestionTime": _millis(stream.last_at), "uploadSequenceToken": f"{stream.number:056}",
        "arn": f"{group.arn}:log-stream:{stream.name}", "storedBytes": 0,
    }


OPERATIONS: Answers = {
    "CreateLogGroup": create_log_group, "DeleteLogGroup": delete_log_group, "DescribeLogGroups": describe_log_groups,
    "PutRetentionPolicy": put_retention_policy, "DeleteRetentionPolicy": delete_retention_policy, "ListTagsForResource": list_tags_for_resource,
    "TagResource": tag_resource, "UntagResource": untag_resource, "DescribeLogStreams": describe_log_streams, "GetLogEvents": get_log_events,
    "FilterLogEvents": filter_log_events, "StartLiveTail": start_live_tail,
}
