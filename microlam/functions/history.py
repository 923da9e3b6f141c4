"""Taking back: a change in a function's history, undone by the verb that undoes it."""
from __future__ import annotations

from typing import Any

from microlam.errors import InvalidParameter
from microlam.functions.verbs import Functions


async def revert(functions: Functions, arn: str, id: str, *, origin: str) -> None:
    """Make a thing again what it was before a change."""
    change = next((change for change in await functions.changes(arn) if change.id == id), None)
    if change is None:
        raise InvalidParameter(reason=f"There is no change {id} in the history of {arn.rpartition(':')[2]}; it may have been forgotten.")
    before: dict[str, Any] = dict(change.before or {})
    match change.thing:
        case "alias":
            await _revert_alias(functions, arn, change.name, before, origin)
        case "version" if change.what == "published":
            await functions.delete_version(arn, change.name, origin=origin)
        case "version" if before:
            await functions.restore_version(arn, change.name, before, origin=origin)
        case "concurrency":
            await functions.concurrency.reserve(arn, before.get("reserved"), origin=origin)
        case "provision" if before:
            await functions.concurrency.put_provision(arn, change.name, before["requested"], origin=origin)
        case "provision":
            await functions.concurrency.delete_provision(arn, change.name, origin=origin)
        case "function" if change.before is not None and change.after is not None:
            # JSON knows no tuples.
            wished = {name: tuple(value) if isinstance(value, list) else value for name, value in before.items()}
            if "sha256" in before and functions.zip(before["sha256"]) is None:
                raise InvalidParameter(reason=f"The code that {arn.rpartition(':')[2]} had before is not kept any more. Upload it again.")
            await functions.update_configuration(arn, wished, origin=origin)
        case _:
            raise InvalidParameter(reason=f"That {change.thing} {change.name or arn.rpartition(':')[2]} was {change.what} cannot be taken back.")


async def _revert_alias(functions: Functions, arn: str, name: str, before: dict[str, Any], origin: str) -> None:
    if not before:
        await functions.delete_alias(arn, name, origin=origin)
        return
    wished = {field: before[field] for field in ("number", "other", "weight", "description")}
    if any(alias.name == name for alias in functions.aliases(arn)):
        await functions.update_alias(arn, name, wished, origin=origin)
    else:
        await functions.create_alias(arn, name, origin=origin, **wished)
