"""Who else may use a version of a layer."""
from __future__ import annotations

import json
from typing import Any

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.layers import layer_arn
from microlam.aws.lambda_.policies import principal_of
from microlam.aws.protocol import Params
from microlam.errors import NotFound
from microlam.resources.resource_policies import PolicyNotFound

_CALL = "GetLayerPolicy"        # AWS's name for it, in its own sentence


class LayerVersionNotFound(NotFound):
    """Layer version {arn} does not exist."""


async def add_layer_version_permission(call: Call, params: Params) -> Params:
    """Let an account, an organization or everybody use a version."""
    arn = await _version(call, params)
    statement: dict[str, Any] = {
        "Sid": params["StatementId"], "Effect": "Allow", "Principal": principal_of(params["Principal"]), "Action": params["Action"], "Resource": arn,
    }
    if params.get("OrganizationId"):
        statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": params["OrganizationId"]}}
    policy = await call.attached.policies.add(arn, "", statement, revision=params.get("RevisionId"), call=_CALL)
    return {"Statement": json.dumps(statement, separators=(",", ":")), "RevisionId": policy.revision}


async def get_layer_version_policy(call: Call, params: Params) -> Params:
    """The policy of a version."""
    policy = await call.attached.policies.find(await _version(call, params))
    if policy is None:
        raise PolicyNotFound()
    return {"Policy": policy.document, "RevisionId": policy.revision}


async def remove_layer_version_permission(call: Call, params: Params) -> Params:
    """Take one statement out of a version's policy."""
    await call.attached.policies.remove(await _version(call, params), "", params["StatementId"], revision=params.get("RevisionId"), call=_CALL)
    return {}


OPERATIONS: Answers = {
    "AddLayerVersionPermission": add_layer_version_permission, "GetLayerVersionPolicy": get_layer_version_policy,
    "RemoveLayerVersionPermission": remove_layer_version_permission,
}


async def _version(call: Call, params: Params) -> str:
    """The ARN of the version that is meant, which must be there."""
    arn = layer_arn(call, params["LayerName"])
    if await call.layers.find(arn, params["VersionNumber"]) is None:
        raise LayerVersionNotFound(arn=f"{arn}:{params['VersionNumber']}")
    return f"{arn}:{params['VersionNumber']}"
