"""The admin over HTTP, with a real store and real triggers: health, the record, functions, firing by hand, and its two pages."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from microlam.admin import Admin
from microlam.clock import SystemClock
from microlam.functions import Function
from microlam.guard import Guard
from microlam.model import Drop, Invocation, Outcome, Route, Schedule, Trigger, Version, function_arn, new_id
from microlam.sources.schedules import Schedules
from microlam.store import Store
from microlam.triggers import Triggers

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HTML = {"Accept": "text/html,application/xhtml+xml"}


# ---- peers -----------------------------------------------------------------------------------------------------------

def found(name: str, *ways: Route | Schedule | Drop, error: Mapping[str, object] | None = None, warnings: tuple[str, ...] = ()) -> Function:
    arn = function_arn(name)
    latest = Version(arn=arn, handler=f"{name}.handler", runtime="python3.11", root="/code", sha256="c2hh")
    triggers = tuple(Trigger(target=arn, when=way, origin="decorator") for way in ways)
    return Function(name=name, arn=arn, handler=latest.handler, file=Path(f"{name}.py"), latest=latest, error=error, warnings=warnings, triggers=triggers)


@dataclass
class Functions:
    found: list[Function] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def all(self) -> Sequence[Function]:
        return self.found


@dataclass
class Invoker:
    """Holds what runs, and notes it in the store when asked."""

    store: Store
    running: list[Invocation] = field(default_factory=list)

    def note_running(self) -> None:
        for invocation in self.running:
            self.store.note_running(invocation, "$LATEST", NOON)


@dataclass
class Buckets:
    folders: dict[str, Path] = field(default_factory=dict)

    def places(self) -> Mapping[str, Path]:
        return self.folders


# ---- a server with the admin -----------------------------------------------------------------------------------------

@dataclass
class Place:
    """A served admin and the parts behind it."""

    url: str
    store: Store
    triggers: Triggers
    functions: Functions
    invoker: Invoker
    buckets: Buckets
    admin: Admin
    http: aiohttp.ClientSession

    def add(self, name: str, *ways: Route | Schedule | Drop, **facts: Any) -> None:
        function = found(name, *ways, **facts)
        self.functions.found.append(function)
        self.triggers.replace(function.arn, function.triggers)

    def put(self, name: str = "hello", status: str = "succeeded", payload: bytes = b'{"ok": true}', cause: str = "http", **facts: Any) -> Invocation:
        invocation = Invocation(id=new_id(), arn=function_arn(name), payload=b'{"q": 1}', cause=cause, queued_at=NOON, summary="GET /hello")
        given: dict[str, Any] = {"status": status, "payload": payload, "started_at": NOON, "duration": 0.0125}
        self.store.put(invocation, Outcome(**(given | facts)))
        return invocation

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        async with self.http.get(self.url + path, headers=headers) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()

    async def page(self, path: str, **headers: str) -> str:
        async with self.http.get(self.url + path, headers=HTML | headers) as reply:
            assert reply.status == 200, await reply.text()
            assert reply.content_type == "text/html"
            return await reply.text()

    async def post(self, path: str, body: bytes = b"", status: int = 202, **headers: str) -> Any:
        async with self.http.post(self.url + path, data=body, headers=headers) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()


async def open_place(tmp_path: Path, token: str | None = None) -> AsyncIterator[Place]:
    store, triggers = await Store.open(tmp_path / "data"), Triggers()
    functions, invoker, buckets = Functions(), Invoker(store), Buckets()
    schedules = Schedules(store, triggers, SystemClock(), wake=lambda: None)
    admin = Admin(functions, triggers, store, invoker, schedules, buckets, folder=tmp_path, version="1.2.3", guard=Guard(), admin_token=token)

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return await admin.serve(request) if admin.wants(request) else web.Response(status=418, text="not the admin's")

    server = web.Server(serve)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as http:
        yield Place(f"http://{host}:{port}", store, triggers, functions, invoker, buckets, admin, http)
    await runner.cleanup()
    await store.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async for opened in open_place(tmp_path):
        yield opened


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Place]:
    async for opened in open_place(tmp_path, "s3cret"):
        yield opened


# ---- health ----------------------------------------------------------------------------------------------------------

async def test_health_is_ready_whatever_cannot_load_and_says_what(place: Place) -> None:
    place.add("hello")
    place.add("broken", error={"errorType": "Runtime.ImportModuleError", "errorMessage": "No module named 'nope'"}, warnings=("shadows json",))
    place.functions.warnings.append("two functions of one name")
    assert await place.get("/_microlam/health") == {
        "status": "ready", "version": "1.2.3", "functions": ["hello", "broken"],
        "errors": [{"function": "broken", "errorType": "Runtime.ImportModuleError", "errorMessage": "No module named 'nope'"}],
        "warnings": ["two functions of one name", "broken: shadows json"],
    }


# ---- the record ------------------------------------------------------------------------------------------------------

async def test_a_list_has_what_was_put_just_before_newest_first(place: Place) -> None:
    first, second = place.put("hello", cold=True, init=0.1), place.put("shop", "failed", b'{"errorType": "KeyError", "errorMessage": "x"}')
    page = await place.get("/_microlam/invocations.json")
    assert [each["id"] for each in page["invocations"]] == [second.id, first.id]
    assert page["next"] is None
    hello = page["invocations"][1]
    expected = {
        "function": "hello", "arn": function_arn("hello"), "version": "$LATEST", "qualifier": None, "cause": "http", "status": "succeeded",
        "duration_ms": 12.5, "init_ms": 100.0, "cold": True, "summary": "GET /hello → 200", "started_at": "2026-11-23T12:00:00.000Z",
    }
    assert {name: hello[name] for name in expected} == expected
    assert {"queued_at", "ended_at"} <= hello.keys()


async def test_what_runs_is_in_the_list(place: Place) -> None:
    running = Invocation(id=new_id(), arn=function_arn("slow"), payload=b"{}", cause="http", queued_at=NOON)
    place.invoker.running.append(running)
    page = await place.get("/_microlam/invocations.json?status=running")
    assert [each["id"] for each in page["invocations"]] == [running.id]
    one = await place.get(f"/_microlam/invocations/{running.id}.json")
    assert (one["status"], "reply" in one, "error" in one) == ("running", False, False)


async def test_filters_narrow_and_cursors_lead_on(place: Place) -> None:
    for number in range(5):
        place.put("hello", payload=b'{"number": %d}' % number)
    place.put("shop", "failed", b"{}", cause="schedule")
    first = await place.get("/_microlam/invocations.json?function=hello&limit=3")
    second = await place.get(f"/_microlam/invocations.json?function=hello&limit=3&cursor={first['next']}")
    assert [len(page["invocations"]) for page in (first, second)] == [3, 2]
    assert second["next"] is None
    assert len({each["id"] for page in (first, second) for each in page["invocations"]}) == 5
    for query in ("status=failed", "cause=schedule", "function=shop"):
        assert [each["function"] for each in (await place.get(f"/_microlam/invocations.json?{query}"))["invocations"]] == ["shop"]
    assert len((await place.get('/_microlam/invocations.json?q="number":+4'))["invocations"]) == 1


@pytest.mark.parametrize(("query", "words"), [
    ("limit=0", ["limit", "1 to 1000"]), ("limit=1001", ["limit", "1 to 1000"]), ("limit=many", ["limit", "'many'"]), ("limit=-5", ["limit"]),
    ("limit=²", ["limit"]), ("status=fine", ["status", "'fine'", "succeeded"]), ("cause=magic", ["cause", "schedule"]), ("cursor=zzz", ["cursor"]),
])
async def test_a_parameter_that_cannot_be_is_named_with_what_is_allowed(place: Place, query: str, words: list[str]) -> None:
    message = (await place.get(f"/_microlam/invocations.json?{query}", 400))["message"]
    assert [word for word in words if word not in message] == []


async def test_one_invocation_has_its_event_reply_and_logs(place: Place) -> None:
    fine = place.put(logs="grüße\n".encode())
    one = await place.get(f"/_microlam/invocations/{fine.id}.json")
    assert (one["event"], one["reply"], one["logs"]) == ({"q": 1}, {"ok": True}, "grüße\n")
    assert "error" not in one
    failed = place.put(status="failed", payload=b'{"errorType": "KeyError", "errorMessage": "x"}')
    one = await place.get(f"/_microlam/invocations/{failed.id}.json")
    assert one["error"] == {"errorType": "KeyError", "errorMessage": "x"}
    assert "reply" not in one


@pytest.mark.parametrize("id", ["0193583e-7a1c-7c44-8000-000000000000", "nonsense", "..%2F..%2Fetc%2Fpasswd"])
async def test_an_invocation_that_is_not_there_is_a_404(place: Place, id: str) -> None:
    assert "message" in await place.get(f"/_microlam/invocations/{id}.json", 404)


# ---- functions -------------------------------------------------------------------------------------------------------

async def test_functions_tell_what_leads_to_them(place: Place) -> None:
    place.buckets.folders["uploads"] = Path("/data/uploads")
    place.add("all", Route(method="GET", path="/a/{id}"), Schedule(expression="cron(0 2 * * ? *)"), Drop(bucket="uploads", prefix="in/", suffix=".png"))
    [function] = (await place.get("/_microlam/functions.json"))["functions"]
    assert (function["name"], function["runtime"], function["timeout"], function["memory"], function["error"]) == ("all", "python3.11", 3.0, 128, None)
    route, schedule, drop = function["triggers"]
    assert (route["kind"], route["summary"], route["method"], route["path"]) == ("http", "GET /a/{id}", "GET", "/a/{id}")
    assert (schedule["kind"], schedule["timezone"]) == ("schedule", "UTC")
    due = datetime.fromisoformat(schedule["next"])
    assert (due.hour, due.minute) == (2, 0)
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=1)
    assert (drop["kind"], drop["bucket"], drop["prefix"], drop["suffix"], drop["folder"]) == ("file", "uploads", "in/", ".png", "/data/uploads")


async def test_an_error_that_is_no_unicode_is_told_all_the_same(place: Place) -> None:
    place.add("odd", error={"errorType": "E", "errorMessage": "\ud800"})
    [function] = (await place.get("/_microlam/functions.json"))["functions"]
    assert function["error"]["errorMessage"] == "\ud800"
    assert "does not load" in await place.page("/")


async def test_a_schedule_is_fired_by_hand_as_of_any_time(place: Place) -> None:
    place.add("nightly", Route(method="GET", path="/n"), Schedule(expression="cron(0 2 * * ? *)"), Schedule(expression="rate(5 minutes)"))
    fired = await place.post("/_microlam/functions/nightly/fire", b'{"time": "2026-03-29T04:00:00+02:00", "schedule": 2}')
    one = await place.get(f"/_microlam/invocations/{fired['id']}.json")
    assert (one["status"], one["cause"], one["summary"]) == ("pending", "schedule", "rate(5 minutes)")
    assert (one["event"]["time"], one["event"]["detail-type"]) == ("2026-03-29T02:00:00Z", "Scheduled Event")
    fired = await place.post("/_microlam/functions/nightly/fire")
    one = await place.get(f"/_microlam/invocations/{fired['id']}.json")
    assert one["summary"] == "cron(0 2 * * ? *)"
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
    place.add("hello")
    place.add("nightly", Schedule(expression="rate(1 day)"))
    assert words in (await place.post(f"/_microlam/functions/{name}/fire", body, status))["message"]


# ---- who may ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["health", "invocations.json", "functions.json", "", "static/admin.css"])
async def test_another_host_is_refused_everywhere(place: Place, path: str) -> None:
    assert "--allowed-host" in (await place.get(f"/_microlam/{path}", 403, Host="evil.example"))["message"]


async def test_a_page_elsewhere_may_not_fire(place: Place) -> None:
    place.add("nightly", Schedule(expression="rate(1 day)"))
    await place.post("/_microlam/functions/nightly/fire", b"", 403, Origin="https://evil.example")
    await place.post("/_microlam/functions/nightly/fire", b"", 403, **{"Sec-Fetch-Site": "cross-site"})
    assert (await place.get("/_microlam/invocations.json"))["invocations"] == []


async def test_with_a_token_nothing_is_told_without_it(guarded: Place) -> None:
    guarded.add("hello", error={"errorType": "E", "errorMessage": "secret path"})
    for path in ("/_microlam/invocations.json", "/_microlam/functions.json", "/_microlam/"):
        assert "token" in (await guarded.get(path, 401))["message"]
        await guarded.get(path, 401, Authorization="Bearer wrong")
    await guarded.post("/_microlam/functions/hello/fire", b"", 401)
    assert await guarded.get("/_microlam/health") == {"status": "ready", "version": "1.2.3"}
    assert "secret path" in str(await guarded.get("/_microlam/health", Authorization="Bearer s3cret"))
    assert (await guarded.get("/_microlam/functions.json", Authorization="Bearer s3cret"))["functions"]


async def test_what_is_not_there_and_what_is_asked_for_wrongly(place: Place) -> None:
    assert "/_microlam/nowhere" in (await place.get("/_microlam/nowhere", 404))["message"]
    async with place.http.post(f"{place.url}/_microlam/health") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "GET")
    async with place.http.head(f"{place.url}/_microlam/health") as reply:
        assert reply.status == 200


@pytest.mark.parametrize("name", ["..%2fadmin.css", "%2e%2e/templates/base.html", "nothing.css", "admin.css%00", ".css"])
async def test_only_the_static_files_are_static(place: Place, name: str) -> None:
    await place.get(f"/_microlam/static/{name}", 404)


# ---- pages -----------------------------------------------------------------------------------------------------------

async def test_a_browser_at_the_root_sees_the_functions(place: Place) -> None:
    place.buckets.folders["uploads"] = Path("/data/my uploads")
    place.add("hello", Route(method="ANY", path="/hello"), Route(method="ANY", path="/hello/{proxy+}"))
    place.add("shop", Route(method="POST", path="/orders/{id}"))
    place.add("nightly", Schedule(expression="rate(1 day)"))
    place.add("thumbs", Drop(bucket="uploads", prefix="in/", suffix=".png"))
    place.add("silent")
    text = await place.page("/")
    for words in ("ANY /hello/{proxy+}", f"curl {place.url}/hello<", f"curl {place.url}/orders/id --json &#39;{{}}&#39;", "microlam fire nightly",
                  "cp FILE.png &#39;/data/my uploads/in&#39;/", "microlam invoke silent", "Invoke only"):
        assert words in text, words
    assert "?name=1" not in text
    assert await place.page("/_microlam/") == text


async def test_the_root_is_the_admins_only_for_a_browser_and_without_a_route(place: Place) -> None:
    async with place.http.get(place.url + "/") as reply:
        assert reply.status == 418
    place.add("root", Route(method="GET", path="/"))
    async with place.http.get(place.url + "/", headers=HTML) as reply:
        assert reply.status == 418
    async with place.http.get(place.url + "/_microlamb", headers=HTML) as reply:
        assert reply.status == 418


async def test_a_folder_without_functions_says_how_to_begin(place: Place) -> None:
    text = await place.page("/")
    assert "No functions yet" in text
    assert "def handler(event, context):" in text


async def test_pages_run_no_script_and_show_markup_as_text(place: Place) -> None:
    error = {"errorType": "<em>E</em>", "errorMessage": "<script>", "stackTrace": ["<i>"]}
    place.add("bad", Route(method="GET", path="/<script>alert(1)</script>"), error=error)
    async with place.http.get(place.url + "/", headers=HTML) as reply:
        policy, text = reply.headers["Content-Security-Policy"], await reply.text()
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert not re.search(r"<(script|em|i)>", text)
    assert "&lt;em&gt;E&lt;/em&gt;" in text
    # everything a page loads is there, and allowed
    for address in re.findall(r'<link rel="stylesheet" href="([^"]+)"', text):
        async with place.http.get(place.url + address) as reply:
            assert (reply.status, reply.content_type) == (200, "text/css")


def test_the_error_page_shows_traceback_logs_and_the_way_to_the_record() -> None:
    from microlam.admin.pages import error_page
    invocation = Invocation(id="0193583e", arn=function_arn("shop"), payload=b"{}", cause="http", queued_at=NOON, summary="GET /orders/7")
    error = {"errorType": "KeyError", "errorMessage": "'<total>'", "stackTrace": ['  File "app.py", line 3, in handler\n    return order["total"]\n']}
    text = error_page(Outcome(status="failed", payload=json.dumps(error).encode(), logs=b"order <7>\xff\n", started_at=NOON, duration=0.0031), invocation)
    for words in ("KeyError: &#39;&lt;total&gt;&#39;", "File &#34;app.py&#34;, line 3, in handler", "order &lt;7&gt;", "GET /orders/7 → 500", "3.1 ms",
                  'href="/_microlam/invocations/0193583e.json"'):
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
