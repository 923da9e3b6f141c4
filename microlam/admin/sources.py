"""A function's code: the files of any version, and what differs between two of them, or one and the folder as it is now."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from microlam.admin.asking import Asked, page
from microlam.admin.code import Package, difference, unpacked, zipped
from microlam.admin.facts import Facts
from microlam.admin.finding import address_of, function_named
from microlam.admin.forms import one_of
from microlam.errors import NotFound
from microlam.model import LATEST
from microlam.packages import code_in, files_under

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function

FOLDER = "folder"       # the files as they are now, whether or not they run
_NEVER_CODE = ("events", "tests")


async def show(lam: Microlam, asked: Asked) -> Facts:
    """The files of a version, one of them shown; or what differs between two versions."""
    function = function_named(lam, asked.names["name"])
    choices = [*([FOLDER] if function.file else []), LATEST, *(version.number for version in lam.functions.versions(function.arn))]
    chosen = one_of("version", choices, asked.query.get("version")) or LATEST
    against = one_of("against", choices, asked.query.get("against"))
    package = await _package(lam, function, chosen)
    facts: Facts = {
        "name": function.name, "arn": function.arn, "address": address_of(lam, function.arn), "choices": choices, "version": chosen, "against": against,
        "files": [{"path": path, "size": size} for path, size in package.sizes.items()], "file": None, "text": None, "differences": None,
    }
    if against is not None:
        before = await _package(lam, function, against)
        return facts | {"differences": await asyncio.to_thread(differences, before, package)}
    path = asked.query.get("file") or _first(function, package)
    if path is not None and path not in package.sizes:
        raise NotFound(reason=f"{chosen} of {function.name} has no file {path}.")
    return facts | {"file": path, "text": None if path is None else await asyncio.to_thread(package.text, path)}


async def _package(lam: Microlam, function: Function, chosen: str) -> Package:
    snapshot = await lam.functions.snapshot(function.arn, LATEST if chosen == FOLDER else chosen)
    place = lam.functions.zip(snapshot.sha256)
    if place is None:
        raise NotFound(reason=f"The code of {function.name} {chosen} is not kept any more.")
    package = await asyncio.to_thread(zipped, place)
    if chosen != FOLDER:
        return package
    source = Path(function.latest.source)
    return await asyncio.to_thread(unpacked, source, {*package.sizes, *await asyncio.to_thread(_beside, function, source)})


def _beside(function: Function, source: Path) -> list[str]:
    """The handler's file, and all else in the folder of a function that has one of its own: some may be too new to run."""
    if function.file is None:
        return []
    own = function.file.resolve().relative_to(source.resolve()).as_posix()
    whole_folder = own == function.handler.rpartition(".")[0].replace(".", "/") + ".py" and function.name == source.name
    return [own, *(files_under(source, [name for name in code_in(source) if name not in _NEVER_CODE]) if whole_folder else ())]


def _first(function: Function, package: Package) -> str | None:
    """The file with the handler."""
    module = function.handler.rpartition(".")[0].replace(".", "/")
    return next((path for path in package.sizes if path.rpartition(".")[0] == module), next(iter(package.sizes), None))


def differences(before: Package, after: Package) -> list[Facts]:
    """File by file, those that are the same left out."""
    found: list[Facts] = []
    for path in sorted({*before.sizes, *after.sizes}):
        old, new = before.text(path), after.text(path)
        lines = difference(old or "", new or "")
        if lines or (path in before.sizes) != (path in after.sizes):
            found.append({
                "path": path, "change": "added" if path not in before.sizes else "removed" if path not in after.sizes else "changed",
                "lines": [{"mark": line.mark, "before": line.before, "after": line.after, "text": line.text} for line in lines],
            })
    return found


ROUTES = (page("functions/{name}/code", show, "code.html"),)
