"""What a page or an action is asked, what it may answer, and the table that leads from an address to it."""
from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import MultiDict, MultiDictProxy, MultiMapping

from microlam.admin.facts import Facts
from microlam.admin.permission import Permission, Tokens
from microlam.errors import InvalidParameter

if TYPE_CHECKING:
    from microlam.admin.live import Tail
    from microlam.app import Microlam

Field = str | web.FileField


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request to a page or an action: the names in its path, its query, its form or body, and who asks."""

    request: web.BaseRequest
    path: str                                   # below the admin's prefix
    names: Mapping[str, str] = field(default_factory=dict)
    query: MultiMapping[str] = field(default_factory=lambda: MultiDictProxy(MultiDict()))
    form: MultiMapping[Field] = field(default_factory=lambda: MultiDictProxy(MultiDict()))
    body: bytes = b""                           # of what is no form
    permission: Permission = Permission.NOTHING
    tokens: Tokens
    tail: Tail

    @property
    def address(self) -> str:
        """Where the server was reached, for commands to copy."""
        return f"{self.request.scheme}://{self.request.headers['Host']}"

    @property
    def origin(self) -> str:
        """Who a change is put down to in the history: the command line, or a person at these pages."""
        return "cli" if self.request.headers.get("User-Agent", "").startswith("microlam/") else "admin"

    @property
    def may_change(self) -> bool:
        return self.permission is Permission.CHANGE

    def field(self, name: str, otherwise: str = "") -> str:
        """A text field of the form."""
        value = self.form.get(name, otherwise)
        if not isinstance(value, str):
            raise InvalidParameter(reason=f"{name} must be text, not a file.")
        return value.strip()


@dataclass(frozen=True, kw_only=True)
class Done:
    """What an action did: a browser goes on to the page at `to`, where `words` say it; others get the facts."""

    to: str
    words: str = ""
    facts: Facts = field(default_factory=dict)
    status: int = 200
    cookies: Mapping[str, str] = field(default_factory=dict)    # "" takes one away


Answer = Callable[["Microlam", Asked], Awaitable["Facts | Done | web.StreamResponse"]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """An address and what answers there. A page has a template, and its facts are at the same address with `.json`."""

    method: str
    pattern: re.Pattern[str]
    answer: Answer
    template: str = ""
    needs: Permission = Permission.LOOK


def page(path: str, answer: Answer, template: str, *, needs: Permission = Permission.LOOK) -> Route:
    """A page: facts, drawn."""
    return Route(method="GET", pattern=_pattern(path), answer=answer, template=template, needs=needs)


def data(path: str, answer: Answer, *, needs: Permission = Permission.LOOK) -> Route:
    """Facts for programs, or a response as it is."""
    return Route(method="GET", pattern=_pattern(path), answer=answer, needs=needs)


def action(path: str, answer: Answer, *, needs: Permission = Permission.CHANGE) -> Route:
    """What a form or a program may have done."""
    return Route(method="POST", pattern=_pattern(path), answer=answer, needs=needs)


def _pattern(path: str) -> re.Pattern[str]:
    """`functions/{name}/fire` as an expression: a name has no slash."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


@dataclass(frozen=True, kw_only=True)
class Found:
    """The route of a path, with the names in it; `as_json` where the facts alone are wanted."""

    route: Route
    names: Mapping[str, str]
    as_json: bool


def find(routes: Sequence[Route], method: str, path: str) -> Found | list[str]:
    """What answers at this path, or the methods that something does answer to there."""
    allowed: set[str] = set()
    for route in routes:
        match = route.pattern.fullmatch(path.removesuffix(".json") if route.template else path)
        if match is None:
            continue
        if method == route.method:
            return Found(route=route, names=match.groupdict(), as_json=path.endswith(".json") or not route.template)
        allowed.add(route.method)
    return sorted(allowed)
