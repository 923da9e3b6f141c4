"""The sample functions, each served and used as README says, by one server over a copy of their folder."""
from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Server, start, until

SAMPLES = Path(__file__).parent.parent / "sample_functions"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("samples") / "sample_functions"
    shutil.copytree(SAMPLES, folder, ignore=shutil.ignore_patterns(".microlam", "__pycache__", "thumbnails/*.jpg"))
    server = start(folder)
    yield server
    server.stop(signal.SIGKILL)


def post(server: Server, path: str, body: object) -> Any:
    return server.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})


def test_all_of_them_are_functions_without_a_word_of_complaint(samples: Server) -> None:
    health = samples.health
    assert health["functions"] == ["audit", "fetcher", "hello", "nightly", "shop", "thumbnails"]
    assert (health["errors"], health["warnings"]) == ([], [])


def test_hello_greets_by_name(samples: Server) -> None:
    assert samples.get("/hello").json() == {"message": "Hello, world!"}
    assert samples.get("/hello?name=Ada").json() == {"message": "Hello, Ada!"}


def test_the_shop_shows_and_sells(samples: Server) -> None:
    assert samples.get("/products").json()["tea"]["cents"] == 640
    assert samples.get("/products/cup").json() == {"name": "Cup, white", "cents": 1250}
    assert samples.get("/products/moon").status == 404
    sold = post(samples, "/orders", {"tea": 2, "cup": 1})
    assert (sold.status, sold.json()["total"]) == (201, 2530)


@pytest.mark.parametrize("order", [{}, [], {"moon": 1}, {"tea": 0}, {"tea": "two"}, {"tea": True}])
def test_the_shop_refuses_what_it_cannot_sell(samples: Server, order: object) -> None:
    refused = post(samples, "/orders", order)
    assert refused.status == 400
    assert refused.json()["message"]


def test_a_new_price_is_asked_for_at_the_next_request(samples: Server) -> None:
    catalogue = samples.folder / "shop" / "catalogue.py"
    catalogue.write_text(catalogue.read_text().replace("3900", "4900"))
    assert samples.get("/products/pot").json()["cents"] == 4900


def test_nightly_reports_on_the_day_before_it_was_due(samples: Server) -> None:
    fired = samples.request("POST", "/_microlam/functions/nightly/fire", b'{"time": "2026-03-29T02:00:00Z"}', {"Content-Type": "application/json"}).json()
    [invocation] = samples.ended(function="nightly")
    assert invocation["id"] == fired["id"]
    assert samples.invocation(fired["id"])["reply"] == {"report": "report-2026-03-28.txt"}
    [trigger] = next(each for each in samples.get("/_microlam/functions.json").json()["functions"] if each["name"] == "nightly")["triggers"]
    assert datetime.fromisoformat(trigger["next"]) > datetime.now(UTC)


def test_a_dropped_picture_gets_a_thumbnail_and_the_thumbnail_none(samples: Server) -> None:
    Image.new("RGBA", (640, 320), "#b4530a").save(samples.folder / "uploads" / "in" / "my photo.png")
    thumbnail = samples.folder / "uploads" / "thumbnails" / "my photo.jpg"
    [invocation] = samples.ended(function="thumbnails")
    assert (invocation["summary"], invocation["status"]) == ("uploads/in/my photo.png created", "succeeded"), samples.invocation(invocation["id"])
    with Image.open(thumbnail) as picture:
        assert (picture.format, picture.size) == ("JPEG", (160, 80))
    # a second one, after which the first's thumbnail would have had its turn
    Image.new("RGB", (10, 10)).save(samples.folder / "uploads" / "in" / "small.jpg")
    samples.ended(2, function="thumbnails")
    assert len(samples.invocations(function="thumbnails")) == 2


def test_the_fetcher_fetches_all_pages(samples: Server) -> None:
    fetched = samples.get("/fetcher").json()
    assert [answer.get("message", answer.get("name")) for answer in fetched["answers"]] == ["Hello, Ada!", "Hello, Grace!", "Darjeeling, 100 g"]
    assert samples.invocations(function="fetcher")[0]["status"] == "succeeded"


def test_audit_logs_json_lines(samples: Server) -> None:
    recorded = post(samples, "/audit", {"user": "ada", "action": "delete"}).json()["recorded"]
    logs = samples.invocation(recorded)["logs"]
    lines = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    assert [(line["level"], line["requestId"]) for line in lines] == [("INFO", recorded), ("WARNING", recorded)]
    assert lines[0]["entry"] == {"user": "ada", "action": "delete"}


@pytest.mark.parametrize(("path", "body", "status"), [("/orders", b'{"tea": 2}', 201), ("/orders", b"\xff", 400), ("/audit", b'{"user": "ada"}', 200)])
def test_bodies_may_come_as_curl_d_sends_them(samples: Server, path: str, body: bytes, status: int) -> None:
    assert samples.request("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"}).status == status


@pytest.mark.parametrize(("function", "event", "reply"), [
    ("hello", "hello.json", {"message": "Hello, Ada!"}),
    ("nightly", "nightly.json", {"report": "report-2026-03-28.txt"}),
])
def test_the_events_fit_their_functions(samples: Server, function: str, event: str, reply: object) -> None:
    payload = (samples.folder / "events" / event).read_bytes()
    answered = samples.client().invoke(FunctionName=function, Payload=payload)
    assert "FunctionError" not in answered
    assert json.load(answered["Payload"]) == reply


def test_the_order_event_is_sold_and_the_picture_event_finds_its_picture(samples: Server) -> None:
    Image.new("RGB", (400, 400)).save(samples.folder / "uploads" / "in" / "my photo.png")
    lam = samples.client()
    order = json.load(lam.invoke(FunctionName="shop", Payload=(samples.folder / "events" / "order.json").read_bytes())["Payload"])
    assert order["statusCode"] == 201
    picture = json.load(lam.invoke(FunctionName="thumbnails", Payload=(samples.folder / "events" / "picture.json").read_bytes())["Payload"])
    assert picture == {"made": ["thumbnails/my photo.jpg"]}
    until((samples.folder / "uploads" / "thumbnails" / "my photo.jpg").exists)


def test_the_async_sample_runs_where_async_handlers_are_not_awaited() -> None:
    source = (SAMPLES / "fetcher.py").read_text()
    names: dict[str, Any] = {"__name__": "fetcher"}
    exec(compile(source, "fetcher.py", "exec"), names)
    names["PAGES"] = []
    assert names["on_aws"]({}, None)["answers"] == []
