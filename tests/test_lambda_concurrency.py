"""Reserved and provisioned concurrency, over the API, against real workers."""
from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, refused, until
from tests.lambdas import ARN, create, running, told

# Says which worker it is and how that began; waits while there is a file called `hold`.
WORKER = """
import os, time
def handler(event, context):
    if event.get("hold"):
        open(event["hold"] + ".held", "w").close()
        while os.path.exists(event["hold"]):
            time.sleep(0.005)
    if event.get("exit"):
        os._exit(1)
    return [os.getpid(), os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
"""
OVER = (429, "TooManyRequestsException", "Rate Exceeded.")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("served") / "functions", {})


@pytest.fixture
def client(server: Server) -> Any:
    return server.client()


def ran(client: Any, name: str, qualifier: str = "$LATEST", **event: Any) -> Any:
    answer = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())


def ready(client: Any, name: str, qualifier: str) -> Any:
    """A provision once it is no longer in progress."""
    def look() -> Any:
        found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        return found if found["Status"] != "IN_PROGRESS" else None
    return until(look, "for workers")


def published(client: Any, name: str, code: str = WORKER, **members: Any) -> None:
    create(client, name, code, Publish=True, Timeout=20, **members)


# ---- reserved --------------------------------------------------------------------------------------------------------

def test_a_reserve_of_none_blocks_a_function_until_it_is_taken_back(client: Any, server: Server) -> None:
    create(client, "blocked", WORKER)
    assert told(client.get_function_concurrency(FunctionName="blocked")) == {}
    assert told(client.put_function_concurrency(FunctionName="blocked", ReservedConcurrentExecutions=0)) == {"ReservedConcurrentExecutions": 0}

    assert refused(client.invoke, FunctionName="blocked") == OVER
    client.invoke(FunctionName="blocked", InvocationType="Event", Payload=b'{"later": true}')
    until(lambda: server.invocations(function="blocked", status="pending"), "for the accepted one")
    client.delete_function_concurrency(FunctionName="blocked")

    [kept] = until(lambda: server.invocations(function="blocked", status="succeeded"), "for what was put off")
    assert server.invocation(kept["id"])["event"] == {"later": True}
    assert "Concurrency" not in client.get_function(FunctionName="blocked")


def test_nobody_waits_for_a_reserve_that_is_used_up(client: Any, tmp_path: Path) -> None:
    create(client, "scarce", WORKER, Timeout=20)
    client.put_function_concurrency(FunctionName="scarce", ReservedConcurrentExecutions=1)
    hold = tmp_path / "hold"
    hold.touch()
    holder = threading.Thread(target=lambda: ran(client, "scarce", hold=str(hold)))
    holder.start()
    until(lambda: Path(f"{hold}.held").exists(), "for the one that holds the reserve")

    assert refused(client.invoke, FunctionName="scarce") == OVER
    hold.unlink()
    holder.join()
    assert ran(client, "scarce")[1] == "on-demand"


def test_an_account_keeps_some_concurrency_unreserved(client: Any, server: Server) -> None:
    create(client, "greedy")
    sentence = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    assert refused(client.put_function_concurrency, FunctionName="greedy", ReservedConcurrentExecutions=901)[2] == sentence
    client.put_function_concurrency(FunctionName="greedy", ReservedConcurrentExecutions=800)
    client.put_function_concurrency(FunctionName="greedy", ReservedConcurrentExecutions=850)
    create(server.client(), "second")
    assert refused(client.put_function_concurrency, FunctionName="second", ReservedConcurrentExecutions=60)[2] == sentence
    client.delete_function_concurrency(FunctionName="greedy")
    assert refused(client.put_function_concurrency, FunctionName="nobody", ReservedConcurrentExecutions=1)[2] == f"Function not found: {ARN}nobody"


# ---- provisioned -----------------------------------------------------------------------------------------------------

def test_provisioned_workers_are_started_ahead_and_kept(client: Any, server: Server) -> None:
    published(client, "ready")
    put = client.put_provisioned_concurrency_config(FunctionName="ready", Qualifier="1", ProvisionedConcurrentExecutions=2)
    assert (put["Status"], put["AllocatedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 0)
    found = ready(client, "ready", "1")
    assert [found[f"{name}ProvisionedConcurrentExecutions"] for name in ("Requested", "Allocated", "Available")] == [2, 2, 2]
    assert found["Status"] == "READY"

    _, how = ran(client, "ready", "1")
    assert how == "provisioned-concurrency"
    [record] = server.ended(1, function="ready")
    assert record["cold"] is False      # it was imported before anybody asked
    assert ran(client, "ready")[1] == "on-demand"

    client.invoke(FunctionName="ready", Qualifier="1", Payload=b'{"exit": true}')
    os.kill(ran(client, "ready", "1")[0], signal.SIGKILL)
    assert {how for _, how in [ran(client, "ready", "1") for _ in range(5)]} == {"provisioned-concurrency"}

    client.delete_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")
    until(lambda: ran(client, "ready", "1")[1] == "on-demand", "for the end of the workers")
    assert refused(client.get_provisioned_concurrency_config, FunctionName="ready", Qualifier="1")[:2] == (404, "ProvisionedConcurrencyConfigNotFoundException")


def test_more_than_is_provisioned_runs_on_demand(client: Any, tmp_path: Path) -> None:
    published(client, "spilling")
    client.put_provisioned_concurrency_config(FunctionName="spilling", Qualifier="1", ProvisionedConcurrentExecutions=1)
    ready(client, "spilling", "1")
    hold = tmp_path / "hold"
    hold.touch()
    first: list[Any] = []
    holder = threading.Thread(target=lambda: first.append(ran(client, "spilling", "1", hold=str(hold))))
    holder.start()
    until(lambda: Path(f"{hold}.held").exists(), "for the one that holds the worker")
    assert ran(client, "spilling", "1")[1] == "on-demand"
    hold.unlink()
    holder.join()
    assert first[0][1] == "provisioned-concurrency"


def test_code_that_does_not_import_cannot_be_provisioned(client: Any) -> None:
    published(client, "unready", "raise RuntimeError('no')")
    client.put_provisioned_concurrency_config(FunctionName="unready", Qualifier="1", ProvisionedConcurrentExecutions=1)
    found = ready(client, "unready", "1")
    assert (found["Status"], found["StatusReason"], found["AllocatedProvisionedConcurrentExecutions"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE", 0)


def test_workers_of_an_alias_follow_it(client: Any) -> None:
    published(client, "followed")
    client.update_function_configuration(FunctionName="followed", Description="two")
    client.publish_version(FunctionName="followed")
    client.create_alias(FunctionName="followed", Name="live", FunctionVersion="1")
    client.put_provisioned_concurrency_config(FunctionName="followed", Qualifier="live", ProvisionedConcurrentExecutions=2)
    ready(client, "followed", "live")
    assert ran(client, "followed", "live")[1] == "provisioned-concurrency"
    assert ran(client, "followed", "1")[1] == "on-demand"
    assert refused(client.put_provisioned_concurrency_config, FunctionName="followed", Qualifier="1", ProvisionedConcurrentExecutions=1)[0] == 400

    client.update_alias(FunctionName="followed", Name="live", FunctionVersion="2")
    assert ready(client, "followed", "live")["Status"] == "READY"
    answer = client.invoke(FunctionName="followed", Qualifier="live")
    assert (answer["ExecutedVersion"], json.loads(answer["Payload"].read())[1]) == ("2", "provisioned-concurrency")

    listed = client.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName="followed", PaginationConfig={"PageSize": 1})
    assert [config["FunctionArn"] for page in listed for config in page["ProvisionedConcurrencyConfigs"]] == [ARN + "followed:live"]


def test_a_reserve_holds_provisioned_workers_too(client: Any) -> None:
    published(client, "both")
    client.put_provisioned_concurrency_config(FunctionName="both", Qualifier="1", ProvisionedConcurrentExecutions=2)
    ready(client, "both", "1")
    assert refused(client.put_function_concurrency, FunctionName="both", ReservedConcurrentExecutions=1)[2] == (
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].")
    client.put_function_concurrency(FunctionName="both", ReservedConcurrentExecutions=2)
    assert refused(client.invoke, FunctionName="both") == OVER
    assert ran(client, "both", "1")[1] == "provisioned-concurrency"
    assert refused(client.put_provisioned_concurrency_config, FunctionName="both", Qualifier="1", ProvisionedConcurrentExecutions=3)[2] == (
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function")


@pytest.mark.parametrize(("call", "qualifier", "status", "says"), [
    ("put", "$LATEST", 400, "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
    ("get", "$LATEST", 400, "The function resource provided must be an alias or a published version."),
    ("delete", "none", 404, f"Cannot find alias arn: {ARN}plain:none"),
    ("get", "9", 404, f"Function not found: {ARN}plain:9"),
])
def test_what_cannot_be_provisioned_is_told_in_awss_words(client: Any, call: str, qualifier: str, status: int, says: str) -> None:
    if is_missing(client, "plain"):
        create(client, "plain")
    members = {"ProvisionedConcurrentExecutions": 1} if call == "put" else {}
    found = refused(getattr(client, f"{call}_provisioned_concurrency_config"), FunctionName="plain", Qualifier=qualifier, **members)
    assert (found[0], found[2]) == (status, says)


def is_missing(client: Any, name: str) -> bool:
    return name not in [function["FunctionName"] for page in client.get_paginator("list_functions").paginate() for function in page["Functions"]]
