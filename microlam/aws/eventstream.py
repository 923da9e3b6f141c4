"""Frames of application/vnd.amazon.eventstream: length, headers, payload, two checksums.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html describes them.
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from datetime import datetime

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def frame(headers: Mapping[str, object], payload: bytes) -> bytes:
    """One message."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


def _header(name: str, value: object) -> bytes:
    encoded = name.encode()
    return struct.pack("!B", len(encoded)) + encoded + _header_value(value)


def _header_value(value: object) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case int():
            return struct.pack("!Bi", 4, value) if -(1 << 31) <= value < 1 << 31 else struct.pack("!Bq", 5, value)
        case datetime():
            return struct.pack("!Bq", 8, round(value.timestamp() * 1000))
        case bytes():
            return struct.pack("!BH", 6, len(value)) + value
    encoded = str(value).encode()
    return struct.pack("!BH", 7, len(encoded)) + encoded
