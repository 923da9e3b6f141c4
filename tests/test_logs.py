"""CloudWatch Logs over the wire: what functions printed, by group and stream, paged, searched and followed."""
from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from microlam.model import Invocation, Outcome, function_arn, new_id
from microlam.resources.logs import LAST, LogEvent, LogGroup, LogGroups, Search, microseconds
from microlam.store import LogPlace, Store
from tests.conftest import Serve, Server, environment, refused, start, until, write

GROUP = "/aws/lambda/hello"
HELLO = """
    import logging, time
    def handler(event, context):
        print("printed", event["n"])
        logging.error("logged %s", event["n"])
        if event.get("fail"):
            raise ValueError("on purpose")
        time.sleep(event.get("sleep", 0))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server whose function `hello` has run five times, and then failed."""
    folder = tmp_path_factory.mktemp("functions")
    write(folder, {"hello.py": HELLO, "quiet.py": "def handler(event, context): pass"})
    server = start(folder)
    for number in range(5):
        invoke(server, n=number)
    invoke(server, n=5, fail=True)
    yield server
    server.stop(signal.SIGKILL)


def invoke(server: Server, name: str = "hello", **event: Any) -> Any:
    return server.client().invoke(FunctionName=name, Payload=json.dumps(event))


def messages(page: Any) -> list[str]:
    return [event["message"] for event in page["events"]]


# ---- groups and streams ----------------------------------------------------------------------------------------------

def test_a_function_that_has_run_has_a_group_and_a_stream_for_each_worker(server: Server) -> None:
    logs = server.client("logs")
    [group] = logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
    assert (group["arn"], group["logGroupArn"], group["logGroupClass"], "retentionInDays" in group) == (f"{arn}:*", arn, "STANDARD", False)
    assert group["storedBytes"] > 1000
    assert [group["logGroupName"] for group in logs.describe_log_groups(logGroupNamePattern="quiet")["logGroups"]] == []   # it has not run
    [stream] = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    assert stream["logStreamName"].startswith(f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]")
    assert group["creationTime"] == stream["creationTime"] == stream["firstEventTimestamp"] <= stream["lastEventTimestamp"] == stream["lastIngestionTime"]
    assert stream["arn"] == f"{arn}:log-stream:{stream['logStreamName']}"


def test_groups_are_created_kept_and_deleted(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    logs = server.client("logs")
    for name in ("/my/app", GROUP, "a", "b", "c"):
        logs.create_log_group(logGroupName=name, tags={"team": name[-1]})
    assert refused(logs.create_log_group, logGroupName="a") == (400, "ResourceAlreadyExistsException", "The specified log group already exists")
    pages = list(logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2}))
    assert [[group["logGroupName"] for group in page["logGroups"]] for page in pages] == [[GROUP, "/my/app"], ["a", "b"], ["c"]]

    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=30)
    logs.tag_resource(resourceArn=f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}", tags={"more": "yes"})
    invoke(server, n=1)
    assert refused(logs.create_log_group, logGroupName=GROUP)[1] == "ResourceAlreadyExistsException"
    server.stop(signal.SIGKILL)
    server = serve({})
    logs = server.client("logs")
    [group] = logs.describe_log_groups(logGroupIdentifiers=[GROUP])["logGroups"]
    assert group["retentionInDays"] == 30
    assert logs.list_tags_for_resource(resourceArn=group["logGroupArn"])["tags"] == {"team": "o", "more": "yes"}
    assert "printed 1\n" in messages(logs.filter_log_events(logGroupName=GROUP))
    logs.delete_retention_policy(logGroupName=GROUP)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"][0]

    logs.delete_log_group(logGroupName=GROUP)
    missing = (400, "ResourceNotFoundException", "The specified log group does not exist.")
    assert refused(logs.filter_log_events, logGroupName=GROUP) == refused(logs.delete_log_group, logGroupName=GROUP) == missing
    assert len(server.ended(1, function="hello")) == 1      # the record has it still
    invoke(server, n=2)
    assert [text for text in messages(logs.filter_log_events(logGroupName=GROUP)) if text.startswith("printed")] == ["printed 2\n"]


def test_retention_takes_only_awss_numbers(server: Server) -> None:
    _, code, text = refused(server.client("logs").put_retention_policy, logGroupName=GROUP, retentionInDays=2)
    assert code == "InvalidParameterException"
    assert text.startswith("1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [1, 3,")


def test_what_is_not_there_or_not_allowed_is_said_in_awss_words(server: Server) -> None:
    logs = server.client("logs")
    assert refused(logs.get_log_events, logGroupName=GROUP, logStreamName="none") == (
        400, "ResourceNotFoundException", "The specified log stream does not exist.",
    )
    _, code, text = refused(logs.describe_log_streams, logGroupName="a b")
    assert (code, text) == ("InvalidParameterException", "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: "
                                                         "Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+")
    for call, params in (
        (logs.describe_log_streams, {"logGroupName": GROUP, "orderBy": "LastEventTime", "logStreamNamePrefix": "2"}),
        (logs.describe_log_streams, {"logGroupName": GROUP, "nextToken": "no token"}),
        (logs.filter_log_events, {"logGroupName": GROUP, "nextToken": "f/1/x/0"}),
        (logs.filter_log_events, {"logGroupName": GROUP, "filterPattern": "{ $.a = "}),
        (logs.filter_log_events, {"logGroupName": GROUP, "logStreamNames": ["a"], "logStreamNamePrefix": "a"}),
        (logs.filter_log_events, {}),
    ):
        assert refused(call, **params)[1] == "InvalidParameterException"


def test_a_group_of_another_region_is_not_seen_and_the_terminal_tells_where_it_is(server: Server) -> None:
    logs = server.client("logs", region_name="eu-west-1")
    assert logs.describe_log_groups()["logGroups"] == []
    assert refused(logs.filter_log_events, logGroupName=GROUP)[1] == "ResourceNotFoundException"
    assert "set AWS_REGION=us-east-1" in server.printed("hello was called in eu-west-1, account 000000000000, but is in us-east-1")


# ---- events ----------------------------------------------------------------------------------------------------------

def test_a_line_is_an_event_and_an_error_with_its_traceback_is_one(server: Server) -> None:
    logs = server.client("logs")
    [stream] = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    page = logs.get_log_events(logGroupIdentifier=f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}", logStreamName=stream["logStreamName"])
    said = messages(page)
    assert [text.partition(" ")[0] for text in said[:3]] == ["INIT_START", "START", "printed"]
    assert said.count("printed 3\n") == 1
    [failure] = [text for text in said if "Traceback" in text]
    assert failure.startswith("[ERROR] ValueError: on purpose\nTraceback (most recent call last):\n\u00a0\u00a0File")
    assert said[-1].startswith("REPORT RequestId: ")
    assert said[-1].endswith("\n")
    assert all(set(event) == {"timestamp", "message", "ingestionTime"} for event in page["events"])
    assert abs(page["events"][-1]["timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 600


def test_a_stream_is_paged_from_either_end_and_ends_with_the_token_it_was_given(server: Server) -> None:
    logs = server.client("logs")
    [stream] = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    where = {"logGroupName": GROUP, "logStreamName": stream["logStreamName"]}
    everything = messages(logs.get_log_events(**where, startFromHead=True))

    def walk(way: str, **first: Any) -> list[list[str]]:
        pages, params = list[list[str]](), dict(first)
        while True:
            page = logs.get_log_events(**where, limit=7, **params)
            if page[way] == params.get("nextToken"):
                return pages
            pages.append(messages(page))
            params = {"nextToken": page[way], "startFromHead": True}

    forward = walk("nextForwardToken", startFromHead=True)
    assert [text for page in forward for text in page] == everything
    backward = walk("nextBackwardToken")
    assert [text for page in reversed(backward) for text in page] == everything
    assert messages(logs.get_log_events(**where, limit=2)) == everything[-2:]

    last = logs.get_log_events(**where, startFromHead=True)["nextForwardToken"]
    assert messages(logs.get_log_events(**where, nextToken=last, startFromHead=True)) == []


def test_a_group_is_searched_a_page_at_a_time(server: Server) -> None:
    logs = server.client("logs")
    everything = logs.filter_log_events(logGroupName=GROUP)["events"]
    assert len({event["eventId"] for event in everything}) == len(everything) > 24
    pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 7}))
    assert [event for page in pages for event in page["events"]] == everything
    assert everything == sorted(everything, key=lambda event: (event["timestamp"], event["eventId"]))
    newest = logs.filter_log_events(logGroupName=GROUP, startFromHead=False, limit=5)
    older = logs.filter_log_events(logGroupName=GROUP, nextToken=newest["nextToken"], limit=10_000)
    assert [*newest["events"], *older["events"]] == everything[::-1]

    assert [text[-9:] for text in messages(logs.filter_log_events(logGroupName=GROUP, filterPattern='ERROR -"on purpose"'))] == [
        f"logged {number}\n" for number in range(6)
    ]
    at = everything[len(everything) // 2]["timestamp"]
    split = [logs.filter_log_events(logGroupName=GROUP, **times)["events"] for times in ({"endTime": at}, {"startTime": at + 1})]
    assert [*split[0], *split[1]] == everything
    stream = everything[0]["logStreamName"]
    assert logs.filter_log_events(logGroupName=GROUP, logStreamNames=[stream, "none"])["events"] == everything
    assert logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix=stream[:20])["events"] == everything
    assert logs.filter_log_events(logGroupName=GROUP, logStreamNames=["none"])["events"] == []
    assert logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="1999")["events"] == []


def test_whoever_follows_a_group_misses_nothing_of_a_slow_invocation_beside_quick_ones(serve: Serve) -> None:
    """As `aws logs tail --follow` does: ask again from the newest timestamp on, and leave out what was seen."""
    server = serve({"hello.py": HELLO})
    invoke(server, n="first")
    logs, seen = server.client("logs"), dict[str, str]()

    def poll() -> None:
        newest = max((int(id[:14]) for id in seen), default=0)
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, startTime=newest):
            seen.update({f"{event['timestamp']:014}{event['eventId']}": event["message"] for event in page["events"]})

    poll()
    slow = threading.Thread(target=invoke, args=(server,), kwargs={"n": "slow", "sleep": 1})
    slow.start()
    for number in range(5):
        invoke(server, n=number)
        poll()
    slow.join()
    poll()
    assert {text for text in seen.values() if text.startswith("printed")} == {f"printed {name}\n" for name in ("first", "slow", 0, 1, 2, 3, 4)}


# ---- live ------------------------------------------------------------------------------------------------------------

def test_a_live_tail_tells_what_is_logged_while_it_is_open(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    live = server.client("logs")
    group = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
    events = iter(live.start_live_tail(logGroupIdentifiers=[group], logEventFilterPattern="printed")["responseStream"])
    begun = next(events)["sessionStart"]
    assert (begun["logEventFilterPattern"], len(begun["sessionId"])) == ("printed", 36)
    invoke(server, n="live")
    results: list[Any] = []
    while not results:
        update = next(events)["sessionUpdate"]
        assert update["sessionMetadata"] == {"sampled": False}
        results += update["sessionResults"]
    [result] = results
    assert (result["message"], result["logGroupIdentifier"]) == ("printed live\n", f"000000000000:{GROUP}")


@contextmanager
def aws(server: Server, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The aws command, while it runs."""
    variables = environment(
        AWS_ENDPOINT_URL=server.url, AWS_ACCESS_KEY_ID="000000000000", AWS_SECRET_ACCESS_KEY="any", AWS_DEFAULT_REGION="us-east-1",
        AWS_DISABLE_HOST_PREFIX_INJECTION="true", PYTHONUNBUFFERED="1",
    )
    process = subprocess.Popen([sys.executable, "-m", "awscli", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_aws_command_follows_the_logs(server: Server) -> None:
    with aws(server, "logs", "start-live-tail", "--log-group-identifiers", f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}") as tail:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(tail.stdout.readline, "") if tail.stdout else ()), daemon=True)
        reader.start()
        until(lambda: invoke(server, n="followed") and "printed followed" in "".join(lines), f"for the aws command, which says {lines}")


# ---- a large record --------------------------------------------------------------------------------------------------

async def test_a_large_group_is_paged_whole_and_in_order(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    began = datetime(2026, 11, 24, 12, tzinfo=UTC)
    for number in range(3000):
        at = began + timedelta(milliseconds=number // 3)      # three end within one millisecond
        outcome = Outcome(
            status="succeeded", payload=b"", logs=f"one {number}\ntwo {number}\n".encode(), started_at=at, duration=0.5,
            log_stream=f"2026/11/24/[$LATEST]{number % 20:032x}",
        )
        store.put(Invocation(id=new_id(), arn=function_arn("busy"), payload=b"", cause="http", queued_at=at), outcome)
    groups = LogGroups(store)
    group: LogGroup = await groups.find("000000000000:us-east-1", "/aws/lambda/busy")
    every = {f"{word} {number}\n" for number in range(3000) for word in ("one", "two")}

    for backward, streams, expected in (
        (False, None, every), (True, None, every),
        (False, [f"2026/11/24/[$LATEST]{7:032x}"], {text for text in every if int(text.split()[1]) % 20 == 7}),
        (True, [f"2026/11/24/[$LATEST]{number:032x}" for number in (7, 8)], {text for text in every if int(text.split()[1]) % 20 in (7, 8)}),
    ):
        found = list[LogEvent]()
        place: LogPlace | None = LAST if backward else LogPlace(0)
        while place is not None:
            page = await groups.search(group, Search(start=place, since=0, until=LAST.at, streams=streams, backward=backward), 333)
            found += page.events
            place = page.rest
        assert {event.message for event in found} == expected
        assert len(found) == len(expected)
        assert found == sorted(found, key=lambda event: event.place, reverse=backward)

    first = await groups.streams(group, 15, by_time=True, descending=True)
    rest = await groups.streams(group, 15, by_time=True, descending=True, after=(microseconds(first[-1].last_at), first[-1].name))
    assert len({stream.name for stream in (*first, *rest)}) == 20
    assert [stream.last_at for stream in (*first, *rest)] == sorted((stream.last_at for stream in (*first, *rest)), reverse=True)

    await store.prune(datetime.now(UTC) + timedelta(days=8), 7 * 86400.0, 1_000_000)
    assert await groups.streams(group, 100) == []
    assert (await groups.find("000000000000:us-east-1", "/aws/lambda/busy")).size == 0
    await store.close()
