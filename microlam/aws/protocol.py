"""The wire ⇄ dict codec: finds a request's operation, reads its members, checks them, writes replies and errors.

One table drives all four protocols: rest-json, rest-xml, json and query. Members are dicts of plain values, datetimes and bytes.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from microlam.aws import binding, constraints, eventstream, json_body, query_body, xml_body
from microlam.aws.binding import WireRequest
from microlam.aws.errors import Unreadable, Unsupported, ValidationFailed, WireError
from microlam.aws.tables import Member, Operation, Shape, Table
from microlam.errors import MicrolamError

# An operation's members, in and out. What each of them holds is the table's to say and to check, not mypy's.
Params = dict[str, Any]

# What a service calls a request that breaks its tables' limits, where that is not ValidationException.
VALIDATION = {"iam": "ValidationError", "logs": "InvalidParameterException", "sts": "ValidationError"}


class WireReply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Service:
    """One AWS service: its table, and its protocol's way of saying things."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.name = str(table.metadata["service"])
        self.protocol = str(table.metadata["protocol"])
        self.signing_name = str(table.metadata.get("signingName") or table.metadata["endpointPrefix"])

    def is_target(self, target: str) -> bool:
        """Whether an X-Amz-Target header names this service."""
        prefix = self.table.metadata.get("targetPrefix")
        return prefix is not None and target.startswith(f"{prefix}.")

    # ---- which operation ----------------------------------------------------------------------------------------

    def reaches(self, path: str) -> bool:
        """Whether the path is one of this service's, whatever the method."""
        if self.protocol in ("json", "query"):
            return path in ("", "/")
        return bool(self.table.routes.at(path))

    def match(self, request: WireRequest) -> tuple[Operation, dict[str, str]]:
        """The operation that is asked for, and the labels in its path; raises Unsupported for what microlam does not answer."""
        if self.protocol == "json":
            return self._named(request.headers.get("X-Amz-Target", "").rpartition(".")[2]), {}
        if self.protocol == "query":
            return self._named(dict(request.form).get("Action", "")), {}
        routes = [route for route in self.table.routes.at(request.path) if route.method == request.method and binding.has(request, route.fixed)]
        # Where required members are missing, the operation that could be meant says so.
        route = next((route for route in routes if binding.has(request, route.needed)), routes[-1] if routes else None)
        if route is None:
            raise Unsupported(operation=f"{request.method} {request.path} of {self.name}")
        if not route.supported:
            raise Unsupported(operation=f"{self.name}:{route.operation}")
        return self.table.operations[route.operation], route.labels(request.path)

    def _named(self, name: str) -> Operation:
        if name not in self.table.operations.raw:
            raise Unsupported(operation=f"{self.name}:{name}" if name else f"a request to {self.name} that names no operation")
        return self.table.operations[name]

    # ---- request → members --------------------------------------------------------------------------------------

    def parse(self, operation: Operation, labels: Mapping[str, str], request: WireRequest) -> Params:
        """The members of a request; raises Unreadable where it is not of the form its protocol asks for."""
        shape = operation.input
        if self.protocol == "query":
            return _members(query_body.read(shape, query_body.tree(request.form)))
        if self.protocol == "json":
            return _members(json_body.read(shape, _json(request.body)))
        params = {member.name: value for member in shape.located_members if (value := binding.located(operation, member, labels, request)) is not None}
        return params | self._payload(shape, request.body)

    def _payload(self, shape: Shape, body: bytes) -> Params:
        """Those members of a REST request that are its body."""
        if not body or not shape.body_members:
            return {}
        if shape.payload is None:
            return _members(self._read(shape, body, shape.body_members))
        payload = shape.members[shape.payload].shape
        if payload.kind in ("blob", "string"):
            return {shape.payload: body if payload.kind == "blob" else body.decode(errors="replace")}
        return {shape.payload: self._read(payload, body)}

    def _read(self, shape: Shape, body: bytes, members: Sequence[Member] | None = None) -> Any:
        if self.protocol == "rest-json":
            return json_body.read(shape, _json(body))
        root = xml_body.parse(body)
        return xml_body.read(shape, root) if members is None else xml_body.read_members(members, root)

    def check(self, operation: Operation, params: Params) -> None:
        """Raise ValidationFailed, with AWS's own sentences, where members break what the table says of them."""
        try:
            constraints.check(operation.input, params)
        except ValidationFailed as failed:
            failed.code = VALIDATION.get(self.name, failed.code)
            raise

    # ---- result → reply -----------------------------------------------------------------------------------------

    def respond(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> WireReply:
        """The reply that carries a result; members that are None are left out."""
        if self.protocol == "query":
            return WireReply(200, {"Content-Type": "text/xml"}, self._query_reply(operation, result, request_id).encode())
        if self.protocol == "json":
            return WireReply(200, {"Content-Type": self._json_type}, orjson.dumps(json_body.write(operation.output, result)) if operation.output else b"")
        return self._rest_reply(operation, result)

    def _query_reply(self, operation: Operation, result: Mapping[str, Any], request_id: str) -> str:
        members = xml_body.write_members(operation.output.members.values(), result) if operation.output else ""
        inner = xml_body.element(operation.wrapper, members) if operation.wrapper else members
        inner += f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        return xml_body.element(operation.name + "Response", inner, namespace={"uri": self.table.metadata["xmlNamespace"]})

    def _rest_reply(self, operation: Operation, result: Mapping[str, Any]) -> WireReply:
        status, shape = operation.status, operation.output
        headers: dict[str, str] = {}
        if shape is None:
            return WireReply(status, headers, b"")
        for member in shape.located_members:
            value = result.get(member.name)
            if value is None:
                continue
            if member.location == "statusCode":
                status = value
            else:
                headers.update(binding.written(member, value))
        content_type, body = self._rest_body(shape, result)
        if content_type and all(member.wire != "Content-Type" for member in shape.located_members):
            headers["Content-Type"] = content_type
        return WireReply(status, headers, body)

    def _rest_body(self, shape: Shape, result: Mapping[str, Any]) -> tuple[str, bytes]:
        if not shape.body_members:
            return "", b""
        if shape.payload is None:
            return self._written(shape, result, shape.body_members, shape.name, shape.namespace)
        member = shape.members[shape.payload]
        value = result.get(member.name)
        if member.shape.kind in ("blob", "string"):
            content_type = "application/json" if self.protocol == "rest-json" else "application/octet-stream"
            return content_type, value if isinstance(value, bytes) else str(value or "").encode()
        if value is None:
            return "", b""
        # S3 renames the root of its documents where the member says a name.
        return self._written(member.shape, value, list(member.shape.members.values()), member.wire, member.namespace or member.shape.namespace)

    def _written(
        self, shape: Shape, value: Any, members: Sequence[Member], root: str, namespace: Mapping[str, str] | None,
    ) -> tuple[str, bytes]:
        if self.protocol == "rest-json":
            document = json_body.write_members(members, value) if shape.kind == "structure" and not shape.document else json_body.write(shape, value)
            return "application/json", orjson.dumps(document)
        if shape.kind != "structure":
            return "application/xml", (xml_body.DECLARATION + xml_body.write(root, shape, value)).encode()
        document = xml_body.element(root, xml_body.write_members(members, value), namespace=namespace)
        return "application/xml", (xml_body.DECLARATION + document).encode()

    @property
    def _json_type(self) -> str:
        return f"application/x-amz-json-{self.table.metadata['jsonVersion']}"

    # ---- event streams ------------------------------------------------------------------------------------------

    def stream_head(self, operation: Operation, result: Mapping[str, Any]) -> WireReply:
        """The reply that a stream of events follows; `result` has all members but the stream."""
        stream = operation.streams
        assert stream is not None
        rest = {name: value for name, value in result.items() if name != stream.name}
        headers = self._rest_reply(operation, rest).headers if self.protocol.startswith("rest") else {}
        headers["Content-Type"] = eventstream.CONTENT_TYPE
        if self.protocol != "json" or operation.output is None:
            return WireReply(operation.status, headers, b"")
        # Without HTTP bindings, the other members come as an event of their own.
        kind = {":message-type": "event", ":event-type": "initial-response", ":content-type": self._json_type}
        return WireReply(operation.status, headers, eventstream.frame(kind, orjson.dumps(json_body.write(operation.output, rest))))

    def event(self, operation: Operation, name: str, value: Mapping[str, Any]) -> bytes:
        """One event of a reply's stream, as a frame."""
        stream = operation.streams
        assert stream is not None
        shape = stream.shape.members[name].shape
        headers: dict[str, object] = {":message-type": "event", ":event-type": name}
        headers |= {member.wire: value[member.name] for member in shape.members.values() if member.event_header and value.get(member.name) is not None}
        content_type, payload = self._event_payload(shape, value)
        return eventstream.frame(headers | ({":content-type": content_type} if content_type else {}), payload)

    def _event_payload(self, shape: Shape, value: Mapping[str, Any]) -> tuple[str, bytes]:
        member = next((member for member in shape.members.values() if member.event_payload), None)
        if member is not None and member.shape.kind in ("blob", "string"):
            payload = value.get(member.name) or b""
            return ("application/octet-stream", payload) if isinstance(payload, bytes) else ("text/plain", str(payload).encode())
        body_shape, body = (member.shape, value.get(member.name) or {}) if member else (shape, value)
        members = [item for item in body_shape.members.values() if not item.event_header]
        if not members:
            return "", b""
        if self.protocol.endswith("json"):
            return "application/json", orjson.dumps(json_body.write_members(members, body))
        return "text/xml", xml_body.element(body_shape.name, xml_body.write_members(members, body)).encode()

    # ---- error → reply ------------------------------------------------------------------------------------------

    def fail(self, error: MicrolamError, request_id: str) -> WireReply:
        """An error in the service's own form."""
        members = dict(error.members) if isinstance(error, WireError) else {}
        if self.protocol in ("query", "rest-xml"):
            return WireReply(error.status, {"Content-Type": "text/xml"}, self._xml_error(error, request_id).encode())
        shape = self._error_shape(error.code)
        document, headers = _error_document(shape, error, members)
        if self.protocol == "rest-json":
            return WireReply(error.status, {"Content-Type": "application/json", "x-amzn-ErrorType": error.code, **headers}, orjson.dumps(document))
        if self.table.metadata.get("awsQueryCompatible") is not None:
            headers["x-amzn-query-error"] = f"{error.code};{_side(error)}"
        return WireReply(error.status, {"Content-Type": self._json_type, **headers}, orjson.dumps({"__type": shape.name or error.code, **document}))

    def _error_shape(self, code: str) -> Shape:
        name = self.table.errors.get(code)
        return self.table.shapes[name] if name else Shape(name="", kind="structure")

    def _xml_error(self, error: MicrolamError, request_id: str) -> str:
        said = f"<Code>{error.code}</Code><Message>{xml_body.text(str(error))}</Message>"
        if self.name == "s3":
            return f"{xml_body.DECLARATION}<Error>{said}<RequestId>{request_id}</RequestId></Error>"
        if self.name == "ec2":
            return f"{xml_body.DECLARATION}<Response><Errors><Error>{said}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        inner = f"<Error><Type>{_side(error)}</Type>{said}</Error><RequestId>{request_id}</RequestId>"
        namespace = self.table.metadata.get("xmlNamespace")
        return xml_body.element("ErrorResponse", inner, namespace={"uri": namespace} if namespace else None)


# ---- parts -------------------------------------------------------------------------------------------------------------

def _json(body: bytes) -> object:
    try:
        return orjson.loads(body or b"{}")
    except ValueError as error:
        raise Unreadable(reason=f"The body is not JSON: {error}.") from None


def _members(value: Any) -> Params:
    return value if isinstance(value, dict) else {}


def _error_document(shape: Shape, error: MicrolamError, members: Params) -> tuple[Params, dict[str, str]]:
    """The body and the headers of an error: its message under the name its shape gives it, its type, and members of its own."""
    if "Type" in shape.members and error.sided:
        members.setdefault("Type", "Service" if error.status >= 500 else "User")
    # What a client sent may be echoed, and need not be text.
    members.setdefault(shape.message, str(error).encode("utf-8", "replace").decode())
    headers: dict[str, str] = {}
    document: Params = {}
    for name, value in members.items():
        member = shape.members.get(name)
        if value is None:
            continue
        if member is not None and member.location == "header":
            headers.update(binding.written(member, value))
        else:
            document[member.wire if member is not None else name] = value if member is None else json_body.write(member.shape, value, member)
    return document, headers


def _side(error: MicrolamError) -> str:
    return "Receiver" if error.status >= 500 else "Sender"
