"""The admin under /_microlam/: what happened, and what is to happen next. Pages, each also as `.json`, and the actions on them.

`Admin.serve` is the one wrapper around all of them: the guard, the token, the form's own token, and the headers of every answer.
"""
from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import unquote

import orjson
from aiohttp import web

from microlam import __version__
from microlam.admin import (
    buckets,
    function,
    functions,
    history,
    invocation,
    invocations,
    live,
    login,
    overview,
    replays,
    server,
    sources,
    testing,
    triggers,
    versions,
)
from microlam.admin.asking import Asked, Done, Found, find
from microlam.admin.facts import Facts
from microlam.admin.forms import read_form
from microlam.admin.live import Tail
from microlam.admin.pages import error_page, page
from microlam.admin.permission import COOKIE, THEME, Permission, Tokens, csrf_token, needs_csrf
from microlam.errors import MicrolamError, NotFound, ReadOnly, Refused, TokenNeeded, WrongToken
from microlam.guard import Guard
from microlam.model import Invocation, Outcome

if TYPE_CHECKING:
    from microlam.app import Microlam

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
                               "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_WORDS_KEPT = 100               # what actions did, until the page they lead to has said it

ROUTES = (
    *overview.ROUTES, *functions.ROUTES, *function.ROUTES, *versions.ROUTES, *history.ROUTES, *sources.ROUTES, *testing.ROUTES,
    *invocations.ROUTES, *replays.ROUTES, *invocation.ROUTES, *triggers.ROUTES, *buckets.ROUTES, *server.ROUTES, *live.ROUTES, *login.ROUTES,
)


class Admin:
    """The admin's face of one Microlam, under `prefix`."""

    def __init__(self, lam: Microlam, *, guard: Guard, prefix: str = "/_microlam") -> None:
        self._lam, self._guard, self._prefix = lam, guard, prefix
        self._tokens = Tokens(admin=lam.settings.admin_token, read_only=lam.settings.read_only_token)
        self._secret = secrets.token_bytes(32)
        self._said: dict[str, str] = {}
        self.tail = Tail(lam.invoker.ended)

    def close(self) -> None:
        """End the streams of those who look on."""
        self.tail.close()

    def wants(self, request: web.BaseRequest) -> bool:
        """Whether a request is for the admin: under its prefix, or a browser's GET or HEAD / that no function has a route for."""
        target = request.raw_path
        if target.startswith(self._prefix):
            return target[len(self._prefix):][:1] in ("", "/", "?")
        if target.partition("?")[0] != "/" or request.method not in ("GET", "HEAD") or not _is_browser(request):
            return False
        return all(self._lam.triggers.routes.match(method, "/") is None for method in ("GET", request.method))

    def error_page(self, outcome: Outcome, invocation: Invocation, malformed: str | None = None) -> str:
        """What a browser gets for an invocation that failed, or whose reply was `malformed`."""
        return error_page(outcome, invocation, malformed, prefix=self._prefix)

    # ---- one request, start to end ---------------------------------------------------------------------------------

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, start to end."""
        try:
            self._guard.admit(request, page=request.method in ("GET", "HEAD"))
            return await self._answer(request)
        except TimeoutError:
            return self._trouble(request, 408, "The request's body did not come in time.")
        except MicrolamError as error:
            response = self._trouble(request, error.status, str(error))
            if isinstance(error, TokenNeeded):
                response.headers["WWW-Authenticate"] = "Bearer"
            return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = self._path(request)
        found = find(ROUTES, "GET" if request.method == "HEAD" else request.method, path)
        if isinstance(found, list):
            return self._nothing_there(request, found)
        permission = self._permission(request)
        if permission < found.route.needs:
            if permission is Permission.LOOK:
                raise ReadOnly()
            raise WrongToken() if "Authorization" in request.headers else TokenNeeded()
        asked = Asked(request=request, path=path, names={name: unquote(text) for name, text in found.names.items()}, query=request.query,
                      permission=permission, tokens=self._tokens, tail=self.tail)
        if request.method == "POST":
            asked = await read_form(asked)
            self._check_csrf(asked)
        answer = await found.route.answer(self._lam, asked)
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, Done):
            return self._done(asked, answer)
        return _json(answer) if found.as_json else self._page(asked, found, answer)

    def _path(self, request: web.BaseRequest) -> str:
        """Below the prefix, still encoded, so that a name may hold a slash."""
        path = request.raw_path.partition("?")[0]
        return path[len(self._prefix):].removeprefix("/") if path.startswith(self._prefix) else "functions"

    def _nothing_there(self, request: web.BaseRequest, allowed: list[str]) -> web.StreamResponse:
        if not allowed:
            raise NotFound(reason=f"There is nothing at {request.path}.")
        response = self._trouble(request, 405, f"{request.path} answers {' and '.join(allowed)} only.")
        response.headers["Allow"] = ", ".join(allowed)
        return response

    def _permission(self, request: web.BaseRequest) -> Permission:
        return self._tokens.permission(authorization=request.headers.get("Authorization"), cookie=request.cookies.get(COOKIE))

    def _check_csrf(self, asked: Asked) -> None:
        headers = asked.request.headers
        if not needs_csrf(headers):
            return
        shown = headers.get("X-CSRF-Token") or asked.field("csrf")
        if not secrets.compare_digest(shown.encode("utf-8", "replace"), self._csrf(asked.request).encode()):
            raise Refused(reason="This form was not made by this server, or before it started. Load the page again, and repeat what you did.")

    def _csrf(self, request: web.BaseRequest) -> str:
        return csrf_token(self._secret, request.cookies.get(COOKIE))

    # ---- answers -----------------------------------------------------------------------------------------------------

    def _page(self, asked: Asked, found: Found, facts: Facts) -> web.Response:
        said = self._said.pop(asked.query.get("said", ""), "")
        return self._html(asked.request, found.route.template, asked.path, asked.permission, facts=facts | {"said": said})

    def _html(self, request: web.BaseRequest, template: str, path: str, permission: Permission, *, status: int = 200, facts: Facts) -> web.Response:
        common: Facts = {
            "base": self._base(request), "home": self._base(request) + "../" * self._prefix.count("/"), "path": path, "here": _here(request, path),
            "server_address": _address(request), "server_version": __version__, "csrf": self._csrf(request), "theme": request.cookies.get(THEME, ""),
            "may_change": permission is Permission.CHANGE, "may_look": permission > Permission.NOTHING, "secured": COOKIE in request.cookies,
            "query": request.query,
        }
        body = page(template, common | facts)
        return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)

    def _base(self, request: web.BaseRequest) -> str:
        """The way from this address to the admin's root: relative, so that every link holds behind whatever path a proxy adds."""
        path = request.raw_path.partition("?")[0]
        if not path.startswith(self._prefix + "/"):
            return self._prefix.rpartition("/")[2] + "/" if path.startswith(self._prefix) else self._prefix.removeprefix("/") + "/"
        return "../" * path[len(self._prefix) + 1:].count("/") or "./"

    def _done(self, asked: Asked, done: Done) -> web.Response:
        if _is_browser(asked.request):
            response = web.Response(status=303, headers={**_HEADERS, "Location": self._base(asked.request) + self._with_words(done)})
        else:
            response = _json(done.facts, done.status)
        secure = asked.request.secure or asked.request.headers.get("Origin", "").startswith("https:")
        for name, value in done.cookies.items():
            # Without a path a cookie is the folder's of this address: the admin's, whatever path a proxy adds, and not the handlers'.
            response.set_cookie(name, value, max_age=400 * 86_400 if value else 0, path="", httponly=True, samesite="Strict", secure=secure)
        return response

    def _with_words(self, done: Done) -> str:
        if not done.words:
            return done.to
        id = secrets.token_hex(4)
        self._said[id] = done.words
        while len(self._said) > _WORDS_KEPT:
            del self._said[next(iter(self._said))]
        return f"{done.to}{'&' if '?' in done.to else '?'}said={id}"

    def _trouble(self, request: web.BaseRequest, status: int, message: str) -> web.Response:
        """What went wrong, as a page for a browser; where a token is missing, the page asks for it."""
        if not _is_browser(request) or request.path.endswith(".json"):
            return _json({"message": message}, status)
        template = "login.html" if status == 401 else "trouble.html"
        return self._html(request, template, self._path(request), self._permission(request), status=status,
                          facts={"message": message, "status_code": status, "said": ""})


def _here(request: web.BaseRequest, path: str) -> str:
    """This address, for a form that leads back to it."""
    query = request.raw_path.partition("?")[2]
    return f"{path}?{query}" if query and request.method == "GET" else path


def _address(request: web.BaseRequest) -> str:
    return f"{request.scheme}://{request.headers.get('Host', '')}"


def _is_browser(request: web.BaseRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _json(value: object, status: int = 200) -> web.Response:
    try:
        body = orjson.dumps(value)
    except TypeError:                       # a lone surrogate in an error message: no UTF-8, but JSON can escape it
        body = json.dumps(value).encode()
    return web.Response(body=body, status=status, headers=_HEADERS, content_type="application/json")
