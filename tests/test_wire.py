"""The wire through real HTTP, with real boto3 clients; functions and invoker are small peers that remember what they were asked."""
from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import boto3
import pytest
from aiohttp import ClientSession, web
from botocore import UNSIGNED
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials
from botocore.exceptions import ClientError

from microlam.aws import Wire
from microlam.aws.call import Parts
from microlam.aws.downloads import Downloads
from microlam.errors import FunctionNotFound, ReserveUsedUp, Throttled
from microlam.executors import Credentials
from microlam.functions.snapshot import Snapshot
from microlam.guard import Guard
from microlam.model import Alias, Invocation, Outcome, Version, function_arn
from microlam.resources.attached import Attached
from microlam.resources.buckets import Buckets
from microlam.resources.layers import Layers
from microlam.resources.logs import LogGroups
from microlam.resources.policies import Policies
from microlam.resources.roles import Roles
from microlam.resources.sessions import Sessions
from microlam.store import Store
from microlam.triggers import Triggers

HELLO = function_arn("hello")
PATH = "/2015-03-31/functions/hello/invocations"
SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: {}]"


# ---- peers -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Function:
    name: str
    arn: str


class Functions:
    """`hello` and its qualifiers, in one region of one account."""

    def __init__(self, arn: str = HELLO) -> None:
        self.versions_of = {(arn, None): "$LATEST", (arn, "$LATEST"): "$LATEST", (arn, "1"): "1", (arn, "live"): "1"}
        self.concurrency: Any = None

    async def current(self, arn: str, qualifier: str | None = None) -> Version:
        if (arn, qualifier) not in self.versions_of:
            raise FunctionNotFound(arn=arn)
        number = self.versions_of[arn, qualifier]
        return Version(arn=arn, number=number, handler="hello.handler", runtime="python3.11", root="/")

    def __contains__(self, arn: str) -> bool:
        return (arn, None) in self.versions_of

    def versions(self, arn: str) -> list[Snapshot]:
        return []

    def aliases(self, arn: str) -> list[Alias]:
        return []

    def revision(self, arn: str, qualifier: str | None = None) -> str | None:
        return None

    async def snapshot(self, arn: str, qualifier: str | None = None) -> Snapshot:
        raise FunctionNotFound(arn=arn)

    async def touch(self, arn: str, qualifier: str | None = None) -> None: ...

    def all(self) -> list[Function]:
        return [Function(arn.rpartition(":")[2], arn) for arn in sorted({arn for arn, _ in self.versions_of})]


class Invoker:
    """Echoes the payload, or ends as it is told to."""

    stopping = False

    def __init__(self) -> None:
        self.invoked: list[tuple[Version, Invocation]] = []
        self.enqueued: list[Invocation] = []
        self.committed = asyncio.Event()
        self.committed.set()
        self.ends: Callable[[Invocation], Outcome] = lambda invocation: Outcome(status="succeeded", payload=invocation.payload, logs=b"a line\n")

    async def invoke(self, version: Version, invocation: Invocation) -> Outcome:
        self.invoked.append((version, invocation))
        return self.ends(invocation)

    async def enqueue(self, *invocations: Invocation) -> None:
        await self.committed.wait()
        self.enqueued += invocations

    def caller(self, trace: str) -> str | None:
        return None


@dataclass
class Site:
    """A server with the wire on it, and clients of it."""

    url: str
    functions: Functions
    invoker: Invoker
    said: list[str]
    options: dict[str, Any] = field(default_factory=dict)

    async def call(self, operation: str, *, service: str = "lambda", region: str = "us-east-1", key: str = "test", secret: str = "test", **params: Any) -> Any:
        """What boto3 returns."""
        return await asyncio.to_thread(self._call, operation, service, region, key, secret, params)

    def _call(self, operation: str, service: str, region: str, key: str, secret: str, params: dict[str, Any]) -> Any:
        client: Any = boto3.client(  # type: ignore[call-overload]
            service, endpoint_url=self.url, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, inject_host_prefix=False, **self.options),
        )
        reply = getattr(client, operation)(**params)
        if "Payload" in reply:
            reply["Payload"] = reply["Payload"].read()
        return reply

    async def refusal(self, operation: str, **params: Any) -> dict[str, Any]:
        """What boto3 says of a call that fails: code, status, and every member of the error."""
        with pytest.raises(ClientError) as caught:
            await self.call(operation, **params)
        response: Any = caught.value.response
        return {
            **{name: value for name, value in response.items() if name not in ("Error", "ResponseMetadata")},
            "Code": response["Error"]["Code"], "Text": response["Error"]["Message"], "Status": response["ResponseMetadata"]["HTTPStatusCode"],
        }

    async def http(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> tuple[int, Mapping[str, str], bytes]:
        """A request by hand."""
        from yarl import URL
        async with ClientSession() as session, session.request(method, URL(self.url + path, encoded=True), headers=headers, data=body) as reply:
            return reply.status, reply.headers, await reply.read()


@pytest.fixture
async def open_site(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    runners = []
    store = await Store.open(tmp_path)

    async def open_(functions: Functions | None = None, **options: Any) -> Site:
        functions, invoker, said = functions or Functions(), Invoker(), list[str]()
        policies = Policies(store)
        parts = Parts(
            functions=cast("Any", functions), invoker=invoker, store=store, layers=Layers(store, tmp_path), attached=Attached(store), downloads=Downloads(tmp_path),
            buckets=Buckets(tmp_path, tmp_path, store=store, triggers=Triggers(), wake=lambda: None, region="us-east-1"),
            policies=policies, roles=Roles(store, policies), sessions=Sessions(store), logs=LogGroups(store),
        )
        wire = Wire(parts, **{"region": "us-east-1", "account": "000000000000", "guard": Guard(), "say": said.append, **options})

        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            return await wire.serve(request) if wire.wants(request) else web.Response(text="not for the wire")

        runner = web.ServerRunner(web.Server(serve, auto_decompress=False, lingering_time=0.2))
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return Site(f"http://127.0.0.1:{runner.addresses[0][1]}", functions, invoker, said)

    yield open_
    for runner in runners:
        await runner.cleanup()
    await store.close()


@pytest.fixture
async def site(open_site: Callable[..., Any]) -> Site:
    opened: Site = await open_site()
    return opened


# ---- Invoke: what it answers -----------------------------------------------------------------------------------------

async def test_a_function_is_invoked_and_its_reply_returned(site: Site) -> None:
    reply = await site.call("invoke", FunctionName="hello", Payload=b'{"a": "\xc3\xbc", "n": 1.0}')
    assert (reply["StatusCode"], reply["ExecutedVersion"], reply["Payload"]) == (200, "$LATEST", b'{"a": "\xc3\xbc", "n": 1.0}')
    assert "FunctionError" not in reply
    assert "LogResult" not in reply
    version, invocation = site.invoker.invoked[0]
    assert (version.number, invocation.arn, invocation.qualifier, invocation.cause, invocation.accepted_at) == ("$LATEST", HELLO, None, "invoke", None)
    assert reply["ResponseMetadata"]["RequestId"] == invocation.id


async def test_without_a_payload_the_event_is_an_empty_object(site: Site) -> None:
    assert (await site.call("invoke", FunctionName="hello"))["Payload"] == b"{}"


@pytest.mark.parametrize("payload", [b"null", b"1", b'"a"', b"[NaN, -Infinity]", b'{"half": "\\ud800"}', b' {"spaces": 1}\n'])
async def test_any_json_passes_as_it_came(site: Site, payload: bytes) -> None:
    assert (await site.call("invoke", FunctionName="hello", Payload=payload))["Payload"] == payload


async def test_a_handlers_failure_is_200_and_unhandled(site: Site) -> None:
    site.invoker.ends = lambda invocation: Outcome(status="failed", payload=b'{"errorMessage": "no"}')
    reply = await site.call("invoke", FunctionName="hello")
    assert (reply["StatusCode"], reply["FunctionError"], reply["Payload"]) == (200, "Unhandled", b'{"errorMessage": "no"}')


async def test_the_tail_of_the_log_is_returned_where_it_is_asked_for(site: Site) -> None:
    site.invoker.ends = lambda invocation: Outcome(status="succeeded", payload=b"1", logs=b"x" * 5000 + b"end\n")
    reply = await site.call("invoke", FunctionName="hello", LogType="Tail")
    log = base64.b64decode(reply["LogResult"])
    assert (len(log), log[-4:]) == (4096, b"end\n")


async def test_an_event_is_accepted_once_it_is_committed(site: Site) -> None:
    site.invoker.committed.clear()
    calling = asyncio.create_task(site.call("invoke", FunctionName="hello", InvocationType="Event", Payload=b'{"a": 1}', LogType="Tail"))
    await asyncio.wait([calling], timeout=0.2)
    assert not calling.done()
    site.invoker.committed.set()
    reply = await calling
    assert (reply["StatusCode"], reply["Payload"]) == (202, b"")
    assert "ExecutedVersion" not in reply
    invocation = site.invoker.enqueued[0]
    assert invocation.accepted_at is not None
    assert (datetime.now(UTC) - invocation.accepted_at).total_seconds() < 60
    assert (invocation.payload, invocation.id) == (b'{"a": 1}', reply["ResponseMetadata"]["RequestId"])


async def test_a_dry_run_runs_nothing(site: Site) -> None:
    reply = await site.call("invoke", FunctionName="hello", InvocationType="DryRun")
    assert (reply["StatusCode"], reply["Payload"]) == (204, b"")
    assert site.invoker.invoked == []
    assert (await site.refusal("invoke", FunctionName="missing", InvocationType="DryRun"))["Status"] == 404


async def test_the_headers_are_awss(site: Site) -> None:
    status, headers, body = await site.http("POST", PATH, headers={"X-Amz-Log-Type": "Tail"}, body=b"[1]")
    assert (status, body, headers["Content-Type"], headers["X-Amz-Executed-Version"]) == (200, b"[1]", "application/json", "$LATEST")
    assert base64.b64decode(headers["X-Amz-Log-Result"]) == b"a line\n"
    assert headers["x-amzn-RequestId"] == site.invoker.invoked[0][1].id


# ---- the older and the newer form of it ------------------------------------------------------------------------------

async def test_invoke_async_accepts_an_event(site: Site) -> None:
    reply = await site.call("invoke_async", FunctionName="hello:live", InvokeArgs=b'{"a": 1}')
    assert (reply["Status"], reply["ResponseMetadata"]["HTTPStatusCode"]) == (202, 202)
    [invocation] = site.invoker.enqueued
    assert (invocation.payload, invocation.qualifier, invocation.accepted_at is not None) == (b'{"a": 1}', "live", True)
    assert (await site.refusal("invoke_async", FunctionName="missing", InvokeArgs=b"{}"))["Code"] == "ResourceNotFoundException"
    assert (await site.refusal("invoke_async", FunctionName="hello", InvokeArgs=b"{"))["Code"] == "InvalidRequestContentException"


def streamed(site: Site, **params: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    reply = site._call("invoke_with_response_stream", "lambda", "us-east-1", "test", "test", {"FunctionName": "hello", **params})
    return reply, list(reply["EventStream"])


async def test_a_reply_is_streamed_in_chunks_with_its_end_after_them(site: Site) -> None:
    payload = b'"' + b"x" * 150_000 + b'"'
    reply, events = await asyncio.to_thread(streamed, site, Payload=payload, LogType="Tail", Qualifier="live")
    assert (reply["StatusCode"], reply["ExecutedVersion"], reply["ResponseStreamContentType"]) == (200, "1", "application/vnd.amazon.eventstream")
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1]) == payload
    assert len(events) > 2
    assert events[-1] == {"InvokeComplete": {"LogResult": base64.b64encode(b"a line\n").decode()}}


async def test_a_failure_is_streamed_and_named_at_the_end(site: Site) -> None:
    site.invoker.ends = lambda invocation: Outcome(status="failed", payload=b'{"errorMessage": "no"}')
    _, events = await asyncio.to_thread(streamed, site)
    assert events == [
        {"PayloadChunk": {"Payload": b'{"errorMessage": "no"}'}},
        {"InvokeComplete": {"ErrorCode": "Unhandled", "ErrorDetails": '{"errorMessage": "no"}'}},
    ]


async def test_a_streamed_call_is_refused_as_any_other(site: Site) -> None:
    refusal = await site.refusal("invoke_with_response_stream", FunctionName="missing")
    assert (refusal["Code"], refusal["Status"]) == ("ResourceNotFoundException", 404)
    reply = await site.call("invoke_with_response_stream", FunctionName="hello", InvocationType="DryRun")
    assert (reply["StatusCode"], site.invoker.invoked) == (204, [])


# ---- Invoke: naming --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "qualifier", "expected"), [
    ("hello", None, None), ("hello:live", None, "live"), ("hello", "live", "live"), ("hello:live", "live", "live"), ("hello", "$LATEST", "$LATEST"),
    ("hello:$LATEST", None, "$LATEST"), ("function:hello", None, None), ("000000000000:hello", None, None), ("000000000000:function:hello:1", None, "1"),
    ("us-east-1:000000000000:function:hello", None, None), (HELLO, None, None), (HELLO + ":1", None, "1"), (HELLO, "1", "1"),
])
async def test_a_function_is_named_in_every_way(site: Site, name: str, qualifier: str | None, expected: str | None) -> None:
    reply = await site.call("invoke", FunctionName=name, **({"Qualifier": qualifier} if qualifier else {}))
    assert reply["ExecutedVersion"] == ("1" if expected in ("1", "live") else "$LATEST")
    assert (site.invoker.invoked[0][1].arn, site.invoker.invoked[0][1].qualifier) == (HELLO, expected)


async def test_an_arn_may_come_without_being_encoded(site: Site) -> None:
    status, _, _ = await site.http("POST", f"/2015-03-31/functions/{HELLO}:live/invocations/")
    assert (status, site.invoker.invoked[0][1].qualifier) == (200, "live")


@pytest.mark.parametrize(("params", "asked"), [
    ({"FunctionName": "missing"}, "missing:$LATEST"), ({"FunctionName": "hello:nope"}, "hello:nope"), ({"FunctionName": "hello", "Qualifier": "7"}, "hello:7"),
    ({"FunctionName": "a" * 65}, "a" * 65 + ":$LATEST"),
])
async def test_a_missing_function_is_named_with_its_qualifier(site: Site, params: dict[str, str], asked: str) -> None:
    text = f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{asked}"
    assert await site.refusal("invoke", **params) == {"Code": "ResourceNotFoundException", "Status": 404, "Text": text, "Message": text, "Type": "User"}


async def test_qualifiers_in_both_places_must_agree(site: Site) -> None:
    text = "The derived qualifier from the function name does not match the specified qualifier."
    refusal = await site.refusal("invoke", FunctionName="hello:live", Qualifier="1")
    assert refusal == {"Code": "InvalidParameterValueException", "Status": 400, "Text": text, "message": text, "Type": "User"}


async def test_a_function_of_another_region_is_not_reached(site: Site) -> None:
    refusal = await site.refusal("invoke", FunctionName=HELLO, region="eu-west-1")
    assert (refusal["Code"], refusal["Status"], refusal["Type"]) == ("ResourceNotFoundException", 404, "User")
    assert refusal["Text"] == "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"


async def test_regions_and_accounts_are_apart_and_the_remedy_is_said_once(site: Site) -> None:
    for _ in range(2):
        refusal = await site.refusal("invoke", FunctionName="hello", region="eu-west-1")
        assert refusal["Text"] == "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:hello:$LATEST"
    assert len(site.said) == 1
    assert "AWS_REGION=us-east-1" in site.said[0]
    refusal = await site.refusal("invoke", FunctionName="hello", key="111111111111")
    assert refusal["Text"] == "Function not found: arn:aws:lambda:us-east-1:111111111111:function:hello:$LATEST"
    assert "access key 000000000000" in site.said[1]


async def test_a_full_arn_reaches_across_accounts(site: Site) -> None:
    assert (await site.call("invoke", FunctionName=HELLO, key="111111111111"))["StatusCode"] == 200


# ---- Invoke: refusals ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("payload", "said"), [
    (b"n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt", "Invalid UTF-8 start byte 0x87\n at " + SOURCE.format(3)),
    (
        b"\x99\xeb,j\x07\xa1zYh",
        "Unexpected character ((CTRL-CHAR, code 153)): expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at "
        + SOURCE.format(1),
    ),
    (b'{"a": "\xff"}', "Invalid UTF-8 start byte 0xff\n at " + SOURCE.format(9)),
    (b'{"a": 1,}', "Unexpected character ('}' (code 125)): was expecting double-quote to start field name\n at " + SOURCE.format(9)),
    (b"hi", "Unrecognized token 'hi': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at " + SOURCE.format(3)),
    (b'{"a": ', "Unexpected end-of-input within/between Object entries\n at " + SOURCE.format(7)),
    (b"[1 2]", "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries\n at " + SOURCE.format(4)),
    (b'"abc', "Unexpected end-of-input: was expecting closing quote for a string value\n at " + SOURCE.format(5)),
])
async def test_a_payload_that_is_not_json_is_refused_in_the_words_of_awss_parser(site: Site, payload: bytes, said: str) -> None:
    text = "Could not parse request body into json: Could not parse payload into json: " + said
    refusal = await site.refusal("invoke", FunctionName="hello", Payload=payload)
    assert refusal == {"Code": "InvalidRequestContentException", "Status": 400, "Text": text, "message": text, "Type": "User"}
    assert site.invoker.invoked == []


async def test_a_payload_nested_too_deep_is_refused(site: Site) -> None:
    refusal = await site.refusal("invoke", FunctionName="hello", Payload=b"[" * 100_000)
    assert (refusal["Code"], refusal["Status"]) == ("InvalidRequestContentException", 400)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_payload_over_six_megabytes_is_refused(site: Site, chunked: bool) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(7):
            yield b" " * 1_048_576

    data: Any = body() if chunked else b" " * 6_291_457
    status, headers, reply = await site.http("POST", PATH, body=data)
    assert (status, headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")
    assert json.loads(reply) == {"message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"}


async def test_the_largest_payload_is_taken(site: Site) -> None:
    payload = b'"' + b"x" * 6_291_454 + b'"'
    assert (await site.call("invoke", FunctionName="hello", Payload=payload))["Payload"] == payload


async def test_an_event_over_a_megabyte_is_refused(site: Site) -> None:
    refusal = await site.refusal("invoke", FunctionName="hello", InvocationType="Event", Payload=b'"' + b"x" * 1_048_576 + b'"')
    assert (refusal["Code"], refusal["Status"]) == ("RequestEntityTooLargeException", 413)
    assert refusal["Text"] == "1048578 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    assert site.invoker.enqueued == []


@pytest.mark.parametrize(("error", "members"), [
    (ReserveUsedUp(), {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}),
    (Throttled(), {"Reason": "ConcurrentInvocationLimitExceeded", "retryAfterSeconds": "1"}),
])
async def test_a_throttled_call_says_why_and_when_to_come_back(site: Site, error: Throttled, members: dict[str, str]) -> None:
    def throttle(invocation: Invocation) -> Outcome:
        raise error

    site.invoker.ends = throttle
    refusal = await site.refusal("invoke", FunctionName="hello")
    assert refusal == {
        "Code": "TooManyRequestsException", "Status": 429, "Text": "Rate Exceeded.", "message": "Rate Exceeded.", "Type": "User", **members,
    }


@pytest.mark.parametrize(("params", "sentences"), [
    (
        {"FunctionName": "*"},
        ["Value '*' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?"
         "((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"],
    ),
    (
        {"FunctionName": "hello", "Qualifier": "invalid!"},
        ["Value 'invalid!' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: "
         "\\$(LATEST(\\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"],
    ),
    (
        {"FunctionName": "hello", "InvocationType": "Later", "Qualifier": "a" * 129},
        [f"Value '{'a' * 129}' at 'qualifier' failed to satisfy constraint: Member must have length less than or equal to 128",
         "Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [DryRun, Event, RequestResponse]"],
    ),
])
async def test_a_broken_constraint_is_said_in_awss_words(site: Site, params: dict[str, str], sentences: list[str]) -> None:
    count = "1 validation error" if len(sentences) == 1 else f"{len(sentences)} validation errors"
    text = f"{count} detected: {'; '.join(sentences)}"
    assert await site.refusal("invoke", **params) == {"Code": "ValidationException", "Status": 400, "Text": text}


async def test_bytes_that_are_no_text_are_refused_as_text(site: Site) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Amz-Log-Type: ".encode() + b"\xff\xfe\r\n\r\n")
    reply = await reader.read()
    writer.close()
    assert reply.startswith(b"HTTP/1.1 400")
    assert b"at 'logType' failed to satisfy constraint: Member must satisfy enum value set: [Tail, None]" in reply


async def test_a_client_context_is_passed_on_as_json(site: Site) -> None:
    context = '{"custom": {"a": "ü"}}'
    await site.call("invoke", FunctionName="hello", ClientContext=base64.b64encode(context.encode()).decode())
    assert site.invoker.invoked[0][1].client_context == context


@pytest.mark.parametrize("context", ["{}", "e30", "WzFd", "////", base64.b64encode(b'{"a": "' + b"x" * 3000 + b'"}').decode()])
async def test_a_client_context_that_is_none_is_refused(site: Site, context: str) -> None:
    refusal = await site.refusal("invoke", FunctionName="hello", ClientContext=context)
    assert (refusal["Code"], refusal["Status"]) == ("InvalidRequestContentException", 400)


# ---- whose request is it ---------------------------------------------------------------------------------------------

SCOPE = "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(("method", "path", "headers", "wanted"), [
    ("GET", "/", {}, False),
    ("GET", "/orders/2015-03-31", {}, False),
    ("POST", "/2015-03-31/functions/hello/invocations", {}, True),
    ("GET", "/2015-03-31x/functions", {}, False),
    ("GET", "/2026-11-23/report", {}, False),
    ("GET", "/2026-11-23/report", {"Authorization": SCOPE.format("lambda")}, False),
    ("GET", "/2019-09-25/functions/hello/event-invoke-config", {}, True),
    ("GET", "/2015-03-31/functions", {"Authorization": SCOPE.format("nothing-of-ours")}, True),
    ("POST", "/", {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}, True),
    ("POST", "/", {"Authorization": SCOPE.format("sts")}, True),
    ("POST", "/orders", {"Authorization": SCOPE.format("sts")}, False),
    ("POST", "/", {"Authorization": SCOPE.format("iam")}, True),
    ("POST", "/", {"Authorization": SCOPE.format("execute-api"), "X-Amz-Target": "Logs_20140328.DescribeLogGroups"}, False),
    ("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, False),
    ("POST", "/", {"Authorization": SCOPE.format("nothing-of-ours")}, True),
    ("GET", "/orders", {"Authorization": SCOPE.format("s3")}, True),
    ("GET", "/orders", {"Authorization": SCOPE.format("lambda")}, False),
    ("GET", "/orders", {"Authorization": "Bearer x"}, False),
    ("GET", "/orders", {"Authorization": SCOPE.format("execute-api")}, False),
    ("GET", "/2015-03-31/functions", {"Authorization": SCOPE.format("execute-api")}, False),
    ("GET", "/?Action=GetCallerIdentity&X-Amz-Credential=AKID%2F20261123%2Fus-east-1%2Fsts%2Faws4_request", {}, True),
    ("GET", "/orders?X-Amz-Credential=AKID%2F20261123%2Fus-east-1%2Fexecute-api%2Faws4_request", {}, False),
    ("GET", "/orders?X-Amz-Credential=..%2Fmodels%2F1%2F2%2Faws4_request", {}, False),
])
async def test_only_calls_of_aws_clients_are_for_the_wire(site: Site, method: str, path: str, headers: dict[str, str], wanted: bool) -> None:
    _, _, body = await site.http(method, path, headers=headers)
    assert (body != b"not for the wire") is wanted


@pytest.mark.parametrize(("service", "operation", "params", "named"), [
    ("lambda", "list_capacity_providers", {}, "lambda:ListCapacityProviders"),
    ("sts", "get_session_token", {}, "sts:GetSessionToken"),
    ("iam", "list_users", {}, "iam:ListUsers"),
    ("logs", "describe_queries", {}, "logs:DescribeQueries"),
    ("dynamodb", "list_tables", {}, "dynamodb:ListTables"),
    ("sns", "list_topics", {}, "sns:ListTopics"),
    ("ec2", "describe_instances", {}, "ec2:DescribeInstances"),
    ("s3", "get_object", {"Bucket": "hello", "Key": "k"}, "GET /hello/k of s3"),
    ("s3", "put_object", {"Bucket": "hello", "Key": "k", "Body": b"x" * 10_000_000}, "PUT /hello/k of s3"),
    ("scheduler", "list_schedules", {}, "GET /schedules of scheduler"),
    ("apigatewayv2", "get_apis", {}, "GET /v2/apis of apigateway"),
])
async def test_what_is_not_supported_is_named_in_the_services_own_form(
    site: Site, service: str, operation: str, params: dict[str, Any], named: str,
) -> None:
    refusal = await site.refusal(operation, service=service, **params)
    assert (refusal["Status"], refusal["Code"], refusal["Text"]) == (501, "UnknownOperationException", f"microlam does not support {named}.")


async def test_a_page_of_another_site_may_not_call(site: Site) -> None:
    status, headers, body = await site.http("POST", PATH, headers={"Origin": "http://evil.example"})
    assert (status, headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    assert b"evil.example" in body
    assert (await site.http("POST", PATH, headers={"Host": "evil.example"}))[0] == 403
    assert site.invoker.invoked == []


# ---- signatures ------------------------------------------------------------------------------------------------------

@pytest.fixture
async def locked(open_site: Callable[..., Any]) -> Site:
    credentials = Credentials(secret_key="handlers", session_token="t")
    opened: Site = await open_site(keys=("AKIDADMIN", "admins"), credentials=credentials)
    return opened


@pytest.mark.parametrize(("key", "secret"), [("AKIDADMIN", "admins"), ("000000000000", "handlers")])
async def test_either_pair_of_keys_may_call(locked: Site, key: str, secret: str) -> None:
    reply = await locked.call("invoke", FunctionName=HELLO, Qualifier="live", Payload=b'{"a": 1}', key=key, secret=secret)
    assert (reply["Payload"], reply["ExecutedVersion"]) == (b'{"a": 1}', "1")


@pytest.mark.parametrize(("service", "operation", "params", "codes"), [
    ("lambda", "invoke", {"FunctionName": "hello"}, ("UnrecognizedClientException", "InvalidSignatureException")),
    ("logs", "describe_log_groups", {}, ("UnrecognizedClientException", "InvalidSignatureException")),
    ("sts", "get_caller_identity", {}, ("InvalidClientTokenId", "SignatureDoesNotMatch")),
])
async def test_a_wrong_key_and_a_wrong_secret_are_refused(
    locked: Site, service: str, operation: str, params: dict[str, Any], codes: tuple[str, str],
) -> None:
    unknown = await locked.refusal(operation, service=service, key="AKIDOTHER", secret="admins", **params)
    wrong = await locked.refusal(operation, service=service, key="AKIDADMIN", secret="wrong", **params)
    assert [(unknown["Status"], unknown["Code"]), (wrong["Status"], wrong["Code"])] == [(403, code) for code in codes]
    assert locked.invoker.invoked == []


async def test_without_a_signature_nothing_is_answered(locked: Site) -> None:
    locked.options = {"signature_version": UNSIGNED}
    refusal = await locked.refusal("invoke", FunctionName="hello")
    assert (refusal["Status"], refusal["Code"]) == (403, "MissingAuthenticationTokenException")
    status, headers, _ = await locked.http("POST", PATH, headers={"Authorization": SCOPE.format("lambda").replace(", Signature=0", "")})
    assert (status, headers["x-amzn-ErrorType"]) == (403, "IncompleteSignatureException")


@pytest.mark.parametrize("name", ["hello", quote(HELLO, safe="")])
async def test_a_presigned_call_is_accepted_until_it_expires(locked: Site, name: str) -> None:
    request = AWSRequest(method="POST", url=f"{locked.url}/2015-03-31/functions/{name}/invocations")
    SigV4QueryAuth(BotoCredentials("AKIDADMIN", "admins"), "lambda", "us-east-1", expires=60).add_auth(request)
    target = str(request.prepare().url).removeprefix(locked.url)
    assert (await locked.http("POST", target))[0] == 200
    early = target.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    status, headers, _ = await locked.http("POST", early)
    assert (status, headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")


async def test_a_signature_of_yesterday_has_expired(locked: Site) -> None:
    headers = {"Authorization": SCOPE.format("lambda").replace("AKID", "AKIDADMIN").replace("20261123", "20200101"), "X-Amz-Date": "20200101T000000Z"}
    status, reply, body = await locked.http("POST", PATH, headers=headers)
    assert (status, reply["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")
    assert json.loads(body)["message"].startswith("Signature expired: 20200101T000000Z is now earlier than ")


async def test_a_signature_for_another_service_is_refused(locked: Site) -> None:
    request = AWSRequest(method="POST", url=locked.url + PATH)
    SigV4Auth(BotoCredentials("AKIDADMIN", "admins"), "sqs", "us-east-1").add_auth(request)
    status, _, body = await locked.http("POST", PATH, headers=dict(request.headers.items()))
    assert (status, "'lambda'" in json.loads(body)["message"]) == (403, True)


async def test_a_chunked_signed_body_is_put_together(site: Site) -> None:
    headers = {"Content-Encoding": "aws-chunked", "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    _, _, body = await site.http("POST", PATH, headers=headers, body=b'7\r\n{"a":1}\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n')
    assert body == b'{"a":1}'
    status, reply, _ = await site.http("POST", PATH, headers=headers, body=b"nonsense")
    assert (status, reply["x-amzn-ErrorType"]) == (400, "SerializationException")


# ---- slow clients ----------------------------------------------------------------------------------------------------

async def test_a_client_that_stops_in_the_middle_is_turned_away(open_site: Callable[..., Any]) -> None:
    site = await open_site(silence=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{{".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()
