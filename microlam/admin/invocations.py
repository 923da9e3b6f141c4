"""The list of invocations, newest first, as far as its filter goes."""
from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from microlam.admin import activity
from microlam.admin.asking import Asked, page
from microlam.admin.facts import Facts
from microlam.admin.forms import whole
from microlam.admin.records import CAUSES, RANGES, filter_of, row, version_choices
from microlam.model import STATUSES

if TYPE_CHECKING:
    from microlam.app import Microlam

LIMIT = 1000
FIELDS = ("function", "version", "qualifier", "status", "cause", "range", "since", "until", "slower", "faster", "q")
FAILURES = ("failed", "timed_out", "crashed", "throttled")


async def show(lam: Microlam, asked: Asked) -> Facts:
    """A page of invocations, and the cursor that leads on."""
    query = asked.query
    chosen = filter_of(query, lam.clock.now())
    limit = whole("limit", query.get("limit"), most=LIMIT) or 50
    lam.invoker.note_running()              # what runs now is on no record yet
    found = await lam.store.invocations(chosen, limit, query.get("cursor") or None)
    kept = {name: query[name] for name in FIELDS if query.get(name)}
    return {
        "invocations": [row(record) for record in found.records], "next": found.next,
        "filter": kept, "link": urlencode(kept), "statuses": list(STATUSES), "causes": list(CAUSES), "ranges": list(RANGES),
        "functions": [function.name for function in lam.functions.all()],
        "versions": await version_choices(lam, query.get("function")),
        "chart": await activity.of_filter(lam, kept), "failures": kept.get("status") in FAILURES, "searched": bool(chosen.q),
        "complete": found.next is None or len(found.records) >= limit,
    }


ROUTES = (page("invocations", show, "invocations.html"),)
