"""HTTP in and out, as an HTTP API with payload format 2.0: a request's facts → the event; a handler's payload → the reply.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""
from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

import orjson

from microlam.model import Invocation, Outcome, account_of, fact, json_value
from microlam.routes import Match

API_ID = "microlam"

# They concern one connection, not the message; a handler neither sees nor sets them.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"})
_OURS = HOP_BY_HOP | {"content-length"}

# Seen on AWS: every other type is base64, form posts and application/*+json too, and so is a body without a type.
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/javascript"})

_SHORT = 1024       # bytes of a reply that is remembered
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


# ---- in --------------------------------------------------------------------------------------------------------------

class HttpFacts(NamedTuple):
    """A request as it came in: `path` decoded and without the prefix it is mounted under, `query` still encoded, `host` the Host header."""

    method: str
    path: str
    time: datetime
    request_id: str
    query: str = ""
    headers: Iterable[tuple[str, str]] = ()
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    protocol: str = "HTTP/1.1"
    scheme: str = "http"
    host: str = "localhost"


def split_target(target: str) -> tuple[str, str]:
    """A request's target → its path, decoded as HTTP APIs do it, and its query, still encoded."""
    if not target.isascii():
        target = quote(target.encode("utf-8", "surrogateescape"), safe=_PRINTABLE)
    path, _, query = target.partition("#")[0].partition("?")
    return (unquote(path, errors="replace") if "%" in path else path), query


def v2_event(facts: HttpFacts, match: Match, *, stage: str = "$default", prefix: str = "") -> dict[str, object]:
    """The event of payload format 2.0; what AWS leaves out is left out."""
    seconds = facts.time.timestamp()
    domain, label, port = _host_parts(facts.host)
    headers, cookies = _headers_and_cookies(facts, int(seconds), port)
    event: dict[str, object] = {
        "version": "2.0", "routeKey": match.route_key, "rawPath": facts.path, "rawQueryString": facts.query,
    }
    if cookies:
        event["cookies"] = cookies
    event["headers"] = headers
    if facts.query and (parameters := _query_parameters(facts.query)):
        event["queryStringParameters"] = parameters
    event["requestContext"] = {
        "accountId": account_of(match.arn),
        "apiId": API_ID,
        "domainName": domain,
        "domainPrefix": label,
        "http": {
            "method": facts.method, "path": prefix + facts.path, "protocol": facts.protocol,
            "sourceIp": facts.source_ip, "userAgent": headers.get("user-agent", ""),
        },
        "requestId": facts.request_id,
        "routeKey": match.route_key,
        "stage": stage,
        "time": request_time(int(seconds)).decode(),
        "timeEpoch": int(seconds * 1000),
    }
    if match.path_parameters:
        event["pathParameters"] = match.path_parameters
    encoded = False
    if facts.body:
        event["body"], encoded = body_of(facts.body, headers.get("content-type", ""))
    event["isBase64Encoded"] = encoded
    return event


def event_bytes(event: object) -> bytes:
    """An event, or a part of one, as JSON; bytes of a request that were not UTF-8 become U+FFFD."""
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        return orjson.dumps(_mended(event))


def _mended(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return [_mended(item) for item in value] if isinstance(value, list) else value


def _headers_and_cookies(facts: HttpFacts, seconds: int, port: str) -> tuple[dict[str, str], list[str]]:
    """Names in lower case, repeated ones joined, cookies apart (they are not in `headers`), and what API Gateway itself adds."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in facts.headers:
        name = name.lower()
        if name == "cookie":
            cookies.extend(cookie for part in value.split(";") if (cookie := part.strip()))
        elif name in headers:
            headers[name] += "," + value
        elif name not in HOP_BY_HOP:
            headers[name] = value
    headers["content-length"] = str(len(facts.body))
    if "x-amzn-trace-id" not in headers:
        headers["x-amzn-trace-id"] = f"Root=1-{seconds:08x}-{facts.request_id.replace('-', '')[-24:]}"
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {facts.source_ip}" if forwarded else facts.source_ip
    if "x-forwarded-port" not in headers:
        headers["x-forwarded-port"] = port or ("443" if facts.scheme == "https" else "80")
    if "x-forwarded-proto" not in headers:
        headers["x-forwarded-proto"] = facts.scheme
    return {name: headers[name] for name in sorted(headers)}, cookies


def _query_parameters(query: str) -> dict[str, str]:
    """Decoded, with repeated ones joined by commas."""
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def body_of(body: bytes, content_type: str) -> tuple[str, bool]:
    """The body as the event carries it, and whether that is base64."""
    if not body:
        return "", False
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT_TYPES:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # Compressed, or in another charset: base64 loses nothing.
    return base64.b64encode(body).decode(), True


@lru_cache(maxsize=256)
def _host_parts(host: str) -> tuple[str, str, str]:
    """`shop.localhost:3000` → domain `shop.localhost`, its first label, port `3000` ("" where none is named)."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, ""
    return name, name if name.startswith("[") else name.partition(".")[0], port


@lru_cache(maxsize=4)
def request_time(seconds: int) -> bytes:
    """`12/Mar/2020:19:03:58 +0000`, whatever the locale."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment.year}:{moment:%H:%M:%S} +0000".encode()


# ---- out -------------------------------------------------------------------------------------------------------------

@fact
class HttpReply:
    """What to answer: every name and value in it may go on the wire as it is."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[str, ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A handler's reply that API Gateway refuses, with the reason."""

    reason: str


def summary(invocation: Invocation, outcome: Outcome) -> str:
    """What an HTTP invocation was, in words: `POST /orders → 201`."""
    if outcome.status != "succeeded":
        return f"{invocation.summary} → {503 if outcome.status == 'throttled' else 500}"
    if len(outcome.payload) > 65_536:       # too large to be read for a word
        return invocation.summary
    answer = reply(outcome)
    return f"{invocation.summary} → {answer.status if isinstance(answer, HttpReply) else 500}"


def refused(cause: str, outcome: Outcome) -> str | None:
    """Why the client got a 500 though the handler succeeded: what is wrong with its reply. None where nothing is."""
    answer = reply(outcome) if cause == "http" and outcome.ok else None
    return answer.reason if isinstance(answer, Malformed) else None


def reply(outcome: Outcome) -> HttpReply | Malformed:
    """A handler's payload → the reply: as it says where it has a `statusCode`, else inferred: 200, JSON."""
    payload = outcome.payload
    return _short_reply(payload) if len(payload) <= _SHORT else _reply(payload, outcome.value)


@lru_cache(maxsize=256)
def _short_reply(payload: bytes) -> HttpReply | Malformed:
    """The record's summary asks too; and many a handler answers the same again and again."""
    return _reply(payload, json_value(payload))


def _reply(payload: bytes, value: object) -> HttpReply | Malformed:
    if value is None and payload.strip() != b"null":
        return Malformed("The reply is not JSON.")
    if not isinstance(value, dict) or value.get("statusCode") is None:
        body = _encoded(value) if isinstance(value, str) else payload
        return HttpReply(headers=(("content-type", "application/json"),), body=body)
    try:
        return _explicit(value)
    except _NotAReplyError as error:
        return Malformed(str(error))


class _NotAReplyError(Exception):
    pass


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _explicit(value: Mapping[str, object]) -> HttpReply:
    status, cookies = value["statusCode"], value.get("cookies")
    if type(status) is not int or not 200 <= status <= 599:
        status = _status(status)
    headers, typed = _reply_headers(value)
    body = _reply_body(value)
    if status in (204, 205, 304):
        body = b""
    elif body and not typed:
        headers.append(("content-type", "text/plain; charset=utf-8"))  # What HTTP APIs answer; REST APIs say application/json.
    return HttpReply(status=status, headers=tuple(headers), cookies=_cookies(cookies) if cookies else (), body=body)


def _status(value: object) -> int:
    """200 and "200" will do; 1xx is not a reply's."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise _NotAReplyError(f"statusCode is {json.dumps(value)}, not a number from 200 to 599.")
    return value


def _cookies(cookies: object) -> tuple[str, ...]:
    if not isinstance(cookies, list):
        raise _NotAReplyError("cookies is not a list of strings.")
    return tuple([_sendable("A cookie", cookie) for cookie in cookies])


def _reply_headers(value: Mapping[str, object]) -> tuple[list[tuple[str, str]], bool]:
    """`headers`, then `multiValueHeaders`, which replace those of their name, and whether one is the content's type.

    What the connection needs is ours to say.
    """
    single, several = value.get("headers") or {}, value.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(several, dict):
        raise _NotAReplyError("headers is not an object.")
    headers, typed = [], False
    for name, item in _merged(single, several) if several else single.items():
        if item is None:
            continue
        lower = _lower(name)
        if lower not in _OURS:
            # Nearly all are, and to look whether all of a text can be printed is quick.
            headers.append((name, item.strip() if isinstance(item, str) and item.isprintable() else _sendable(f"Header {name}", item)))
            typed = typed or lower == "content-type"
    return headers, typed


def _merged(single: Mapping[str, object], several: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    replaced = {name.lower() for name in several}
    yield from ((name, item) for name, item in single.items() if name.lower() not in replaced)
    for name, items in several.items():
        if not isinstance(items, list):
            raise _NotAReplyError("A value in multiValueHeaders is not a list.")
        yield from ((name, item) for item in items)


@lru_cache(maxsize=1024)
def _lower(name: str) -> str:
    """A header's name in lower case."""
    lower = name.lower()
    if lower not in _OURS and not _TOKEN.fullmatch(name):
        raise _NotAReplyError(f"{json.dumps(name)} is not a header's name.")
    return lower


def _sendable(what: str, value: object) -> str:
    """A header's value as text; one that would break out of its line is refused."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        raise _NotAReplyError(f"{what} is not a string.")
    if _UNSENDABLE.search(value):
        raise _NotAReplyError(f"{what} holds a line break or another control character.")
    return value.strip()


def _reply_body(value: Mapping[str, object]) -> bytes:
    body, encoded = value.get("body"), value.get("isBase64Encoded") or False
    if body is None:
        return b""
    if not isinstance(body, str):
        raise _NotAReplyError("body is not a string; use json.dumps for a JSON body.")
    if encoded is False:
        return _encoded(body)
    if encoded is not True:
        raise _NotAReplyError("isBase64Encoded is neither true nor false.")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _NotAReplyError("isBase64Encoded is true, but body is not base64.") from None
