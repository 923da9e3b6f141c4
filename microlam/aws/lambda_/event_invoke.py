"""What is said of a function's asynchronous invocations: retries, age, destinations."""
from __future__ import annotations

import dataclasses
from typing import Any

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.existing import exists
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import Target, target_of
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter, NotFound
from microlam.model import account_of, function_arn, read_function_name, region_of
from microlam.resources.event_invoke import EventInvoke

# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
_SERVICES = ("lambda", "sqs", "sns", "events", "s3")


class NoEventInvoke(NotFound):
    """The function {arn} doesn't have an EventInvokeConfig"""


class FunctionAbsent(NotFound):
    """The function doesn't exist."""


async def put_function_event_invoke_config(call: Call, params: Params) -> Params:
    """Say how asynchronous invocations are treated, in place of all that was said before."""
    target = await _settable(call, params)
    said = EventInvoke(modified=call.now, **_said(params))
    await call.attached.event_invokes.keep(target.arn, target.qualifier, said)
    return _described(target, said)


async def update_function_event_invoke_config(call: Call, params: Params) -> Params:
    """Change some of what was said."""
    target = await _settable(call, params)
    said = dataclasses.replace(await _found(call, target), modified=call.now, **_said(params))
    await call.attached.event_invokes.keep(target.arn, target.qualifier, said)
    return _described(target, said)


async def get_function_event_invoke_config(call: Call, params: Params) -> Params:
    """What was said for a version or an alias."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    return _described(target, await _found(call, target))


async def delete_function_event_invoke_config(call: Call, params: Params) -> Params:
    """Forget what was said for a version or an alias."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    await _found(call, target)
    await call.attached.event_invokes.forget(target.arn, target.qualified.rpartition(":")[2])
    return {}


async def list_function_event_invoke_configs(call: Call, params: Params) -> Params:
    """What was said for a function, version by version."""
    target = target_of(call, params["FunctionName"], None)
    if target.arn not in call.functions:
        raise FunctionAbsent()
    shown, marker = page(await call.attached.event_invokes.of(target.arn), lambda owned: owned.name, params)
    return {"FunctionEventInvokeConfigs": [_described(Target(target.arn, name), said) for _, name, said in shown], "NextMarker": marker}


OPERATIONS: Answers = {
    "PutFunctionEventInvokeConfig": put_function_event_invoke_config, "UpdateFunctionEventInvokeConfig": update_function_event_invoke_config,
    "GetFunctionEventInvokeConfig": get_function_event_invoke_config, "DeleteFunctionEventInvokeConfig": delete_function_event_invoke_config,
    "ListFunctionEventInvokeConfigs": list_function_event_invoke_configs,
}


# ---- parts -----------------------------------------------------------------------------------------------------------

async def _settable(call: Call, params: Params) -> Target:
    """The version or alias that is meant, where something usable is said of it."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    if all(params.get(member) is None for member in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")):
        raise InvalidParameter(reason="You must specify at least one of error handling or destination setting.")
    if not exists(call, target):
        raise FunctionAbsent()
    for destination in _destinations(params).values():
        if destination:
            await _must_be_usable(call, target, destination)
    return target


async def _must_be_usable(call: Call, target: Target, destination: str) -> None:
    """Raise InvalidParameter unless something can be sent there."""
    service = destination.split(":")[2] if destination.count(":") >= 5 else ""
    if service not in _SERVICES:
        raise InvalidParameter(reason=f"The destination ARN {destination} is invalid.")
    if service != "lambda":
        return
    read = read_function_name(destination)
    other = function_arn(read.name, read.region or region_of(target.arn), read.account or account_of(target.arn)) if read else ""
    if other == target.arn:
        raise InvalidParameter(reason="You can't specify the function as a destination for itself.")
    if other not in call.functions:
        raise InvalidParameter(reason=f"The destination ARN {destination} is invalid.")


async def _found(call: Call, target: Target) -> EventInvoke:
    said = await call.attached.event_invokes.find(target.arn, target.qualifier)
    if said is None:
        raise NoEventInvoke(arn=target.qualified)
    return said


def _destinations(params: Params) -> dict[str, str | None]:
    """The destinations that are named; None for one that is taken away."""
    config = params.get("DestinationConfig") or {}
    named = (("OnSuccess", "on_success"), ("OnFailure", "on_failure"))
    return {field: config[member].get("Destination") or None for member, field in named if config.get(member) is not None}


def _said(params: Params) -> dict[str, Any]:
    numbers = (("MaximumRetryAttempts", "attempts"), ("MaximumEventAgeInSeconds", "max_age"))
    return {**{field: params[member] for member, field in numbers if params.get(member) is not None}, **_destinations(params)}


def _described(target: Target, said: EventInvoke) -> Params:
    return {
        "LastModified": said.modified,
        "FunctionArn": target.qualified,
        "MaximumRetryAttempts": said.attempts,
        "MaximumEventAgeInSeconds": said.max_age,
        "DestinationConfig": {"OnSuccess": {"Destination": said.on_success}, "OnFailure": {"Destination": said.on_failure}},
    }
