"""Roles: create, look, change, delete, and the policies that hang on them."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from microlam.aws.call import Answers, Call
from microlam.aws.iam.pages import paged, read_tags, tag_members
from microlam.aws.protocol import Params
from microlam.resources.policies import OF_AWS, new_entity_id
from microlam.resources.roles import SESSION_LONGEST, Role

# ---- the roles themselves --------------------------------------------------------------------------------------------

async def create_role(call: Call, params: Params) -> Params:
    """A new role."""
    name, path = params["RoleName"], params.get("Path", "/")
    role = Role(
        name=name, arn=f"arn:aws:iam::{call.account}:role{path}{name}", id=new_entity_id("AROA"), path=path, trust=params["AssumeRolePolicyDocument"],
        created_at=call.now, description=params.get("Description"), longest=params.get("MaxSessionDuration", SESSION_LONGEST),
        boundary=params.get("PermissionsBoundary"), tags=read_tags(params.get("Tags")),
    )
    await call.roles.create(role)
    # AWS repeats these two only to those who ask for the role.
    return {"Role": _described(role) | {"Description": None, "MaxSessionDuration": None}}


async def get_role(call: Call, params: Params) -> Params:
    role = await call.roles.find(call.account, params["RoleName"])
    return {"Role": _described(role) | {"RoleLastUsed": {}}}


async def list_roles(call: Call, params: Params) -> Params:
    roles = [role for role in await call.roles.of(call.account) if role.path.startswith(params.get("PathPrefix", "/"))]
    return paged("Roles", roles, lambda role: role.name, lambda role: _described(role) | {"Tags": None, "PermissionsBoundary": None}, params)


async def update_role(call: Call, params: Params) -> Params:
    """Change what a role says of itself; without a longest session it is an hour again, as on AWS."""
    longest = params.get("MaxSessionDuration", SESSION_LONGEST)
    await _change(call, params, lambda role: replace(role, longest=longest, description=params.get("Description", role.description)))
    return {}


async def update_assume_role_policy(call: Call, params: Params) -> Params:
    await _change(call, params, lambda role: replace(role, trust=params["PolicyDocument"]))
    return {}


async def _change(call: Call, params: Params, change: Callable[[Role], Role]) -> None:
    await call.roles.change(call.account, params["RoleName"], change)


async def delete_role(call: Call, params: Params) -> Params:
    await call.roles.remove(call.account, params["RoleName"])
    return {}


async def tag_role(call: Call, params: Params) -> Params:
    await _change(call, params, lambda role: replace(role, tags={**role.tags, **read_tags(params["Tags"])}))
    return {}


async def untag_role(call: Call, params: Params) -> Params:
    gone = set(params["TagKeys"])
    await _change(call, params, lambda role: replace(role, tags={key: value for key, value in role.tags.items() if key not in gone}))
    return {}


async def list_role_tags(call: Call, params: Params) -> Params:
    role = await call.roles.find(call.account, params["RoleName"])
    return paged("Tags", tag_members(role.tags), lambda tag: str(tag["Key"]), lambda tag: tag, params)


async def list_instance_profiles_for_role(call: Call, params: Params) -> Params:
    """None: there are no instances. Those who delete a role ask first."""
    await call.roles.find(call.account, params["RoleName"])
    return {"InstanceProfiles": [], "IsTruncated": False}


# ---- their policies --------------------------------------------------------------------------------------------------

async def attach_role_policy(call: Call, params: Params) -> Params:
    policy = params["PolicyArn"]
    if policy.startswith(OF_AWS) and await call.policies.get(policy) is None:
        call.say(f"{policy} is none of the AWS-managed policies that are kept here: create a policy of your own that allows the same, and attach that")
    await call.roles.attach(call.account, params["RoleName"], policy)
    return {}


async def detach_role_policy(call: Call, params: Params) -> Params:
    await call.roles.detach(call.account, params["RoleName"], params["PolicyArn"])
    return {}


async def list_attached_role_policies(call: Call, params: Params) -> Params:
    attached = await call.roles.attached(call.account, params["RoleName"])
    policies = [policy for policy in attached if policy.path.startswith(params.get("PathPrefix", "/"))]
    return paged("AttachedPolicies", policies, lambda policy: policy.name, lambda policy: {"PolicyName": policy.name, "PolicyArn": policy.arn}, params)


async def put_role_policy(call: Call, params: Params) -> Params:
    await call.roles.put_inline(call.account, params["RoleName"], params["PolicyName"], params["PolicyDocument"])
    return {}


async def get_role_policy(call: Call, params: Params) -> Params:
    role = await call.roles.find(call.account, params["RoleName"])
    document = role.policy(params["PolicyName"])
    return {"RoleName": role.name, "PolicyName": params["PolicyName"], "PolicyDocument": quote(document, safe="")}


async def list_role_policies(call: Call, params: Params) -> Params:
    role = await call.roles.find(call.account, params["RoleName"])
    return paged("PolicyNames", role.inline, str, str, params)


async def delete_role_policy(call: Call, params: Params) -> Params:
    await call.roles.remove_inline(call.account, params["RoleName"], params["PolicyName"])
    return {}


def _described(role: Role) -> Params:
    boundary = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": role.boundary} if role.boundary else None
    return {
        "Path": role.path, "RoleName": role.name, "RoleId": role.id, "Arn": role.arn, "CreateDate": role.created_at.replace(microsecond=0),
        "AssumeRolePolicyDocument": quote(role.trust, safe=""), "Description": role.description, "MaxSessionDuration": role.longest,
        "PermissionsBoundary": boundary, "Tags": tag_members(role.tags) or None,
    }


OPERATIONS: Answers = {
    "CreateRole": create_role, "GetRole": get_role, "ListRoles": list_roles, "UpdateRole": update_role, "UpdateAssumeRolePolicy": update_assume_role_policy,
    "DeleteRole": delete_role, "TagRole": tag_role, "UntagRole": untag_role, "ListRoleTags": list_role_tags,
    "ListInstanceProfilesForRole": list_instance_profiles_for_role, "AttachRolePolicy": attach_role_policy, "DetachRolePolicy": detach_role_policy,
    "ListAttachedRolePolicies": list_attached_role_policies, "PutRolePolicy": put_role_policy, "GetRolePolicy": get_role_policy,
    "ListRolePolicies": list_role_policies, "DeleteRolePolicy": delete_role_policy,
}
