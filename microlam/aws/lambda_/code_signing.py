"""Code signing configurations, and which function uses which. They are kept; signatures are not verified."""
from __future__ import annotations

import dataclasses

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.code import written_instant
from microlam.aws.lambda_.existing import must_exist
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import target_of
from microlam.aws.protocol import Params
from microlam.errors import NotFound
from microlam.model import account_of, region_of
from microlam.resources.code_signing import CodeSigning, new_code_signing_arn
from microlam.resources.tags import check_tags


class CodeSigningNotFound(NotFound):
    """The Lambda code signing configuration {arn} can not be found."""


class CodeSigningGone(NotFound):
    """The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."""

    code = "CodeSigningConfigNotFoundException"


# ---- configurations --------------------------------------------------------------------------------------------------

async def create_code_signing_config(call: Call, params: Params) -> Params:
    """Name the signing profiles whose signatures are trusted."""
    check_tags(params.get("Tags") or {})
    arn = new_code_signing_arn(call.region, call.account)
    signing = CodeSigning(
        publishers=tuple(params["AllowedPublishers"]["SigningProfileVersionArns"]), description=params.get("Description", ""), modified=call.now,
        untrusted=(params.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment") or "Warn",
    )
    await call.attached.code_signings.keep(arn, signing)
    if params.get("Tags"):
        await call.attached.tags.add(arn, params["Tags"])
    return {"CodeSigningConfig": _described(arn, signing)}


async def get_code_signing_config(call: Call, params: Params) -> Params:
    """One configuration."""
    arn = params["CodeSigningConfigArn"]
    return {"CodeSigningConfig": _described(arn, await _found(call, arn))}


async def update_code_signing_config(call: Call, params: Params) -> Params:
    """Change who is trusted, or what becomes of code that is not."""
    arn = params["CodeSigningConfigArn"]
    signing = await _found(call, arn)
    signing = dataclasses.replace(
        signing, modified=call.now, description=params.get("Description", signing.description),
        publishers=tuple(params["AllowedPublishers"]["SigningProfileVersionArns"]) if params.get("AllowedPublishers") else signing.publishers,
        untrusted=(params.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment") or signing.untrusted,
    )
    await call.attached.code_signings.keep(arn, signing)
    return {"CodeSigningConfig": _described(arn, signing)}


async def delete_code_signing_config(call: Call, params: Params) -> Params:
    """Forget a configuration that no function uses."""
    arn = params["CodeSigningConfigArn"]
    await _found(call, arn)
    await call.attached.code_signings.delete(arn)
    await call.attached.tags.forget(arn)
    return {}


async def list_code_signing_configs(call: Call, params: Params) -> Params:
    """The configurations of this account and region."""
    own = [owned for owned in await call.attached.code_signings.all() if (account_of(owned.owner), region_of(owned.owner)) == (call.account, call.region)]
    shown, marker = page(own, lambda owned: owned.owner, params)
    return {"CodeSigningConfigs": [_described(arn, signing) for arn, _, signing in shown], "NextMarker": marker}


async def list_functions_by_code_signing_config(call: Call, params: Params) -> Params:
    """The functions that use a configuration."""
    await _found(call, params["CodeSigningConfigArn"])
    shown, marker = page(await call.attached.code_signings.users(params["CodeSigningConfigArn"]), str, params)
    return {"FunctionArns": shown, "NextMarker": marker}


# ---- of a function ---------------------------------------------------------------------------------------------------

async def put_function_code_signing_config(call: Call, params: Params) -> Params:
    """Let a function use a configuration."""
    function, arn = target_of(call, params["FunctionName"], None).arn, params["CodeSigningConfigArn"]
    await must_be_usable(call, arn)
    must_exist(call, function)
    await call.attached.code_signings.use(function, arn)
    return {"CodeSigningConfigArn": arn, "FunctionName": _name(function)}


async def get_function_code_signing_config(call: Call, params: Params) -> Params:
    """Which configuration a function uses, if any."""
    function = target_of(call, params["FunctionName"], None).arn
    must_exist(call, function)
    return {"CodeSigningConfigArn": await call.attached.code_signings.used_by(function), "FunctionName": _name(function)}


async def delete_function_code_signing_config(call: Call, params: Params) -> Params:
    """Let a function use none."""
    function = target_of(call, params["FunctionName"], None).arn
    must_exist(call, function)
    await call.attached.code_signings.leave(function)
    return {}


OPERATIONS: Answers = {
    "CreateCodeSigningConfig": create_code_signing_config, "GetCodeSigningConfig": get_code_signing_config,
    "UpdateCodeSigningConfig": update_code_signing_config, "DeleteCodeSigningConfig": delete_code_signing_config,
    "ListCodeSigningConfigs": list_code_signing_configs, "ListFunctionsByCodeSigningConfig": list_functions_by_code_signing_config,
    "PutFunctionCodeSigningConfig": put_function_code_signing_config, "GetFunctionCodeSigningConfig": get_function_code_signing_config,
    "DeleteFunctionCodeSigningConfig": delete_function_code_signing_config,
}


async def must_be_usable(call: Call, arn: str) -> None:
    """Raise CodeSigningGone unless a function can use this configuration."""
    if await call.attached.code_signings.find(arn) is None:
        raise CodeSigningGone(arn=arn)


# ---- parts -----------------------------------------------------------------------------------------------------------

async def _found(call: Call, arn: str) -> CodeSigning:
    signing = await call.attached.code_signings.find(arn)
    if signing is None:
        raise CodeSigningNotFound(arn=arn)
    return signing


def _name(function: str) -> str:
    return function.rpartition(":")[2]


def _described(arn: str, signing: CodeSigning) -> Params:
    return {
        "CodeSigningConfigId": arn.rpartition(":")[2],
        "CodeSigningConfigArn": arn,
        "Description": signing.description,
        "AllowedPublishers": {"SigningProfileVersionArns": list(signing.publishers)},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": signing.untrusted},
        "LastModified": written_instant(signing.modified),
    }
