"""Code and JSON in colour, and the difference between two versions of a package. Pure functions, all but the reading of files."""
from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from microlam.packages import code_in, files_under

MARKED_LIMIT = 200_000          # characters; longer texts stay plain
SHOWN_LIMIT = 1_000_000         # bytes of one file
FILES_SHOWN = 2_000
CONTEXT = 3                     # lines around a change


# ---- in colour -------------------------------------------------------------------------------------------------------

def pretty(value: object) -> str:
    """A value as indented JSON; text that is no JSON as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def json_marked(value: object) -> Markup:
    """A value as indented JSON in colour."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _marked(text, "json") if len(text) <= MARKED_LIMIT else escape(text)


def python_marked(text: str, name: str = "x.py") -> Markup:
    """A file in colour, after the ending of its name."""
    return _marked(text, name.rpartition(".")[2].lower()) if len(text) <= MARKED_LIMIT else escape(text)


_LEXERS = {"py": "python", "json": "json", "toml": "toml", "js": "javascript", "mjs": "javascript", "cjs": "javascript", "yml": "yaml", "yaml": "yaml",
           "html": "html", "sql": "sql", "sh": "bash", "css": "css", "xml": "xml", "ini": "ini"}


def _marked(text: str, kind: str) -> Markup:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    if kind not in _LEXERS:
        return escape(text)
    lexer = get_lexer_by_name(_LEXERS[kind], stripnl=False, ensurenl=False)
    # Pygments escapes what it marks.
    return Markup(highlight(text, lexer, HtmlFormatter(nowrap=True)))


# ---- packages --------------------------------------------------------------------------------------------------------

def files_of(root: Path, names: Sequence[str] | None = None) -> Mapping[str, int]:
    """The files of a package and their sizes, by path, the shown part of very many."""
    found = files_under(root, code_in(root) if names is None else names)
    return {path: found[path].size for path in sorted(found)[:FILES_SHOWN]}


def text_of(root: Path, path: str) -> str | None:
    """A file of a package as text; None where there is none, or it is no text, or far too long."""
    try:
        data = (root / path).read_bytes()[:SHOWN_LIMIT + 1]
    except OSError:
        return None
    if len(data) > SHOWN_LIMIT or b"\0" in data[:8000]:
        return None
    return data.decode(errors="replace")


@dataclass(frozen=True)
class DiffLine:
    """One line of a difference: ` `, `+`, `-` or `@`, its numbers before and after, and its text."""

    mark: str
    before: int | None
    after: int | None
    text: str


def difference(before: str, after: str) -> list[DiffLine]:
    """What differs between two texts, with a few lines around each change; nothing where they are equal."""
    old, new = before.splitlines(), after.splitlines()
    groups = difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT)
    return [line for group in groups for line in _group(old, new, group)]


def _group(old: Sequence[str], new: Sequence[str], group: Sequence[tuple[str, int, int, int, int]]) -> Iterator[DiffLine]:
    yield DiffLine("@", None, None, f"line {group[0][3] + 1}")
    for kind, from_old, to_old, from_new, to_new in group:
        if kind == "equal":
            yield from (DiffLine(" ", from_old + n + 1, from_new + n + 1, text) for n, text in enumerate(old[from_old:to_old]))
            continue
        yield from (DiffLine("-", from_old + n + 1, None, text) for n, text in enumerate(old[from_old:to_old]))
        yield from (DiffLine("+", None, from_new + n + 1, text) for n, text in enumerate(new[from_new:to_new]))
