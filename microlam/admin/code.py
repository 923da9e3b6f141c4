"""Code and JSON in colour, and the difference between two versions of a package. Pure functions, all but the reading of files."""
from __future__ import annotations

import difflib
import json
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

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


def code_marked(text: str, name: str = "x.py") -> Markup:
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

@dataclass(frozen=True)
class Package:
    """The files of a version: their sizes by path, and where they lie, in a zip or in a folder."""

    sizes: Mapping[str, int]
    place: Path

    def text(self, path: str) -> str | None:
        """A file as text; None where there is none, or it is no text, or far too long."""
        if self.sizes.get(path, SHOWN_LIMIT + 1) > SHOWN_LIMIT:
            return None
        try:
            data = self._read(path)
        except OSError:
            return None
        return None if b"\0" in data[:8000] else data.decode(errors="replace")

    def _read(self, path: str) -> bytes:
        if self.place.is_dir():
            return (self.place / path).read_bytes()
        with zipfile.ZipFile(self.place) as archive:
            return archive.read(path)


def zipped(place: Path) -> Package:
    """What is in a version's zip."""
    with zipfile.ZipFile(place) as archive:
        found = sorted((info.filename, info.file_size) for info in archive.infolist() if not info.is_dir())
    return Package(dict(found[:FILES_SHOWN]), place)


def unpacked(folder: Path, names: Collection[str]) -> Package:
    """Files in a folder, as they are now; of those that are named, what is still there."""
    return Package({name: (folder / name).stat().st_size for name in sorted(names) if (folder / name).is_file()}, folder)


# ---- differences -----------------------------------------------------------------------------------------------------

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
