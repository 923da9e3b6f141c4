"""`microlam generate-event` prints what the sources send: powertools' models, which know AWS's, read all of it."""
from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayProxyEventV2Model,
    DynamoDBStreamModel,
    EventBridgeModel,
    KinesisDataStreamModel,
    S3Model,
    SnsModel,
    SqsModel,
)

from tests.conftest import environment


def generated(*arguments: str) -> Any:
    ran = subprocess.run([sys.executable, "-m", "microlam", "generate-event", *arguments], capture_output=True, text=True, env=environment())
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def refused(*arguments: str) -> str:
    ran = subprocess.run([sys.executable, "-m", "microlam", "generate-event", *arguments], capture_output=True, text=True, env=environment())
    assert (ran.returncode, ran.stdout) == (1, "")
    return ran.stderr


def test_a_request() -> None:
    event = generated("apigateway", "http-api-proxy", "--method", "POST", "--path", "/orders/7", "--query", "a=1", "--body", "{}", "--route", "ANY /orders/{id}")
    model = APIGatewayProxyEventV2Model.model_validate(event)
    assert (model.routeKey, model.rawPath, model.body, model.pathParameters, model.queryStringParameters) == \
        ("ANY /orders/{id}", "/orders/7", "{}", {"id": "7"}, {"a": "1"})
    assert "FOO is not the method of a request; use one of GET, HEAD," in refused("apigateway", "http-api-proxy", "--method", "foo")
    assert "ANY is not the method" in refused("apigateway", "http-api-proxy", "--method", "ANY")
    assert "The path 'nope' does not begin with a slash; write /nope" in refused("apigateway", "http-api-proxy", "--path", "nope")
    assert "/a is not a request of the route" in refused("apigateway", "http-api-proxy", "--path", "/a", "--route", "GET /b")


def test_a_schedules_turn() -> None:
    event = generated("cloudwatch", "scheduled-event", "--time", "2026-03-29T02:30+01:00", "--rule", "nightly-1")
    model = EventBridgeModel.model_validate(event)
    assert (event["time"], model.resources) == ("2026-03-29T01:30:00Z", ["arn:aws:events:us-east-1:000000000000:rule/nightly-1"])
    assert "'noon' is not an instant" in refused("cloudwatch", "scheduled-event", "--time", "noon")


@pytest.mark.parametrize(("kind", "name"), [("put", "ObjectCreated:Put"), ("delete", "ObjectRemoved:Delete")])
def test_an_object(kind: str, name: str) -> None:
    [record] = S3Model.model_validate(generated("s3", kind, "--bucket", "uploads", "--key", "in/my photo.png", "--region", "eu-west-1")).Records
    assert record.s3.object
    assert (record.eventName, record.s3.bucket.name, record.s3.object.key, record.awsRegion) == (name, "uploads", "in/my+photo.png", "eu-west-1")


def test_a_message() -> None:
    event = generated("sqs", "receive-message", "--body", '{"order": 7}', "--queue", "orders")
    [record] = SqsModel.model_validate(event).Records
    assert (record.body, record.eventSourceARN, record.md5OfBody) == \
        ('{"order": 7}', "arn:aws:sqs:us-east-1:000000000000:orders", "7fa20081ee1217af020c02f44b6a3f91")
    assert set(event["Records"][0]["attributes"]) == {"ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"}


def test_a_notification() -> None:
    [record] = SnsModel.model_validate(generated("sns", "notification", "--message", "eins", "--subject", "zwei", "--topic", "news")).Records
    assert (record.Sns.Message, record.Sns.Subject, record.Sns.TopicArn) == ("eins", "zwei", "arn:aws:sns:us-east-1:000000000000:news")


def test_a_record_of_a_stream() -> None:
    [record] = KinesisDataStreamModel.model_validate(generated("kinesis", "get-records", "--data", "eins", "--partition-key", "k")).Records
    assert (record.kinesis.data, record.kinesis.partitionKey, record.eventSourceARN) == \
        (b"eins", "k", "arn:aws:kinesis:us-east-1:000000000000:stream/my-stream")


@pytest.mark.parametrize(("change", "images"), [("INSERT", (True, False)), ("MODIFY", (True, True)), ("REMOVE", (False, True))])
def test_a_change_of_a_table(change: str, images: tuple[bool, bool]) -> None:
    event = generated("dynamodb", "update", "--change", change, "--new", '{"Id": {"N": "1"}}', "--table", "orders")
    [record] = DynamoDBStreamModel.model_validate(event).Records
    found = event["Records"][0]["dynamodb"]
    assert (record.eventName, ("NewImage" in found, "OldImage" in found)) == (change, images)
    assert "'CHANGED' is not a change of a table; it is INSERT, MODIFY or REMOVE" in refused("dynamodb", "update", "--change", "CHANGED")
    assert "is not an item" in refused("dynamodb", "update", "--keys", "[")
