"""Managed policies and their versions."""
from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from microlam.aws.call import Answers, Call
from microlam.aws.iam.pages import paged, read_tags, tag_members
from microlam.aws.protocol import Params
from microlam.resources.policies import Policy, PolicyVersion, aws_policies

# ---- the policies themselves -----------------------------------------------------------------------------------------

async def create_policy(call: Call, params: Params) -> Params:
    """A new policy, in its first version."""
    policy = await call.policies.create(
        call.account, params["PolicyName"], params["PolicyDocument"], call.now, path=params.get("Path", "/"), description=params.get("Description"),
        tags=read_tags(params.get("Tags")),
    )
    return {"Policy": await _described(call, policy) | {"Tags": tag_members(policy.tags) or None}}


async def get_policy(call: Call, params: Params) -> Params:
    policy = await call.policies.find(params["PolicyArn"])
    return {"Policy": await _described(call, policy) | {"Description": policy.description, "Tags": tag_members(policy.tags)}}


async def list_policies(call: Call, params: Params) -> Params:
    """The account's own policies and AWS's, or those of either that are asked for."""
    scope, prefix = params.get("Scope", "All"), params.get("PathPrefix", "/")
    found: list[Policy] = [*(await call.policies.of(call.account) if scope != "AWS" else ()), *(aws_policies().values() if scope != "Local" else ())]
    members = {policy.arn: await _described(call, policy) for policy in found if policy.path.startswith(prefix)}
    return paged("Policies", _used(members.values(), params), lambda policy: str(policy["Arn"]), lambda policy: policy, params)


def _used(policies: Iterable[Params], params: Params) -> list[Params]:
    """Those that are in use, in the way that is asked for."""
    counts = {"PermissionsPolicy": ("AttachmentCount",), "PermissionsBoundary": ("PermissionsBoundaryUsageCount",)}
    wanted = counts.get(params.get("PolicyUsageFilter", ""), ())
    if params.get("OnlyAttached"):
        wanted = (*wanted, "AttachmentCount")
    return [policy for policy in policies if all(policy[count] for count in wanted)]


async def list_entities_for_policy(call: Call, params: Params) -> Params:
    """The roles that have a policy; there are no users and groups."""
    policy = await call.policies.find(params["PolicyArn"])
    roles = await call.roles.of(call.account) if params.get("EntityFilter", "Role") == "Role" else []
    bounded = params.get("PolicyUsageFilter") == "PermissionsBoundary"
    having = [role for role in roles if (policy.arn == role.boundary if bounded else policy.arn in role.attached)]
    page = paged("PolicyRoles", having, lambda role: role.name, lambda role: {"RoleName": role.name, "RoleId": role.id}, params)
    return {"PolicyGroups": [], "PolicyUsers": [], **page}


async def delete_policy(call: Call, params: Params) -> Params:
    await call.roles.remove_policy(call.account, params["PolicyArn"])
    return {}


# ---- their versions --------------------------------------------------------------------------------------------------

async def create_policy_version(call: Call, params: Params) -> Params:
    version = await call.policies.add_version(params["PolicyArn"], params["PolicyDocument"], call.now, default=params.get("SetAsDefault", False))
    return {"PolicyVersion": _version(version, default=params.get("SetAsDefault", False)) | {"Document": None}}


async def get_policy_version(call: Call, params: Params) -> Params:
    policy = await call.policies.find(params["PolicyArn"])
    version = policy.version(params["VersionId"])
    return {"PolicyVersion": _version(version, default=version.id == policy.default)}


async def list_policy_versions(call: Call, params: Params) -> Params:
    """The versions, newest first, without their documents."""
    policy = await call.policies.find(params["PolicyArn"])
    return paged(
        "Versions", policy.versions, lambda version: f"{1_000_000 - int(version.id[1:]):07}",
        lambda version: _version(version, default=version.id == policy.default) | {"Document": None}, params,
    )


async def set_default_policy_version(call: Call, params: Params) -> Params:
    await call.policies.set_default(params["PolicyArn"], params["VersionId"], call.now)
    return {}


async def delete_policy_version(call: Call, params: Params) -> Params:
    await call.policies.remove_version(params["PolicyArn"], params["VersionId"], call.now)
    return {}


async def _described(call: Call, policy: Policy) -> Params:
    attached, bounded = await call.roles.uses(policy.arn, call.account)
    return {
        "PolicyName": policy.name, "PolicyId": policy.id, "Arn": policy.arn, "Path": policy.path, "DefaultVersionId": policy.default,
        "AttachmentCount": attached, "PermissionsBoundaryUsageCount": bounded, "IsAttachable": True,
        "CreateDate": policy.created_at.replace(microsecond=0), "UpdateDate": policy.updated_at.replace(microsecond=0),
    }


def _version(version: PolicyVersion, *, default: bool) -> Params:
    return {
        "Document": quote(version.document, safe=""), "VersionId": version.id, "IsDefaultVersion": default,
        "CreateDate": version.created_at.replace(microsecond=0),
    }


OPERATIONS: Answers = {
    "CreatePolicy": create_policy, "GetPolicy": get_policy, "ListPolicies": list_policies, "ListEntitiesForPolicy": list_entities_for_policy,
    "DeletePolicy": delete_policy, "CreatePolicyVersion": create_policy_version, "GetPolicyVersion": get_policy_version,
    "ListPolicyVersions": list_policy_versions, "SetDefaultPolicyVersion": set_default_policy_version, "DeletePolicyVersion": delete_policy_version,
}
