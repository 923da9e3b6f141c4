"""Lists a page at a time: a marker names the last thing that was shown, so pages neither repeat nor skip what stays."""
from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import TypeVar

from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter

T = TypeVar("T")


def page(things: Iterable[T], key: Callable[[T], str], params: Params, *, most: int = 50) -> tuple[list[T], str | None]:
    """The things of one page in the order of their keys, and the marker that leads on; None: there are no more."""
    after = _read_marker(params.get("Marker"))
    left = sorted((thing for thing in things if after is None or key(thing) > after), key=key)
    size = min(params.get("MaxItems") or most, most)
    shown = left[:size]
    return shown, base64.urlsafe_b64encode(key(shown[-1]).encode()).decode() if len(left) > size else None


def _read_marker(marker: str | None) -> str | None:
    try:
        return base64.urlsafe_b64decode(marker).decode() if marker else None
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidParameter(reason="Invalid marker.") from None
