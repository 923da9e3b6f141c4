"""HTTP events from a template: requests that are alike, as those of one client to one address are, differ only in time, id and body.

To make the whole event for each would cost more than all else that is done for a request.
"""
from __future__ import annotations

import os
from datetime import datetime

from microlam.events.http import HttpFacts, body_of, event_bytes, request_time, v2_event
from microlam.routes import Match

# Stands where a request's own values go. No client can know it.
_OPEN = os.urandom(16).hex()
_OPEN_JSON = f'"{_OPEN}"'.encode()
_NO_BODY = b',"isBase64Encoded":false}'


class Template:
    """The event of payload format 2.0 for requests that are like this one, with `match` and `summary`, what is known of them."""

    __slots__ = ("_content_type", "_end", "_length", "_parts", "_root", "match", "size", "summary")

    def __init__(self, facts: HttpFacts, match: Match, summary: str, *, prefix: str = "") -> None:
        self.match, self.summary = match, summary
        event = v2_event(facts._replace(body=b""), match, prefix=prefix)
        headers, context = event["headers"], event["requestContext"]
        assert isinstance(headers, dict)
        assert isinstance(context, dict)
        self._content_type = headers.get("content-type", "")
        # A trace that the client has begun goes on: then it is the same for requests that are alike.
        begun = any(name.lower() == "x-amzn-trace-id" for name, _ in facts.headers)
        for name in ("content-length",) if begun else ("content-length", "x-amzn-trace-id"):
            headers[name] = _OPEN
        for name in ("requestId", "time", "timeEpoch"):
            context[name] = _OPEN
        before, after, *parts, end = event_bytes(event).split(_OPEN_JSON)
        self._length = before
        self._root = None if begun else after
        self._parts = [after, *parts] if begun else parts
        self._end = end.removesuffix(_NO_BODY)
        self.size = sum(map(len, (before, after, *parts, end)))

    def event(self, id: str, now: datetime, body: bytes) -> bytes:
        """The event of one request, as JSON."""
        seconds = now.timestamp()
        trace = b"" if self._root is None else b'%b"Root=1-%08x-%b"' % (self._root, int(seconds), id.replace("-", "")[-24:].encode())
        before_id, before_time, before_epoch = self._parts
        return b'%b"%d"%b%b"%b"%b"%b"%b%d%b%b' % (
            self._length, len(body), trace, before_id, id.encode(), before_time, request_time(int(seconds)), before_epoch, int(seconds * 1000),
            self._end, self._body(body) if body else _NO_BODY,
        )

    def _body(self, body: bytes) -> bytes:
        text, encoded = body_of(body, self._content_type)
        return b',"body":%b,"isBase64Encoded":%b}' % (event_bytes(text), b"true" if encoded else b"false")
