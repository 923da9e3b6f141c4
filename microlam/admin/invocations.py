"""The list of invocations, newest first, as far as its filter goes."""
from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from microlam.admin import activity
from microlam.admin.asking import Asked, page
from microlam.admin.facts import Facts
from microlam.admin.forms import known, whole
from microlam.admin.records import CAUSES, FAILED, FAILURES, RANGES, filter_of, row, target_choices
from microlam.model import STATUSES, function_arn

if TYPE_CHECKING:
    from microlam.app import Microlam

LIMIT = 1000
FIELDS = ("function", "version", "qualifier", "status", "cause", "range", "since", "until", "slower", "faster", "q")


async def show(lam: Microlam, asked: Asked) -> Facts:
    """A page of invocations, and the cursor that leads on."""
    query = known(asked.query, *FIELDS, "limit", "cursor")
    chosen = filter_of(query, lam.clock.now())
    limit = whole("limit", query.get("limit"), most=LIMIT) or 50
    lam.invoker.note_running()              # what runs now is on no record yet
    found = await lam.store.invocations(chosen, limit, query.get("cursor") or None)
    kept = {name: query[name] for name in FIELDS if query.get(name)}
    home = function_arn("", lam.settings.region, lam.settings.account)
    names = [function.name for function in lam.functions.all() if function.arn.startswith(home)]
    return {
        "invocations": [row(record) for record in found.records], "next": found.next,
        "filter": kept, "link": urlencode(kept), "statuses": [*STATUSES, FAILURES], "causes": list(CAUSES), "ranges": list(RANGES),
        "functions": names,
        "versions": target_choices(lam, lam.functions.named(kept["function"])) if kept.get("function") in names else [],
        "chart": await activity.of_everything(lam, kept.get("range", "1h"), kept.get("function")),
        "failures": kept.get("status") in (FAILURES, *FAILED), "searched": bool(chosen.q),
        "unfinished": found.unfinished,
    }


ROUTES = (page("invocations", show, "invocations.html"),)
