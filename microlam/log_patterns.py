"""CloudWatch Logs' filter patterns: which log events a search shows. Pure functions.

Three languages in one: words (`ERROR -timeout ?a ?b "a phrase" %regex%`), JSON (`{ $.level = "ERROR" && $.ms > 100 }`) and fields between blanks
(`[ip, user, status=4*, size>100]`). https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""
from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

Matches = Callable[[str], bool]
_Test = Callable[[Any], bool]

_WORDS = re.compile(r'\s*(?P<sign>[-?]?)(?:"(?P<phrase>(?:[^"\\]|\\.)*)"|%(?P<regex>[^%]+)%|(?P<word>[^\s"]+))')
_TOKENS = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<regex>%[^%]+%)|(?P<sign>&&|\|\||!=|<=|>=|[=<>(),])|(?P<selector>\$(?:\.[\w*-]+|\[(?:\d+|\*|"[^"]*"|\'[^\']*\')\])*)'
    r'|(?P<word>[^\s&|!=<>(),"]+))'
)
_PARTS = re.compile(r"\.([\w*-]+)|\[(\d+|\*|\"[^\"]*\"|'[^']*')\]")
_FIELDS = re.compile(r'\[[^\]]*\]|"[^"]*"|\S+')
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "=": operator.eq, "!=": operator.ne,
}
_NOTHING = object()     # what a selector finds where there is nothing


class BadPattern(ValueError):
    """A filter pattern that cannot be read."""


def matcher(pattern: str) -> Matches:
    """Which events match a pattern; the empty one matches all. Raises BadPattern."""
    pattern = pattern.strip()
    try:
        if pattern.startswith("{"):
            return _json_matcher(_inside(pattern, "}"))
        if pattern.startswith("["):
            return _fields_matcher(_inside(pattern, "]"))
        return _words_matcher(pattern)
    except re.error as error:
        raise BadPattern(str(error)) from None


def _inside(pattern: str, end: str) -> str:
    if not pattern.endswith(end):
        raise BadPattern(f"{end} is missing")
    return pattern[1:-1]


# ---- words -----------------------------------------------------------------------------------------------------------

def _words_matcher(pattern: str) -> Matches:
    every, none, some = list[re.Pattern[str]](), list[re.Pattern[str]](), list[re.Pattern[str]]()
    at = 0
    while at < len(pattern):
        word = _WORDS.match(pattern, at)
        if word is None:
            raise BadPattern(pattern[at:])
        {"": every, "-": none, "?": some}[word["sign"]].append(_sought(word))
        at = word.end()
    if every or none:
        some = []       # AWS ignores the optional ones beside others
    return lambda text: (
        all(word.search(text) for word in every) and not any(word.search(text) for word in none) and (not some or any(word.search(text) for word in some))
    )


def _sought(word: re.Match[str]) -> re.Pattern[str]:
    if word["regex"]:
        return re.compile(word["regex"])
    return re.compile(re.escape(word["word"] if word["word"] is not None else _unquoted(f'"{word["phrase"]}"')))


# ---- conditions ------------------------------------------------------------------------------------------------------

class _Reader:
    """Reads conditions with && and || and parentheses, token by token."""

    def __init__(self, text: str) -> None:
        self._tokens = list[tuple[str, str]]()
        at, text = 0, text.rstrip()
        while at < len(text):
            token = _TOKENS.match(text, at)
            if token is None:
                raise BadPattern(text[at:])
            self._tokens.append((str(token.lastgroup), token[token.lastgroup or 0]))
            at = token.end()

    def whole(self) -> _Test:
        test = self.either()
        if self._tokens:
            raise BadPattern(self._tokens[0][1])
        return test

    def either(self) -> _Test:
        tests = [self._both()]
        while self._take("||"):
            tests.append(self._both())
        return lambda value: any(test(value) for test in tests)

    def _both(self) -> _Test:
        tests = [self._one()]
        while self._take("&&"):
            tests.append(self._one())
        return lambda value: all(test(value) for test in tests)

    def _one(self) -> _Test:
        if self._take("("):
            test = self.either()
            if not self._take(")"):
                raise BadPattern("a parenthesis is open")
            return test
        name = self._next()[1]
        select = _selector(name)
        test = self._condition()
        return lambda value: test(select(value))

    def _condition(self) -> _Test:
        kind, sign = self._next()
        if kind == "sign" and sign in _COMPARE:
            return _comparison(sign, *self._next())
        words = f"{sign} {self._next()[1]}".upper()
        return {
            "IS NULL": lambda found: found is None, "IS TRUE": lambda found: found is True, "IS FALSE": lambda found: found is False,
            "NOT EXISTS": lambda found: found is _NOTHING,
        }.get(words) or _raise(words)

    def _take(self, sign: str) -> bool:
        if self._tokens and self._tokens[0] == ("sign", sign):
            del self._tokens[0]
            return True
        return False

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise BadPattern("it ends too early")
        return self._tokens.pop(0)


def _comparison(sign: str, kind: str, wanted: str) -> _Test:
    """A comparison with a number, a text in which * stands for anything, or a regular expression."""
    if kind == "regex":
        regex = re.compile(wanted[1:-1])
        return lambda found: isinstance(found, str) and (regex.search(found) is not None) is (sign == "=")
    number = _number(wanted) if kind == "word" else None
    if number is not None:
        return lambda found: (read := _number(found)) is not None and _COMPARE[sign](read, number)
    if sign not in ("=", "!="):
        raise BadPattern(f"{sign} {wanted}")
    text = re.compile(".*".join(map(re.escape, _unquoted(wanted).split("*"))), re.DOTALL)
    return lambda found: isinstance(found, str) and (text.fullmatch(found) is not None) is (sign == "=")


# ---- JSON ------------------------------------------------------------------------------------------------------------

def _json_matcher(text: str) -> Matches:
    test = _Reader(text).whole()

    def matches(event: str) -> bool:
        try:
            value = json.loads(event)
        except (ValueError, RecursionError):
            return False
        return test(value)

    return matches


def _selector(name: str) -> Callable[[Any], Any]:
    if not name.startswith("$"):
        raise BadPattern(name)
    parts = [property or index.strip("\"'") for property, index in _PARTS.findall(name)]

    def select(value: Any) -> Any:
        for part in parts:
            if isinstance(value, dict):
                value = value.get(part, _NOTHING)
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return _NOTHING
        return value

    return select


# ---- fields between blanks -------------------------------------------------------------------------------------------

def _fields_matcher(text: str) -> Matches:
    """Each part names a field, and may say what it must be; `...` stands for any number of fields."""
    parts = [part.strip() for part in text.split(",")]
    if parts.count("...") > 1:
        raise BadPattern("... may stand once")
    ahead = parts.index("...") if "..." in parts else len(parts)
    behind = len(parts) - ahead - 1
    tests = [None if part == "..." else _field_test(part) for part in parts]

    def matches(event: str) -> bool:
        fields = [field.strip('"') if field[0] == '"' else field for field in _FIELDS.findall(event)]
        if len(fields) != len(parts) and (behind < 0 or len(fields) < len(parts) - 1):
            return False
        chosen: Sequence[str | None] = fields if behind < 0 else [*fields[:ahead], None, *fields[len(fields) - behind:]]
        return all(test is None or test(field) for test, field in zip(tests, chosen, strict=True))

    return matches


def _field_test(part: str) -> _Test | None:
    """What a part asks of its field; None where it only names it."""
    if re.fullmatch(r"[\w-]*", part):
        return None
    # Conditions name the field again and again: each name stands for it.
    return _Reader(re.sub(r"(^|[(&|])\s*[\w-]+\s*(?=[!=<>])", r"\1$ ", part)).whole()


# ---- values ----------------------------------------------------------------------------------------------------------

def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _raise(words: str) -> _Test:
    raise BadPattern(words)
