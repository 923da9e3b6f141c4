"""The admin's pages: templates and style sheets of admin_ui, which lies beside the package in the repository and inside it in the wheel."""
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from microlam.admin.facts import error_line, traceback_text
from microlam.model import Invocation, Outcome

if TYPE_CHECKING:
    from jinja2 import Environment

_PACKAGE = Path(__file__).parent.parent
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_STATIC_NAME = re.compile(r"[a-z0-9_-]+\.(css|js|svg)")     # no slash and no leading dot: nothing outside the folder has such a name


@cache
def ui_folder() -> Path:
    """Where templates and style sheets are."""
    packed = _PACKAGE / "admin_ui"
    return packed if packed.is_dir() else _PACKAGE.parent / "admin_ui"


def page(name: str, **facts: object) -> bytes:
    """A page, drawn; whatever it is told is shown as text."""
    # A handler's output may hold lone surrogates, which are no characters.
    return _templates().get_template(name).render(facts).encode("utf-8", "replace")


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    environment = Environment(
        loader=FileSystemLoader(ui_folder() / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters["traceback"] = traceback_text
    return environment


def static(name: str) -> tuple[bytes, str] | None:
    """A static file and its type; None where there is none of that name."""
    match = _STATIC_NAME.fullmatch(name)
    file = ui_folder() / "static" / name
    if match is None or not file.is_file():
        return None
    return file.read_bytes(), _TYPES[match[1]]


def error_page(outcome: Outcome, invocation: Invocation, malformed: str | None = None, *, prefix: str = "/_microlam") -> str:
    """What a browser gets for an invocation that failed, or whose reply was refused because it is `malformed`."""
    error: Mapping[str, object] = outcome.error or {"errorType": "Malformed reply", "errorMessage": malformed or ""}
    details = traceback_text(error) if outcome.error else f"{malformed}\n\nIt replied:\n{outcome.payload[:4000].decode(errors='replace')}"
    return page(
        "error.html", prefix=prefix, outcome=outcome, invocation=invocation, heading=error_line(error), details=details,
        function=invocation.arn.rpartition(":")[2], status=outcome.status.replace("_", " ") if outcome.error else "succeeded, but its reply was refused",
        record=f"{prefix}/invocations/{invocation.id}.json", logs=outcome.logs.decode(errors="replace"),
        started=f"{(outcome.started_at or invocation.queued_at).astimezone():%Y-%m-%d %H:%M:%S}", duration=f"{outcome.duration * 1000:.1f} ms",
    ).decode()
