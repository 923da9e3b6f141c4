"""The faces of one Microlam: the admin, the AWS API and the folder's routes, for whatever server hands over the requests."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from microlam.admin import Admin
from microlam.aws import Wire
from microlam.aws.call import Parts
from microlam.aws.downloads import Downloads
from microlam.gateway import Gateway
from microlam.guard import Guard

if TYPE_CHECKING:
    from microlam.app import Microlam


class Faces:
    """The faces that are wanted, each under its prefix; None: nowhere.

    A request falls straight through: the admin's paths, then the AWS API, then the functions' routes. `hosted` says that the requests come through
    somebody else's server, which may listen anywhere; `guarded`, that this host has seen to it who may call; `cancelling`, that its server cancels
    requests whose client has left.
    """

    def __init__(
        self, lam: Microlam, *, functions: str | None = "", aws: str | None = "", admin: str | None = "/_microlam", hosted: bool = False,
        guarded: bool = False, cancelling: bool = False,
    ) -> None:
        settings = lam.settings
        keys = (settings.access_key, settings.secret_key) if settings.access_key and settings.secret_key else None

        def guard(secret: object) -> Guard:
            return Guard(bind=settings.host, allowed_hosts=settings.allowed_host, any_host=guarded, elsewhere=bool(not hosted or guarded or secret))

        self.admin = None if admin is None else Admin(lam, guard=guard(settings.admin_token), prefix=admin)
        self.wire = None if aws is None else Wire(
            _parts(lam), region=settings.region, account=settings.account, guard=guard(keys), credentials=lam.credentials, keys=keys, say=lam.say,
            prefix=aws,
        )
        self.gateway = None if functions is None else Gateway(
            lam.functions, lam.triggers, lam.invoker, prefix=functions, error_page=self.admin.error_page if self.admin else None, clock=lam.clock,
            cancelling=cancelling,
        )

    def close(self) -> None:
        """End what would not end by itself: the streams of those who look on."""
        if self.admin is not None:
            self.admin.close()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, to the face that it is for."""
        if self.admin is not None and self.admin.wants(request):
            return await self.admin.serve(request)
        if self.wire is not None and self.wire.wants(request):
            return await self.wire.serve(request)
        if self.gateway is not None and self.gateway.wants(request):
            return await self.gateway.serve(request)
        return web.json_response({"message": "Not Found"}, status=404)


def _parts(lam: Microlam) -> Parts:
    """What the AWS API may use."""
    return Parts(
        functions=lam.functions, invoker=lam.invoker, store=lam.store, buckets=lam.buckets, layers=lam.layers, attached=lam.attached,
        downloads=Downloads(lam.settings.data), policies=lam.policies, roles=lam.roles, sessions=lam.sessions, logs=lam.logs,
    )


def low_level(serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> web.Server:
    """aiohttp's server for one coroutine: bodies pass to the handlers as they came, and a client refused for its body is not waited for long."""
    return web.Server(serve, access_log=None, auto_decompress=False, lingering_time=2.0, max_line_size=16_384, max_field_size=16_384)
