"""Where what was asked for is, when it is not where it was asked for: another region, another account."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from microlam.errors import FunctionNotFound, LogsNotFound, NotFound
from microlam.model import account_of, function_arn, region_of, split_arn

_GROUP = "/aws/lambda/"


class Named(Protocol):
    """A function, as far as looking for it elsewhere goes."""

    @property
    def name(self) -> str: ...
    @property
    def arn(self) -> str: ...


def remedy(error: NotFound, functions: Iterable[Named], region: str, account: str) -> str | None:
    """What to tell the developer whose call found nothing; None where there is no function of that name anywhere."""
    asked = _asked(error, region, account)
    if asked is None:
        return None
    name, ours = asked.rpartition(":")[2], (region_of(asked), account_of(asked))
    places = [(region_of(function.arn), account_of(function.arn)) for function in functions if function.name == name]
    if not places or ours in places:
        return None
    theirs = places[0]
    cure = f"set AWS_REGION={theirs[0]} where it is called" if theirs[0] != ours[0] else f"call it with the access key {theirs[1]}"
    return f"{name} was called in {ours[0]}, account {ours[1]}, but is in {theirs[0]}, account {theirs[1]}: {cure}"


def _asked(error: NotFound, region: str, account: str) -> str | None:
    """The ARN of the function that was asked for, or whose logs were."""
    if isinstance(error, FunctionNotFound):
        return split_arn(str(error.facts["arn"]))[0]
    group = str(error.facts.get("group", "")) if isinstance(error, LogsNotFound) else ""
    return function_arn(group.removeprefix(_GROUP), region, account) if group.startswith(_GROUP) else None
