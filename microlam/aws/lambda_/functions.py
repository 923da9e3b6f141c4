"""Functions: create, look at, change and delete them."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from microlam.archives import size_unpacked
from microlam.aws.call import Answers, Call
from microlam.aws.errors import AccountElsewhere, Unsupported
from microlam.aws.lambda_.code import archive_of
from microlam.aws.lambda_.code_signing import must_be_usable
from microlam.aws.lambda_.configuration import changes_of, check, described
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import Target, target_of
from microlam.aws.protocol import Params
from microlam.errors import FunctionExists, FunctionNotFound, InvalidParameter, MicrolamError
from microlam.functions import Snapshot
from microlam.functions.rules import LatestStays
from microlam.functions.snapshot import CREATING
from microlam.model import LATEST, account_of, read_function_name, region_of
from microlam.resources.layers import check_together
from microlam.resources.tags import check_tags

NAME_LIMIT = 64


async def create_function(call: Call, params: Params) -> Params:
    """Create a function from a zip."""
    target = target_of(call, params["FunctionName"], None)
    _check_name(call, params["FunctionName"], target)
    if params.get("PackageType") == "Image":
        raise Unsupported(operation="functions made of container images (PackageType Image)")
    check(params)
    if not params.get("Runtime") or not params.get("Handler"):
        raise InvalidParameter(reason="Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    if target.arn in call.functions:
        raise FunctionExists(name=target.name)
    check_tags(params.get("Tags") or {})
    if params.get("CodeSigningConfigArn"):
        await must_be_usable(call, params["CodeSigningConfigArn"])
    draft = Snapshot(arn=target.arn, modified=call.now, revision="", status=CREATING, **changes_of(params))
    code = await archive_of(call, params["Code"])
    await call.layers.chosen(draft.layers, call.region, size_unpacked(code))
    created = await call.functions.create(draft, code, origin=call.face, publish=bool(params.get("Publish")))
    if params.get("Tags"):
        await call.attached.tags.add(target.arn, params["Tags"])
    if params.get("CodeSigningConfigArn"):
        await call.attached.code_signings.use(target.arn, params["CodeSigningConfigArn"])
    return await described(call, created, arn=target.arn)


async def get_function(call: Call, params: Params) -> Params:
    """A function's configuration, an address that its zip downloads from, its tags and its reserve."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    snapshot = await call.functions.snapshot(target.arn, target.qualifier)
    reserved, zip = call.functions.concurrency.reserved(target.arn), call.functions.zip(snapshot.sha256)
    return {
        "Configuration": await described(call, snapshot, arn=target.invoked),
        "Code": {"RepositoryType": "S3", "Location": zip and call.downloads.address(call.origin, zip, call.now)},
        "Tags": dict(await call.attached.tags.of(target.arn)) or None,
        "Concurrency": None if reserved is None else {"ReservedConcurrentExecutions": reserved},
    }


async def get_function_configuration(call: Call, params: Params) -> Params:
    """A function's configuration."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    return await described(call, await call.functions.snapshot(target.arn, target.qualifier), arn=target.invoked)


async def list_functions(call: Call, params: Params) -> Params:
    """The functions of this account and region; with FunctionVersion=ALL their versions too."""
    every = params.get("FunctionVersion") == "ALL"
    found = [snapshot async for snapshot in _all(call, versions=every)]
    shown, marker = page(found, lambda snapshot: f"{snapshot.name} {number_key(snapshot)}", params)
    functions = [await described(call, snapshot, arn=snapshot.qualified if every else snapshot.arn, listed=True) for snapshot in shown]
    return {"Functions": functions, "NextMarker": marker}


async def _all(call: Call, *, versions: bool) -> AsyncIterator[Snapshot]:
    ours = [function.arn for function in call.functions.all() if (account_of(function.arn), region_of(function.arn)) == (call.account, call.region)]
    for arn in ours:
        with suppress(MicrolamError):       # the folder's may be gone, or unreadable, just now
            yield await call.functions.snapshot(arn)
    if versions:
        bereft = [arn for arn in call.functions.bereft() if (account_of(arn), region_of(arn)) == (call.account, call.region)]
        for arn in (*ours, *bereft):
            for snapshot in call.functions.versions(arn):
                yield snapshot


def number_key(snapshot: Snapshot) -> str:
    """A version's number, to be sorted by: `$LATEST` comes first."""
    return "" if snapshot.number == LATEST else f"{int(snapshot.number):012}"


async def update_function_code(call: Call, params: Params) -> Params:
    """Give a function other code."""
    target = target_of(call, params["FunctionName"], None)
    if params.get("PublishTo") is not None:
        raise Unsupported(operation="PublishTo")
    call.functions.must_be_created(target.arn)
    code, before = await archive_of(call, params), await call.functions.snapshot(target.arn)
    check_together(size_unpacked(code), await call.layers.of(before.layers))
    options = {"Architectures": params["Architectures"]} if params.get("Architectures") else {}
    updated = await call.functions.update_code(
        target.arn, code, options=options, origin=call.face, revision=params.get("RevisionId"),
        publish=bool(params.get("Publish")), dry_run=bool(params.get("DryRun")),
    )
    return await described(call, updated, arn=updated.arn if updated.number == LATEST else updated.qualified)


async def update_function_configuration(call: Call, params: Params) -> Params:
    """Change a function's configuration; what is not said stays."""
    target = target_of(call, params["FunctionName"], None)
    call.functions.must_be_created(target.arn)
    before = await call.functions.snapshot(target.arn)
    changes = changes_of(params, before)
    if "layers" in changes:     # those it has, it keeps, also where they were deleted since
        await call.layers.chosen(changes["layers"], call.region, size_unpacked(call.functions.zip(before.sha256)))
    updated = await call.functions.update_configuration(target.arn, changes, origin=call.face, revision=params.get("RevisionId"))
    return await described(call, updated, arn=updated.arn)


async def delete_function(call: Call, params: Params) -> Params:
    """Delete a function, or one of its versions."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    if target.qualifier == LATEST:
        raise LatestStays()
    if target.arn not in call.functions:
        raise FunctionNotFound(arn=target.arn)
    if target.qualifier is None:
        await call.functions.delete(target.arn, origin=call.face)
    elif target.qualifier.isdecimal():
        await call.functions.delete_version(target.arn, target.qualifier, origin=call.face)
    else:
        raise InvalidParameter(reason=f"{target.qualifier} is the name of an alias: delete it with DeleteAlias.")
    return {"StatusCode": 204}


OPERATIONS: Answers = {
    "CreateFunction": create_function, "GetFunction": get_function, "GetFunctionConfiguration": get_function_configuration,
    "ListFunctions": list_functions, "UpdateFunctionCode": update_function_code, "UpdateFunctionConfiguration": update_function_configuration,
    "DeleteFunction": delete_function,
}


def _check_name(call: Call, said: str, target: Target) -> None:
    if len(target.name) > NAME_LIMIT:
        # AWS words this one as a failed constraint, but calls it otherwise.
        raise InvalidParameter(
            reason=f"1 validation error detected: Value '{target.name}' at 'functionName' failed to satisfy constraint: "
                   f"Member must have length less than or equal to {NAME_LIMIT}",
        )
    read = read_function_name(said)
    if read is not None and read.account not in (None, call.account):
        raise AccountElsewhere()
