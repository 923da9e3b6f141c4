"""Tests of these functions, written with microlam's testing kit: the fixture `microlam` is a fresh instance, with handlers in this very process.

    pytest sample_functions/tests
"""
import io

import boto3
import pytest
from PIL import Image


def test_hello_greets_by_name_and_says_so_in_its_log(microlam):
    assert microlam.http.get("/hello", params={"name": "Ada"}).json() == {"message": "Hello, Ada!"}
    [greeting] = microlam.invocations("hello")
    assert "greeting Ada" in greeting.logs
    assert greeting.cold


def test_an_order_has_its_price(microlam):
    reply = microlam.http.post("/orders", json={"tea": 2, "cup": 1})
    assert (reply.status, reply.json()["total"]) == (201, 2530)


@pytest.mark.parametrize("order", [{}, {"moon": 1}, {"tea": 0}])
def test_an_order_that_cannot_be_is_refused(microlam, order):
    assert microlam.http.post("/orders", json=order).status == 400


@pytest.mark.microlam(at="2026-03-28T12:00:00+01:00")
def test_nightly_runs_at_four_in_berlin_in_winter_and_in_summer(microlam):
    microlam.clock.advance(days=3)      # on the 29th the clocks go forward
    assert [night.event["time"] for night in microlam.invocations("nightly")] == [
        "2026-03-29T02:00:00Z", "2026-03-30T02:00:00Z", "2026-03-31T02:00:00Z",
    ]


def test_a_report_that_is_made_late_is_of_the_day_before_it_was_due(microlam):
    microlam.events.schedule("nightly", at="2026-03-29T02:30+01:00")
    microlam.settled()
    assert microlam.invocations("nightly")[0].reply == {"report": "report-2026-03-28.txt"}


def test_a_picture_gets_a_thumbnail(microlam):
    picture = io.BytesIO()
    Image.new("RGB", (640, 320), "#b4530a").save(picture, "PNG")
    microlam.events.s3_put("uploads", "in/my photo.png", picture.getvalue())
    microlam.settled()
    [made] = microlam.invocations("thumbnails")     # one: the thumbnail itself starts nothing
    assert made.reply == {"made": ["thumbnails/my photo.jpg"]}
    with Image.open(microlam.bucket("uploads") / "thumbnails" / "my photo.jpg") as thumbnail:
        assert thumbnail.size == (160, 80)


def test_an_audit_entry_names_its_record_and_warns_of_what_was_deleted(microlam):
    reply = microlam.http.post("/audit", json={"user": "ada", "action": "delete"})
    [record] = microlam.invocations("audit")
    assert reply.json() == {"recorded": record.id}
    assert "something was deleted" in record.logs


@pytest.mark.asyncio
async def test_the_fetcher_has_all_pages_at_once(microlam_async):
    fetched = (await microlam_async.lambda_.invoke("fetcher")).value
    assert [answer.get("message", answer.get("name")) for answer in fetched["answers"]] == ["Hello, Ada!", "Hello, Grace!", "Darjeeling, 100 g"]


def test_an_event_that_microlam_generates_fits(microlam):
    outcome = microlam.events.send("shop", "apigateway", "http-api-proxy", path="/products/tea", route="GET /products/{id}")
    assert outcome.value == {"name": "Darjeeling, 100 g", "cents": 640}


@pytest.mark.microlam(executor="processes")     # a worker of its own, as in `microlam dev`
def test_boto3_finds_the_functions(microlam):
    reply = boto3.client("lambda").invoke(FunctionName="hello", Payload=b"{}")
    assert reply["Payload"].read() == b'{"message": "Hello, world!"}'
