"""Code on its way in and out: a zip from the request or from a bucket, and an address that downloads it again."""
from __future__ import annotations

import asyncio
from pathlib import Path

from microlam.aws.call import Call
from microlam.aws.errors import Unsupported
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter


class NotGot(InvalidParameter):
    """Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"""


async def archive_of(call: Call, source: Params) -> bytes:
    """The zip that a request brings, or names in a bucket."""
    if source.get("ImageUri"):
        raise Unsupported(operation="container images (ImageUri)")
    in_bucket = [source[member] for member in ("S3Bucket", "S3Key", "S3ObjectVersion") if source.get(member)]
    if source.get("ZipFile") is not None:
        if in_bucket:
            raise InvalidParameter(reason="Please do not provide other FunctionCode parameters when providing a ZipFile.")
        return bytes(source["ZipFile"])
    if not source.get("S3Bucket") or not source.get("S3Key"):
        raise InvalidParameter(reason="Please provide a source for function code.")
    return await asyncio.to_thread(_object, call.buckets.place(source["S3Bucket"]), source["S3Key"], source.get("S3ObjectVersion"))


def _object(bucket: Path, key: str, version: str | None) -> bytes:
    """The content of an object in a bucket's folder."""
    if not bucket.is_dir():
        raise NotGot(code="NoSuchBucket", message="The specified bucket does not exist")
    path = (bucket / key).resolve()
    if not path.is_relative_to(bucket.resolve()) or not path.is_file():
        raise NotGot(code="NoSuchKey", message="The specified key does not exist.")
    if version not in (None, "null"):       # as in a bucket without versioning
        raise NotGot(code="NoSuchVersion", message="The specified version does not exist.")
    return path.read_bytes()


def location(call: Call, kind: str, sha256: str) -> str:
    """An address that downloads a zip of code or of a layer."""
    return call.downloads.link(call.origin, kind, sha256)
