"""The codec against botocore: what its clients send is read as they meant it, what it writes they read as it was meant."""
from __future__ import annotations

import random
import string
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore
import orjson
import pytest
from botocore import parsers, serialize
from botocore.awsrequest import prepare_request_dict
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from multidict import CIMultiDict

from microlam.aws.protocol import Service, WireReply, WireRequest
from microlam.aws.tables import MODELS, Table
from tests.distill import OPERATIONS, distil, text

# The protocols and the odd corners that the tables do not have yet: S3's paths, queries and attributes, maps of query, JSON of all kinds.
OTHERS = ["s3", "sqs", "sns", "events", "scheduler", "kinesis", "dynamodb", "apigateway", "apigatewayv2", "route53", "lex-runtime", "glacier"]


# ---- the tables ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_table_is_what_botocore_says(name: str) -> None:
    kept = (MODELS / f"{name}.json").read_text(encoding="utf-8")
    if orjson.loads(kept)["botocore"] != botocore.__version__:
        pytest.skip("the tables were made from another botocore")
    assert kept == text(distil(name, OPERATIONS[name]))


def test_no_table_is_left_over() -> None:
    assert {path.stem for path in MODELS.glob("*.json")} == set(OPERATIONS)


# ---- there and back --------------------------------------------------------------------------------------------------

@cache
def model_of(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@cache
def service_of(name: str) -> Service:
    if name in OPERATIONS:
        return Service(Table.load(name))
    return Service(Table(orjson.loads(text(distil(name, in_use(name))))))


def in_use(name: str) -> list[str]:
    """All operations of a service, but S3's older twins on the same paths and those told from the host name."""
    names = [operation for operation in model_of(name).operation_names if not model_of(name).operation_model(operation).deprecated]
    return [operation for operation in names if operation not in ("ListDirectoryBuckets", "WriteGetObjectResponse")]


@pytest.mark.parametrize("name", [*sorted(OPERATIONS), *OTHERS])
def test_requests_are_read_as_botocore_meant_them(name: str) -> None:
    service, model = service_of(name), model_of(name)
    for operation in service.table.operations.raw:
        chance = random.Random(f"{name} {operation}")
        for _ in range(6):
            asked = a_value(chance, model.operation_model(operation).input_shape)
            request = as_botocore_sends(model.operation_model(operation), asked)
            found, labels = service.match(request)
            assert found.name == operation
            assert plain(service.parse(found, labels, request)) == plain(asked), operation


@pytest.mark.parametrize("name", [*sorted(OPERATIONS), *OTHERS])
def test_replies_are_read_by_botocore_as_they_were_meant(name: str) -> None:
    service, model = service_of(name), model_of(name)
    for operation in service.table.operations.raw:
        chance = random.Random(f"{name} {operation}")
        shape = model.operation_model(operation)
        if shape.has_event_stream_output:
            continue
        for _ in range(6):
            result = a_value(chance, shape.output_shape)
            reply = service.respond(service.table.operations[operation], result, "an-id")
            assert plain(as_botocore_reads(shape, reply)) == plain(result), operation


def as_botocore_sends(operation: OperationModel, params: dict[str, Any]) -> WireRequest:
    serializer = serialize.create_serializer(operation.service_model.resolved_protocol, include_validation=False)
    request = serializer.serialize_to_request(params, operation)
    prepare_request_dict(request, "http://localhost/")
    url, body = urlsplit(request["url"]), request["body"]
    if isinstance(body, dict):
        body = urlencode(body, doseq=True)
    headers = CIMultiDict((key, value.decode() if isinstance(value, bytes) else str(value)) for key, value in request["headers"].items())
    return WireRequest(method=request["method"], path=url.path, query=url.query, headers=headers, body=body.encode() if isinstance(body, str) else body or b"")


def as_botocore_reads(operation: OperationModel, reply: WireReply) -> Any:
    parser = parsers.create_parser(operation.service_model.resolved_protocol)
    raw = {"status_code": reply.status, "headers": CIMultiDict(reply.headers), "body": BytesIO(reply.body) if operation.has_streaming_output else reply.body}
    found: dict[str, Any] = parser.parse(raw, operation.output_shape)  # type: ignore[arg-type]  # None is a shape too
    found.pop("ResponseMetadata", None)
    return found


def a_value(chance: random.Random, shape: Any, depth: int = 0) -> Any:
    """Any value of a shape."""
    if shape is None:
        return {}
    match shape.type_name:
        case "structure":
            return a_structure(chance, shape, depth)
        case "list":
            return [a_value(chance, shape.member, depth + 1) for _ in range(chance.randint(1, 2))]
        case "map":
            return {a_word(chance): a_value(chance, shape.value, depth + 1) for _ in range(chance.randint(1, 2))}
        case "integer" | "long":
            return chance.randint(1, 9)
        case "float" | "double":
            return chance.choice([0.5, 1.25, 40.0])
        case "boolean":
            return chance.random() < 0.5
        case "timestamp":
            return datetime(2026, 1, chance.randint(1, 28), 3, 4, 5, tzinfo=UTC)
        case "blob":
            return b"bytes\x00" + bytes([chance.randint(0, 127)])
    if shape.serialization.get("jsonvalue"):
        return {"a": [1, "ü"]}
    return chance.choice(shape.enum) if getattr(shape, "enum", None) else a_word(chance)


def a_structure(chance: random.Random, shape: Any, depth: int) -> dict[str, Any]:
    names = list(shape.members)
    if getattr(shape, "is_document_type", False):
        return {"any": ["thing", 1, None]}
    if getattr(shape, "is_tagged_union", False):
        names = [chance.choice(names)]
    wanted = [name for name in names if name in shape.required_members or (depth < 4 and chance.random() < 0.6) or is_status(shape.members[name])]
    if not wanted and depth and names:
        wanted = [next((name for name in names if shape.members[name].type_name not in ("structure", "list", "map")), names[0])]
    return {name: 200 if is_status(shape.members[name]) else a_value(chance, shape.members[name], depth + 1) for name in wanted}


def is_status(shape: Any) -> bool:
    return bool(shape.serialization.get("location") == "statusCode")


def a_word(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_letters, k=5)) + chance.choice(["", "", " &/", "ü+%", "a:b"])


def plain(value: Any) -> Any:
    """Without what the wire cannot tell from nothing; streams read, other spellings of a moment made one."""
    if hasattr(value, "read"):
        return value.read()
    if isinstance(value, dict):
        return {key: item for key, item in ((key, plain(item)) for key, item in value.items()) if item not in ({}, [], None, "", b"")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value
