"""Functions of the host's own: callables of its process, registered by it at each start and kept nowhere."""
from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from microlam.errors import InvalidParameter
from microlam.functions.configuration import FunctionSettings, read_function
from microlam.functions.snapshot import Snapshot
from microlam.model import LATEST, OWN_RUNTIME, new_id

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_count = itertools.count(1)


class HostedSettings(TypedDict, total=False):
    """What may be said of a function that the host registers, as in `[functions.NAME]` of microlam.toml."""

    http: str | Sequence[str]
    schedule: str | Mapping[str, str] | Sequence[str | Mapping[str, str]]
    files: str | Mapping[str, object] | Sequence[str | Mapping[str, object]]
    serve: str
    timeout: float
    memory: int
    concurrency: int
    log_format: str


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """One callable of the host: a function as it is now, and one of its numbered versions too where it has a number."""

    name: str
    handler: Callable[..., object]
    number: str | None
    settings: FunctionSettings
    code: str                           # tells it from every other one: callables have no hash that lasts

    def snapshot(self, arn: str, number: str, now: datetime) -> Snapshot:
        """It as a version of a function."""
        settings = self.settings
        return Snapshot(
            arn=arn, number=number, sha256=self.code, handler=f"{self.handler.__module__}.{getattr(self.handler, '__qualname__', self.name)}",
            runtime=OWN_RUNTIME, timeout=settings.timeout, memory=settings.memory, log_format=settings.log_format, concurrency=settings.concurrency,
            executor="inprocess", modified=now, revision=new_id(),
        )


def read_hosted(name: str, handler: Callable[..., object], number: int | str | None, said: HostedSettings) -> Hosted:
    """What a host asks for; InvalidParameter, in a sentence, where that cannot be."""
    if number is not None and not _NUMBER.fullmatch(str(number)):
        raise InvalidParameter(reason=f"version={number!r} cannot be the number of a version; use a whole number from 1.")
    try:
        settings = read_function(name, {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()})
    except ValueError as error:
        raise InvalidParameter(reason=f"{error}.") from None
    code = base64.b64encode(hashlib.sha256(f"{name} {next(_count)}".encode()).digest()).decode()
    return Hosted(name=name, handler=handler, number=None if number is None else str(number), settings=settings, code=code)


def numbers_of(hosted: Hosted) -> tuple[str, ...]:
    """What it is: `$LATEST`, and the version of its number."""
    return (LATEST,) if hosted.number is None else (LATEST, hosted.number)
