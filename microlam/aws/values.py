"""Single values as text on the wire and back: numbers, instants in AWS's three spellings, blobs."""
from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import orjson

from microlam.aws.errors import Unreadable
from microlam.aws.tables import Shape

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_EPOCH = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def read_text(shape: Shape, text: str) -> object:
    """A value from text: a header, a path label, an XML element."""
    try:
        match shape.kind:
            case "integer" | "long" | "biginteger":
                return int(text)
            case "float" | "double" | "bigdecimal":
                return _NUMBERS[text] if text in _NUMBERS else float(text)
            case "boolean":
                return _boolean(text)
            case "timestamp":
                return read_instant(text)
            case "blob":
                return read_blob(text)
            case _:
                return text
    except ValueError:
        raise Unreadable(reason=f"{text!r} is not a value of type {shape.kind}.") from None


def write_text(shape: Shape, value: object, timestamp_format: str) -> str:
    """A value as text; `timestamp_format` is what its place asks for, unless the shape says another."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return write_instant(value, timestamp_format)
    if isinstance(value, bytes):
        return write_blob(value)
    return write_number(value) if isinstance(value, float) else str(value)


def write_number(value: float) -> str:
    """As AWS writes it: what JSON has no number for is a word."""
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def read_number(text: str) -> float:
    return _NUMBERS[text] if text in _NUMBERS else float(text)


def read_json_value(text: str) -> object:
    """JSON in a header, which is base64."""
    try:
        return orjson.loads(base64.b64decode(text))
    except ValueError:
        raise Unreadable(reason="A header does not hold JSON as base64.") from None


def write_json_value(value: object) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()


def read_blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Unreadable(reason="A binary member is not base64.") from None


def write_blob(value: bytes | str) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()


def read_instant(value: str | float) -> datetime:
    """An instant from seconds since 1970, from ISO 8601, or from an HTTP date, whichever was sent."""
    if not isinstance(value, str):
        return datetime.fromtimestamp(value, UTC)
    if _EPOCH.fullmatch(value):
        return datetime.fromtimestamp(float(value), UTC)
    instant = parsedate_to_datetime(value) if "," in value else datetime.fromisoformat(value)
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def write_instant(value: datetime, format: str) -> str:
    """An instant in one of AWS's spellings: iso8601, rfc822 or unixTimestamp."""
    if format == "rfc822":
        return format_datetime(value.astimezone(UTC).replace(microsecond=0), usegmt=True)
    if format == "unixTimestamp":
        return str(seconds(value))
    text = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{value.microsecond // 1000:03}Z" if value.microsecond >= 1000 else text + "Z"


def seconds(value: datetime) -> int | float:
    """Seconds since 1970, to the millisecond."""
    stamp = round(value.timestamp(), 3)
    return int(stamp) if stamp.is_integer() else stamp


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"
