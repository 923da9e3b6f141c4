"""microlam beside an aiohttp application's own routes."""
from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import microlam
from tests.conftest import write


async def test_functions_answer_where_the_host_does_not(tmp_path: Path) -> None:
    write(tmp_path, {"functions/hello.py": "def handler(event, context): return event['rawPath']\n", "functions/microlam.toml": "[microlam]\nconcurrency = 3\n"})

    async def own(request: web.Request) -> web.Response:
        return web.Response(text="the host's")

    app = web.Application()
    microlam.setup(app, tmp_path / "functions", prefix="/fn", data=tmp_path / "data")
    app.router.add_get("/own", own)
    async with TestClient(TestServer(app)) as client:
        assert await (await client.get("/own")).text() == "the host's"
        assert await (await client.get("/fn/hello")).text() == "/hello"
        assert (await client.get("/fn/nothing")).status == 404
        assert (await client.get("/hello")).status == 404
        assert (await (await client.get("/admin/health")).json())["functions"] == ["hello"]
        assert app[microlam.KEY].settings.concurrency == 3
        assert [function.name for function in app[microlam.KEY].functions.all()] == ["hello"]
