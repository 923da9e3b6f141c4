"""How a program ends that has a microlam in it, run as its users run it: nothing of ours keeps it alive, and what has ended is on record."""
from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from microlam.store import InvocationFilter, Store
from tests.conftest import WAIT, environment, until, write

PATIENCE = 600      # seconds that it waits for what runs where nobody presses it: no test does

FUNCTIONS = {
    "functions/hello.py": "def handler(event, context): return 'hello'\n",
    "functions/endless.py": """
        import os, time
        def handler(event, context):
            open(os.environ["BEGAN"], "w").close()
            while True:
                time.sleep(0.01)
        """,
}

AIOHTTP = """
from aiohttp import web
import microlam

async def shutting_down(app):
    print("shutting down", flush=True)

async def around(app):
    yield
    print("cleaning up", flush=True)

app = web.Application()
lam = microlam.setup(app, "functions/")
app.on_shutdown.append(shutting_down)
app.cleanup_ctx.append(around)          # ends just before the microlam does
"""
RUN = "web.run_app(app, host='127.0.0.1', port=0, shutdown_timeout={shutdown_timeout})\n"

FASTAPI = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
import microlam, uvicorn

lam = microlam.Microlam("functions/")

@asynccontextmanager
async def lifespan(app):
    async with lam:
        yield

app = FastAPI(lifespan=lifespan)
app.mount("/", microlam.asgi(lam))
uvicorn.run(app, host="127.0.0.1", port=0)
"""

ALONE = """
import microlam, uvicorn
uvicorn.run(microlam.asgi(microlam.Microlam("functions/")), host="127.0.0.1", port=0)
"""


class Host:
    """A program in a folder, and what it has printed so far."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.lines = folder, list[str]()
        toml = f"[microlam]\ndrain = {PATIENCE}\n[functions.endless]\ntimeout = 600\nenvironment = {{ BEGAN = '{folder / 'began'}' }}\n"
        write(folder, {**FUNCTIONS, "functions/microlam.toml": toml, "host.py": program})
        command = [sys.executable, "-u", "host.py"]
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def printed(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> str:
        found = until(lambda: re.search(pattern, self.printed) or self.process.poll() is not None, f"for {pattern}")
        assert isinstance(found, re.Match), self.printed
        return found[0]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.wait_for(r"http://127\.0\.0\.1:\d+") + path, timeout=WAIT) as reply:
            return str(reply.read().decode())

    def call_endless(self) -> None:
        """Call the function that does not end, and return when it has begun."""
        url = self.wait_for(r"http://127\.0\.0\.1:\d+") + "/endless"

        def call() -> None:
            with suppress(OSError):
                urllib.request.urlopen(url, timeout=WAIT).close()

        threading.Thread(target=call, daemon=True).start()
        until((self.folder / "began").exists, "for the function")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        """Its exit status."""
        try:
            status = self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it does not end, having printed:\n{self.printed}")
        self._reader.join(WAIT)
        return status

    async def record(self) -> list[tuple[str, str]]:
        """Function and status of what is on record; the data folder is nobody else's any more."""
        store = await Store.open(self.folder / "functions" / ".microlam")
        try:
            page = await store.invocations(InvocationFilter())
            return sorted((record.arn.rpartition(":")[2], record.status) for record in page.records)
        finally:
            await store.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[[str], Host]]:
    hosts: list[Host] = []

    def start(program: str) -> Host:
        hosts.append(Host(tmp_path, program))
        return hosts[-1]

    yield start
    for started in hosts:
        started.process.kill()
        started.process.wait()


# ---- aiohttp ---------------------------------------------------------------------------------------------------------

STARTUP = """
async def bad(app):
    raise RuntimeError("the database is away")
app.on_startup.append(bad)
"""
CONTEXT = """
async def bad(app):
    raise RuntimeError("the database is away")
    yield
app.cleanup_ctx.append(bad)
"""


@pytest.mark.parametrize("bad", [STARTUP, CONTEXT], ids=["on_startup", "cleanup_ctx"])
async def test_a_host_whose_own_start_fails_ends_with_its_traceback(host: Callable[[str], Host], bad: str) -> None:
    program = host(AIOHTTP + bad + RUN.format(shutdown_timeout=PATIENCE))
    assert program.ended() == 1
    assert program.lines[-1] == "RuntimeError: the database is away"
    assert program.printed.count("Traceback") == 1
    assert await program.record() == []


# Of two signals sent at once a process may see one, which lets what runs finish.
@pytest.mark.parametrize(("when", "called"), [
    ("at once", False), ("shutting down", False), ("shutting down", True), ("cleaning up", False), ("cleaning up", True),
])
async def test_a_second_interrupt_ends_an_aiohttp_host(host: Callable[[str], Host], when: str, called: bool) -> None:
    # Where nothing of the host's waits for connections, it is the microlam that waits for what runs.
    program = host(AIOHTTP + RUN.format(shutdown_timeout=PATIENCE if when == "shutting down" else 0.1))
    assert program.get("/hello") == "hello"
    if called:
        program.call_endless()
    program.interrupt()
    if when != "at once":
        program.wait_for(when)
    program.interrupt()
    program.ended()
    assert ("hello", "succeeded") in await program.record()
    assert not called or ("endless", "crashed") in await program.record()


# ---- uvicorn ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("hosting", [FASTAPI, ALONE], ids=["under FastAPI", "by itself"])
@pytest.mark.parametrize("called", [True, False])
async def test_a_second_interrupt_ends_uvicorn(host: Callable[[str], Host], hosting: str, called: bool) -> None:
    program = host(hosting)
    assert program.get("/hello") == "hello"
    if called:
        program.call_endless()
    program.interrupt()
    if called:
        program.wait_for("Waiting for connections")
    program.interrupt()
    program.ended()
    assert ("hello", "succeeded") in await program.record()
    assert not called or ("endless", "crashed") in await program.record()


# ---- whatever happens ------------------------------------------------------------------------------------------------

async def test_a_program_ends_that_leaves_its_microlam_running(host: Callable[[str], Host]) -> None:
    program = host("""
        import asyncio, microlam

        async def main():
            # Looking at intervals: a thread that listens to the file system hears of the end within five seconds only.
            lam = await microlam.Microlam("functions/", poll=True).__aenter__()
            print((await lam.invoke("hello")).value)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        """)
    assert program.ended() == 0
    assert "hello" in program.lines
    await program.record()
