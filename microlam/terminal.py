"""What `microlam dev` prints: what was found, then one line an invocation; above 200 a second a sample, and how many it leaves out.

Lines are written by a thread of their own, straight to the descriptor, so that a stopped or closed terminal holds up neither the server nor its end.
"""
from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, TextIO

from microlam.events.http import refused
from microlam.model import Drop, Invocation, Outcome, Schedule

if TYPE_CHECKING:
    from microlam.functions import Function

SAMPLE = 200            # lines of invocations a second
WAITING_LINES = 2000    # lines kept for a slow terminal

BOLD, DIM, RED, GREEN, YELLOW, BLUE = "1", "2", "31", "32", "33", "36"
STATUS_COLOURS = {"succeeded": GREEN, "failed": RED, "crashed": RED, "timed_out": YELLOW, "throttled": YELLOW, "missed": YELLOW}


# ---- formatting ------------------------------------------------------------------------------------------------------

def paint(text: str, colour: str, coloured: bool) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if coloured else text


def printable(text: str) -> str:
    """Text from outside as one harmless line: a path or an error message must not move the cursor or set the window's title."""
    return text if text.isprintable() else "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def duration_in_words(seconds: float) -> str:
    """0.0124 → `12.4 ms`, 3.0 → `3.00 s`."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def what_happened(invocation: Invocation) -> str:
    """The cause and its summary, each said once: `http GET /hello`, `invoke`."""
    if invocation.summary in ("", invocation.cause):
        return invocation.cause
    return f"{invocation.cause} {printable(invocation.summary)}"


def error_in_words(outcome: Outcome) -> str:
    """`KeyError: 'total'`; empty where nothing failed."""
    error = outcome.error
    return "" if error is None else _short(f"{error.get('errorType', 'Error')}: {error.get('errorMessage', '')}")


def refusal_in_words(invocation: Invocation, outcome: Outcome) -> str:
    """`→ 500: body is not a string`, where a handler succeeded with what is no reply."""
    reason = refused(invocation.cause, outcome)
    return "" if reason is None else _short(f"→ 500: {reason}")


def _short(text: str) -> str:
    words = printable(text)
    return words if len(words) <= 160 else words[:159] + "…"


def invocation_line(invocation: Invocation, outcome: Outcome, *, coloured: bool = False, width: int = 12) -> str:
    """One line: time, function, version, what happened, status, duration, cold or warm, and the error of one that failed or was refused."""
    moment = (outcome.started_at or invocation.queued_at).astimezone()
    name = invocation.arn.rpartition(":")[2]
    version = f"{invocation.qualifier} → {outcome.version}" if invocation.qualifier not in (None, outcome.version) else outcome.version
    status = outcome.status.replace("_", " ")
    attempt = f"attempt {invocation.attempt}" if invocation.attempt > 1 else ""
    start = "" if outcome.started_at is None else paint("cold", BLUE, coloured) if outcome.cold else paint("warm", DIM, coloured)
    trouble = error_in_words(outcome) or refusal_in_words(invocation, outcome)
    parts = [
        paint(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}", DIM, coloured),
        f"{name:<{width}}",
        paint(f"{version:<7}", DIM, coloured),
        f"{what_happened(invocation):<36}",
        paint(f"{status:<9}", STATUS_COLOURS.get(outcome.status, ""), coloured),
        f"{duration_in_words(outcome.duration):>8}",
        start,
        paint(attempt, YELLOW, coloured and bool(attempt)),
        paint(trouble, RED, coloured and bool(trouble)),
    ]
    return "  ".join(part for part in parts if part)


def stopping_line(unfinished: int, seconds: float) -> str:
    """What is said when the server is told to stop: what it waits for, and how long."""
    if not unfinished:
        return "Stopping."
    what = "1 invocation still runs" if unfinished == 1 else f"{unfinished:,} invocations still run or wait"
    return f"Stopping: {what}, at most {seconds:g} s; Ctrl-C again ends at once."


def banner(
    folder: Path, address: str, functions: Sequence[Function], *, version: str, next_times: Mapping[str, datetime], buckets: Mapping[str, Path],
    warnings: Iterable[str] = (), coloured: bool = False,
) -> str:
    """What was found in the folder, what leads to it, and where to go; `next_times` by trigger id, `buckets` the folders by name."""
    width = max((len(function.name) for function in functions), default=0)
    lines = [f"{paint('microlam', BOLD, coloured)} {version} serves {printable(str(folder))}", ""]
    for function in functions:
        ways = [_way_in_words(trigger.when, next_times.get(trigger.id), buckets) for trigger in function.triggers] or ["by Invoke only"]
        lines += [f"  {paint(f'{name:<{width}}', BOLD, coloured)}  {way}" for name, way in zip([function.name] + [""] * len(ways), ways, strict=False)]
    if not functions:
        lines.append("  No functions yet: save a file with a handler(event, context) there, and it is served at once.")
    return "\n".join([
        *lines, *_notes(functions, warnings, coloured), "",
        f"  Functions  {paint(address, BOLD, coloured)}",
        f"  Admin      {address}/_microlam/",
        f"  AWS tools  export AWS_ENDPOINT_URL={address}",
        paint("  Ctrl-C stops the server.", DIM, coloured), "",
    ])


def _notes(functions: Sequence[Function], warnings: Iterable[str], coloured: bool) -> list[str]:
    trouble = [f"{function.name}: {function.error.get('errorType')}: {function.error.get('errorMessage')}" for function in functions if function.error]
    remarks = [*warnings, *(f"{function.name}: {warning}" for function in functions for warning in function.warnings)]
    lines = [paint(f"  Error: {printable(each)}", RED, coloured) for each in trouble]
    lines += [paint(f"  Warning: {printable(each)}", YELLOW, coloured) for each in remarks]
    return ["", *lines] if lines else []


def _way_in_words(when: object, next_time: datetime | None, buckets: Mapping[str, Path]) -> str:
    if isinstance(when, Schedule):
        return f"{when}" + (f"   next {next_time.astimezone():%a %d %b %H:%M:%S}" if next_time else "")
    if isinstance(when, Drop):
        return f"files {when}" + (f"   in {printable(str(buckets[when.bucket]))}" if when.bucket in buckets else "")
    return str(when)


# ---- printing --------------------------------------------------------------------------------------------------------

class Terminal:
    """Prints lines for people, in colour where the stream is a terminal and NO_COLOR is unset; `quiet` leaves invocations out."""

    def __init__(self, stream: TextIO, *, colour: bool | None = None, quiet: bool = False) -> None:
        self.coloured = (stream.isatty() and not os.environ.get("NO_COLOR")) if colour is None else colour
        self._writer = _Writer(stream)
        self._quiet = quiet
        self._seen = 0
        self._width = 12
        self._turn: asyncio.TimerHandle | None = None

    def show_banner(
        self, folder: Path, address: str, functions: Sequence[Function], *, version: str, next_times: Mapping[str, datetime], buckets: Mapping[str, Path],
        warnings: Iterable[str] = (),
    ) -> None:
        """Say what is served, and where."""
        self._width = max([self._width, *(min(len(function.name), 28) for function in functions)])
        self._writer.put(banner(
            folder, address, functions, version=version, next_times=next_times, buckets=buckets, warnings=warnings, coloured=self.coloured,
        ))

    def say(self, text: str) -> None:
        """Print a message."""
        self._writer.put("\n".join(map(printable, text.splitlines())))

    def warn(self, text: str) -> None:
        """Print a message that should be noticed."""
        self._writer.put("\n".join(paint(printable(line), YELLOW, self.coloured) for line in text.splitlines()))

    def ended(self, invocation: Invocation, outcome: Outcome) -> None:
        """Print an invocation's line; called for every one, so past the sample it only counts."""
        self._seen += 1
        if self._seen > SAMPLE or self._quiet:      # a quiet one begins no second, and so never says how many
            return
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(1.0, self._begin_second)
        self._writer.put(invocation_line(invocation, outcome, coloured=self.coloured, width=self._width))

    def close(self) -> None:
        """Print what waits, unless the terminal does not take it."""
        if self._turn is not None:
            self._turn.cancel()
            self._begin_second()
        self._writer.close()

    def _begin_second(self) -> None:
        if self._seen > SAMPLE:
            self._writer.put(paint(f"{'':14}… and {self._seen - SAMPLE:,} more in this second (all are on record)", DIM, self.coloured))
        self._seen, self._turn = 0, None


class _Writer:
    """Writes lines from a thread; what a slow terminal does not take is left out and counted, what a closed one does not take is forgotten."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._left_out = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, line: str) -> None:
        if self._closed:
            return
        if self._lines.qsize() >= WAITING_LINES:
            self._left_out += 1
            return
        if self._left_out:
            self._lines.put(f"({self._left_out:,} lines left out: they came faster than this terminal takes them)")
            self._left_out = 0
        if self._thread is None:
            # A daemon: one that hangs in a write to a stopped terminal does not keep the process.
            self._thread = threading.Thread(target=self._write_all, name="microlam-terminal", daemon=True)
            self._thread.start()
        self._lines.put(line)

    def close(self) -> None:
        self._lines.put(None)
        self._closed = True
        if self._thread is not None:
            self._thread.join(1.0)

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line + "\n")
            except (OSError, ValueError):
                self._closed = True     # nobody reads any more: EPIPE, or the stream was closed
                return

    def _write(self, text: str) -> None:
        try:
            descriptor = self._stream.fileno()
        except OSError:                 # not a file: a StringIO
            self._stream.write(text)
            return
        # Not through the stream: a thread that hangs there holds its lock, and the interpreter aborts when it wants to flush it at the end.
        left = text.encode(self._stream.encoding or "utf-8", "replace")
        while left:
            try:
                left = left[os.write(descriptor, left):]
            except BlockingIOError:     # another program made the shared terminal non-blocking
                select.select([], [descriptor], [])
