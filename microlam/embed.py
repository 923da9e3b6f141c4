"""microlam in an aiohttp application: one call mounts its faces beside the host's own routes."""
from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from microlam.admin import Admin
from microlam.app import Microlam
from microlam.cli import settings_of
from microlam.gateway import Gateway
from microlam.guard import Guard
from microlam.server import Server
from microlam.settings import url_of

KEY = web.AppKey("microlam", Microlam)


def setup(app: web.Application, folder: str | Path, *, prefix: str = "", admin: str | None = "/admin", **settings: object) -> None:
    """Serve a folder of functions under `prefix`, wherever the host has no route of its own, and the admin under `admin` (None: nowhere).

    `settings` are those of the command line (`data=`, `concurrency=`, …); what is not said comes from MICROLAM_* variables
    and microlam.toml. While the application runs, `app[microlam.KEY]` is the Microlam.

        app = web.Application()
        microlam.setup(app, "functions/")
        web.run_app(app)
    """
    folder = Path(folder).absolute()
    chosen = settings_of(folder, {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()})
    faces: dict[str, Gateway | Admin] = {}

    async def life(app: web.Application) -> AsyncIterator[None]:
        listening = socket.create_server(("127.0.0.1", 0))
        url = url_of("127.0.0.1", listening.getsockname()[1])
        async with Microlam(folder, chosen, endpoint_url=url) as lam:
            server = Server(lam)
            private = web.Server(server.serve, access_log=None, auto_decompress=False)
            # Handlers' own calls (AWS_ENDPOINT_URL) come here, past the host's middlewares.
            sockets = await asyncio.get_running_loop().create_server(private, sock=listening)
            app[KEY] = lam
            faces["gateway"] = Gateway(lam.functions, lam.triggers, lam.invoker, prefix=prefix, error_page=server.admin.error_page, clock=lam.clock)
            faces["admin"] = Admin(lam, guard=Guard(allowed_hosts=chosen.allowed_host), prefix=admin or "")
            yield
            sockets.close()
            lam.invoker.stop()
            await private.shutdown(0.1)

    async def functions(request: web.Request) -> web.StreamResponse:
        return await faces["gateway"].serve(request)

    async def pages(request: web.Request) -> web.StreamResponse:
        return await faces["admin"].serve(request)

    async def stop(app: web.Application) -> None:
        if isinstance(face := faces.get("admin"), Admin):
            face.close()        # a stream never ends by itself, and the host's server waits for it

    app.cleanup_ctx.append(life)
    app.on_shutdown.append(stop)
    if admin is not None:
        app.router.add_route("*", admin + "{tail:(/.*)?}", pages)
    app.router.add_route("*", prefix + "/{tail:.*}", functions)
