"""What versions, aliases and their history are, by value; and the verbs that change them, over a real store."""
from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from microlam.errors import FunctionNotFound, InvalidParameter
from microlam.functions import Change, Functions, Snapshot, revert
from microlam.functions.rules import LatestCannotSplit, NothingBefore, NothingToPromote, check_alias, shares
from microlam.functions.shelves import previous
from microlam.model import Alias, Outcome, Version, chosen_version, function_arn
from microlam.store import Store
from microlam.triggers import Triggers
from tests.lambdas import VERSION, packed

MADE = function_arn("made")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


# ---- by value --------------------------------------------------------------------------------------------------------

def test_an_alias_shares_by_weight() -> None:
    canary = Alias(arn=MADE, name="live", number="1", other="2", weight=0.1)
    assert Counter(chosen_version(canary, toss / 1000) for toss in range(1000)) == {"1": 900, "2": 100}
    assert {chosen_version(Alias(arn=MADE, name="live", number="1"), toss) for toss in (0.0, 0.999)} == {"1"}
    assert {chosen_version(Alias(arn=MADE, name="live", number="1", other="2", weight=1.0), toss) for toss in (0.0, 0.999999)} == {"2"}
    assert {chosen_version(Alias(arn=MADE, name="live", number="1", other="2", weight=0.0), toss) for toss in (0.0, 0.999999)} == {"1"}


def test_an_alias_names_versions_that_exist() -> None:
    check_alias(Alias(arn=MADE, name="live", number="$LATEST"), {})
    check_alias(Alias(arn=MADE, name="live", number="1", other="2", weight=0.5), {"1", "2"})
    with pytest.raises(FunctionNotFound, match="made:2"):
        check_alias(Alias(arn=MADE, name="live", number="1", other="2"), {"1"})
    with pytest.raises(LatestCannotSplit):
        check_alias(Alias(arn=MADE, name="live", number="$LATEST", other="1"), {"1"})


@pytest.mark.parametrize(("weight", "found"), [(0.1, {"1": 9, "2": 1}), (0.0, {"1": 10}), (1.0, {"2": 10}), (0.5, {"1": 5, "2": 5})])
def test_provisioned_workers_are_shared_as_invocations_are(weight: float, found: dict[str, int]) -> None:
    assert shares(Alias(arn=MADE, name="live", number="1", other="2", weight=weight), 10) == found


def moves(*steps: str) -> list[Change]:
    """A history, the newest first, of an alias that was `1>2` moved, `<1` rolled back."""
    changes, now = [Change(id="0", arn=MADE, at=NOW, what="created", thing="alias", name="live", origin="api", after={"number": "1"})], "1"
    for step in steps:
        number = step[1:] if step.startswith("<") else step
        what = "rolled back" if step.startswith("<") else "changed"
        changes.insert(0, Change(id=step, arn=MADE, at=NOW, what=what, thing="alias", name="live", origin="api", before={"number": now}, after={"number": number}))
        now = number
    return changes


@pytest.mark.parametrize(("steps", "back"), [
    ((), None), (("2",), "1"), (("2", "3"), "2"), (("2", "3", "<2"), "1"), (("2", "3", "<2", "<1"), None), (("2", "<1", "3"), "1"), (("2", "2"), "1"),
])
def test_a_rollback_goes_back_one_move_further_each_time(steps: tuple[str, ...], back: str | None) -> None:
    assert previous(moves(*steps), "live") == back
    assert previous(moves(*steps), "other") is None


# ---- the verbs -------------------------------------------------------------------------------------------------------

@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Functions]:
    async def warm(version: Version) -> Outcome | None:
        return None

    async def retire(version: Version) -> None:
        return None

    store = await Store.open(folder / "data")
    functions = Functions(folder, folder / "data", store=store, region="us-east-1", account="000000000000", triggers=Triggers(), warm=warm, retire=retire,
                          say=print)
    await functions.load()
    yield functions
    await functions.close()
    await store.close()


@pytest.fixture
async def functions(tmp_path: Path) -> AsyncIterator[Functions]:
    async with opened(tmp_path) as found:
        yield found


async def made(functions: Functions, versions: int = 2, name: str = "made") -> str:
    """A function with so many versions."""
    arn = function_arn(name)
    await functions.create(Snapshot(arn=arn, handler="index.handler", runtime="python3.11", modified=NOW, revision=""), packed(index=VERSION.format(1)), origin="api")
    for number in range(versions):
        if number:
            await functions.update_code(arn, packed(index=VERSION.format(number + 1)), origin="api")
        await functions.publish(arn, origin="cli")
    return arn


async def test_the_history_tells_who_did_what_and_how_it_was_before(functions: Functions) -> None:
    arn = await made(functions, 1)
    await functions.update_configuration(arn, {"timeout": 9.0, "environment": {"A": "b"}}, origin="admin")
    await functions.create_alias(arn, "live", "1", origin="cli")
    await functions.concurrency.reserve(arn, 5, origin="api")
    await functions.delete_alias(arn, "live", origin="api")

    told = [(change.what, change.thing, change.name, change.origin) for change in await functions.changes(arn)]

    assert told == [
        ("deleted", "alias", "live", "api"), ("changed", "concurrency", "", "api"), ("created", "alias", "live", "cli"),
        ("changed", "function", "", "admin"), ("published", "version", "1", "cli"), ("created", "function", "", "api"),
    ]
    changed = (await functions.changes(arn))[3]
    assert (changed.before, changed.after) == ({"timeout": 3.0, "environment": None}, {"timeout": 9.0, "environment": {"A": "b"}})


async def test_changes_can_be_taken_back(functions: Functions) -> None:
    arn = await made(functions)
    await functions.create_alias(arn, "live", "1", origin="api", description="first")

    async def taken_back(act: Any) -> None:
        await act
        await revert(functions, arn, (await functions.changes(arn))[0].id, origin="admin")

    await taken_back(functions.update_alias(arn, "live", {"number": "2", "other": "1", "weight": 0.5}, origin="api"))
    assert (functions.alias(arn, "live").number, functions.alias(arn, "live").other) == ("1", None)
    await taken_back(functions.delete_alias(arn, "live", origin="api"))
    assert (functions.alias(arn, "live").number, functions.alias(arn, "live").description) == ("1", "first")
    await taken_back(functions.create_alias(arn, "more", "1", origin="api"))
    assert [alias.name for alias in functions.aliases(arn)] == ["live"]
    await taken_back(functions.concurrency.reserve(arn, 0, origin="api"))
    assert functions.concurrency.reserved(arn) is None
    before = await functions.snapshot(arn)
    await taken_back(functions.update_code(arn, packed(index=VERSION.format("other")), origin="api"))
    assert (await functions.snapshot(arn)).sha256 == before.sha256
    published = next(change.id for change in await functions.changes(arn) if change.what == "published")
    await revert(functions, arn, published, origin="admin")
    [deleted, *_] = await functions.changes(arn)
    assert (deleted.thing, deleted.what) == ("version", "deleted")
    assert deleted.name not in [version.number for version in functions.versions(arn)]
    await revert(functions, arn, deleted.id, origin="admin")
    assert deleted.name in [version.number for version in functions.versions(arn)]
    assert (await functions.current(arn, deleted.name)).number == deleted.name
    with pytest.raises(InvalidParameter, match="is there"):
        await revert(functions, arn, deleted.id, origin="admin")
    with pytest.raises(InvalidParameter, match="no change"):
        await revert(functions, arn, "nothing", origin="admin")


async def test_a_canary_is_promoted_or_rolled_back(functions: Functions) -> None:
    arn = await made(functions, 3)
    await functions.create_alias(arn, "live", "1", origin="api")
    with pytest.raises(NothingToPromote):
        await functions.promote(arn, "live", origin="cli")
    await functions.update_alias(arn, "live", {"other": "2", "weight": 0.1}, origin="api")
    promoted = await functions.promote(arn, "live", origin="cli")
    assert (promoted.number, promoted.other) == ("2", None)
    await functions.update_alias(arn, "live", {"other": "3", "weight": 0.1}, origin="api")
    assert [(await functions.rollback(arn, "live", origin="cli")).number for _ in range(2)] == ["2", "1"]
    with pytest.raises(NothingBefore):
        await functions.rollback(arn, "live", origin="cli")


async def test_many_who_publish_at_once_get_one_number(functions: Functions) -> None:
    arn = await made(functions, 0)
    published = await asyncio.gather(*(functions.publish(arn, origin="api") for _ in range(20)))
    assert {snapshot.number for snapshot in published} == {"1"}


async def test_many_who_change_an_alias_at_once_are_all_in_the_history(functions: Functions) -> None:
    arn = await made(functions)
    await functions.create_alias(arn, "live", "1", origin="api")
    await asyncio.gather(*(functions.update_alias(arn, "live", {"description": str(number)}, origin="api") for number in range(30)))
    changes = [change for change in await functions.changes(arn) if change.what == "changed"]
    assert len(changes) == 30
    assert changes[0].after is not None
    assert changes[0].after["description"] == functions.alias(arn, "live").description
    # Each began where the one before it ended.
    assert all(later.before == earlier.after for later, earlier in pairwise(changes))


async def test_code_that_nothing_refers_to_goes_at_the_next_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as functions:
        kept, gone = await made(functions), await made(functions, 1, "gone")
        await functions.update_code(kept, packed(index="x = 1"), origin="api")
        await functions.update_code(kept, packed(index="x = 2"), origin="api")
        wanted = {snapshot.sha256 for snapshot in [*functions.versions(kept), *await replaced(functions, kept)]}
        await functions.update_code(gone, packed(index="x = 3"), origin="api")
        unwanted = (await functions.snapshot(gone)).sha256
        await functions.delete(gone, origin="api")
    async with opened(tmp_path) as functions:
        assert len(wanted) == 3
        assert all(functions.zip(sha256) for sha256 in wanted)
        assert functions.zip(unwanted) is None
        assert (await functions.current(kept, "1")).number == "1"


async def replaced(functions: Functions, arn: str) -> list[Snapshot]:
    """What `$LATEST` was before its last change: the history can go back to it."""
    latest = await functions.snapshot(arn)
    return [dataclasses.replace(latest, **change.before) for change in (await functions.changes(arn))[:1] if change.before]
