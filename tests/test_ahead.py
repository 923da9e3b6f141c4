"""Short invocations wait behind others at a busy worker, and nobody notices: not who is slow, who crashes, who gives up."""
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from microlam.app import Microlam
from microlam.awake import PROCESSORS
from microlam.executors.workers.frames import BLOCK
from microlam.model import Invocation, Outcome

HANDLER = """
import os, time

def handler(event, context):
    if "ran" in event:
        with open(event["ran"], "a") as file:
            file.write(str(event["number"]) + "\\n")
    if "meet" in event:
        open(event["meet"] + "." + str(event["number"]), "w").close()
    while "until" in event and not os.path.exists(event["until"]):
        time.sleep(0.005)
    if "die" in event:
        os.kill(os.getpid(), 9)
    return [event["number"], os.getpid(), len(event.get("text", ""))]
"""
ALONE = """
import os

def handler(event, context):
    os.close(os.open(event["lock"], os.O_CREAT | os.O_EXCL))
    os.unlink(event["lock"])
    return event["number"]
"""
LIMIT = PROCESSORS + 8
MANY = 16 * LIMIT


@pytest.fixture
async def lam(tmp_path: Path) -> AsyncIterator[Microlam]:
    folder = tmp_path / "functions"
    folder.mkdir()
    (folder / "echo.py").write_text(HANDLER)
    (folder / "alone.py").write_text(ALONE)
    (folder / "microlam.toml").write_text(f"[functions.echo]\nconcurrency = {LIMIT}\ntimeout = 60\n[functions.alone]\nconcurrency = 1\n")
    async with Microlam(folder, endpoint_url="http://127.0.0.1:1") as lam:
        yield lam


async def short(lam: Microlam, count: int = MANY, **more: Any) -> list[Any]:
    """So many invocations at once, each of a moment."""
    outcomes = await asyncio.gather(*(lam.invoke("echo", {"number": number, **more}) for number in range(count)))
    assert {outcome.status for outcome in outcomes} == {"succeeded"}
    return [outcome.value for outcome in outcomes]


async def known_as_short(lam: Microlam) -> None:
    """Run it until it is known to be quick, however busy the machine is: then fewer workers do than may."""
    async with asyncio.timeout(60):
        while len({pid for _, pid, _ in await short(lam, 3 * LIMIT)}) >= LIMIT:
            pass


async def all_begun(folder: Path, name: str, count: int) -> None:
    async with asyncio.timeout(60):
        while len(list(folder.glob(f"{name}.*"))) < count:  # noqa: ASYNC110  other processes make the files
            await asyncio.sleep(0.005)


async def test_each_has_its_own_reply(lam: Microlam) -> None:
    await known_as_short(lam)
    assert [number for number, _, _ in await short(lam)] == list(range(MANY))


async def test_nobody_waits_behind_one_that_takes_long(lam: Microlam, tmp_path: Path) -> None:
    await known_as_short(lam)
    gate = tmp_path / "gate"
    slow = [asyncio.create_task(lam.invoke("echo", {"number": number, "until": str(gate)})) for number in range(LIMIT - 1)]
    assert [number for number, _, _ in await short(lam)] == list(range(MANY))
    assert not any(task.done() for task in slow)
    gate.touch()
    assert [outcome.value[0] for outcome in await asyncio.gather(*slow)] == list(range(LIMIT - 1))  # type: ignore[index]


async def test_as_many_run_at_once_as_may(lam: Microlam, tmp_path: Path) -> None:
    for _ in range(3):
        await known_as_short(lam)
        gate, meet = tmp_path / "gate", tmp_path / "meet"
        waiting = asyncio.gather(*(lam.invoke("echo", {"number": number, "until": str(gate), "meet": str(meet)}) for number in range(MANY)))
        await all_begun(tmp_path, "meet", LIMIT)
        assert len(list(tmp_path.glob("meet.*"))) == LIMIT      # and not one more, though they stand in line
        assert lam.invoker.underway() == LIMIT
        gate.touch()
        assert [outcome.value[0] for outcome in await waiting] == list(range(MANY))  # type: ignore[index]
        for path in tmp_path.glob("meet.*"):
            path.unlink()
        gate.unlink()
    assert lam.invoker.underway() == 0


async def test_a_crash_takes_only_its_own_invocation_and_none_runs_twice(lam: Microlam, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    async def invoke(number: int) -> Outcome:
        return await lam.invoke("echo", {"number": number, "ran": str(ran), **({"die": 1} if number % 20 == 7 else {})})

    for _ in range(10):
        await known_as_short(lam)
        ran.write_text("")
        outcomes = await asyncio.gather(*map(invoke, range(MANY)))
        assert sorted(map(int, ran.read_text().split())) == list(range(MANY))
    assert [number for number, outcome in enumerate(outcomes) if outcome.status == "crashed"] == list(range(7, MANY, 20))
    assert [outcome.value[0] for outcome in outcomes if outcome.ok] == [number for number in range(MANY) if number % 20 != 7]  # type: ignore[index]


async def test_who_gives_up_takes_nobody_along(lam: Microlam, tmp_path: Path) -> None:
    await known_as_short(lam)
    ran = tmp_path / "ran"
    tasks = [asyncio.create_task(lam.invoke("echo", {"number": number, "ran": str(ran)})) for number in range(MANY)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks[::3]:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    for number, outcome in enumerate(ended):
        if isinstance(outcome, asyncio.CancelledError):
            assert number % 3 == 0
        else:
            assert isinstance(outcome, Outcome)
            assert outcome.value[0] == number, outcome  # type: ignore[index]
    assert lam.invoker.underway() == 0
    begun = ran.read_text().split()
    assert len(begun) == len(set(begun))
    await test_as_many_run_at_once_as_may(lam, lam.folder.parent)


async def test_one_at_a_time_is_one_at_a_time(lam: Microlam, tmp_path: Path) -> None:
    for _ in range(5):
        outcomes = await asyncio.gather(*(lam.invoke("alone", {"number": number, "lock": str(tmp_path / "lock")}) for number in range(100)))
        assert [outcome.value for outcome in outcomes] == list(range(100))


async def test_events_of_any_size_come_whole(lam: Microlam) -> None:
    await known_as_short(lam)
    around = [0, *range(BLOCK - 300, BLOCK + 50), 2 * BLOCK, 100_000, 5_000_000]
    for _ in range(2):
        outcomes = await asyncio.gather(*(lam.invoke("echo", {"number": number, "text": "x" * size}) for number, size in enumerate(around)))
        assert [(outcome.value[0], outcome.value[2]) for outcome in outcomes] == list(enumerate(around)), json.dumps(around)  # type: ignore[index]


async def test_what_waits_at_old_code_still_has_its_reply(lam: Microlam) -> None:
    await known_as_short(lam)
    file = lam.folder / "echo.py"
    tasks = []
    for turn in range(10):
        tasks += [asyncio.create_task(lam.invoke("echo", {"number": number})) for number in range(MANY // 4)]
        await asyncio.sleep(0)
        file.write_text(HANDLER + f"# {turn}\n")
    outcomes = await asyncio.gather(*tasks)
    assert [outcome.value[0] for outcome in outcomes] == [number for _ in range(10) for number in range(MANY // 4)]  # type: ignore[index]


async def test_who_asked_to_hear_of_each_hears_of_each(lam: Microlam) -> None:
    await known_as_short(lam)
    heard: list[Any] = []

    @lam.before
    async def note(invocation: Invocation) -> None:
        heard.append(json.loads(invocation.payload)["number"])

    await short(lam)
    assert sorted(heard) == list(range(MANY))


async def test_each_has_its_own_lines_however_long_the_log_gets(tmp_path: Path) -> None:
    (tmp_path / "say.py").write_text("def handler(event, context):\n    print('number', event, 'x' * 400)\n")
    async with Microlam(tmp_path, endpoint_url="http://127.0.0.1:1", log_limit=5000) as lam:
        for _ in range(12):
            outcomes = await asyncio.gather(*(lam.invoke("say", number) for number in range(900)))
            assert [number for number, outcome in enumerate(outcomes) if f"number {number} x".encode() not in outcome.logs] == []


async def test_a_function_with_many_callers_leaves_the_others_their_turn(tmp_path: Path) -> None:
    for name in ("often", "seldom"):
        (tmp_path / f"{name}.py").write_text("def handler(event, context): return event\n")
    async with Microlam(tmp_path, endpoint_url="http://127.0.0.1:1", server_concurrency=PROCESSORS) as lam:
        async def call(until: asyncio.Event) -> None:
            while not until.is_set():
                await lam.invoke("often", 1)

        served = asyncio.Event()
        callers = [asyncio.create_task(call(served)) for _ in range(40 * PROCESSORS)]
        async with asyncio.timeout(60):
            await asyncio.wait([asyncio.create_task(lam.invoke("often", 1))])
            assert [(await lam.invoke("seldom", number)).value for number in range(20)] == list(range(20))
        served.set()
        await asyncio.gather(*callers)
