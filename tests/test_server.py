"""The whole server, from outside: start, serve, save, record, stop, come back."""
from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Serve, Server, environment, lives, refused, until
from tests.lambdas import running

HELLO = """
def handler(event, context):
    return {"message": "hello"}
"""
SLOW = """
import time
def handler(event, context):
    open(event["began"], "a").write("x")
    while not __import__("os").path.exists(event["go"]):
        time.sleep(0.01)
    return "done"
"""
ONE_AT_A_TIME = {"slow.py": SLOW, "microlam.toml": "[functions.slow]\ntimeout = 60\nconcurrency = 1\n"}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "microlam", *arguments], capture_output=True, text=True, env=environment(**variables), timeout=30)


# ---- start -----------------------------------------------------------------------------------------------------------

def test_a_function_answers_and_is_on_record(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    reply = server.get("/hello")
    assert (reply.status, reply.json()) == (200, {"message": "hello"})
    [record] = server.invocations()
    assert (record["id"], record["function"], record["status"], record["cause"], record["cold"]) == (
        reply.headers["x-amzn-RequestId"], "hello", "succeeded", "http", True)
    assert record["summary"] == "GET /hello → 200"
    assert server.get("/hello").status == 200
    assert server.invocations()[0]["cold"] is False
    assert server.printed(r"hello .*http GET /hello .*succeeded .* warm")


def test_health_is_ready_whatever_cannot_load(serve: Serve) -> None:
    server = serve({"broken.py": "import nothing_of_this_name\ndef handler(event, context): pass\n", "hello.py": HELLO})
    assert server.get("/broken").status == 500
    health = server.health
    assert health["status"] == "ready"
    [error] = health["errors"]
    assert (error["function"], error["errorType"]) == ("broken", "Runtime.ImportModuleError")
    assert "nothing_of_this_name" in error["errorMessage"]
    assert server.get("/hello").status == 200


def test_a_route_to_an_alias_that_is_not_there_is_on_record(serve: Serve) -> None:
    server = serve({"shop.py": HELLO, "microlam.toml": '[functions.shop]\nhttp = [{route = "GET /shop", qualifier = "live"}]\n'})
    reply = server.get("/shop?n=1")
    assert (reply.status, reply.json()) == (500, {"message": "Internal Server Error"})
    assert server.printed("Create it: microlam publish shop && microlam alias shop live")
    [entry] = server.ended(1)
    assert (entry["id"], entry["status"], entry["qualifier"]) == (reply.headers["apigw-requestid"], "failed", "live")
    record = server.get(f"/_microlam/invocations/{entry['id']}.json").json()
    assert record["event"]["queryStringParameters"] == {"n": "1"}
    assert "shop:live" in record["error"]["errorMessage"]
    page = server.get("/shop", Accept="text/html")
    assert "Function not found" in page.text


def test_a_reply_that_is_none_is_told_on_the_terminal_and_on_record(serve: Serve) -> None:
    server = serve({"cart.py": """
        def handler(event, context):
            pad = "x" * int((event.get("queryStringParameters") or {}).get("pad", 0))
            return {"statusCode": "abc", "body": pad} if event["rawPath"] == "/cart/abc" else {"statusCode": 200, "body": {"total": 640, "pad": pad}}
        """})
    assert server.get("/cart").json() == {"message": "Internal Server Error"}
    assert server.printed("GET /cart .*→ 500: body is not a string; use json.dumps")
    for path in ("/cart?pad=2000", "/cart/abc?pad=2000"):
        assert server.get(path).status == 500
    [abc, long, short] = server.ended(3)
    assert [record["summary"] for record in (short, long, abc)] == ["GET /cart → 500", "GET /cart → 500", "GET /cart/abc → 500"]
    found = server.invocation(short["id"])
    assert (found["reply"]["body"]["total"], found["refused"]) == (640, "body is not a string; use json.dumps for a JSON body.")
    assert "statusCode is &#34;abc&#34;, not a number from 200 to 599." in server.get(f"/_microlam/invocations/{abc['id']}", Accept="text/html").text


def test_no_function_is_imported_at_the_start(serve: Serve, tmp_path: Path) -> None:
    trace = tmp_path / "imported"
    server = serve({"loud.py": f"open({str(trace)!r}, 'w')\ndef handler(event, context): pass\n"})
    assert server.health["functions"] == ["loud"]
    assert not trace.exists()
    server.get("/loud")
    assert trace.exists()


def test_what_few_servers_need_is_not_in_memory(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    code = """
import asyncio, sys
from microlam.server import Microlam
async def main():
    async with Microlam(sys.argv[1], endpoint_url="http://127.0.0.1:1") as lam:
        assert (await lam.invoke("hello")).value == {"message": "hello"}
        await lam.settled()
        print(*sys.modules)
asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment(), timeout=30)
    seldom = {
        "anyio", "watchfiles", "zipfile", "tomllib", "zoneinfo", "jinja2", "microlam.admin", "microlam.aws", "microlam.executors.inprocess",
        "microlam.sources.follower", "microlam.resources.layers", "microlam.resources.roles", "microlam.store.lists", "microlam.events.generate",
    }
    assert (seldom & set(ran.stdout.split()), ran.stderr) == (set(), "")
    assert "microlam.invoke" in ran.stdout.split()


@pytest.mark.parametrize("case", ["port", "folder", "toml", "held", "newer"])
def test_what_cannot_start_says_so_in_one_line(serve: Serve, tmp_path: Path, case: str) -> None:
    folder, data = tmp_path / "functions", tmp_path / "data"
    arguments = ["dev", str(folder), "--port", "0", "--data", str(data)]
    if case == "folder":
        arguments[1] = str(tmp_path / "nowhere")
    else:
        folder.mkdir()
    if case == "toml":
        (folder / "microlam.toml").write_text("[functions.hello\n")
    if case == "port":
        taken = socket.create_server(("127.0.0.1", 0))
        arguments[3] = str(taken.getsockname()[1])
    if case == "held":
        serve({}, "--data", str(data))
    if case == "newer":
        serve({}, "--data", str(data)).stop()
        import sqlite3
        connection = sqlite3.connect(data / "microlam.db")
        connection.execute("PRAGMA user_version = 9999")
        connection.close()
    failed = run(*arguments)
    assert failed.returncode not in (0, None)
    assert "Traceback" not in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1
    assert {"port": "--port", "folder": "nowhere", "toml": "microlam.toml", "held": "in use", "newer": "newer"}[case] in failed.stderr


def test_the_servers_credentials_never_reach_a_handler(serve: Serve) -> None:
    files = {"env.py": "import os\ndef handler(event, context): return dict(os.environ)\n"}
    server = serve(files, AWS_ACCESS_KEY_ID="AKIAREAL", AWS_SECRET_ACCESS_KEY="REALSECRET", AWS_PROFILE="work", SOME_TOKEN="hidden", AWS_REGION="eu-central-1")
    seen = server.get("/env").json()
    assert seen["AWS_ACCESS_KEY_ID"] == "000000000000"
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert not {"AKIAREAL", "REALSECRET", "work", "hidden"} & set(seen.values())
    assert seen["AWS_ENDPOINT_URL"] == server.url


REAL = {
    "AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "REALSECRET", "AWS_SESSION_TOKEN": "REALTOKEN", "AWS_SECURITY_TOKEN": "REALTOKEN",
    "AWS_PROFILE": "work", "AWS_DEFAULT_PROFILE": "work", "AWS_WEB_IDENTITY_TOKEN_FILE": "/real", "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/real",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://real/", "AWS_ENDPOINT_URL": "https://real.example", "AWS_REGION": "eu-central-1",
    "MICROLAM_SECRET_KEY": "REALKEY", "MICROLAM_ACCESS_KEY": "AKIAOURS",
}


def test_nor_threads_and_programs_that_a_handler_within_the_server_starts(serve: Serve) -> None:
    server = serve({"env.py": """
        import os, subprocess, sys, threading
        def handler(event, context):
            seen = {}
            thread = threading.Thread(target=lambda: seen.update(thread=dict(os.environ)))
            thread.start()
            thread.join()
            told = subprocess.run([sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"], capture_output=True, check=True)
            return {"handler": dict(os.environ), "program": __import__("json").loads(told.stdout), **seen}
    """, "microlam.toml": "[functions.env]\nexecutor = 'inprocess'\ntimeout = 30\n"}, **REAL)
    seen = server.get("/env").json()
    for who in ("handler", "thread", "program"):
        variables = seen[who]
        assert {value for name, value in REAL.items() if name != "AWS_REGION"} & set(variables.values()) == set(), who
        assert (variables["AWS_ACCESS_KEY_ID"], variables["AWS_REGION"], variables["AWS_ENDPOINT_URL"]) == ("000000000000", "eu-central-1", server.url), who


def test_a_module_that_cannot_be_imported_ahead_is_told_once_when_that_is_found(serve: Serve) -> None:
    server = serve({
        "hello.py": HELLO, "own.py": "import helper\n" + HELLO, "helper.py": "x = 1\n",
        "microlam.toml": '[functions.hello]\npreload = ["colorsys", "nomodule"]\n[functions.own]\npreload = ["helper"]\n',
    })
    assert server.health["warnings"] == []
    assert server.get("/hello").json() == server.get("/own").json() == {"message": "hello"}
    warning = "hello: preload = [\"nomodule\"] is of no effect, as importing it ahead fails: ModuleNotFoundError: No module named 'nomodule'"
    assert server.health["warnings"] == [warning]
    server.write({"hello.py": HELLO.replace('"hello"', '"new"')})
    assert server.get("/hello").json() == {"message": "new"}
    server.printed("new code runs")
    assert [line for line in server.lines if "nomodule" in line] == [f"Warning: {warning}"]


# ---- save ------------------------------------------------------------------------------------------------------------

def test_the_next_request_after_a_save_runs_the_new_code(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    for number in range(20):
        server.write({"hello.py": HELLO.replace('"hello"', f'"hello {number}"')})
        assert server.get("/hello").json() == {"message": f"hello {number}"}


def test_a_function_that_is_broken_at_the_start_is_told_once_and_that_it_is_mended(serve: Serve) -> None:
    server = serve({"hello.py": "def handler(event, context)\n    return 1\n"})
    server.printed("Ctrl-C")        # the banner's last line
    assert [line.partition(" Syntax")[0] for line in server.lines if "UserCodeSyntaxError" in line] == ["  Error: hello: Runtime.UserCodeSyntaxError:"]
    server.write({"hello.py": HELLO})
    assert server.get("/hello").json() == {"message": "hello"}
    server.printed("^hello: mended$")


def test_the_last_good_code_serves_while_the_new_does_not_import(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    assert server.get("/hello").status == 200
    server.write({"hello.py": "def handler(event, context)\n    return 1\n"})
    assert server.get("/hello").json() == {"message": "hello"}
    [error] = server.health["errors"]
    assert error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert server.printed("UserCodeSyntaxError")
    server.write({"hello.py": HELLO.replace('"hello"', '"mended"')})
    assert server.get("/hello").json() == {"message": "mended"}
    assert server.health["errors"] == []


@pytest.mark.parametrize("flags", [(), ("--poll",)], ids=["events", "poll"])
def test_functions_appear_and_disappear_at_once(serve: Serve, flags: tuple[str, ...]) -> None:
    server = serve({"hello.py": HELLO}, *flags)
    for _ in range(3):
        server.write({"second.py": HELLO})
        assert server.get("/second").status == 200
        server.write({"second.py": "from microlam import http\n@http('GET /moved')\n" + HELLO})
        assert server.get("/moved").status == 200
        assert server.get("/second").status == 404
        (server.folder / "second.py").unlink()
        assert server.get("/moved").status == 404
        server.write({"third/app.py": HELLO})
        assert server.client().invoke(FunctionName="third")["StatusCode"] == 200
        shutil.rmtree(server.folder / "third")
        assert refused(server.client().invoke, FunctionName="third")[1] == "ResourceNotFoundException"


@pytest.mark.parametrize("harm", ["os.unlink(file)", "os.chmod(file, 0o644); open(file, 'a').write('broken(')", "os.unlink(file); os.mkdir(file)"])
def test_a_handler_that_harms_its_own_code_harms_no_other_worker(serve: Serve, harm: str) -> None:
    server = serve({"hello.py": f"""
        import os
        def handler(event, context):
            file = os.environ["LAMBDA_TASK_ROOT"] + "/hello.py"
            {harm}
            os._exit(1)
    """})
    for _ in range(3):
        assert server.get("/hello").status == 500
    assert {each["error_type"] for each in server.ended(3)} == {"Runtime.ExitError"}, "each began, and none lacked its module"


def test_a_handler_that_leaves_a_file_beside_its_code_harms_no_other_worker(serve: Serve, tmp_path: Path) -> None:
    server = serve({"hello.py": f"""
        import os, time
        def handler(event, context):
            open(f"{{os.getpid()}}.cache", "w").close()
            count = int(event["queryStringParameters"]["meet"])
            open({str(tmp_path)!r} + f"/{{count}}.{{os.getpid()}}", "w").close()
            while sum(name.startswith(f"{{count}}.") for name in os.listdir({str(tmp_path)!r})) < count:
                time.sleep(0.005)
            return os.getcwd()
    """})
    for count in (1, 2, 4):
        with ThreadPoolExecutor(count) as pool:
            assert [reply.status for reply in pool.map(server.get, [f"/hello?meet={count}"] * count)] == [200] * count


def test_file_names_need_not_be_utf_8(serve: Serve) -> None:
    server = serve({"hello.py": HELLO, "sub/app.py": "import os\ndef handler(event, context):\n    return os.path.exists(b'caf\\xe9.txt')"})
    for strange in (b"h\xff.py", b"sub/caf\xe9.txt"):
        (server.folder / os.fsdecode(strange)).touch()
    assert server.get("/hello").status == 200
    assert server.get("/sub").json() is True
    for name in ("hello", "sub"):
        assert server.client().publish_version(FunctionName=name)["Version"] == "1"
        assert server.client().invoke(FunctionName=name, Qualifier="1")["StatusCode"] == 200


def test_code_that_cannot_be_had_is_said(serve: Serve) -> None:
    server = serve({"hello.py": "from microlam import http, schedule\n@http('GET /hello')\n@schedule('rate(1 day)')\n" + HELLO})
    packages = server.folder / ".microlam" / "packages"
    packages.write_text("no folder")
    reply = server.get("/hello")
    assert (reply.status, reply.json()) == (500, {"message": "Internal Server Error"})
    assert server.health["errors"][0]["errorMessage"] in server.printed("hello: .*packages")
    assert "packages" in refused(server.client().invoke, FunctionName="hello")[2]
    run("fire", "hello", "--endpoint-url", server.url)
    [fired] = until(lambda: server.invocations(cause="schedule", status="failed"))
    assert fired["error_type"] == "ServiceException"
    packages.unlink()
    assert server.get("/hello").status == 200
    assert server.health["errors"] == []


def test_a_pipe_is_no_code(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "functions" / "sub").mkdir(parents=True)
    os.mkfifo(tmp_path / "functions" / "sub" / "app.py")
    os.mkfifo(tmp_path / "functions" / "pipe.py")
    server = serve({"hello.py": HELLO, "other/app.py": HELLO})
    os.mkfifo(server.folder / "other" / "data")
    assert server.get("/other").status == server.get("/hello").status == 200
    assert server.health["functions"] == ["hello", "other"]
    assert server.get("/sub").status == 404
    assert server.stop() == 0


# ---- the wire --------------------------------------------------------------------------------------------------------

def test_boto3_invokes_in_all_three_ways(serve: Serve) -> None:
    server = serve({"echo.py": "def handler(event, context):\n    print('seen', event)\n    return event\n"})
    client = server.client()
    answered = client.invoke(FunctionName="echo", Payload=b'{"a": 1}', LogType="Tail")
    assert (answered["StatusCode"], json.load(answered["Payload"]), answered["ExecutedVersion"]) == (200, {"a": 1}, "$LATEST")
    assert "seen {'a': 1}" in base64.b64decode(answered["LogResult"]).decode()
    assert client.invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204
    later = client.invoke(FunctionName="echo", InvocationType="Event", Payload=b'{"b": 2}')
    assert (later["StatusCode"], later["Payload"].read()) == (202, b"")
    server.ended(2, function="echo")
    assert server.invocation(later["ResponseMetadata"]["RequestId"])["reply"] == {"b": 2}


def test_a_handlers_own_boto3_talks_to_this_server(serve: Serve) -> None:
    server = serve({"inner.py": HELLO, "outer.py": """
        import boto3, json
        def handler(event, context):
            return json.load(boto3.client("lambda").invoke(FunctionName="inner")["Payload"])
    """, "microlam.toml": "[functions.outer]\ntimeout = 30\n"})
    assert server.get("/outer").json() == {"message": "hello"}


# ---- guard -----------------------------------------------------------------------------------------------------------

INVOKE = "/2015-03-31/functions/hello/invocations"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody may use."""
    yield from running(tmp_path_factory.mktemp("untouched") / "functions", {"hello.py": HELLO})


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
])
@pytest.mark.parametrize(("method", "path"), [("POST", INVOKE), ("POST", "/_microlam/functions/hello/fire"), ("GET", "/_microlam/invocations.json")])
def test_pages_elsewhere_may_not_use_the_server(untouched: Server, headers: dict[str, str], method: str, path: str) -> None:
    assert untouched.request(method, path, b"{}" if method == "POST" else None, headers).status == 403
    assert untouched.invocations() == []


def test_nor_download_code(serve: Serve) -> None:
    server = serve({"hello.py": HELLO}, "--access-key", "AK", "--secret-key", "SK")
    location = server.client(aws_access_key_id="AK", aws_secret_access_key="SK").get_function(FunctionName="hello")["Code"]["Location"]
    path = location.removeprefix(server.url)
    assert server.get(path).body.startswith(b"PK")
    for name, value in (("Host", "evil.example"), ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")):
        assert server.request("GET", path, headers={name: value}).status == 403, name


def test_a_browser_gets_the_list_of_functions_where_none_has_the_root(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    for method, path in (("GET", "/"), ("GET", "/?x=1"), ("HEAD", "/")):
        reply = server.request(method, path, headers={"Accept": "text/html"})
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), (method, path)
        assert ("hello" in reply.text) is (method == "GET"), (method, path)
    server.write({"root.py": "from microlam import http\n@http('GET /')\ndef handler(event, context): return event['rawQueryString']\n"})
    assert until(lambda: server.get("/?x=1", Accept="text/html").text == "x=1")
    assert server.request("HEAD", "/", headers={"Accept": "text/html"}).status == 404       # as an HTTP API answers what has a GET route alone


def whole_request(server: Server, target: str, *, host: str = "", method: str = "GET") -> tuple[int, bytes]:
    """What the server answers a request with just this target."""
    address, port = re.findall(r"//([^:/]+):(\d+)", server.url)[0]
    with socket.create_connection((address, int(port)), timeout=30) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host or f'{address}:{port}'}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_a_target_may_be_a_whole_url(serve: Serve) -> None:
    server = serve({"hello.py": HELLO, "echo.py": """
        def handler(event, context): return [event["rawPath"], event["rawQueryString"], event["headers"]["host"], event["requestContext"]["domainName"]]
    """})
    status, body = whole_request(server, f"{server.url}/echo/a%20b//c?x=%41&y", host="elsewhere.example")
    assert (status, json.loads(body)) == (200, ["/echo/a b//c", "x=%41&y", server.url.removeprefix("http://"), "127.0.0.1"])
    assert whole_request(server, f"{server.url}/_microlam/health")[0] == 200
    assert whole_request(server, server.url + INVOKE, method="POST") == (200, b'{"message": "hello"}')
    assert whole_request(server, "http://evil.example/_microlam/health")[0] == 403
    assert whole_request(server, server.url)[0] == whole_request(server, "/")[0] == 404


def test_another_address_needs_tokens_and_keys(serve: Serve, tmp_path: Path) -> None:
    failed = run("dev", str(tmp_path), "--host", "0.0.0.0", "--port", "0")
    assert failed.returncode != 0
    assert "--admin-token" in failed.stderr
    server = serve({"hello.py": HELLO}, "--host", "0.0.0.0", "--admin-token", "t0ken", "--access-key", "AK", "--secret-key", "SK")
    assert server.get("/hello").status == 200
    assert server.get("/_microlam/invocations.json").status == 401
    assert server.get("/_microlam/invocations.json", Authorization="Bearer t0ken").status == 200
    signed = server.client(aws_access_key_id="AK", aws_secret_access_key="SK")
    assert signed.invoke(FunctionName="hello")["StatusCode"] == 200
    from botocore.exceptions import ClientError
    with pytest.raises(ClientError) as refused:
        server.client(aws_access_key_id="AK", aws_secret_access_key="wrong").invoke(FunctionName="hello")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert server.request("POST", INVOKE, b"{}").status == 403


# ---- retries, crashes, stops -----------------------------------------------------------------------------------------

def test_a_failing_event_is_retried_twice(serve: Serve) -> None:
    server = serve({"flaky.py": "def handler(event, context): raise ValueError('no')"}, "--retry-delay", "0.05")
    id = server.client().invoke(FunctionName="flaky", InvocationType="Event", Payload=b"{}")["ResponseMetadata"]["RequestId"]
    records = server.ended(3, function="flaky")
    assert [record["attempt"] for record in records] == [3, 2, 1]
    assert {record["id"] for record in records} == {id}
    assert {record["status"] for record in records} == {"failed"}


def accept_events(server: Server, gate: Path, count: int) -> list[str]:
    """Events for SLOW, which stand in line until the gate is there; their ids, once the first one has begun."""
    began = gate.with_name("began")
    payload = json.dumps({"began": str(began), "go": str(gate)}).encode()
    client = server.client()
    accepted = [client.invoke(FunctionName="slow", InvocationType="Event", Payload=payload)["ResponseMetadata"]["RequestId"] for _ in range(count)]
    until(began.exists)
    return accepted


def test_accepted_events_survive_kill_9(serve: Serve, tmp_path: Path) -> None:
    server = serve(ONE_AT_A_TIME)
    accepted = accept_events(server, tmp_path / "go", 5)
    server.stop(signal.SIGKILL)
    (tmp_path / "go").touch()
    server = serve()
    records = server.ended(5, function="slow")
    assert sorted(record["id"] for record in records) == sorted(accepted)
    assert {(record["status"], record["attempt"]) for record in records} == {("succeeded", 1)}


def test_events_that_stand_in_line_are_pending(serve: Serve, tmp_path: Path) -> None:
    server = serve(ONE_AT_A_TIME)
    accepted = accept_events(server, tmp_path / "go", 4)
    assert [record["id"] for record in server.invocations(status="running")] == accepted[:1]
    waiting = server.invocations(status="pending")
    assert [record["id"] for record in waiting] == accepted[:0:-1]
    assert {(record["started_at"], record["version"]) for record in waiting} == {(None, None)}
    (tmp_path / "go").touch()
    assert {record["status"] for record in server.ended(4, function="slow")} == {"succeeded"}


def test_no_worker_survives_its_server(serve: Serve) -> None:
    server = serve({"parent.py": """
        import subprocess, os
        def handler(event, context):
            child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            return [os.getpid(), child.pid]
    """})
    pids = server.get("/parent").json()
    assert all(map(lives, pids))
    server.stop(signal.SIGKILL)
    until(lambda: not any(map(lives, pids)), "for the workers' end")


def test_a_signal_drains_and_a_second_ends_at_once(serve: Serve, tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    files = {"slow.py": SLOW, "microlam.toml": "[functions.slow]\ntimeout = 60\n"}
    payload = json.dumps({"began": str(began), "go": str(go)}).encode()

    server = serve(files)
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(server.request("POST", "/2015-03-31/functions/slow/invocations", payload).status))
    caller.start()
    until(began.exists)
    server.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(server.url), "for the server to accept nothing more")
    go.touch()
    assert server.process.wait(30) == 0
    caller.join()
    assert answers == [200]

    go.unlink()
    began.unlink()
    server = serve(files)
    server.client().invoke(FunctionName="slow", InvocationType="Event", Payload=payload)
    until(began.exists)
    server.process.send_signal(signal.SIGINT)
    until(lambda: refuses(server.url))

    def ended_by_another() -> bool:     # one that comes at once counts as the same
        server.process.send_signal(signal.SIGINT)
        return server.process.poll() is not None
    until(ended_by_another)
    assert server.process.wait(30) != 0


def refuses(url: str) -> bool:
    host, port = re.findall(r"//([^:/]+):(\d+)", url)[0]
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return True
    return False


def test_idle_connections_do_not_hold_up_the_stop(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    host, port = re.findall(r"//([^:/]+):(\d+)", server.url)[0]
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0


# ---- sources ---------------------------------------------------------------------------------------------------------

def test_a_dropped_file_is_one_s3_event(serve: Serve) -> None:
    server = serve({"thumb.py": """
        from microlam import on_file
        @on_file("uploads", suffix=".png")
        def handler(event, context): return event["Records"][0]["s3"]["object"]["key"]
    """, "uploads/.keep": ""})
    (server.folder / "uploads" / "a b.png").write_bytes(b"png")
    (server.folder / "uploads" / "notes.txt").write_bytes(b"txt")
    [record] = server.ended(function="thumb")
    assert (record["cause"], record["summary"]) == ("file", "uploads/a b.png created")
    assert server.invocation(record["id"])["reply"] == "a+b.png"
    assert server.invocation(record["id"])["event"]["Records"][0]["s3"]["object"]["size"] == 3


def test_a_schedule_fires_and_is_fired_by_hand(serve: Serve) -> None:
    server = serve({"tick.py": """
        from microlam import schedule
        @schedule("cron(0 3 * * ? *)", timezone="Europe/Berlin")
        def handler(event, context): return event["time"]
    """})
    fired = run("fire", "tick", "--time", "2026-03-29T02:00:00Z", "--endpoint-url", server.url)
    assert fired.returncode == 0, fired.stderr
    [record] = server.ended(function="tick", cause="schedule")
    assert server.invocation(record["id"])["reply"] == "2026-03-29T02:00:00Z"


def test_a_burst_past_the_line_is_throttled(serve: Serve, tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    server = serve(ONE_AT_A_TIME, "--queue-limit", "0")
    payload = json.dumps({"began": str(began), "go": str(go)}).encode()
    first = threading.Thread(target=lambda: server.request("POST", "/2015-03-31/functions/slow/invocations", payload))
    first.start()
    until(began.exists)
    throttled = server.request("POST", "/2015-03-31/functions/slow/invocations", payload)
    assert throttled.status == 429
    assert throttled.json()["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert server.get("/slow").status == 503
    assert [record["status"] for record in server.invocations(status="running")] == ["running"]
    go.touch()
    first.join()
    assert len(server.invocations(status="throttled")) == 2


def test_the_data_folder_holds_no_link_to_the_parent_environment(serve: Serve) -> None:
    server = serve({"hello.py": HELLO}, SECRET_OF_THE_SERVER="do-not-leak")
    server.get("/hello")
    below = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and descends(int(pid), server.process.pid)] if os.path.isdir("/proc") else []
    for pid in below:
        assert b"do-not-leak" not in Path(f"/proc/{pid}/environ").read_bytes()


def descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
        if pid == ancestor:
            return True
    return False


def test_readme_lists_the_settings_as_they_are() -> None:
    from microlam.settings import settings_table
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert readme.partition("<!-- settings -->\n")[2].partition("<!-- /settings -->")[0] == settings_table()
