"""The admin under /_microlam/: whether the server is ready, what is on record, the functions; and firing a schedule by hand.

`Admin.serve` carries the guard and the token for every page and action. It draws GET / too, where no function has that route.
"""
from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson
from aiohttp import web

from microlam.admin.facts import Facts, examples, function_facts
from microlam.admin.pages import error_page, page, static
from microlam.clock import Clock, SystemClock
from microlam.errors import FunctionNotFound, InvalidParameter, InvocationNotFound, MicrolamError, NotFound, TokenNeeded
from microlam.gateway.body import read_body
from microlam.guard import Guard, authorised
from microlam.model import STATUSES, Invocation, Outcome, Trigger
from microlam.store import InvocationFilter, Store, full_record_json, record_json
from microlam.triggers import Triggers

if TYPE_CHECKING:
    from microlam.functions import Function

CAUSES = ("http", "invoke", "schedule", "file")
LIMIT = 1000
BODY_LIMIT = 64 * 1024

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Answer = Callable[["Admin", web.BaseRequest, str], Awaitable[web.Response]]


class Functions(Protocol):
    """What the admin asks of the functions."""

    @property
    def warnings(self) -> Sequence[str]: ...        # those that concern no single function

    def all(self) -> Sequence[Function]: ...


class Invoker(Protocol):
    """What the admin asks of the invoker."""

    def note_running(self) -> None: ...


class Schedules(Protocol):
    """What the admin asks of the schedules."""

    async def fire(self, trigger: Trigger, as_of: datetime) -> Invocation: ...

    def next_times(self) -> Mapping[str, datetime]: ...


class Buckets(Protocol):
    """What the admin asks of the buckets: their folders by name."""

    def places(self) -> Mapping[str, Path]: ...


class Admin:
    """The admin's face, under `prefix`."""

    def __init__(
        self, functions: Functions, triggers: Triggers, store: Store, invoker: Invoker, schedules: Schedules, buckets: Buckets, *,
        folder: Path, version: str, guard: Guard, admin_token: str | None = None, clock: Clock | None = None, prefix: str = "/_microlam",
    ) -> None:
        self._functions, self._triggers, self._store, self._invoker = functions, triggers, store, invoker
        self._schedules, self._buckets, self._folder, self._version = schedules, buckets, folder, version
        self._guard, self._admin_token, self._clock, self._prefix = guard, admin_token, clock or SystemClock(), prefix

    def wants(self, request: web.BaseRequest) -> bool:
        """Whether a request is for the admin: under its prefix, or a browser's GET / that no function has a route for."""
        target = request.raw_path
        if target.startswith(self._prefix):
            return target[len(self._prefix):][:1] in ("", "/", "?")
        return target == "/" and "text/html" in request.headers.get("Accept", "") and request.method == "GET" \
            and self._triggers.routes.match("GET", "/") is None

    def error_page(self, outcome: Outcome, invocation: Invocation, malformed: str | None = None) -> str:
        """What a browser gets for an invocation that failed, or whose reply was `malformed`."""
        return error_page(outcome, invocation, malformed, prefix=self._prefix)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, start to end."""
        try:
            self._guard.admit(request, page=request.method in ("GET", "HEAD"))
            return await self._answer(request)
        except TimeoutError:
            return _json({"message": "The request's body did not come in time."}, 408)
        except MicrolamError as error:
            response = _json({"message": str(error)}, error.status)
            if isinstance(error, TokenNeeded):
                response.headers["WWW-Authenticate"] = "Bearer"
            return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.path.removeprefix(self._prefix).removeprefix("/")
        for method, pattern, answer in ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if request.method not in (("GET", "HEAD") if method == "GET" else (method,)):
                response = _json({"message": f"{request.path} answers {method} only."}, 405)
                response.headers["Allow"] = method
                return response
            if answer not in OPEN and not self._authorised(request):
                raise TokenNeeded()
            return await answer(self, request, match["name"] if "name" in pattern.groupindex else "")
        raise NotFound(reason=f"There is nothing at {request.path}.")

    def _authorised(self, request: web.BaseRequest) -> bool:
        return authorised(self._admin_token, authorization=request.headers.get("Authorization"))

    # ---- the server ----------------------------------------------------------------------------------------------

    async def _health(self, request: web.BaseRequest, _: str) -> web.Response:
        health: Facts = {"status": "ready", "version": self._version}
        if self._authorised(request):       # a probe without the token learns that, and no more
            functions = self._functions.all()
            health |= {
                "functions": [function.name for function in functions],
                "errors": [{"function": function.name, **function.error} for function in functions if function.error],
                "warnings": self._all_warnings(functions),
            }
        return _json(health)

    def _all_warnings(self, functions: Sequence[Function]) -> list[str]:
        trouble = [f"Invocations are not recorded: {self._store.error}"] if self._store.error else []
        return [*trouble, *self._functions.warnings, *(f"{function.name}: {warning}" for function in functions for warning in function.warnings)]

    # ---- the record ----------------------------------------------------------------------------------------------

    async def _list(self, request: web.BaseRequest, _: str) -> web.Response:
        query = request.query
        limit = _limit(query.get("limit"))
        chosen = InvocationFilter(
            function=query.get("function") or None, status=_one_of("status", STATUSES, query.get("status")),
            cause=_one_of("cause", CAUSES, query.get("cause")), q=query.get("q") or None,
        )
        self._invoker.note_running()        # what runs now is on no record yet
        found = await self._store.invocations(chosen, limit, query.get("cursor") or None)
        return _json({"invocations": [record_json(record) for record in found.records], "next": found.next})

    async def _one(self, request: web.BaseRequest, id: str) -> web.Response:
        self._invoker.note_running()
        record = await self._store.invocation(id, _whole("attempt", request.query.get("attempt")))
        if record is None:
            raise InvocationNotFound(id=id)
        return _json(full_record_json(record))

    # ---- functions -----------------------------------------------------------------------------------------------

    async def _functions_json(self, request: web.BaseRequest, _: str) -> web.Response:
        next_times, buckets = self._schedules.next_times(), self._buckets.places()
        return _json({"functions": [function_facts(function, next_times, buckets) for function in self._functions.all()]})

    async def _page(self, request: web.BaseRequest, _: str) -> web.Response:
        next_times, buckets = self._schedules.next_times(), self._buckets.places()
        address = f"{request.scheme}://{request.headers['Host']}"
        functions = [
            function_facts(function, next_times, buckets) | {"examples": examples(function.name, function.triggers, address, buckets)}
            for function in self._functions.all()
        ]
        body = page(
            "functions.html", prefix=self._prefix, functions=functions, warnings=self._functions.warnings,
            folder=self._folder, address=address, version=self._version,
        )
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=_HEADERS)

    async def _fire_schedule(self, request: web.BaseRequest, name: str) -> web.Response:
        wish = _wish(await read_body(request, limit=BODY_LIMIT, silence=10, deadline=30))
        arn = next((function.arn for function in self._functions.all() if function.name == name), None)
        if arn is None:
            raise FunctionNotFound(arn=name)
        trigger = _nth_schedule(self._triggers.schedules_of(arn), name, _whole("schedule", wish.get("schedule")) or 1)
        invocation = await self._schedules.fire(trigger, _instant(wish["time"]) if "time" in wish else self._clock.now())
        return _json({"id": invocation.id, "summary": invocation.summary}, 202)

    async def _static(self, request: web.BaseRequest, name: str) -> web.Response:
        found = static(name)
        if found is None:
            raise NotFound(reason=f"There is nothing at {request.path}.")
        body, content_type = found
        return web.Response(body=body, headers={"Content-Type": content_type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"})


ROUTES: Sequence[tuple[str, re.Pattern[str], Answer]] = (
    ("GET", re.compile(""), Admin._page),
    ("GET", re.compile("health"), Admin._health),
    ("GET", re.compile(r"invocations\.json"), Admin._list),
    ("GET", re.compile(r"invocations/(?P<name>[^/]+)\.json"), Admin._one),
    ("GET", re.compile(r"functions\.json"), Admin._functions_json),
    ("POST", re.compile("functions/(?P<name>[^/]+)/fire"), Admin._fire_schedule),
    ("GET", re.compile("static/(?P<name>[^/]+)"), Admin._static),
)
OPEN = (Admin._health, Admin._static)       # without a token too; health then tells less


# ---- parameters ------------------------------------------------------------------------------------------------------

def _limit(text: str | None) -> int:
    number = _whole("limit", text) or 50
    if number > LIMIT:
        raise InvalidParameter(reason=f"limit is {number}; it must be a whole number from 1 to {LIMIT}.")
    return number


def _whole(name: str, value: object) -> int | None:
    """A number from 1; None where it was not given."""
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        allowed = f"a whole number from 1 to {LIMIT}" if name == "limit" else "a whole number, 1 or more"
        raise InvalidParameter(reason=f"{name} is {text[:40]!r}; it must be {allowed}.")
    return int(text)


def _one_of(name: str, allowed: Sequence[str], text: str | None) -> str | None:
    if text and text not in allowed:
        raise InvalidParameter(reason=f"{name} is {text[:40]!r}; it must be one of {', '.join(allowed)}.")
    return text or None


def _wish(body: bytes) -> Mapping[str, object]:
    try:
        wish = json.loads(body or b"{}")
    except ValueError as error:
        raise InvalidParameter(reason=f"The body is not JSON: {error}.") from None
    if not isinstance(wish, dict):
        raise InvalidParameter(reason='The body must be an object such as {"time": "2026-03-29T02:00:00Z", "schedule": 1}.')
    return wish


def _nth_schedule(schedules: Sequence[Trigger], name: str, number: int) -> Trigger:
    if number > len(schedules):
        known = "; ".join(f"{n}: {trigger.when}" for n, trigger in enumerate(schedules, 1)) or "it has none"
        raise InvalidParameter(reason=f"There is no schedule {number} of {name} ({known}).")
    return schedules[number - 1]


def _instant(value: object) -> datetime:
    """An ISO 8601 instant; without an offset it is UTC."""
    try:
        instant = datetime.fromisoformat(str(value))
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter(reason=f"time is {str(value)[:40]!r}; it must be an instant in ISO 8601, such as 2026-03-29T02:00:00Z.") from None


def _json(value: object, status: int = 200) -> web.Response:
    try:
        body = orjson.dumps(value)
    except TypeError:                       # a lone surrogate in an error message: no UTF-8, but JSON can escape it
        body = json.dumps(value).encode()
    return web.Response(body=body, status=status, headers=_HEADERS, content_type="application/json")
