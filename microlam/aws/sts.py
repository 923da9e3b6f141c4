"""STS: who one is, and keys of a role."""
from __future__ import annotations

import re

from microlam.aws.call import Answers, Call
from microlam.aws.errors import Invalid
from microlam.aws.protocol import Params
from microlam.resources.policies import entity_id

_ROLE = re.compile(r"arn:aws[a-zA-Z-]*:iam::(?P<account>\d{12}):role/(?:[\x21-\x7e]+/)?(?P<name>[\w+=,.@-]+)")
SECONDS = 3600


async def get_caller_identity(call: Call, params: Params) -> Params:
    """Whose keys these are."""
    if call.session is not None:
        return {"UserId": call.session.user_id, "Account": call.account, "Arn": call.session.arn}
    return {"UserId": call.account, "Account": call.account, "Arn": f"arn:aws:iam::{call.account}:root"}


async def assume_role(call: Call, params: Params) -> Params:
    """New keys that stand for a role, also for one that nobody has created."""
    arn, seconds = params["RoleArn"], params.get("DurationSeconds", SECONDS)
    named = _ROLE.fullmatch(arn)
    if named is None:
        raise Invalid(reason="Request ARN is invalid" if arn.startswith("arn:") else f"{arn} is invalid")
    role = await call.roles.get(named["account"], named["name"])
    if role is not None and seconds > role.longest:
        raise Invalid(reason="The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    role_id = role.id if role is not None else entity_id("AROA", arn)
    session = await call.sessions.open(
        arn, role_id, params["RoleSessionName"], seconds, call.now, policy=params.get("Policy"),
        policies=[policy["arn"] for policy in params.get("PolicyArns", ())],
    )
    return {
        "Credentials": {
            "AccessKeyId": session.access_key, "SecretAccessKey": session.secret_key, "SessionToken": session.token, "Expiration": session.expires_at,
        },
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
        "SourceIdentity": params.get("SourceIdentity"),
    }


OPERATIONS: Answers = {"AssumeRole": assume_role, "GetCallerIdentity": get_caller_identity}
