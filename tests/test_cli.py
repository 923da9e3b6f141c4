"""The command line as its users have it: real processes, their output, and their exit status."""
from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from microlam import setup
from tests.conftest import Serve, Server, environment, until, write
from tests.lambdas import running

HELLO = """
    def handler(event, context):
        print("greeting", event.get("name"))
        return {"hello": event.get("name")}
"""
FLAKY = """
    from microlam import schedule

    @schedule("rate(1 day)")
    def handler(event, context):
        raise KeyError("total")
"""
NIGHTLY = """
    from microlam import schedule

    @schedule("cron(0 4 * * ? *)", timezone="Europe/Berlin")
    @schedule("rate(1 day)")
    def handler(event, context):
        return event["time"]
"""


def run(*arguments: str, input: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "microlam", *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=input, env=environment(**variables), timeout=60, check=False)


def on(server: Server, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    """A command that talks to this server."""
    return run(*arguments, input=input, AWS_ENDPOINT_URL=server.url)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def fails(ran: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """What a command said that failed: one line, and no traceback."""
    assert ran.returncode == status, ran
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    if status == 1:
        assert ran.stderr.startswith("microlam: ")
        assert ran.stderr.count("\n") == 1
    return ran.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all that only talk to it."""
    yield from running(tmp_path_factory.mktemp("cli") / "functions", {"hello.py": HELLO, "flaky.py": FLAKY, "nightly.py": NIGHTLY})


# ---- help and usage --------------------------------------------------------------------------------------------------

def test_help_tells_every_command() -> None:
    ran = run("--help")
    assert ran.returncode == 0
    assert all(re.search(rf"\n    {command}\s", ran.stdout) for command in ("dev", "serve", "invoke", "logs", "list", "fire", "generate-event"))


@pytest.mark.parametrize("command", ["dev", "serve", "invoke", "logs", "list", "fire", "generate-event"])
def test_every_command_has_help_with_examples(command: str) -> None:
    ran = run(command, "--help")
    assert ran.returncode == 0
    assert f"examples:\n  microlam {command}" in ran.stdout


def test_the_version() -> None:
    import microlam
    assert run("--version").stdout == f"microlam {microlam.__version__}\n"


def test_no_command_prints_help_and_is_a_usage_error() -> None:
    assert "dev" in fails(run(), 2)


@pytest.mark.parametrize("arguments", [
    ("nonsense",), ("dev",), ("invoke",), ("dev", ".", "--no-such-flag"), ("fire", "x", "--schedule", "0"), ("logs", "x", "--last", "many"),
    ("invoke", "x", "--invocation-type", "Later"), ("generate-event", "s3"), ("generate-event", "s3", "put", "--no-such-field", "x"),
])
def test_what_is_not_understood_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert "usage: microlam" in fails(run(*arguments), 2)


@pytest.mark.parametrize(("arguments", "command", "meant"), [
    (("dev", ".", "--prot", "1"), "dev", "--port"), (("invoke", "x", "--endpont-url=y"), "invoke", "--endpoint-url"),
    (("generate-event", "s3", "put", "--buket", "x"), "generate-event s3 put", "--bucket"),
])
def test_a_flag_with_a_slip_in_it_is_told_with_the_one_that_may_be_meant(arguments: tuple[str, ...], command: str, meant: str) -> None:
    said = fails(run(*arguments), 2)
    assert f"usage: microlam {command} [-h]" in said
    assert said.endswith(f". Did you mean {meant}?\n")


@pytest.mark.parametrize("arguments", [
    ("dev",), ("serve",), ("invoke",), ("logs",), ("fire",), ("publish",), ("alias", "hello"), ("promote", "hello"), ("rollback", "hello"),
])
def test_an_empty_name_is_none(arguments: tuple[str, ...]) -> None:
    name = {"dev": "FOLDER", "serve": "FOLDER"}.get(arguments[0], "NAME" if len(arguments) == 1 else "ALIAS")
    assert f"argument {name}: it is empty" in fails(run(*arguments, ""), 2)


def test_help_tells_where_the_region_comes_from() -> None:
    words = " ".join(run("dev", "--help", COLUMNS="200").stdout.split())
    assert "environment (default AWS_REGION, else AWS_DEFAULT_REGION, else us-east-1)" in words


def test_help_and_small_commands_load_no_server() -> None:
    code = "import sys; from microlam.cli import main; main(['list']); print(sorted({'aiohttp', 'asyncio', 'jinja2', 'aiosqlite'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment(AWS_ENDPOINT_URL="http://127.0.0.1:1"))
    assert ran.stdout == "[]\n"


# ---- a server that cannot start --------------------------------------------------------------------------------------

def test_a_missing_folder(tmp_path: Path) -> None:
    assert f"There is no folder {tmp_path / 'gone'}" in fails(run("dev", str(tmp_path / "gone")))


def test_a_file_for_a_folder(tmp_path: Path) -> None:
    write(tmp_path, {"functions/hello.py": HELLO})
    file = tmp_path / "functions" / "hello.py"
    assert fails(run("dev", str(file))) == f"microlam: {file} is a file. Name the folder that it is in: {file.parent}\n"


@pytest.mark.parametrize("flag", ["--data", "--buckets", "--requirements"])
def test_a_file_where_a_setting_names_a_folder(tmp_path: Path, flag: str) -> None:
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below"):
        said = fails(run("dev", str(tmp_path), flag, str(place)))
        assert said == f"microlam: {flag[2:]} = {place}, from {flag}, cannot be used: {file} is a file, and no folder. Name another with {flag}.\n"


def test_a_folder_of_buckets_must_be_there(tmp_path: Path) -> None:
    said = fails(run("dev", str(tmp_path), "--buckets", str(tmp_path / "gone")))
    assert said == f"microlam: There is no folder {tmp_path / 'gone'}. Create it, or name another with --buckets.\n"


@pytest.mark.parametrize(("toml", "words"), [
    ("[microlam\n", ["microlam.toml", "line 1"]), ("microlam = 3\n", ["microlam.toml", "[microlam]"]),
    ("[microlam]\nprot = 1\n", ["prot", "Did you mean port?"]),
    ('[microlam]\nport = "high"\n', ["port = 'high'", "0 to 65535"]), (b"\xff", ["microlam.toml"]),
])
def test_a_broken_microlam_toml(tmp_path: Path, toml: str | bytes, words: list[str]) -> None:
    (tmp_path / "microlam.toml").write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    said = fails(run("dev", str(tmp_path)))
    assert [word for word in words if word not in said] == []


def test_a_microlam_toml_may_begin_with_a_byte_order_mark(serve: Serve) -> None:
    server = serve({"hello.py": "def handler(event, context): return context.function_name", "microlam.toml": "\ufeff[microlam]\nregion = 'eu-west-1'\n"})
    assert server.get("/hello").text == "hello"


def test_a_value_that_cannot_be(tmp_path: Path) -> None:
    assert "--drain" in fails(run("dev", str(tmp_path), "--drain", "long"))
    assert "MICROLAM_DRAIN" in fails(run("dev", str(tmp_path), MICROLAM_DRAIN="long"))


def test_an_address_that_is_not_safe(tmp_path: Path) -> None:
    said = fails(run("dev", str(tmp_path), "--host", "0.0.0.0", "--port", "0"))
    assert all(flag in said for flag in ("--admin-token", "--access-key", "--secret-key"))


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} is already in use" in fails(run("dev", str(tmp_path), "--port", str(port)))


def test_a_data_folder_that_another_server_holds(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    assert "in use by another microlam server" in fails(run("dev", str(server.folder), "--port", "0"))


# ---- a server's life -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_well(serve: Serve, number: int) -> None:
    server = serve({"hello.py": HELLO})
    assert server.get("/hello").status == 200
    assert server.stop(number) == 0
    assert "Traceback" not in "\n".join(server.lines)


def test_dev_tells_what_it_found_and_each_invocation(serve: Serve) -> None:
    server = serve({"hello.py": HELLO, "nightly.py": NIGHTLY, "flaky.py": FLAKY})
    assert server.printed(r"hello +ANY /hello$")
    assert server.printed(r"nightly +.*cron\(0 4 \* \* \? \*\) Europe/Berlin   next ")
    assert server.printed(rf"Admin +{server.url}/_microlam/$")
    server.get("/hello/there")
    assert server.printed(r"^\d\d:\d\d:\d\d\.\d\d\d  hello .*\$LATEST  http GET /hello/there +succeeded .*ms  cold$")
    server.get("/hello")
    assert server.printed(r"http GET /hello +succeeded .*  warm$")
    on(server, "invoke", "flaky")
    assert server.printed(r"flaky .* failed .*KeyError: 'total'$")


def test_serve_prints_no_invocations(tmp_path: Path) -> None:
    folder = tmp_path / "functions"
    write(folder, {"hello.py": HELLO})
    command = [sys.executable, "-m", "microlam", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    quiet = Server(folder, process)
    assert process.stdout
    for line in process.stdout:
        quiet.lines.append(line.rstrip("\n"))
        if "Functions" in line:
            quiet.url = line.split()[-1]
        if "Ctrl-C" in line:
            break
    assert quiet.get("/hello").status == 200
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "GET /hello" not in rest


# ---- invoke ----------------------------------------------------------------------------------------------------------

def test_invoke_prints_the_reply_alone_on_standard_output(server: Server, tmp_path: Path) -> None:
    assert json.loads(on(server, "invoke", "hello").stdout) == {"hello": None}
    event = tmp_path / "event.json"
    event.write_text('{"name": "Ada"}')
    ran = on(server, "invoke", "hello", "-e", str(event))
    assert (ran.returncode, ran.stdout) == (0, '{"hello": "Ada"}\n')
    assert "greeting Ada" in ran.stderr
    assert json.loads(on(server, "invoke", "hello", "-e", "-", input='{"name": "Grace"}').stdout) == {"hello": "Grace"}


def test_invoke_of_a_function_that_fails_has_status_1(server: Server) -> None:
    ran = on(server, "invoke", "flaky")
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["errorType"] == "KeyError"
    assert "flaky failed" in ran.stderr


def test_invoke_later_and_not_at_all(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    assert on(server, "invoke", "hello", "--invocation-type", "DryRun").returncode == 0
    ran = on(server, "invoke", "hello", "--invocation-type", "Event")
    assert (ran.returncode, ran.stdout) == (0, "")
    [invocation] = server.ended(1)
    assert invocation["id"] in ran.stderr


def test_invoke_signs_with_the_environments_keys(serve: Serve) -> None:
    server = serve({"hello.py": HELLO}, "--host", "0.0.0.0", "--admin-token", "t0ken", "--access-key", "KEY", "--secret-key", "secret")
    keys = {"AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": "KEY"}
    assert run("invoke", "hello", **keys, AWS_SECRET_ACCESS_KEY="secret").returncode == 0
    for refused in (run("invoke", "hello", **keys, AWS_SECRET_ACCESS_KEY="wrong"), run("invoke", "hello", "--admin-token", "t0ken", AWS_ENDPOINT_URL=server.url)):
        assert "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the server's --access-key and --secret-key." in fails(refused)
    assert "AWS_SECRET_ACCESS_KEY" in run("invoke", "--help").stdout
    assert "asks for its token" in fails(run("list", **keys))
    assert "not the token this server was started with" in fails(run("list", "--admin-token", "other", **keys))
    assert "hello" in run("list", "--admin-token", "t0ken", **keys).stdout
    assert "hello" in run("list", MICROLAM_ADMIN_TOKEN="t0ken", **keys).stdout


def test_what_invoke_cannot_do_it_says_in_a_line(server: Server, tmp_path: Path) -> None:
    assert "Function not found" in fails(on(server, "invoke", "gone"))
    assert "gone.json: No such file" in fails(on(server, "invoke", "hello", "-e", str(tmp_path / "gone.json")))
    broken = tmp_path / "broken.json"
    broken.write_text("{,}")
    assert "broken.json is not JSON" in fails(on(server, "invoke", "hello", "-e", str(broken)))
    assert "standard input is not JSON" in fails(on(server, "invoke", "hello", "-e", "-", input=""))
    assert "nesting depth (1001) exceeds the maximum" in fails(on(server, "invoke", "hello", "-e", "-", input="[" * 100_000 + "]" * 100_000))


def test_a_number_of_many_digits_is_json_and_passed_on(server: Server) -> None:
    ran = on(server, "invoke", "hello", "-e", "-", "--invocation-type", "DryRun", input='{"name": ' + "7" * 5000 + "}")
    assert (ran.returncode, ran.stderr) == (0, "hello could be invoked; a dry run ends there.\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("list",), ("compat",), ("generate-event", "s3", "put")])
def test_output_that_nothing_takes_is_told_in_a_line(server: Server, arguments: tuple[str, ...], unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run([sys.executable, "-m", "microlam", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                             env=environment(AWS_ENDPOINT_URL=server.url, PYTHONUNBUFFERED=unbuffered))
    assert (ran.returncode, ran.stderr) == (1, "microlam: The output cannot be written: No space left on device.\n")


# ---- list, logs, fire ------------------------------------------------------------------------------------------------

def test_list_shows_functions_and_what_leads_to_them(server: Server) -> None:
    ran = on(server, "list")
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert lines[0][0] == "FUNCTION"
    hello = next(number for number, line in enumerate(lines) if line[0] == "hello")
    assert lines[hello][2:] == ["ANY", "/hello"]
    assert lines[hello + 1] == ["ANY", "/hello/{proxy+}"]
    assert any("cron(0 4 * * ? *) Europe/Berlin" in line and "next 20" in line for line in ran.stdout.splitlines())


def test_logs_prints_the_newest_last(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    for name in ("Ada", "Grace", "Edsger"):
        on(server, "invoke", "hello", "-e", "-", input=json.dumps({"name": name}))
    ran = on(server, "logs", "hello", "--last", "2")
    assert [line for line in ran.stdout.splitlines() if line.startswith("greeting")] == ["greeting Grace", "greeting Edsger"]
    assert ran.stdout.splitlines()[-1].startswith("REPORT")
    assert "no function gone" in fails(on(server, "logs", "gone"))


def test_logs_follows_with_tail_until_it_is_interrupted(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})
    on(server, "invoke", "hello", "-e", "-", input='{"name": "early"}')
    command = [sys.executable, "-m", "microlam", "logs", "hello", "--tail", "--endpoint-url", server.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    tail = Server(server.folder, process)
    assert process.stdout
    while "greeting early\n" not in tail.lines:
        tail.lines.append(process.stdout.readline())
    server.request("POST", "/2015-03-31/functions/hello/invocations", b'{"name": "late"}')
    while "greeting late\n" not in tail.lines:
        tail.lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert sum(line.startswith("greeting") for line in tail.lines) == 2


def test_logs_goes_on_when_the_server_is_started_again(serve: Serve) -> None:
    at = ("--port", str(free_port()))
    server = serve({"hello.py": HELLO}, *at)
    on(server, "invoke", "hello", "-e", "-", input='{"name": "early"}')
    command = [sys.executable, "-m", "microlam", "logs", "hello", "--tail", "--endpoint-url", server.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout
    assert process.stderr
    while process.stdout.readline() != "greeting early\n":
        assert process.poll() is None
    for turn in ("once", "twice"):
        server.stop(signal.SIGKILL)
        assert process.stderr.readline() == f"microlam: The server at {server.url} does not answer; waiting for it.\n"
        server = serve({}, *at)
        server.request("POST", "/2015-03-31/functions/hello/invocations", json.dumps({"name": turn}).encode())
        while (line := process.stdout.readline()) != f"greeting {turn}\n":
            assert not line.startswith("greeting")
            assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")


def test_list_shows_what_is_paused(serve: Serve) -> None:
    server = serve({"hello.py": HELLO, "nightly.py": NIGHTLY})
    [first, _] = server.get("/_microlam/triggers.json").json()["schedules"]
    server.request("POST", f"/_microlam/triggers/{first['id']}/pause")
    server.request("POST", "/_microlam/functions/hello/pause")
    shown = [re.split("  +", line.strip())[-2:] for line in on(server, "list").stdout.splitlines()]
    assert [first["summary"], "paused"] in shown
    assert ["ANY /hello", "paused"] in shown
    assert sum(last.startswith("next ") for _, last in shown) == 1


def test_fire_fires_one_schedule_as_of_a_time(server: Server) -> None:
    ran = on(server, "fire", "nightly", "--time", "2026-03-29T02:00:00Z", "--schedule", "2")
    id = ran.stdout.strip()
    until(lambda: server.invocation(id).get("status") == "succeeded", f"for {ran}")
    assert server.invocation(id)["reply"] == "2026-03-29T02:00:00Z"
    assert "There is no schedule 1 of hello" in fails(on(server, "fire", "hello"))
    assert "Function not found" in fails(on(server, "fire", "gone"))
    assert "time is 'soon'" in fails(on(server, "fire", "nightly", "--time", "soon"))


# ---- no server -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [("invoke", "hello"), ("logs", "hello"), ("list",), ("fire", "hello")])
def test_without_a_server_a_command_says_how_to_start_one(arguments: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    said = fails(run(*arguments, "--endpoint-url", url))
    assert url in said
    assert "microlam dev FOLDER" in said


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1:1", "http://[", "http://127.0.0.1:port"])
def test_an_address_that_is_none(url: str) -> None:
    assert url in fails(run("list", "--endpoint-url", url))


@pytest.mark.parametrize("arguments", [("list",), ("invoke", "hello"), ("logs", "hello"), ("fire", "hello")])
def test_an_address_with_too_much_behind_it(server: Server, arguments: tuple[str, ...]) -> None:
    said = fails(run(*arguments, "--endpoint-url", f"{server.url}/foo"))
    assert f"There is no microlam server at {server.url}/foo" in said
    assert f"by its address alone, such as --endpoint-url {server.url}, or where " in said


async def test_within_an_application_the_command_line_is_told_where_the_admin_is(tmp_path: Path) -> None:
    write(tmp_path, {"functions/hello.py": HELLO})
    app = web.Application()
    setup(app, tmp_path / "functions", prefix="/fn", aws="/aws", admin="/admin", data=tmp_path / "data")
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")

        async def told(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
            return await asyncio.to_thread(run, *arguments, **variables)

        assert "ANY /hello" in (await told("list", "--admin-url", f"{url}/admin")).stdout
        variables = {"AWS_ENDPOINT_URL": f"{url}/aws", "MICROLAM_ADMIN_URL": f"{url}/admin/"}
        assert (await told("publish", "hello", **variables)).stdout == "hello: version 1\n"
        assert (await told("invoke", "hello:1", **variables)).stdout == '{"hello": null}\n'
        for at in ("", "/fn", "/aws", "/admin"):
            said = fails(await told("list", "--endpoint-url", url + at))
            assert f"There is no microlam server at {url}{at}. " in said
            assert said.endswith(f"here it is part of an application, its admin: --admin-url {url}/admin\n")
            assert (f"--endpoint-url {url}," in said) == bool(at)
            if at != "/aws":
                said = fails(await told("invoke", "hello", "--endpoint-url", url + at))
                assert said.endswith(f"the address of its AWS API: --endpoint-url {url}/aws\n")


@pytest.mark.parametrize("arguments", [("invoke", "hello"), ("fire", "hello"), ("publish", "hello"), ("list",), ("logs", "hello")])
def test_a_server_that_is_something_else(arguments: tuple[str, ...]) -> None:
    class Else(BaseHTTPRequestHandler):
        def log_message(self, *what: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Else) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        said = fails(run(*arguments, "--endpoint-url", url))
        other.shutdown()
    assert said == f"microlam: What answers at {url} is not a microlam server (501 Not Implemented). Name one with --endpoint-url.\n"


def cut_off(reset: bool, whole: int = 0) -> ThreadingHTTPServer:
    """A server whose replies are errors that end before their end; `whole` ones come before."""
    left = [b'{"invocations": [], "functions": [{"name": "hello"}]}'] * whole

    class Cut(BaseHTTPRequestHandler):
        def log_message(self, *what: object) -> None: ...

        def do_GET(self) -> None:
            body = left.pop() if left else b""
            self.send_response(200 if body else 502)
            self.send_header("Content-Length", str(len(body) or 100))
            self.end_headers()
            self.wfile.write(body or b"abc")
            if not body and reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Cut)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize("arguments", [("list",), ("invoke", "hello")])
@pytest.mark.parametrize(("reset", "reason"), [(True, "Connection reset by peer"), (False, "IncompleteRead(3 bytes read, 97 more expected)")])
def test_an_error_that_is_cut_off_is_a_server_that_is_away(arguments: tuple[str, ...], reset: bool, reason: str) -> None:
    with cut_off(reset) as other:
        url = f"http://127.0.0.1:{other.server_port}"
        said = fails(run(*arguments, "--endpoint-url", url))
        other.shutdown()
    assert f"No microlam server answers at {url} ({reason}). Start one" in said


@pytest.mark.parametrize("reset", [True, False])
def test_logs_with_tail_waits_for_the_admin_that_was_named_when_an_error_is_cut_off(reset: bool) -> None:
    with cut_off(reset, whole=2) as other:
        url = f"http://127.0.0.1:{other.server_port}/admin"
        process = subprocess.Popen([sys.executable, "-m", "microlam", "logs", "hello", "--tail", "--admin-url", url], stderr=subprocess.PIPE, text=True,
                                   env=environment())
        assert process.stderr
        assert process.stderr.readline() == f"microlam: The server at {url} does not answer; waiting for it.\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        other.shutdown()
    assert (process.returncode, errors) == (130, "")


def test_a_page_is_no_reply_of_a_function() -> None:
    class Page(BaseHTTPRequestHandler):
        def log_message(self, *what: object) -> None: ...

        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        said = fails(run("invoke", "hello", "--endpoint-url", f"http://127.0.0.1:{other.server_port}"))
        other.shutdown()
    assert "is not a microlam server." in said


@pytest.mark.parametrize("arguments", [("invoke", "nope"), ("fire", "nope"), ("publish", "nope"), ("alias", "nope", "live", "--version", "1")])
def test_of_a_function_that_is_not_there_it_is_said_where_one_sees_them(server: Server, arguments: tuple[str, ...]) -> None:
    said = fails(on(server, *arguments))
    assert "Function not found: " in said
    assert said.removesuffix(". `microlam list` shows the functions.\n").endswith(("nope", "nope:$LATEST"))


def test_of_a_version_that_is_not_there_too(server: Server) -> None:
    assert "hello:9. `microlam list` shows the functions, their pages in the admin" in fails(on(server, "invoke", "hello", "--qualifier", "9"))


def test_a_reader_that_has_enough_is_no_error(server: Server) -> None:
    command = f"{sys.executable} -m microlam list --endpoint-url {server.url} | head -0; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment(), check=True)
    assert (ran.stdout, ran.stderr) == ("0\n", "")


# ---- publish, alias, promote, rollback -------------------------------------------------------------------------------

def test_a_canary_goes_from_its_first_version_to_its_rollback(serve: Serve) -> None:
    server = serve({"hello.py": HELLO})

    def said(*arguments: str) -> str:
        ran = on(server, *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    assert "hello has no version 1; it has none yet. `microlam publish hello` makes one." in fails(on(server, "alias", "hello", "live", "--version", "1"))
    assert "The description has 257 characters; it may have 256." in fails(on(server, "publish", "hello", "--description", "x" * 257))
    assert said("publish", "hello", "--description", "x" * 256) == "hello: version 1"
    assert "hello has no alias live; say which version it is to name: --version N." in fails(on(server, "alias", "hello", "live"))
    assert said("publish", "hello") == "hello: version 1, as before: nothing has changed since"
    assert said("alias", "hello", "live", "--version", "1") == "hello:live is version 1, new"
    server.write({"hello.py": HELLO + "    # better\n"})
    assert said("publish", "hello", "--description", "better") == "hello: version 2"
    assert said("alias", "hello", "live", "--weight", "2=0.1") == "hello:live is version 1 with 10 % to version 2, was version 1"
    assert server.client().get_alias(FunctionName="hello", Name="live")["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}
    assert said("promote", "hello", "live") == "hello:live is version 2, was version 1 with 10 % to version 2"
    assert said("rollback", "hello", "live") == "hello:live is version 1, was version 2"
    changes = server.get("/_microlam/functions/hello/changes.json").json()["changes"]
    assert {change["origin"] for change in changes} == {"cli"}

    assert "nothing to go back to" in fails(on(server, "rollback", "hello", "live"))
    assert "no other to promote" in fails(on(server, "promote", "hello", "live"))
    assert "Cannot find alias" in fails(on(server, "promote", "hello", "none"))
    for version in ("9", "x"):
        said_no = f"hello has no version {version}; its versions are 1, 2. `microlam publish hello` makes one."
        assert said_no in fails(on(server, "alias", "hello", "live", "--version", version))
    assert "hello has no version 7; " in fails(on(server, "alias", "hello", "live", "--weight", "7=0.1"))
    assert "as 2=0.1" in fails(on(server, "alias", "hello", "live", "--weight", "2"), status=2)


def test_code_that_does_not_run_is_not_published(serve: Serve) -> None:
    server = serve({"hello.py": "import nothing_of_that_name\n" + HELLO.replace("\n    ", "\n")})
    assert "Runtime.ImportModuleError" in fails(on(server, "publish", "hello"))
