"""Drawing pages: templates, style sheet and script of admin_ui, which lies beside the package in the repository and inside it in the wheel."""
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from microlam.admin import charts, code, logs, words
from microlam.admin.facts import error_line, traceback_text
from microlam.model import Invocation, Outcome

if TYPE_CHECKING:
    from jinja2 import Environment

_PACKAGE = Path(__file__).parent.parent
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_STATIC_NAME = re.compile(r"[a-z0-9_-]+\.(css|js|svg)")     # no slash and no leading dot: nothing outside the folder has such a name


@cache
def ui_folder() -> Path:
    """Where templates, style sheet and script are."""
    packed = _PACKAGE / "admin_ui"
    return packed if packed.is_dir() else _PACKAGE.parent / "admin_ui"


def page(template: str, facts: Mapping[str, object]) -> bytes:
    """A page, drawn; whatever it is told is shown as text."""
    # A handler's output may hold lone surrogates, which are no characters.
    return fragment(template, facts).encode("utf-8", "replace")


def fragment(template: str, facts: Mapping[str, object]) -> str:
    """A part of a page, drawn."""
    return _templates().get_template(template).render(facts)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    environment = Environment(
        loader=FileSystemLoader(ui_folder() / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters |= {
        "traceback": traceback_text, "error_line": error_line,
        "duration": words.duration, "size": words.size, "count": words.count, "moment": words.moment,
        "pretty": code.pretty, "json": code.json_marked, "code": code.code_marked, "log_lines": logs.lines_of,
    }
    environment.globals |= {
        "share": words.share, "ran": words.ran, "status_words": words.STATUS_WORDS, "status_marks": words.STATUS_MARKS,
        "columns_chart": charts.columns, "lines_chart": charts.lines, "sparkline": charts.sparkline, "split_bar": charts.split, "span": charts.span,
        "chart_table": charts.table,
        "stamp": _stamp,
    }
    return environment


@cache
def _stamp() -> str:
    """Changes with style sheet and script, so that browsers may keep them until then."""
    return f"{max(path.stat().st_mtime_ns for path in (ui_folder() / 'static').iterdir()):x}"


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
    return fragment("error.html", {
        "base": f"{prefix}/", "outcome": outcome, "invocation": invocation, "heading": error_line(error), "details": details,
        "function": invocation.arn.rpartition(":")[2],
        "status": outcome.status.replace("_", " ") if outcome.error else "succeeded, but its reply was refused",
        "logs": outcome.logs.decode(errors="replace"), "started": outcome.started_at or invocation.queued_at, "duration": outcome.duration * 1000,
    })
