"""JSON bodies: a shape's value out of a parsed document, and back."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import orjson

from microlam.aws.errors import Unreadable
from microlam.aws.tables import Member, Shape
from microlam.aws.values import read_blob, read_instant, read_number, seconds, write_blob, write_instant, write_number

T = TypeVar("T")


def read(shape: Shape, value: object, member: Member | None = None) -> Any:
    """What a document says of a shape; what the shape does not know is left out, as AWS leaves it out."""
    if value is None or shape.document:
        return value
    if member is not None and member.json_value:
        return orjson.loads(_expected(str, value, shape))
    return _READERS.get(shape.kind, _read_string)(shape, value)


def _read_structure(shape: Shape, value: object) -> dict[str, Any]:
    found = _expected(dict, value, shape)
    return {
        name: read(member.shape, found[member.wire], member) for name, member in shape.members.items()
        if found.get(member.wire) is not None
    }


def _read_list(shape: Shape, value: object) -> list[Any]:
    element = shape.items.shape
    return [read(element, item) for item in _expected(list, value, shape)]


def _read_map(shape: Shape, value: object) -> dict[str, Any]:
    element = shape.values.shape
    return {key: read(element, item) for key, item in _expected(dict, value, shape).items()}


def _read_string(shape: Shape, value: object) -> str:
    return _expected(str, value, shape)


def _read_blob(shape: Shape, value: object) -> bytes:
    return read_blob(_expected(str, value, shape))


def _read_boolean(shape: Shape, value: object) -> bool:
    return _expected(bool, value, shape)


def _read_integer(shape: Shape, value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool):
        raise _converted(value, shape)
    return _expected(int, value, shape)


def _read_float(shape: Shape, value: object) -> float:
    try:
        if isinstance(value, str):
            return read_number(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    except ValueError:
        pass
    raise _converted(value, shape)


def _read_timestamp(shape: Shape, value: object) -> datetime:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return read_instant(value)
    except (ValueError, OverflowError):
        pass
    raise _converted(value, shape)


_READERS: Mapping[str, Callable[[Shape, object], Any]] = {
    "structure": _read_structure, "list": _read_list, "map": _read_map, "blob": _read_blob, "boolean": _read_boolean, "timestamp": _read_timestamp,
    "integer": _read_integer, "long": _read_integer, "biginteger": _read_integer,
    "float": _read_float, "double": _read_float, "bigdecimal": _read_float,
}


def write(shape: Shape, value: Any, member: Member | None = None) -> Any:
    """A value as JSON can carry it; members that are None are left out."""
    if value is None or shape.document:
        return value
    if member is not None and member.json_value:
        return orjson.dumps(value).decode()
    match shape.kind:
        case "structure":
            return write_members(shape.members.values(), value)
        case "list":
            return [write(shape.items.shape, item) for item in value]
        case "map":
            return {key: write(shape.values.shape, item) for key, item in value.items()}
        case "blob":
            return write_blob(value)
        case "timestamp":
            return _write_timestamp(value, (member and member.timestamp_format) or shape.timestamp_format or "unixTimestamp")
    # JSON has no NaN and no Infinity: AWS writes the words.
    return value if not isinstance(value, float) or math.isfinite(value) else write_number(value)


def write_members(members: Iterable[Member], value: Mapping[str, Any]) -> dict[str, Any]:
    """Some members of a structure, under their names on the wire."""
    return {member.wire: write(member.shape, value[member.name], member) for member in members if value.get(member.name) is not None}


def _write_timestamp(value: object, format: str) -> object:
    if not isinstance(value, datetime):
        return value
    return seconds(value) if format == "unixTimestamp" else write_instant(value, format)


_NAMES = {"string": "a String", "integer": "an Integer", "long": "a Long", "boolean": "a Boolean", "blob": "a Blob", "timestamp": "a Timestamp"}


def _expected(kind: type[T], value: object, shape: Shape) -> T:
    if not isinstance(value, kind):
        raise _converted(value, shape)
    return value


def _converted(value: object, shape: Shape) -> Unreadable:
    """AWS names the token that its parser saw, and what it should have been."""
    match value:
        case dict():
            return Unreadable(reason="Start of structure or map found where not expected.")
        case list():
            return Unreadable(reason="Start of list found where not expected")
        case bool():
            token = "TRUE_VALUE" if value else "FALSE_VALUE"
        case str():
            token = "STRING_VALUE"
        case _:
            token = "NUMBER_VALUE"
    return Unreadable(reason=f"{token} can not be converted to {_NAMES.get(shape.kind, f'a {shape.kind.capitalize()}')}")
