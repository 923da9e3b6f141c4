"""What the platform says around a handler's output: INIT_START, START, END, REPORT, and the sentences of those that ended badly."""
from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from microlam.model import Version, region_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One invocation as its log tells it."""

    version: Version
    id: str
    duration: float             # seconds
    memory: int                 # most resident bytes
    output: bytes = b""
    began: datetime | None = None           # when the handler was called, where it was
    init_began: datetime | None = None      # when its worker was begun
    first: bool = False         # of its worker
    runtime: str = ""           # "3.11.7", as far as it got to say so
    init: float | None = None   # seconds, where this invocation waited for the import
    init_output: bytes = b""
    init_failed: float | None = None    # seconds, where it did not
    error: str = ""             # errorType, where it was not the handler's own
    sentence: str = ""          # errorMessage, likewise


def log_of(run: Run) -> bytes:
    """The whole log of one invocation."""
    return _json_log(run) if run.version.log_format == "JSON" else _text_log(run)


def plain_log(version: Version, id: str, duration: float, memory: int, output: bytes) -> bytes:
    """The text log of an invocation of which nothing special is to be told, as nearly all are."""
    start, end = f"START RequestId: {id} Version: {version.number}\n", _report(version, id, duration, memory)
    return b"%b%b%b\n" % (start.encode(), _ended(output), end.encode()) if output else f"{start}{end}\n".encode()


def _report(version: Version, id: str, duration: float, memory: int) -> str:
    milliseconds = duration * 1000
    return (
        f"END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {milliseconds:.2f} ms\tBilled Duration: {math.ceil(milliseconds)} ms"
        f"\tMemory Size: {version.memory} MB\tMax Memory Used: {megabytes(memory)} MB\t"
    )


def _text_log(run: Run) -> bytes:
    id = run.id
    start = f"START RequestId: {id} Version: {run.version.number}\n"
    end = _report(run.version, id, run.duration, run.memory)
    first = f"INIT_START Runtime Version: {_runtime(run)}\tRuntime Version ARN: {_runtime_arn(run)}\n" if run.first else ""
    if run.init_failed is not None:
        status = "timeout" if run.error == "Sandbox.Timedout" else f"error\tError Type: {run.error}"
        start = f"INIT_REPORT Init Duration: {run.init_failed * 1000:.2f} ms\tPhase: init\tStatus: {status}\n{start}"
    if run.init is not None:
        end += f"Init Duration: {run.init * 1000:.2f} ms\t"
    sentence = ""
    if run.error == "Sandbox.Timedout":
        sentence = f"{_stamp()} {id} {run.sentence.partition(' Error: ')[2]}\n\n"
        end += "Status: timeout"
    elif run.error:
        sentence = f"{run.sentence}\n{run.error}\n" if run.sentence else ""
        end += f"Status: error\tError Type: {run.error}"
    return b"".join((first.encode(), _ended(run.init_output), start.encode(), _ended(run.output), sentence.encode(), end.encode(), b"\n"))


def _json_log(run: Run) -> bytes:
    metrics: dict[str, object] = {
        "durationMs": round(run.duration * 1000, 3),
        "billedDurationMs": math.ceil(run.duration * 1000),
        "memorySizeMB": run.version.memory,
        "maxMemoryUsedMB": megabytes(run.memory),
    }
    if run.init is not None:
        metrics["initDurationMs"] = round(run.init * 1000, 3)
    report: dict[str, object] = {"requestId": run.id, "metrics": metrics, "status": "success"}
    if run.error:
        report |= {"status": "timeout" if run.error == "Sandbox.Timedout" else "error", "errorType": run.error}
    first = {"initializationType": "on-demand", "phase": "init", "runtimeVersion": _runtime(run), "runtimeVersionArn": _runtime_arn(run)}
    return b"".join((
        _event("initStart", first, run.init_began) if run.first else b"",
        _ended(run.init_output),
        _event("start", {"requestId": run.id, "version": run.version.number}, run.began),
        _ended(run.output),
        _event("report", report),
    ))


def _event(kind: str, record: dict[str, object] | dict[str, str], at: datetime | None = None) -> bytes:
    return json.dumps({"time": _stamp(at), "type": f"platform.{kind}", "record": record}, separators=(",", ":")).encode() + b"\n"


def cut(output: bytes, dropped: int) -> bytes:
    """Output, and that so many bytes beyond the limit were dropped."""
    if not dropped:
        return output
    # At least: what a program still writes when it is killed is not counted for ever.
    return _ended(output) + f"[microlam] at least {dropped} more bytes of output were dropped: an invocation keeps {len(output)}.\n".encode()


def _ended(output: bytes) -> bytes:
    return output + b"\n" if output and not output.endswith(b"\n") else output


def _stamp(at: datetime | None = None) -> str:
    return f"{at or datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def _runtime(run: Run) -> str:
    minor, _, patch = (run.runtime or "{}.{}.{}".format(*sys.version_info)).rpartition(".")
    return f"python:{minor}.v{patch}"


def _runtime_arn(run: Run) -> str:
    return f"arn:aws:lambda:{region_of(run.version.arn)}::runtime:{hashlib.sha256(_runtime(run).encode()).hexdigest()}"


def megabytes(size: int) -> int:
    return math.ceil(size / 1_048_576)


# ---- ends that no handler told of ------------------------------------------------------------------------------------

def platform_error(kind: str, message: str) -> bytes:
    """The error object of an invocation that the platform ended, in AWS's order of keys."""
    return json.dumps({"errorType": kind, "errorMessage": message}, separators=(",", ":")).encode()


def exit_sentence(id: str, status: int | None) -> str:
    """Why a runtime that ended, with this wait status, gave no reply; None where nobody could tell."""
    if status is None or os.WIFSIGNALED(status):
        reason = f"signal: {_signal(signal.SIGKILL if status is None else os.WTERMSIG(status))}"
    elif os.WEXITSTATUS(status):
        reason = f"exit status {os.WEXITSTATUS(status)}"
    else:
        return f"RequestId: {id} Error: Runtime exited without providing a reason"
    return f"RequestId: {id} Error: Runtime exited with error: {reason}"


def timeout_sentence(id: str, seconds: float, *, importing: bool = False) -> str:
    """That an invocation, or its import, did not end in the time it had."""
    return f"RequestId: {id} Error: Task timed out after {seconds:.2f} seconds{' of import' if importing else ''}"


def _signal(number: int) -> str:
    # macOS adds the number: "Killed: 9".
    return (signal.strsignal(number) or f"signal {number}").partition(":")[0].lower()
