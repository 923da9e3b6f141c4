"""Requests a second, as ratios to bare aiohttp: A B A B, the median of the pairs."""
from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack

from benchmarks.servers import ASYNC_HELLO, HELLO, Server, bare, embedded, microlam

Start = Callable[[], AbstractContextManager[Server]]
INPROCESS = '[functions.hello]\nexecutor = "inprocess"\n'

SUBJECTS: dict[str, Start] = {
    "isolated worker, recorded": lambda: microlam({"hello.py": HELLO}),
    "inprocess": lambda: microlam({"hello.py": ASYNC_HELLO, "microlam.toml": INPROCESS}),
    "isolated worker, in an Application": lambda: embedded({"hello.py": HELLO}),
}


def requests_a_second(server: Server, connections: int, seconds: float, flags: Sequence[str] = ()) -> float:
    """What wrk, with these further flags, measures; errors end the run."""
    if shutil.which("wrk") is None:
        raise SystemExit("The benchmarks need wrk: apt-get install wrk, or brew install wrk.")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", *flags, f"http://127.0.0.1:{server.port}/hello"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
    printed = ran.stdout + ran.stderr
    if ran.returncode or "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"{server.process.args!r}: {printed}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    assert found, printed
    return float(found.group(1))


def against(
    reference: Server, subjects: Sequence[Server], connections: int, *, rounds: int = 5, seconds: float = 2.0, flags: Sequence[str] = (),
) -> list[tuple[float, float]]:
    """Of each subject: the median ratio to the reference measured just before it, and the median of requests a second."""
    pairs: list[list[tuple[float, float]]] = [[] for _ in subjects]
    for server in [reference, *subjects]:
        requests_a_second(server, connections, 1, flags)
    for _ in range(rounds):
        for found, subject in zip(pairs, subjects, strict=True):
            base = requests_a_second(reference, connections, seconds, flags)
            own = requests_a_second(subject, connections, seconds, flags)
            found.append((own / base, own))
    return [(statistics.median(ratio for ratio, _ in found), statistics.median(own for _, own in found)) for found in pairs]


def measure() -> list[tuple[str, str, str]]:
    """Rows of the table: what, ratio at 1 connection, ratio at 32."""
    with ExitStack() as life:
        reference = life.enter_context(bare())
        subjects = [life.enter_context(start()) for start in SUBJECTS.values()]
        one, many = against(reference, subjects, 1), against(reference, subjects, 32)
    return [
        (name, f"{ratio1:.2f} ({rate1:,.0f}/s)", f"{ratio32:.2f} ({rate32:,.0f}/s)")
        for name, (ratio1, rate1), (ratio32, rate32) in zip(SUBJECTS, one, many, strict=True)
    ]
