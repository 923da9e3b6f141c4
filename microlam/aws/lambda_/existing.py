"""Whether there is what a call names: a function, a version of it, an alias."""
from __future__ import annotations

from microlam.aws.call import Call
from microlam.aws.lambda_.target import Target
from microlam.errors import FunctionNotFound, NotFound
from microlam.model import LATEST


class AliasNotFound(NotFound):
    """Cannot find alias arn: {arn}"""


class ResourceMissing(NotFound):
    """The resource you requested does not exist."""


class FunctionMissing(NotFound):
    """Function does not exist"""


async def function_exists(call: Call, arn: str) -> bool:
    return any(function.arn == arn for function in call.functions.all())


async def exists(call: Call, target: Target) -> bool:
    """Whether there is the function, and the version or alias of it that is named."""
    return await function_exists(call, target.arn) and target.qualifier in (None, LATEST)


async def must_exist(call: Call, arn: str) -> None:
    """Raise FunctionNotFound where there is no function."""
    if not await function_exists(call, arn):
        raise FunctionNotFound(arn=arn)


async def must_exist_qualified(call: Call, target: Target) -> None:
    """Raise, in AWS's words for each, where there is no function, no such version or no such alias."""
    await must_exist(call, target.arn)
    if target.qualifier and not await exists(call, target):
        if is_alias_name(target.qualifier):
            raise AliasNotFound(arn=f"{target.arn}:{target.qualifier}")
        raise FunctionNotFound(arn=f"{target.arn}:{target.qualifier}")


def is_alias_name(qualifier: str) -> bool:
    """Whether it may be an alias: neither a number nor with a `$`."""
    return not qualifier.isdecimal() and "$" not in qualifier
