"""The admin over HTTP, on a real Microlam over a folder: health, the record, functions, actions, who may, and its pages as text."""
from __future__ import annotations

import asyncio
import html
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import microlam
from microlam.admin import pages
from microlam.app import Microlam
from microlam.cli import settings_of
from microlam.faces import Faces
from microlam.model import Invocation, Outcome, function_arn, new_id
from microlam.pauses import Pauses
from microlam.triggers import Triggers
from tests.conftest import Serve, write

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
HTML = {"Accept": "text/html,application/xhtml+xml"}
HELLO = "def handler(event, context): return {'ok': True}\n"


# ---- a server with the admin -----------------------------------------------------------------------------------------

@dataclass
class Place:
    """A served folder and the parts behind it."""

    url: str
    lam: Microlam
    http: aiohttp.ClientSession

    async def add(self, **files: str) -> None:
        """Functions by name: their code, or the decorators of a plain one."""
        for name, text in files.items():
            code = text if "def handler" in text else f"from microlam import http, on_file, schedule\n{text}\n{HELLO}"
            write(self.lam.folder, {f"{name}.py": code})
        await self.lam.functions.look()

    def put(self, name: str = "hello", status: str = "succeeded", payload: bytes = b'{"ok": true}', cause: str = "http", **facts: Any) -> Invocation:
        summary, event = facts.pop("summary", "GET /hello"), facts.pop("event", b'{"q": 1}')
        invocation = Invocation(id=new_id(), arn=function_arn(name), payload=event, cause=cause, queued_at=NOON, summary=summary)
        given: dict[str, Any] = {"status": status, "payload": payload, "started_at": NOON, "duration": 0.0125}
        self.lam.store.put(invocation, Outcome(**(given | facts)))
        return invocation

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        async with self.http.get(self.url + path, headers=headers) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()

    async def page(self, path: str, status: int = 200, **headers: str) -> str:
        async with self.http.get(self.url + path, headers=HTML | headers) as reply:
            assert reply.status == status, await reply.text()
            assert reply.content_type == "text/html"
            return await reply.text()

    async def post(self, path: str, body: bytes | dict[str, str] = b"", status: int = 202, **headers: str) -> Any:
        """As a program posts: no browser, so no form's token."""
        data = body if isinstance(body, bytes) else aiohttp.FormData(body)
        headers = headers if isinstance(body, bytes) else {"Authorization": "Bearer of a program", **headers}
        async with self.http.post(self.url + path, data=data, headers=headers) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()


async def open_place(tmp_path: Path, **flags: str) -> AsyncIterator[Place]:
    folder = tmp_path / "functions"
    folder.mkdir()
    settings = settings_of(folder, {"data": str(tmp_path / "data"), **flags})
    async with Microlam(folder, settings=settings, endpoint_url="http://127.0.0.1:1", say=lambda text: None) as lam:
        faces = Faces(lam)
        runner = web.ServerRunner(web.Server(faces.serve))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as http:
            yield Place(f"http://{host}:{port}", lam, http)
        faces.close()
        await runner.cleanup()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async for opened in open_place(tmp_path):
        yield opened


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Place]:
    async for opened in open_place(tmp_path, admin_token="s3cret", read_only_token="l00k"):
        yield opened


# ---- health ----------------------------------------------------------------------------------------------------------

async def test_health_is_ready_whatever_cannot_load_and_says_what(place: Place) -> None:
    await place.add(hello="", broken="def handler(event, context) return")
    health = await place.get("/_microlam/health")
    assert (health["status"], health["functions"]) == ("ready", ["broken", "hello"])
    [error] = health["errors"]
    assert (error["function"], error["errorType"]) == ("broken", "Runtime.UserCodeSyntaxError")


# ---- the record ------------------------------------------------------------------------------------------------------

async def test_a_list_has_what_was_put_just_before_newest_first(place: Place) -> None:
    first, second = place.put("hello", cold=True, init=0.1), place.put("shop", "failed", b'{"errorType": "KeyError", "errorMessage": "x"}')
    page = await place.get("/_microlam/invocations.json")
    assert [each["id"] for each in page["invocations"]] == [second.id, first.id]
    assert page["next"] is None
    hello = page["invocations"][1]
    expected = {
        "function": "hello", "arn": function_arn("hello"), "version": "$LATEST", "qualifier": None, "cause": "http", "status": "succeeded",
        "duration_ms": 12.5, "init_ms": 100.0, "cold": True, "summary": "GET /hello → 200", "words": "GET /hello → 200",
        "started_at": NOON.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    assert {name: hello[name] for name in expected} == expected
    assert {"queued_at", "ended_at"} <= hello.keys()


async def test_what_runs_is_in_the_list(place: Place) -> None:
    go = place.lam.folder.parent / "go"
    slow = f"import os, time\ndef handler(event, context):\n    while not os.path.exists({str(go)!r}): time.sleep(0.01)\n    return 'ended'\n"
    await place.add(slow=slow, stays="")
    running = asyncio.ensure_future(place.http.get(place.url + "/slow"))
    id = ""
    while not id:
        found = (await place.get("/_microlam/invocations.json?status=running"))["invocations"]
        id = found[0]["id"] if found else ""
    one = await place.get(f"/_microlam/invocations/{id}.json")
    assert (one["status"], "reply" in one, "error" in one) == ("running", False, False)
    assert "It runs." in await place.page(f"/_microlam/invocations/{id}")
    go.touch()
    async with await running as reply:
        assert await reply.text() == "ended"
    one = await place.get(f"/_microlam/invocations/{id}.json")
    assert (one["status"], one["reply"]) == ("succeeded", "ended")


async def test_filters_narrow_and_cursors_lead_on(place: Place) -> None:
    for number in range(5):
        place.put("hello", payload=b'{"number": %d}' % number)
    place.put("shop", "failed", b"{}", cause="schedule", duration=2.0)
    first = await place.get("/_microlam/invocations.json?function=hello&limit=3")
    second = await place.get(f"/_microlam/invocations.json?function=hello&limit=3&cursor={first['next']}")
    assert [len(page["invocations"]) for page in (first, second)] == [3, 2]
    assert second["next"] is None
    assert len({each["id"] for page in (first, second) for each in page["invocations"]}) == 5
    for query in ("status=failed", "status=failures", "cause=schedule", "function=shop", "slower=1000", "status=failed&until=2999-01-01T00:00:00Z"):
        assert [each["function"] for each in (await place.get(f"/_microlam/invocations.json?{query}"))["invocations"]] == ["shop"], query
    assert len((await place.get('/_microlam/invocations.json?q="number":+4'))["invocations"]) == 1
    for query in ("until=2020-01-01T00:00:00Z", "since=2999-01-01T00:00:00Z", "faster=1", "version=7", "qualifier=live"):
        assert (await place.get(f"/_microlam/invocations.json?{query}"))["invocations"] == [], query


@pytest.mark.parametrize(("query", "words"), [
    ("limit=0", ["limit", "1 to 1000"]), ("limit=1001", ["limit", "1 to 1000"]), ("limit=many", ["limit", "'many'"]), ("limit=-5", ["limit"]),
    ("limit=²", ["limit"]), ("status=fine", ["status", "'fine'", "succeeded"]), ("cause=magic", ["cause", "schedule"]), ("cursor=zzz", ["cursor"]),
    ("since=soon", ["since", "ISO 8601"]), ("function=hello&ststus=failed&x=1", ["ststus, x", "status"]), ("slower=much", ["slower", "milliseconds"]), ("range=1y", ["range", "24h"]),
])
async def test_a_parameter_that_cannot_be_is_named_with_what_is_allowed(place: Place, query: str, words: list[str]) -> None:
    message = (await place.get(f"/_microlam/invocations.json?{query}", 400))["message"]
    assert [word for word in words if word not in message] == []
    assert "That cannot be done" in await place.page(f"/_microlam/invocations?{query}", 400)


async def test_one_invocation_has_its_event_reply_and_logs(place: Place) -> None:
    fine = place.put(logs="grüße\n".encode())
    one = await place.get(f"/_microlam/invocations/{fine.id}.json")
    assert (one["event"], one["reply"], one["logs"]) == ({"q": 1}, {"ok": True}, "grüße\n")
    assert "error" not in one
    failed = place.put(status="failed", payload=b'{"errorType": "KeyError", "errorMessage": "x"}')
    one = await place.get(f"/_microlam/invocations/{failed.id}.json")
    assert one["error"] == {"errorType": "KeyError", "errorMessage": "x"}
    assert "reply" not in one


@pytest.mark.parametrize(("status", "payload", "value"), [
    ("failed", rb'{"errorType": "KeyError", "errorMessage": "\ud800"}', {"errorType": "KeyError", "errorMessage": "\ud800"}),
    ("succeeded", b"[NaN]", ["NaN"]), ("succeeded", b"1" + 400 * b"0", 10 ** 400), ("succeeded", b"\xff", "\ufffd"),
], ids=["a lone surrogate", "NaN", "a large number", "no JSON"])
async def test_what_python_alone_takes_for_json_is_shown_as_a_value(place: Place, status: str, payload: bytes, value: object) -> None:
    odd = place.put(status=status, payload=payload)
    one = await place.get(f"/_microlam/invocations/{odd.id}.json")
    assert one["error" if status == "failed" else "reply"] == value
    assert await place.page(f"/_microlam/invocations/{odd.id}")


@pytest.mark.parametrize("id", ["0193583e-7a1c-7c44-8000-000000000000", "nonsense", "..%2F..%2Fetc%2Fpasswd"])
async def test_an_invocation_that_is_not_there_is_a_404(place: Place, id: str) -> None:
    assert "message" in await place.get(f"/_microlam/invocations/{id}.json", 404)
    assert "Not found" in await place.page(f"/_microlam/invocations/{id}", 404)


async def test_an_invocation_tells_how_it_may_be_repeated_by_hand(place: Place) -> None:
    event = {"rawPath": "/orders/7", "rawQueryString": "a=b'c", "headers": {"host": "x", "x-who": "it's me"}, "body": '{"q": 1}', "isBase64Encoded": False,
             "requestContext": {"http": {"method": "POST", "path": "/orders/7"}}}
    put = place.put("shop", event=json.dumps(event).encode())
    commands = (await place.get(f"/_microlam/invocations/{put.id}.json"))["commands"]
    assert shlex.split(commands["curl"]) == ["curl", "-X", "POST", f"{place.url}/orders/7?a=b'c", "-H", "x-who: it's me", "--data-binary", '{"q": 1}']
    assert "--function-name shop" in commands["aws"]
    compile(commands["boto3"], "copied", "exec")
    invoked = place.put("hello", cause="invoke", summary="invoke")
    curl = (await place.get(f"/_microlam/invocations/{invoked.id}.json"))["commands"]["curl"]
    assert shlex.split(curl) == ["curl", f"{place.url}/2015-03-31/functions/hello/invocations", "--data-binary", '{"q": 1}']


@pytest.mark.parametrize(("status", "payload", "logs"), [
    ("failed", b'{"errorType": "E"}', b'{"a": 1}\n{}\n'), ("failed", b'{"errorMessage": null, "stackTrace": "odd"}', b'{"message": {"deep": []}}'),
    ("failed", b"[1, 2]", b"\xff\xfe\n"), ("failed", b"not JSON", b"\r\n\n"), ("failed", b"", b""), ("missed", b'"text"', b""),
    ("succeeded", b"", b"REPORT nonsense\n"), ("succeeded", b"NaN", b'{"type": "platform.report", "record": 7}'),
    ("succeeded", b'"\\ud800"', b"x" * 300_000), ("throttled", b'{"errorType": 7}', b""),
])
async def test_whatever_a_record_holds_its_page_is_drawn(place: Place, status: str, payload: bytes, logs: bytes) -> None:
    for event in (b"", b"[]", b"{", b'{"requestContext": {"http": 7}, "headers": null}', b'{"requestContext": {}, "body": 7}'):
        put = place.put("gone", status, payload, logs=logs, event=event, started_at=None if status == "throttled" else NOON)
        assert status in (await place.page(f"/_microlam/invocations/{put.id}")).lower()
        await place.page(f"/_microlam/invocations/{put.id}/replay")
        await place.page(f"/_microlam/compare/{put.id}/{put.id}")
    await place.page("/_microlam/")


# ---- functions -------------------------------------------------------------------------------------------------------

async def test_functions_tell_what_leads_to_them(place: Place) -> None:
    (place.lam.folder / "uploads").mkdir()
    await place.add(all='@http("GET /a/{id}")\n@schedule("cron(0 2 * * ? *)")\n@on_file("uploads", prefix="in/", suffix=".png")')
    [function] = (await place.get("/_microlam/functions.json"))["functions"]
    assert (function["name"], function["timeout"], function["memory"], function["error"]) == ("all", 3.0, 128, None)
    kinds = {trigger["kind"]: trigger for trigger in function["triggers"]}
    route, schedule, drop = kinds["http"], kinds["schedule"], kinds["file"]
    assert (route["summary"], route["method"], route["path"]) == ("GET /a/{id}", "GET", "/a/{id}")
    assert schedule["timezone"] == "UTC"
    due = datetime.fromisoformat(schedule["next"])
    assert (due.hour, due.minute) == (2, 0)
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=1)
    assert (drop["bucket"], drop["prefix"], drop["suffix"], drop["folder"]) == ("uploads", "in/", ".png", str(place.lam.folder / "uploads"))


async def test_a_schedule_is_fired_by_hand_as_of_any_time(place: Place) -> None:
    await place.add(nightly='@http("GET /n")\n@schedule("rate(5 minutes)")\n@schedule("cron(0 2 * * ? *)")')
    schedules = [trigger["summary"] for trigger in (await place.get("/_microlam/triggers.json"))["schedules"]]
    number = schedules.index("rate(5 minutes)") + 1
    fired = await place.post("/_microlam/functions/nightly/fire", json.dumps({"time": "2026-03-29T04:00:00+02:00", "schedule": number}).encode())
    one = await place.get(f"/_microlam/invocations/{fired['id']}.json")
    assert (one["cause"], one["summary"]) == ("schedule", "rate(5 minutes)")
    assert (one["event"]["time"], one["event"]["detail-type"]) == ("2026-03-29T02:00:00Z", "Scheduled Event")
    fired = await place.post("/_microlam/functions/nightly/fire")
    one = await place.get(f"/_microlam/invocations/{fired['id']}.json")
    assert one["summary"] == schedules[0]
    assert abs(datetime.fromisoformat(one["event"]["time"]) - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize(("name", "body", "status", "words"), [
    ("gone", b"", 404, "Function not found: gone"),
    ("hello", b"", 400, "There is no schedule 1 of hello (it has none)."),
    ("nightly", b'{"schedule": 2}', 400, "There is no schedule 2 of nightly (1: rate(1 day))."),
    ("nightly", b'{"schedule": 0}', 400, "schedule is '0'; it must be a whole number, 1 or more."),
    ("nightly", b'{"time": "tomorrow"}', 400, "time is 'tomorrow'; it must be an instant in ISO 8601"),
    ("nightly", b'{"time": "0001-01-01T00:00:00+14:00"}', 400, "time is"),
    ("nightly", b"[]", 400, "The body must be an object"),
    ("nightly", b"{", 400, "The body is not JSON"),
])
async def test_a_firing_that_cannot_be_says_why(place: Place, name: str, body: bytes, status: int, words: str) -> None:
    await place.add(hello="", nightly='@schedule("rate(1 day)")')
    assert words in (await place.post(f"/_microlam/functions/{name}/fire", body, status))["message"]


async def test_what_is_paused_leads_nowhere_also_after_a_restart_until_it_goes_on(place: Place) -> None:
    await place.add(hello="", nightly='@schedule("rate(1 day)")')
    assert await place.post("/_microlam/functions/hello/pause", status=200) == {"paused": True}
    [schedule] = (await place.get("/_microlam/triggers.json"))["schedules"]
    await place.post(f"/_microlam/triggers/{schedule['id']}/pause", status=200)
    async with place.http.get(place.url + "/hello") as reply:
        assert reply.status == 404
    [schedule] = (await place.get("/_microlam/triggers.json"))["schedules"]
    assert (schedule["enabled"], schedule["coming"]) == (False, [])
    afresh = Triggers()
    await Pauses(place.lam.store, afresh).load()
    for function in place.lam.functions.all():
        afresh.replace(function.arn, function.triggers)
    assert not any(trigger.enabled for trigger in afresh.all())
    await place.post("/_microlam/functions/hello/resume", status=200)
    await place.post(f"/_microlam/triggers/{schedule['id']}/resume", status=200)
    async with place.http.get(place.url + "/hello") as reply:
        assert reply.status == 200
    assert len((await place.get("/_microlam/triggers.json"))["schedules"][0]["coming"]) == 5


async def test_variables_that_look_secret_are_masked_until_they_are_asked_for(guarded: Place) -> None:
    variables = {"TABLE": "orders", "API_KEY": "k-1234", "DATABASE_URL": "postgres://app:hunter2@db/x"}
    write(guarded.lam.folder, {".env": "".join(f"{name}={value}\n" for name, value in variables.items())})
    await guarded.add(hello="")

    async def shown(query: str, token: str) -> dict[str, str | None]:
        facts = await guarded.get(f"/_microlam/functions/hello.json{query}", Authorization=f"Bearer {token}")
        return {each["name"]: each["value"] for each in facts["environment"]}
    assert await shown("", "s3cret") == {"TABLE": "orders", "API_KEY": None, "DATABASE_URL": None}
    assert await shown("?secrets=shown", "s3cret") == variables
    assert await shown("?secrets=shown", "l00k") == {"TABLE": "orders", "API_KEY": None, "DATABASE_URL": None}


# ---- replay and test -------------------------------------------------------------------------------------------------

async def test_a_replay_is_an_invocation_of_the_same_event_whose_parent_is_the_original(place: Place) -> None:
    await place.add(hello="def handler(event, context): return event")
    original = place.put("hello", "failed", b'{"errorType": "KeyError", "errorMessage": "x"}')
    again = await place.post(f"/_microlam/invocations/{original.id}/replay")
    one = await place.get(f"/_microlam/invocations/{again['id']}.json")
    assert (one["cause"], one["parent"], one["status"], one["reply"], one["words"]) == \
        ("replay", original.id, "succeeded", {"q": 1}, "replay of GET /hello → 500")
    edited = await place.post(f"/_microlam/invocations/{original.id}/replay", {"event": '{"q": 2}'})
    assert (await place.get(f"/_microlam/invocations/{edited['id']}.json"))["reply"] == {"q": 2}
    children = (await place.get(f"/_microlam/invocations/{original.id}.json"))["children"]
    assert [child["id"] for child in children] == [again["id"], edited["id"]]
    assert "not JSON" in (await place.post(f"/_microlam/invocations/{original.id}/replay", {"event": "{"}, 400))["message"]


async def test_two_versions_are_compared_by_what_they_reply_and_log(place: Place) -> None:
    for number in (1, 2):
        await place.add(hello=f"def handler(event, context):\n    print('number', {number})\n    return {{'number': {number}}}")
        assert (await place.post("/_microlam/functions/hello/publish", status=200))["version"] == str(number)
    original = place.put("hello")
    ids = (await place.post(f"/_microlam/invocations/{original.id}/compare", {"one": "1", "other": "2"}))["ids"]
    facts = await place.get(f"/_microlam/compare/{ids[0]}/{ids[1]}.json")
    assert [side["reply"] for side in facts["sides"]] == [{"number": 1}, {"number": 2}]
    assert [side["logs"] for side in facts["sides"]] == ["number 1", "number 2"]
    assert [(line["mark"], line["text"].strip()) for line in facts["reply_difference"] if line["mark"] in "+-"] == [("-", '"number": 1'), ("+", '"number": 2')]


async def test_all_failures_of_a_filter_are_replayed_and_counted(place: Place) -> None:
    await place.add(hello="def handler(event, context): return 1 // event['q']")
    for q in (0, 1, 2):
        place.put("hello", "failed", b'{"errorType": "E", "errorMessage": "x"}', event=b'{"q": %d}' % q)
    place.put("hello")
    refused = await place.post("/_microlam/replay", {"function": "hello"}, 400)
    assert "status is one of" in refused["message"]
    batch = await place.post("/_microlam/replay", {"function": "hello", "status": "failures"})
    facts = await place.get(f"/_microlam/replays/{batch['id']}.json")
    while facts["done"] < facts["total"]:
        facts = await place.get(f"/_microlam/replays/{batch['id']}.json")
    assert (facts["total"], facts["counts"]) == (3, {"succeeded": 2, "failed": 1})
    assert [each["error_type"] for each in facts["failed"]] == ["ZeroDivisionError"]


async def test_an_event_is_saved_beside_the_function_and_used_again(place: Place) -> None:
    write(place.lam.folder, {"shop/app.py": "def handler(event, context): return event"})
    await place.add(hello="def handler(event, context): return event")
    for name, folder in (("hello", place.lam.folder), ("shop", place.lam.folder / "shop")):
        put = place.put(name, event=b'{"gr\xc3\xbc\xc3\x9fe": 1}')
        saved = await place.post(f"/_microlam/invocations/{put.id}/save", {"name": "first order"}, 200)
        assert Path(saved["file"]).resolve() == (folder / "events" / "first order.json").resolve()
        facts = await place.get(f"/_microlam/functions/{name}/test.json?event=first+order")
        assert json.loads(facts["text"]) == {"grüße": 1}
        ran = await place.post(f"/_microlam/functions/{name}/test", {"event": facts["text"]})
        one = await place.get(f"/_microlam/invocations/{ran['id']}.json")
        assert (one["cause"], one["reply"]) == ("test", {"grüße": 1})
    for name in ("../evil", "", ".x", "a/b"):
        await place.post(f"/_microlam/invocations/{put.id}/save", {"name": name}, 400)


async def test_a_trigger_makes_up_the_event_it_would_bring(place: Place) -> None:
    await place.add(all='@http("POST /a/{id}")\n@schedule("rate(1 day)")\n@on_file("in", suffix=".png")')
    texts = {}
    for each in (await place.get("/_microlam/functions/all/test.json"))["generated"]:
        texts[each] = json.loads((await place.get(f"/_microlam/functions/all/test.json?event={quote(each)}"))["text"])
    assert texts["POST /a/{id}"]["pathParameters"] == {"id": "id"}
    assert texts["rate(1 day)"]["detail-type"] == "Scheduled Event"
    assert texts["in/*.png"]["Records"][0]["s3"]["object"]["key"] == "example.png"


# ---- versions, history, code -----------------------------------------------------------------------------------------

async def test_an_event_is_not_sent_to_a_version_that_is_not_there(place: Place) -> None:
    await place.add(hello="def handler(event, context): return 1")
    published = await place.post("/_microlam/functions/hello/publish", status=200)
    assert published["version"] == "1"
    words = "hello has no version or alias 9; there are: $LATEST, 1."
    tried = "/_microlam/functions/hello/test"
    assert (await place.post(tried, {"event": "{}", "target": "9"}, 404))["message"] == words
    for target in ("", "1", "$LATEST"):
        id = (await place.post(tried, {"event": "{}", "target": target}))["id"]
        assert (await place.get(f"/_microlam/invocations/{id}.json"))["status"] == "succeeded"
    for action, form in (("replay", {"target": "9"}), ("compare", {"one": "1", "other": "9"})):
        assert (await place.post(f"/_microlam/invocations/{id}/{action}", form, 404))["message"] == words
    assert len((await place.get("/_microlam/invocations.json"))["invocations"]) == 3


async def test_an_alias_is_weighed_promoted_and_taken_back_by_its_history(place: Place) -> None:
    for number in (1, 2):
        await place.add(hello=f"def handler(event, context): return {number}")
        await place.post("/_microlam/functions/hello/publish", status=200)
    alias = "/_microlam/functions/hello/aliases"
    for name in ("", "17", "a b"):
        assert repr(name) in (await place.post(alias, {"alias": name, "number": "1"}, 400))["message"]
    for wish, words in (({"number": "9"}, "hello has no version 9; its versions are 1, 2."), ({"number": "1", "other": "x", "weight": "1"}, "no version x; "),
                        ({}, "hello has no alias live; say which version it is to name.")):
        assert words in (await place.post(alias, {"alias": "live", **wish}, 404))["message"]
    await place.post(alias, {"alias": "live", "number": "1"}, 200)
    assert "hello has no version 9; its versions are 1, 2." in (await place.post(f"{alias}/live/weight", {"other": "9", "weight": "25"}, 404))["message"]
    assert await place.post(f"{alias}/live/weight", {"other": "2", "weight": "25"}, 200) == {"alias": "live", "number": "1", "other": "2", "weight": 0.25}
    [facts] = (await place.get("/_microlam/functions/hello/versions.json"))["aliases"]
    assert [(each["number"], each["configured"], each["observed"]) for each in facts["versions"]] == [("2", 0.25, None), ("1", 0.75, None)]
    await place.post(f"{alias}/live/weight", {"weight": "101"}, 400)
    assert (await place.post(f"{alias}/live/promote", {}, 200))["number"] == "2"
    assert (await place.post(f"{alias}/live/rollback", {}, 200))["number"] == "1"
    changes = (await place.get("/_microlam/functions/hello/changes.json"))["changes"]
    assert [(change["thing"], change["what"], change["origin"]) for change in changes] == [
        ("alias", "rolled back", "admin"), ("alias", "promoted", "admin"), ("alias", "changed", "admin"), ("alias", "created", "admin"),
        ("version", "published", "admin"), ("version", "published", "admin"),
    ]
    await place.post(f"/_microlam/functions/hello/changes/{changes[1]['id']}/revert", {}, 200)
    [facts] = (await place.get("/_microlam/functions/hello/versions.json"))["aliases"]
    assert (facts["number"], facts["other"], facts["weight"]) == ("1", "2", 0.25)
    published = f"/_microlam/functions/hello/changes/{changes[4]['id']}/revert"
    assert "live" in (await place.post(published, {}, 409))["message"]         # an alias names it still
    await place.post(f"{alias}/live/delete", {}, 200)
    await place.post(published, {}, 200)
    assert [version["number"] for version in (await place.get("/_microlam/functions/hello/versions.json"))["versions"]] == ["1"]
    [deleted, *_] = (await place.get("/_microlam/functions/hello/changes.json"))["changes"]
    assert (deleted["what"], deleted["revertable"]) == ("deleted", True)
    await place.post(f"/_microlam/functions/hello/changes/{deleted['id']}/revert", {}, 200)
    assert [version["number"] for version in (await place.get("/_microlam/functions/hello/versions.json"))["versions"]] == ["2", "1"]


async def test_a_versions_numbers_are_of_the_last_day(place: Place) -> None:
    await place.add(hello="")
    await place.post("/_microlam/functions/hello/publish", status=200)
    now = place.lam.clock.now()
    for version, duration in (("1", 0.5), ("1", 0.5), ("$LATEST", 0.1)):
        place.put(version=version, duration=duration, started_at=now)
    place.put(version="1", started_at=now - timedelta(days=2))

    shown = await place.get("/_microlam/functions/hello/versions.json")

    [one], latest = shown["versions"], shown["latest"]
    assert (one["activity"]["count"], latest["activity"]["count"]) == (2, 1)
    assert one["activity"]["p50"] == pytest.approx(500, rel=0.02)
    assert latest["activity"]["p95"] == pytest.approx(100, rel=0.02)


async def test_a_list_is_narrowed_by_words_time_and_duration(place: Place) -> None:
    slow, quick = place.put(duration=2.0, event=b'{"city": "Z\\u00fcrich"}'), place.put(duration=0.1, event='{"city": "zürich"}'.encode())
    place.put(event=b'{"city": "lima"}')

    async def found(query: str) -> list[str]:
        return [record["id"] for record in (await place.get(f"/_microlam/invocations.json?{query}"))["invocations"]]

    for _ in range(2):
        assert await found(f"q={quote('ZÜRICH')}") == [quick.id, slow.id]
        assert await found(f"q={quote('zürich')}&slower=1000") == [slow.id]
        assert await found(f"q={quote('zürich')}&range=1h&status=failures") == []
        assert await found("q=rich") == []
        await place.lam.store.settled()
    assert len(await found("range=1h")) == 3
    assert await found("until=2020-01-01T00:00:00Z") == []


async def test_code_of_any_version_and_what_changed_since(place: Place) -> None:
    await place.add(hello="def handler(event, context):\n    return 1\n")
    await place.post("/_microlam/functions/hello/publish", status=200)
    await place.add(hello="def handler(event, context):\n    return 2\n")
    facts = await place.get("/_microlam/functions/hello/code.json?version=1")
    assert (facts["file"], facts["text"]) == ("hello.py", "def handler(event, context):\n    return 1\n")
    for newer in ("$LATEST", "folder"):
        [changed] = (await place.get(f"/_microlam/functions/hello/code.json?version={newer}&against=1"))["differences"]
        assert [(line["mark"], line["text"]) for line in changed["lines"] if line["mark"] in "+-"] == [("-", "    return 1"), ("+", "    return 2")]
    await place.get("/_microlam/functions/hello/code.json?version=1&file=../../etc/passwd", 404)
    await place.get("/_microlam/functions/hello/code.json?version=9", 400)
    broken = "def handler(event, context) return 3\n"
    write(place.lam.folder, {"hello.py": broken})
    await place.lam.functions.look()
    assert (await place.get("/_microlam/functions/hello/code.json?version=folder"))["text"] == broken


# ---- buckets ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("prefix", "name", "status"), [("in", "a.txt", 200), ("", "b.txt", 200), ("../..", "c.txt", 400), ("in", ".hidden", 400)])
async def test_a_file_dropped_in_is_whole_and_inside_its_bucket(place: Place, prefix: str, name: str, status: int) -> None:
    await place.add(seen='@on_file("uploads")')
    form = aiohttp.FormData()
    form.add_field("prefix", prefix)
    form.add_field("files", b"x" * 3_000_000, filename=name)        # more than aiohttp's own limit
    async with place.http.post(f"{place.url}/_microlam/buckets/uploads/upload", data=form, headers={"Authorization": "Bearer x"}) as reply:
        assert reply.status == status, await reply.text()
    bucket = place.lam.buckets.places()["uploads"]
    assert [path.stat().st_size for path in bucket.rglob("*") if path.is_file()] == ([3_000_000] if status == 200 else [])
    assert not list(place.lam.folder.parent.rglob("c.txt"))


async def test_a_bucket_that_has_lost_its_folder_takes_nothing(place: Place) -> None:
    (place.lam.folder / "uploads").mkdir()
    await place.add(seen='@on_file("uploads")')
    url, headers = f"{place.url}/_microlam/buckets/uploads/upload", {"Authorization": "Bearer x"}

    async def upload(name: str) -> tuple[int, str]:
        form = aiohttp.FormData()
        form.add_field("files", b"x", filename=name)
        async with place.http.post(url, data=form, headers=headers) as reply:
            return reply.status, await reply.text()

    assert (await upload("a.txt"))[0] == 200
    await place.lam.settled()
    shutil.move(place.lam.folder / "uploads", place.lam.folder.parent / "away")
    status, words = await upload("b.txt")
    assert status == 404
    assert "has lost its folder" in words
    assert not list(place.lam.folder.parent.rglob("b.txt"))


# ---- settings --------------------------------------------------------------------------------------------------------

async def test_settings_tell_where_each_came_from_and_no_secret(guarded: Place) -> None:
    facts = await guarded.get("/_microlam/settings.json", Authorization="Bearer l00k")
    settings = {each["name"]: each for group in facts["groups"] for each in group["settings"]}
    assert (settings["data"]["origin"], settings["port"]["value"], settings["port"]["origin"]) == ("--data", 3000, "default")
    assert (settings["admin_token"]["value"], settings["secret_key"]["value"]) == ("set", None)
    assert "s3cret" not in json.dumps(facts)
    assert facts["data_size"]["record"] > 0


# ---- who may ---------------------------------------------------------------------------------------------------------

PAGES = ("", "functions", "functions/hello", "functions/hello/versions", "functions/hello/code", "functions/hello/test", "functions/hello/changes",
         "invocations", "triggers", "settings")


@pytest.mark.parametrize("path", ["health", "invocations.json", "functions.json", *PAGES, "static/admin.css", "login", "live"])
async def test_another_host_is_refused_everywhere(place: Place, path: str) -> None:
    assert "--allowed-host" in (await place.get(f"/_microlam/{path}", 403, Host="evil.example"))["message"]


async def test_a_page_elsewhere_may_not_fire(place: Place) -> None:
    await place.add(nightly='@schedule("rate(1 day)")')
    await place.post("/_microlam/functions/nightly/fire", b"", 403, Origin="https://evil.example")
    await place.post("/_microlam/functions/nightly/fire", b"", 403, **{"Sec-Fetch-Site": "cross-site"})
    assert (await place.get("/_microlam/invocations.json"))["invocations"] == []


async def test_a_form_carries_a_token_of_our_own_pages(place: Place) -> None:
    await place.add(hello="")
    [token] = set(re.findall(r'name="csrf" value="(\w+)"', await place.page("/_microlam/functions/hello")))
    url, same = f"{place.url}/_microlam/functions/hello/pause", {"Origin": place.url}
    for form, headers, status in (
        ({}, same, 403), ({"csrf": "wrong"}, same, 403), ({"csrf": token}, same, 200), ({}, {}, 403), ({}, same | {"X-CSRF-Token": token}, 200),
        ({}, {"Sec-Fetch-Site": "same-origin"}, 403), ({}, {"Cookie": "a=b"}, 403),
    ):
        async with place.http.post(url, data=aiohttp.FormData(form or {"x": "y"}), headers=headers) as reply:
            assert reply.status == status, (form, headers)


async def test_with_a_token_nothing_is_told_without_it(guarded: Place) -> None:
    await guarded.add(hello="def handler(event, context) return 'secret path'")
    for path in ("invocations.json", "functions.json", "live", *PAGES):
        assert "token" in (await guarded.get(f"/_microlam/{path}", 401))["message"]
        await guarded.get(f"/_microlam/{path}", 401, Authorization="Bearer wrong")
        await guarded.get(f"/_microlam/{path}", 401, Cookie="microlam_session=s3cret")
        assert "Log in" in await guarded.page(f"/_microlam/{path.removesuffix('.json')}", 401)
    await guarded.post("/_microlam/functions/hello/fire", b"", 401)
    assert (await guarded.get("/_microlam/health")).keys() == {"status", "version"}
    assert "UserCodeSyntaxError" in str(await guarded.get("/_microlam/health", Authorization="Bearer s3cret"))
    assert (await guarded.get("/_microlam/functions.json", Authorization="Bearer s3cret"))["functions"]


async def test_the_read_only_token_looks_and_changes_nothing(guarded: Place) -> None:
    await guarded.add(hello="")
    for path in PAGES:
        text = await guarded.page(f"/_microlam/{path}", Authorization="Bearer l00k")
        assert set(re.findall(r'<form method="post" action="[./]*([a-z]+)', text)) <= {"theme", "functions"}, path
    for to in ("functions/hello/pause", "functions/hello/publish", "functions/hello/test", "replay"):
        assert "read-only" in (await guarded.post(f"/_microlam/{to}", b"", 403, Authorization="Bearer l00k"))["message"]


async def test_a_login_gives_a_cookie_that_is_not_the_token_and_a_logout_takes_it(guarded: Place) -> None:
    await guarded.add(hello="")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), headers=HTML) as browser:
        async def send(to: str, **form: str) -> aiohttp.ClientResponse:
            async with browser.get(f"{guarded.url}/_microlam/login") as page:
                [token] = set(re.findall(r'name="csrf" value="(\w+)"', await page.text()))
            return await browser.post(f"{guarded.url}/_microlam/{to}", data=form | {"csrf": token}, allow_redirects=False)
        wrong = await send("login", token="guess")
        assert wrong.status == 401
        assert "not the token" in await wrong.text()
        right = await send("login", token="s3cret", next="functions/hello?range=24h")
        assert (right.status, right.headers["Location"]) == (303, "./functions/hello?range=24h")
        cookie = right.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path" not in cookie         # so it is the admin's folder's alone, and not sent to handlers
        assert "s3cret" not in cookie
        async with browser.get(f"{guarded.url}/_microlam/functions/hello") as reply:
            assert reply.status == 200
        for to in ("https://evil.example/", "//evil.example", "javascript:alert(1)", "\\\\evil.example"):
            assert (await send("login", token="s3cret", next=to)).headers["Location"] == "./"
        assert (await send("logout")).status == 303
        async with browser.get(f"{guarded.url}/_microlam/functions/hello") as reply:
            assert reply.status == 401


async def test_what_is_not_there_and_what_is_asked_for_wrongly(place: Place) -> None:
    assert "/_microlam/nowhere" in (await place.get("/_microlam/nowhere", 404))["message"]
    async with place.http.post(f"{place.url}/_microlam/health") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET")
    async with place.http.head(f"{place.url}/_microlam/health") as reply:
        assert reply.status == 200


@pytest.mark.parametrize("name", ["..%2fadmin.css", "%2e%2e/templates/base.html", "nothing.css", "admin.css%00", ".css"])
async def test_only_the_static_files_are_static(place: Place, name: str) -> None:
    assert "message" in await place.get(f"/_microlam/static/{name}", 404)       # words, and no file


# ---- live ------------------------------------------------------------------------------------------------------------

async def test_a_stream_tells_what_ended_and_costs_nothing_when_nobody_looks(place: Place) -> None:
    await place.add(hello="", other="")
    quiet = len(place.lam.invoker.ended)
    async with place.http.get(f"{place.url}/_microlam/live?function=hello") as stream:
        assert stream.content_type == "text/event-stream"
        for name in ("other", "hello"):
            async with place.http.get(f"{place.url}/{name}") as reply:
                assert reply.status == 200
        message = await _next(stream, "rows")
        assert (message["seen"], message["shown"]) == (1, 1)
        assert "GET /hello → 200" in message["html"]
        assert "/other" not in message["html"]
        await _next(stream, "changed")
        assert len(place.lam.invoker.ended) == quiet + 1
    while len(place.lam.invoker.ended) > quiet:         # noticed at the next message
        async with place.http.get(f"{place.url}/hello") as reply:
            assert reply.status == 200


async def test_a_stream_samples_when_there_are_very_many(place: Place) -> None:
    async with place.http.get(f"{place.url}/_microlam/live") as stream:
        await stream.content.readuntil(b"\n\n")
        invocation = Invocation(id=new_id(), arn=function_arn("hello"), payload=b"{}", cause="http", queued_at=NOON, summary="GET /")
        for _ in range(5000):
            for ended in place.lam.invoker.ended[-1:]:
                ended(invocation, Outcome(status="succeeded", payload=b"{}", started_at=NOON))
        message = await _next(stream, "rows")
        assert message["seen"] == 5000
        assert message["shown"] == message["html"].count("<tr") < 50


async def _next(stream: aiohttp.ClientResponse, name: str) -> Any:
    """The next message of this name."""
    async with asyncio.timeout(10):
        while True:
            lines = (await stream.content.readuntil(b"\n\n")).decode().splitlines()
            if f"event: {name}" in lines:
                return json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))


# ---- pages -----------------------------------------------------------------------------------------------------------

async def test_a_browser_at_the_root_sees_the_functions(place: Place) -> None:
    (place.lam.folder / "my uploads").mkdir()
    await place.add(hello="", shop='@http("POST /orders/{id}")', nightly='@schedule("rate(1 day)")')
    text = await place.page("/")
    for words in ("ANY /hello/{proxy+}", f"curl {place.url}/hello<", f"curl {place.url}/orders/id --json &#39;{{}}&#39;", "microlam fire nightly"):
        assert words in text, words
    assert "?name=1" not in text
    for address in re.findall(r'href="([^"#?]+)', text):
        if not address.startswith(("data:", "/")):
            async with place.http.get(f"{place.url}/{address}", headers=HTML) as reply:
                assert reply.status == 200, address


async def test_the_root_is_the_admins_only_for_a_browser_and_without_a_route(place: Place) -> None:
    async with place.http.get(place.url + "/") as reply:
        assert reply.status == 404
    await place.add(root='@http("GET /")')
    async with place.http.get(place.url + "/", headers=HTML) as reply:
        assert await reply.json(content_type=None) == {"ok": True}
    async with place.http.get(place.url + "/_microlamb", headers=HTML) as reply:
        assert reply.status == 404


async def test_a_folder_without_functions_says_how_to_begin(place: Place) -> None:
    text = await place.page("/")
    assert "No functions yet" in text
    assert "def handler(event, context):" in text


async def test_every_link_of_every_page_holds_under_whatever_path_a_proxy_adds(place: Place) -> None:
    await place.add(hello="", nightly='@schedule("rate(1 day)")')
    put = place.put("hello")
    for path in (*PAGES, f"invocations/{put.id}", f"invocations/{put.id}/replay"):
        text = await place.page(f"/_microlam/{path}")
        here = f"{place.url}/_microlam/{path}"
        for address in set(re.findall(r'(?:href|src|action)="([^"]+)"', text)):
            if address.startswith(("data:", "#")):
                continue
            assert not address.startswith("/"), (path, address)
            target = urljoin(here, html.unescape(address))
            if "/_microlam/" in target and f'action="{address}"' not in text:
                async with place.http.get(target, headers=HTML) as reply:
                    assert reply.status == 200, (path, address)
                    await reply.read()


async def test_a_page_has_the_same_facts_as_its_json(place: Place) -> None:
    await place.add(hello="", nightly='@schedule("rate(1 day)")')
    put = place.put("hello")
    for path in ("overview", *PAGES[1:], f"invocations/{put.id}"):
        assert isinstance(await place.get(f"/_microlam/{path}.json"), dict)


async def test_pages_run_only_their_own_script_and_show_markup_as_text(place: Place) -> None:
    await place.add(bad='@http("GET /<script>alert(1)</script>")', broken="def handler(event, context) '<em>E</em>'")
    error = b'{"errorType": "<em>E</em>", "errorMessage": "<script>", "stackTrace": ["<i>"]}'
    put = place.put("bad", "failed", error, logs=b'<script>alert(2)</script>\n{"message": "<b>bold</b>"}\n', event=b'{"<u>": "</pre><script>"}')
    for path in (*(path.replace("hello", "bad") for path in PAGES), f"invocations/{put.id}", f"invocations/{put.id}/replay"):
        async with place.http.get(f"{place.url}/_microlam/{path}", headers=HTML) as reply:
            policy, text = reply.headers["Content-Security-Policy"], await reply.text()
        assert "default-src 'none'; style-src 'self'; script-src 'self'" in policy
        assert "unsafe" not in policy
        assert re.findall(r"<script[^>]*>", text) == [f'<script type="module" src="{"../" * path.count("/") or "./"}static/admin.js?{_stamp()}">'], path
        assert not re.search(r"<(em|i|u|b>bold)>", text)
        assert not re.search(r'\sstyle="|\son\w+="', text), path
        for address in re.findall(r'<link rel="stylesheet" href="([^"]+)"', text):
            async with place.http.get(urljoin(f"{place.url}/_microlam/{path}", address)) as reply:
                assert (reply.status, reply.content_type) == (200, "text/css")


def _stamp() -> str:
    return str(pages._stamp())


def test_the_error_page_shows_traceback_logs_and_the_way_to_the_record() -> None:
    from microlam.admin.pages import error_page
    invocation = Invocation(id="0193583e", arn=function_arn("shop"), payload=b"{}", cause="http", queued_at=NOON, summary="GET /orders/7")
    error = {"errorType": "KeyError", "errorMessage": "'<total>'", "stackTrace": ['  File "app.py", line 3, in handler\n    return order["total"]\n']}
    text = error_page(Outcome(status="failed", payload=json.dumps(error).encode(), logs=b"order <7>\xff\n", started_at=NOON, duration=0.0031), invocation)
    for words in ("KeyError: &#39;&lt;total&gt;&#39;", "File &#34;app.py&#34;, line 3, in handler", "order &lt;7&gt;", "GET /orders/7 → 500", "3.1 ms",
                  'href="/_microlam/invocations/0193583e"'):
        assert words in text, words
    assert "<total>" not in text


def test_the_error_page_tells_why_a_reply_was_refused() -> None:
    from microlam.admin.pages import error_page
    invocation = Invocation(id="0193583e", arn=function_arn("shop"), payload=b"{}", cause="http", queued_at=NOON, summary="GET /")
    text = error_page(Outcome(status="succeeded", payload=b'{"statusCode": "many"}'), invocation, "statusCode is not a number")
    assert "statusCode is not a number" in text
    assert "{&#34;statusCode&#34;: &#34;many&#34;}" in text


def test_templates_are_loaded_at_the_first_page_only() -> None:
    code = "import sys, microlam.admin; print('jinja2' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert ran.stdout == "False\n"


# ---- elsewhere -------------------------------------------------------------------------------------------------------

async def test_under_another_prefix_in_an_application_pages_actions_and_streams_work_alike(tmp_path: Path) -> None:
    write(tmp_path, {"functions/hello.py": HELLO})
    app = web.Application()
    microlam.setup(app, tmp_path / "functions", prefix="/fn", admin="/tools/admin", data=tmp_path / "data")
    async with TestClient(TestServer(app)) as client:
        async with client.get("/tools/admin/functions/hello", headers=HTML) as reply:
            text = await reply.text()
        [token] = set(re.findall(r'name="csrf" value="(\w+)"', text))
        for address in re.findall(r'(?:href|src)="(\.[^"]*)"', text):
            async with client.get(urljoin("/tools/admin/functions/hello", html.unescape(address)), headers=HTML) as reply:
                assert reply.status == 200, address
        form = aiohttp.FormData({"csrf": token, "event": "{}", "padding": "x" * 2_000_000})        # more than the host's limit
        async with client.post("/tools/admin/functions/hello/test", data=form, headers=HTML, allow_redirects=False) as reply:
            assert (reply.status, reply.headers["Location"][:18]) == (303, "../../invocations/")
        stream = await client.get("/tools/admin/live")
        assert await stream.content.readuntil(b"\n\n")
    # and the server stops, whoever still looks on


async def test_a_call_that_a_handler_makes_is_its_child(serve: Serve) -> None:
    caller = """
        import boto3
        def handler(event, context):
            return boto3.client("lambda").invoke(FunctionName="called", Payload=b"{}")["StatusCode"]
    """
    server = serve({"calling.py": caller, "called.py": HELLO})
    id = server.client().invoke(FunctionName="calling")["ResponseMetadata"]["RequestId"]
    [child] = server.ended(function="called")
    assert child["parent"] == id
    assert [each["id"] for each in server.invocation(id)["children"]] == [child["id"]]


async def test_a_function_of_another_region_has_its_pages_under_its_arn(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", "def handler(event, context): return {'where': context.invoked_function_arn}\n")
    client = server.client(region_name="eu-west-1")
    role = "arn:aws:iam::000000000000:role/any"
    client.create_function(FunctionName="far", Runtime="python3.11", Handler="index.handler", Role=role, Code={"ZipFile": code.getvalue()}, Publish=True)
    id = client.invoke(FunctionName="far", Qualifier="1")["ResponseMetadata"]["RequestId"]
    [far] = [each for each in server.get("/_microlam/functions.json").json()["functions"] if each["name"] == "far"]
    assert far["address"] == far["arn"] == "arn:aws:lambda:eu-west-1:000000000000:function:far"
    assert server.get("/_microlam/functions/far").status == 404
    for page in ("", "/versions", "/code", "/test", "/changes"):
        assert server.get(f"/_microlam/functions/{far['address']}{page}", Accept="text/html").status == 200, page
    assert "def handler" in server.get(f"/_microlam/functions/{far['address']}/code.json?version=1").json()["text"]
    replayed = server.request("POST", f"/_microlam/invocations/{id}/replay", b"{}", {"Content-Type": "application/json"}).json()["id"]
    assert server.invocation(replayed)["reply"] == {"where": f"{far['arn']}:1"}
    [entry, *_] = server.get(f"/_microlam/functions/{far['address']}/changes.json").json()["changes"]
    assert (entry["thing"], entry["origin"]) == ("version", "api")
