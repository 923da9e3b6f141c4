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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import HELLO, Server, free_port, microlam, running, scratch
from benchmarks.throughput import against, requests_a_second

CACHE = Path(__file__).parent.parent / "build" / "peers"
RUNTIME = "python3.11"      # a label: both peers that ask for it run the Python they find
FUNCTION = """
from hello import handler
def hello(request):
    reply = handler({}, None)
    return reply["body"], reply["statusCode"], reply["headers"]
"""
SERVERLESS = f"""
service: peer
frameworkVersion: "3"
provider: {{name: aws, runtime: {RUNTIME}}}
plugins: [serverless-offline]
functions: {{hello: {{handler: hello.handler, events: [{{httpApi: "GET /hello"}}]}}}}
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
# MiniStack listens on every address and has no setting for it; and it waits 50 ms for the output of a silent handler.
LOOPBACK = """
import runpy, socket
bind = socket.socket.bind
socket.socket.bind = lambda self, address: bind(self, ("127.0.0.1", *address[1:]) if address[0] == "0.0.0.0" else address)
runpy.run_module("ministack", run_name="__main__")
"""
PRINTS = HELLO.replace("    return", "    print('hello')\n    return")
INVOKE = ("-s", str(Path(__file__).with_name("invoke.lua")))


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A package of PyPI, or some of npm: how it is started in a folder with these files, and what wrk asks it."""

    name: str
    how: str
    command: str
    files: Mapping[str, str]
    npm: tuple[str, ...] = ()
    ready: str = "/hello"
    handler: str = HELLO
    flags: tuple[str, ...] = ()


PEERS = (
    Peer(name="functions-framework", how="its gunicorn",
         command="bin/functions-framework --target hello --host 127.0.0.1 --port PORT", files={"hello.py": HELLO, "main.py": FUNCTION}),
    Peer(name="serverless-offline", how="Python handler", npm=("serverless-offline@13", "serverless@3"),    # serverless 4 wants a login
         command="node_modules/.bin/serverless offline --host 127.0.0.1 --httpPort PORT --lambdaPort OTHER",
         files={"hello.py": HELLO, "serverless.yml": SERVERLESS}),
    Peer(name="ministack", how="Invoke, to microlam's Invoke; the handler prints a line", handler=PRINTS, flags=INVOKE,
         command="bin/python loopback.py", files={"loopback.py": LOOPBACK}, ready="/_ministack/health"),
    Peer(name="chalice", how="`chalice local`",
         command="bin/chalice local --host 127.0.0.1 --port PORT --no-autoreload",
         files={"hello.py": HELLO, "app.py": CHALICE, ".chalice/config.json": '{"version": "2.0", "app_name": "hello"}'}),
)


def measure() -> list[tuple[str, str, str]]:
    """Rows of the table: peer, ratio to microlam at 1 connection, at 32."""
    return [row(peer) for peer in PEERS]


def row(peer: Peer) -> tuple[str, str, str]:
    version = "?"
    with microlam({"hello.py": peer.handler}) as reference:
        try:
            version = install(peer)
            with started(peer) as server:
                if peer.flags == INVOKE:
                    create_function(server, peer.handler)
                elif server.get() != reference.get():
                    raise SystemExit(f"it answers {server.get()!r}")
                one, many = cell(reference, server, 1, peer.flags), cell(reference, server, 32, peer.flags)
        except (SystemExit, Exception) as error:    # whatever it is, it goes into the row
            one, many = because(error), "–"
    return f"{peer.name} {version} ({peer.how})", one, many


def cell(reference: Server, server: Server, connections: int, flags: tuple[str, ...]) -> str:
    """A ratio and a rate, or why there is none."""
    for each in (reference, server):
        with suppress(SystemExit):  # as many workers start as the connections need: replies may be late here, and are not counted
            requests_a_second(each, connections, 4, flags)
    try:
        [(ratio, rate)] = against(reference, [server], connections, seconds=1, flags=flags)
    except (SystemExit, subprocess.TimeoutExpired) as error:
        return because(error)
    return f"{ratio:.3f} ({rate:,.0f}/s)"


def because(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [repr(error)]
    said = dict.fromkeys(textwrap.shorten(line, 150) for line in (lines[0], lines[-1]))
    return f"not measured: {' … '.join(said)}".replace("|", "/")


def install(peer: Peer) -> str:
    """Its version, once it is in its folder."""
    folder = CACHE / peer.name
    if (folder / "version").exists():
        return (folder / "version").read_text()
    print(f"Installing {peer.name} into {folder} (once)", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if peer.npm:
        run(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", *peer.npm)
        version = run(folder, "node", "-p", f"require('./node_modules/{peer.name}/package.json').version")
    else:
        run(folder, sys.executable, "-m", "venv", ".")
        run(folder, "bin/python", "-m", "pip", "install", "--quiet", peer.name)
        version = run(folder, "bin/python", "-c", f"import importlib.metadata; print(importlib.metadata.version('{peer.name}'))")
    (folder / "version").write_text(version)
    return version


def run(folder: Path, *command: str) -> str:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: {ran.stderr or ran.stdout}")
    return ran.stdout.strip()


@contextmanager
def started(peer: Peer) -> Iterator[Server]:
    with scratch(peer.files) as folder:
        port = free_port()
        program, *rest = peer.command.replace("PORT", str(port)).replace("OTHER", str(free_port())).split()
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",   # serverless-offline starts the first python3
            "SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off",
            "GATEWAY_PORT": str(port), "TMPDIR": str(folder), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",     # MiniStack's
        }
        with running([str(CACHE / peer.name / program), *rest], port, folder, path=peer.ready, environment=environment) as server:
            yield server


def create_function(server: Server, handler: str) -> None:
    import boto3

    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("hello.py", handler)
    address, key = f"http://127.0.0.1:{server.port}", "test"
    client = boto3.client("lambda", endpoint_url=address, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=key)
    client.create_function(
        FunctionName="hello", Runtime=RUNTIME, Role="arn:aws:iam::000000000000:role/peer", Handler="hello.handler", Code={"ZipFile": package.getvalue()})
    client.get_waiter("function_active_v2").wait(FunctionName="hello")
