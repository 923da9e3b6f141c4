"""The server itself: whether it is ready, its settings, what its record takes; and the files its pages load."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from microlam import __version__
from microlam.admin.asking import Asked, Done, action, data, page
from microlam.admin.facts import Facts
from microlam.admin.forms import one_of
from microlam.admin.pages import static
from microlam.admin.permission import THEME, Permission
from microlam.errors import NotFound
from microlam.settings import GROUPS, Setting

if TYPE_CHECKING:
    from microlam.app import Microlam

THEMES = ("light", "dark")


async def health(lam: Microlam, asked: Asked) -> Facts:
    """Whether the server is ready; a probe without the token learns that, and no more."""
    told: Facts = {"status": "ready", "version": __version__}
    if asked.permission is Permission.NOTHING:
        return told
    functions = lam.functions.all()
    trouble = [f"Invocations are not recorded: {lam.store.error}"] if lam.store.error else []
    return told | {
        "functions": [function.name for function in functions],
        "errors": [{"function": function.name, **function.error} for function in functions if function.error],
        "warnings": [*trouble, *lam.functions.warnings, *(f"{function.name}: {warning}" for function in functions for warning in function.warnings)],
    }


async def settings(lam: Microlam, asked: Asked) -> Facts:
    """Every setting with its value and where it came from."""
    record = await lam.store.size()
    return {
        "groups": [{"title": title, "settings": [_setting(lam, setting) for setting in group]} for title, group in GROUPS.items()],
        "version": __version__, "folder": str(lam.folder), "data": str(lam.settings.data), "data_size": await asyncio.to_thread(_size_of, lam.settings.data),
        "record": {"invocations": record.invocations, "oldest": record.oldest.isoformat() if record.oldest else None, "bytes": record.bytes},
        "retention": {"days": lam.settings.retention_days, "count": lam.settings.retention_count},
    }


def _setting(lam: Microlam, setting: Setting) -> Facts:
    value = getattr(lam.settings, setting.name)
    shown = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return {
        "name": setting.name, "flag": setting.flag, "variable": setting.variable, "help": setting.help, "origin": lam.settings.origins.get(setting.name, ""),
        "secret": setting.secret, "value": ("set" if value else None) if setting.secret else shown,
    }


def _size_of(folder: Path) -> Facts:
    """Bytes of the record, of copies of code, and of the rest."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                first = path.relative_to(folder).parts[0]
                part = "record" if first.startswith("microlam.db") else first if first in ("packages", "requirements", "buckets") else "other"
                sizes[part] = sizes.get(part, 0) + path.stat().st_size
        except OSError:         # gone since
            continue
    return {**sizes, "total": sum(sizes.values())}


async def theme(lam: Microlam, asked: Asked) -> Done:
    """Light, dark, or as the system has it; remembered by the browser."""
    return Done(to=asked.field("next"), cookies={THEME: one_of("theme", THEMES, asked.field("theme")) or ""})


async def files(lam: Microlam, asked: Asked) -> web.Response:
    """The style sheet, the script, the icon."""
    found = static(asked.names["name"])
    if found is None:
        raise NotFound(reason=f"There is nothing at {asked.request.path}.")
    body, content_type = found
    return web.Response(body=body, headers={"Content-Type": content_type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"})


ROUTES = (
    data("health", health, needs=Permission.NOTHING), page("settings", settings, "settings.html"), data("static/{name}", files, needs=Permission.NOTHING),
    action("theme", theme, needs=Permission.NOTHING),
)
