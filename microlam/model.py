"""The words everything else is said in: Version, Alias, Invocation, Outcome, Trigger, and ARNs read and written.

Frozen data and pure functions; nothing here does I/O. Instants are aware UTC datetimes, durations are seconds, payloads are bytes.
"""
from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TypeVar, dataclass_transform

import orjson

T = TypeVar("T")

DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
LATEST = "$LATEST"
OWN_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"     # the one that this very interpreter is

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
SYNC_PAYLOAD_LIMIT = 6_291_456
REPLY_PAYLOAD_LIMIT = 6_291_556
EVENT_PAYLOAD_LIMIT = 1_048_576

# How an invocation stands; the last six are final.
STATUSES = ("pending", "running", "succeeded", "failed", "timed_out", "crashed", "throttled", "missed")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def fact(cls: type[T]) -> type[T]:
    """A frozen dataclass as far as the type checker is concerned. To be frozen at run time too would cost each value a microsecond,
    and these are made for every request."""
    return dataclass(kw_only=True, unsafe_hash=True)(cls)


# ---- functions -------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True, eq=False)
class Version:
    """One function version, frozen: all that an executor needs to run it.

    `arn` is the function's, without a qualifier. `root` is the folder that holds the code (`LAMBDA_TASK_ROOT`), `source` the
    folder its author edits, which tracebacks name. `sha256` is the package's hash, base64 as AWS's `CodeSha256`.
    """

    arn: str
    number: str = LATEST
    handler: str
    runtime: str
    root: str
    source: str = ""
    sha256: str = ""
    path: tuple[str, ...] = ()          # sys.path entries after `root`: installed requirements, layers
    layers: str = ""                    # the folder its layers are unpacked to, AWS's /opt
    timeout: float = 3.0
    memory: int = 128                   # MB
    environment: Mapping[str, str] = field(default_factory=dict)
    concurrency: int | None = None      # most invocations at once; None: the server's default
    executor: str = "processes"
    preload: tuple[str, ...] = ()
    log_format: str = "Text"            # or JSON
    log_level: str = ""                 # of a JSON log; "": INFO
    log_group: str = ""                 # "": the function's own
    role: str = ""
    provisioned: int = 0                # workers that are started ahead and kept

    @cached_property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]

    @property
    def memory_bytes(self) -> int:
        """The memory it may have, in bytes."""
        return self.memory << 20

    @cached_property
    def on_demand(self) -> Version:
        """The same without workers kept for it: what runs when all of those are busy."""
        return replace(self, provisioned=0) if self.provisioned else self

    @cached_property
    def key(self) -> str:
        """What tells one version's workers from another's: a hash of every field."""
        facts = [value if not isinstance(value, Mapping) else sorted(value.items()) for value in (getattr(self, f.name) for f in fields(self))]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A name for a version, and for at most one `other`, which gets the share `weight` of what is invoked by that name."""

    arn: str                            # the function's
    name: str
    number: str
    other: str | None = None
    weight: float = 0.0
    description: str = ""
    revision: str = ""

    @property
    def qualified(self) -> str:
        return f"{self.arn}:{self.name}"


def chosen_version(alias: Alias, dice: float) -> str:
    """Which version of an alias an invocation gets; `dice` is anywhere in [0, 1)."""
    return alias.other if alias.other is not None and dice < alias.weight else alias.number


# ---- invocations -----------------------------------------------------------------------------------------------------

@fact
class Invocation:
    """One event on its way to one function.

    `id` is the AWS request id, the same for every retry; `key` names this attempt's record, and equals `id` for the first.
    `qualifier` is the version or alias that was asked for, None where none was.

    >>> async def main():
    ...     async with Microlam("functions/") as lam:
    ...         invocation = await lam.enqueue("hello", {"name": "Ada"}, qualifier="$LATEST")
    ...         return invocation.cause, invocation.payload, invocation.invoked_arn
    >>> asyncio.run(main())
    ('invoke', b'{"name": "Ada"}', 'arn:aws:lambda:us-east-1:000000000000:function:hello:$LATEST')
    """

    id: str
    arn: str
    payload: bytes
    cause: str                          # http · invoke · schedule · file · …
    queued_at: datetime
    key: str = ""
    qualifier: str | None = None
    summary: str = ""                   # what it was, in words: "POST /orders", "uploads/a.png created"
    attempt: int = 1
    accepted_at: datetime | None = None  # of the first attempt; retries age from here. None: nobody retries it
    due_at: datetime | None = None      # not before
    client_context: str | None = None   # JSON
    parent: str | None = None           # the invocation that led to this one

    @property
    def record_key(self) -> str:
        return self.key or self.id

    @property
    def invoked_arn(self) -> str:
        return f"{self.arn}:{self.qualifier}" if self.qualifier else self.arn


@fact
class Outcome:
    """How an invocation ended. `payload` is the reply, or the error object AWS would send, as JSON bytes.

    >>> outcome = Outcome(status="failed", payload=b'{"errorType": "KeyError", "errorMessage": "tea"}', duration=0.002)
    >>> outcome.ok, outcome.error["errorType"]
    (False, 'KeyError')
    >>> Outcome(status="succeeded", payload=b'{"total": 640}').value
    {'total': 640}
    """

    status: str                         # a final one of STATUSES
    payload: bytes
    version: str = LATEST
    logs: bytes = b""
    started_at: datetime | None = None
    duration: float = 0.0
    init: float | None = None           # seconds of the import, on a cold start
    cold: bool = False
    memory: int = 0                     # most resident bytes
    log_stream: str = ""
    runtime: str = ""                   # what really ran it: "Python 3.11.7"

    @property
    def ok(self) -> bool:
        return self.status == "succeeded"

    @cached_property
    def value(self) -> object:
        """The payload as a Python value; None where it is not JSON."""
        return json_value(self.payload)

    @property
    def error(self) -> Mapping[str, object] | None:
        """The error object (`errorType`, `errorMessage`, …) of one that did not succeed."""
        if self.ok:
            return None
        return self.value if isinstance(self.value, dict) else {"errorType": "Unknown", "errorMessage": self.payload.decode(errors="replace")}


def json_value(payload: bytes) -> object:
    """JSON as a Python value; None where it is not JSON."""
    try:
        return orjson.loads(payload)
    except ValueError:
        pass
    try:
        return json.loads(payload)      # NaN, which Python handlers can return
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, kw_only=True)
class Retry:
    """What an asynchronous invocation is given: `attempts` more tries, until it is `max_age` seconds old."""

    attempts: int = 2
    max_age: float = 21_600.0
    delay: float = 60.0                 # before the first retry; twice that before the second


# ---- triggers --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class Route:
    """HTTP requests: `method` (or ANY) and `path` with `{name}` and a last `{name+}`; `$default` takes what nothing else does."""

    method: str
    path: str

    def __str__(self) -> str:
        return self.path if self.path == "$default" else f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Moments: `rate(5 minutes)`, `cron(0 10 * * ? *)` or `at(2026-03-29T02:00:00)`, in `timezone`."""

    expression: str
    timezone: str = "UTC"

    def __str__(self) -> str:
        return self.expression if self.timezone == "UTC" else f"{self.expression} {self.timezone}"


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Files that appear, change or go in `bucket`, with a key that starts and ends so."""

    bucket: str
    prefix: str = ""
    suffix: str = ""
    events: tuple[str, ...] = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")

    def __str__(self) -> str:
        return f"{self.bucket}/{self.prefix}*{self.suffix}"


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """When this happens, invoke that: `target` is a function's ARN, with a qualifier where one was named."""

    target: str
    when: Route | Schedule | Drop
    origin: str = "default"             # decorator · toml · default
    enabled: bool = True

    @cached_property
    def id(self) -> str:
        """The same for the same words, so that next times survive a restart."""
        return hashlib.sha256(f"{self.target} {type(self.when).__name__} {self.when}".encode()).hexdigest()[:24]


# ---- names -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class FunctionName:
    """A function as a caller names it; what was not said is None."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None


_FUNCTION_NAME = re.compile(
    r"(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_.]+)(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)


def function_arn(name: str, region: str = DEFAULT_REGION, account: str = DEFAULT_ACCOUNT) -> str:
    """`hello` → `arn:aws:lambda:us-east-1:000000000000:function:hello`."""
    return f"arn:aws:lambda:{region}:{account}:function:{name}"


def read_function_name(text: str) -> FunctionName | None:
    """A name, `name:qualifier`, `account:function:name` or an ARN, taken apart; None where it is none of these."""
    match = _FUNCTION_NAME.fullmatch(text)
    return FunctionName(**match.groupdict()) if match else None


def split_arn(arn: str) -> tuple[str, str | None]:
    """A function's ARN and its qualifier, where it has one."""
    head, _, qualifier = arn.partition(":function:")[2].partition(":")
    return arn.partition(":function:")[0] + ":function:" + head, qualifier or None


def region_of(arn: str) -> str:
    return arn.split(":", 4)[3]


@lru_cache(maxsize=1024)
def account_of(arn: str) -> str:
    return arn.split(":", 5)[4]


_last_id = 0


def new_id() -> str:
    """A request id in UUID form (version 7): ids made later sort later, also within a millisecond."""
    global _last_id
    dice = random.getrandbits(74)
    stamp = (time.time_ns() // 1_000_000 << 12) | dice >> 62
    _last_id = stamp if stamp > _last_id else _last_id + 1
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031  a third faster than format(), for every request
        _last_id >> 28, _last_id >> 12 & 0xFFFF, _last_id & 0xFFF, 0x8000 | dice >> 48 & 0x3FFF, dice & 0xFFFF_FFFF_FFFF,
    )


def id_time(id: str) -> datetime:
    """When an id was made."""
    return datetime.fromtimestamp(int(id[:8] + id[9:13], 16) / 1000, UTC)
