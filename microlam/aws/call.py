"""One call of one operation: whose it is, when, and the parts it may use."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from microlam.aws.protocol import Params
from microlam.model import Invocation, Outcome, Version
from microlam.resources.attached import Attached
from microlam.store import Store


class Named(Protocol):
    """A function, as far as looking for it elsewhere goes."""

    @property
    def name(self) -> str: ...
    @property
    def arn(self) -> str: ...


class Functions(Protocol):
    """What the wire asks of the functions."""

    async def current(self, arn: str, qualifier: str | None = None) -> Version: ...
    def all(self) -> Sequence[Named]: ...


class Invoker(Protocol):
    """What the wire asks of the invoker."""

    async def invoke(self, version: Version, invocation: Invocation) -> Outcome: ...
    async def enqueue(self, *invocations: Invocation) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Call:
    """Who calls and when; account and region are those that the caller's credentials name."""

    functions: Functions
    invoker: Invoker
    store: Store
    attached: Attached
    origin: str         # the address at which the caller reached this server, as http://127.0.0.1:3000
    region: str
    account: str
    request_id: str
    now: datetime
    say: Callable[[str], None]


# An operation: members in, members out.
Answer = Callable[[Call, Params], Awaitable[Params]]
Answers = Mapping[str, Answer]
