"""Finding what an address names: a function, a trigger, an invocation; and saying so where there is none."""
from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from microlam.errors import FunctionNotFound, InvocationNotFound, NotFound
from microlam.functions import Function
from microlam.model import Trigger, function_arn

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.store import Record


def function_named(lam: Microlam, name: str) -> Function:
    """The function with this name in the server's own account and region, or with this ARN."""
    own = function_arn(name, lam.settings.region, lam.settings.account)
    found = next((function for function in lam.functions.all() if function.arn in (own, name)), None)
    if found is not None:
        return found
    arn = next((arn for arn in lam.functions.bereft() if arn in (own, name)), None)
    if arn is None:
        raise FunctionNotFound(arn=name)
    return _bereft(lam, arn)


def _bereft(lam: Microlam, arn: str) -> Function:
    """A function whose file is gone: its last version stands for it."""
    newest = lam.functions.versions(arn)[0]
    return Function(
        name=newest.name, arn=arn, handler=newest.handler, file=None, latest=newest.version(""), error=None, triggers=(),
        warnings=("Its file is gone. Its versions, its aliases and its history stay.",),
    )


def address_of(lam: Microlam, arn: str) -> str:
    """How the admin's addresses name a function: by its name at home, by its ARN elsewhere."""
    home = function_arn("", lam.settings.region, lam.settings.account)
    return quote(arn.removeprefix(home), safe=":$")


def trigger_named(lam: Microlam, id: str) -> Trigger:
    """The trigger with this id."""
    found = next((trigger for trigger in lam.triggers.all() if trigger.id == id), None)
    if found is None:
        raise NotFound(reason=f"There is no trigger {id} any more.")
    return found


async def record_of(lam: Microlam, id: str, attempt: int | None = None) -> Record:
    """An invocation's record, whole, also while it runs."""
    lam.invoker.note_running()
    record = await lam.store.invocation(id, attempt)
    if record is None:
        raise InvocationNotFound(id=id)
    return record
