"""Lists a page at a time: a marker names the last thing that was shown, so pages neither repeat nor skip what stays."""
from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import TypeVar

from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter

T = TypeVar("T")

_AFTER = "after:"       # so that a marker is never empty, whatever the key


def page(things: Iterable[T], key: Callable[[T], str], params: Params, *, most: int = 50) -> tuple[list[T], str | None]:
    """The things of one page in the order of their keys, and the marker that leads on; None: there are no more."""
    after = _read_marker(params.get("Marker"))
    left = sorted((thing for thing in things if after is None or key(thing) > after), key=key)
    size = min(params.get("MaxItems") or most, most)
    shown = left[:size]
    return shown, _marker(key(shown[-1])) if len(left) > size else None


def _marker(key: str) -> str:
    return base64.urlsafe_b64encode(f"{_AFTER}{key}".encode()).decode()


def _read_marker(marker: str | None) -> str | None:
    if not marker:
        return None
    try:
        text = base64.urlsafe_b64decode(marker).decode()
    except (binascii.Error, UnicodeError):
        text = ""
    if not text.startswith(_AFTER):
        raise InvalidParameter(reason="Invalid marker.")
    return text.removeprefix(_AFTER)
