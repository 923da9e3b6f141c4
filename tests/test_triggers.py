"""Who listens to what, and the events that time and files make."""
from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote_plus

import pytest
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel, S3Model

from microlam.events.s3 import DELETE, PUT, s3_event
from microlam.events.schedule import rule_arn, scheduled_event
from microlam.model import Drop, Route, Schedule, Trigger, function_arn
from microlam.triggers import Triggers

THUMBS, NIGHTLY = function_arn("thumbs", account="111111111111"), function_arn("nightly", "eu-west-1", "222222222222")


EVERYTHING = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")


def drop(bucket: str = "uploads", *, prefix: str = "", suffix: str = "", target: str = THUMBS, enabled: bool = True,
         events: tuple[str, ...] = EVERYTHING) -> Trigger:
    return Trigger(target=target, when=Drop(bucket=bucket, prefix=prefix, suffix=suffix, events=events), enabled=enabled)


# ---- the table -------------------------------------------------------------------------------------------------------

def test_a_function_s_triggers_are_replaced_as_a_whole() -> None:
    triggers = Triggers()
    triggers.replace(THUMBS, [drop(), Trigger(target=THUMBS, when=Schedule(expression="rate(1 hour)"))])
    triggers.replace(NIGHTLY, [Trigger(target=NIGHTLY, when=Schedule(expression="rate(1 day)"))])
    triggers.replace(THUMBS, [drop(bucket="photos")])

    assert [str(trigger.when) for trigger in triggers.all()] == ["rate(1 day)", "photos/*"]
    assert [trigger.target for trigger in triggers.schedules()] == [NIGHTLY]
    assert (len(triggers.drops()), len(triggers.drops("photos")), len(triggers.drops("uploads"))) == (1, 1, 0)

    triggers.replace(THUMBS, [])
    assert [trigger.target for trigger in triggers.all()] == [NIGHTLY]


def test_who_subscribed_hears_of_changes_and_of_nothing_else() -> None:
    triggers, changed = Triggers(), asyncio.Event()
    triggers.subscribe(changed)
    triggers.replace(THUMBS, [drop()])
    assert changed.is_set()

    changed.clear()
    triggers.replace(THUMBS, [drop()])
    triggers.replace(NIGHTLY, [])
    assert not changed.is_set()

    triggers.replace(THUMBS, [])
    assert changed.is_set()


def test_the_routes_are_made_once_a_change() -> None:
    triggers = Triggers()
    triggers.replace(THUMBS, [Trigger(target=THUMBS, when=Route(method="GET", path="/a"))])
    before = triggers.routes
    assert triggers.routes is before

    triggers.replace(THUMBS, [Trigger(target=THUMBS, when=Route(method="GET", path="/b"))])

    assert (before.match("GET", "/b"), triggers.routes.match("GET", "/a")) == (None, None)
    assert triggers.routes.match("GET", "/b") is not None


@pytest.mark.parametrize(("key", "event", "told"), [
    ("in/a.png", PUT, True), ("in/a.png", DELETE, True), ("in/b/a.png", PUT, True),
    ("a.png", PUT, False), ("in/a.jpg", PUT, False), ("In/a.png", PUT, False),
])
def test_a_drop_is_told_of_keys_with_its_prefix_and_suffix(key: str, event: str, told: bool) -> None:
    triggers = Triggers()
    triggers.replace(THUMBS, [drop(prefix="in/", suffix=".png")])
    assert bool(triggers.drops_for("uploads", key, event)) is told
    assert not triggers.drops_for("elsewhere", key, event)


@pytest.mark.parametrize(("events", "put", "removed"), [
    (("s3:ObjectCreated:*",), True, False), (("s3:ObjectRemoved:*",), False, True), (("s3:ObjectCreated:Put",), True, False),
    (("s3:ObjectCreated:Copy",), False, False), (("s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"), True, True),
])
def test_a_drop_is_told_of_the_events_it_names(events: tuple[str, ...], put: bool, removed: bool) -> None:
    triggers = Triggers()
    triggers.replace(THUMBS, [drop(events=events)])
    assert (bool(triggers.drops_for("uploads", "a", PUT)), bool(triggers.drops_for("uploads", "a", DELETE))) == (put, removed)


def test_one_target_is_told_once_and_a_paused_trigger_not_at_all() -> None:
    triggers = Triggers()
    triggers.replace(THUMBS, [drop(prefix="a"), drop(suffix=".png"), drop(suffix=".png", target=f"{THUMBS}:live")])
    triggers.replace(NIGHTLY, [drop(target=NIGHTLY, enabled=False)])
    assert [trigger.target for trigger in triggers.drops_for("uploads", "a.png", PUT)] == [THUMBS, f"{THUMBS}:live"]


# ---- the events ------------------------------------------------------------------------------------------------------

def test_a_scheduled_event_is_eventbridge_s() -> None:
    due = datetime(2026, 3, 29, 4, 0, 0, 5, timezone(timedelta(hours=2)))
    event = scheduled_event(rule_arn(NIGHTLY, 1), due, "6a7e8feb-b491-4cf7-a9f1-bf3703467718", "eu-west-1", "222222222222")

    model = EventBridgeModel.model_validate_json(json.dumps(event))
    assert (model.detail_type, model.source, model.account, model.region, model.detail) == ("Scheduled Event", "aws.events", "222222222222", "eu-west-1", {})
    assert event["time"] == "2026-03-29T02:00:00Z"
    assert event["resources"] == ["arn:aws:events:eu-west-1:222222222222:rule/nightly-1"]
    assert list(event) == ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]


def put_event(key: str) -> dict[str, object]:
    return s3_event(
        bucket="uploads", key=key, name=PUT, time=datetime(2026, 11, 23, 6, 0, 0, 123_456, UTC), sequencer="0018C5", request_id="r", region="eu-west-1",
        account="111111111111", configuration_id="c", size=3, etag="900150983cd24fb0d6963f7d28e17f72",
    )


@pytest.mark.parametrize(("key", "encoded"), [
    ("in/a.png", "in/a.png"), ("a b.png", "a+b.png"), ("a+b.png", "a%2Bb.png"), ("bild (1) ä.png", "bild+%281%29+%C3%A4.png"), ("50%&=.txt", "50%25%26%3D.txt"),
])
def test_a_key_is_encoded_as_s3_does(key: str, encoded: str) -> None:
    record = S3Model.model_validate_json(json.dumps(put_event(key))).Records[0]
    assert record.s3.object is not None
    assert record.s3.object.key == encoded
    assert unquote_plus(encoded) == key


def test_a_put_event_is_s3_s() -> None:
    event = put_event("a.png")
    record = S3Model.model_validate_json(json.dumps(event)).Records[0]
    assert (record.eventVersion, record.eventSource, record.awsRegion, record.eventName) == ("2.1", "aws:s3", "eu-west-1", "ObjectCreated:Put")
    assert '"eventTime": "2026-11-23T06:00:00.123Z"' in json.dumps(event)
    assert (record.s3.bucket.name, record.s3.bucket.arn) == ("uploads", "arn:aws:s3:::uploads")
    assert record.s3.object is not None
    assert (record.s3.object.size, record.s3.object.eTag, record.s3.object.versionId) == (3, "900150983cd24fb0d6963f7d28e17f72", None)


def test_a_removed_object_has_neither_size_nor_etag() -> None:
    event = s3_event(bucket="uploads", key="a b", name=DELETE, time=datetime(2026, 11, 23, tzinfo=UTC), sequencer="0018C6", request_id="r",
                     region="eu-west-1", account="111111111111", configuration_id="c")
    record = S3Model.model_validate_json(json.dumps(event)).Records[0]
    assert record.eventName == "ObjectRemoved:Delete"
    assert json.loads(json.dumps(event))["Records"][0]["s3"]["object"] == {"key": "a+b", "sequencer": "0018C6"}
