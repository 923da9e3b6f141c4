"""Finding what an address names: a function, a trigger, an invocation; and saying so where there is none."""
from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from microlam.errors import FunctionNotFound, InvocationNotFound, NotFound
from microlam.model import Trigger

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function
    from microlam.store import Record


def function_named(lam: Microlam, name: str) -> Function:
    """The function with this name in the server's own account and region, or with this ARN."""
    own = f"arn:aws:lambda:{lam.settings.region}:{lam.settings.account}:function:{name}"
    found = next((function for function in lam.functions.all() if function.arn in (own, name)), None)
    if found is None:
        raise FunctionNotFound(arn=name)
    return found


def address_of(lam: Microlam, arn: str) -> str:
    """How the admin's addresses name a function: by its name at home, by its ARN elsewhere."""
    home = f"arn:aws:lambda:{lam.settings.region}:{lam.settings.account}:function:"
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
