"""Events to try a handler with, by the builders that make the real ones. Sources and types are named as by `sam local generate-event`.

A type's fields are the parameters of its function.
"""
from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from microlam.errors import InvalidParameter
from microlam.events.http import HttpFacts, split_target, v2_event
from microlam.events.s3 import DELETE, PUT, s3_event
from microlam.events.schedule import scheduled_event
from microlam.events.sns import sns_event
from microlam.events.sqs import sqs_event, sqs_record
from microlam.events.stream import dynamodb_record, kinesis_record, stream_event
from microlam.model import DEFAULT_ACCOUNT, DEFAULT_REGION, Trigger, function_arn, new_id
from microlam.routes import ANY, METHODS, RouteTable, parse_route

Event = dict[str, object]
SEQUENCE = "49590338271490256608559692538361571095921575989136588898"


def http_api_proxy(
    *, method: str = "GET", path: str = "/", query: str = "", body: str = "", content_type: str = "application/json", route: str = "",
    host: str = "localhost", account: str = DEFAULT_ACCOUNT,
) -> Event:
    """A request to an HTTP API, payload 2.0; unless it is said, the route is `$default`."""
    method = method.upper()
    if method == ANY or method not in METHODS:
        raise InvalidParameter(reason=f"{method} is not the method of a request; use one of {', '.join(METHODS[:-1])}.")
    if not path.startswith("/"):
        raise InvalidParameter(reason=f"The path {path!r} does not begin with a slash; write /{path}")
    target = f"{path}?{query}" if query else path
    found = RouteTable([Trigger(target=function_arn("function", account=account), when=parse_route(route or "$default"))]).match(method, path)
    if found is None:
        raise InvalidParameter(reason=f"{method} {path} is not a request of the route {route}.")
    headers = [("Host", host), ("User-Agent", "microlam"), *([("Content-Type", content_type)] if body else [])]
    path, query = split_target(target)
    return v2_event(HttpFacts(
        method=method, path=path, query=query, headers=headers, body=body.encode(), host=host, time=datetime.now(UTC), request_id=new_id(),
    ), found)


def scheduled(*, time: str = "", rule: str = "my-rule-1", region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT) -> Event:
    """A schedule's turn, now or as of another time (ISO 8601)."""
    due = instant(time) if time else datetime.now(UTC)
    return scheduled_event(f"arn:aws:events:{region}:{account}:rule/{rule}", due, str(uuid.uuid4()), region, account)


def s3_put(
    *, bucket: str = "my-bucket", key: str = "my-key.txt", size: int = 1024, region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT,
) -> Event:
    """An object that was put into a bucket."""
    return _s3(PUT, bucket, key, region, account, size)


def s3_delete(*, bucket: str = "my-bucket", key: str = "my-key.txt", region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT) -> Event:
    """An object that was removed from a bucket."""
    return _s3(DELETE, bucket, key, region, account)


def _s3(name: str, bucket: str, key: str, region: str, account: str, size: int | None = None) -> Event:
    return s3_event(
        bucket=bucket, key=key, name=name, time=datetime.now(UTC), sequencer=secrets.token_hex(9).upper(), request_id=new_id(), region=region,
        account=account, configuration_id="my-configuration", size=size, etag=None if size is None else hashlib.md5(key.encode()).hexdigest(),
    )


def receive_message(
    *, body: str = "Hello from SQS!", queue: str = "my-queue", region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT,
) -> Event:
    """A message of a queue."""
    now = datetime.now(UTC)
    return sqs_event([sqs_record(
        id=str(uuid.uuid4()), receipt_handle=secrets.token_urlsafe(48), body=body, queue_arn=f"arn:aws:sqs:{region}:{account}:{queue}",
        sent_at=now, received_at=now, sender=account,
    )])


def notification(
    *, message: str = "Hello from SNS!", subject: str = "my subject", topic: str = "my-topic", region: str = DEFAULT_REGION,
    account: str = DEFAULT_ACCOUNT,
) -> Event:
    """A notification of a topic."""
    arn = f"arn:aws:sns:{region}:{account}:{topic}"
    return sns_event(
        id=str(uuid.uuid4()), message=message, subject=subject, topic_arn=arn, subscription_arn=f"{arn}:{uuid.uuid4()}", time=datetime.now(UTC),
    )


def get_records(
    *, data: str = "Hello from Kinesis!", partition_key: str = "my-key", stream: str = "my-stream", region: str = DEFAULT_REGION,
    account: str = DEFAULT_ACCOUNT,
) -> Event:
    """A record of a Kinesis stream."""
    return stream_event([kinesis_record(
        data=data.encode(), partition_key=partition_key, sequence=SEQUENCE, shard="shardId-000000000000", arrived_at=datetime.now(UTC),
        stream_arn=f"arn:aws:kinesis:{region}:{account}:stream/{stream}", role_arn=f"arn:aws:iam::{account}:role/my-role",
    )])


def update(
    *, table: str = "my-table", change: str = "MODIFY", keys: str = '{"Id": {"N": "101"}}', new: str = '{"Id": {"N": "101"}, "Message": {"S": "new"}}',
    old: str = '{"Id": {"N": "101"}, "Message": {"S": "old"}}', region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT,
) -> Event:
    """A change of a DynamoDB table: INSERT, MODIFY or REMOVE; keys and images as JSON."""
    if change not in ("INSERT", "MODIFY", "REMOVE"):
        raise InvalidParameter(reason=f"{change!r} is not a change of a table; it is INSERT, MODIFY or REMOVE.")
    now = datetime.now(UTC)
    return stream_event([dynamodb_record(
        id=secrets.token_hex(16), name=change, keys=_item(keys), new=None if change == "REMOVE" else _item(new), old=None if change == "INSERT" else _item(old),
        sequence=SEQUENCE[:21], stream_arn=f"arn:aws:dynamodb:{region}:{account}:table/{table}/stream/{now:%Y-%m-%dT%H:%M:%S.000}", changed_at=now,
    )])


def _item(text: str) -> Mapping[str, object]:
    try:
        item = json.loads(text)
    except ValueError:
        item = None
    if not isinstance(item, dict):
        raise InvalidParameter(reason=f'{text!r} is not an item; write JSON as {{"Id": {{"N": "101"}}}}.')
    return item


def instant(text: str) -> datetime:
    """An ISO 8601 instant; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter(reason=f"{text!r} is not an instant; write it in ISO 8601, as 2026-03-29T02:00:00Z.") from None


SOURCES: Mapping[str, Mapping[str, Callable[..., Event]]] = {
    "apigateway": {"http-api-proxy": http_api_proxy},
    "cloudwatch": {"scheduled-event": scheduled},
    "dynamodb": {"update": update},
    "kinesis": {"get-records": get_records},
    "s3": {"put": s3_put, "delete": s3_delete},
    "sns": {"notification": notification},
    "sqs": {"receive-message": receive_message},
}


def generate(source: str, kind: str, **fields: object) -> Event:
    """An event of a source's type, as `generate("s3", "put", bucket="uploads")`."""
    kinds = SOURCES.get(source)
    if kinds is None:
        raise InvalidParameter(reason=f"There is no source {source!r} of events; there are: {', '.join(SOURCES)}.")
    if kind not in kinds:
        raise InvalidParameter(reason=f"{source} has no event {kind!r}; it has: {', '.join(kinds)}.")
    return kinds[kind](**fields)
