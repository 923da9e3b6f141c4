"""Starts and sizes: cold start, save to new code, server start, memory, idle; in interpreter starts or as ratios to bare aiohttp."""
from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.servers import HELLO, Server, bare, microlam

ROUNDS = 9


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def interpreter_start() -> float:
    """Seconds of `python -c pass`: the resolved executable of this environment, no shim."""
    return timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))


def ratios(act: Callable[[int], float], reference: Callable[[], float]) -> str:
    """The median of act / reference, measured in turn."""
    act(-1)
    reference()
    pairs = [(act(number), reference()) for number in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    return f"{ratio:.2f} ({statistics.median(a for a, _ in pairs) * 1000:.1f} ms)"


class Caller:
    """One kept-alive connection, so that what is timed is the server."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        return self._connection.getresponse().read()


def cold_start(handler: str = HELLO, toml: str = "") -> str:
    """First replies of functions that have no worker yet, in interpreter starts."""
    names = [f"cold{number}" for number in range(ROUNDS + 1)]
    files = {f"{name}.py": handler for name in names}
    tables = "".join(f"[functions.{name}]\n{toml}\n" for name in names) if toml else ""
    with microlam(files | {"warm.py": handler, "microlam.toml": tables + (f"[functions.warm]\n{toml}\n" if toml else "")}, path="/warm") as server:
        caller = Caller(server)
        caller.get("/warm")     # starts the zygote, as the server's first invocation does
        return ratios(lambda number: timed(lambda: caller.get(f"/{names[number]}")), interpreter_start)


def save_to_new_code() -> str:
    """From the save of a warm function's file to its first new reply, in interpreter starts."""
    with microlam({"hello.py": HELLO}) as server:
        caller = Caller(server)

        def save(number: int) -> float:
            new = f"hello {number}"
            text = HELLO.replace("hello", new)
            caller.get("/hello")

            def save_and_ask() -> None:
                (server.folder / "hello.py").write_text(text)
                while new.encode() not in caller.get("/hello"):
                    pass
            return timed(save_and_ask)
        return ratios(save, interpreter_start)


def server_start() -> str:
    """From nothing to the first reply, against a bare aiohttp server."""
    from benchmarks.servers import wait_for_reply

    def start(manager: Callable[..., object]) -> float:
        begun = time.perf_counter()
        with manager() as server:  # type: ignore[attr-defined]
            wait_for_reply(server)
            return time.perf_counter() - begun
    return ratios(lambda _: start(lambda: microlam({"hello.py": HELLO}, wait=False)), lambda: start(lambda: bare(wait=False)))


def memory() -> list[tuple[str, str]]:
    """PSS of the server and its default zygote without a worker, against bare aiohttp; and the private memory of a warm worker."""
    with bare() as plain, microlam({"hello.py": HELLO}, "--idle", "1") as server:
        caller = Caller(server)
        for _ in range(10):
            caller.get("/hello")
        before = family(server.process.pid)
        workers = [pid for pid in before if depth(pid, server.process.pid) >= 2]
        private = max(private_memory(pid) for pid in workers)       # the others wait, blank
        while len(family(server.process.pid)) > len(before) - len(workers):
            time.sleep(0.1)
        # At the same moment: a page that other processes share counts the less the more of them there are.
        plain_size, size = (sum(map(pss, family(one.process.pid))) for one in (plain, server))
    return [("server and zygote, no worker: PSS to bare aiohttp's", f"{size / plain_size:.2f} ({size / 1024:.0f} MB)"),
            ("each warm hello worker: private", f"{private / 1024:.1f} MB")]


def idle() -> str:
    """Share of a core that 200 functions with 1,000 schedules take, at rest for ten seconds."""
    many = "\n".join(f'@schedule("cron({number % 60} {number % 24} 1 1 ? 2099)")' for number in range(5))
    files = {f"f{number}.py": f"from microlam import schedule\n{many}\ndef handler(event, context): pass\n" for number in range(200)}
    with microlam(files | {"hello.py": HELLO}) as server:
        time.sleep(15)      # until the process that was begun ahead, after the first reply, has ended
        pids = family(server.process.pid)
        before, begun = sum(map(cpu, pids)), time.perf_counter()
        time.sleep(10)
        return f"{(sum(map(cpu, pids)) - before) / (time.perf_counter() - begun):.2%} of a core"


# ---- what Linux says of a process ------------------------------------------------------------------------------------

def family(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(below for child in children(pid) for below in family(child))]


def children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def depth(pid: int, top: int) -> int:
    steps = 0
    while pid != top:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        steps += 1
    return steps


def smaps(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def pss(pid: int) -> int:
    """kB"""
    return smaps(pid)["Pss"]


def private_memory(pid: int) -> int:
    """kB"""
    sizes = smaps(pid)
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure() -> list[tuple[str, str]]:
    """Rows of the table."""
    with_boto3 = "import boto3\n" + HELLO
    rows = [
        ("cold start: first reply, in interpreter starts", cold_start()),
        ("cold start importing boto3, preloaded, in interpreter starts", cold_start(with_boto3, 'preload = ["boto3"]')),
        ("save to new code answered, in interpreter starts", save_to_new_code()),
        ("server start to first reply, to bare aiohttp's", server_start()),
    ]
    if Path("/proc/self/smaps_rollup").exists():
        rows += memory()
        rows.append(("idle: 1,000 schedules, 200 functions", idle()))
    return rows
