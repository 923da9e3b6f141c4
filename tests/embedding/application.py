"""An aiohttp shop that has microlam beside its own routes: sessions in a cookie, a middleware that times, a login that guards.

    python -m tests.embedding.application FUNCTIONS DATA        # then http://127.0.0.1:8080
"""
from __future__ import annotations

import secrets
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

import microlam

SESSIONS: web.AppKey[dict[str, str]] = web.AppKey("sessions", dict[str, str])
LOG: web.AppKey[list[str]] = web.AppKey("log", list[str])


@web.middleware
async def session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Who calls, by the cookie: for the host's own routes and for the functions alike."""
    request["user"] = request.app[SESSIONS].get(request.cookies.get("session", ""))
    return await handler(request)


@web.middleware
async def timed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Says how long each request took."""
    began = time.perf_counter()
    response = await handler(request)
    response.headers["Server-Timing"] = f"total;dur={(time.perf_counter() - began) * 1000:.1f}"
    return response


async def log_in(request: web.Request) -> web.Response:
    token = secrets.token_hex(8)
    request.app[SESSIONS][token] = (await request.post()).get("name", "nobody")  # type: ignore[assignment]  # a form without files
    response = web.Response(text="welcome")
    response.set_cookie("session", token)
    return response


async def order(request: web.Request) -> web.Response:
    """The host's own route, which has a function do the work."""
    lam = request.config_dict[microlam.KEY]
    outcome = await lam.invoke("price", await request.json())
    if outcome.error:
        return web.json_response({"sorry": outcome.error["errorMessage"]}, status=502)
    return web.json_response({"total": outcome.value, "for": request["user"], "version": outcome.version})


async def log(request: web.Request) -> web.Response:
    return web.json_response(request.app[LOG])


def only_users(request: web.Request) -> bool:
    """The guard of the admin and the AWS API: a session. The functions are everybody's."""
    return request.path.startswith("/fn") or request["user"] is not None


def create(functions: str | Path, data: str | Path) -> web.Application:
    app = web.Application(middlewares=[timed, session])
    app[SESSIONS], app[LOG] = {}, []
    app.router.add_post("/login", log_in)
    app.router.add_post("/orders", order)
    app.router.add_get("/log", log)
    app.cleanup_ctx.append(opened)
    lam = microlam.setup(app, functions, prefix="/fn", aws="/aws", admin="/admin", data=data, guard=only_users)

    @lam.after
    async def note(invocation: microlam.Invocation, outcome: microlam.Outcome) -> None:
        app[LOG].append(f"{invocation.arn.rpartition(':')[2]} {outcome.status}")

    return app


async def opened(app: web.Application) -> AsyncIterator[None]:
    app[LOG].append("opened")
    yield


if __name__ == "__main__":
    web.run_app(create(sys.argv[1], sys.argv[2]), host="127.0.0.1", port=int(sys.argv[3]) if len(sys.argv) > 3 else 8080)
