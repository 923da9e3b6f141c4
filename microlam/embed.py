"""microlam in an aiohttp application: one call mounts its faces beside the host's own routes."""
from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Unpack

from aiohttp import web
from aiohttp.web_log import AccessLogger
from aiohttp.web_urldispatcher import MatchedSubAppResource, PrefixResource

from microlam.app import Microlam
from microlam.errors import SettingsError
from microlam.faces import Faces, check_guard, read_prefixes
from microlam.settings import Named

KEY = web.AppKey("microlam", Microlam)

# The host's own word on who may call a face: true lets the request in; what it raises (web.HTTPUnauthorized, a redirect to a login) is the answer.
HostGuard = Callable[[web.Request], bool | Awaitable[bool]]


def setup(
    app: web.Application, folder: str | Path, *, prefix: str | None = "", aws: str | None = "/aws", admin: str | None = "/admin",
    key: web.AppKey[Microlam] = KEY, guard: HostGuard | None = None, **settings: Unpack[Named],
) -> Microlam:
    """Serve a folder of functions within an aiohttp application.

    Functions answer under `prefix` (with "" wherever the host has no route of its own), the AWS API under `aws`, the admin under `admin`; a face
    that is None is nowhere. `settings` are those of the command line. The Microlam is `app[key]`, and runs as long as the application does.
    Without a `guard` and without a token or keys, the AWS API and the admin answer to this machine alone.

        app = web.Application()
        lam = microlam.setup(app, "functions/")
        web.run_app(app)
    """
    if key in app:
        raise SettingsError(reason="This application has a microlam already. Give the other one its own key= and data=.")
    check_guard(guard)
    prefixes = read_prefixes(admin=admin, aws=aws, prefix=prefix)
    lam = app[key] = Microlam(folder, **settings)
    resources = {name: _add(app, path) for name, path in zip(("admin", "aws", "functions"), prefixes, strict=True) if path is not None}
    at: dict[str, str] = {}
    mounted: list[Faces] = []

    async def life(app: web.Application) -> AsyncIterator[None]:
        async with lam:
            # Only now: where the application is a part of another, its resources have got that one's prefix too.
            at.update((name, resource.canonical.removesuffix("{tail}").rstrip("/")) for name, resource in resources.items())
            yield
            mounted.clear()

    async def stop(app: web.Application) -> None:
        for faces in mounted:
            faces.close()       # the host's server waits for the streams

    async def serve(request: web.Request) -> web.StreamResponse:
        if guard is not None and not await _lets_in(guard, request):
            raise web.HTTPForbidden
        if not mounted:
            mounted.append(Faces(
                lam, functions=at.get("functions"), aws=at.get("aws"), admin=at.get("admin"), hosted=True, guarded=guard is not None,
                cancelling=_cancels(request), untouched=_leaves_replies_alone(request),
            ))
        return await mounted[0].serve(request)

    for resource in resources.values():
        resource.add_route("*", serve)
    app.cleanup_ctx.append(life)
    app.on_shutdown.append(stop)
    return lam


def _cancels(request: web.Request) -> bool:
    """Whether the host's server cancels requests whose client has left: aiohttp's `handler_cancellation`, which nothing public tells."""
    return bool(getattr(getattr(request.protocol, "_manager", None), "handler_cancellation", True))


def _leaves_replies_alone(request: web.Request) -> bool:
    """Whether nothing of the host's looks at a reply: no middleware, no signal of its applications, no access logger of its own."""
    logger = getattr(request.protocol, "access_logger", None)
    return (logger is None or type(logger) is AccessLogger) and not any(app.middlewares or app.on_response_prepare for app in request.match_info.apps)


async def _lets_in(guard: HostGuard, request: web.Request) -> bool:
    verdict = guard(request)
    return bool(await verdict if inspect.isawaitable(verdict) else verdict)


def _add(app: web.Application, prefix: str) -> web.Resource:
    """The resource of one face: its prefix and all below it."""
    resource = web.DynamicResource(prefix + "{tail:(/.*)?}") if prefix else Unrouted(app.router)
    app.router.register_resource(resource)
    return resource


class Unrouted(web.DynamicResource):
    """Every path that no other resource of the application takes, also of those that are added later."""

    def __init__(self, router: web.UrlDispatcher) -> None:
        super().__init__("/{tail:.*}")
        self._router = router
        self._seen = -1         # how many resources there were
        self._later: list[web.AbstractResource] = []

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        resources = self._router.resources()
        if len(resources) != self._seen:
            self._seen, self._later = len(resources), [resource for resource in resources if _comes_later(resource)]
        for resource in self._later:
            match, methods = await resource.resolve(request)
            if match is not None or methods:        # it takes the path, if only with another method
                return None, set()
        return await super().resolve(request)


def _comes_later(resource: web.AbstractResource) -> bool:
    """Whether the router may not have asked it yet: what has a prefix of its own comes before everything at the root."""
    return isinstance(resource, MatchedSubAppResource) or not isinstance(resource, PrefixResource | Unrouted)
