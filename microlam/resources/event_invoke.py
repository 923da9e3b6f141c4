"""What becomes of a function's asynchronous invocations: how often they are tried again, until when, and who hears of the end."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from microlam.model import LATEST, Retry
from microlam.resources.belongings import Belongings, Owned
from microlam.store import Store


@dataclass(frozen=True, kw_only=True)
class EventInvoke:
    """What is said for one version or alias of a function; None: nothing was said."""

    modified: datetime
    attempts: int | None = None             # after the first
    max_age: int | None = None              # seconds
    on_success: str | None = None           # ARNs
    on_failure: str | None = None


class EventInvokes:
    """Who said what: by a function's ARN and a version or alias of it, `$LATEST` where none is named."""

    def __init__(self, store: Store) -> None:
        self._kept = Belongings(store, "event-invoke", EventInvoke)

    async def find(self, arn: str, qualifier: str | None) -> EventInvoke | None:
        return await self._kept.find(arn, qualifier or LATEST)

    async def of(self, arn: str) -> list[Owned[EventInvoke]]:
        """Everything said for a function."""
        return await self._kept.of(arn)

    async def keep(self, arn: str, qualifier: str | None, said: EventInvoke) -> None:
        await self._kept.keep(arn, qualifier or LATEST, said)

    async def forget(self, arn: str, *qualifiers: str) -> None:
        await self._kept.forget(arn, *qualifiers)

    async def retry(self, arn: str, qualifier: str | None, otherwise: Retry) -> Retry:
        """How an invocation of that version or alias is tried again."""
        said = await self.find(arn, qualifier)
        if said is None:
            return otherwise
        attempts = otherwise.attempts if said.attempts is None else said.attempts
        return dataclasses.replace(otherwise, attempts=attempts, max_age=otherwise.max_age if said.max_age is None else float(said.max_age))
