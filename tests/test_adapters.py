"""FastAPI and Flask applications as handlers, in both executors."""
from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import pytest

import microlam
from tests.conftest import write

FUNCTIONS = {
    "api.py": """
        from contextlib import asynccontextmanager
        from fastapi import FastAPI, Request
        from microlam.adapters import asgi

        started = 0

        @asynccontextmanager
        async def lifespan(app):
            global started
            started += 1
            yield {"greeting": "Hello"}

        app = FastAPI(lifespan=lifespan)

        @app.get("/greet/{name}")
        async def greet(name: str, request: Request):
            return {"text": f"{request.state.greeting}, {name}!", "url": str(request.url_for("greet", name="x").path), "started": started}

        handler = asgi(app, prefix="/api")
        """,
    "pages.py": """
        from flask import Flask, request, url_for
        from microlam import http
        from microlam.adapters import wsgi

        app = Flask(__name__)

        @app.post("/size")
        def size():
            return f"{len(request.data)} {url_for('size')}"

        @app.get("/picture")
        def picture():
            return bytes(range(256)), {"Content-Type": "image/png"}

        handler = http("ANY /flask/{proxy+}")(wsgi(app, prefix="/flask"))
        """,
}


@pytest.mark.parametrize(("adapter", "module"), [("asgi", "mangum"), ("wsgi", "apig_wsgi")])
def test_what_an_adapter_lacks_is_named_with_its_remedy(adapter: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)      # as where it is not installed
    with pytest.raises(ModuleNotFoundError, match=rf"microlam.adapters.{adapter} needs {module}, .*pip install 'microlam\[adapters\]'"):
        getattr(microlam.adapters, adapter)(object())


@pytest.mark.parametrize("executor", ["processes", "inprocess"])
async def test_applications_answer_as_functions(tmp_path: Path, executor: str) -> None:
    write(tmp_path, {**FUNCTIONS, "microlam.toml": "".join(f'[functions.{name}]\nexecutor = "{executor}"\ntimeout = 20\nmemory = 512\n' for name in ("api", "pages"))})
    async with microlam.Microlam(tmp_path, data=tmp_path / ".data") as lam, aiohttp.ClientSession(lam.endpoint_url) as http:
        for _ in range(2):
            async with http.get("/api/greet/Ada") as reply:
                assert await reply.json() == {"text": "Hello, Ada!", "url": "/api/greet/x", "started": 1}
        async with http.get("/api/nothing") as reply:
            assert reply.status == 404
        async with http.post("/flask/size", data=b"\x00\xff" * 50) as reply:
            assert await reply.text() == "100 /flask/size"
        async with http.get("/flask/picture") as reply:
            assert (await reply.read(), reply.headers["Content-Type"]) == (bytes(range(256)), "image/png")
