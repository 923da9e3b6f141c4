"""Which function a call means: every way to name one, for this caller's account and region."""
from __future__ import annotations

from dataclasses import dataclass

from microlam.aws.call import Call
from microlam.aws.errors import FunctionElsewhere, QualifierMismatch
from microlam.errors import BadRequest, FunctionNotFound
from microlam.model import LATEST, Version, function_arn, read_function_name


@dataclass(frozen=True)
class Target:
    """The function that a call means, and the version or alias it names."""

    arn: str
    qualifier: str | None = None

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]

    @property
    def qualified(self) -> str:
        return f"{self.arn}:{self.qualifier or LATEST}"

    @property
    def invoked(self) -> str:
        """As it was named: without a qualifier where none was said."""
        return f"{self.arn}:{self.qualifier}" if self.qualifier else self.arn


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
        raise FunctionNotFound(arn=target.qualified) from None
