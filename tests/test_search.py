"""Searching the record: what a word is, by value; then that the index, what is not in it yet, and a plain scan all find the same."""
from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from microlam.model import Invocation, Outcome, function_arn, new_id
from microlam.store import InvocationFilter, Store
from microlam.store.words import holds
from tests.conftest import OpenStore

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
EVENT = json.dumps({"city": "Zürich", "order_id": 4711, "discount": "50%", "path": "C:\\new\\table", "said": 'the "needle"\nand\tthread'}).encode()



# ---- words -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("q", "found"), [
    ("Zürich", True), ("zürich", True), ("ZÜRICH", True), ("zurich", False), ("rich", False), ("zür", False),
    ("4711", True), ("471", False), ("order_id", True), ("order", True), ("id", True), ("order-id", False), ("_id", True),
    ("50%", True), ("50", True), ("0%", False), ("%", True), ("needle", True), ("nneedle", False), ('"needle"', True), ("thread", True), ("and", True),
    ("C:\\new\\table", True), ("new", True), ("table", True), ("zürich needle 4711", True), ("zürich nothing", False), ("", True), ("  ", True),
])
def test_what_is_found_in_json(q: str, found: bool) -> None:
    within = json.dumps({"body": EVENT.decode()}).encode()      # an HTTP event's body is JSON within JSON

    assert holds(q, EVENT) is found
    assert holds(q, json.dumps(json.loads(EVENT), ensure_ascii=False).encode()) is found
    assert holds(q, within) is found
    assert holds(q, None, b"", "GET /", within) is found


@pytest.mark.parametrize(("text", "q", "found"), [
    ("Привет, мир", "ПРИВЕТ", True), ("ΟΔΟΣ", "οδος", True), ("東京都", "東京都", True), ("東京都", "東京", False), ("l’été", "été", True), ("x²", "x", False),
    ("cafe\u0301", "cafe", False), ("cafe\u0301", "cafe\u0301", True), ("🎉party", "party", True), ("🎉party", "🎉", True), ("\\ud83c\\udf89 x", "🎉", True),
    ("straße", "STRASSE", False), ("\\ud83c lone", "lone", True), ("a.b(c)", "b(c)", True), ("x-y-z", "y-z", True), ("x-y-z", "-y-", True),
])
def test_words_of_every_script(text: str, q: str, found: bool) -> None:
    assert holds(q, text) is found


# ---- stores -------------------------------------------------------------------------------------------------------------

@dataclass
class Searched:
    """A store whose searches are tried: all is indexed, or what was just put is looked at as it is, or there is no index."""

    store: Store
    settle: bool

    async def keys(self, limit: int = 50, **filter: Any) -> list[str]:
        """All that a filter leaves, newest first, page by page."""
        if self.settle:
            await self.store.settled()
        return await all_keys(self.store, limit, **filter)


async def all_keys(store: Store, limit: int = 50, **filter: Any) -> list[str]:
    page = await store.invocations(InvocationFilter(**filter), limit)
    found = [record.key for record in page.records]
    while page.next:
        page = await store.invocations(InvocationFilter(**filter), limit, page.next)
        found += [record.key for record in page.records]
    return found


@pytest.fixture(params=["indexed", "at once", "without an index"])
async def searched(request: pytest.FixtureRequest, open_store: OpenStore) -> Searched:
    return Searched(await open_store(indexed=request.param != "without an index"), request.param == "indexed")


def invocation(age: float = 0.0, **facts: Any) -> Invocation:
    milliseconds = int((NOON - timedelta(seconds=age)).timestamp() * 1000)
    id = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}" + new_id()[13:]
    usual: dict[str, Any] = {"id": id, "arn": function_arn("hello"), "payload": b"{}", "cause": "http", "queued_at": NOON, "summary": "GET /hello"}
    return Invocation(**usual | facts)


def outcome(**facts: Any) -> Outcome:
    usual: dict[str, Any] = {"status": "succeeded", "payload": b"{}", "version": "1", "started_at": NOON, "duration": 0.1}
    return Outcome(**usual | facts)


# ---- searches -----------------------------------------------------------------------------------------------------------

async def test_a_search_looks_in_summary_event_reply_error_and_logs(searched: Searched) -> None:
    given = invocation(payload=EVENT, summary="POST /orders")
    searched.store.put(given, outcome(status="failed", payload=b'{"errorType": "ValueError", "errorMessage": "no total"}', logs=b"the thread\nZEBRA"))
    searched.store.put(invocation(), outcome())

    for q in ("orders", "zürich", "ValueError", "total", "zebra", "post order_id valueerror zebra", "/orders", "50% C:\\new\\table"):
        assert await searched.keys(q=q) == [given.id], q
    for q in ("orders nothing", "rders", "valueerro", "order-id"):
        assert await searched.keys(q=q) == [], q


async def test_what_has_not_ended_is_found_and_then_its_end(searched: Searched) -> None:
    waiting, running = invocation(20, payload=b'"waiting"', accepted_at=NOON, due_at=NOON), invocation(10, payload=b'"hasty"')
    await searched.store.accept([waiting])
    searched.store.note_running(running, "1", NOON)

    assert await searched.keys(q="waiting") == [waiting.id]
    assert await searched.keys(q="hasty", status=("pending", "running")) == [running.id]

    searched.store.put(running, outcome(logs=b"finally"))
    [claimed] = await searched.store.claim(NOON, 1)
    await searched.store.finish(claimed, outcome(payload=b'"finally"'))

    assert await searched.keys(q="finally") == [running.id, waiting.id]
    assert await searched.keys(q="waiting") == [waiting.id]


async def test_pages_of_a_search_come_in_order_without_gap_or_duplicate(searched: Searched) -> None:
    given = [invocation(1000 - number, payload=b'"even here"' if number % 2 else b'"odd here"') for number in range(500)]
    for one in random.Random(3).sample(given, len(given)):
        searched.store.put(one, outcome())

    assert await searched.keys(7, q="even") == [one.id for one in reversed(given[1::2])]
    assert await searched.keys(50, q="here odd") == [one.id for one in reversed(given[::2])]
    assert await searched.keys(50, q="odd even") == []


async def test_a_search_keeps_to_the_other_filters(searched: Searched) -> None:
    expected = []
    for number in range(400):
        given = invocation(1000 - number, arn=function_arn(f"f{number % 4}"), payload=b'"word"' if number % 3 else b'"other"')
        searched.store.put(given, outcome(status="failed" if number % 5 == 0 else "succeeded", duration=number / 100))
        if number % 3 and number % 4 == 1 and number % 5 == 0 and 100 <= number < 300:
            expected.append(given.id)

    found = await searched.keys(
        5, q="word", function="f1", status=("failed", "crashed"), since=NOON - timedelta(seconds=900), until=NOON - timedelta(seconds=700),
        shortest=0.5, longest=2.99,
    )

    assert len(expected) == 6
    assert found == expected[::-1]


SPELLED = [
    "orders", "Zürich", "ZÜRICH", "50%", "order_id", "ValueError", "日本語", "東京 都", "cafe\u0301", "a\\b", "C:\\new\\table", "line\nneedle", 'say "hi"', "x-y-z",
    "µs", "É", "é", "ß", "STRASSE", "straße", "🎉party", "12.5", "1e5", "-7", "Ωmega", "ΟΔΟΣ", "οδος", "Привет", "नमस्ते", "/orders/4711", "don't", "l’été", "①", "x²", "İstanbul", "great🥰", "100₽", "⏸pause", "🇦🇹wien", "𝒳", "a𞤀b",
]


async def test_index_and_plain_scan_agree_on_everything(open_store: OpenStore, tmp_path: Path) -> None:
    dice = random.Random(11)

    def text() -> str:
        return " ".join(dice.choices(SPELLED, k=dice.randrange(1, 4)))

    def payload() -> bytes:
        inner = {dice.choice(["city", "naïve_key"]): text()}
        spelled = [json.dumps(inner), json.dumps(inner, ensure_ascii=False), json.dumps({"body": json.dumps(inner)}),
                   json.dumps({"body": json.dumps(inner, ensure_ascii=False, indent=1)}, ensure_ascii=False), text()]
        return dice.choice(spelled).encode()

    indexed, plain = await open_store(tmp_path / "indexed"), await open_store(tmp_path / "plain", indexed=False)
    for number in range(250):
        given, ended = invocation(300 - number, payload=payload(), summary=text()), outcome(payload=payload(), logs=text().encode())
        indexed.put(given, ended)
        plain.put(given, ended)
        if number == 200:
            await indexed.settled()
    endings = {spelled[start:] for spelled in SPELLED for start in range(len(spelled))}
    searches = sorted(endings | {f"{one} {other}" for one, other in zip(SPELLED, reversed(SPELLED), strict=True)})

    found = {q: (await all_keys(indexed, q=q), await all_keys(plain, q=q)) for q in searches if q.strip()}

    assert {q: (len(one), len(other)) for q, (one, other) in found.items() if one != other} == {}
    assert sum(bool(one) for one, _ in found.values()) > 60


# ---- patience -----------------------------------------------------------------------------------------------------------

async def test_a_search_that_takes_too_long_gives_what_it_has_and_where_to_go_on(open_store: OpenStore) -> None:
    store = await open_store(patience=0, indexed=False)
    given = [invocation(5000 - number, payload=b'"needle"' if number % 1900 == 0 else b'"hay"') for number in range(4000)]
    for one in given:
        store.put(one, outcome())

    first = await store.invocations(InvocationFilter(q="needle"), 50)
    assert (len(first.records), first.unfinished, first.next is not None) == (1, True, True)
    page, pages, found = first, 1, [record.id for record in first.records]
    while page.next:
        page = await store.invocations(InvocationFilter(q="needle"), 50, page.next)
        pages, found = pages + 1, found + [record.id for record in page.records]

    assert found == [given[3800].id, given[1900].id, given[0].id]
    assert pages > 4
    assert not page.unfinished
    assert not (await store.invocations(InvocationFilter(), 50)).unfinished


async def test_a_long_search_holds_up_no_page(open_store: OpenStore) -> None:
    store = await open_store(patience=60, indexed=False)
    for _ in range(20_000):
        store.put(invocation(), outcome())
    await store.flush()

    searches = [asyncio.create_task(store.invocations(InvocationFilter(q="nowhere"))) for _ in range(3)]
    await asyncio.sleep(0)
    page = await store.invocations(InvocationFilter(), 10)

    assert len(page.records) == 10
    assert not any(search.done() for search in searches)
    await asyncio.gather(*searches)


async def test_a_search_nobody_waits_for_makes_room(open_store: OpenStore) -> None:
    store = await open_store(patience=60, indexed=False)
    for _ in range(5000):
        store.put(invocation(), outcome())
    await store.flush()

    for _ in range(5):
        searches = [asyncio.create_task(store.invocations(InvocationFilter(q="nowhere"))) for _ in range(10)]
        await asyncio.sleep(0.01)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)

    assert len((await store.invocations(InvocationFilter(), 10)).records) == 10


# ---- the index's own file ---------------------------------------------------------------------------------------------

def words_in(folder: Path, word: str) -> int:
    with sqlite3.connect(folder / "words.db") as database:
        return sum(database.execute(f"SELECT count(*) FROM {table} WHERE {table} MATCH ?", (word,)).fetchone()[0] for table in ("words_a", "words_b"))


@pytest.mark.parametrize("harm", ["removed", "garbage", "opened without it"])
async def test_a_lost_index_is_made_again(open_store: OpenStore, tmp_path: Path, harm: str) -> None:
    store = await open_store()
    early, late = invocation(20, payload=b'"needle"'), invocation(10, payload=b'"needle"')
    store.put(early, outcome())
    await store.settled()
    await store.close()
    if harm == "opened without it":
        store = await open_store(indexed=False)
        store.put(late, outcome())
        await store.close()
    for file in (tmp_path / "data").glob("words.db*"):
        file.write_bytes(b"no database " * 1000) if harm == "garbage" else file.unlink()

    store = await open_store()
    expected = [late.id, early.id] if harm == "opened without it" else [early.id]

    assert await all_keys(store, q="needle") == expected
    await store.settled()
    assert await all_keys(store, q="needle") == expected
    assert words_in(tmp_path / "data", "needle") == len(expected)


async def test_what_is_forgotten_is_not_found_and_leaves_the_index_in_its_turn(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store()
    for age in range(100, 0, -1):
        store.put(invocation(age, payload=b'{"age": %d, "word": 1}' % age), outcome())
        if age % 20 == 0:
            await store.settled()
            await store.prune(NOON, age + 40, 1_000_000)
    await store.settled()
    assert len(await all_keys(store, q="word")) == len(await all_keys(store)) == 60

    await store.prune(NOON, 30, 1_000_000)

    assert len(await all_keys(store, q="word")) == len(await all_keys(store)) == 30
    assert words_in(tmp_path / "data", "word") < 100
    for age in (25, 20, 10, 5):
        await store.prune(NOON, age, 1_000_000)
        store.put(invocation(0, payload=b'"word"'), outcome())
        await store.settled()
    await store.prune(NOON, 0.5, 1_000_000)
    assert words_in(tmp_path / "data", "word") < 60
    assert len(await all_keys(store, q="word")) == 4
