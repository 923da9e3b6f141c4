"""The example application, run as a program of its own and used from outside."""
from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import WAIT, Reply, environment, until, write

ROOT = Path(__file__).parents[2]
FUNCTIONS = {
    "price.py": '''
        PRICES = {"tea": 640}
        def handler(event, context):
            return sum(PRICES[name] * count for name, count in event.items())
        ''',
    "echo.py": "def handler(event, context): return {'rawPath': event['rawPath'], 'size': len(event.get('body', '')), 'http': event['requestContext']['http']['path']}\n",
    "calls.py": '''
        import boto3
        def handler(event, context):
            return boto3.client("lambda").invoke(FunctionName="price", Payload=b'{"tea": 1}')["Payload"].read().decode()
        ''',
}


class Shop:
    """The application's address, and a client that keeps its cookie."""

    def __init__(self, url: str) -> None:
        self.url, self.cookie = url, ""

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"Cookie": self.cookie} if self.cookie else {})
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, body, sent, method=method), timeout=WAIT) as reply:
                return Reply(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def log_in(self, name: str) -> None:
        self.cookie = self("POST", "/login", f"name={name}".encode()).headers["Set-Cookie"].partition(";")[0]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("shop")
    write(folder / "functions", FUNCTIONS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.embedding.application", str(folder / "functions"), str(folder / "data"), str(port)]
    with open(folder / "printed", "w") as printed:
        process = subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT, env=environment())
    until(lambda: process.poll() is not None or "Running on" in (folder / "printed").read_text(), "for the application")
    assert process.poll() is None, (folder / "printed").read_text()
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(WAIT) == 0, (folder / "printed").read_text()


@pytest.fixture
def shop(address: str) -> Shop:
    return Shop(address)


def test_the_hosts_route_has_a_function_do_the_work_under_its_own_session(shop: Shop) -> None:
    shop.log_in("ada")
    ordered = shop("POST", "/orders", b'{"tea": 2}')
    assert ordered.json() == {"total": 1280, "for": "ada", "version": "$LATEST"}
    refused = shop("POST", "/orders", b'{"moon": 1}')
    assert (refused.status, refused.json()) == (502, {"sorry": "'moon'"})
    log = shop("GET", "/log").json()
    assert log[0] == "opened"
    assert log[-2:] == ["price succeeded", "price failed"]


def test_functions_pass_through_the_hosts_middleware_and_know_nothing_of_the_prefix(shop: Shop) -> None:
    echoed = shop("POST", "/fn/echo/a%20b", b"x" * 3_000_000, Content_Type="text/plain")
    assert echoed.json() == {"rawPath": "/echo/a b", "size": 3_000_000, "http": "/fn/echo/a b"}
    assert re.fullmatch(r"total;dur=[\d.]+", echoed.headers["Server-Timing"])
    assert shop("GET", "/fn/nothing").status == 404
    assert shop("GET", "/echo").status == 404


def test_the_hosts_guard_keeps_the_admin_and_the_aws_api(shop: Shop) -> None:
    assert shop("GET", "/admin/health").status == 403
    with pytest.raises(ClientError, match="403"):
        aws(shop).invoke(FunctionName="price")
    shop.log_in("grace")
    assert shop("GET", "/admin/health").json()["functions"] == ["calls", "echo", "price"]
    found = re.search(r'href="([^"]*admin\.css[^"]*)"', shop("GET", "/admin/", Accept="text/html").text)
    assert found
    assert shop("GET", urljoin("/admin/", found[1])).status == 200
    assert shop("GET", "/admin/health", Host="shop.example").status == 200       # under whatever name: the guard is the host's
    assert shop("GET", "/admin/health", Origin="http://evil.example").status == 403


def test_boto3_speaks_to_the_api_under_its_prefix(shop: Shop) -> None:
    shop.log_in("grace")
    answered = aws(shop).invoke(FunctionName="price", Payload=json.dumps({"tea": 3}))
    assert json.load(answered["Payload"]) == 1920


def test_a_handler_calls_back_past_the_hosts_middlewares(shop: Shop) -> None:
    assert shop("GET", "/fn/calls").json() == 640


def aws(shop: Shop) -> Any:
    client = boto3.client("lambda", endpoint_url=f"{shop.url}/aws", region_name="us-east-1", aws_access_key_id="000000000000", aws_secret_access_key="any")
    client.meta.events.register("before-send", lambda request, **_: request.headers.update({"Cookie": shop.cookie}) if shop.cookie else None)
    return client
