"""Concurrency: what is reserved for a function, and workers that are kept ready for its versions and aliases."""
from __future__ import annotations

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.code import written_instant
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import Target, target_of
from microlam.aws.protocol import Params
from microlam.errors import FunctionNotFound, InvalidParameter
from microlam.functions import Provision
from microlam.functions.rules import Unprovisionable
from microlam.model import LATEST


class NoPublishedVersion(InvalidParameter):
    """The function resource provided must be an alias or a published version."""


# ---- reserves --------------------------------------------------------------------------------------------------------

async def put_function_concurrency(call: Call, params: Params) -> Params:
    """Reserve concurrency for a function; 0 lets none of its invocations run."""
    target = _function(call, params)
    await call.functions.concurrency.reserve(target.arn, params["ReservedConcurrentExecutions"], origin=call.face)
    return {"ReservedConcurrentExecutions": params["ReservedConcurrentExecutions"]}


async def get_function_concurrency(call: Call, params: Params) -> Params:
    """What is reserved for a function."""
    return {"ReservedConcurrentExecutions": call.functions.concurrency.reserved(_function(call, params).arn)}


async def delete_function_concurrency(call: Call, params: Params) -> Params:
    """Reserve nothing for a function."""
    await call.functions.concurrency.reserve(_function(call, params).arn, None, origin=call.face)
    return {}


# ---- provisions ------------------------------------------------------------------------------------------------------

async def put_provisioned_concurrency_config(call: Call, params: Params) -> Params:
    """Keep workers ready for a version or alias."""
    target = target_of(call, params["FunctionName"], params["Qualifier"])
    if target.qualifier in (None, LATEST):
        raise Unprovisionable()
    count = params["ProvisionedConcurrentExecutions"]
    return _described(await call.functions.concurrency.put_provision(target.arn, target.qualifier or "", count, origin=call.face))


async def get_provisioned_concurrency_config(call: Call, params: Params) -> Params:
    """How far workers are that are kept ready for a version or alias."""
    target = _published(call, params)
    return _described(call.functions.concurrency.provision(target.arn, target.qualifier or ""))


async def list_provisioned_concurrency_configs(call: Call, params: Params) -> Params:
    """Every version and alias of a function that workers are kept ready for."""
    target = _function(call, params)
    shown, marker = page(call.functions.concurrency.provisions(target.arn), lambda provision: provision.qualifier, params)
    configs = [{"FunctionArn": f"{provision.arn}:{provision.qualifier}", **_described(provision)} for provision in shown]
    return {"ProvisionedConcurrencyConfigs": configs, "NextMarker": marker}


async def delete_provisioned_concurrency_config(call: Call, params: Params) -> Params:
    """Keep no workers ready any more."""
    target = _published(call, params)
    await call.functions.concurrency.delete_provision(target.arn, target.qualifier or "", origin=call.face)
    return {}


OPERATIONS: Answers = {
    "PutFunctionConcurrency": put_function_concurrency, "GetFunctionConcurrency": get_function_concurrency,
    "DeleteFunctionConcurrency": delete_function_concurrency, "PutProvisionedConcurrencyConfig": put_provisioned_concurrency_config,
    "GetProvisionedConcurrencyConfig": get_provisioned_concurrency_config, "ListProvisionedConcurrencyConfigs": list_provisioned_concurrency_configs,
    "DeleteProvisionedConcurrencyConfig": delete_provisioned_concurrency_config,
}


def _function(call: Call, params: Params) -> Target:
    target = target_of(call, params["FunctionName"], None)
    if target.arn not in call.functions:
        raise FunctionNotFound(arn=target.arn)
    return target


def _published(call: Call, params: Params) -> Target:
    target = target_of(call, params["FunctionName"], params["Qualifier"])
    if target.qualifier in (None, LATEST):
        raise NoPublishedVersion()
    return target


def _described(provision: Provision) -> Params:
    return {
        "RequestedProvisionedConcurrentExecutions": provision.requested,
        "AvailableProvisionedConcurrentExecutions": provision.ready,
        "AllocatedProvisionedConcurrentExecutions": provision.ready,
        "Status": provision.status.upper().replace(" ", "_"),
        "StatusReason": provision.reason or None,
        "LastModified": written_instant(provision.modified),
    }
