"""Testing a function with an event: saved in a file, generated from what leads to it, or typed."""
from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.facts import Facts
from microlam.admin.finding import address_of, function_named, record_of
from microlam.admin.forms import json_payload
from microlam.admin.records import check_target, target_choices
from microlam.admin.replays import run_soon
from microlam.errors import InvalidParameter
from microlam.events.generated import event_for
from microlam.model import Invocation, new_id

if TYPE_CHECKING:
    from microlam.app import Microlam
    from microlam.functions import Function

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
_SIZE_SHOWN = 1_000_000


async def show(lam: Microlam, asked: Asked) -> Facts:
    """The form: an event to choose or to write, and what to send it to."""
    function = function_named(lam, asked.names["name"])
    saved = await asyncio.to_thread(saved_events, folders_of(lam, function))
    chosen = asked.query.get("event", "")
    generated = {str(trigger.when): event_for(trigger, lam.clock.now()) for trigger in lam.triggers.of(function.arn)}
    return {
        "name": function.name, "arn": function.arn, "address": address_of(lam, function.arn), "saved": sorted(saved), "generated": list(generated),
        "chosen": chosen, "text": _text(saved, generated, chosen), "targets": target_choices(lam, function.arn),
        "folder": str(folders_of(lam, function)[0]),
    }


def _text(saved: Mapping[str, Path], generated: Mapping[str, object], chosen: str) -> str:
    if chosen in saved:
        return saved[chosen].read_text(errors="replace")[:_SIZE_SHOWN]
    event = generated.get(chosen) or (next(iter(generated.values())) if generated and not chosen else {})
    return json.dumps(event, indent=2, ensure_ascii=False)


# ---- files -----------------------------------------------------------------------------------------------------------

def folders_of(lam: Microlam, function: Function) -> Sequence[Path]:
    """Where a function's events lie: beside its own code first, then beside all functions."""
    own = Path(function.latest.source) if function.latest.source else lam.folder
    return list(dict.fromkeys([own.resolve() / "events", lam.folder.resolve() / "events"]))


def saved_events(folders: Sequence[Path]) -> dict[str, Path]:
    """The saved events by name; of two with one name the function's own."""
    return {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.json")) if path.is_file()}


def save_event(folder: Path, name: str, payload: bytes) -> Path:
    """Write an event down as NAME.json."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(reason=f"{name[:40]!r} cannot be a file's name here: use letters, digits, spaces, dots, hyphens and underscores.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps(json.loads(payload or b"{}"), indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="replace")
    return path


# ---- actions ---------------------------------------------------------------------------------------------------------

async def test(lam: Microlam, asked: Asked) -> Done:
    """Run a function with the event that was typed, and keep it as a file where a name was given."""
    function = function_named(lam, asked.names["name"])
    payload, target = json_payload(asked.field("event", "{}")), asked.field("target")
    check_target(lam, function.arn, target)
    if name := asked.field("save_as"):
        await asyncio.to_thread(save_event, folders_of(lam, function)[0], name, payload)
    invocation = Invocation(
        id=new_id(), arn=function.arn, payload=payload, cause="test", queued_at=lam.clock.now(), qualifier=target or None,
        summary=name or asked.field("chosen"),
    )
    await run_soon(lam, [invocation])
    return Done(to=f"invocations/{invocation.id}", facts={"id": invocation.id}, status=202)


async def save(lam: Microlam, asked: Asked) -> Done:
    """Keep an invocation's event as a test event of its function."""
    record = await record_of(lam, asked.names["id"])
    function = function_named(lam, record.arn)
    path = await asyncio.to_thread(save_event, folders_of(lam, function)[0], asked.field("name"), record.event)
    return Done(to=f"functions/{address_of(lam, function.arn)}/test?event={quote(path.stem)}", words=f"Saved as {path}.", facts={"file": str(path)})


ROUTES = (page("functions/{name}/test", show, "test.html"), action("functions/{name}/test", test), action("invocations/{id}/save", save))
