"""One call of one operation: whose it is, when, and the parts it may use."""
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from microlam.aws.downloads import Downloads
from microlam.aws.protocol import Params
from microlam.functions import Functions
from microlam.model import Invocation, Outcome, Version
from microlam.resources.attached import Attached
from microlam.resources.buckets import Buckets
from microlam.resources.layers import Layers
from microlam.resources.logs import LogGroups
from microlam.resources.policies import Policies
from microlam.resources.roles import Roles
from microlam.resources.sessions import Session, Sessions
from microlam.store import Store


class Invoker(Protocol):
    """What the wire asks of the invoker."""

    stopping: bool

    async def invoke(self, version: Version, invocation: Invocation) -> Outcome: ...
    async def enqueue(self, *invocations: Invocation) -> None: ...
    def caller(self, trace: str) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What of the server operations may use."""

    functions: Functions
    invoker: Invoker
    store: Store
    buckets: Buckets
    layers: Layers
    attached: Attached
    downloads: Downloads
    policies: Policies
    roles: Roles
    sessions: Sessions
    logs: LogGroups


@dataclass(frozen=True, kw_only=True)
class Call(Parts):
    """Who calls and when; account and region are those that the caller's credentials name, `session` is there where they are of an assumed role."""

    session: Session | None
    origin: str         # the address at which the caller reached this server, as http://127.0.0.1:3000
    region: str
    account: str
    request_id: str
    trace: str          # X-Amzn-Trace-Id, which the SDK in a handler sends along
    now: datetime
    face: str           # by which face a change is asked for, as the history tells it: api
    say: Callable[[str], None]


# Events of a reply that is a stream: each one's name and members. An operation gives it as the member that the table says streams.
Events = AsyncIterator[tuple[str, Params]]

# An operation: members in, members out.
Answer = Callable[[Call, Params], Awaitable[Params]]
Answers = Mapping[str, Answer]
