"""Replays: an invocation's event again, on the same or another version, on two to compare, or all failures of a filter."""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.code import difference, pretty
from microlam.admin.facts import Facts
from microlam.admin.finding import record_of
from microlam.admin.forms import json_payload
from microlam.admin.records import FAILED, FAILURES, check_target, filter_of, row, target_choices
from microlam.errors import InvalidParameter, NotFound
from microlam.model import LATEST, Invocation, Outcome, new_id
from microlam.store import Document, InvocationFilter, Record, full_record_json

if TYPE_CHECKING:
    from microlam.app import Microlam

AT_MOST = 1000          # of one bulk replay
WAIT = 2.0              # seconds an action waits for what it has started, so that most pages it leads to are complete
_PAGE = 500


def replay_of(record: Record, payload: bytes, qualifier: str | None, now: datetime) -> Invocation:
    """The same event again; what it was a replay of is its parent."""
    return Invocation(
        id=new_id(), arn=record.arn, payload=payload, cause="replay", queued_at=now, qualifier=qualifier, summary=f"of {record.summary or record.cause}"
        if record.cause != "replay" else record.summary, client_context=record.client_context, parent=record.id,
    )


async def run_soon(lam: Microlam, invocations: Sequence[Invocation]) -> None:
    """Accept invocations that nobody retries, and wait a moment for them to end."""
    waiting, ended = {invocation.id for invocation in invocations}, asyncio.Event()

    def note(invocation: Invocation, outcome: Outcome) -> None:
        waiting.discard(invocation.id)
        if not waiting:
            ended.set()

    lam.invoker.ended.append(note)
    try:
        await lam.invoker.enqueue(*invocations)
        async with asyncio.timeout(WAIT):
            await ended.wait()
    except TimeoutError:
        pass                # its page shows that it runs
    finally:
        lam.invoker.ended.remove(note)


# ---- one -------------------------------------------------------------------------------------------------------------

async def edit(lam: Microlam, asked: Asked) -> Facts:
    """The form: the event to change before it is sent again."""
    record = await record_of(lam, asked.names["id"])
    return row(record) | {"event": full_record_json(record)["event"], "targets": target_choices(lam, record.arn)}


async def replay(lam: Microlam, asked: Asked) -> Done:
    """Send an event again, changed where a changed one came along."""
    record = await record_of(lam, asked.names["id"])
    payload = json_payload(asked.field("event")) if asked.form.get("event") else record.event
    target = asked.field("target", "same")
    if target != "same":
        check_target(lam, record.arn, target)
    again = replay_of(record, payload, record.qualifier if target == "same" else _qualifier(target), lam.clock.now())
    await run_soon(lam, [again])
    return Done(to=f"invocations/{again.id}", facts={"id": again.id}, status=202)


def _qualifier(target: str) -> str | None:
    return None if target in ("", LATEST) else target


# ---- two, side by side -----------------------------------------------------------------------------------------------

async def compare(lam: Microlam, asked: Asked) -> Done:
    """Send an event to two versions."""
    record = await record_of(lam, asked.names["id"])
    for name in ("one", "other"):
        check_target(lam, record.arn, asked.field(name))
    pair = [replay_of(record, record.event, _qualifier(asked.field(name)), lam.clock.now()) for name in ("one", "other")]
    await run_soon(lam, pair)
    return Done(to=f"compare/{pair[0].id}/{pair[1].id}", facts={"ids": [each.id for each in pair]}, status=202)


async def comparison(lam: Microlam, asked: Asked) -> Facts:
    """Two invocations side by side: replies, logs, durations."""
    one, other = [await record_of(lam, asked.names[name]) for name in ("one", "other")]
    sides = [full_record_json(record) | row(record) | {"logs": _own_lines(record)} for record in (one, other)]
    replies = [pretty(side.get("reply", side.get("error"))) for side in sides]
    logs = [str(side["logs"]) for side in sides]
    return {
        "sides": sides, "same_reply": replies[0] == replies[1], "same_logs": logs[0] == logs[1],
        "reply_difference": _lines(*replies), "log_difference": _lines(*logs), "parent": one.parent,
    }


def _own_lines(record: Record) -> str:
    """What the handler itself printed: the platform's lines tell of times and ids, which always differ."""
    lines = record.logs.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if record.id not in line and not line.startswith(("INIT_START", "REPORT", "INIT_REPORT")))


def _lines(before: str, after: str) -> list[Facts]:
    return [{"mark": line.mark, "before": line.before, "after": line.after, "text": line.text} for line in difference(before, after)]


# ---- many ------------------------------------------------------------------------------------------------------------

async def replay_failures(lam: Microlam, asked: Asked) -> Done:
    """Send the events of a filter's failures again, the newest of them first where they are very many."""
    query = {name: value for name, value in asked.form.items() if isinstance(value, str)}
    if query.get("status") not in (FAILURES, *FAILED):
        raise InvalidParameter(reason=f"Choose which failures: status is one of {', '.join((FAILURES, *FAILED))}.")
    records = await _all_of(lam, query)
    if not records:
        raise NotFound(reason="Nothing failed that this filter shows.")
    target, now = query.get("target", "same"), lam.clock.now()
    again = [
        replay_of(record, record.event, record.qualifier if target == "same" else _qualifier(target), now)
        for record in [await record_of(lam, each.id) for each in records]
    ]
    batch = Document(kind="replay", owner="admin", name=new_id(), body={"ids": [each.id for each in again], "filter": _kept(query), "at": now.isoformat()})
    await lam.store.change_documents(keep=[batch])
    await lam.invoker.enqueue(*again)
    return Done(to=f"replays/{batch.name}", facts={"id": batch.name, "count": len(again)}, status=202)


def _kept(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value and name not in ("csrf", "target")}


async def _all_of(lam: Microlam, query: Mapping[str, str]) -> list[Record]:
    """Each failed invocation of a filter once, however many attempts it had."""
    found: dict[str, Record] = {}
    chosen, cursor = filter_of(query, lam.clock.now()), None
    while len(found) < AT_MOST:
        records = await lam.store.invocations(chosen, _PAGE, cursor)
        for record in records.records:
            found.setdefault(record.id, record)
        cursor = records.next
        if cursor is None:
            break
    return list(found.values())[:AT_MOST]


async def progress(lam: Microlam, asked: Asked) -> Facts:
    """How far a bulk replay is."""
    batch = next((document for document in await lam.store.documents("replay", "admin") if document.name == asked.names["id"]), None)
    if batch is None:
        raise NotFound(reason=f"There is no bulk replay {asked.names['id']}.")
    ids = set(batch.body["ids"])
    records = await _replays(lam, ids)
    counts = Counter(record.status for record in records)
    done = sum(number for status, number in counts.items() if status not in ("pending", "running"))
    return {
        "id": batch.name, "at": batch.body["at"], "filter": batch.body["filter"], "total": len(ids), "done": done, "counts": dict(counts),
        "failed": [row(record) for record in records if record.status not in ("pending", "running", "succeeded")][:50],
    }


async def _replays(lam: Microlam, ids: set[str]) -> list[Record]:
    """The records of these replays: they lie together among all replays."""
    found: list[Record] = []
    first, cursor = min(ids), None
    lam.invoker.note_running()
    while len(found) < len(ids):
        records = await lam.store.invocations(InvocationFilter(cause="replay"), _PAGE, cursor)
        found += [record for record in records.records if record.id in ids]
        cursor = records.next
        if cursor is None or cursor < first:
            break
    return found


ROUTES = (
    page("invocations/{id}/replay", edit, "replay.html"), action("invocations/{id}/replay", replay), action("invocations/{id}/compare", compare),
    page("compare/{one}/{other}", comparison, "compare.html"), action("replay", replay_failures), page("replays/{id}", progress, "replays.html"),
)
