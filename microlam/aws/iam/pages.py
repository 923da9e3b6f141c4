"""IAM's lists, a page at a time, and what roles and policies have in common on the wire."""
from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from microlam.aws.errors import Invalid
from microlam.aws.protocol import Params

T = TypeVar("T")
PAGE = 100


def paged(member: str, things: Iterable[T], name: Callable[[T], str], described: Callable[[T], Any], params: Params) -> Params:
    """A page of `things` in the order of their names, as members; a marker holds the last name of the page before."""
    after, most = _name_in(params.get("Marker")), params.get("MaxItems", PAGE)
    rest = sorted((thing for thing in things if after is None or name(thing) > after), key=name)
    page, more = rest[:most], len(rest) > most
    return {
        member: [described(thing) for thing in page],
        "IsTruncated": more,
        "Marker": base64.b64encode(name(page[-1]).encode()).decode() if more else None,
    }


def _name_in(marker: str | None) -> str | None:
    if marker is None:
        return None
    try:
        return base64.b64decode(marker, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Invalid(reason=f"Invalid Marker: {marker}") from None


def read_tags(tags: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def tag_members(tags: Mapping[str, str]) -> list[Params]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
