"""The AWS wire: one request, start to end. boto3 and the `aws` command, pointed at this server, speak to `Wire.serve`."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from aiohttp import hdrs, web
from multidict import istr

from microlam.aws import lambda_
from microlam.aws.binding import WireRequest
from microlam.aws.call import Answers, Call, Functions, Invoker
from microlam.aws.errors import KeyUnknown, RequestCutShort, SignatureIncomplete, SignatureMissing, SignatureRefused, SignatureWrong, Unreadable, Unsupported
from microlam.aws.protocol import Service, WireReply
from microlam.aws.signature import Scope, Signed, claimed_scope, dechunked, is_valid, read_signature, untimely
from microlam.aws.tables import MODELS, Operation, Table
from microlam.errors import MicrolamError, RequestTooLarge
from microlam.executors import Credentials
from microlam.gateway.body import read_body
from microlam.guard import Guard
from microlam.model import SYNC_PAYLOAD_LIMIT, new_id
from microlam.store import Store

ANSWERS: Mapping[str, Answers] = {"lambda": lambda_.OPERATIONS}

# AWS names the operation in its refusal; Invoke's own name there is another.
CODE_LIMIT = 70_167_211
LIMITS = {"CreateFunction": CODE_LIMIT, "UpdateFunctionCode": CODE_LIMIT, "PublishLayerVersion": CODE_LIMIT}
CALLED = {"Invoke": "InvokeFunction"}

_TARGET = istr("X-Amz-Target")
_DATED = re.compile(r"/\d{4}-\d{2}-\d{2}(?:/|$)")
_ACCOUNT = re.compile(r"\d{12}")


class Wire:
    """Answers requests of AWS clients.

    With `keys` (an access key and its secret) every request must be signed with them, or with the handlers' own `credentials`.
    """

    def __init__(
        self, functions: Functions, invoker: Invoker, store: Store, *, region: str, account: str, guard: Guard | None = None,
        credentials: Credentials | None = None, keys: tuple[str, str] | None = None, say: Callable[[str], None] = print, prefix: str = "",
        silence: float = 10.0, deadline: float = 60.0,
    ) -> None:
        self.functions, self.invoker, self.store = functions, invoker, store
        self.region, self.account, self.guard = region, account, guard
        self.prefix, self.silence, self.deadline = prefix, silence, deadline
        self._secrets = dict([keys, *([(credentials.access_key, credentials.secret_key)] if credentials else [])]) if keys else None
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
        return _TARGET in headers or (target.startswith("/2") and _DATED.match(target) is not None)

    def _wants_signed(self, target: str, targeted: bool, authorization: str | None) -> bool:
        path, _, query = target.partition("?")
        scope = claimed_scope(authorization, query)
        if scope is not None and scope.service == "execute-api":
            return False
        if targeted or _DATED.match(path):
            return True
        service = self._service(scope.service) if scope is not None else None
        return service is not None and service.reaches(path)

    def _service(self, name: str) -> Service | None:
        """The service with this signing name; None where we have no table of it. Tables are read when they are first asked for."""
        service = self._services.get(name)
        if service is None and name in self._names:
            service = self._services[name] = Service(Table.load(name))
        return service

    def _service_of(self, path: str, target: str, scope: Scope | None) -> Service:
        """The service that is called; one without operations where it is none of ours."""
        signed = self._service(scope.service) if scope is not None else None
        if signed is not None and (signed.is_target(target) or (not target and signed.reaches(path))):
            return signed
        for service in filter(None, map(self._service, self._names)):
            if service.is_target(target) or (not target and service.protocol.startswith("rest") and service.reaches(path)):
                return service
        return _stranger(target, scope)

    # ---- one request --------------------------------------------------------------------------------------------

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One call, start to end."""
        path, _, query = request.raw_path.partition("?")
        path = path.removeprefix(self.prefix) or "/"
        scope = claimed_scope(request.headers.get(hdrs.AUTHORIZATION), query)
        service = self._service_of(path, request.headers.get(_TARGET, ""), scope)
        request_id = new_id()
        try:
            if self.guard is not None:
                self.guard.admit(request)
            reply = await self._answer(request, path, query, service, scope, request_id)
        except MicrolamError as error:
            reply = service.fail(error, request_id)
        return _response(reply, request_id)

    async def _answer(self, request: web.BaseRequest, path: str, query: str, service: Service, scope: Scope | None, request_id: str) -> WireReply:
        asked = WireRequest(method=request.method, path=path, query=query, headers=request.headers)
        # What a REST request asks for stands in its head, and says how large its body may be.
        operation, labels = service.match(asked) if service.protocol.startswith("rest") else (None, {})
        asked = asked.with_body(await self._body(request, operation))
        if self._secrets is not None:
            self._authenticate(asked, service, self._secrets)
        asked = _whole(asked)
        if operation is None:
            operation, labels = service.match(asked)
        answer = ANSWERS.get(service.name, {}).get(operation.name)
        if answer is None:
            raise Unsupported(operation=f"{service.name}:{operation.name}")
        params = service.parse(operation, labels, asked)
        service.check(operation, params)
        return service.respond(operation, await answer(self._call(scope, request_id), params), request_id)

    def _call(self, scope: Scope | None, request_id: str) -> Call:
        """Who calls: an access key of twelve digits is the account, and the signature names the region."""
        account = scope.access_key if scope is not None and _ACCOUNT.fullmatch(scope.access_key) else self.account
        return Call(
            functions=self.functions, invoker=self.invoker, store=self.store, region=scope.region if scope is not None else self.region, account=account,
            request_id=request_id, now=datetime.now(UTC), say=self._say_once,
        )

    def _say_once(self, line: str) -> None:
        if line not in self._said:
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

    def _authenticate(self, asked: WireRequest, service: Service, secrets: Mapping[str, str]) -> None:
        """Raise SignatureRefused where a request is not signed right by one of our key pairs, now."""
        signed = Signed(method=asked.method, path=self.prefix + asked.path, query=asked.query, headers=asked.headers.items(), body=asked.body)
        signature = read_signature(signed)
        if signature is None:
            claimed = claimed_scope(asked.headers.get(hdrs.AUTHORIZATION), asked.query)
            raise SignatureIncomplete(service.protocol) if claimed else SignatureMissing(service.protocol)
        secret = secrets.get(signature.scope.access_key)
        if secret is None:
            raise KeyUnknown(service.protocol)
        reason = untimely(signature, datetime.now(UTC))
        if reason is not None:
            raise SignatureRefused(service.protocol, reason=reason)
        if signature.scope.service != service.signing_name:
            raise SignatureRefused(service.protocol, reason=f"Credential should be scoped to correct service: '{service.signing_name}'. ")
        if not is_valid(signed, signature, secret):
            raise SignatureWrong(service.protocol)


def _whole(asked: WireRequest) -> WireRequest:
    """The request with its body out of the chunks in which some clients sign it."""
    if "aws-chunked" not in asked.headers.get(hdrs.CONTENT_ENCODING, "") and not asked.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return asked
    try:
        return asked.with_body(dechunked(asked.body))
    except ValueError:
        raise Unreadable(reason="The body is not aws-chunked, as the head says.") from None


def _stranger(target: str, scope: Scope | None) -> Service:
    """A service that is none of ours, so that its clients get a refusal they can read."""
    name = scope.service if scope is not None else target.partition(".")[0] or "AWS"
    metadata = {"service": name, "protocol": "json" if target else "rest-json", "jsonVersion": "1.0", "signingName": name}
    return Service(Table({"metadata": metadata, "operations": {}, "shapes": {}}))


def _response(reply: WireReply, request_id: str) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body, headers={**reply.headers, "x-amzn-RequestId": request_id})
    if reply.status in (408, 413):
        response.force_close()      # the rest of the body is not read
    return response
