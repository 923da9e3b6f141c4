"""What `microlam dev` prints, by value, and through real pipes and terminals: slow ones, closed ones, and none."""
from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import pytest

from microlam.functions import Function
from microlam.model import Drop, Invocation, Outcome, Route, Schedule, Trigger, Version, function_arn
from microlam.terminal import SAMPLE, Terminal, banner, duration_in_words, invocation_line

NOON = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)


def invocation(summary: str = "GET /hello", **facts: object) -> Invocation:
    given: dict[str, object] = {"id": "0193", "arn": function_arn("hello"), "payload": b"{}", "cause": "http", "queued_at": NOON, "summary": summary}
    return Invocation(**(given | facts))  # type: ignore[arg-type]


def outcome(status: str = "succeeded", **facts: object) -> Outcome:
    given: dict[str, object] = {"status": status, "payload": b"{}", "started_at": NOON, "duration": 0.0124}
    return Outcome(**(given | facts))  # type: ignore[arg-type]


class PipeReader:
    """A real pipe: what is written to `stream` comes out of `text` once it is closed."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.stream: TextIO = os.fdopen(writing, "w", encoding="utf-8")
        self._chunks: list[bytes] = []
        self._thread = threading.Thread(target=self._read, args=(reading,))
        self._thread.start()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as stream:
            self._chunks.append(stream.read())

    @property
    def text(self) -> str:
        self.stream.close()
        self._thread.join()
        return b"".join(self._chunks).decode()


# ---- a line ----------------------------------------------------------------------------------------------------------

def test_a_line_says_when_what_how_and_how_long() -> None:
    line = invocation_line(invocation(), outcome(cold=True))
    assert line.split() == [f"{NOON.astimezone():%H:%M:%S}.123", "hello", "$LATEST", "http", "GET", "/hello", "succeeded", "12.4", "ms", "cold"]


def test_a_warm_failure_on_its_second_attempt_says_so() -> None:
    failed = outcome("failed", payload=b'{"errorType": "KeyError", "errorMessage": "\'total\'"}')
    line = invocation_line(invocation("rate(5 minutes)", cause="schedule", attempt=2), failed)
    assert "schedule rate(5 minutes)" in line
    assert line.endswith("warm  attempt 2  KeyError: 'total'")


def test_one_that_never_ran_is_neither_cold_nor_warm() -> None:
    line = invocation_line(invocation(), outcome("throttled", started_at=None, duration=0.0))
    assert "throttled" in line
    assert "cold" not in line
    assert "warm" not in line


def test_an_alias_shows_the_version_it_led_to() -> None:
    assert "live → 2" in invocation_line(invocation(qualifier="live"), outcome(version="2"))
    assert " 2 " in invocation_line(invocation(qualifier="2"), outcome(version="2"))


def test_a_cause_without_more_to_say_is_said_once() -> None:
    assert invocation_line(invocation("invoke", cause="invoke"), outcome()).count("invoke") == 1


def test_what_comes_from_outside_cannot_steer_the_terminal() -> None:
    error = b'{"errorType": "E", "errorMessage": "one\\ntwo\\u001b]0;title\\u0007"}'
    line = invocation_line(invocation("GET /\x1b[2Jclear\n"), outcome("failed", payload=error))
    assert line.isprintable()
    assert r"\x1b[2Jclear\n" in line
    assert r"one\ntwo\x1b]0;title\x07" in line


def test_a_long_error_is_cut() -> None:
    line = invocation_line(invocation(), outcome("failed", payload=b'{"errorType": "E", "errorMessage": "%s"}' % (b"x" * 5000)))
    assert len(line) < 300
    assert line.endswith("x…")


def test_colour_marks_the_result() -> None:
    assert "\x1b[32msucceeded" in invocation_line(invocation(), outcome(), coloured=True)
    assert "\x1b[31mcrashed" in invocation_line(invocation(), outcome("crashed", payload=b"{}"), coloured=True)
    assert "\x1b" not in invocation_line(invocation(), outcome("crashed"), coloured=False)


@pytest.mark.parametrize(("seconds", "words"), [(0.0, "0.0 ms"), (0.0124, "12.4 ms"), (0.148, "148 ms"), (3.0, "3.00 s")])
def test_durations_have_units(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


# ---- the banner ------------------------------------------------------------------------------------------------------

def found(name: str, *ways: Route | Schedule | Drop, error: dict[str, object] | None = None, warnings: tuple[str, ...] = ()) -> Function:
    arn = function_arn(name)
    latest = Version(arn=arn, handler="app.handler", runtime="python3.11", root="/f")
    triggers = tuple(Trigger(target=arn, when=way) for way in ways)
    return Function(name=name, arn=arn, handler=latest.handler, file=Path(f"{name}.py"), latest=latest, error=error, warnings=warnings, triggers=triggers)


def test_the_banner_tells_functions_ways_and_addresses() -> None:
    night, uploads = Schedule(expression="cron(0 2 * * ? *)", timezone="Europe/Berlin"), Drop(bucket="uploads", suffix=".png")
    hello = found("hello", Route(method="ANY", path="/hello"), Route(method="ANY", path="/hello/{proxy+}"))
    nightly, thumbnails = found("nightly", night), found("thumb", uploads)
    text = banner(
        Path("sample_functions"), "http://127.0.0.1:3000", [hello, nightly, thumbnails], version="1.2.3",
        next_times={nightly.triggers[0].id: NOON}, buckets={"uploads": Path("/data/uploads")}, warnings=["two of a name"],
    )
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "microlam 1.2.3 serves sample_functions"
    assert "hello    ANY /hello" in lines
    assert "ANY /hello/{proxy+}" in lines
    assert f"nightly  cron(0 2 * * ? *) Europe/Berlin   next {NOON.astimezone():%a %d %b %H:%M:%S}" in lines
    assert "thumb    files uploads/*.png   in /data/uploads" in lines
    assert "Warning: two of a name" in lines
    assert "Admin      http://127.0.0.1:3000/_microlam/" in lines
    assert "AWS tools  export AWS_ENDPOINT_URL=http://127.0.0.1:3000" in lines


def test_the_banner_tells_what_is_wrong_with_a_function_and_what_to_do_without_any() -> None:
    broken = [found("broken", error={"errorType": "Runtime.UserCodeSyntaxError", "errorMessage": "invalid syntax"}, warnings=("shadows json",))]
    text = banner(Path("f"), "http://x", broken, version="1", next_times={}, buckets={})
    assert "broken: shadows json" in text
    assert "broken: Runtime.UserCodeSyntaxError: invalid syntax" in text
    assert "by Invoke only" in text
    assert "No functions yet" in banner(Path("f"), "http://x", [], version="1", next_times={}, buckets={})


# ---- printing --------------------------------------------------------------------------------------------------------

async def test_lines_come_in_order() -> None:
    pipe = PipeReader()
    terminal = Terminal(pipe.stream)
    terminal.say("first")
    terminal.ended(invocation(), outcome())
    terminal.warn("last\x1b[2J")
    terminal.close()
    lines = pipe.text.splitlines()
    assert [lines[0], lines[2], len(lines)] == ["first", r"last\x1b[2J", 3]
    assert "GET /hello" in lines[1]


async def test_above_the_limit_a_second_a_sample_is_printed_and_the_rest_counted() -> None:
    pipe = PipeReader()
    terminal = Terminal(pipe.stream)
    for _ in range(SAMPLE + 1234):
        terminal.ended(invocation(), outcome())
    terminal.close()
    lines = pipe.text.splitlines()
    assert len(lines) == SAMPLE + 1
    assert "1,234 more" in lines[-1]


async def test_a_quiet_terminal_prints_messages_but_no_invocations() -> None:
    pipe = PipeReader()
    terminal = Terminal(pipe.stream, quiet=True)
    for _ in range(SAMPLE + 5):
        terminal.ended(invocation(), outcome())
    terminal.say("ready")
    terminal.close()
    assert pipe.text == "ready\n"


def test_a_stream_that_is_no_file_will_do() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    terminal.say("hello")
    terminal.close()
    assert stream.getvalue() == "hello\n"


def run(code: str, stdout: int) -> subprocess.Popen[bytes]:
    program = "import sys\nfrom microlam.terminal import *\n" + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", program], stdout=stdout, stderr=subprocess.PIPE)


def test_a_terminal_that_takes_nothing_holds_up_neither_the_server_nor_its_end() -> None:
    # given a pipe that nobody reads and that is soon full
    reading, writing = os.pipe()
    process = run("""
        terminal = Terminal(sys.stdout)
        for number in range(20_000):
            terminal.say(f"{number} " + "x" * 1000)
        terminal.close()
        print("went on", file=sys.stderr)
    """, writing)
    os.close(writing)
    # then the process says all it has to, and ends well
    _, errors = process.communicate(timeout=30)
    os.close(reading)
    assert (process.returncode, errors) == (0, b"went on\n")


def test_a_slow_terminal_is_told_how_much_it_missed() -> None:
    # given a terminal that takes nothing while 10,000 lines are printed, and takes all afterwards
    reading, writing = os.pipe()
    process = run("""
        import time
        terminal = Terminal(sys.stdout)
        for number in range(10_000):
            terminal.say("early")
        print("printed", file=sys.stderr, flush=True)
        while True:
            terminal.say("late")
            time.sleep(0.001)
    """, writing)
    os.close(writing)
    assert process.stderr
    assert process.stderr.readline() == b"printed\n"
    # when it is read until all early lines are accounted for
    early = missing = 0
    with os.fdopen(reading, "rb") as stream:
        while early + missing < 10_000:
            line = stream.readline()
            assert line, f"{early} lines and {missing} said to be missing are not all there were"
            early += line == b"early\n"
            missing += int(line.strip(b"(").split()[0].replace(b",", b"")) if line.startswith(b"(") else 0
    process.kill()
    process.communicate()
    # then some were left out, and said to be
    assert early >= 2000
    assert missing > 0


def test_a_closed_terminal_does_not_stop_the_server() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = run("""
        terminal = Terminal(sys.stdout)
        for number in range(1000):
            terminal.say("x" * 100)
        terminal.close()
        print("went on", file=sys.stderr)
    """, writing)
    os.close(writing)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"went on\n")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb"):
        assert Terminal(terminal).coloured is coloured
    assert not Terminal(io.StringIO()).coloured
