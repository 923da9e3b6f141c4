"""The events with records of a stream: Kinesis's, and those that DynamoDB tells of a table's changes."""
from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import datetime

Item = Mapping[str, object]     # as DynamoDB writes it: {"Id": {"N": "101"}}


def stream_event(records: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """What a handler gets: a batch of records."""
    return {"Records": list(records)}


def kinesis_record(*, data: bytes, partition_key: str, sequence: str, shard: str, stream_arn: str, role_arn: str, arrived_at: datetime) -> dict[str, object]:
    """One record of a Kinesis stream."""
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": partition_key,
            "sequenceNumber": sequence,
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": round(arrived_at.timestamp(), 3),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role_arn,
        "awsRegion": stream_arn.split(":")[3],
        "eventSourceARN": stream_arn,
    }


def dynamodb_record(
    *, id: str, name: str, keys: Item, new: Item | None, old: Item | None, sequence: str, stream_arn: str, changed_at: datetime,
) -> dict[str, object]:
    """One change of a table (INSERT, MODIFY or REMOVE), as a stream that shows both images tells it."""
    images: dict[str, object] = {}
    if new is not None:
        images["NewImage"] = new
    if old is not None:
        images["OldImage"] = old
    return {
        "eventID": id,
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": stream_arn.split(":")[3],
        "dynamodb": {
            "ApproximateCreationDateTime": int(changed_at.timestamp()),
            "Keys": keys,
            **images,
            "SequenceNumber": sequence,
            "SizeBytes": len(json.dumps([keys, new, old], separators=(",", ":"))),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": stream_arn,
    }
