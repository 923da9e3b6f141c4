"""The commands that talk to a running server: invoke, logs, list, fire.

What was asked for goes to standard output, everything else to standard error.
"""
from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from microlam.client import Server
from microlam.errors import CallFailed, ServerAway

POLL = 0.5              # seconds between two looks of `logs --tail`

Record = Mapping[str, object]
Attempt = tuple[str, int]


def server_of(chosen: Namespace) -> Server:
    """The server that the flags or the environment name."""
    endpoint = chosen.endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or "http://127.0.0.1:3000"
    admin = chosen.admin_url or os.environ.get("MICROLAM_ADMIN_URL")
    return Server(endpoint, admin=admin, admin_token=chosen.admin_token or os.environ.get("MICROLAM_ADMIN_TOKEN"))


# ---- invoke ----------------------------------------------------------------------------------------------------------

def invoke(chosen: Namespace) -> int:
    """Invoke a function and print its reply; the exit status is 1 when it failed."""
    payload = read_event(chosen.event)
    answer = server_of(chosen).invoke(chosen.name, payload, qualifier=chosen.qualifier, invocation_type=chosen.invocation_type)
    failed = "x-amz-function-error" in answer.headers
    print(base64.b64decode(answer.headers.get("x-amz-log-result", "")).decode(errors="replace"), end="", file=sys.stderr)
    if answer.status == 202:
        print(f"Accepted as {answer.headers.get('x-amzn-requestid')}; see `microlam logs {chosen.name}`.", file=sys.stderr)
    elif answer.status == 204:
        print(f"{chosen.name} could be invoked; a dry run ends there.", file=sys.stderr)
    else:
        sys.stdout.buffer.write(answer.body + b"\n")
    if failed:
        print(f"microlam: {chosen.name} failed.", file=sys.stderr)
    return int(failed)


def read_event(source: str | None) -> bytes:
    """The event from a file, from standard input for `-`, or an empty object."""
    if source is None:
        return b"{}"
    shown = "from standard input" if source == "-" else source
    try:
        payload = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        json.loads(payload, parse_int=str)      # however many digits it has
    except OSError as error:
        raise CallFailed(reason=f"Cannot read the event {shown}: {error.strerror}.") from None
    except ValueError as error:
        raise CallFailed(reason=f"The event {shown} is not JSON: {error}.") from None
    except RecursionError:
        pass        # lists within lists: the server reads deeper, and says how deep it goes
    return payload


# ---- logs ------------------------------------------------------------------------------------------------------------

def logs(chosen: Namespace) -> int:
    """Print what a function logged, the newest last; with --tail go on as it logs."""
    server = server_of(chosen)
    tail = Tail(server, chosen.name)
    if not tail.begin(chosen.last) and not any(function["name"] == chosen.name for function in server.functions()):
        raise CallFailed(reason=f"There is no function {chosen.name}, and no invocation of it on record. `microlam list` shows the functions.")
    interrupted, away = _hear_ctrl_c() if chosen.tail else [], False
    while chosen.tail:
        sys.stdout.flush()
        if interrupted:
            raise KeyboardInterrupt
        time.sleep(POLL)
        try:
            tail.follow()
            away = False
        except ServerAway:      # `microlam dev` is often started again
            if not away:
                print(f"microlam: The server at {server.admin_given.url} does not answer; waiting for it.", file=sys.stderr)
            away = True
    return 0


def _hear_ctrl_c() -> list[int]:
    """Has something in it once Ctrl-C was pressed: the exception alone is lost where it comes while Python clears something away."""
    heard: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    return heard


class Tail:
    """Prints the logs of each invocation once, when it has ended."""

    def __init__(self, server: Server, function: str) -> None:
        self._server, self._function = server, function
        self._older_than = ""                   # when the newest of those was queued that `begin` left out
        self._printed: set[Attempt] = set()
        self._unfinished: set[Attempt] = set()

    def begin(self, count: int) -> int:
        """Print the last `count`; returns how many there are."""
        newest: list[Record] = []
        for page in self._server.invocations(self._function):
            newest += page
            if len(newest) > count:
                self._older_than = str(newest[count]["queued_at"])
                break
        self._take(newest[:count])
        return len(newest)

    def follow(self) -> None:
        """Print those that ended since."""
        self._take([self._server.invocation(*attempt) for attempt in sorted(self._unfinished, reverse=True)])
        fresh: list[Record] = []
        for page in self._server.invocations(self._function):
            new = [record for record in page if _attempt(record) not in self._printed | self._unfinished and str(record["queued_at"]) > self._older_than]
            fresh += new
            if not new:
                break
        self._take(fresh)

    def _take(self, newest_first: Sequence[Record]) -> None:
        for record in reversed(newest_first):
            if record["status"] in ("pending", "running"):
                self._unfinished.add(_attempt(record))
            else:
                # Where the server goes away here, this one is printed when it is back.
                self._print(record if "logs" in record else self._server.invocation(*_attempt(record)))
                self._printed.add(_attempt(record))
                self._unfinished.discard(_attempt(record))

    def _print(self, record: Record) -> None:
        if record["logs"]:
            print(record["logs"], end="")
        else:                                   # one that never ran: throttled, missed
            print(f"{record['queued_at']} {record['id']} {record['status']}: {json.dumps(record.get('error'))}")


def _attempt(record: Record) -> Attempt:
    attempt = record.get("attempt")
    return str(record["id"]), attempt if isinstance(attempt, int) else 1


# ---- list and fire ---------------------------------------------------------------------------------------------------

def list_functions(chosen: Namespace) -> int:
    """Print every function with what leads to it; what cannot be loaded goes to standard error."""
    functions = server_of(chosen).functions()
    rows = [("FUNCTION", "RUNTIME", "ROUTES, SCHEDULES, FILES")]
    for function in functions:
        first, *others = _ways(function)
        rows += [(str(function["name"]), str(function["runtime"]), first), *(("", "", way) for way in others)]
    name_width, runtime_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, runtime, way in rows:
        print(f"{name:<{name_width}}  {runtime:<{runtime_width}}  {way}")
    for function in functions:
        if isinstance(error := function["error"], dict):
            print(f"{function['name']}: {error.get('errorType')}: {error.get('errorMessage')}", file=sys.stderr)
    return 0


def _ways(function: Record) -> list[str]:
    triggers = function["triggers"]
    return [_way(trigger) for trigger in triggers if isinstance(trigger, dict)] or ["by Invoke only"] if isinstance(triggers, list) else []


def _way(trigger: Record) -> str:
    if not trigger["enabled"]:
        return f"{trigger['summary']}   paused"
    if trigger.get("next"):
        return f"{trigger['summary']}   next {trigger['next']}"
    if trigger.get("folder"):
        return f"{trigger['summary']}   in {trigger['folder']}"
    return str(trigger["summary"])


def fire(chosen: Namespace) -> int:
    """Fire a schedule by hand and print the request id."""
    print(server_of(chosen).fire(chosen.name, time=chosen.time, schedule=chosen.schedule)["id"])
    return 0


# ---- versions and aliases --------------------------------------------------------------------------------------------

def publish(chosen: Namespace) -> int:
    """Number what a function is now."""
    done = server_of(chosen).publish(chosen.name, chosen.description)
    print(f"{chosen.name}: version {done['version']}" + ("" if done["new"] else ", as before: nothing has changed since"))
    return 0


def alias(chosen: Namespace) -> int:
    """Create or move an alias, and say what it was and is."""
    other, weight = chosen.weight or (None, None)
    _print_move(chosen, server_of(chosen).put_alias(chosen.name, chosen.alias, number=chosen.version, other=other, weight=weight))
    return 0


def promote(chosen: Namespace) -> int:
    """Let the other version of an alias have all of it."""
    _print_move(chosen, server_of(chosen).move_alias(chosen.name, chosen.alias, "promote"))
    return 0


def rollback(chosen: Namespace) -> int:
    """Take a canary's share back, else go back to the version before."""
    _print_move(chosen, server_of(chosen).move_alias(chosen.name, chosen.alias, "rollback"))
    return 0


def _print_move(chosen: Namespace, done: Record) -> None:
    before = done["before"]
    was = f", was {_share(before)}" if isinstance(before, dict) else ", new"
    print(f"{chosen.name}:{chosen.alias} is {_share(done)}{was}")


def _share(alias: Record) -> str:
    """`version 1`, or `version 1, with 10 % to version 2`."""
    other, weight = alias["other"], alias["weight"]
    canary = f" with {100 * weight:g} % to version {other}" if other and isinstance(weight, float | int) else ""
    return f"version {alias['number']}{canary}"


COMMANDS: Mapping[str, Callable[[Namespace], int]] = {"invoke": invoke, "logs": logs, "list": list_functions, "fire": fire, "publish": publish, "alias": alias,
                                                        "promote": promote, "rollback": rollback}
