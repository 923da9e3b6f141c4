"""Zips over plain HTTP: addresses that whoever asked may pass on, and that hold for ten minutes."""
from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp import web

PREFIX = "/_aws/download/"
VALID = 600         # seconds

Find = Callable[[str], Path | None]


class Downloads:
    """Makes addresses and answers them; `places` tells by kind where a zip with a certain hash is."""

    def __init__(self, places: Mapping[str, Find]) -> None:
        self._places = places
        self._secret = secrets.token_bytes(32)

    def link(self, origin: str, kind: str, sha256: str) -> str:
        """An address of a zip, by its hash in base64."""
        path, until = f"{PREFIX}{kind}/{base64.b64decode(sha256).hex()}.zip", int(time.time()) + VALID
        return f"{origin}{path}?expires={until}&signature={self._signature(path, until)}"

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """The zip at an address; 403 where we did not make it, or too long ago."""
        kind, _, name = request.path.removeprefix(PREFIX).partition("/")
        until = request.query.get("expires", "")
        given = request.query.get("signature", "")
        if not until.isdecimal() or int(until) < time.time() or not hmac.compare_digest(given, self._signature(request.path, int(until))):
            return web.Response(status=403, text="This address does not hold, or no longer. Ask GetFunction for another.\n")
        path = self._places[kind](base64.b64encode(bytes.fromhex(name.removesuffix(".zip"))).decode())
        if path is None:
            return web.Response(status=404, text="This code is not kept any more.\n")
        return web.Response(body=await asyncio.to_thread(path.read_bytes), content_type="application/zip")

    def _signature(self, path: str, until: int) -> str:
        return hmac.new(self._secret, f"{path} {until}".encode(), hashlib.sha256).hexdigest()
