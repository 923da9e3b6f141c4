"""The faces of one Microlam: the admin, the AWS API and the folder's routes, for whatever server hands over the requests.

The admin and the AWS API are imported by the first request that may be for them: together they are a third of the server's memory.
"""
from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from multidict import CIMultiDict, istr
from yarl import URL

from microlam.errors import SettingsError
from microlam.gateway import Gateway
from microlam.gateway.replies import message
from microlam.guard import Guard
from microlam.model import Invocation, Outcome

if TYPE_CHECKING:
    from microlam.admin import Admin
    from microlam.app import Microlam
    from microlam.aws import Wire

# Of the admin, the AWS API and the functions, as a host says them: no slash at the end; None: nowhere.
Prefixes = tuple[str | None, str | None, str | None]

_TARGET = istr("X-Amz-Target")
_SECURITY_TOKEN = istr("X-Amz-Security-Token")


class Faces:
    """The faces that are wanted, each under its prefix; None: nowhere.

    A request falls straight through: the admin's paths, then the AWS API, then the functions' routes. `hosted` says that the requests come through
    somebody else's server, which may listen anywhere; `guarded`, that this host has seen to it who may call; `cancelling`, that its server cancels
    requests whose client has left; `untouched`, that it writes replies as they are.
    """

    def __init__(
        self, lam: Microlam, *, functions: str | None = "", aws: str | None = "", admin: str | None = "/_microlam", hosted: bool = False,
        guarded: bool = False, cancelling: bool = False, untouched: bool = False,
    ) -> None:
        self._lam, self._functions, self._aws, self._admin = lam, functions, aws, admin
        self._hosted, self._guarded = hosted, guarded
        self._closed = False
        self._serving: dict[int, web.BaseRequest] = {}      # by identity: they can be compared, and so not be in a set
        self._served = asyncio.Event()
        self.gateway = None if functions is None else Gateway(
            lam.functions, lam.triggers, lam.invoker, prefix=functions, error_page=self._error_page if admin is not None else None, clock=lam.clock,
            cancelling=cancelling, untouched=untouched,
        )

    @cached_property
    def admin(self) -> Admin:
        """The admin, from the first request for it on."""
        from microlam.admin import Admin
        return Admin(self._lam, guard=self._guard(self._lam.settings.admin_token), prefix=self._admin or "")

    @cached_property
    def wire(self) -> Wire:
        """The AWS API, from the first request for it on."""
        from microlam.aws import Wire
        from microlam.aws.call import Parts
        from microlam.aws.downloads import Downloads
        lam, settings = self._lam, self._lam.settings
        keys = (settings.access_key, settings.secret_key) if settings.access_key and settings.secret_key else None
        accounts = lam.accounts
        parts = Parts(
            functions=lam.functions, invoker=lam.invoker, store=lam.store, buckets=lam.buckets, layers=accounts.layers, attached=lam.attached,
            downloads=Downloads(settings.data), policies=accounts.policies, roles=accounts.roles, sessions=accounts.sessions, logs=accounts.logs,
        )
        return Wire(
            parts, region=settings.region, account=settings.account, guard=self._guard(keys), credentials=lam.credentials, keys=keys, say=lam.say,
            prefix=self._aws or "",
        )

    def _guard(self, secret: object) -> Guard:
        settings = self._lam.settings
        elsewhere = bool(not self._hosted or self._guarded or secret)
        return Guard(bind=settings.host, allowed_hosts=settings.allowed_host, any_host=self._guarded, elsewhere=elsewhere)

    def _error_page(self, outcome: Outcome, invocation: Invocation, malformed: str | None) -> str:
        return self.admin.error_page(outcome, invocation, malformed)

    def close(self) -> None:
        """Refuse what still comes, but for calls of handlers that finish, and end what would not end by itself: the streams of those who look on."""
        self._closed = True
        if "admin" in vars(self):
            self.admin.close()

    async def finish(self) -> None:
        """After `close`: return when every request has its reply, but for those of which not all has come."""
        while any(request.content.is_eof() for request in self._serving.values()):
            self._served.clear()
            await self._served.wait()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, to the face that it is for."""
        if self._closed and request.headers.get(_SECURITY_TOKEN) != self._lam.credentials.session_token:
            return message(503, "Service Unavailable", close=True)
        key = id(request)
        self._serving[key] = request
        try:
            gateway = self.gateway
            template = gateway.remembered(request) if gateway is not None else None
            if gateway is not None and template is not None:
                return await gateway.serve(request, template)
            return await self._find(request)
        finally:
            del self._serving[key]
            if self._closed:
                self._served.set()

    async def _find(self, request: web.BaseRequest) -> web.StreamResponse:
        """Ask face by face whose request it is."""
        target = request.raw_path
        if target[:1] != "/" and "://" in target:
            request = _without_origin(request)
            target = request.raw_path
        # A host's / is its own: the admin is drawn there, with or without a query, only by a server that has no other page.
        drawn = not self._hosted and target.partition("?")[0] == "/"
        if self._admin is not None and (drawn or target.startswith(self._admin)) and self.admin.wants(request):
            return await self.admin.serve(request)
        if self._aws is not None and self._seems_aws(request, target) and self.wire.wants(request):
            return await self.wire.serve(request)
        if self.gateway is not None and self.gateway.wants(request):
            return await self.gateway.serve(request)
        return web.json_response({"message": "Not Found"}, status=404)

    def _seems_aws(self, request: web.BaseRequest, target: str) -> bool:
        """Whether a request has any of the marks by which `Wire.wants` knows those of AWS's clients."""
        if self._aws:
            return target.startswith(self._aws)
        headers = request.headers
        return target.startswith("/2") or hdrs.AUTHORIZATION in headers or _TARGET in headers or "X-Amz-Credential=" in target


def read_prefixes(*, admin: str | None, aws: str | None, prefix: str | None) -> Prefixes:
    """The prefixes of faces beside one another; SettingsError where one is none, or hides another."""
    said = {name: None if path is None else _prefix(name, path) for name, path in (("admin", admin), ("aws", aws), ("prefix", prefix))}
    taken: list[tuple[str, str]] = []
    for name, path in said.items():
        if path is None:
            continue
        for other, above in taken:
            # Without a prefix, the AWS API knows its requests by other marks.
            if f"{path}/".startswith(f"{above}/") and (other, above) != ("aws", ""):
                raise SettingsError(reason=f'{other}="{above}" would hide {name}="{path}". Give each face a prefix of its own; one that is None is nowhere.')
        taken.append((name, path))
    return said["admin"], said["aws"], said["prefix"]


def _prefix(name: str, path: str) -> str:
    path = path.rstrip("/")
    if (path and not path.startswith("/")) or "{" in path:
        raise SettingsError(reason=f'{name}="{path}" cannot be a prefix; write one such as "/fn".')
    return path


def check_guard(guard: object) -> None:
    """Raise TypeError for a guard that could not be asked."""
    if guard is not None and not callable(guard):
        raise TypeError(f"guard= takes a callable that is asked about each request, not {guard!r}")


def _without_origin(request: web.BaseRequest) -> web.BaseRequest:
    """A request for a whole URL, as a proxy gets it, as one for its path: its host is the URL's, whatever Host says (RFC 9112, 3.2.2)."""
    rest = request.raw_path.partition("://")[2]
    authority = rest.partition("/")[0].partition("?")[0]
    path, _, query = rest[len(authority):].partition("?")
    headers = CIMultiDict(request.headers)
    headers[hdrs.HOST] = authority.rpartition("@")[2]
    return request.clone(rel_url=URL.build(path=path or "/", query_string=query, encoded=True), headers=headers)
