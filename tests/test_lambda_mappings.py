"""Event source mappings through real boto3: what each kind of source has, what is refused, and what becomes of a mapping."""
from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import Server, refused
from tests.lambdas import running

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:worker"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:jobs"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-11-24T00:00:00.000"
TOPIC = "arn:aws:kafka:us-east-1:000000000000:cluster/main/11111111-1111-1111-1111-111111111111-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    files = {f"{name}.py": "def handler(event, context): return 1\n" for name in ("worker", "other")}
    yield from running(tmp_path_factory.mktemp("functions"), files)


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A client that finds no mappings and leaves none."""
    client = server.client("lambda")
    yield client
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        client.delete_event_source_mapping(UUID=mapping["UUID"])


def refusal(call: Any, **params: Any) -> str:
    return refused(call, **params)[2]


def told(reply: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reply.items() if name not in ("ResponseMetadata", "LastModified", "UUID", "EventSourceMappingArn")}


def test_a_queue_has_what_queues_have(client: Any) -> None:
    made = client.create_event_source_mapping(FunctionName="worker", EventSourceArn=QUEUE)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert made["EventSourceMappingArn"] == f"arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{made['UUID']}"
    assert told(made) == {
        "BatchSize": 10, "EventSourceArn": QUEUE, "FunctionArn": FUNCTION, "FunctionResponseTypes": [], "MaximumBatchingWindowInSeconds": 0,
        "State": "Creating", "StateTransitionReason": "USER_INITIATED",
    }
    assert told(client.get_event_source_mapping(UUID=made["UUID"])) == {**told(made), "State": "Enabled"}


def test_a_stream_has_what_streams_have(client: Any) -> None:
    made = client.create_event_source_mapping(FunctionName="worker", EventSourceArn=TABLE, StartingPosition="LATEST", FilterCriteria={"Filters": []})
    assert told(made) == {
        "BatchSize": 100, "BisectBatchOnFunctionError": False, "DestinationConfig": {"OnFailure": {}}, "EventSourceArn": TABLE, "FunctionArn": FUNCTION,
        "FunctionResponseTypes": [], "LastProcessingResult": "No records processed", "MaximumBatchingWindowInSeconds": 0, "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1, "ParallelizationFactor": 1, "StartingPosition": "LATEST", "State": "Creating", "StateTransitionReason": "User action",
        "TumblingWindowInSeconds": 0,
    }
    at = datetime(2026, 11, 24, 6, tzinfo=UTC)
    since = client.create_event_source_mapping(FunctionName="worker", EventSourceArn=STREAM, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=at)
    assert client.get_event_source_mapping(UUID=since["UUID"])["StartingPositionTimestamp"] == at


def test_a_kafka_topic_keeps_how_its_brokers_are_reached(client: Any) -> None:
    access = [{"Type": "SASL_SCRAM_512_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:000000000000:secret:kafka"}]
    made = client.create_event_source_mapping(FunctionName="worker", EventSourceArn=TOPIC, Topics=["orders"], StartingPosition="TRIM_HORIZON",
                                              SourceAccessConfigurations=access)
    found = client.get_event_source_mapping(UUID=made["UUID"])
    assert (found["Topics"], found["SourceAccessConfigurations"], found["BatchSize"]) == (["orders"], access, 100)
    brokers = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a:9092"]}}
    own = client.create_event_source_mapping(FunctionName="worker", SelfManagedEventSource=brokers, Topics=["orders"], StartingPosition="LATEST")
    assert own["SelfManagedEventSource"] == brokers
    assert own["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": own["UUID"]}
    assert "EventSourceArn" not in own


def test_an_update_changes_what_it_names_and_nothing_else(client: Any) -> None:
    pattern = {"Filters": [{"Pattern": '{"body": {"kind": ["a", {"prefix": "b"}]}}'}]}
    made = client.create_event_source_mapping(FunctionName="worker", EventSourceArn=QUEUE, FilterCriteria=pattern, ScalingConfig={"MaximumConcurrency": 5})
    changed = client.update_event_source_mapping(UUID=made["UUID"], BatchSize=100, MaximumBatchingWindowInSeconds=5, FunctionName="other")
    assert (changed["State"], changed["BatchSize"], changed["FilterCriteria"], changed["ScalingConfig"]) == (
        "Updating", 100, pattern, {"MaximumConcurrency": 5})
    assert changed["FunctionArn"].endswith(":other")
    assert client.update_event_source_mapping(UUID=made["UUID"], Enabled=False, FilterCriteria={})["State"] == "Disabling"
    found = client.get_event_source_mapping(UUID=made["UUID"])
    assert (found["State"], found["BatchSize"]) == ("Disabled", 100)
    assert "FilterCriteria" not in found
    assert client.update_event_source_mapping(UUID=made["UUID"], Enabled=True)["State"] == "Enabling"
    assert client.delete_event_source_mapping(UUID=made["UUID"])["State"] == "Deleting"
    for call in (client.get_event_source_mapping, client.update_event_source_mapping, client.delete_event_source_mapping):
        assert refusal(call, UUID=made["UUID"]) == "The resource you requested does not exist."


@pytest.mark.parametrize(("params", "text"), [
    ({"FunctionName": "none"}, "Unrecognized event source."),
    ({"EventSourceArn": "arn:aws:s3:::bucket"}, "Unrecognized event source."),
    ({"FunctionName": "none", "EventSourceArn": QUEUE}, "Function does not exist"),
    ({"FunctionName": "worker:live", "EventSourceArn": QUEUE}, "Function does not exist"),
    ({"EventSourceArn": STREAM}, "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."),
    ({"EventSourceArn": TABLE, "StartingPosition": "AT_TIMESTAMP"}, f"Unsupported starting position for arn type: {TABLE}"),
    ({"EventSourceArn": QUEUE, "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}},
     "Unsupported DestinationConfig parameter for given event source mapping type."),
    ({"EventSourceArn": QUEUE, "ParallelizationFactor": 2}, "Unsupported ParallelizationFactor parameter for given event source mapping type."),
    ({"EventSourceArn": QUEUE, "FilterCriteria": {"Filters": [{"Pattern": '{"a": "b"}'}]}}, "Invalid filter pattern definition."),
    ({"EventSourceArn": QUEUE, "FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, "Invalid filter pattern definition."),
    ({"EventSourceArn": QUEUE, "BatchSize": 11},
     "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"),
    ({"EventSourceArn": QUEUE + ".fifo", "MaximumBatchingWindowInSeconds": 1}, "Batching window is not supported for FIFO queues"),
])
def test_what_cannot_be_mapped_is_refused_as_aws_does(client: Any, params: dict[str, Any], text: str) -> None:
    assert refusal(client.create_event_source_mapping, **{"FunctionName": "worker", **params}) == text


def test_a_source_and_a_function_are_mapped_once(client: Any) -> None:
    uuid = client.create_event_source_mapping(FunctionName="worker", EventSourceArn=QUEUE)["UUID"]
    assert refusal(client.create_event_source_mapping, FunctionName=FUNCTION, EventSourceArn=QUEUE) == (
        f'An event source mapping with SQS arn (" {QUEUE} ") and function (" worker ") already exists. '
        f"Please update or delete the existing mapping with UUID {uuid}")
    client.create_event_source_mapping(FunctionName="other", EventSourceArn=QUEUE)


def test_lists_are_narrowed_and_come_page_by_page(server: Server, client: Any) -> None:
    for number in range(4):
        client.create_event_source_mapping(FunctionName="worker" if number % 2 else "other", EventSourceArn=f"{QUEUE}{number}", Tags={"number": str(number)})
    pages = list(client.get_paginator("list_event_source_mappings").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["EventSourceMappings"]) for page in pages] == [3, 1]
    assert len({mapping["UUID"] for page in pages for mapping in page["EventSourceMappings"]}) == 4
    assert len(client.list_event_source_mappings(FunctionName="worker")["EventSourceMappings"]) == 2
    only = client.list_event_source_mappings(FunctionName=FUNCTION, EventSourceArn=QUEUE + "1")["EventSourceMappings"]
    assert [client.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"] for mapping in only] == [{"number": "1"}]
    assert server.client("lambda", region_name="eu-west-1").list_event_source_mappings()["EventSourceMappings"] == []
