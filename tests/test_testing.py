"""The testing kit, by tests written with it: in pytest runs of their own where the plugin is what is tested, else through its clients."""
from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from microlam.errors import FunctionNotFound, InvalidParameter
from microlam.testing import AsyncClient, Client
from tests.conftest import until, write

FUNCTIONS = {
    "hello.py": "def handler(event, context):\n    print('greeting')\n    return {'message': 'Hello, ' + event['name'] + '!'}\n",
    "orders.py": """
        import json
        from microlam import http
        @http("POST /orders")
        @http("GET /orders/{id}")
        def handler(event, context):
            if event["routeKey"] == "GET /orders/{id}":
                return {"statusCode": 302, "headers": {"location": "/x"}, "cookies": ["seen=1"], "body": ",".join(event.get("cookies", []))}
            return {"statusCode": 201, "body": json.dumps({"order": json.loads(event["body"]), "by": event["headers"].get("x-user")})}
        """,
    "thumb.py": """
        import json, os
        from pathlib import Path
        from microlam import on_file
        @on_file("uploads", suffix=".png")
        def handler(event, context):
            names = [record["s3"]["object"]["key"] for record in event["Records"]]
            for name in names if event["Records"][0]["eventName"].startswith("ObjectCreated") else ():
                Path(json.loads(os.environ["MICROLAM_BUCKETS"])["uploads"], name.replace(".png", ".txt")).write_text("small")
            return [event["Records"][0]["eventName"], *names]
        """,
    "texts.py": "from microlam import on_file\n@on_file('uploads', suffix='.txt')\ndef handler(event, context): return event['Records'][0]['s3']['object']['key']\n",
    "nightly.py": "from microlam import schedule\n@schedule('cron(0 4 * * ? *)', timezone='Europe/Berlin')\nasync def handler(event, context): return event['time']\n",
    "flaky.py": "def handler(event, context): raise ValueError('no')\n",
    "calls.py": """
        import boto3, json, os
        def handler(event, context):
            reply = boto3.client("lambda").invoke(FunctionName="hello", Payload=json.dumps(event))
            return [json.load(reply["Payload"])["message"], os.environ["GREETING"], os.getpid()]
        """,
    "microlam.toml": "[functions.calls]\ntimeout = 20\nmemory = 512\nenvironment = { GREETING = 'hi' }\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit") / "functions"
    write(folder, FUNCTIONS)
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    with Client(folder, at="2026-03-28T12:00Z") as client:
        yield client


# ---- what a test does ------------------------------------------------------------------------------------------------

def test_http(client: Client) -> None:
    reply = client.http.post("/orders", json={"tea": 2}, headers={"X-User": "ada"})
    assert (reply.status, reply.json()) == (201, {"order": {"tea": 2}, "by": "ada"})
    assert reply.headers["X-Amzn-RequestId"] == client.invocations("orders")[0].id
    first, second = client.http.get("/orders/7"), client.http.get("/orders/7")
    assert (first.status, first.headers["Location"], first.text, second.text) == (302, "/x", "", "seen=1")
    assert client.http.delete("/orders/7").status == 404
    with pytest.raises(InvalidParameter, match="'orders/7' is no path: a path begins with a slash"):
        client.http.get("orders/7")


def test_invoking_and_what_is_on_record_of_it(client: Client) -> None:
    outcome = client.lambda_.invoke("hello", {"name": "Ada"})
    assert (outcome.value, outcome.cold) == ({"message": "Hello, Ada!"}, True)
    failed = client.lambda_.invoke("hello", {})
    assert failed.error
    first, second = client.invocations("hello")
    assert (first.status, first.cause, first.event, first.reply, first.error, first.version) == \
        ("succeeded", "invoke", {"name": "Ada"}, {"message": "Hello, Ada!"}, None, "$LATEST")
    assert "greeting\n" in first.logs
    assert (second.status, second.error["errorType"], second.cold) == ("failed", "KeyError", False)
    with pytest.raises(FunctionNotFound):
        client.lambda_.invoke("nobody")


def test_an_object_that_is_put_and_what_follows_from_it(client: Client) -> None:
    client.events.s3_put("uploads", "in/a.png", b"picture")
    client.settled()
    [thumb] = client.invocations("thumb")
    assert thumb.reply == ["ObjectCreated:Put", "in/a.png"]
    assert thumb.event["Records"][0]["s3"]["object"]["size"] == 7
    assert [text.reply for text in client.invocations("texts")] == ["in/a.txt"]       # the thumbnail is an object too
    assert (client.bucket("uploads") / "in" / "a.txt").read_text() == "small"
    client.events.s3_delete("uploads", "in/a.png")
    client.settled()
    assert client.invocations("thumb")[1].reply == ["ObjectRemoved:Delete", "in/a.png"]
    with pytest.raises(InvalidParameter):
        client.events.s3_put("uploads", "../a.png", b"")
    with pytest.raises(InvalidParameter, match=r"No function listens to the bucket nobucket\. Those that are listened to: uploads"):
        client.events.s3_put("nobucket", "a.png", b"")
    client.bucket("shelf").mkdir(parents=True)
    client.events.s3_put("shelf", "a.png", b"")         # nobody listens, but the test has made it for somebody to read


def test_a_function_that_is_not_there_has_no_invocations_to_look_at(client: Client) -> None:
    assert client.invocations("hello") == []
    for name in ("nope", "arn:aws:lambda:us-east-1:000000000000:function:nope"):
        with pytest.raises(FunctionNotFound, match="nope"):
            client.invocations(name)
    assert client.invocations(client.lam.functions.named("hello")) == []


def test_the_clock_stands_still_and_stops_at_all_that_falls_due(client: Client) -> None:
    assert client.clock.now().isoformat() == "2026-03-28T12:00:00+00:00"
    client.settled()
    assert client.invocations() == []
    client.clock.advance(days=2, hours=12)
    # summer time begins on the 29th
    assert [nightly.reply for nightly in client.invocations("nightly")] == ["2026-03-29T02:00:00Z", "2026-03-30T02:00:00Z"]
    client.clock.move_to("2026-03-31T04:00:00+02:00")
    assert client.invocations("nightly")[-1].queued_at == client.clock.now()
    with pytest.raises(InvalidParameter, match="use move_to"):
        client.clock.advance(days=-1)


def test_a_schedule_is_fired_as_of_any_time(client: Client) -> None:
    fired = client.events.schedule("nightly", at="2026-03-29T02:30+01:00")
    client.settled()
    [nightly] = client.invocations("nightly")
    assert (nightly.id, nightly.reply, nightly.cause) == (fired.id, "2026-03-29T01:30:00Z", "schedule")
    with pytest.raises(FunctionNotFound):
        client.events.schedule("nightly", number=2)


def test_retries_come_as_the_clock_does(client: Client) -> None:
    client.lambda_.enqueue("flaky")
    client.settled()
    assert [(flaky.attempt, flaky.status) for flaky in client.invocations("flaky")] == [(1, "failed"), (2, "pending")]
    client.clock.advance(minutes=5)
    began = client.invocations("flaky")
    assert [(flaky.attempt, flaky.status) for flaky in began] == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert (began[2].queued_at - began[0].queued_at).total_seconds() == 60      # the third was queued when the second had failed
    assert client.http.post("/hello", json={}).status == 500


def test_events_are_those_that_microlam_generates(client: Client) -> None:
    event = client.events.generate("sqs", "receive-message", body="eins")
    assert event["Records"][0]["body"] == "eins"
    outcome = client.events.send("thumb", "s3", "delete", key="b.png")
    assert outcome.value == ["ObjectRemoved:Delete", "b.png"]


def test_boto3_in_the_test_and_in_the_handler_finds_the_same_instance_and_afterwards_the_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://production.example")
    for executor in ("inprocess", "processes"):
        with Client(folder, executor=executor) as client:
            reply = boto3.client("lambda").invoke(FunctionName="calls", Payload=b'{"name": "Ada"}')
            message, greeting, process = json.load(reply["Payload"])
            assert (message, greeting, process == os.getpid()) == ("Hello, Ada!", "hi", executor == "inprocess")
            assert [invocation.function for invocation in client.invocations()] == ["calls", "hello"]
    assert (os.environ["AWS_PROFILE"], os.environ["AWS_ENDPOINT_URL_LAMBDA"]) == ("production", "http://production.example")
    assert "AWS_ENDPOINT_URL" not in os.environ
    assert boto3.DEFAULT_SESSION is None


async def test_the_same_in_the_tests_own_loop(folder: Path) -> None:
    async with AsyncClient(folder, at="2026-03-28T12:00Z") as client:
        assert (await client.http.post("/orders", json=1)).json()["order"] == 1
        await client.events.s3_put("uploads", "a.png", "picture")
        await client.lambda_.enqueue("flaky")
        await client.settled()
        await client.clock.advance(days=1)
        assert [len(await client.invocations(name)) for name in ("thumb", "texts", "flaky", "nightly")] == [1, 1, 3, 1]
        assert (await client.lambda_.invoke("hello", {"name": "Ada"})).value == {"message": "Hello, Ada!"}


def test_the_folder_stays_as_it_was_and_no_thread_is_left(folder: Path) -> None:
    before, threads = sorted(path for path in folder.rglob("*")), threading.active_count()
    with Client(folder) as client:
        client.lambda_.invoke("hello", {"name": "Ada"})
        data = client.lam.settings.data
    assert sorted(path for path in folder.rglob("*")) == before
    assert not data.exists()
    until(lambda: threading.active_count() <= threads, "for the handlers' threads to end")


# ---- the plugin ------------------------------------------------------------------------------------------------------

TESTS = """
    import pytest

    def test_fresh(microlam):
        assert microlam.invocations() == []
        assert microlam.lambda_.invoke("hello", {"name": "Ada"}).value == {"message": "Hello, Ada!"}

    def test_fresh_again(microlam):
        assert microlam.invocations() == []

    @pytest.mark.microlam(at="2026-03-28T12:00Z", executor="processes")
    def test_marked(microlam):
        assert microlam.clock.now().year == 2026
        assert microlam.lam.settings.executor == "processes"
        assert microlam.lambda_.invoke("hello", {"name": "Ada"}).ok

    @pytest.mark.asyncio
    async def test_async(microlam_async):
        assert (await microlam_async.lambda_.invoke("hello", {"name": "Ada"})).ok
    """


def test_the_fixture_finds_the_folder_beside_the_tests(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"functions/hello.py": FUNCTIONS["hello.py"], "tests/unit/test_hello.py": TESTS})
    pytester.makeini("[pytest]\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=4)


def test_the_folder_may_be_said_and_one_that_is_missing_is_explained(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"code/hello.py": FUNCTIONS["hello.py"], "test_hello.py": TESTS})
    pytester.makeini("[pytest]\nmicrolam_folder = code\n")
    pytester.runpytest_subprocess("-k", "fresh").assert_outcomes(passed=2)
    pytester.makeini("[pytest]\n")
    result = pytester.runpytest_subprocess("-k", "fresh")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*microlam_folder*"])


def test_the_search_for_a_folder_ends_at_pytests_root_and_says_so(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"functions/hello.py": FUNCTIONS["hello.py"], "sub/pytest.ini": "[pytest]\n", "sub/tests/test_hello.py": TESTS})
    result = pytester.runpytest_subprocess("--rootdir", "sub", "-c", "sub/pytest.ini", "-k", "fresh", "sub")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([f"*no functions/ beside *test_hello.py or above it, up to pytest's root folder {pytester.path / 'sub'}. Create*"])


def test_what_the_mark_does_not_take_is_said(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"functions/hello.py": FUNCTIONS["hello.py"], "test_hello.py": """
        import pytest

        @pytest.mark.microlam("functions", "more")
        def test_two_folders(microlam): ...

        @pytest.mark.microlam(executor="foo")
        def test_no_executor(microlam): ...
        """})
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*takes one folder of functions, not 'functions', 'more'*"])
    result.stdout.fnmatch_lines(["*from executor=, cannot be used*"])


def test_pytest_imports_nothing_of_microlam_until_a_test_asks(pytester: pytest.Pytester) -> None:
    write(pytester.path, {"test_nothing.py": "import sys\ndef test_nothing(): assert not {'aiohttp', 'microlam.app', 'orjson'} & set(sys.modules)\n"})
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
