"""AWS's own sentences for members that are missing, too long, too large, or not of the right form.

How AWS words and orders them was read off its recorded answers: a structure's later members come first; of one member's limits the
upper, the lower, then its pattern or its set; a list or map of single values is named once, with every rule of its elements.
"""
from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from microlam.aws.errors import ValidationFailed
from microlam.aws.tables import Shape

_NOT_NULL = "Member must not be null"
_TEXTS = ("string",)
_SIZED = ("string", "blob", "list", "map")
_NUMBERS = ("integer", "long", "float", "double", "bigdecimal", "biginteger")


def check(shape: Shape, params: Mapping[str, Any]) -> None:
    """Raise ValidationFailed where members break what the table says of them."""
    sentences = list(_structure(shape, params, ""))
    if sentences:
        raise ValidationFailed(count=len(sentences), s="" if len(sentences) == 1 else "s", sentences="; ".join(sentences))


def _structure(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in reversed(shape.members):
        member = shape.members[name]
        at = path + name[:1].lower() + name[1:]
        found = value.get(name)
        if found is not None:
            yield from _value(member.shape, found, at)
        elif name in shape.required:
            yield f"Value null at '{at}' failed to satisfy constraint: {_NOT_NULL}"


def _value(shape: Shape, value: Any, at: str) -> Iterator[str]:
    for rule in _broken(shape, value):
        yield _sentence(value, at, rule, secret=shape.sensitive)
    yield from _inside(shape, value, at)


def _inside(shape: Shape, value: Any, at: str) -> Iterator[str]:
    """What is wrong below: with members, elements, keys and values."""
    if shape.kind == "structure":
        yield from _structure(shape, value, at + ".")
    elif shape.kind == "list":
        yield from _together(shape, shape.items.shape, value, value, at, "Member must satisfy constraint", nullable=shape.sparse)
        yield from _each(shape.items.shape, {f"{at}.{number}.member": item for number, item in enumerate(value, 1)})
    elif shape.kind == "map":
        yield from _together(shape, shape.keys.shape, list(value), value, at, "Map keys must satisfy constraint", nullable=True)
        yield from _together(shape, shape.values.shape, list(value.values()), value, at, "Map value must satisfy constraint", nullable=False)
        yield from _each(shape.values.shape, {f"{at}.{key}.member": item for key, item in value.items()})


def _together(shape: Shape, element: Shape, items: Sequence[Any], whole: Any, at: str, words: str, *, nullable: bool) -> Iterator[str]:
    """One sentence about all elements, with every rule they have."""
    if any(not nullable if item is None else _broken(element, item) for item in items):
        rules = [*_rules(element), *([] if nullable else [_NOT_NULL])]
        yield _sentence(whole, at, f"{words}: [{', '.join(rules)}]", secret=shape.sensitive or element.sensitive)


def _each(element: Shape, items: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong below each element; their own limits were named together."""
    for at, item in items.items():
        if item is not None:
            yield from _inside(element, item, at)


# ---- rules -----------------------------------------------------------------------------------------------------------

def _rules(shape: Shape) -> Iterator[str]:
    """Every rule of a shape, in AWS's order."""
    noun = "value" if shape.kind in _NUMBERS else "length"
    if shape.maximum is not None:
        yield f"Member must have {noun} less than or equal to {_limit(shape, shape.maximum)}"
    if shape.minimum is not None:
        yield f"Member must have {noun} greater than or equal to {_limit(shape, shape.minimum)}"
    if shape.pattern is not None and shape.kind in _TEXTS:
        yield f"Member must satisfy regular expression pattern: {shape.pattern}"
    if shape.enum:
        yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _broken(shape: Shape, value: Any) -> list[str]:
    """The rules that a value breaks."""
    return [rule for rule, kept in zip(_rules(shape), _kept(shape, value), strict=True) if not kept] if _limited(shape) else []


def _kept(shape: Shape, value: Any) -> Iterator[bool]:
    size = len(value) if shape.kind in _SIZED else value
    if shape.maximum is not None:
        yield size <= shape.maximum
    if shape.minimum is not None:
        yield size >= shape.minimum
    if shape.pattern is not None and shape.kind in _TEXTS:
        yield compiled(shape.pattern).fullmatch(value) is not None
    if shape.enum:
        yield value in shape.enum


def _limited(shape: Shape) -> bool:
    return (shape.maximum is not None or shape.minimum is not None or shape.pattern is not None or bool(shape.enum)) and shape.kind in (*_SIZED, *_NUMBERS)


def _limit(shape: Shape, limit: float) -> str:
    return java_text(float(limit)) if shape.kind in ("float", "double") else str(int(limit))


@lru_cache(maxsize=512)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the tables, which is Java's, as Python understands it: `\\p{L}` spelled out, a hyphen after `\\w` taken literally."""
    python = re.sub(r"\\p\{([LNZ])\}", lambda found: _category(found[1]), pattern)
    return re.compile(re.sub(r"(\\[wds])-(?!\])", r"\1\\-", python), re.ASCII)


@cache
def _category(letter: str) -> str:
    """A Unicode category of the basic plane as ranges for a character class."""
    codes = [code for code in range(0x10000) if unicodedata.category(chr(code))[0] == letter]
    runs = itertools.groupby(enumerate(codes), lambda pair: pair[1] - pair[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(group) for _, group in runs)]
    return "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in ends)


# ---- sentences -------------------------------------------------------------------------------------------------------

def _sentence(value: Any, at: str, rule: str, *, secret: bool) -> str:
    shown = "" if secret else f" '{java_text(value)}'"
    return f"Value{shown} at '{at}' failed to satisfy constraint: {rule}"


def java_text(value: Any) -> str:
    """A value as Java prints it: `[a, b]`, `{2=0.5}`, `true`."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "{" + ", ".join(f"{key}={java_text(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(java_text, value)) + "]"
        case bytes():
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    return str(value)
