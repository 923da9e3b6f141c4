"""A function's history: every change to its configuration, versions and aliases, what, when and from where; each can be taken back."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.facts import Facts
from microlam.admin.finding import address_of, function_named
from microlam.functions.history import revert

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions.snapshot import Change

_LEFT_OUT = ("arn", "name", "revision", "modified", "content", "status")
_REVERTABLE = ("alias", "concurrency", "provision")


async def show(lam: Microlam, asked: Asked) -> Facts:
    """Every change, the newest first."""
    function = function_named(lam, asked.names["name"])
    return {
        "name": function.name, "arn": function.arn, "address": address_of(lam, function.arn),
        "changes": [change_facts(change) for change in await lam.functions.changes(function.arn)],
    }


def change_facts(change: Change) -> Facts:
    """One change: what differs between before and after, and whether it can be taken back."""
    return {
        "id": change.id, "at": change.at.isoformat(), "what": change.what, "thing": change.thing, "name": change.name, "origin": change.origin,
        "differences": differences(change.before or {}, change.after or {}),
        "revertable": revertable(change),
    }


def revertable(change: Change) -> bool:
    """Whether there is a verb that takes this back."""
    match change.thing:
        case "version":
            return change.what in ("published", "deleted")
        case "function":
            return change.before is not None and change.after is not None
        case thing:
            return thing in _REVERTABLE


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Facts]:
    """The fields that differ, as they were and as they are; the values of variables are nobody's business here."""
    names = [name for name in {**before, **after} if name not in _LEFT_OUT and before.get(name) != after.get(name)]
    return [{"field": name, "before": _shown(name, before.get(name)), "after": _shown(name, after.get(name))} for name in names]


def _shown(name: str, value: object) -> object:
    if name == "environment" and isinstance(value, Mapping):
        return ", ".join(sorted(value))
    return None if value in ("", [], {}, ()) else value


async def take_back(lam: Microlam, asked: Asked) -> Done:
    """Make a thing again what it was before a change."""
    function = function_named(lam, asked.names["name"])
    await revert(lam.functions, function.arn, asked.names["id"], origin=asked.origin)
    return Done(to=f"functions/{address_of(lam, function.arn)}/changes", words="Taken back; that is a change of its own, and can be taken back too.")


ROUTES = (page("functions/{name}/changes", show, "changes.html"), action("functions/{name}/changes/{id}/revert", take_back))
