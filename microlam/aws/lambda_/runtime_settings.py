"""When a function's runtime is updated, and whether one that calls itself in a loop is stopped. Kept and shown."""
from __future__ import annotations

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.existing import must_exist, must_exist_qualified
from microlam.aws.lambda_.target import Target, target_of
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter
from microlam.model import LATEST
from microlam.resources.runtime_settings import RuntimeUpdates


async def put_runtime_management_config(call: Call, params: Params) -> Params:
    """Say when a version gets a newer runtime."""
    target = await _version(call, params)
    manual = params["UpdateRuntimeOn"] == "Manual"
    if manual and not params.get("RuntimeVersionArn"):
        raise InvalidParameter(reason="You must specify a RuntimeVersionArn when UpdateRuntimeOn is set to Manual.")
    if not manual and params.get("RuntimeVersionArn"):
        raise InvalidParameter(reason="You can specify a RuntimeVersionArn only when UpdateRuntimeOn is set to Manual.")
    updates = RuntimeUpdates(on=params["UpdateRuntimeOn"], runtime=params.get("RuntimeVersionArn"))
    await call.attached.runtime_settings.keep_updates(target.arn, target.qualifier, updates)
    return _described(target, updates)


async def get_runtime_management_config(call: Call, params: Params) -> Params:
    """When a version gets a newer runtime."""
    target = await _version(call, params)
    return _described(target, await call.attached.runtime_settings.updates(target.arn, target.qualifier))


async def put_function_recursion_config(call: Call, params: Params) -> Params:
    """Say what becomes of a function that calls itself again and again."""
    arn = target_of(call, params["FunctionName"], None).arn
    must_exist(call, arn)
    await call.attached.runtime_settings.keep_loop(arn, params["RecursiveLoop"])
    return {"RecursiveLoop": params["RecursiveLoop"]}


async def get_function_recursion_config(call: Call, params: Params) -> Params:
    """What becomes of a function that calls itself again and again."""
    arn = target_of(call, params["FunctionName"], None).arn
    must_exist(call, arn)
    return {"RecursiveLoop": await call.attached.runtime_settings.loop(arn)}


OPERATIONS: Answers = {
    "PutRuntimeManagementConfig": put_runtime_management_config, "GetRuntimeManagementConfig": get_runtime_management_config,
    "PutFunctionRecursionConfig": put_function_recursion_config, "GetFunctionRecursionConfig": get_function_recursion_config,
}


async def _version(call: Call, params: Params) -> Target:
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    must_exist_qualified(call, target)
    return target


def _described(target: Target, updates: RuntimeUpdates) -> Params:
    arn = target.arn if target.qualifier in (None, LATEST) else target.qualified
    return {"UpdateRuntimeOn": updates.on, "FunctionArn": arn, "RuntimeVersionArn": updates.runtime}
