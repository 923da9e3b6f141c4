"""Versions and aliases: who points at what, a canary's observed split beside the configured one, and moving, promoting, rolling back."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from microlam.admin import activity
from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.facts import Facts
from microlam.admin.finding import address_of, function_named
from microlam.admin.forms import wish
from microlam.errors import FunctionNotFound, InvalidParameter, NotFound
from microlam.model import LATEST, Alias
from microlam.store import Series, Totals

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function
    from microlam.functions.snapshot import Change

OBSERVED_AT_MOST = timedelta(days=7)    # how far back the observed split goes, where the alias has not been changed for long
DESCRIPTION_AT_MOST = 256              # as on AWS
_VERSIONS_TOLD = 10                     # of those there are, to who asks for one that there is not


async def show(lam: Microlam, asked: Asked) -> Facts:
    """Every version and alias of a function."""
    function = function_named(lam, asked.names["name"])
    arn, now = function.arn, lam.clock.now()
    aliases, changes = lam.functions.aliases(arn), await lam.functions.changes(arn)
    series, day = await lam.store.charts.series("24h", now, arn), await activity.of_versions(lam, arn, now - timedelta(days=1), now)
    return {
        "name": function.name, "arn": arn, "address": address_of(lam, arn),
        "aliases": [await _alias(lam, alias, changes, series, now) for alias in aliases],
        "versions": [
            {"number": version.number, "description": version.description, "published_at": version.modified.isoformat(), "sha256": version.sha256,
             "size": version.size, "timeout": version.timeout, "memory": version.memory, "aliases": _pointing(aliases, version.number),
             "activity": _day(day, series, version.number)}
            for version in lam.functions.versions(arn)
        ],
        "latest": {"error": function.error, "aliases": _pointing(aliases, LATEST), "activity": _day(day, series, LATEST)},
    }


def _pointing(aliases: Sequence[Alias], number: str) -> list[Facts]:
    """Who points at a version, and with how much of what is invoked by that name."""
    return [
        {"name": alias.name, "share": (1 - alias.weight if alias.other else 1.0) if alias.number == number else alias.weight}
        for alias in aliases if number in (alias.number, alias.other)
    ]


def _day(day: Mapping[str, Facts], series: Series, number: str) -> Facts:
    """What a version did in the last day."""
    return activity.numbers(Totals()) | day.get(number, {}) | activity.spark(series.versions.get(number, ()))


async def _alias(lam: Microlam, alias: Alias, changes: Sequence[Change], series: Series, now: datetime) -> Facts:
    """An alias, and what its versions really ran since it was last changed."""
    changed = next((change.at for change in changes if change.thing == "alias" and change.name == alias.name), None)
    since = max(changed, now - OBSERVED_AT_MOST) if changed else now - OBSERVED_AT_MOST
    observed = await activity.of_versions(lam, alias.arn, since, now)
    numbers = [number for number in (alias.other, alias.number) if number is not None]
    weights = {alias.number: 1 - alias.weight if alias.other else 1.0, **({alias.other: alias.weight} if alias.other else {})}
    ran = sum(_count(observed, number) for number in numbers)
    return {
        "name": alias.name, "number": alias.number, "other": alias.other, "weight": alias.weight, "description": alias.description,
        "since": since.isoformat(), "changed_at": changed.isoformat() if changed else None, "ran": ran,
        "versions": [
            activity.numbers(Totals()) | observed.get(number, {}) | {
                "number": number, "configured": weights[number], "observed": _count(observed, number) / ran if ran else None,
                "trend": activity.spark(series.versions.get(number, ())),
            }
            for number in numbers
        ],
    }


def _count(observed: Mapping[str, Facts], number: str) -> int:
    count = observed.get(number, {}).get("count", 0)
    return count if isinstance(count, int) else 0


# ---- actions ---------------------------------------------------------------------------------------------------------

async def publish(lam: Microlam, asked: Asked) -> Done:
    """Number what the function is now."""
    function = function_named(lam, asked.names["name"])
    before = {version.number for version in lam.functions.versions(function.arn)}
    wanted = wish(asked, '{"description": "the new one"}')
    description = str(wanted["description"]) if "description" in wanted else None
    if description is not None and len(description) > DESCRIPTION_AT_MOST:
        raise InvalidParameter(reason=f"The description has {len(description):,} characters; it may have {DESCRIPTION_AT_MOST}.")
    published = await lam.functions.publish(function.arn, origin=asked.origin, description=description)
    words = f"Version {published.number} is what it was: nothing has changed since." if published.number in before else f"Published version {published.number}."
    return Done(to=_to(lam, function.arn), words=words, facts={"version": published.number, "new": published.number not in before})


async def put_alias(lam: Microlam, asked: Asked) -> Done:
    """Create an alias, or move the one with this name; an `other` version may get so many percent of it."""
    function = function_named(lam, asked.names["name"])
    wanted = wish(asked, '{"alias": "live", "number": "1", "other": "2", "weight": 10}')
    name, other = str(wanted.get("alias", "")), str(wanted["other"]) if "other" in wanted else None
    weight = percent(str(wanted.get("weight", ""))) / 100 if other else 0.0
    before = next((alias for alias in lam.functions.aliases(function.arn) if alias.name == name), None)
    number = str(wanted.get("number") or (before.number if before else ""))
    try:
        if before is None:
            alias = await lam.functions.create_alias(function.arn, name, number, origin=asked.origin, other=other, weight=weight)
        else:
            alias = await lam.functions.update_alias(function.arn, name, {"number": number, "other": other, "weight": weight}, origin=asked.origin)
    except FunctionNotFound:        # AWS says of a version, too, that the function is not found
        if not number:
            how = ": --version N" if asked.origin == "cli" else ""
            raise NotFound(reason=f"{function.name} has no alias {name}; say which version it is to name{how}.") from None
        raise _no_version(lam, function, number, other) from None
    return Done(to=_to(lam, function.arn), words=f"{alias.name} is version {alias.number}.", facts=_moved(before, alias))


async def weigh(lam: Microlam, asked: Asked) -> Done:
    """Give another version a share of what is invoked by an alias."""
    function = function_named(lam, asked.names["name"])
    alias = lam.functions.alias(function.arn, asked.names["alias"])
    changes = {"other": asked.field("other") or alias.other, "weight": percent(asked.field("weight")) / 100}
    try:
        alias = await lam.functions.update_alias(function.arn, alias.name, changes, origin=asked.origin)
    except FunctionNotFound:
        raise _no_version(lam, function, alias.number, str(changes["other"])) from None
    words = f"Version {alias.other} gets {100 * alias.weight:g} % of {alias.name}."
    return Done(to=_to(lam, function.arn), words=words, facts=_plain(alias))


def _no_version(lam: Microlam, function: Function, *wanted: str | None) -> NotFound:
    """Which of the wanted versions there is not, and which there are."""
    known = [version.number for version in lam.functions.versions(function.arn)]
    missing = next((number for number in wanted if number and number not in (LATEST, *known)), "")
    newest = ", ".join([*(["…"] if len(known) > _VERSIONS_TOLD else []), *reversed(known[:_VERSIONS_TOLD])])
    there_are = f"its versions are {newest}" if len(known) > 1 else f"its only version is {newest}" if known else "it has none yet"
    return NotFound(reason=f"{function.name} has no version {missing[:40]}; {there_are}. `microlam publish {function.name}` makes one.")


def percent(text: str) -> float:
    """A share, from 0 to 100."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 100:
        raise InvalidParameter(reason=f"weight is {text[:40]!r}; it must be a number of percent from 0 to 100.")
    return value


async def promote(lam: Microlam, asked: Asked) -> Done:
    """Let the other version of an alias have all of it."""
    function = function_named(lam, asked.names["name"])
    before = lam.functions.alias(function.arn, asked.names["alias"])
    alias = await lam.functions.promote(function.arn, before.name, origin=asked.origin)
    return Done(to=_to(lam, function.arn), words=f"Promoted: {alias.name} is version {alias.number}.", facts=_moved(before, alias))


async def roll_back(lam: Microlam, asked: Asked) -> Done:
    """Take the other version's share back, or go back to what the alias named before."""
    function = function_named(lam, asked.names["name"])
    before = lam.functions.alias(function.arn, asked.names["alias"])
    alias = await lam.functions.rollback(function.arn, before.name, origin=asked.origin)
    return Done(to=_to(lam, function.arn), words=f"Rolled back: {alias.name} is version {alias.number}.", facts=_moved(before, alias))


async def delete_alias(lam: Microlam, asked: Asked) -> Done:
    """Delete an alias; its versions stay, and the history can bring it back."""
    function = function_named(lam, asked.names["name"])
    alias = lam.functions.alias(function.arn, asked.names["alias"])
    await lam.functions.delete_alias(function.arn, alias.name, origin=asked.origin)
    return Done(to=_to(lam, function.arn), words=f"Deleted the alias {alias.name}. The history can bring it back.", facts=_plain(alias))


def _plain(alias: Alias) -> Facts:
    return {"alias": alias.name, "number": alias.number, "other": alias.other, "weight": alias.weight}


def _moved(before: Alias | None, alias: Alias) -> Facts:
    return {**_plain(alias), "before": _plain(before) if before else None}


def _to(lam: Microlam, arn: str) -> str:
    return f"functions/{address_of(lam, arn)}/versions"


ROUTES = (
    page("functions/{name}/versions", show, "versions.html"), action("functions/{name}/publish", publish), action("functions/{name}/aliases", put_alias),
    action("functions/{name}/aliases/{alias}/weight", weigh), action("functions/{name}/aliases/{alias}/promote", promote),
    action("functions/{name}/aliases/{alias}/rollback", roll_back), action("functions/{name}/aliases/{alias}/delete", delete_alias),
)
