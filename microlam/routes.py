"""Which function answers a request: method and path → target and path parameters, most specific first, as HTTP APIs order them.

A table is built once and never changes; a reload swaps in another. Paths are matched decoded, as API Gateway does: `/a%2Fb` is two segments.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from microlam.errors import InvalidParameter
from microlam.model import Route, Trigger, split_arn

ANY = "ANY"
DEFAULT = "$default"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", ANY)

_VARIABLE = re.compile(r"\{([\w.:-]+)(\+?)\}", re.ASCII)
# The admin's, the wire's, and the AWS APIs' own: /2015-03-31/functions/…
_RESERVED = re.compile(r"/(?:_microlam|_aws|\d{4}-\d{2}-\d{2})(?:/|$)")


# ---- a route as its author writes it ---------------------------------------------------------------------------------

def parse_route(text: str) -> Route:
    """`GET /orders/{id}`, `ANY /files/{path+}` or `$default`, read and checked."""
    words = text.split()
    if words == [DEFAULT]:
        return Route(method=ANY, path=DEFAULT)
    if len(words) == 1:
        raise _bad(text, f'a route is a method and a path: write "ANY /{words[0].lstrip("/")}"')
    if len(words) != 2:
        raise _bad(text, 'a route is one method and one path without blanks, as in "GET /orders/{id}"')
    method, path = words[0].upper(), words[1]
    if method not in METHODS:
        raise _bad(text, f"{words[0]} is not a method of HTTP APIs; use one of {', '.join(METHODS)}")
    problem = _path_problem(method, path)
    if problem:
        raise _bad(text, problem)
    return Route(method=method, path=path)


def _bad(text: str, problem: str) -> InvalidParameter:
    return InvalidParameter(reason=f'Route "{text}": {problem}.')


def _path_problem(method: str, path: str) -> str | None:
    """What is wrong with a route's path, with the remedy; None where nothing is."""
    if path == DEFAULT:
        return f'write "{DEFAULT}" alone; it takes every method'
    if not path.startswith("/"):
        return f'the path begins with a slash: write "{method} /{path}"'
    if path != "/" and path.endswith("/"):
        return f'HTTP APIs know no trailing slash: write "{method} {path.rstrip("/") or "/"}"'
    if "//" in path:
        return f'a segment is empty: write "{method} {re.sub("/+", "/", path)}"'
    if any(character in path for character in "?#"):
        return "a route is chosen by its path alone; read the query string in the handler"
    if "%" in path:
        return "paths are matched decoded; write the character itself in place of its % code"
    if _RESERVED.match(path):
        return f'paths under {"/".join(path.split("/")[:2])} belong to the server; choose another first segment'
    return _variable_problem(path[1:].split("/"))


def _variable_problem(segments: list[str]) -> str | None:
    names = []
    for position, segment in enumerate(segments, 1):
        if "{" not in segment and "}" not in segment:
            continue
        variable = _VARIABLE.fullmatch(segment)
        if variable is None:
            return f'"{segment}" is not a variable: one takes a whole segment and has a plain name, as in "{{id}}" or, at the end, "{{path+}}"'
        if variable[2] and position < len(segments):
            return f'"{segment}" takes all the rest and must be the last segment; without the + it takes one'
        if variable[1] in names:
            return f'the variable "{variable[1]}" comes twice; give each its own name'
        names.append(variable[1])
    return None


# ---- the table -------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """What a request led to: `arn` and `qualifier` are the trigger's target, taken apart."""

    trigger: Trigger
    arn: str
    qualifier: str | None
    route_key: str
    path_parameters: Mapping[str, str] | None = None

    @property
    def target(self) -> str:
        return self.trigger.target


class Conflict(NamedTuple):
    """Two functions declare one route; the first by name keeps it."""

    kept: Trigger
    dropped: Trigger

    def __str__(self) -> str:
        kept, dropped = _name(self.kept), _name(self.dropped)
        return f"{self.dropped.when} is declared by {kept} and by {dropped}; {kept} keeps it. Give {dropped} another route."


class _End(NamedTuple):
    """A parametrised route's last segment: its trigger's match, to be filled in with the values of `names`."""

    match: Match
    names: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    """One segment of the parametrised routes; `ends` and `greedy` are by method."""

    static: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    ends: dict[str, _End] = field(default_factory=dict)
    greedy: dict[str, _End] = field(default_factory=dict)


_Search = Callable[[_Node, str, list[str], int, tuple[str, ...]], Match | None]


class RouteTable:
    """Every HTTP route of every function; declared ones beat default ones, and the first function by name keeps what two declare."""

    def __init__(self, triggers: Iterable[Trigger] = ()) -> None:
        self._exact: dict[str, dict[str, Match]] = {}
        self._root = _Node()
        self._default: Match | None = None
        self.conflicts: list[Conflict] = []
        kept: dict[tuple[str, str], Trigger] = {}
        routed = (trigger for trigger in triggers if trigger.enabled and isinstance(trigger.when, Route))
        for trigger in sorted(routed, key=lambda trigger: (trigger.origin == "default", _name(trigger))):
            assert isinstance(trigger.when, Route)
            first = kept.setdefault(_shape(trigger.when), trigger)
            if first is trigger:
                self._add(trigger, trigger.when)
            elif first.target != trigger.target and (first.origin == "default") == (trigger.origin == "default"):
                self.conflicts.append(Conflict(first, trigger))

    def match(self, method: str, path: str) -> Match | None:
        """The most specific route for a method and a decoded path: a full match, then variables, then what is greedy, then `$default`."""
        exact = self._exact.get(path)
        if exact is not None:
            found = exact.get(method) or exact.get(ANY)
            if found is not None:
                return found
        segments = path[1:].split("/")
        return _full(self._root, method, segments, 0, ()) or _greedy(self._root, method, segments, 0, ()) or self._default

    def _add(self, trigger: Trigger, route: Route) -> None:
        arn, qualifier = split_arn(trigger.target)
        match = Match(trigger=trigger, arn=arn, qualifier=qualifier, route_key=str(route))
        if route.path == DEFAULT:
            self._default = match
        elif "{" not in route.path:
            self._exact.setdefault(route.path, {})[route.method] = match
        else:
            self._plant(match, route)

    def _plant(self, match: Match, route: Route) -> None:
        node, names = self._root, []
        for segment in route.path[1:].split("/"):
            variable = _VARIABLE.fullmatch(segment)
            if variable is None:
                node = node.static.setdefault(segment, _Node())
                continue
            names.append(variable[1])
            if variable[2]:
                node.greedy[route.method] = _End(match, tuple(names))
                return
            node.variable = node.variable or _Node()
            node = node.variable
        node.ends[route.method] = _End(match, tuple(names))


def _full(node: _Node, method: str, segments: list[str], depth: int, values: tuple[str, ...]) -> Match | None:
    """A route with as many segments; depth first, static before variable. A node belongs to one depth, so none is looked at twice."""
    if depth == len(segments):
        return _filled(node.ends, method, values)
    return _deeper(_full, node, method, segments, depth, values)


def _greedy(node: _Node, method: str, segments: list[str], depth: int, values: tuple[str, ...]) -> Match | None:
    """A route whose last variable takes the rest: the one with the most segments before that."""
    if depth == len(segments):
        return None
    found = _deeper(_greedy, node, method, segments, depth, values)
    # It takes an empty segment too: /files/ is /files/{path+} with an empty path.
    return found or _filled(node.greedy, method, (*values, "/".join(segments[depth:])))


def _deeper(search: _Search, node: _Node, method: str, segments: list[str], depth: int, values: tuple[str, ...]) -> Match | None:
    segment = segments[depth]
    child = node.static.get(segment)
    found = search(child, method, segments, depth + 1, values) if child is not None else None
    # A variable never takes an empty segment: /orders/ is not /orders/{id}.
    if found is None and node.variable is not None and segment:
        found = search(node.variable, method, segments, depth + 1, (*values, segment))
    return found


def _filled(ends: Mapping[str, _End], method: str, values: tuple[str, ...]) -> Match | None:
    end = ends.get(method) or ends.get(ANY)
    if end is None:
        return None
    match, names = end
    return Match(
        trigger=match.trigger, arn=match.arn, qualifier=match.qualifier, route_key=match.route_key,
        path_parameters=dict(zip(names, values, strict=True)),
    )


def _shape(route: Route) -> tuple[str, str]:
    """The same for routes that match the same requests: /a/{x} and /a/{y}."""
    return route.method, _VARIABLE.sub(r"{\2}", route.path)


def _name(trigger: Trigger) -> str:
    return split_arn(trigger.target)[0].rpartition(":")[2]
