"""The codec against botocore: what its clients send is read as they meant it, what it writes they read as it was meant."""
from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator
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

from microlam.aws.binding import WireRequest
from microlam.aws.constraints import compiled
from microlam.aws.errors import TooManyRequests, Unreadable, ValidationFailed
from microlam.aws.protocol import Service, WireReply
from microlam.aws.tables import MODELS, Table
from microlam.aws.values import read_instant, write_instant
from microlam.errors import FunctionNotFound, InvalidParameter, MicrolamError
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


# ---- constraints, in AWS's words ------------------------------------------------------------------------------------

NAME = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
FUNCTION = {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/r", "Code": {}}
MAPPING = {"FunctionName": "f", "EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:a"


@pytest.mark.parametrize(("operation", "params", "sentences"), [
    ("CreateFunction", {**FUNCTION, "Role": "r1"}, [
        r"Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
    ]),
    ("CreateFunction", {**FUNCTION, "FunctionName": "!" * 141}, [
        f"Value '{'!' * 141}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 140",
        f"Value '{'!' * 141}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: {NAME}",
    ]),
    ("CreateFunction", {**FUNCTION, "Architectures": ["x86_64", "arm64"]}, [
        "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1",
    ]),
    ("CreateFunction", {**FUNCTION, "Architectures": ["X86_64"]}, [
        "Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: "
        "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    ]),
    ("CreateFunction", {**FUNCTION, "SnapStart": {"ApplyOn": "invalidOption"}}, [
        "Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: Member must satisfy enum value set: [PublishedVersions, None]",
    ]),
    ("CreateFunction", {**FUNCTION, "VpcConfig": {"SubnetIds": ["bad"]}}, [
        "Value '[bad]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal "
        "to 1024, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: subnet-[0-9a-z]*]",
    ]),
    ("CreateFunction", {**FUNCTION, "Layers": [LAYER]}, [
        f"Value '[{LAYER}]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, "
        "Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: "
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
        "|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), Member must not be null]",
    ]),
    ("CreateFunction", {**FUNCTION, "FileSystemConfigs": [{"Arn": "x" * 257, "LocalMountPath": "/mnt/a"}]}, None),
    ("CreateFunction", {}, [
        f"Value null at '{name}' failed to satisfy constraint: Member must not be null" for name in ("code", "role", "functionName")
    ]),
    ("GetFunction", {"FunctionName": "*", "Qualifier": "a" * 129}, None),
    ("UpdateAlias", {"FunctionName": "f", "Name": "a", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}}, [
        "Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have "
        "value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]",
    ]),
    ("UpdateAlias", {"FunctionName": "f", "Name": "a", "RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}}, [
        "Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must satisfy constraint: [Member must "
        "have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]",
    ]),
    ("CreateEventSourceMapping", {**MAPPING, "StartingPosition": "invalid"}, [
        "Value 'invalid' at 'startingPosition' failed to satisfy constraint: Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
    ]),
    ("PutProvisionedConcurrencyConfig", {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 0}, [
        "Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 1",
    ]),
    ("PutFunctionRecursionConfig", {"FunctionName": "f", "RecursiveLoop": "InvalidValue"}, [
        "Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: Member must satisfy enum value set: [Terminate, Allow]",
    ]),
    ("UntagResource", {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"}, [
        "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
    ]),
    ("CreateFunctionUrlConfig", {"FunctionName": "f", "AuthType": "NONE", "Qualifier": "1"}, [
        r"Value '1' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)",
    ]),
])
def test_a_broken_constraint_is_said_as_aws_says_it(operation: str, params: dict[str, Any], sentences: list[str] | None) -> None:
    said = said_of("lambda", operation, params)
    if sentences is None:
        paths = {"CreateFunction": ["fileSystemConfigs.1.member.arn"] * 2, "GetFunction": ["qualifier", "functionName"]}[operation]
        assert re.findall(r"at '([^']*)'", said) == paths
    else:
        errors = "error" if len(sentences) == 1 else "errors"
        assert said == f"{len(sentences)} validation {errors} detected: {'; '.join(sentences)}"


def test_what_keeps_every_constraint_passes() -> None:
    assert said_of("lambda", "CreateFunction", {
        **FUNCTION, "FunctionName": "my-function", "Tags": {"a": "b"}, "Architectures": ["arm64"], "Layers": [LAYER + ":1"], "Timeout": 3,
    }) == ""
    tags = [{"Key": "Ünï code", "Value": ""}]
    assert said_of("iam", "CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": "{}", "Tags": tags}) == ""


def test_a_secret_value_is_not_repeated() -> None:
    said = said_of("lambda", "CreateFunction", {**FUNCTION, "Environment": {"Variables": {"1!": "hush"}}})
    assert "detected: Value at 'environment.variables' failed" in said
    assert "hush" not in said


def said_of(name: str, operation: str, params: dict[str, Any]) -> str:
    """What breaks a constraint; nothing where all are kept."""
    service = service_of(name)
    try:
        service.check(service.table.operations[operation], params)
    except ValidationFailed as failed:
        return str(failed)
    return ""


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_pattern_of_a_table_is_understood(name: str) -> None:
    patterns = {raw["pattern"] for raw in service_of(name).table.raw["shapes"].values() if "pattern" in raw}
    assert patterns
    assert not [pattern for pattern in patterns if "\\p{" in compiled(pattern).pattern]      # else it does not compile: Python has no such classes


# ---- what cannot be read ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("service", "target", "body"), [
    ("logs", "DescribeLogGroups", b"{"), ("logs", "DescribeLogGroups", b"[]"), ("logs", "DescribeLogGroups", b'{"limit": "many"}'),
    ("logs", "DescribeLogGroups", b'{"limit": true}'), ("logs", "DescribeLogGroups", b'{"logGroupNamePrefix": 5}'),
    ("logs", "DescribeLogGroups", b'{"accountIdentifiers": {}}'), ("sts", "", b"Action=AssumeRole&DurationSeconds=long"), ("sts", "", b"\xff"),
    ("kinesis", "PutRecord", b'{"Data": "?"}'), ("kinesis", "GetShardIterator", b'{"Timestamp": "soon"}'),
    ("kinesis", "GetShardIterator", b'{"Timestamp": 1e300}'),
])
def test_a_request_of_another_form_is_unreadable(service: str, target: str, body: bytes) -> None:
    request = WireRequest(method="POST", path="/", headers=CIMultiDict({"X-Amz-Target": f"X.{target}"}), body=body)
    with pytest.raises(Unreadable):
        service_of(service).parse(*service_of(service).match(request), request)


@pytest.mark.parametrize("body", [b"<a", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b""])
def test_xml_that_brings_entities_or_does_not_end_is_unreadable(body: bytes) -> None:
    request = WireRequest(method="POST", path="/bucket", query="delete", body=body or b"\x00")
    with pytest.raises(Unreadable):
        service_of("s3").parse(*service_of("s3").match(request), request)


@pytest.mark.parametrize(("text", "expected"), [
    ("2026-11-23T06:00:00Z", datetime(2026, 11, 23, 6, tzinfo=UTC)), ("2026-11-23T07:00:00.500+01:00", datetime(2026, 11, 23, 6, 0, 0, 500_000, UTC)),
    ("Mon, 23 Nov 2026 06:00:00 GMT", datetime(2026, 11, 23, 6, tzinfo=UTC)), ("1795413600", datetime(2026, 11, 23, 6, tzinfo=UTC)),
    ("1795413600.5", datetime(2026, 11, 23, 6, 0, 0, 500_000, UTC)),
])
def test_an_instant_is_read_however_it_is_spelled(text: str, expected: datetime) -> None:
    assert read_instant(text) == expected


def test_fractions_of_seconds_are_written() -> None:
    moment = datetime(2026, 11, 23, 6, 0, 0, 123_456, UTC)
    assert write_instant(moment, "iso8601") == "2026-11-23T06:00:00.123Z"
    assert write_instant(moment, "unixTimestamp") == "1795413600.123"
    assert write_instant(moment, "rfc822") == "Mon, 23 Nov 2026 06:00:00 GMT"


# ---- errors ----------------------------------------------------------------------------------------------------------

def test_a_rest_json_error_has_its_type_and_the_message_under_its_shapes_name() -> None:
    service = service_of("lambda")
    missing = service.fail(FunctionNotFound(arn="a"), "id")
    assert (missing.status, missing.headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")
    assert orjson.loads(missing.body) == {"Type": "User", "Message": "Function not found: a"}
    assert orjson.loads(service.fail(InvalidParameter(reason="no"), "id").body) == {"Type": "User", "message": "no"}
    assert orjson.loads(service.fail(MicrolamError(reason="x"), "id").body) == {"Type": "Service", "Message": "Something went wrong: x"}


def test_members_of_an_error_go_where_its_shape_has_them_and_none_leaves_one_out() -> None:
    reply = service_of("lambda").fail(TooManyRequests(members={"Reason": "r", "retryAfterSeconds": "1", "Type": None}), "id")
    assert orjson.loads(reply.body) == {"message": "Rate Exceeded.", "Reason": "r"}
    assert reply.headers["Retry-After"] == "1"


@pytest.mark.parametrize("name", ["sts", "iam", "sns", "s3", "route53", "logs", "sqs", "lambda"])
def test_botocore_reads_every_form_of_error(name: str) -> None:
    reply = service_of(name).fail(FunctionNotFound(arn="<a> & b"), "the-id")
    parser = parsers.create_parser(model_of(name).resolved_protocol)
    raw = {"status_code": reply.status, "headers": CIMultiDict(reply.headers), "body": reply.body}
    parsed: dict[str, Any] = parser.parse(raw, None)  # type: ignore[arg-type]
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == ("ResourceNotFoundException", "Function not found: <a> & b")
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == 404


# ---- event streams ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "operation", "head", "events"), [
    ("lambda", "InvokeWithResponseStream", {"StatusCode": 200, "ExecutedVersion": "3"}, [
        {"PayloadChunk": {"Payload": b"one \x00"}}, {"PayloadChunk": {"Payload": b"two"}}, {"InvokeComplete": {"ErrorCode": "E", "LogResult": "bG9n"}},
    ]),
    ("logs", "StartLiveTail", {}, [
        {"sessionStart": {"requestId": "r", "logGroupIdentifiers": ["g"]}},
        {"sessionUpdate": {"sessionMetadata": {"sampled": False}, "sessionResults": [{"message": "m", "timestamp": 7}]}},
    ]),
    ("kinesis", "SubscribeToShard", {}, [{"SubscribeToShardEvent": {"ContinuationSequenceNumber": "1", "MillisBehindLatest": 0, "Records": [
        {"SequenceNumber": "1", "Data": b"d", "PartitionKey": "k", "ApproximateArrivalTimestamp": datetime(2026, 1, 1, tzinfo=UTC)},
    ]}}]),
    ("s3", "SelectObjectContent", {}, [{"Records": {"Payload": b"a,b"}}, {"Stats": {"Details": {"BytesScanned": 3}}}, {"End": {}}]),
])
def test_a_stream_of_events_is_read_by_botocore(name: str, operation: str, head: dict[str, Any], events: list[dict[str, Any]]) -> None:
    service, shape = service_of(name), model_of(name).operation_model(operation)
    known = service.table.operations[operation]
    reply = service.stream_head(known, head)
    frames = reply.body + b"".join(service.event(known, kind, value) for event in events for kind, value in event.items())
    raw = {"status_code": reply.status, "headers": CIMultiDict(reply.headers), "body": Frames(frames), "context": {"operation_name": operation}}
    parsed: dict[str, Any] = parsers.create_parser(model_of(name).resolved_protocol).parse(raw, shape.output_shape)  # type: ignore[arg-type]
    assert {key: parsed[key] for key in head} == head
    assert shape.output_shape is not None
    stream = next(key for key, member in shape.output_shape.members.items() if member.serialization.get("eventstream"))
    assert [plain(event) for event in parsed[stream]] == [plain(event) for event in events]


class Frames(BytesIO):
    """A streamed body as botocore wants it."""

    def stream(self) -> Iterator[bytes]:
        # In pieces of odd size: a frame may come in several.
        while piece := self.read(7):
            yield piece


# ---- a client's side ---------------------------------------------------------------------------------------------------


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
