"""The resource policy of a function, a version or an alias: who else may invoke it."""
from __future__ import annotations

import json
import re
from typing import Any

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.existing import ResourceMissing, must_exist_qualified
from microlam.aws.lambda_.target import target_of
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter, NotFound
from microlam.model import LATEST

_SERVICE = re.compile(r"[a-z0-9][a-z0-9.-]*\.(?:amazonaws\.com(?:\.cn)?|amazon\.com|aws\.internal)")
_IDENTITY = re.compile(r"arn:aws[a-zA-Z-]*:(?:iam|sts)::\d{12}:(?:root|(?:user|role|assumed-role|federated-user)/.+)")


class NoPolicyFound(NotFound):
    """No policy found for: {arn}"""


async def add_permission(call: Call, params: Params) -> Params:
    """Let a service, an account or a user invoke a function; gives the statement that says so."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    if target.qualifier == LATEST:
        raise InvalidParameter(reason="We currently do not support adding policies for $LATEST.")
    if params.get("FunctionUrlAuthType") and params["Action"] != "lambda:InvokeFunctionUrl":
        raise InvalidParameter(reason="FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
    principal = principal_of(params["Principal"])
    must_exist_qualified(call, target)
    arn = target.invoked
    statement: dict[str, Any] = {"Sid": params["StatementId"], "Effect": "Allow", "Principal": principal, "Action": params["Action"], "Resource": arn}
    conditions = _conditions(params)
    if conditions:
        statement["Condition"] = conditions
    current = call.functions.revision(target.arn, target.qualifier)
    await call.attached.policies.add(target.arn, target.qualifier or "", statement, revision=params.get("RevisionId"), current=current, call="GetPolicy")
    await call.functions.touch(target.arn, target.qualifier)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


async def get_policy(call: Call, params: Params) -> Params:
    """The policy of a function, a version or an alias."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    policy = await call.attached.policies.find(target.arn, target.qualifier or "")
    if policy is None:
        raise ResourceMissing()
    return {"Policy": policy.document, "RevisionId": call.functions.revision(target.arn, target.qualifier) or policy.revision}


async def remove_permission(call: Call, params: Params) -> Params:
    """Take one statement out of a policy."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    if target.arn not in call.functions:
        raise NoPolicyFound(arn=target.arn)
    must_exist_qualified(call, target)
    revision, current = params.get("RevisionId"), call.functions.revision(target.arn, target.qualifier)
    await call.attached.policies.remove(target.arn, target.qualifier or "", params["StatementId"], revision=revision, current=current, call="GetPolicy")
    await call.functions.touch(target.arn, target.qualifier)
    return {}


OPERATIONS: Answers = {"AddPermission": add_permission, "GetPolicy": get_policy, "RemovePermission": remove_permission}


# ---- statements ------------------------------------------------------------------------------------------------------

def principal_of(text: str) -> str | dict[str, str]:
    """Who is meant, as IAM writes it: everybody, a service, an account, or one of its users and roles."""
    if text == "*":
        return text
    if text.isdecimal() and len(text) == 12:
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    if _IDENTITY.fullmatch(text):
        return {"AWS": text}
    raise InvalidParameter(reason="The provided principal was invalid. Please check the principal and try again.")


def _conditions(params: Params) -> dict[str, dict[str, str]]:
    """Under what circumstances a statement holds."""
    equal = {
        "AWS:SourceAccount": params.get("SourceAccount"),
        "lambda:EventSourceToken": params.get("EventSourceToken"),
        "lambda:FunctionUrlAuthType": params.get("FunctionUrlAuthType"),
        "aws:PrincipalOrgID": params.get("PrincipalOrgID"),
    }
    via_url = params.get("InvokedViaFunctionUrl")
    conditions = {
        "StringEquals": {name: value for name, value in equal.items() if value is not None},
        "ArnLike": {"AWS:SourceArn": params["SourceArn"]} if params.get("SourceArn") else {},
        "Bool": {"lambda:InvokedViaFunctionUrl": str(via_url).lower()} if via_url is not None else {},
    }
    return {operator: said for operator, said in conditions.items() if said}
