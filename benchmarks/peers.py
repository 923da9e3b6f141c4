"""Other ways to run the same handler, beside microlam in one run.

Each peer is installed at its first use, into build/peers/; one that cannot be installed or started says why in its row.
"""
from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import HELLO, Server, free_port, microlam, running, scratch
from benchmarks.throughput import against, requests_a_second

CACHE = Path(__file__).parent.parent / "build" / "peers"
INVOKE = ("-s", str(Path(__file__).with_name("invoke.lua")))
PRINTS = HELLO.replace("    return", "    print('hello')\n    return")
RUNTIME = "python3.11"      # a label to these peers: both run the Python they find
WRAPPED = """
from hello import handler
def hello(request):
    reply = handler({}, None)
    return reply["body"], reply["statusCode"], reply["headers"]
"""
CHALICE = """
from chalice import Chalice, Response
from hello import handler
app = Chalice(app_name="hello")
@app.route("/hello")
def hello():
    reply = handler({}, None)
    return Response(body=reply["body"], headers=reply["headers"], status_code=reply["statusCode"])
"""
SERVERLESS = f"""
service: peer
frameworkVersion: "3"
provider: {{name: aws, runtime: {RUNTIME}}}
plugins: [serverless-offline]
functions: {{hello: {{handler: hello.handler, events: [{{httpApi: "GET /hello"}}]}}}}
"""
# MiniStack listens on every address, and has no setting for it.
MINISTACK = """
import runpy, socket
bind = socket.socket.bind
socket.socket.bind = lambda self, address: bind(self, ("127.0.0.1", *address[1:]) if address[0] == "0.0.0.0" else address)
runpy.run_module("ministack", run_name="__main__")
"""


@contextmanager
def functions_framework() -> Iterator[Server]:
    """The handler as an HTTP function, under the gunicorn that its command starts."""
    python = venv("functions-framework")
    with scratch({"hello.py": HELLO, "main.py": WRAPPED}) as folder:
        port = free_port()
        command = [str(python.with_name("functions-framework")), "--target", "hello", "--host", "127.0.0.1", "--port", str(port)]
        with running(command, port, folder) as server:
            yield server


@contextmanager
def chalice() -> Iterator[Server]:
    """`chalice local`, its reloader off."""
    python = venv("chalice")
    with scratch({"hello.py": HELLO, "app.py": CHALICE, ".chalice/config.json": '{"version": "2.0", "app_name": "hello"}'}) as folder:
        port = free_port()
        command = [str(python.with_name("chalice")), "local", "--host", "127.0.0.1", "--port", str(port), "--no-autoreload"]
        with running(command, port, folder) as server:
            yield server


@contextmanager
def serverless_offline() -> Iterator[Server]:
    """serverless-offline with an HTTP API route; serverless 3, since 4 wants a login."""
    modules = npm("serverless-offline", "serverless-offline@13", "serverless@3")
    with scratch({"hello.py": HELLO, "serverless.yml": SERVERLESS}) as folder:
        port = free_port()
        command = [str(modules / ".bin/serverless"), "offline", "--host", "127.0.0.1", "--httpPort", str(port), "--lambdaPort", str(free_port())]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        quiet = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off", "PATH": path}
        with running(command, port, folder, environment=quiet) as server:
            yield server


@contextmanager
def ministack() -> Iterator[Server]:
    """MiniStack with its default, local executor; its handler prints, since it waits 50 ms for the output of a silent one."""
    python = venv("ministack")
    with scratch({"loopback.py": MINISTACK}) as folder:
        port = free_port()
        environment = {"GATEWAY_PORT": str(port), "TMPDIR": str(folder), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
        with running([str(python), "loopback.py"], port, folder, path="/_ministack/health", environment=environment) as server:
            create_function(server, PRINTS)
            yield server


@dataclass(frozen=True)
class Peer:
    name: str
    how: str
    start: Callable[[], AbstractContextManager[Server]]
    handler: str = HELLO
    flags: tuple[str, ...] = ()

    def label(self) -> str:
        marker = CACHE / self.name / "installed"
        return f"{self.name} {marker.read_text() if marker.exists() else ''}, {self.how}"


PEERS = (
    Peer("functions-framework", "its gunicorn", functions_framework),
    Peer("serverless-offline", "Python handler", serverless_offline),
    Peer("ministack", "Invoke, to microlam's Invoke; the handler prints a line", ministack, PRINTS, INVOKE),
    Peer("chalice", "`chalice local`", chalice),
)


def measure() -> list[tuple[str, str, str]]:
    """Rows of the table: peer, ratio to microlam at 1 connection, at 32."""
    return [row(peer) for peer in PEERS]


def row(peer: Peer) -> tuple[str, str, str]:
    with microlam({"hello.py": peer.handler}) as reference:
        try:
            with peer.start() as server:
                if not peer.flags and server.get() != reference.get():
                    raise SystemExit(f"it answers {server.get()!r}, microlam {reference.get()!r}")
                one, many = (cell(reference, server, connections, peer.flags) for connections in (1, 32))
        except (SystemExit, OSError) as error:
            one, many = because(error), "–"
    return peer.label(), one, many


def cell(reference: Server, server: Server, connections: int, flags: tuple[str, ...]) -> str:
    """A ratio and a rate, or why there is none; measured when as many workers run as the connections need."""
    for each in (reference, server):
        with suppress(SystemExit):
            requests_a_second(each, connections, 4, flags)
    try:
        [(ratio, rate)] = against(reference, [server], connections, seconds=1, flags=flags)
    except SystemExit as error:
        return because(error)
    return f"{ratio:.3f} ({rate:,.0f}/s)"


def because(error: BaseException) -> str:
    return textwrap.shorten(f"not measured: {error}", 300).replace("|", "/")


def create_function(server: Server, handler: str) -> None:
    import boto3

    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("hello.py", handler)
    client = boto3.client(
        "lambda", endpoint_url=f"http://127.0.0.1:{server.port}", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    client.create_function(
        FunctionName="hello", Runtime=RUNTIME, Role="arn:aws:iam::000000000000:role/peer", Handler="hello.handler", Code={"ZipFile": package.getvalue()})
    client.get_waiter("function_active_v2").wait(FunctionName="hello")


# ---- installing ------------------------------------------------------------------------------------------------------

def venv(name: str) -> Path:
    """The Python of an environment of its own that has this package."""
    python = CACHE / name / "bin" / "python"
    version = f"import importlib.metadata as m; print(m.version({name!r}))"
    install(name, [sys.executable, "-m", "venv", "."], [str(python), "-m", "pip", "install", "--quiet", name], [str(python), "-c", version])
    return python


def npm(name: str, *packages: str) -> Path:
    """The node_modules that has these packages."""
    version = f"console.log(require('./node_modules/{name}/package.json').version)"
    install(name, ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", *packages], ["node", "-e", version])
    return CACHE / name / "node_modules"


def install(name: str, *commands: list[str]) -> None:
    """Run these once in the peer's folder; the last prints its version."""
    folder = CACHE / name
    if (folder / "installed").exists():
        return
    print(f"Installing {name} into {folder} (once)", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"{' '.join(command)}: {ran.stderr or ran.stdout}")
    (folder / "installed").write_text(ran.stdout.strip())
