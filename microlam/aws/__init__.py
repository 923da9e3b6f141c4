"""The AWS wire: one request, start to end. boto3 and the `aws` command, pointed at this server, speak to `Wire.serve`."""
from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from aiohttp import hdrs, web
from multidict import istr

from microlam.aws import iam, lambda_, logs, sts
from microlam.aws.binding import WireRequest
from microlam.aws.call import Answers, Call, Events, Parts
from microlam.aws.downloads import PREFIX as DOWNLOADS
from microlam.aws.elsewhere import remedy
from microlam.aws.errors import (
    KeyUnknown,
    RequestCutShort,
    SignatureIncomplete,
    SignatureMissing,
    SignatureRefused,
    SignatureWrong,
    TokenExpired,
    Unreadable,
    Unsupported,
)
from microlam.aws.protocol import Service, WireReply
from microlam.aws.signature import Scope, Signed, claimed_scope, dechunked, is_valid, read_signature, untimely
from microlam.aws.tables import MODELS, Operation, Table
from microlam.errors import MicrolamError, NotFound, RequestTooLarge
from microlam.executors import Credentials
from microlam.gateway.body import read_body
from microlam.guard import Guard
from microlam.model import SYNC_PAYLOAD_LIMIT, new_id
from microlam.resources.sessions import Session

ANSWERS: Mapping[str, Answers] = {"lambda": lambda_.OPERATIONS, "sts": sts.OPERATIONS, "iam": iam.OPERATIONS, "logs": logs.OPERATIONS}

# AWS names the operation in its refusal; Invoke's own name there is another.
CODE_LIMIT = 70_167_211
LIMITS = {"CreateFunction": CODE_LIMIT, "UpdateFunctionCode": CODE_LIMIT, "PublishLayerVersion": CODE_LIMIT}
CALLED = {"Invoke": "InvokeFunction"}

_TARGET = istr("X-Amz-Target")
_DATED = re.compile(r"/(\d{4}-\d{2}-\d{2})(?:[/?]|$)")
_ACCOUNT = re.compile(r"\d{12}")
_XML_SERVICES = ("s3", "s3express", "cloudfront", "route53")    # that speak REST with XML, by their signing names


@dataclass(frozen=True)
class Streaming:
    """A reply whose body comes bit by bit."""

    head: WireReply
    frames: AsyncGenerator[bytes, None]


class Wire:
    """Answers requests of AWS clients.

    With `keys` (an access key and its secret) every request must be signed with them, with the handlers' own `credentials`, or with keys of a session.
    """

    def __init__(
        self, parts: Parts, *, region: str, account: str, guard: Guard | None = None, credentials: Credentials | None = None,
        keys: tuple[str, str] | None = None, say: Callable[[str], None] = print, prefix: str = "", silence: float = 10.0, deadline: float = 60.0,
    ) -> None:
        self.parts = parts
        self.region, self.account, self.guard = region, account, guard
        self.prefix, self.silence, self.deadline = prefix, silence, deadline
        self._keys, self._credentials = keys, credentials
        self._names = sorted(path.stem for path in MODELS.glob("*.json"))
        self._services: dict[str, Service] = {}
        self._say, self._said = say, set[str]()

    # ---- is it for us -------------------------------------------------------------------------------------------

    def wants(self, request: web.BaseRequest) -> bool:
        """Whether this is a call of an AWS client, and no HTTP request for a function. Every request is asked: it must be quick."""
        target, headers = request.raw_path, request.headers
        if self.prefix:
            return target.startswith(self.prefix) and target[len(self.prefix):][:1] in ("", "/", "?")
        authorization = headers.get(hdrs.AUTHORIZATION)
        if (authorization is not None and authorization.startswith("AWS4-")) or "X-Amz-Credential=" in target:
            return self._wants_signed(target, _TARGET in headers, authorization)
        return _TARGET in headers or (target.startswith("/2") and self._is_known(target))

    def _wants_signed(self, target: str, targeted: bool, authorization: str | None) -> bool:
        path, _, query = target.partition("?")
        scope = claimed_scope(authorization, query)
        if scope is not None and scope.service == "execute-api":
            return False
        if targeted or self._is_known(path):
            return True
        if scope is None:
            return False
        service = self._service(scope.service)
        return service is None or service.reaches(path)     # whoever means a service that is none of ours means no function either

    def _is_known(self, path: str) -> bool:
        """Whether a path begins with a date that is one of AWS's, of which its APIs have the versions."""
        dated = _DATED.match(path)
        return dated is not None and dated[1] in self._dates

    @cached_property
    def _dates(self) -> frozenset[str]:
        uris = [uri for service in filter(None, map(self._service, self._names)) for uri in service.table.uris]
        return frozenset(dated[1] for dated in map(_DATED.match, uris) if dated)

    def _service(self, name: str) -> Service | None:
        """The service with this signing name; None where we have no table of it. Tables are read when they are first asked for."""
        service = self._services.get(name)
        if service is None and name in self._names:
            service = self._services[name] = Service(Table.load(name))
        return service

    def _service_of(self, path: str, target: str, content_type: str, scope: Scope | None) -> Service:
        """The service that is called; one without operations where it is none of ours."""
        signed = self._service(scope.service) if scope is not None else None
        if signed is not None and (signed.is_target(target) or (not target and signed.reaches(path))):
            return signed
        for service in filter(None, map(self._service, self._names)):
            if service.is_target(target) or (not target and service.protocol.startswith("rest") and service.reaches(path)):
                return service
        return _stranger(target, scope, content_type)

    # ---- one request --------------------------------------------------------------------------------------------

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One call, start to end."""
        path, _, query = request.raw_path.partition("?")
        path = path.removeprefix(self.prefix) or "/"
        scope = claimed_scope(request.headers.get(hdrs.AUTHORIZATION), query)
        service = self._service_of(path, request.headers.get(_TARGET, ""), request.content_type, scope)
        request_id = new_id()
        try:
            if self.guard is not None:
                self.guard.admit(request)
            if path.startswith(DOWNLOADS):
                return self.parts.downloads.serve(path, request.query)
            reply = await self._answer(request, path, query, service, scope, request_id)
        except MicrolamError as error:
            reply = service.fail(error, request_id)
        return _response(reply, request_id) if isinstance(reply, WireReply) else await _stream(request, reply, request_id)

    async def _answer(
        self, request: web.BaseRequest, path: str, query: str, service: Service, scope: Scope | None, request_id: str,
    ) -> WireReply | Streaming:
        asked = WireRequest(method=request.method, path=path, query=query, headers=request.headers)
        # What a REST request asks for stands in its head, and says how large its body may be.
        operation, labels = service.match(asked) if service.protocol.startswith("rest") else (None, {})
        asked = asked.with_body(await self._body(request, operation))
        session = await self._session(service, scope)
        if self._keys is not None:
            self._authenticate(asked, service, session)
        asked = _whole(asked)
        if operation is None:
            operation, labels = service.match(asked)
        answer = ANSWERS.get(service.name, {}).get(operation.name)
        if answer is None:
            raise Unsupported(operation=f"{service.name}:{operation.name}")
        params = service.parse(operation, labels, asked)
        service.check(operation, params)
        call = self._call(request, scope, session, request_id)
        try:
            result = await answer(call, params)
        except NotFound as error:
            self._say_once(remedy(error, self.parts.functions.all(), call.region, call.account))
            raise
        if operation.streams is not None and operation.streams.name in result:
            return Streaming(service.stream_head(operation, result), _frames(service, operation, result[operation.streams.name]))
        return service.respond(operation, result, request_id)

    async def _session(self, service: Service, scope: Scope | None) -> Session | None:
        """The session whose keys the caller uses; raises TokenExpired where they hold no longer."""
        session = await self.parts.sessions.find(scope.access_key) if scope is not None else None
        if session is not None and session.expires_at <= datetime.now(UTC):
            raise TokenExpired(service.protocol)
        return session

    def _call(self, request: web.BaseRequest, scope: Scope | None, session: Session | None, request_id: str) -> Call:
        """Who calls: keys of a session are its role's account, an access key of twelve digits is the account, and the signature names the region."""
        account = self.account
        if session is not None:
            account = session.account
        elif scope is not None and _ACCOUNT.fullmatch(scope.access_key):
            account = scope.access_key
        return Call(
            **vars(self.parts), session=session, origin=f"{request.scheme}://{request.host}{self.prefix}", account=account,
            region=scope.region if scope is not None else self.region, request_id=request_id,
            trace=request.headers.get("X-Amzn-Trace-Id", ""), now=datetime.now(UTC), face="api", say=self._say_once,
        )

    def _say_once(self, line: str | None) -> None:
        if line is not None and line not in self._said:
            self._said.add(line)
            self._say(line)

    async def _body(self, request: web.BaseRequest, operation: Operation | None) -> bytes:
        name = operation.name if operation is not None else ""
        limit = LIMITS.get(name, SYNC_PAYLOAD_LIMIT)
        try:
            return await read_body(request, limit=limit, silence=self.silence, deadline=self.deadline)
        except RequestTooLarge:
            raise RequestTooLarge(reason=f"Request must be smaller than {limit} bytes for the {CALLED.get(name, name or 'requested')} operation") from None
        except TimeoutError:
            raise RequestCutShort() from None
        except web.RequestPayloadError:
            raise Unreadable(reason="The body ended early.") from None

    def _authenticate(self, asked: WireRequest, service: Service, session: Session | None) -> None:
        """Raise SignatureRefused where a request is not signed right by one of our key pairs, now."""
        signed = Signed(method=asked.method, path=self.prefix + asked.path, query=asked.query, headers=asked.headers.items(), body=asked.body)
        signature = read_signature(signed)
        if signature is None:
            claimed = claimed_scope(asked.headers.get(hdrs.AUTHORIZATION), asked.query)
            raise SignatureIncomplete(service.protocol) if claimed else SignatureMissing(service.protocol)
        secret = self._secret(signature.scope.access_key, session)
        if secret is None or (session is not None and session.token != _token(asked)):
            raise KeyUnknown(service.protocol)
        reason = untimely(signature, datetime.now(UTC))
        if reason is not None:
            raise SignatureRefused(service.protocol, reason=reason)
        if signature.scope.service != service.signing_name:
            raise SignatureRefused(service.protocol, reason=f"Credential should be scoped to correct service: '{service.signing_name}'. ")
        if not is_valid(signed, signature, secret):
            raise SignatureWrong(service.protocol)

    def _secret(self, access_key: str, session: Session | None) -> str | None:
        """The secret that belongs to an access key; None where it is nobody's."""
        if session is not None:
            return session.secret_key
        if self._keys is not None and access_key == self._keys[0]:
            return self._keys[1]
        # A handler's access key is its account, whichever it is.
        return self._credentials.secret_key if self._credentials is not None and _ACCOUNT.fullmatch(access_key) else None


def _token(asked: WireRequest) -> str | None:
    return asked.headers.get("X-Amz-Security-Token") or asked.arguments.get("X-Amz-Security-Token")


def _whole(asked: WireRequest) -> WireRequest:
    """The request with its body out of the chunks in which some clients sign it."""
    if "aws-chunked" not in asked.headers.get(hdrs.CONTENT_ENCODING, "") and not asked.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return asked
    try:
        return asked.with_body(dechunked(asked.body))
    except ValueError:
        raise Unreadable(reason="The body is not aws-chunked, as the head says.") from None


def _stranger(target: str, scope: Scope | None, content_type: str) -> Service:
    """A service that is none of ours, so that its clients get a refusal they can read: which protocol it speaks shows in what was asked."""
    name = scope.service if scope is not None else target.partition(".")[0] or "AWS"
    if target:
        protocol = "json"
    elif content_type == "application/x-www-form-urlencoded":
        protocol = "query"
    else:
        protocol = "rest-xml" if name in _XML_SERVICES else "rest-json"
    metadata = {"service": name, "protocol": protocol, "jsonVersion": "1.0", "signingName": name}
    return Service(Table({"metadata": metadata, "operations": {}, "shapes": {}}))


def _response(reply: WireReply, request_id: str) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body, headers={**reply.headers, "x-amzn-RequestId": request_id})
    if reply.status in (408, 413):
        response.force_close()      # the rest of the body is not read
    return response


async def _frames(service: Service, operation: Operation, events: Events) -> AsyncGenerator[bytes, None]:
    async for name, members in events:
        yield service.event(operation, name, members)


async def _stream(request: web.BaseRequest, reply: Streaming, request_id: str) -> web.StreamResponse:
    """Send a reply bit by bit, until it ends or its reader has gone."""
    response = web.StreamResponse(status=reply.head.status, headers={**reply.head.headers, "x-amzn-RequestId": request_id})
    await response.prepare(request)
    with suppress(ConnectionError):
        async with aclosing(reply.frames) as frames:
            if reply.head.body:
                await response.write(reply.head.body)
            async for frame in frames:
                await response.write(frame)
            await response.write_eof()
    return response
