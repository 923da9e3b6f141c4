"""Words: what a search looks for, and whether something holds it. Pure functions.

A word is a run of letters and digits, of any script and in any case; a search finds whole words. What stands around them in the
search (`50%`, `/orders/4711`, `order_id`) must stand there too. JSON's escapes count as what they mean, also in JSON within JSON.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import orjson

from microlam.errors import InvalidParameter

LIMIT = 1000                    # characters of a search

# Python's letters and digits, and what else FTS5's tokenizer takes for a part of a word: some marks above the letter before them, private characters.
_LETTER = "(?:[^\\W_]|[\u0300-\u0304\u0306-\u030c\u030f\u0311\u031b\u0323-\u0328\u032d\u032e\u0330\u0331\ue000-\uf8ff])"
_WORD = re.compile(f"{_LETTER}+")
_ASCII_RUN = re.compile(r"[A-Za-z0-9]+")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def check(q: str) -> None:
    """Refuse a search that is too long."""
    if len(q) > LIMIT:
        raise InvalidParameter(reason=f"q may have at most {LIMIT} characters")


def words(q: str) -> list[str]:
    """All words of a search, each once."""
    return list(dict.fromkeys(_WORD.findall(_text(q))))


def match(words: Sequence[str]) -> str:
    """An FTS5 query for all of these words."""
    return " AND ".join(f"({' OR '.join(_cases(word))})" for word in words)


def likes(q: str) -> str | None:
    """What LIKE can tell beforehand, as JSON: patterns of letters that must occur, however they are written in JSON. None: nothing is sought."""
    runs = [max(_ASCII_RUN.findall(part), key=len, default="") for part in q.split()]
    return orjson.dumps([f"%{run}%" for run in runs if run]).decode() if runs else None


def holds(q: str, *texts: bytes | str | None) -> bool:
    """Whether every part of a search occurs in one of the texts."""
    spelled = [text for text in texts if text]
    return all(any(_holds(pattern, text) for text in spelled) for pattern in _patterns(q))


def spelled_out(text: bytes | str) -> str:
    """All words of a text: as it stands, with its escapes as what they mean, and theirs."""
    return " ".join(word for spelling in _spellings(text) for word in _WORD.findall(spelling))


def _cases(word: str) -> list[str]:
    # FTS5 knows no case that depends on what stands beside a letter, as the Greek sigma's does.
    return [f'"{case}"' for case in (dict.fromkeys([word, word.lower(), word.upper()]) if not word.isascii() else [word])]


def _holds(pattern: re.Pattern[str], text: bytes | str) -> bool:
    return any(pattern.search(spelling.lower()) for spelling in _spellings(text))


@lru_cache(maxsize=64)
def _patterns(q: str) -> tuple[re.Pattern[str], ...]:
    return tuple(map(_pattern, _text(q).split()))


def _pattern(part: str) -> re.Pattern[str]:
    before = f"(?<!{_LETTER})" if _WORD.match(part) else ""
    after = f"(?!{_LETTER})" if _WORD.match(part[-1]) else ""
    return re.compile(before + re.escape(part.lower()) + after)


def _spellings(text: bytes | str) -> list[str]:
    found = [text if isinstance(text, str) else text.decode(errors="replace")]
    while len(found) < 3 and "\\" in found[-1]:
        found.append(_unescaped(found[-1]))
    return found


def _unescaped(text: str) -> str:
    meant = _ESCAPE.sub(lambda escape: _meaning(escape[1]), text)
    # Two escapes that are a pair of surrogates are one character.
    return meant.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if "\\u" in text else meant


def _meaning(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _SHORT.get(escape, escape)


def _text(text: str) -> str:
    # Lone surrogates, which SQLite refuses, stand for nothing that can be found.
    return text if text.isascii() else text.encode(errors="replace").decode()
