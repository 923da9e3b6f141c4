"""HTTP events and replies by value: what a handler gets, and what becomes of what it returns."""
from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from aws_lambda_powertools.utilities.parser.models import APIGatewayProxyEventV2Model

from microlam.events.http import HttpFacts, HttpReply, Malformed, event_bytes, reply, split_target, v2_event
from microlam.events.template import Template
from microlam.model import Outcome, Trigger, function_arn, new_id
from microlam.routes import RouteTable, parse_route

NOW = datetime(2026, 3, 9, 19, 3, 58, 390_000, UTC)
ID = "0195b3c4-d5e6-7f00-8123-456789abcdef"


def event_of(
    route: str = "GET /orders/{id}", method: str = "GET", target: str = "/orders/7", *, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"",
    host: str = "localhost:3000", prefix: str = "",
) -> dict[str, object]:
    path, query = split_target(target)
    match = RouteTable([Trigger(target=function_arn("shop"), when=parse_route(route))]).match(method, path)
    assert match is not None
    facts = HttpFacts(method=method, path=path, query=query, headers=headers, body=body, host=host, source_ip="127.0.0.1", time=NOW, request_id=ID)
    event = event_bytes(v2_event(facts, match, prefix=prefix))
    # Of a request like this one, at another time and with another body, a template was made.
    template = Template(facts._replace(time=NOW - timedelta(hours=1), request_id=new_id(), body=b"another"), match, "", prefix=prefix)
    assert template.event(ID, NOW, body) == event
    loaded: dict[str, object] = json.loads(event)
    return loaded


# ---- in --------------------------------------------------------------------------------------------------------------

def test_the_whole_event_as_aws_sends_it() -> None:
    event = event_of("POST /orders/{id}", "POST", "/orders/7?a=1&b=x%20y&a=2", headers=(
        ("Host", "localhost:3000"), ("User-Agent", "curl/8"), ("Content-Type", "application/json"), ("X-Many", "one"), ("x-many", "two"),
        ("Cookie", "a=1; b=2"), ("Cookie", "c=3"), ("Connection", "keep-alive"), ("Content-Length", "999"),
    ), body='{"n":"ü"}'.encode())
    assert event == {
        "version": "2.0",
        "routeKey": "POST /orders/{id}",
        "rawPath": "/orders/7",
        "rawQueryString": "a=1&b=x%20y&a=2",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "content-length": "10", "content-type": "application/json", "host": "localhost:3000", "user-agent": "curl/8",
            "x-amzn-trace-id": "Root=1-69af199e-d5e67f008123456789abcdef", "x-forwarded-for": "127.0.0.1", "x-forwarded-port": "3000",
            "x-forwarded-proto": "http", "x-many": "one,two",
        },
        "queryStringParameters": {"a": "1,2", "b": "x y"},
        "requestContext": {
            "accountId": "000000000000", "apiId": "microlam", "domainName": "localhost", "domainPrefix": "localhost",
            "http": {"method": "POST", "path": "/orders/7", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "curl/8"},
            "requestId": ID, "routeKey": "POST /orders/{id}", "stage": "$default", "time": "09/Mar/2026:19:03:58 +0000", "timeEpoch": 1773083038390,
        },
        "pathParameters": {"id": "7"},
        "body": '{"n":"ü"}',
        "isBase64Encoded": False,
    }
    assert list(event) == [
        "version", "routeKey", "rawPath", "rawQueryString", "cookies", "headers", "queryStringParameters", "requestContext", "pathParameters", "body",
        "isBase64Encoded",
    ]
    model = APIGatewayProxyEventV2Model.model_validate(event)
    assert model.requestContext.timeEpoch == NOW


def test_what_is_not_there_is_left_out() -> None:
    event = event_of("$default", target="/")
    assert list(event) == ["version", "routeKey", "rawPath", "rawQueryString", "headers", "requestContext", "isBase64Encoded"]
    assert (event["routeKey"], event["rawQueryString"], event["isBase64Encoded"]) == ("$default", "", False)
    APIGatewayProxyEventV2Model.model_validate(event)


def test_an_empty_query_has_no_parameters() -> None:
    assert "queryStringParameters" not in event_of(target="/orders/7?&&")
    assert event_of(target="/orders/7?flag&x=&q=a+b%2Bc&bad=%FF")["queryStringParameters"] == {"flag": "", "x": "", "q": "a b+c", "bad": "\ufffd"}


@pytest.mark.parametrize(("content_type", "text"), [
    ("text/plain", True), ("text/csv; charset=utf-8", True), ("TEXT/HTML", True), ("application/json", True), ("application/json; charset=utf-8", True),
    ("application/xml", True), ("text/xml", True), ("application/javascript", True), ("text/javascript", True),
    ("application/x-www-form-urlencoded", False), ("multipart/form-data; boundary=x", False), ("application/octet-stream", False), ("image/png", False),
    ("application/vnd.api+json", False), ("", False),
])
def test_a_body_is_text_or_base64_by_its_type(content_type: str, text: bool) -> None:
    headers = (("Content-Type", content_type),) if content_type else ()
    event = event_of("POST /x", "POST", "/x", headers=headers, body=b"a=1")
    assert (event["body"], event["isBase64Encoded"]) == (("a=1", False) if text else (base64.b64encode(b"a=1").decode(), True))


def test_text_that_is_not_utf8_is_base64_so_that_nothing_is_lost() -> None:
    event = event_of("POST /x", "POST", "/x", headers=(("Content-Type", "text/plain; charset=latin-1"),), body=b"\xfc")
    assert (event["body"], event["isBase64Encoded"]) == ("/A==", True)


def test_raw_path_is_decoded_and_the_prefix_is_not_in_it() -> None:
    event = event_of("GET /a/{rest+}", target="/a/x%20y/%C3%BC%2Fz?p=%20", prefix="/fn")
    assert (event["rawPath"], event["rawQueryString"], event["pathParameters"]) == ("/a/x y/ü/z", "p=%20", {"rest": "x y/ü/z"})
    context = event["requestContext"]
    assert isinstance(context, dict)
    assert context["http"]["path"] == "/fn/a/x y/ü/z"


def test_a_proxy_before_us_stays_on_record() -> None:
    headers = (("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443"), ("X-Amzn-Trace-Id", "Root=1-a-b"))
    got = event_of(headers=headers)["headers"]
    assert isinstance(got, dict)
    assert (got["x-forwarded-for"], got["x-forwarded-proto"], got["x-forwarded-port"], got["x-amzn-trace-id"]) == (
        "203.0.113.9, 127.0.0.1", "https", "443", "Root=1-a-b",
    )


def test_bytes_that_are_not_utf8_do_not_break_the_event() -> None:
    event = event_of("$default", target="/x%FF", headers=(("X-Odd", "a\udcffb"), ("Cookie", "k=\udcfe")))
    assert (event["rawPath"], event["cookies"]) == ("/x\ufffd", ["k=\ufffd"])
    headers = event["headers"]
    assert isinstance(headers, dict)
    assert headers["x-odd"] == "a\ufffdb"


@pytest.mark.parametrize(("host", "domain", "label", "port"), [
    ("shop.localhost:3000", "shop.localhost", "shop", "3000"), ("localhost", "localhost", "localhost", "80"), ("[::1]:3000", "[::1]", "[::1]", "3000"),
    ("[::1]", "[::1]", "[::1]", "80"),
])
def test_the_domain_comes_from_the_host(host: str, domain: str, label: str, port: str) -> None:
    event = event_of(host=host)
    context, headers = event["requestContext"], event["headers"]
    assert isinstance(context, dict)
    assert isinstance(headers, dict)
    assert (context["domainName"], context["domainPrefix"], headers["x-forwarded-port"]) == (domain, label, port)


@pytest.mark.parametrize(("target", "path", "query"), [
    ("/a?b=c", "/a", "b=c"), ("/a?b=c?d#f", "/a", "b=c?d"), ("/a#f", "/a", ""), ("//a//b/", "//a//b/", ""),
    ("/x?u=http://y/z", "/x", "u=http://y/z"), ("/%2561", "/%61", ""), ("/%zz%", "/%zz%", ""),
    ("/\udcc3\udcbc?q=\udcff", "/ü", "q=%FF"),
    ("/a%3Fb", "/a?b", ""), ("*", "*", ""), ("/a%00b", "/a\x00b", ""),
])
def test_targets_of_every_form(target: str, path: str, query: str) -> None:
    assert split_target(target) == (path, query)


def test_ids_of_any_invocation_make_a_trace_id() -> None:
    facts = HttpFacts(method="GET", path="/", time=NOW, request_id=new_id())
    match = RouteTable([Trigger(target=function_arn("a"), when=parse_route("$default"))]).match("GET", "/")
    assert match is not None
    headers = v2_event(facts, match)["headers"]
    assert isinstance(headers, dict)
    root, seconds, unique = headers["x-amzn-trace-id"].split("-")
    assert (root, len(seconds), len(unique)) == ("Root=1", 8, 24)


# ---- out -------------------------------------------------------------------------------------------------------------

def answered(value: object) -> HttpReply:
    answer = reply(Outcome(status="succeeded", payload=value if isinstance(value, bytes) else json.dumps(value).encode()))
    assert isinstance(answer, HttpReply), answer
    return answer


def malformed(value: object) -> str:
    answer = reply(Outcome(status="succeeded", payload=value if isinstance(value, bytes) else json.dumps(value).encode()))
    assert isinstance(answer, Malformed), answer
    return answer.reason


@pytest.mark.parametrize(("payload", "body"), [
    (b'"Hello"', b"Hello"), (b'{ "message": "hi" }', b'{ "message": "hi" }'), (b"[1, 2]", b"[1, 2]"), (b"null", b"null"), (b"7", b"7"), (b"NaN", b"NaN"),
    (b'{"statusCode": null, "x": 1}', b'{"statusCode": null, "x": 1}'), (b'""', b""), ('"ü"'.encode(), "ü".encode()), (b'"\\ud800"', b"?"),
])
def test_a_reply_without_a_status_code_is_inferred(payload: bytes, body: bytes) -> None:
    answer = answered(payload)
    assert (answer.status, list(answer.headers), answer.body) == (200, [("content-type", "application/json")], body)


def test_a_full_reply() -> None:
    answer = answered({
        "statusCode": 201, "headers": {"Content-Type": "text/html", "X-N": 5, "X-F": 1.5, "X-B": True, "X-None": None, "no name": None}, "cookies": ["a=1; Path=/", "b=2"],
        "body": "<p>ü", "isBase64Encoded": False,
    })
    assert answer == HttpReply(
        status=201, headers=(("Content-Type", "text/html"), ("X-N", "5"), ("X-F", "1.5"), ("X-B", "true")), cookies=("a=1; Path=/", "b=2"),
        body="<p>ü".encode(),
    )


def test_a_body_without_a_type_is_plain_text_and_no_body_has_none() -> None:
    assert list(answered({"statusCode": 200, "body": "x"}).headers) == [("content-type", "text/plain; charset=utf-8")]
    assert list(answered({"statusCode": 302, "headers": {"Location": "/x"}}).headers) == [("Location", "/x")]
    assert answered({"statusCode": 200, "headers": None, "body": None, "cookies": None, "isBase64Encoded": None}) == HttpReply()


def test_a_base64_body_is_decoded() -> None:
    raw = bytes(range(256))
    assert answered({"statusCode": 200, "body": base64.b64encode(raw).decode(), "isBase64Encoded": True}).body == raw
    assert answered({"statusCode": 200, "body": "AAE", "isBase64Encoded": True}).body == b"\x00\x01"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    assert answered({"statusCode": status, "body": "x"}).body == b""


def test_a_numeric_string_is_a_status() -> None:
    assert answered({"statusCode": "404"}).status == 404


def test_multi_value_headers_are_sent_one_by_one() -> None:
    answer = answered({"statusCode": 200, "headers": {"x-a": "gone", "x-b": "1"}, "multiValueHeaders": {"X-A": ["1", "2"], "Set-Cookie": ["a=1", "b=2"]}})
    assert answer.headers == (("x-b", "1"), ("X-A", "1"), ("X-A", "2"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))


def test_what_the_connection_needs_is_not_the_handlers_to_say() -> None:
    headers = {"Content-Length": "5", "Transfer-Encoding": "chunked", "connection": "close", "Keep-Alive": "x", "Upgrade": "h2c", "X-Kept": "1"}
    assert answered({"statusCode": 200, "headers": headers}).headers == (("X-Kept", "1"),)


@pytest.mark.parametrize("status", [99, 100, 101, 199, 600, 1000, -1, 200.5, "abc", "20", "٢٠٠", True, [], {}, ""])
def test_a_wrong_status_code_is_malformed(status: object) -> None:
    assert "statusCode" in malformed({"statusCode": status})


@pytest.mark.parametrize(("value", "reason"), [
    ({"statusCode": 200, "body": {"a": 1}}, "json.dumps"),
    ({"statusCode": 200, "body": 5}, "json.dumps"),
    ({"statusCode": 200, "headers": ["a"]}, "headers is not an object"),
    ({"statusCode": 200, "headers": {"a": ["1"]}}, "Header a is not a string"),
    ({"statusCode": 200, "headers": {"a": "x\r\nSet-Cookie: y"}}, "line break"),
    ({"statusCode": 200, "headers": {"a": "x\ny"}}, "line break"),
    ({"statusCode": 200, "headers": {"a": "\x00"}}, "control character"),
    ({"statusCode": 200, "headers": {"a": "\ud800"}}, "control character"),
    ({"statusCode": 200, "headers": {"a\r\nb": "x"}}, "not a header's name"),
    ({"statusCode": 200, "headers": {"": "x"}}, "not a header's name"),
    ({"statusCode": 200, "headers": {"a b": "x"}}, "not a header's name"),
    ({"statusCode": 200, "headers": {"ä": "x"}}, "not a header's name"),
    ({"statusCode": 200, "multiValueHeaders": {"a": "x"}}, "not a list"),
    ({"statusCode": 200, "multiValueHeaders": {"a": ["x\r\n"]}}, "line break"),
    ({"statusCode": 200, "cookies": "a=1"}, "cookies is not a list"),
    ({"statusCode": 200, "cookies": [1, {}]}, "A cookie is not a string"),
    ({"statusCode": 200, "cookies": ["a\r\nb"]}, "line break"),
    ({"statusCode": 200, "body": "no base64!", "isBase64Encoded": True}, "not base64"),
    ({"statusCode": 200, "body": "AAAAA", "isBase64Encoded": True}, "not base64"),
    ({"statusCode": 200, "body": "ü", "isBase64Encoded": True}, "not base64"),
    ({"statusCode": 200, "body": "x", "isBase64Encoded": "yes"}, "neither true nor false"),
    (b"", "not JSON"),
    (b"hello", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"\xff", "not JSON"),
])
def test_other_malformed_replies_say_why(value: object, reason: str) -> None:
    assert reason in malformed(value)
