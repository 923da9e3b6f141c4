"""Invoke through the AWS API, and through a weighted alias, against the same invocation over HTTP routing, on one server: A B A B, the median."""
from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import boto3

from benchmarks.servers import HELLO, Server, microlam
from benchmarks.throughput import requests_a_second

ROUNDS, SECONDS = 5, 2.0
SCRIPT = Path(__file__).parent / "invoke.lua"


def publish(server: Server) -> None:
    """Two versions of hello, and an alias that shares its invocations between them."""
    client = boto3.client(
        "lambda", endpoint_url=f"http://127.0.0.1:{server.port}", region_name="us-east-1", aws_access_key_id="000000000000", aws_secret_access_key="any",
    )
    client.publish_version(FunctionName="hello")
    [file] = server.folder.glob("hello.py")
    file.write_text(HELLO + "\n# another version\n")
    client.publish_version(FunctionName="hello")
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})


def measure() -> list[tuple[str, str, str]]:
    """Rows of the table: what, ratio at 1 connection, ratio at 32."""
    with microlam({"hello.py": HELLO}) as server, tempfile.TemporaryDirectory() as scripts:
        publish(server)
        weighted = Path(scripts) / "weighted.lua"
        weighted.write_text(SCRIPT.read_text().replace("functions/hello/", "functions/hello:live/"))
        subjects = {"Invoke over the API": SCRIPT, "Invoke over the API, a weighted alias": weighted}
        return [(name, *(cell(server, connections, ("-s", str(script))) for connections in (1, 32))) for name, script in subjects.items()]  # type: ignore[misc]


def cell(server: Server, connections: int, flags: tuple[str, ...]) -> str:
    """The median ratio to HTTP routing measured just before, and the median of invocations a second."""
    requests_a_second(server, connections, 1, flags)
    pairs = []
    for _ in range(ROUNDS):
        routed = requests_a_second(server, connections, SECONDS)
        invoked = requests_a_second(server, connections, SECONDS, flags)
        pairs.append((invoked / routed, invoked))
    return f"{statistics.median(ratio for ratio, _ in pairs):.2f} ({statistics.median(rate for _, rate in pairs):,.0f}/s)"
