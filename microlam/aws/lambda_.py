"""The operations of AWS Lambda."""
from __future__ import annotations

import base64
import binascii
import dataclasses
from dataclasses import dataclass

import orjson

from microlam.aws.call import Answers, Call
from microlam.aws.errors import FunctionElsewhere, QualifierMismatch, TooManyRequests
from microlam.aws.json_fault import fault
from microlam.aws.protocol import Params
from microlam.errors import BadRequest, FunctionNotFound, InvalidRequestContent, RequestTooLarge, Throttled
from microlam.model import EVENT_PAYLOAD_LIMIT, LATEST, Invocation, Version, account_of, function_arn, read_function_name, region_of

CLIENT_CONTEXT_LIMIT = 3583
LOG_TAIL = 4096
RETRY_AFTER = "1"       # seconds; a slot is seldom held longer


@dataclass(frozen=True)
class Target:
    """The function that a call means, and the version or alias it names."""

    arn: str
    qualifier: str | None = None

    @property
    def qualified(self) -> str:
        return f"{self.arn}:{self.qualifier or LATEST}"


async def invoke(call: Call, params: Params) -> Params:
    """Run a function and wait for its reply, have it run later, or only see whether it could run."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    kind = params.get("InvocationType", "RequestResponse")
    payload = _payload(params.get("Payload"), kind)
    context = _client_context(params.get("ClientContext"))
    version = await _current(call, target)
    if kind == "DryRun":
        return {"StatusCode": 204}
    invocation = Invocation(
        id=call.request_id, arn=target.arn, qualifier=target.qualifier, payload=payload, cause="invoke", queued_at=call.now, summary="invoke",
        client_context=context,
    )
    if kind == "Event":
        # AWS passes the client context to synchronous invocations only.
        await call.invoker.enqueue(dataclasses.replace(invocation, accepted_at=call.now, client_context=None))
        return {"StatusCode": 202}
    return await _run(call, version, invocation, tail=params.get("LogType") == "Tail")


async def _run(call: Call, version: Version, invocation: Invocation, *, tail: bool) -> Params:
    try:
        outcome = await call.invoker.invoke(version, invocation)
    except Throttled:
        limit = "ConcurrentInvocationLimitExceeded" if version.concurrency is None else "ReservedFunctionConcurrentInvocationLimitExceeded"
        raise TooManyRequests(members={"Reason": limit, "retryAfterSeconds": RETRY_AFTER}) from None
    return {
        "StatusCode": 200,
        "Payload": outcome.payload,
        "ExecutedVersion": version.number,
        "FunctionError": None if outcome.ok else "Unhandled",
        "LogResult": base64.b64encode(outcome.logs[-LOG_TAIL:]).decode() if tail else None,
    }


OPERATIONS: Answers = {"Invoke": invoke}


# ---- which function --------------------------------------------------------------------------------------------------

def target_of(call: Call, name: str, qualifier: str | None) -> Target:
    """The function that a name means to this caller; a qualifier may stand in the name, beside it, or the same one in both places."""
    read = read_function_name(name)
    if read is None:
        raise BadRequest(reason=f"{name!r} does not name a function.")
    if qualifier and read.qualifier and qualifier != read.qualifier:
        raise QualifierMismatch()
    if read.region and read.region != call.region:
        raise FunctionElsewhere(theirs=read.region, ours=call.region)
    return Target(function_arn(read.name, call.region, read.account or call.account), qualifier or read.qualifier)


async def _current(call: Call, target: Target) -> Version:
    try:
        return await call.functions.current(target.arn, target.qualifier)
    except FunctionNotFound:
        _say_where(call, target)
        raise FunctionNotFound(arn=target.qualified) from None


def _say_where(call: Call, target: Target) -> None:
    """Tell the developer where a function of that name is, when it is one the caller's credentials do not reach."""
    name = target.arn.rpartition(":")[2]
    for function in call.functions.all():
        if function.name == name and function.arn != target.arn:
            theirs, ours = (region_of(function.arn), account_of(function.arn)), (call.region, account_of(target.arn))
            remedy = f"set AWS_REGION={theirs[0]} where it is called" if theirs[0] != ours[0] else f"call it with the access key {theirs[1]}"
            call.say(f"{name} was called in {ours[0]}, account {ours[1]}, but is in {theirs[0]}, account {theirs[1]}: {remedy}")
            return


# ---- what it is given ------------------------------------------------------------------------------------------------

def _payload(payload: bytes | None, kind: str) -> bytes:
    """The event as it was sent; raises where it is too large to run later, or is not JSON."""
    if not payload:
        return b"{}"
    if kind == "Event" and len(payload) > EVENT_PAYLOAD_LIMIT:
        raise RequestTooLarge(reason=f"{len(payload)} byte payload is too large for the Event invocation type (limit {EVENT_PAYLOAD_LIMIT} bytes)")
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        # orjson refuses some that AWS takes: NaN, and escapes of half a character.
        reason = fault(payload)
        if reason is not None:
            raise InvalidRequestContent(reason=f"Could not parse payload into json: {reason}") from None
    return payload


def _client_context(encoded: str | None) -> str | None:
    """The client context as JSON text."""
    if encoded is None:
        return None
    if len(encoded) > CLIENT_CONTEXT_LIMIT:
        raise _BadClientContext(reason=f"Client context must be at most {CLIENT_CONTEXT_LIMIT} bytes.")
    try:
        decoded = base64.b64decode(encoded, validate=True)
        if isinstance(orjson.loads(decoded), dict):
            return decoded.decode()
    except (binascii.Error, ValueError):
        pass
    raise _BadClientContext(reason="Client context must be a valid Base64-encoded JSON object.")


class _BadClientContext(BadRequest):
    """{reason}"""

    code = "InvalidRequestContentException"
