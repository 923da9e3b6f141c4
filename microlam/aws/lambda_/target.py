"""Which function a call means: every way to name one, for this caller's account and region."""
from __future__ import annotations

from dataclasses import dataclass

from microlam.aws.call import Call
from microlam.aws.errors import FunctionElsewhere, QualifierMismatch
from microlam.errors import BadRequest, FunctionNotFound
from microlam.model import LATEST, Version, account_of, function_arn, read_function_name, region_of


@dataclass(frozen=True)
class Target:
    """The function that a call means, and the version or alias it names."""

    arn: str
    qualifier: str | None = None

    @property
    def qualified(self) -> str:
        return f"{self.arn}:{self.qualifier or LATEST}"


def target_of(call: Call, name: str, qualifier: str | None) -> Target:
    """The function that a name means to this caller; a qualifier may stand in the name, beside it, or the same one in both places."""
    read = read_function_name(name)
    if read is None:
        raise BadRequest(reason=f"{name!r} does not name a function.")
    if qualifier and read.qualifier and qualifier != read.qualifier:
        raise QualifierMismatch()
    if read.region and read.region != call.region:
        raise FunctionElsewhere(theirs=read.region, ours=call.region)
    return Target(function_arn(read.name, call.region, read.account or call.account), qualifier or read.qualifier)


async def current(call: Call, target: Target) -> Version:
    try:
        return await call.functions.current(target.arn, target.qualifier)
    except FunctionNotFound:
        _say_where(call, target)
        raise FunctionNotFound(arn=target.qualified) from None


def _say_where(call: Call, target: Target) -> None:
    """Tell the developer where a function of that name is, when it is one the caller's credentials do not reach."""
    name = target.arn.rpartition(":")[2]
    for function in call.functions.all():
        if function.name == name and function.arn != target.arn:
            theirs, ours = (region_of(function.arn), account_of(function.arn)), (call.region, account_of(target.arn))
            remedy = f"set AWS_REGION={theirs[0]} where it is called" if theirs[0] != ours[0] else f"call it with the access key {theirs[1]}"
            call.say(f"{name} was called in {ours[0]}, account {ours[1]}, but is in {theirs[0]}, account {theirs[1]}: {remedy}")
            return
