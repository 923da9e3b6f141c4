"""The event with messages of a queue."""
from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime


def sqs_event(records: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """What a handler gets: a batch of messages."""
    return {"Records": list(records)}


def sqs_record(
    *, id: str, receipt_handle: str, body: str, queue_arn: str, sent_at: datetime, received_at: datetime, sender: str, receives: int = 1,
    attributes: Mapping[str, str] | None = None, message_attributes: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, object]:
    """One message; `attributes` are those of a FIFO queue (MessageGroupId, …), absent of others, and `receives` counts how often it was taken."""
    return {
        "messageId": id,
        "receiptHandle": receipt_handle,
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": _milliseconds(sent_at),
            "SenderId": sender,
            "ApproximateFirstReceiveTimestamp": _milliseconds(received_at),
            **(attributes or {}),
        },
        "messageAttributes": {name: _attribute(said) for name, said in (message_attributes or {}).items()},
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def _attribute(said: Mapping[str, object]) -> dict[str, object]:
    return {**said, "stringListValues": [], "binaryListValues": []}


def _milliseconds(instant: datetime) -> str:
    return str(int(instant.timestamp() * 1000))
