"""A headless Chromium, and one server with real functions that all browser tests look at."""
from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import find
from tests.conftest import WAIT, Server, start, write

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")

FILES = {
    "hello.py": """
        def handler(event, context):
            return {"hello": (event.get("queryStringParameters") or {}).get("name", "world")}
    """,
    "orders.py": """
        import json, logging
        from microlam import http

        logging.getLogger().setLevel("INFO")

        @http("POST /orders/{id}")
        def handler(event, context):
            logging.info("order %s", event["pathParameters"]["id"])
            print(json.dumps({"level": "WARNING", "message": "slow card", "took": 12}))
            print("<script>document.title = 'owned'</script>")
            if event["pathParameters"]["id"] == "7":
                raise KeyError("total")
            return {"statusCode": 201, "body": "<img src=x onerror=alert(1)>"}
    """,
    "seen.py": """
        from microlam import on_file, schedule

        @schedule("cron(0 4 * * ? *)", timezone="Europe/Berlin")
        @on_file("uploads", suffix=".txt")
        def handler(event, context):
            return [record["s3"]["object"]["key"] for record in event.get("Records", [])]
    """,
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find()
    if path is None:
        pytest.fail("There is no Chromium or Chrome for the browser tests: `make test` installs one, or name it in CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all that do not change what others look at."""
    folder = tmp_path_factory.mktemp("browser") / "functions"
    write(folder, FILES)
    (folder / "uploads").mkdir()
    server = start(folder)
    yield server
    server.stop(signal.SIGKILL)


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Open]:
    """open_page("functions") → a page of the admin; its console stays silent, so nothing was blocked and nothing failed, unless it is not `quiet`."""
    contexts, complaints = [], []

    def begin(path: str = "", *, url: str = "", quiet: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(WAIT * 1000)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if quiet and message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url or server.url}/_microlam/{path}")
        return page

    yield begin
    for context in contexts:
        context.close()
    assert complaints == []
