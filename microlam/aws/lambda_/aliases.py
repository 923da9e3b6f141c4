"""Aliases: names for versions, which may share what is invoked by them between two."""
from __future__ import annotations

from typing import Any

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import target_of
from microlam.aws.protocol import Params
from microlam.errors import AliasNotFound, FunctionNotFound, InvalidParameter, NotFound
from microlam.model import Alias


class AliasMissing(NotFound):
    """Alias not found: {arn}"""


async def create_alias(call: Call, params: Params) -> Params:
    """Name a version."""
    target = target_of(call, params["FunctionName"], None)
    alias = await call.functions.create_alias(
        target.arn, params["Name"], params["FunctionVersion"], description=params.get("Description", ""), origin=call.face,
        **_share(params.get("RoutingConfig")),
    )
    return described(alias)


async def get_alias(call: Call, params: Params) -> Params:
    """One alias."""
    return described(call.functions.alias(target_of(call, params["FunctionName"], None).arn, params["Name"]))


async def list_aliases(call: Call, params: Params) -> Params:
    """The aliases of a function, or those that name a certain version."""
    target, number = target_of(call, params["FunctionName"], None), params.get("FunctionVersion")
    if target.arn not in call.functions:
        raise FunctionNotFound(arn=target.arn)
    found = [alias for alias in call.functions.aliases(target.arn) if number in (None, alias.number, alias.other)]
    shown, marker = page(found, lambda alias: alias.name, params)
    return {"Aliases": [described(alias) for alias in shown], "NextMarker": marker}


async def update_alias(call: Call, params: Params) -> Params:
    """Let an alias name another version, or share otherwise."""
    target = target_of(call, params["FunctionName"], None)
    members = {"FunctionVersion": "number", "Description": "description"}
    changes: dict[str, object] = {field: params[member] for member, field in members.items() if params.get(member) is not None}
    if params.get("RoutingConfig") is not None:
        changes |= _share(params["RoutingConfig"])
    try:
        return described(await call.functions.update_alias(target.arn, params["Name"], changes, origin=call.face, revision=params.get("RevisionId")))
    except AliasNotFound:
        raise AliasMissing(arn=f"{target.arn}:{params['Name']}") from None


async def delete_alias(call: Call, params: Params) -> Params:
    """Delete an alias; one that is not there does not matter."""
    target = target_of(call, params["FunctionName"], None)
    if target.arn not in call.functions:
        raise FunctionNotFound(arn=target.arn)
    await call.functions.delete_alias(target.arn, params["Name"], origin=call.face)
    return {}


OPERATIONS: Answers = {
    "CreateAlias": create_alias, "GetAlias": get_alias, "ListAliases": list_aliases, "UpdateAlias": update_alias, "DeleteAlias": delete_alias,
}


def _share(routing: Params | None) -> dict[str, Any]:
    """The other version of an alias and its weight; an empty map takes them away."""
    weights = (routing or {}).get("AdditionalVersionWeights") or {}
    if len(weights) > 1:
        raise InvalidParameter(reason="Number of items in AdditionalVersionWeights cannot be greater than 1")
    other, weight = next(iter(weights.items()), (None, 0.0))
    return {"other": other, "weight": weight}


def described(alias: Alias) -> Params:
    """An alias as AWS tells of it."""
    return {
        "AliasArn": alias.qualified,
        "Name": alias.name,
        "FunctionVersion": alias.number,
        "Description": alias.description,
        "RoutingConfig": {"AdditionalVersionWeights": {alias.other: alias.weight}} if alias.other is not None else None,
        "RevisionId": alias.revision,
    }
