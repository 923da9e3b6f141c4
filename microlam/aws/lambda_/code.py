"""Code that a request brings along or points at, and times as Lambda writes them."""
from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from microlam.aws.call import Call
from microlam.aws.errors import Unsupported
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter


class ObjectMissing(InvalidParameter):
    """Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"""


async def archive_of(call: Call, said: Params) -> bytes:
    """The zip in a request, or the one that is a file in a bucket's folder."""
    if said.get("ImageUri"):
        raise Unsupported(operation="container images (ImageUri)")
    if said.get("ZipFile") is not None:
        if said.get("S3Bucket") or said.get("S3Key") or said.get("S3ObjectVersion"):
            raise InvalidParameter(reason="Please do not provide other FunctionCode parameters when providing a ZipFile.")
        content: bytes = said["ZipFile"]
        return content
    if not said.get("S3Bucket") or not said.get("S3Key"):
        raise InvalidParameter(reason="Please provide a source for function code.")
    folder = call.buckets.place(said["S3Bucket"])
    if not folder.is_dir():
        raise ObjectMissing(code="NoSuchBucket", message="The specified bucket does not exist")
    file = (folder / said["S3Key"]).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise ObjectMissing(code="NoSuchKey", message="The specified key does not exist.")
    if said.get("S3ObjectVersion") not in (None, "null"):       # as in a bucket without versioning
        raise ObjectMissing(code="NoSuchVersion", message="The specified version does not exist.")
    return await asyncio.to_thread(file.read_bytes)


def written_instant(instant: datetime) -> str:
    """`2026-11-24T06:00:00.000+0000`, as Lambda writes most times."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03}+0000"
