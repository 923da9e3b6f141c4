"""A request's body, whole and within limits, before anything is asked for: a slow or silent client holds a connection, never a worker."""
from __future__ import annotations

import asyncio

from aiohttp import HttpVersion11, web

from microlam.errors import RequestTooLarge


async def read_body(request: web.BaseRequest, *, limit: int, silence: float, deadline: float) -> bytes:
    """The body; raises RequestTooLarge past `limit` bytes, TimeoutError when `deadline` seconds have passed or the client is silent for `silence`,
    web.RequestPayloadError where it is malformed or the client leaves before its end.
    """
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    content = request.content
    if content.is_eof() and content.exception() is None:
        body = content.read_nowait()
    else:
        await _encourage(request)
        body = await _gather(request, limit, silence, deadline)
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _gather(request: web.BaseRequest, limit: int, silence: float, deadline: float) -> bytes:
    """Chunks until the end, or until they are more than `limit`."""
    now = asyncio.get_running_loop().time
    end = now() + deadline
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout_at(end) as timeout:
        while size <= limit:
            timeout.reschedule(min(now() + silence, end))
            try:
                chunk = await request.content.readany()
            except ConnectionError:
                raise web.RequestPayloadError("the client has left") from None
            if not chunk:
                break
            chunks.append(chunk)
            size += len(chunk)
    return b"".join(chunks)


async def _encourage(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body; an Application has told it already."""
    if isinstance(request, web.Request) or request.version < HttpVersion11 or request.headers.get("Expect", "").lower() != "100-continue":
        return
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # The reply has not begun.


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(reason=f"Request must be smaller than {limit} bytes.")
