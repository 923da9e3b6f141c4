"""Invoke: run a function and wait for its reply, have it run later, or only see whether it could run; and the same in its older and newer forms."""
from __future__ import annotations

import base64
import binascii
import dataclasses

import orjson

from microlam.aws.call import Answers, Call, Events
from microlam.aws.errors import TooManyRequests
from microlam.aws.json_fault import fault
from microlam.aws.lambda_.target import current, target_of
from microlam.aws.protocol import Params
from microlam.errors import BadRequest, InvalidRequestContent, RequestTooLarge, ReserveUsedUp, Throttled
from microlam.model import EVENT_PAYLOAD_LIMIT, Invocation, Outcome, Version

CLIENT_CONTEXT_LIMIT = 3583
LOG_TAIL = 4096
CHUNK = 65_536          # bytes of a streamed reply
RETRY_AFTER = "1"       # seconds; a slot is seldom held longer


async def invoke(call: Call, params: Params) -> Params:
    """Run a function and wait for its reply, have it run later, or only see whether it could run."""
    kind = params.get("InvocationType", "RequestResponse")
    version, invocation = await _asked(call, params, params.get("Payload"), kind)
    if kind == "DryRun":
        return {"StatusCode": 204}
    if kind == "Event":
        await _accept(call, invocation)
        return {"StatusCode": 202}
    outcome = await _run(call, version, invocation)
    return {
        "StatusCode": 200,
        "Payload": outcome.payload,
        "ExecutedVersion": version.number,
        "FunctionError": None if outcome.ok else "Unhandled",
        "LogResult": _tail(outcome, params),
    }


async def invoke_async(call: Call, params: Params) -> Params:
    """Have a function run later, as clients asked for it before Invoke had its types."""
    _, invocation = await _asked(call, params, params["InvokeArgs"], "Event")
    await _accept(call, invocation)
    return {"Status": 202}


async def invoke_with_response_stream(call: Call, params: Params) -> Params:
    """Run a function; the reply comes in chunks, and after them how it ended."""
    kind = params.get("InvocationType", "RequestResponse")
    version, invocation = await _asked(call, params, params.get("Payload"), kind)
    if kind == "DryRun":
        return {"StatusCode": 204}
    outcome = await _run(call, version, invocation)
    return {"StatusCode": 200, "ExecutedVersion": version.number, "EventStream": _chunks(outcome, _tail(outcome, params))}


async def _chunks(outcome: Outcome, tail: str | None) -> Events:
    for start in range(0, len(outcome.payload), CHUNK):
        yield "PayloadChunk", {"Payload": outcome.payload[start:start + CHUNK]}
    error = {} if outcome.ok else {"ErrorCode": "Unhandled", "ErrorDetails": outcome.payload.decode(errors="replace")}
    yield "InvokeComplete", {**error, "LogResult": tail}


OPERATIONS: Answers = {"Invoke": invoke, "InvokeAsync": invoke_async, "InvokeWithResponseStream": invoke_with_response_stream}


# ---- what becomes of it ----------------------------------------------------------------------------------------------

async def _asked(call: Call, params: Params, payload: bytes | None, kind: str) -> tuple[Version, Invocation]:
    """The version that would run now, and the invocation that is asked for."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    payload = _payload(payload, kind)
    context = _client_context(params.get("ClientContext"))
    version = await current(call, target)
    return version, Invocation(
        id=call.request_id, arn=target.arn, qualifier=target.qualifier, payload=payload, cause="invoke", queued_at=call.now, summary="invoke",
        client_context=context, parent=call.invoker.caller(call.trace),
    )


async def _accept(call: Call, invocation: Invocation) -> None:
    # AWS passes the client context to synchronous invocations only.
    await call.invoker.enqueue(dataclasses.replace(invocation, accepted_at=call.now, client_context=None))


async def _run(call: Call, version: Version, invocation: Invocation) -> Outcome:
    try:
        return await call.invoker.invoke(version, invocation)
    except ReserveUsedUp:
        raise TooManyRequests(members={"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}) from None
    except Throttled:
        raise TooManyRequests(members={"Reason": "ConcurrentInvocationLimitExceeded", "retryAfterSeconds": RETRY_AFTER}) from None


def _tail(outcome: Outcome, params: Params) -> str | None:
    """The end of the log, for those who asked for it."""
    return base64.b64encode(outcome.logs[-LOG_TAIL:]).decode() if params.get("LogType") == "Tail" else None


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
