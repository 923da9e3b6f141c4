"""Signature Version 4: read from a header or a presigned URL, verified, and made for our own command line.

Standard library only. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""
from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = timedelta(minutes=15)
UNSIGNED = "UNSIGNED-PAYLOAD"
_TIME = "%Y%m%dT%H%M%SZ"
_HEADER = re.compile(r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-fA-F]+)\s*")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a signature is good for, and whose it is."""

    access_key: str
    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A request's signature as it was sent."""

    scope: Scope
    signed_headers: Sequence[str]
    signature: str
    time: str                               # 20261123T060000Z
    expires: int | None = None              # seconds, of a presigned URL


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A request as its signature sees it: path and query as they were sent, headers in any case, each as often as it came."""

    method: str
    path: str
    query: str
    headers: Iterable[tuple[str, str]]
    body: bytes


# ---- reading ---------------------------------------------------------------------------------------------------------

def scope_of(credential: str) -> Scope | None:
    """`AKID/20261123/us-east-1/lambda/aws4_request` taken apart; access keys may hold slashes."""
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts) or not parts[1].isdecimal():
        return None
    return Scope(access_key=parts[0], date=parts[1], region=parts[2], service=parts[3])


def claimed_scope(authorization: str | None, query: str) -> Scope | None:
    """The scope that a request claims, in its header or its URL, whether it is signed right or not."""
    if authorization is not None and authorization.startswith(ALGORITHM):
        found = re.search(r"Credential=([^,\s]+)", authorization)
        return scope_of(found[1]) if found else None
    credential = _arguments(query).get("X-Amz-Credential") if "X-Amz-Credential=" in query else None
    return scope_of(credential) if credential else None


def read_signature(request: Signed) -> Signature | None:
    """A request's signature; None where it has none, or one that cannot be read."""
    headers = {name.lower(): value for name, value in request.headers}
    authorization = headers.get("authorization")
    if authorization is None:
        return _presigned(_arguments(request.query))
    found = _HEADER.fullmatch(authorization)
    scope = scope_of(found[1]) if found else None
    if found is None or scope is None:
        return None
    return Signature(scope=scope, signed_headers=found[2].lower().split(";"), signature=found[3].lower(), time=headers.get("x-amz-date", ""))


def _presigned(arguments: Mapping[str, str]) -> Signature | None:
    scope = scope_of(arguments.get("X-Amz-Credential", ""))
    if scope is None or arguments.get("X-Amz-Algorithm") != ALGORITHM:
        return None
    expires = arguments.get("X-Amz-Expires", "")
    return Signature(
        scope=scope, signed_headers=arguments.get("X-Amz-SignedHeaders", "").lower().split(";"), signature=arguments.get("X-Amz-Signature", "").lower(),
        time=arguments.get("X-Amz-Date", ""), expires=int(expires) if expires.isdecimal() else 0,
    )


def _arguments(query: str) -> dict[str, str]:
    return {unquote(name): unquote(value) for name, _, value in (part.partition("=") for part in query.split("&"))}


# ---- verifying -------------------------------------------------------------------------------------------------------

def is_valid(request: Signed, signature: Signature, secret_key: str) -> bool:
    """Whether this secret made the signature, and the body is the one that was signed."""
    headers = _collected(request.headers)
    if "host" not in signature.signed_headers or signature.scope.date != signature.time[:8] or not _body_fits(request, headers):
        return False
    made = (_sign(canonical, signature, secret_key) for canonical in _canonical_forms(request, headers, signature))
    return any(hmac.compare_digest(one.encode(), _bytes(signature.signature)) for one in made)


def untimely(signature: Signature, now: datetime) -> str | None:
    """Why a signature does not hold now, in AWS's words; None where it does."""
    try:
        made = datetime.strptime(signature.time, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return f"Date in X-Amz-Date must be in ISO8601 'basic format': {signature.time!r}"
    if made > now + SKEW:
        return f"Signature not yet current: {signature.time} is still later than {_text(now + SKEW)} ({_text(now)} + 15 min.)"
    if signature.expires is None:
        return f"Signature expired: {signature.time} is now earlier than {_text(now - SKEW)} ({_text(now)} - 15 min.)" if made < now - SKEW else None
    if not 0 < signature.expires <= 604_800:
        return "X-Amz-Expires must be between 1 and 604800 seconds"
    end = made + timedelta(seconds=signature.expires)
    return f"Signature expired: {_text(end)} is now earlier than {_text(now)}" if end < now else None


def _body_fits(request: Signed, headers: Mapping[str, str]) -> bool:
    declared = headers.get("x-amz-content-sha256")
    return declared is None or not re.fullmatch("[0-9a-f]{64}", declared) or hmac.compare_digest(declared, hashlib.sha256(request.body).hexdigest())


def _canonical_forms(request: Signed, headers: Mapping[str, str], signature: Signature) -> Iterator[str]:
    """Every form that AWS's own signers give a request: S3's path is encoded once, others' twice; some sign a query as it was sent."""
    parts = [part for part in request.query.split("&") if part and not part.startswith("X-Amz-Signature=")]
    path = request.path if signature.scope.service == "s3" else quote(_bytes(_without_dots(request.path)), safe="/~")
    hashes = [headers["x-amz-content-sha256"]] if "x-amz-content-sha256" in headers else [hashlib.sha256(request.body).hexdigest()]
    if signature.expires is not None and signature.scope.service == "s3":
        hashes = [UNSIGNED, *hashes]
    named = "".join(f"{name}:{headers.get(name, '')}\n" for name in signature.signed_headers)
    for query in dict.fromkeys((_query(parts), "&".join(sorted(parts)))):
        for payload in hashes:
            yield "\n".join((request.method, path, query, named, ";".join(signature.signed_headers), payload))


def _query(parts: Sequence[str]) -> str:
    pairs = [part.partition("=") for part in parts]
    return "&".join(f"{name}={value}" for name, value in sorted((_encoded(name), _encoded(value)) for name, _, value in pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(_bytes(text)), safe="-_.~")


def _bytes(text: str) -> bytes:
    """Text as it came over the wire, also where it is not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _without_dots(path: str) -> str:
    """The path without `.` and `..` and doubled slashes."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept = kept[:-1]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _collected(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name in lower case; several of one name joined, spaces folded."""
    collected: dict[str, str] = {}
    for name, value in headers:
        folded, key = " ".join(value.split()), name.lower()
        collected[key] = f"{collected[key]},{folded}" if key in collected else folded
    return collected


# ---- signing ---------------------------------------------------------------------------------------------------------

def sign(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, access_key: str, secret_key: str, region: str, service: str,
    token: str | None = None, now: datetime | None = None,
) -> dict[str, str]:
    """The headers with which this request is sent, signed."""
    parts = urlsplit(url)
    time = _text(now or datetime.now(UTC))
    sent = {**headers, "Host": _host(url), "X-Amz-Date": time, **({"X-Amz-Security-Token": token} if token else {})}
    signed = Signed(method=method, path=parts.path or "/", query=parts.query, headers=sent.items(), body=body)
    scope = Scope(access_key=access_key, date=time[:8], region=region, service=service)
    collected = _collected(sent.items())
    unsigned = Signature(scope=scope, signed_headers=sorted(collected), signature="", time=time)
    made = _sign(next(_canonical_forms(signed, collected, unsigned)), unsigned, secret_key)
    sent["Authorization"] = f"{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={';'.join(unsigned.signed_headers)}, Signature={made}"
    return sent


def _sign(canonical: str, signature: Signature, secret_key: str) -> str:
    digest = hashlib.sha256(_bytes(canonical)).hexdigest()
    text = f"{ALGORITHM}\n{signature.time}\n{signature.scope}\n{digest}"
    key = f"AWS4{secret_key}".encode()
    for part in (signature.scope.date, signature.scope.region, signature.scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _host(url: str) -> str:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = parts.netloc.rpartition("@")[2]
    return host.removesuffix(f":{default}") if parts.port == default else host


def _text(time: datetime) -> str:
    return time.strftime(_TIME)


# ---- bodies in signed chunks -----------------------------------------------------------------------------------------

def dechunked(body: bytes) -> bytes:
    """The content of an `aws-chunked` body, without chunk sizes, chunk signatures and trailing checksums; raises ValueError where it is none."""
    content = bytearray()
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if size <= 0:
            return bytes(content)
        at = end + 2 + size
        if body[at:at + 2] != b"\r\n":
            raise ValueError("a chunk is not of the size it says")
        content += body[end + 2:at]
        at += 2
