"""What every store promises, on real databases in real folders; the clauses that only a data folder can keep come last."""
from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from microlam.errors import DataFolderHeld, DataFolderNewer, InvalidParameter, RecordUnavailable, SettingsError
from microlam.model import STATUSES, Invocation, Outcome, function_arn, new_id
from microlam.store import Document, InvocationFilter, ObjectRow, Store, Waiting, full_record_json, record_json
from microlam.store import __file__ as store_file
from microlam.store.database import read_queries
from tests.conftest import OpenStore

NOW = datetime(2026, 11, 23, 6, 0, 0, 123456, tzinfo=UTC)
HELLO = function_arn("hello")
ALL = InvocationFilter()


def invocation(**facts: Any) -> Invocation:
    usual: dict[str, Any] = {"id": new_id(), "arn": HELLO, "payload": b'{"n": 1}', "cause": "http", "queued_at": NOW, "summary": "GET /hello"}
    return Invocation(**usual | facts)


def accepted(**facts: Any) -> Invocation:
    return invocation(**{"cause": "invoke", "summary": "invoke", "accepted_at": NOW, "due_at": NOW} | facts)


def outcome(**facts: Any) -> Outcome:
    usual: dict[str, Any] = {"status": "succeeded", "payload": b'{"ok": true}', "version": "3", "started_at": NOW, "duration": 0.25}
    return Outcome(**usual | facts)


FAILED = outcome(status="failed", payload=b'{"errorType": "ValueError", "errorMessage": "no"}')


def seconds(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(folder)], capture_output=True, text=True, timeout=60, check=False)


async def all_keys(store: Store, filter: InvocationFilter, limit: int) -> list[str]:
    page = await store.invocations(filter, limit)
    keys = [record.key for record in page.records]
    while page.next:
        page = await store.invocations(filter, limit, page.next)
        keys += [record.key for record in page.records]
    return keys


async def statuses(store: Store) -> dict[str, str]:
    return {record.key: record.status for record in (await store.invocations(ALL, 1000)).records}


# ---- what ended ------------------------------------------------------------------------------------------------------

async def test_what_was_put_is_read_back_whole(store: Store) -> None:
    parent = new_id()
    given = invocation(qualifier="live", parent=parent, client_context='{"custom": {}}')
    ended = outcome(logs=b"START\nhello\n", init=0.1, cold=True, memory=5_000_000, log_stream="2026/11/23/[3]abc", runtime="Python 3.11.7")

    store.put(given, ended)
    record = await store.invocation(given.id)

    assert record is not None
    assert record.attempts == (replace(record, event=b"", reply=b"", logs=b"", log_stream="", runtime="", client_context=None, attempts=()),)
    assert full_record_json(record) == {
        "id": given.id, "function": "hello", "arn": HELLO, "version": "3", "qualifier": "live", "cause": "http", "status": "succeeded",
        "summary": "GET /hello → 200", "attempt": 1, "queued_at": "2026-11-23T06:00:00.123Z", "accepted_at": None, "due_at": None,
        "started_at": "2026-11-23T06:00:00.123Z", "ended_at": "2026-11-23T06:00:00.373Z", "duration_ms": 250.0, "init_ms": 100.0, "cold": True,
        "memory": 5_000_000, "error_type": None, "parent": parent, "event": {"n": 1}, "reply": {"ok": True}, "logs": "START\nhello\n",
        "log_stream": "2026/11/23/[3]abc", "runtime": "Python 3.11.7", "client_context": '{"custom": {}}', "attempts": [record_json(record)],
    }


async def test_a_failed_one_shows_its_error_instead_of_a_reply(store: Store) -> None:
    given = invocation()
    store.put(given, FAILED)

    record = await store.invocation(given.id)

    assert record is not None
    shown = full_record_json(record)
    assert shown["error"] == {"errorType": "ValueError", "errorMessage": "no"}
    assert shown["error_type"] == "ValueError"
    assert "reply" not in shown


@pytest.mark.parametrize(("payload", "shown"), [(b"\xff\xfe", "��"), (b"", None), (b"NaN", "NaN"), (b"123", 123), (b"[" * 5000, "[" * 5000)])
async def test_payloads_that_are_not_json_are_shown_as_text(store: Store, payload: bytes, shown: object) -> None:
    given = invocation(payload=payload)
    store.put(given, outcome(payload=payload, logs=b"caf\xc3\xa9 \xff"))

    record = await store.invocation(given.id)

    assert record is not None
    as_json = full_record_json(record)
    assert (as_json["event"], as_json["reply"], as_json["logs"]) == (shown, shown, "café �")
    assert (record.event, record.reply) == (payload, payload)


@pytest.mark.parametrize("status", STATUSES[2:])
async def test_every_end_keeps_its_status(store: Store, status: str) -> None:
    given = invocation()
    store.put(given, outcome(status=status, started_at=None, payload=b"{}"))

    [record] = (await store.invocations(InvocationFilter(status=status))).records

    assert (record.id, record.status, record.duration, record.ended_at) == (given.id, status, None, None)


async def test_a_name_that_is_not_utf8_does_not_keep_anything_off_the_record(store: Store) -> None:
    odd, plain = invocation(summary="uploads/\udce4.png created"), invocation()
    store.put(odd, outcome())
    store.put(plain, outcome())

    records = (await store.invocations(ALL)).records

    assert [record.summary for record in records] == ["GET /hello → 200", "uploads/?.png created → 200"]


async def test_one_record_that_cannot_be_written_takes_no_other_with_it(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    good = [invocation() for _ in range(5)]
    for given in good[:3]:
        store.put(given, outcome())
    store.put(invocation(id="not-an-id"), outcome())
    for given in good[3:]:
        store.put(given, outcome())

    await store.flush()

    assert set(await statuses(store)) == {given.id for given in good}
    assert "not-an-id" in caplog.text
    assert not store.full


async def test_an_unknown_id_is_no_invocation(store: Store) -> None:
    store.put(invocation(), outcome())

    assert await store.invocation(new_id()) is None
    assert await store.invocation("../../etc/passwd") is None


async def test_a_burst_is_all_there_in_order(store: Store) -> None:
    burst = [invocation(arn=function_arn(f"f{number % 7}"), payload=b"%d" % number) for number in range(20_000)]
    for given in burst:
        store.put(given, outcome())

    keys = await all_keys(store, ALL, 1000)

    assert keys == [given.id for given in reversed(burst)]
    of_one = await store.invocations(InvocationFilter(function="f3"), 1000)
    assert [record.id for record in of_one.records] == [given.id for given in reversed(burst) if given.arn.endswith(":f3")][:1000]


# ---- what runs -------------------------------------------------------------------------------------------------------

async def test_a_running_one_is_listed_and_then_its_end(store: Store) -> None:
    given = invocation()

    store.note_running(given, "3", NOW)
    running = await store.invocation(given.id)
    store.put(given, outcome())
    ended = await store.invocation(given.id)

    assert running is not None
    assert ended is not None
    assert (running.status, running.version, running.started_at, running.ended_at, running.event) == ("running", "3", NOW, None, b'{"n": 1}')
    assert (ended.status, ended.reply, ended.event) == ("succeeded", b'{"ok": true}', b'{"n": 1}')
    assert len((await store.invocations(ALL)).records) == 1


@pytest.mark.parametrize("committed", [True, False])
async def test_a_late_note_that_it_runs_does_not_undo_an_end(store: Store, committed: bool) -> None:
    given = invocation()

    store.put(given, outcome())
    if committed:
        await store.flush()
    store.note_running(given, "3", NOW)

    assert await statuses(store) == {given.id: "succeeded"}


async def test_a_late_note_that_it_runs_does_not_take_a_postponed_one_from_the_line(store: Store) -> None:
    given = accepted()
    await store.accept([given])
    [claimed] = await store.claim(NOW, 10)
    await store.postpone(claimed, seconds(5))
    store.note_running(claimed, "3", NOW)
    await store.flush()

    assert await store.claim(seconds(5), 10) == [replace(given, due_at=seconds(5))]


# ---- what is to run later --------------------------------------------------------------------------------------------

async def test_an_accepted_one_is_claimed_as_it_was_given(store: Store) -> None:
    given = accepted(qualifier="live", client_context="{}", parent=new_id(), payload=b"\x00\xff", queued_at=seconds(-1), cause="file", summary="a.png created")

    await store.accept([given])

    assert await statuses(store) == {given.id: "pending"}
    assert await store.claim(NOW, 10) == [given]
    assert await store.claim(NOW, 10) == []
    assert await store.next_due() is None
    assert await statuses(store) == {given.id: "pending"}
    store.note_running(given, "3", NOW)
    assert await statuses(store) == {given.id: "running"}


async def test_the_same_invocation_is_not_accepted_twice_and_others_of_its_commit_are(store: Store) -> None:
    given, other = accepted(), accepted()

    results = await asyncio.gather(store.accept([given]), store.accept([given]), store.accept([other]), return_exceptions=True)

    assert [type(result) for result in results] == [type(None), RecordUnavailable, type(None)]
    assert set(await statuses(store)) == {given.id, other.id}


async def test_claims_come_in_the_order_they_fell_due_and_never_before(store: Store) -> None:
    late, early, now, future = accepted(due_at=seconds(-1)), accepted(due_at=seconds(-60)), accepted(due_at=None), accepted(due_at=seconds(0.001))
    await store.accept([late, early, now, future])

    assert await store.next_due() == seconds(-60)
    assert [given.id for given in await store.claim(NOW, 2)] == [early.id, late.id]
    assert [given.id for given in await store.claim(NOW, 2)] == [now.id]
    assert await store.next_due() == seconds(0.001)
    assert [given.id for given in await store.claim(seconds(0.001), 2)] == [future.id]
    assert await store.next_due() is None


async def test_functions_that_have_enough_are_skipped(store: Store) -> None:
    busy, idle = accepted(due_at=seconds(-9)), accepted(arn=function_arn("idle"), due_at=seconds(-1))
    await store.accept([busy, idle])

    assert await store.next_due(skip=[HELLO]) == seconds(-1)
    assert [given.id for given in await store.claim(NOW, 10, skip=[HELLO])] == [idle.id]
    assert await store.next_due(skip=[HELLO]) is None
    assert [given.id for given in await store.claim(NOW, 10)] == [busy.id]


async def test_many_claimers_get_each_invocation_once(store: Store) -> None:
    given = [accepted() for _ in range(500)]
    await store.accept(given)

    claims = await asyncio.gather(*(store.claim(NOW, 7) for _ in range(100)))

    assert sorted(claimed.id for claim in claims for claimed in claim) == [one.id for one in given]


async def test_a_failed_attempt_is_followed_by_the_next_in_one_commit(store: Store) -> None:
    first = accepted()
    await store.accept([first])
    [claimed] = await store.claim(NOW, 1)
    second = replace(claimed, key=new_id(), attempt=2, queued_at=seconds(1), due_at=seconds(60))

    await store.finish(claimed, FAILED, second)

    assert await store.claim(seconds(59), 1) == []
    assert await store.claim(seconds(60), 1) == [second]
    await store.finish(second, outcome(started_at=seconds(60)))
    newest, oldest = await store.invocation(first.id), await store.invocation(first.id, attempt=1)
    assert newest is not None
    assert oldest is not None
    assert (newest.id, newest.key, newest.attempt, newest.status, newest.reply) == (first.id, second.key, 2, "succeeded", b'{"ok": true}')
    assert (oldest.id, oldest.key, oldest.attempt, oldest.status, oldest.error_type) == (first.id, first.id, 1, "failed", "ValueError")
    assert [attempt.attempt for attempt in newest.attempts] == [1, 2]
    assert await store.invocation(first.id, attempt=3) is None
    assert [record.attempt for record in (await store.invocations(ALL)).records] == [2, 1]


async def test_a_postponed_one_waits_again_in_the_same_attempt(store: Store) -> None:
    given = accepted()
    await store.accept([given])
    [claimed] = await store.claim(NOW, 1)

    await store.postpone(claimed, seconds(5))

    assert await statuses(store) == {given.id: "pending"}
    assert await store.next_due() == seconds(5)
    assert await store.claim(seconds(4), 1) == []
    assert await store.claim(seconds(5), 1) == [replace(given, due_at=seconds(5))]


async def test_an_end_stands_against_a_late_postponement(store: Store) -> None:
    await store.accept([accepted()])
    [claimed] = await store.claim(NOW, 1)
    await store.finish(claimed, outcome())

    await store.postpone(claimed, seconds(5))

    assert await statuses(store) == {claimed.id: "succeeded"}


# ---- lists -----------------------------------------------------------------------------------------------------------

async def test_paging_has_no_gap_and_no_duplicate_while_new_rows_arrive(store: Store) -> None:
    there = [invocation() for _ in range(1000)]
    for given in there:
        store.put(given, outcome())

    seen: list[str] = []
    page = await store.invocations(ALL, 37)
    while True:
        seen += [record.id for record in page.records]
        store.put(invocation(), outcome())
        if page.next is None:
            break
        page = await store.invocations(ALL, 37, page.next)

    assert seen == [given.id for given in reversed(there)]


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (9, 1), (10, 1), (11, 2), (20, 2)])
async def test_the_last_page_says_that_it_is(store: Store, count: int, pages: int) -> None:
    for _ in range(count):
        store.put(invocation(), outcome())

    seen, cursor = [len((page := await store.invocations(ALL, 10)).records)], page.next
    while cursor:
        page = await store.invocations(ALL, 10, cursor)
        seen.append(len(page.records))
        cursor = page.next

    assert (len(seen), sum(seen)) == (pages, count)


@pytest.fixture
async def mixed(store: Store) -> Store:
    """3,000 ended invocations of three functions that differ in everything a list filters by, and one pending."""
    for number in range(3000):
        given = invocation(
            arn=function_arn(f"f{number % 3}"), cause=("http", "schedule", "file", "invoke")[number % 4], qualifier="live" if number % 5 == 0 else None,
            summary=f"GET /{number}",
        )
        store.put(given, outcome(version=str(number % 2), **({"status": "failed", "payload": b'{"errorType": "E"}'} if number % 7 == 0 else {})))
    await store.accept([accepted(arn=function_arn("f1"))])
    return store


FILTERS: tuple[dict[str, Any], ...] = (
    {"function": "f1"}, {"function": function_arn("f2")}, {"status": "failed"}, {"status": "succeeded"}, {"status": "pending"},
    {"cause": "http"}, {"cause": "schedule"}, {"version": "1"}, {"qualifier": "live"},
    {"function": "f1", "status": "failed"}, {"function": "f1", "status": "pending"}, {"function": "f2", "status": "succeeded"},
    {"function": "f1", "cause": "file"}, {"status": "failed", "cause": "file"}, {"function": "f0", "status": "failed", "cause": "http", "version": "0"},
    {"qualifier": "live", "cause": "invoke", "version": "1"}, {"q": "get", "function": "f1"}, {"function": "f1", "status": "running"},
    {"status": ("failed", "crashed")}, {"status": ("succeeded", "failed")}, {"status": ("pending", "running")}, {"status": ("pending", "failed")},
    {"status": ("failed", "timed_out"), "function": "f2"}, {"status": ("failed", "timed_out", "crashed", "throttled", "missed")},
    {"status": "failed", "function": "f1", "cause": "file"}, {"status": "failed", "cause": "schedule", "q": "get"},
)


async def test_filters_show_exactly_what_they_say(mixed: Store) -> None:
    everything = await all_records(mixed)

    for facts in FILTERS:
        found = await all_keys(mixed, InvocationFilter(**facts), 100)

        plain = {name: value for name, value in facts.items() if name != "q"}
        expected = [
            record.key for record in everything
            if all(
                getattr(record, name) in value if isinstance(value, tuple)
                else value in ((record.function, record.arn) if name == "function" else (getattr(record, name),)) for name, value in plain.items())
            and facts.get("q", "") in record.summary.lower()
        ]
        assert found == expected, facts


async def all_records(store: Store) -> list[Any]:
    page = await store.invocations(ALL, 1000)
    records = list(page.records)
    while page.next:
        page = await store.invocations(ALL, 1000, page.next)
        records += page.records
    return records


async def test_time_and_duration_bound_a_list(store: Store) -> None:
    given = [at(seconds(-number)) for number in range(100)]
    for number, one in enumerate(given):
        store.put(one, outcome(duration=number / 10))
    never_ran = at(seconds(-50.5))
    store.put(never_ran, outcome(status="throttled", started_at=None))

    def ids(*numbers: int) -> list[str]:
        return [given[number].id for number in numbers]

    assert await all_keys(store, InvocationFilter(since=seconds(-3)), 2) == ids(0, 1, 2, 3)
    assert await all_keys(store, InvocationFilter(until=seconds(-97)), 2) == ids(98, 99)
    assert await all_keys(store, InvocationFilter(since=seconds(-52), until=seconds(-50)), 2) == [never_ran.id, *ids(51, 52)]
    assert await all_keys(store, InvocationFilter(since=seconds(-52), until=seconds(-50), shortest=0), 2) == ids(51, 52)
    assert await all_keys(store, InvocationFilter(shortest=9.8), 50) == ids(98, 99)
    assert await all_keys(store, InvocationFilter(longest=0.2), 2) == ids(0, 1, 2)
    assert await all_keys(store, InvocationFilter(shortest=0.3, longest=0.4, until=seconds(-3.5)), 2) == ids(4)
    assert await all_keys(store, InvocationFilter(since=seconds(-1), until=seconds(-2)), 2) == []


# ---- what one led to, what waits, how much there is --------------------------------------------------------------------

async def test_children_are_what_one_led_to(store: Store) -> None:
    parent, other = invocation(), invocation()
    children = [invocation(parent=parent.id, summary="the child") for _ in range(3)]
    for given in (parent, other, *children):
        store.put(given, outcome())
    waiting = accepted(parent=parent.id)
    await store.accept([waiting])

    assert [child.id for child in await store.children(parent.id)] == [*(child.id for child in children), waiting.id]
    assert [child.id for child in await store.children(parent.id, 2)] == [child.id for child in children[:2]]
    assert await store.children(other.id) == await store.children("nonsense") == []


async def test_what_waits_is_counted_by_function(store: Store) -> None:
    await store.accept([accepted(due_at=seconds(number)) for number in range(5)])
    await store.accept([accepted(arn=function_arn("other"), due_at=seconds(9))])
    [claimed] = await store.claim(NOW, 1)
    await store.finish(claimed, FAILED, replace(claimed, key=new_id(), attempt=2, due_at=seconds(3)))

    assert await store.waiting() == [
        Waiting(arn=HELLO, pending=5, retries=1, due_at=seconds(1)), Waiting(arn=function_arn("other"), pending=1, retries=0, due_at=seconds(9))]


async def test_the_size_is_of_what_is_kept(store: Store) -> None:
    empty = await store.size()
    for number in range(500):
        store.put(at(seconds(-number), payload=b'"%s"' % (b"x" * 5000)), outcome())
    await store.flush()

    full = await store.size()

    assert (empty.invocations, empty.oldest) == (0, None)
    assert (full.invocations, full.oldest) == (500, seconds(-499).replace(microsecond=seconds(-499).microsecond // 1000 * 1000))
    assert full.bytes > 500 * 5000 > empty.bytes > 0


async def test_what_does_not_exist_gives_an_empty_page(mixed: Store) -> None:
    for filter in (InvocationFilter(function="f"), InvocationFilter(function="%"), InvocationFilter(status="nonsense"), InvocationFilter(cause="x")):
        page = await mixed.invocations(filter)
        assert (page.records, page.next) == ((), None)


async def test_a_name_finds_its_functions_in_all_regions_and_an_arn_only_its_own(store: Store) -> None:
    here, there = invocation(), invocation(arn=function_arn("hello", region="eu-west-1"))
    for given in (here, there, invocation(arn=function_arn("othello"))):
        store.put(given, outcome())

    assert await all_keys(store, InvocationFilter(function="hello"), 10) == [there.id, here.id]
    assert await all_keys(store, InvocationFilter(function=there.arn), 10) == [there.id]


@pytest.mark.parametrize("cursor", ["x", "", "00", "01a20827-a32f-7d30-975a-ef18761a072g"])
async def test_a_cursor_of_no_page_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidParameter, match="cursor"):
        await store.invocations(ALL, 10, cursor)


@pytest.mark.parametrize(("q", "found"), [
    ("orders", True), ("ORDERS", True), ("order 4711", True), ("needle", True), ("ValueError", True), ("Zebra", True), ("orders nothing", False),
    ("zürich", True), ("ZÜRICH", True), ("50%", True), ("5_%", False), ("_rders", False), ("back\\slash", True), ('"quoted"', True), ("", True), ("  ", True),
])
async def test_every_word_must_occur_somewhere(store: Store, q: str, found: bool) -> None:
    sought = invocation(summary="POST /orders", payload=json.dumps({"city": "Zürich", "order": 4711, "discount": "50%", "path": "back\\slash"}).encode())
    store.put(sought, outcome(status="failed", payload=b'{"errorType": "ValueError", "errorMessage": "said \\"quoted\\""}', logs=b"the needle\nzebra"))
    store.put(invocation(payload=b"{}"), outcome(logs=b"ord ers"))

    records = (await store.invocations(InvocationFilter(q=q))).records

    assert (sought.id in {record.id for record in records}) is found
    assert len(records) == (2 if not q.strip() else found)


async def test_a_search_finds_the_oldest_of_many(store: Store) -> None:
    sought = invocation(payload=b'"haystack needle"')
    store.put(sought, outcome())
    for _ in range(2000):
        store.put(invocation(), outcome())

    assert await all_keys(store, InvocationFilter(q="NEEDLE"), 50) == [sought.id]


async def test_an_endless_search_is_refused(store: Store) -> None:
    with pytest.raises(InvalidParameter, match="1000"):
        await store.invocations(InvocationFilter(q="x" * 1001))


# ---- forgetting ------------------------------------------------------------------------------------------------------

def at(instant: datetime, **facts: Any) -> Invocation:
    """An invocation whose id was made at this instant."""
    milliseconds = int(instant.timestamp() * 1000)
    return invocation(**{"id": f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}" + new_id()[13:], "queued_at": instant} | facts)


async def test_pruning_by_age_leaves_the_younger_and_what_has_not_ended(store: Store, tmp_path: Path) -> None:
    old = [at(seconds(-100)) for _ in range(1200)]
    young = [at(seconds(-50)) for _ in range(30)]
    waiting, running = at(seconds(-100), accepted_at=seconds(-100), due_at=seconds(-100)), at(seconds(-100))
    for given in (*old, *young):
        store.put(given, outcome())
    await store.accept([waiting])
    store.note_running(running, "1", seconds(-100))

    assert await store.prune(NOW, 60, 1_000_000) == 1200

    assert set(await statuses(store)) == {given.id for given in (*young, waiting, running)}
    assert await store.invocation(old[0].id) is None
    assert await store.prune(NOW, 60, 1_000_000) == 0
    with sqlite3.connect(tmp_path / "data" / "microlam.db") as database:
        assert database.execute("SELECT count(*) FROM payloads").fetchone() == (32,)


async def test_pruning_by_count_leaves_the_newest(store: Store) -> None:
    given = [invocation() for _ in range(2000)]
    for one in given:
        store.put(one, outcome())
    await store.flush()

    assert await store.prune(NOW, 1e9, 300) == 1700
    assert await all_keys(store, ALL, 1000) == [one.id for one in reversed(given[1700:])]
    assert await store.prune(NOW, 1e9, 300) == 0


async def test_writes_go_on_while_much_is_pruned(store: Store) -> None:
    for _ in range(5000):
        store.put(invocation(), outcome())
    await store.flush()

    pruning = asyncio.create_task(store.prune(NOW, 1e9, 0))
    meanwhile = 0
    while not pruning.done():
        await store.accept([accepted()])
        meanwhile += 1

    assert await pruning == 5000
    assert meanwhile > 3


# ---- schedules and objects -------------------------------------------------------------------------------------------

async def test_next_times_are_kept_changed_and_forgotten(store: Store) -> None:
    await store.keep_schedule_times({"a": NOW, "b": seconds(1), "c": seconds(2)})
    await store.keep_schedule_times({"b": seconds(10)})
    await store.forget_schedules(["c", "unknown"])

    assert await store.schedule_times() == {"a": NOW, "b": seconds(10)}


async def test_one_of_many_wins_a_turn_and_starts_it(store: Store) -> None:
    await store.keep_schedule_times({"nightly": NOW})
    turns = [accepted(cause="schedule") for _ in range(20)]

    won = await asyncio.gather(*(store.fire_schedule("nightly", NOW, seconds(60), [turn]) for turn in turns))

    assert won.count(True) == 1
    assert await statuses(store) == {turns[won.index(True)].id: "pending"}
    assert await store.schedule_times() == {"nightly": seconds(60)}


async def test_the_last_turn_ends_a_schedule(store: Store) -> None:
    await store.keep_schedule_times({"once": NOW})

    assert await store.fire_schedule("once", NOW, None, [accepted()])
    assert not await store.fire_schedule("once", NOW, None, [accepted()])
    assert await store.schedule_times() == {}
    assert len(await statuses(store)) == 1


async def test_a_turn_whose_invocation_cannot_be_accepted_is_not_taken(store: Store) -> None:
    there = accepted()
    await store.accept([there])
    await store.keep_schedule_times({"nightly": NOW})

    with pytest.raises(RecordUnavailable):
        await store.fire_schedule("nightly", NOW, seconds(60), [there])

    assert await store.schedule_times() == {"nightly": NOW}


def row(key: str, size: int = 1) -> ObjectRow:
    return ObjectRow(key=key, size=size, mtime_ns=1_700_000_000_123_456_789, inode=42, etag="d41d8cd9", sequencer="0055AED6DCD90281E5")


async def test_objects_and_what_they_start_are_one_change(store: Store) -> None:
    there = accepted()
    await store.change_objects("uploads", [row("a"), row("b"), row("näme \udce4")], [], [there])
    await store.change_objects("other", [row("a")], [], [])
    await store.change_objects("uploads", [row("a", 2)], ["b", "unknown"], [accepted()])

    with pytest.raises(RecordUnavailable):
        await store.change_objects("uploads", [row("c")], ["a"], [accepted(), there])

    assert await store.objects("uploads") == {"a": row("a", 2), "näme \udce4": row("näme \udce4")}
    assert await store.objects("other") == {"a": row("a")}
    assert await store.objects("empty") == {}
    assert len(await statuses(store)) == 2


async def test_ten_thousand_objects_start_as_many_invocations(store: Store) -> None:
    rows = [row(f"in/{number}.png") for number in range(10_000)]

    await store.change_objects("uploads", rows, [], [accepted(cause="file") for _ in rows])

    assert len(await store.objects("uploads")) == 10_000
    assert len(await store.claim(NOW, 20_000)) == 10_000


async def test_a_bucket_is_known_once_it_was_taken_in(store: Store) -> None:
    assert not await store.bucket_known("uploads")

    await store.know_bucket("uploads")
    await store.know_bucket("uploads")

    assert await store.bucket_known("uploads")
    assert not await store.bucket_known("other")


# ---- many at once ----------------------------------------------------------------------------------------------------

async def test_beyond_the_limit_there_is_no_room_until_it_is_written(open_store: OpenStore) -> None:
    store = await open_store(unwritten=100)
    await store.room()
    for _ in range(101):
        assert not store.full
        store.put(invocation(), outcome())

    assert store.full
    waiting = [asyncio.create_task(store.room()) for _ in range(5)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)

    await asyncio.gather(*waiting)

    assert not store.full
    assert len(await statuses(store)) == 101


async def test_megabytes_fill_the_room_before_the_count_does(store: Store) -> None:
    large = b'"' + b"x" * 6_000_000 + b'"'
    put = 0
    while not store.full:
        store.put(invocation(payload=large), outcome())
        put += 1

    assert put < 20
    await store.room()
    assert not store.full
    await store.flush()
    assert len(await statuses(store)) == put


async def test_whoever_waits_finds_what_was_put_before_already_there(store: Store) -> None:
    given, waiting = invocation(), accepted()
    store.put(given, outcome())

    await store.accept([waiting])

    assert await statuses(store) == {given.id: "succeeded", waiting.id: "pending"}


async def test_one_who_stops_waiting_harms_nobody(store: Store) -> None:
    given = [accepted() for _ in range(50)]
    tasks = [asyncio.create_task(store.accept([one])) for one in given]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()

    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(result is None for result in results[1::2])
    assert {one.id for one in given[1::2]} <= set(await statuses(store))


# ---- over a restart --------------------------------------------------------------------------------------------------

async def test_everything_is_there_after_a_restart(open_store: OpenStore) -> None:
    first = await open_store()
    ended, waiting = invocation(arn=function_arn("ended")), accepted(arn=function_arn("waiting"))
    first.put(ended, outcome())
    await first.accept([waiting])
    await first.keep_schedule_times({"nightly": NOW})
    await first.change_objects("uploads", [row("a")], [], [])
    await first.know_bucket("uploads")
    await first.close()

    second = await open_store()
    second.put(newer := invocation(arn=function_arn("newer")), outcome())

    assert [record.arn for record in (await second.invocations(ALL)).records] == [newer.arn, waiting.arn, ended.arn]
    assert await second.schedule_times() == {"nightly": NOW}
    assert await second.objects("uploads") == {"a": row("a")}
    assert await second.bucket_known("uploads")


async def test_after_a_crash_accepted_ones_start_again_and_the_others_crashed(open_store: OpenStore) -> None:
    first = await open_store()
    waiting, interrupted, abandoned, ended = accepted(due_at=seconds(50)), accepted(due_at=seconds(-9)), invocation(), invocation()
    await first.accept([waiting, interrupted])
    await first.claim(NOW, 1)
    first.note_running(abandoned, "3", NOW)
    first.put(ended, outcome())
    await first.close()

    second = await open_store()

    assert await second.recover(seconds(10)) == (1, 1)
    assert await statuses(second) == {waiting.id: "pending", interrupted.id: "pending", abandoned.id: "crashed", ended.id: "succeeded"}
    assert await second.claim(seconds(10), 10) == [replace(interrupted, due_at=seconds(10))]
    crashed = await second.invocation(abandoned.id)
    assert crashed is not None
    assert (crashed.error_type, full_record_json(crashed)["error"]) == (
        "Runtime.ExitError", {"errorType": "Runtime.ExitError", "errorMessage": "The server ended while this invocation ran."})
    assert await second.recover(seconds(11)) == (1, 0)


ACCEPT_AND_DIE = """
    import asyncio, os, signal, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from microlam.model import Invocation, Outcome, new_id
    from microlam.store import Store

    async def main():
        store = await Store.open(Path(sys.argv[1]))
        now = datetime.now(UTC)
        arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
        async def accept(number):
            given = Invocation(id=new_id(), arn=arn, payload=b"1", cause="invoke", queued_at=now, accepted_at=now)
            store.put(Invocation(id=new_id(), arn=arn, payload=b"1", cause="http", queued_at=now), Outcome(status="succeeded", payload=b"1"))
            await store.accept([given])
            print(given.id, flush=True)
            if number == 300:
                os.kill(os.getpid(), signal.SIGKILL)
        async with asyncio.TaskGroup() as tasks:
            for number in range(400):
                tasks.create_task(accept(number))
                if number % 40 == 0:
                    await asyncio.sleep(0.001)

    asyncio.run(main())
"""


async def test_what_was_accepted_survives_kill_9(open_store: OpenStore, tmp_path: Path) -> None:
    died = await asyncio.to_thread(run, ACCEPT_AND_DIE, tmp_path / "data")
    said = re.findall(r"^[0-9a-f-]{36}$", died.stdout, re.MULTILINE)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(said) > 100

    store = await open_store()

    claimed = await store.claim(datetime.now(UTC), 1000)
    assert set(said) <= {given.id for given in claimed}


# ---- clauses of a data folder ----------------------------------------------------------------------------------------

async def test_a_folder_belongs_to_one_store_at_a_time(open_store: OpenStore, tmp_path: Path) -> None:
    first = await open_store()

    with pytest.raises(DataFolderHeld, match=re.escape(str(tmp_path / "data"))):
        await open_store()

    await first.close()
    await open_store()


async def test_a_child_that_outlives_us_does_not_hold_the_folder(open_store: OpenStore) -> None:
    store = await open_store()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE, close_fds=False)
    try:
        await store.close()
        await open_store()
        assert child.returncode is None
    finally:
        await child.communicate(b"\n")


async def test_a_newer_database_is_left_alone(open_store: OpenStore, tmp_path: Path) -> None:
    await (await open_store()).close()
    with sqlite3.connect(tmp_path / "data" / "microlam.db") as database:
        known = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute(f"PRAGMA user_version = {known + 1}")

    with pytest.raises(DataFolderNewer, match=f"schema {known + 1}, this one knows {known}"):
        await open_store()
    with pytest.raises(DataFolderNewer):    # and not held by the attempt
        await open_store()


async def test_a_folder_that_cannot_hold_a_database_is_said_in_one_line(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file"):
        await open_store(tmp_path / "file")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "microlam.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(SettingsError, match="not a database"):
        await open_store(tmp_path / "garbage")


FILL_THE_DISK = """
    import asyncio, resource, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from microlam.errors import RecordUnavailable
    from microlam.model import Invocation, Outcome, new_id
    from microlam.store import InvocationFilter, Store

    def invocation(**facts):
        now = datetime.now(UTC)
        return Invocation(id=new_id(), arn="arn:aws:lambda:us-east-1:000000000000:function:f", payload=b"x" * 2_000, cause="http", queued_at=now, **facts)

    async def refused(waiting):
        try:
            await waiting
        except RecordUnavailable:
            return True
        return False

    async def main():
        store = await Store.open(Path(sys.argv[1]), unwritten=2000)
        store.put(invocation(), Outcome(status="succeeded", payload=b"1"))
        await store.flush()
        # No file may grow past 200 kB: to SQLite that is a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        put = [invocation() for _ in range(2500)]       # more than one group
        for given in put:
            store.put(given, Outcome(status="succeeded", payload=b"1"))
        lost = invocation(accepted_at=datetime.now(UTC))
        assert await refused(store.accept([lost]))
        assert all(await asyncio.gather(*(refused(store.flush()) for _ in range(3))))
        assert store.error and store.full, store.error
        assert len((await store.invocations(InvocationFilter())).records) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.room()
        assert store.error is None, store.error
        await store.flush()
        for given in put:
            assert await store.invocation(given.id)
        assert await store.invocation(lost.id) is None
        await store.close()
        print("done")

    asyncio.run(main())
"""


def test_a_full_disk_is_said_and_what_was_put_is_written_when_there_is_room_again(tmp_path: Path) -> None:
    ran = run(FILL_THE_DISK, tmp_path)

    assert (ran.stdout, ran.returncode) == ("done\n", 0), ran.stderr


async def test_a_closed_store_takes_nothing_more(store: Store) -> None:
    await store.close()

    with pytest.raises(RecordUnavailable):
        store.put(invocation(), outcome())
    with pytest.raises(RecordUnavailable):
        await store.accept([accepted()])


async def test_closing_writes_what_is_left(open_store: OpenStore) -> None:
    first = await open_store()
    put = [invocation() for _ in range(3000)]
    for given in put:
        first.put(given, outcome())
    await first.close()

    assert await all_keys(await open_store(), ALL, 1000) == [given.id for given in reversed(put)]


# ---- the files -------------------------------------------------------------------------------------------------------

def test_every_query_is_described_and_used() -> None:
    folder = Path(store_file).parent
    text = (folder / "queries.sql").read_text()
    python = "".join(path.read_text() for path in folder.glob("*.py"))

    names = re.findall(r"^-- (\w+) --$", text, re.MULTILINE)
    described = re.findall(r"^-- (\w+) --\n-- [A-Z].*\.$", text, re.MULTILINE)

    assert names == described
    assert len(names) == len(set(names))
    assert [name for name in names if f'"{name}"' not in python and f"{{{name}}}" not in text] == []


def query_plan(query: str) -> list[str]:
    folder = Path(store_file).parent
    text = read_queries((folder / "queries.sql").read_text())[query]
    with sqlite3.connect(":memory:") as database:
        for migration in sorted((folder / "migrations").glob("*.sql")):
            database.executescript(migration.read_text())
        database.create_function("holds", -1, lambda *_: None)
        return [line[3] for line in database.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(re.findall(r":(\w+)", text)))]


@pytest.mark.parametrize(("query", "index"), [
    ("list_all", "PRIMARY KEY"), ("list_function", "invocations_by_function"), ("list_function_failed", "invocations_by_function_failed"),
    ("list_status", "invocations_by_status"), ("list_cause", "invocations_by_cause"), ("list_failed", "invocations_failed"),
    ("list_function_cause", "invocations_by_function_cause"),
])
def test_lists_are_read_in_order_from_an_index(query: str, index: str) -> None:
    [_, _, search, following, *_] = query_plan(query)

    assert re.search(rf"SEARCH invocations USING (INDEX )?{index} \(.*key<\?\)", search)
    assert following == "SCAN candidates"   # nothing had to be sorted to find them


@pytest.mark.parametrize(("query", "index"), [
    ("claim", "invocations_due"), ("next_due", "invocations_due_by_function"), ("restart_running", "invocations_by_status"),
    ("crash_running", "invocations_by_status"), ("attempts", "invocations_by_request"), ("prune_invocations", "PRIMARY KEY"),
    ("key_beyond_count", "INTEGER PRIMARY KEY"), ("logs_on", "invocations_by_log"), ("logs_back", "invocations_by_log"),
    ("log_streams_up", "PRIMARY KEY"), ("log_streams_newest", "log_streams_by_last"), ("prune_log_streams", "log_streams_by_last"),
    ("log_streams_named", "PRIMARY KEY"), ("log_streams_beginning", "PRIMARY KEY"),
])
def test_the_engine_reads_from_an_index(query: str, index: str) -> None:
    plan = query_plan(query)

    assert any(re.search(rf"USING (COVERING )?(INDEX )?{index}\b", line) for line in plan), plan
    assert not any(line.startswith(("SCAN invocations", "SCAN payloads", "SCAN log_streams")) for line in plan), plan


@pytest.mark.parametrize("query", ["logs_on", "logs_back", "log_streams_up", "log_streams_down", "log_streams_oldest", "log_streams_newest"])
def test_logs_are_read_in_order_and_never_sorted(query: str) -> None:
    assert not any("TEMP B-TREE" in line for line in query_plan(query))


# ---- documents -------------------------------------------------------------------------------------------------------

async def test_documents_are_kept_by_kind_owner_and_name(open_store: OpenStore) -> None:
    store = await open_store()
    one, two = (Document(kind="alias", owner="arn:f", name=name, body={"version": name}) for name in ("live", "test"))
    other = Document(kind="alias", owner="arn:g", name="live", body={})
    await store.change_documents([one, two, other])
    await store.change_documents([Document(kind="alias", owner="arn:f", name="live", body={"version": "2"})], forget=[two])
    await store.close()

    store = await open_store()
    assert await store.documents("alias", "arn:f") == [Document(kind="alias", owner="arn:f", name="live", body={"version": "2"})]
    assert [document.owner for document in await store.documents("alias")] == ["arn:f", "arn:g"]
    assert await store.documents("version") == []
