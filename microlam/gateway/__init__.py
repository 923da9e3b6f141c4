"""HTTP → function → HTTP: reads a request whole, finds its route, invokes, answers as an HTTP API does.

`Gateway.serve` is one coroutine; it runs under aiohttp's low-level `web.Server` and inside an `Application` alike.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from microlam.clock import Clock, SystemClock
from microlam.errors import MicrolamError, RequestTooLarge, Throttled
from microlam.events.http import HttpFacts, HttpReply, Malformed, reply, split_target
from microlam.events.template import Template
from microlam.gateway.body import read_body
from microlam.gateway.replies import Written, identified, message, response
from microlam.guard import is_loopback, loopback_host
from microlam.model import SYNC_PAYLOAD_LIMIT, Invocation, Outcome, Version, new_id
from microlam.routes import RouteTable

BODY_LIMIT = 10 * 1024 * 1024
TEMPLATES = 256             # kept, of no more than so many bytes each, with the head that each was made of
TEMPLATE_LIMIT = 8192

# Draws the page a browser gets for a failed invocation; the third is why its reply was refused, None where the handler itself failed.
ErrorPage = Callable[[Outcome, Invocation, str | None], str]

_PROTOCOLS = {HttpVersion11: "HTTP/1.1", HttpVersion10: "HTTP/1.0"}
_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Functions(Protocol):
    """What the gateway asks of the functions."""

    def ready(self, arn: str, qualifier: str | None = None) -> Version | None: ...
    async def current(self, arn: str, qualifier: str | None = None) -> Version: ...
    async def look_again(self) -> None: ...


class Triggers(Protocol):
    """What the gateway asks of the triggers."""

    @property
    def routes(self) -> RouteTable: ...


class Invoker(Protocol):
    """What the gateway asks of the invoker."""

    async def invoke(self, version: Version, invocation: Invocation) -> Outcome: ...
    async def fail(self, invocation: Invocation, error: MicrolamError) -> Outcome: ...


class Gateway:
    """Serves every route of the folder's functions under `prefix`.

    A body comes within `deadline` seconds and is never silent for `silence`, or the client gets a 408. `cancelling` says that the host's
    server cancels handlers whose client has left (aiohttp's `handler_cancellation`): invocations are then shielded, and finish all the same.
    `untouched`, that aiohttp writes replies as they are: no middleware and no signal of a host's has a look at them.
    """

    def __init__(
        self, functions: Functions, triggers: Triggers, invoker: Invoker, *, prefix: str = "", error_page: ErrorPage | None = None,
        clock: Clock | None = None, silence: float = 10.0, deadline: float = 60.0, cancelling: bool = False, untouched: bool = False,
    ) -> None:
        self.functions = functions
        self.triggers = triggers
        self.invoker = invoker
        self.prefix = prefix.rstrip("/")
        self.error_page = error_page
        self.clock = clock or SystemClock()
        self.silence = silence
        self.deadline = deadline
        self.cancelling, self.untouched = cancelling, untouched
        self._finishing: set[asyncio.Task[Outcome]] = set()
        self._templates: dict[tuple[object, ...], Template] = {}
        self._routes: RouteTable | None = None      # that the templates were made by

    def wants(self, request: web.BaseRequest) -> bool:
        """Whether a request is under the prefix."""
        return not self.prefix or f"{request.path}/".startswith(f"{self.prefix}/")

    def remembered(self, request: web.BaseRequest) -> Template | None:
        """The template of requests like this one, where there has been one since the routes were last changed: it is nobody else's."""
        return self._templates.get(_alike(request)) if self.triggers.routes is self._routes else None

    async def serve(self, request: web.BaseRequest, template: Template | None = None) -> web.StreamResponse:
        """One request, start to end; with the template, where it is `remembered`."""
        body = await self._body(request) if request.body_exists else b""
        if not isinstance(body, bytes):
            return body
        if template is None or self.triggers.routes is not self._routes:        # they may have changed while its body came
            template = self._template(request)
        id, now = new_id(), self.clock.now()
        version: Version | MicrolamError | None = self.functions.ready(template.match.arn, template.match.qualifier) if template is not None else None
        try:
            if version is None:
                template, version = await self._lead(request, template)
            if template is None or version is None:
                return message(404, "Not Found")
            payload, match = template.event(id, now, body), template.match
            if len(payload) > SYNC_PAYLOAD_LIMIT:
                return message(413, "Request Entity Too Large")
            invocation = Invocation(
                id=id, arn=match.arn, qualifier=match.qualifier, payload=payload, cause="http", queued_at=now, summary=template.summary,
            )
            if isinstance(version, MicrolamError):
                outcome = await self.invoker.fail(invocation, version)
            else:
                outcome = await (self._invoke(version, invocation) if self.cancelling else self.invoker.invoke(version, invocation))
        except Throttled:
            return message(503, "Service Unavailable", id=id)
        except MicrolamError:       # the record takes nothing, say; that has been said
            return message(500, "Internal Server Error", id=id)
        answer = reply(outcome) if outcome.ok else None
        if isinstance(answer, HttpReply):
            return Written(answer, id) if self.untouched else response(answer, id)
        return self._failure(request, outcome, invocation, answer)

    async def _body(self, request: web.BaseRequest) -> bytes | web.Response:
        """The body, or what a client is told that sends none that is taken."""
        try:
            return await read_body(request, limit=BODY_LIMIT, silence=self.silence, deadline=self.deadline)
        except RequestTooLarge:
            return message(413, "Request Entity Too Large", close=True)
        except TimeoutError:
            return message(408, "Request Timeout", close=True)
        except web.RequestPayloadError:
            return message(400, "Bad Request", close=True)

    async def _lead(self, request: web.BaseRequest, template: Template | None) -> tuple[Template | None, Version | MicrolamError | None]:
        """Where a request leads and what runs there, by what the folder is now: a function that was saved a moment ago is found, one that went is not.

        Where a route leads to what cannot be had, an alias that is not there or files that cannot be read, the error stands for it.
        """
        if template is None:
            await self.functions.look_again()
            template = self._template(request)
        while template is not None:
            routes, match = self.triggers.routes, template.match
            version = await self._current(match.arn, match.qualifier)
            again = template if self.triggers.routes is routes else self._template(request)
            if again is not None and again.match.target == match.target:
                return again, version
            template = again
        return None, None

    async def _current(self, arn: str, qualifier: str | None) -> Version | MicrolamError:
        try:
            return await self.functions.current(arn, qualifier)
        except MicrolamError as error:
            return error

    def _template(self, request: web.BaseRequest) -> Template | None:
        """The event of requests like this one, and what is known of them; None where no route leads anywhere."""
        routes = self.triggers.routes
        if routes is not self._routes or len(self._templates) >= TEMPLATES:
            self._routes, self._templates = routes, {}
        return self._templates.get(_alike(request)) or self._new_template(request, routes)

    def _new_template(self, request: web.BaseRequest, routes: RouteTable) -> Template | None:
        path, query = split_target(request.raw_path)
        path = path.removeprefix(self.prefix) or "/"
        match = routes.match(request.method, path)
        if match is None:
            return None
        headers = request.headers
        facts = HttpFacts(
            method=request.method, path=path, query=query, headers=headers.items(), source_ip=_source_ip(request),
            protocol=_PROTOCOLS.get(request.version, "HTTP/1.1"), scheme=request.scheme, host=headers.get(hdrs.HOST, "localhost"),
            time=self.clock.now(), request_id="",
        )
        template = Template(facts, match, _summary(request.method, path), prefix=self.prefix)
        if template.size + len(request.raw_path) + sum(len(name) + len(value) for name, value in request.raw_headers) <= TEMPLATE_LIMIT:
            self._templates[_alike(request)] = template
        return template

    async def _invoke(self, version: Version, invocation: Invocation) -> Outcome:
        """Invoke it, and let it finish though the client leaves."""
        task = asyncio.ensure_future(self.invoker.invoke(version, invocation))
        self._finishing.add(task)  # The loop itself keeps only a weak reference.
        task.add_done_callback(self._finishing.discard)
        return await asyncio.shield(task)

    def _failure(self, request: web.BaseRequest, outcome: Outcome, invocation: Invocation, malformed: Malformed | None) -> web.Response:
        """500: a page with the traceback for the developer's own browser, AWS's bare words for everybody else."""
        if self.error_page is None or not _developers_browser(request):
            return message(500, "Internal Server Error", id=invocation.id)
        page = self.error_page(outcome, invocation, malformed.reason if malformed else None)
        return identified(web.Response(status=500, body=page.encode("utf-8", "replace"), headers=_PAGE_HEADERS), invocation.id)


def _alike(request: web.BaseRequest) -> tuple[object, ...]:
    """What tells requests apart, but for their bodies: those that are alike have a template in common."""
    return request.method, request.raw_path, request.raw_headers, request.remote, request.version, request.scheme


def _developers_browser(request: web.BaseRequest) -> bool:
    """A browser on this machine: not one behind a tunnel, whose connection comes from here too but whose Host does not."""
    return (
        "text/html" in request.headers.get("Accept", "")
        and is_loopback(_source_ip(request)) and loopback_host(request.headers.get("Host", ""))
        and "X-Forwarded-For" not in request.headers and "Forwarded" not in request.headers
    )


def _source_ip(request: web.BaseRequest) -> str:
    """Who called; a Unix socket's client is on this machine."""
    return (request.remote or "127.0.0.1").removeprefix("::ffff:")


def _summary(method: str, path: str) -> str:
    """`GET /orders/7`; it is printed on terminals, so nothing in it steers one."""
    text = f"{method} {path}"
    return (text if text.isprintable() else quote(text, safe="/ "))[:256]
