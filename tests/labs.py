"""What tests of the executors share: an executor, functions made for it on the spot, and what they printed."""
from __future__ import annotations

import asyncio
import json
import os
import textwrap
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from microlam.executors import Credentials, Executor
from microlam.executors.processes import Processes
from microlam.model import Invocation, Outcome, Version, function_arn, new_id

LOG_LIMIT = 100_000


class Lab:
    """An executor, and functions made for it on the spot."""

    def __init__(self, folder: Path, executor: Executor) -> None:
        self.folder, self.executor = folder, executor

    def function(self, code: str | Mapping[str, str], name: str = "hello", **fields: Any) -> Version:
        root = self.folder / f"{name}-{fields.get('number', '$LATEST')}"
        for path, text in ({"hello.py": code} if isinstance(code, str) else code).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(textwrap.dedent(text).lstrip("\n"))
        return Version(**{"arn": function_arn(name), "handler": "hello.handler", "runtime": "python3.11", "root": str(root), **fields})

    async def run(self, version: Version, event: object = None, **fields: Any) -> Outcome:
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        invocation = Invocation(**{
            "id": new_id(), "arn": version.arn, "payload": payload, "cause": "invoke", "queued_at": datetime.now(UTC), **fields,
        })
        return await self.executor.run(version, invocation)

    async def value(self, code: str | Mapping[str, str], event: object = None, **fields: Any) -> Any:
        """What a handler of this code replies."""
        outcome = await self.run(self.function(code, **fields), event)
        assert outcome.ok, (outcome.payload, outcome.logs)
        return outcome.value

    @property
    def pids(self) -> set[int]:
        return {worker.pid for worker in self.executor.statistics().workers}


def new_processes(folder: Path, **settings: Any) -> Processes:
    credentials = Credentials(secret_key="secret", session_token="token")
    return Processes(folder / "scratch", **{
        "base_environment": {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}, "endpoint_url": "http://127.0.0.1:3000", "credentials": credentials,
        "log_limit": LOG_LIMIT, **settings,
    })


async def until(look: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline, f"waited in vain {what}"
        await asyncio.sleep(0.005)


def lines(outcome: Outcome) -> list[str]:
    return outcome.logs.decode().splitlines()


def output(outcome: Outcome) -> list[str]:
    """What the handler itself has printed."""
    found = lines(outcome)
    start = next(index for index, line in enumerate(found) if line.startswith("START "))
    end = next(index for index, line in enumerate(found) if line.startswith("END "))
    return found[start + 1:end]
