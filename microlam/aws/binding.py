"""What of an operation travels outside the body: members in a request's path, query and headers, and in a reply's headers."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict

from microlam.aws.errors import Unreadable
from microlam.aws.tables import Member, Operation, Shape
from microlam.aws.values import read_json_value, read_text, write_json_value, write_text


@dataclass(frozen=True, kw_only=True)
class WireRequest:
    """A request as the codec looks at it; `path` is still encoded."""

    method: str
    path: str
    query: str = ""
    headers: CIMultiDict[str] | CIMultiDictProxy[str] = field(default_factory=CIMultiDict)
    body: bytes = b""

    def with_body(self, body: bytes) -> WireRequest:
        return replace(self, body=body)

    @cached_property
    def arguments(self) -> MultiDict[str]:
        return MultiDict(parse_qsl(self.query, keep_blank_values=True))

    @cached_property
    def form(self) -> Sequence[tuple[str, str]]:
        """The members of a query request: in the body, or in the URL."""
        try:
            return [*self.arguments.items(), *parse_qsl(self.body.decode(), keep_blank_values=True)]
        except ValueError:
            raise Unreadable(reason="The body is not a form.") from None


# ---- requests ----------------------------------------------------------------------------------------------------------

def has(request: WireRequest, told_by: Sequence[tuple[str, str, str]]) -> bool:
    """Whether what tells an operation from others on the same path is there: (querystring | header, name, value), any value where that is empty."""
    for place, name, value in told_by:
        given = (request.arguments if place == "querystring" else request.headers).get(name)
        if given is None or (value and given != value):
            return False
    return True


def located(operation: Operation, member: Member, labels: Mapping[str, str], request: WireRequest) -> Any:
    """A member that travels in the path, the query or a header; None where it does not."""
    if member.location == "uri":
        return read_text(member.shape, labels[member.wire])
    if member.location == "querystring":
        return _argument(member, request.arguments, operation.bound_arguments)
    if member.location == "headers":
        prefix = member.wire.lower()
        return {name[len(prefix):]: value for name, value in request.headers.items() if name.lower().startswith(prefix)} or None
    text = request.headers.get(member.wire)
    return None if text is None else _header(member, text)


def _argument(member: Member, arguments: MultiDict[str], bound: frozenset[str]) -> Any:
    shape = member.shape
    if shape.kind == "map":
        return _map_argument(shape, arguments, bound) or None
    texts = arguments.getall(member.wire, [])
    if shape.kind == "list":
        element = shape.items.shape
        return [read_text(element, text) for text in texts] or None
    return read_text(shape, texts[0]) if texts else None


def _map_argument(shape: Shape, arguments: MultiDict[str], bound: frozenset[str]) -> dict[str, Any]:
    several = shape.values.shape.kind == "list"
    return {name: arguments.getall(name) if several else arguments[name] for name in arguments if name not in bound}


def _header(member: Member, text: str) -> Any:
    if member.json_value:
        return read_json_value(text)
    if member.shape.kind != "list":
        return read_text(member.shape, text)
    element = member.shape.items.shape
    # Dates of a list have a comma of their own.
    parts = re.findall(r"[^,]+,[^,]+", text) if element.kind == "timestamp" and "GMT" in text else re.findall(r'"(?:[^"\\]|\\.)*"|[^,]+', text)
    return [read_text(element, re.sub(r"\\(.)", r"\1", part[1:-1]) if part.startswith('"') else part) for part in map(str.strip, parts)]


# ---- replies ----------------------------------------------------------------------------------------------------------

def written(member: Member, value: Any) -> dict[str, str]:
    """A member as a header, or as several that begin alike."""
    if member.location == "headers":
        return {member.wire + name: str(item) for name, item in value.items()}
    if member.json_value:
        return {member.wire: write_json_value(value)}
    shape = member.shape
    if shape.kind == "list":
        return {member.wire: ",".join(_list_item(shape.items.shape, item) for item in value)}
    return {member.wire: write_text(shape, value, member.timestamp_format or shape.timestamp_format or "rfc822")}


def _list_item(shape: Shape, item: Any) -> str:
    text = write_text(shape, item, shape.timestamp_format or "rfc822")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if shape.kind == "string" and ("," in text or '"' in text) else text
