"""Whether there is what a call names: a function, a version of it, an alias."""
from __future__ import annotations

from microlam.aws.call import Call
from microlam.aws.lambda_.target import Target
from microlam.errors import AliasNotFound, FunctionNotFound, NotFound
from microlam.model import LATEST


class ResourceMissing(NotFound):
    """The resource you requested does not exist."""


class FunctionMissing(NotFound):
    """Function does not exist"""


def exists(call: Call, target: Target) -> bool:
    """Whether there is the function, and the version or alias of it that is named."""
    if target.arn not in call.functions:
        return False
    known = [alias.name for alias in call.functions.aliases(target.arn)] + [version.number for version in call.functions.versions(target.arn)]
    return target.qualifier in (None, LATEST, *known)


def must_exist(call: Call, arn: str) -> None:
    """Raise FunctionNotFound where there is no function."""
    if arn not in call.functions:
        raise FunctionNotFound(arn=arn)


def must_exist_qualified(call: Call, target: Target) -> None:
    """Raise, in AWS's words for each, where there is no function, no such version or no such alias."""
    if not exists(call, target):
        if target.qualifier and is_alias_name(target.qualifier):
            raise AliasNotFound(arn=target.invoked)
        raise FunctionNotFound(arn=target.invoked)


def is_alias_name(qualifier: str) -> bool:
    """Whether it may be an alias: neither a number nor with a `$`."""
    return not qualifier.isdecimal() and "$" not in qualifier
