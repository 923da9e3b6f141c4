"""Buckets: the objects in each, and dropping files into one, which happens to its functions as any dropped file does."""
from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.facts import Facts, trigger_facts
from microlam.errors import InvalidParameter, NotFound
from microlam.model import split_arn

if TYPE_CHECKING:
    from microlam.app import Microlam

SHOWN = 1000


async def show(lam: Microlam, asked: Asked) -> Facts:
    """A bucket with its objects, those that changed last first, and who listens to it."""
    name = asked.names["name"]
    places = lam.buckets.places()
    place = _place(lam, name)
    prefix = asked.query.get("prefix", "")
    rows = sorted((row for row in (await lam.buckets.objects(name)).values() if row.key.startswith(prefix)), key=lambda row: row.mtime_ns, reverse=True)
    return {
        "name": name, "folder": str(place), "count": len(rows), "prefix": prefix,
        "objects": [{"key": row.key.encode(errors="replace").decode(), "size": row.size, "modified": _instant(row.mtime_ns)} for row in rows[:SHOWN]],
        "drops": [
            trigger_facts(trigger, None, places) | {"function": split_arn(trigger.target)[0].rpartition(":")[2]} for trigger in lam.triggers.drops(name)
        ],
    }


def _instant(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds")


async def upload(lam: Microlam, asked: Asked) -> Done:
    """Drop files into a bucket."""
    name = asked.names["name"]
    place, prefix = _place(lam, name), asked.field("prefix")
    files = [file for file in asked.form.getall("files", []) if isinstance(file, web.FileField) and file.filename]
    if not files:
        raise InvalidParameter(reason="Choose a file first.")
    if lam.buckets.has_lost(name):
        raise NotFound(reason=f"Bucket {name} has lost its folder {place}. Put it back first.")
    keys = [_key(prefix, file.filename) for file in files]
    for key, file in zip(keys, files, strict=True):
        await asyncio.to_thread(drop, place, key, file.file)
    what = keys[0] if len(keys) == 1 else f"{len(keys)} files"
    return Done(to=f"buckets/{quote(name)}", words=f"Dropped {what}; what listens to it is invoked in a moment.", facts={"keys": keys})


def _place(lam: Microlam, name: str) -> Path:
    place = lam.buckets.places().get(name)
    if place is None:
        raise NotFound(reason=f"No function listens to a bucket {name}.")
    return place


def _key(prefix: str, filename: str) -> str:
    key = (prefix.strip("/") + "/" if prefix.strip("/") else "") + filename.replace("\\", "/").rpartition("/")[2]
    if any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in key.split("/")):
        raise InvalidParameter(reason=f"{key!r} cannot be an object's key here: no part of it may be empty or begin with a dot.")
    return key


def drop(place: Path, key: str, source: IO[bytes]) -> None:
    """Write a file whole under a name that is no object, then give it its own, so that nobody sees half of it."""
    target = place / key
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(place.resolve()):
        raise InvalidParameter(reason=f"{key!r} lies outside the bucket.")
    half = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        with half.open("xb") as copy:
            shutil.copyfileobj(source, copy)
        os.replace(half, target)
    finally:
        half.unlink(missing_ok=True)


ROUTES = (page("buckets/{name}", show, "bucket.html"), action("buckets/{name}/upload", upload))
