"""Signatures against botocore's own signers, both ways."""
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from microlam.aws.signature import Signed, claimed_scope, dechunked, is_valid, read_signature, scope_of, sign, untimely

ACCESS, SECRET = "AKIAEXAMPLE", "wJalrXUtnFEMI/K7MDENG"
INVOKE = "http://127.0.0.1:3000/2015-03-31/functions/hello/invocations"
ODD_URLS = [
    INVOKE,
    INVOKE + "?Qualifier=live",
    INVOKE + "?Qualifier=%24LATEST&b=2&a=1&a=0&empty=",
    "http://127.0.0.1:3000/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Ahello/invocations",
    "http://127.0.0.1:3000/2017-03-31/tags/arn:aws:lambda:us-east-1:000000000000:function:hello?tagKeys=a%20b&tagKeys=%C3%BC%2B",
    "http://localhost/a//b/../c/./d%20e/%2F/?x=~-_.",
    "https://localhost/?Action=GetCallerIdentity&Version=2011-06-15",
    "http://localhost:80",
]


def signed_by_botocore(
    signer: Callable[..., Any], url: str = INVOKE, *, method: str = "POST", body: bytes = b'{"a": 1}', service: str = "lambda",
    headers: dict[str, str] | None = None, **options: Any,
) -> Signed:
    """A request as botocore puts it on the wire."""
    request = AWSRequest(method=method, url=url, data=body, headers={"X-Amz-Invocation-Type": "Event", "User-Agent": "x", **(headers or {})})
    signer(Credentials(ACCESS, SECRET, options.pop("token", None)), service, "eu-west-1", **options).add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    sent = {**{name: value.decode() if isinstance(value, bytes) else value for name, value in prepared.headers.items()}, "Host": host_of(prepared.url)}
    content = prepared.body if isinstance(prepared.body, bytes) else b""
    return Signed(method=method, path=parts.path or "/", query=parts.query, headers=list(sent.items()), body=content)


def host_of(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc.removesuffix(":80") if parts.scheme == "http" else parts.netloc


def holds(request: Signed, secret: str = SECRET) -> bool:
    signature = read_signature(request)
    return signature is not None and is_valid(request, signature, secret) and untimely(signature, datetime.now(UTC)) is None


# ---- what botocore signs ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("url", ODD_URLS)
@pytest.mark.parametrize("signer", [SigV4Auth, SigV4QueryAuth])
def test_what_botocore_signed_is_accepted(signer: Callable[..., Any], url: str) -> None:
    request = signed_by_botocore(signer, url)
    assert holds(request)
    assert not holds(request, "another secret")


@pytest.mark.parametrize("url", ["http://localhost:3000/uploads/a%20b//c/../%C3%BC+?uploads", "http://localhost:3000/uploads?list-type=2&prefix=a%2Fb"])
@pytest.mark.parametrize("signer", [S3SigV4Auth, S3SigV4QueryAuth])
def test_what_botocore_signed_for_s3_is_accepted(signer: Callable[..., Any], url: str) -> None:
    assert holds(signed_by_botocore(signer, url, service="s3", method="GET", body=b""))


def test_a_session_token_and_folded_headers_are_signed_too() -> None:
    assert holds(signed_by_botocore(SigV4Auth, token="a token/+=", headers={"X-Amz-Meta": "a   b "}))


def test_an_unsigned_payload_may_be_anything() -> None:
    request = signed_by_botocore(SigV4Auth, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert holds(changed(request, body=b"other"))


@pytest.mark.parametrize("change", [{"body": b"{}"}, {"method": "PUT"}, {"path": "/2015-03-31/functions/other/invocations"}, {"query": "Qualifier=1"}])
def test_what_was_changed_on_the_way_is_refused(change: dict[str, Any]) -> None:
    assert not holds(changed(signed_by_botocore(SigV4Auth), **change))


def test_a_signed_header_that_was_changed_is_refused() -> None:
    request = signed_by_botocore(SigV4Auth)
    headers = [(name, "RequestResponse" if name == "X-Amz-Invocation-Type" else value) for name, value in request.headers]
    assert not holds(changed(request, headers=headers))


def test_a_body_that_is_not_the_declared_one_is_refused() -> None:
    request = signed_by_botocore(S3SigV4Auth, "http://localhost/uploads/a", service="s3", body=b"whole")
    assert holds(request)
    assert not holds(changed(request, body=b"cut"))


@pytest.mark.parametrize(
    "authorization", ["", "Bearer x", "AWS4-HMAC-SHA256 Credential=a/b/c", "AWS4-HMAC-SHA256 Credential=a/1/2/3/aws4_request, SignedHeaders=host"],
)
def test_what_is_no_signature_is_none(authorization: str) -> None:
    assert read_signature(Signed(method="GET", path="/", query="", headers=[("Authorization", authorization)], body=b"")) is None


def test_a_presigned_signature_of_odd_letters_is_refused() -> None:
    request = signed_by_botocore(SigV4QueryAuth)
    query = request.query.partition("X-Amz-Signature=")[0] + "X-Amz-Signature=%C3%BC"
    assert not holds(changed(request, query=query))


def changed(request: Signed, **change: Any) -> Signed:
    return Signed(**{"method": request.method, "path": request.path, "query": request.query, "headers": request.headers, "body": request.body, **change})


# ---- time ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("minutes", "word"), [(-14, None), (14, None), (16, "expired"), (-16, "not yet current")])
def test_a_signature_holds_for_a_quarter_of_an_hour(minutes: int, word: str | None) -> None:
    signature = read_signature(signed_by_botocore(SigV4Auth))
    assert signature is not None
    reason = untimely(signature, datetime.now(UTC) + timedelta(minutes=minutes))
    assert reason is None if word is None else reason is not None and word in reason


@pytest.mark.parametrize(("expires", "after", "holds_still"), [(60, 30, True), (60, 90, False), (3600, 1800, True), (700_000, 1, False)])
def test_a_presigned_url_holds_as_long_as_it_says(expires: int, after: int, holds_still: bool) -> None:
    signature = read_signature(signed_by_botocore(SigV4QueryAuth, expires=expires))
    assert signature is not None
    assert (untimely(signature, datetime.now(UTC) + timedelta(seconds=after)) is None) is holds_still


def test_a_date_that_is_none_does_not_hold() -> None:
    request = signed_by_botocore(SigV4Auth)
    signature = read_signature(changed(request, headers=[(name, "yesterday" if name == "X-Amz-Date" else value) for name, value in request.headers]))
    assert signature is not None
    assert untimely(signature, datetime.now(UTC)) is not None


# ---- what we sign ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("url", ODD_URLS)
@pytest.mark.parametrize("token", [None, "a token"])
def test_our_signature_is_botocores(url: str, token: str | None) -> None:
    body = b'{"a": 1}'
    now = datetime.now(UTC)
    ours = sign("POST", url, {"X-Amz-Log-Type": "Tail"}, body, access_key=ACCESS, secret_key=SECRET, region="eu-west-1", service="lambda", token=token, now=now)
    request = AWSRequest(method="POST", url=url, data=body, headers={"X-Amz-Log-Type": "Tail"})
    SigV4Auth(Credentials(ACCESS, SECRET, token), "lambda", "eu-west-1").add_auth(request)
    assert request.headers["X-Amz-Date"][:8] == ours["X-Amz-Date"][:8]
    parts = urlsplit(url)
    assert holds(Signed(method="POST", path=parts.path or "/", query=parts.query, headers=ours.items(), body=body))
    assert signed_headers(ours["Authorization"]) == signed_headers(request.headers["Authorization"])


def signed_headers(authorization: str) -> str:
    return authorization.partition("SignedHeaders=")[2].partition(",")[0]


# ---- scopes and chunks -----------------------------------------------------------------------------------------------

def test_a_scope_is_read_from_header_and_url_alike() -> None:
    for signer in (SigV4Auth, SigV4QueryAuth):
        request = signed_by_botocore(signer)
        scope = claimed_scope(dict(request.headers).get("Authorization"), request.query)
        assert scope is not None
        assert (scope.access_key, scope.region, scope.service) == (ACCESS, "eu-west-1", "lambda")
    assert claimed_scope("Bearer x", "X-Amz-Credential=") is None
    assert scope_of("a/b/20260101/us-east-1/s3/aws4_request") is not None


def test_chunks_are_put_together() -> None:
    assert dechunked(b"5;chunk-signature=ab\r\nhello\r\n1\r\n!\r\n0;chunk-signature=cd\r\nx-amz-checksum-crc32:AAAA\r\n\r\n") == b"hello!"
    for broken in (b"5\r\nhel\r\n0\r\n\r\n", b"x\r\n\r\n", b"", b"5\r\nhello"):
        with pytest.raises(ValueError, match=r".*"):
            dechunked(broken)
