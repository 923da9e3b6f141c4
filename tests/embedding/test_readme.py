"""README's examples of embedding and testing, run as they stand; and those in the docstrings of the public classes."""
from __future__ import annotations

import asyncio
import doctest
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import microlam
import microlam.testing
from tests.conftest import environment, write
from tests.test_asgi import served

README = (Path(__file__).parents[2] / "README.md").read_text()
FUNCTIONS = {
    "functions/hello.py": """
        def handler(event, context):
            name = event.get("name") or event.get("queryStringParameters", {}).get("name")
            return {"message": f"Hello, {name}!"}
        """,
    "functions/price.py": "PRICES = {'tea': 640}\ndef handler(event, context): return sum(PRICES[name] * count for name, count in event.items())\n",
}


def example(name: str) -> str:
    """The block of Python that begins with this comment."""
    return f"# {name}\n" + README.partition(f"```python\n# {name}\n")[2].partition("```")[0]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path, FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_the_aiohttp_example(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run: list[web.Application] = []
    monkeypatch.setattr(web, "run_app", run.append)
    exec(compile(example("embed"), "embed.py", "exec"), {"__name__": "embed"})
    async with TestClient(TestServer(run[0])) as http:
        ordered = await (await http.post("/orders", json={"tea": 2})).json()
        assert (ordered["total"], ordered["version"]) == (1280, "$LATEST")
        assert (await http.post("/orders", json={"moon": 2})).status == 502
        assert await (await http.get("/fn/greet/Ada")).text() == "Hello, Ada!"
        assert (await http.get("/admin/health")).status == 200
    assert "KeyError" in capsys.readouterr().out


async def test_the_fastapi_example(here: Path) -> None:
    names: dict[str, Any] = {"__name__": "mounted"}
    # FastAPI resolves annotations in the module's own names.
    exec(compile(example("fastapi"), "mounted.py", "exec"), names)
    async with served(names["app"]) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/fn/hello?name=Ada") as reply:
            assert await reply.json() == {"message": "Hello, Ada!"}
        async with http.get(f"{url}/fn/admin/health") as reply:
            assert reply.status == 200


def test_the_testing_example(pytester: pytest.Pytester) -> None:
    write(pytester.path, {
        "functions/hello.py": "def handler(event, context): return f\"Hello, {event['name']}!\"\n",
        "functions/worker.py": "def handler(event, context): return int(event['Records'][0]['body'])\n",
        "functions/nightly.py": "from microlam import schedule\n@schedule('cron(0 4 * * ? *)')\ndef handler(event, context): raise OSError\n",
        "functions/thumb.py": "from microlam import on_file\n@on_file('uploads', suffix='.png')\ndef handler(event, context): return {'made': 'a.jpg'}\n",
        "functions/shop.py": """
            import json
            from microlam import http
            @http("POST /orders")
            def handler(event, context):
                return {"statusCode": 201, "body": json.dumps({"total": 640 * json.loads(event["body"])["tea"]})}
            """,
        "tests/test_shop.py": example("tests/test_shop.py"),
    })
    pytester.makeini("[pytest]\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=5)


@pytest.mark.parametrize("documented", [microlam.Microlam, microlam.testing.AsyncClient, microlam.testing.Client, microlam.Outcome, microlam.Invocation])
def test_what_docstrings_show_is_what_happens(documented: type, here: Path) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    [shown] = finder.find(documented, globs={**vars(microlam.testing), **vars(microlam), "Microlam": microlam.Microlam, "asyncio": asyncio,
                                             "Outcome": microlam.Outcome, "Invocation": microlam.Invocation})
    assert shown.examples
    said: list[str] = []
    doctest.DocTestRunner().run(shown, out=said.append)
    assert not said, "".join(said)


def test_users_with_a_strict_type_checker_are_content(here: Path) -> None:
    api: Callable[..., Any] = pytest.importorskip("mypy.api").run
    write(here, {"embed.py": example("embed"), "mounted.py": example("fastapi"), "kit.py": """
        from microlam.testing import Client

        with Client("functions/", at="2026-03-28T12:00Z", concurrency=3) as client:
            status: int = client.http.post("/orders", json={"tea": 2}).status
            attempts: list[int] = [found.attempt for found in client.invocations("hello")]
            client.clock.advance(minutes=5)
        """, "whole.py": """
        import microlam

        handler = microlam.adapters.asgi(object())
        with microlam.testing.Client("functions/") as client:
            status: int = client.http.get("/hello").status
        """, "wrong.py": """
        import microlam

        microlam.Microlam("functions/", concurrency="many")
        """})
    told, _, _ = api(["--strict", "--cache-dir", str(Path(__file__).parents[2] / ".mypy_cache"), "embed.py", "mounted.py", "kit.py", "whole.py", "wrong.py"])
    *errors, summary = told.splitlines()
    assert [(line.partition(":")[0], 'expected "int"' in line) for line in errors] == [("wrong.py", True)], told
    assert summary == "Found 1 error in 1 file (checked 5 source files)"


def test_the_flags_that_debugging_takes_are_there() -> None:
    ran = subprocess.run([sys.executable, "-m", "microlam", "dev", "--help"], capture_output=True, text=True, env=environment(), check=True)
    shown = README.partition("## Debug")[2].partition("\n## ")[0]
    for flag in ("--debug-port", "--debug-function", "--wait", "--executor"):
        assert flag in shown
        assert flag in ran.stdout
