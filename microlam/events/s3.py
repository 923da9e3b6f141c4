"""The event that S3 sends when an object is put or removed."""
from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from urllib.parse import quote_plus

PUT = "ObjectCreated:Put"
DELETE = "ObjectRemoved:Delete"


def s3_event(*, bucket: str, key: str, name: str, time: datetime, sequencer: str, request_id: str, region: str, account: str,
             configuration_id: str, size: int | None = None, etag: str | None = None) -> dict[str, object]:
    """What a handler gets; `size` and `etag` are the put object's, and absent of a removed one."""
    return {"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventName": name,
        "userIdentity": {"principalId": f"AWS:{account}"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": _response_elements(request_id),
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": account}, "arn": f"arn:aws:s3:::{bucket}"},
            "object": _object(key, size, etag, sequencer),
        },
    }]}


def _object(key: str, size: int | None, etag: str | None, sequencer: str) -> dict[str, object]:
    # S3 encodes as an HTML form would, but leaves the slashes: "in/a b(1).png" → "in/a+b%281%29.png".
    encoded = quote_plus(key, safe="/")
    if size is None:
        return {"key": encoded, "sequencer": sequencer}
    return {"key": encoded, "size": size, "eTag": etag, "sequencer": sequencer}


def _response_elements(request_id: str) -> dict[str, str]:
    """The two ids of S3's answer, in their usual form, always the same for one invocation."""
    digest = hashlib.sha512(request_id.encode()).digest()
    return {"x-amz-request-id": digest[:8].hex().upper(), "x-amz-id-2": base64.b64encode(digest[8:64]).decode()}
