"""What a form or a program sent along: fields and files, or a body of JSON; and single values out of them."""
from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict, MultiMapping

from microlam.admin.asking import Asked
from microlam.errors import InvalidParameter, RequestTooLarge
from microlam.gateway.body import read_body

FORM_LIMIT = 24 * 1024 * 1024       # an event of 6 MB, with every character written as %22
UPLOAD_LIMIT = 512 * 1024 * 1024
UPLOAD_DEADLINE = 600.0


async def read_form(asked: Asked) -> Asked:
    """The same, with the form or the body that came along."""
    request = asked.request
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return dataclasses.replace(asked, form=await _uploaded(request))
    body = await read_body(request, limit=FORM_LIMIT, silence=10, deadline=60)
    if kind != "application/x-www-form-urlencoded":
        return dataclasses.replace(asked, body=body)
    return dataclasses.replace(asked, form=MultiDict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)))


async def _uploaded(request: web.BaseRequest) -> MultiDict[str | web.FileField]:
    """Fields and files; the files lie on disk, not in memory."""
    try:
        async with asyncio.timeout(UPLOAD_DEADLINE):
            posted = await request.clone(client_max_size=UPLOAD_LIMIT).post()
    except web.HTTPRequestEntityTooLarge:
        raise RequestTooLarge(reason=f"Files of more than {UPLOAD_LIMIT // 1024 ** 2} MB are better copied into the bucket's folder.") from None
    except ValueError as error:
        raise InvalidParameter(reason=f"The form cannot be read: {error}.") from None
    return MultiDict((name, value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value) for name, value in posted.items())


# ---- single values ---------------------------------------------------------------------------------------------------

def whole(name: str, value: object, *, most: int | None = None) -> int | None:
    """A number from 1; None where it was not given."""
    if value is None or value == "":
        return None
    text = str(value)
    fits = not isinstance(value, bool) and text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0
    if not fits or (most is not None and int(text) > most):
        allowed = "a whole number, 1 or more" if most is None else f"a whole number from 1 to {most}"
        raise InvalidParameter(reason=f"{name} is {text[:40]!r}; it must be {allowed}.")
    return int(text)


def one_of(name: str, allowed: Sequence[str], text: str | None) -> str | None:
    """One of these words; None where none was given."""
    if text and text not in allowed:
        raise InvalidParameter(reason=f"{name} is {text[:40]!r}; it must be one of {', '.join(allowed)}.")
    return text or None


def known(query: MultiMapping[str], *names: str) -> MultiMapping[str]:
    """A query that asks for nothing but this; `said` is every page's."""
    unknown = sorted(query.keys() - {*names, "said"})
    if unknown:
        raise InvalidParameter(reason=f"There is no parameter {', '.join(name[:40] for name in unknown)}; there are {', '.join(names)}.")
    return query


def instant(name: str, value: object) -> datetime:
    """An ISO 8601 instant; without an offset it is UTC."""
    try:
        read = datetime.fromisoformat(str(value))
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter(reason=f"{name} is {str(value)[:40]!r}; it must be an instant in ISO 8601, such as 2026-03-29T02:00:00Z.") from None


def wish(asked: Asked, example: str) -> Mapping[str, object]:
    """What a program asked for as JSON, or a person in a form; fields left empty are left out."""
    if asked.form:
        return {name: value for name, value in asked.form.items() if value != "" and name != "csrf"}
    try:
        wished = json.loads(asked.body or b"{}")
    except ValueError as error:
        raise InvalidParameter(reason=f"The body is not JSON: {error}.") from None
    if not isinstance(wished, dict):
        raise InvalidParameter(reason=f"The body must be an object such as {example}.")
    return wished


def json_payload(text: str) -> bytes:
    """An event as it was typed; raises InvalidParameter where that is not JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(reason=f"The event is not JSON: {error}.") from None
    return text.encode("utf-8", "replace")
