"""Where the zips of functions and layers download from: addresses that whoever has one may use for ten minutes, as AWS's are."""
from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

# Under a date, as all of this API: nothing of it can be a route of somebody's functions.
PREFIX = "/2015-03-31/downloads/"
VALID = 600     # seconds


class Downloads:
    """Signs addresses of files in one folder, and answers them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._secret = folder.resolve(), secrets.token_bytes(32)

    def address(self, origin: str, file: Path, now: datetime) -> str:
        """Where a file downloads from, on the server that its reader knows as `origin`."""
        name, expires = file.resolve().relative_to(self._folder).as_posix(), int(now.timestamp()) + VALID
        return f"{origin}{PREFIX}{name}?expires={expires}&signature={self._signature(name, expires)}"

    def serve(self, path: str, arguments: Mapping[str, str]) -> web.StreamResponse:
        """The file that an address names; 403 where it was not given out, or too long ago."""
        name, expires = path.removeprefix(PREFIX), arguments.get("expires", "")
        signed = expires.isdecimal() and hmac.compare_digest(self._signature(name, int(expires)), arguments.get("signature", ""))
        if not signed or int(expires) < datetime.now(UTC).timestamp():
            return web.Response(status=403, text="This address was not given out by this server, or too long ago. Ask for the function or layer again.\n")
        file = self._folder / name
        return web.FileResponse(file) if file.is_file() else web.Response(status=404, text="This zip is there no longer.\n")

    def _signature(self, name: str, expires: int) -> str:
        return hmac.digest(self._secret, f"{name}?{expires}".encode(), "sha256").hex()
