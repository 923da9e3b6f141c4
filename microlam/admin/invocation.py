"""One invocation: how its time was spent, event, reply or error, log, and what it came from and led to."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from microlam.admin.asking import Asked, page
from microlam.admin.commands import commands
from microlam.admin.facts import Facts
from microlam.admin.finding import address_of, record_of
from microlam.admin.forms import whole
from microlam.admin.logs import report_facts
from microlam.admin.records import children_of, row, target_choices
from microlam.store import Record, full_record_json

if TYPE_CHECKING:
    from microlam.app import Microlam


async def show(lam: Microlam, asked: Asked) -> Facts:
    """One invocation, whole."""
    record = await record_of(lam, asked.names["id"], whole("attempt", asked.query.get("attempt")))
    parent = await lam.store.invocation(record.parent) if record.parent else None
    facts = full_record_json(record) | row(record)
    return facts | {
        "key": record.key, "address": address_of(lam, record.arn), "timeline": timeline(record), "report": report_facts(str(facts["logs"])),
        "attempts": [row(attempt) for attempt in record.attempts], "from": row(parent) if parent else None, "children": await children_of(lam, record),
        "commands": commands(record, asked.address), "targets": target_choices(lam, record.arn), "client_context": record.client_context,
    }


def timeline(record: Record) -> Sequence[Facts]:
    """What took how long, in milliseconds from when it was first queued: waiting, importing, running, and the same of each retry."""
    attempts = record.attempts or (record,)
    begin = attempts[0].queued_at
    spans: list[Facts] = []
    for attempt in attempts[-6:]:
        of = f" {attempt.attempt}" if len(attempts) > 1 else ""
        at = (attempt.queued_at - begin).total_seconds() * 1000
        if attempt.started_at is None:
            continue
        init, started = (attempt.init or 0) * 1000, (attempt.started_at - begin).total_seconds() * 1000
        spans.append({"name": f"queued{of}", "kind": "queued", "start": at, "length": max(started - init - at, 0)})
        if attempt.init is not None:
            spans.append({"name": f"init{of}", "kind": "init", "start": max(started - init, at), "length": init})
        if attempt.duration is not None:
            kind = "run" if attempt.status == "succeeded" else "failed"
            spans.append({"name": f"run{of}", "kind": kind, "start": started, "length": attempt.duration * 1000})
    return spans


ROUTES = (page("invocations/{id}", show, "invocation.html"),)
