"""Function URLs: an address of its own for a function or one of its aliases."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from microlam.errors import Conflict
from microlam.resources.belongings import Belongings, Owned
from microlam.store import Store


class UrlExists(Conflict):
    """Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for this Lambda function"""


@dataclass(frozen=True, kw_only=True)
class FunctionUrl:
    """How one address answers: who may call (`NONE` or `AWS_IAM`), from which pages, whole or in pieces (None: nothing was said).

    `cors` has `origins`, `methods`, `headers`, `exposed`, `credentials` and `max_age`, those that were said.
    """

    id: str
    auth: str
    created: datetime
    modified: datetime
    cors: Mapping[str, Any] | None = None
    mode: str | None = None                 # BUFFERED or RESPONSE_STREAM


def url_id(arn: str, qualifier: str | None) -> str:
    """The first part of the address: 32 letters and digits, the same whenever the URL of this function and alias is made."""
    return hashlib.sha256(f"{arn}:{qualifier or ''}".encode()).hexdigest()[:32]


class FunctionUrls:
    """The URLs of functions, by ARN and alias; `None` is the function itself."""

    def __init__(self, store: Store) -> None:
        self._kept = Belongings(store, "url", FunctionUrl)

    async def find(self, arn: str, alias: str | None) -> FunctionUrl | None:
        return await self._kept.find(arn, alias or "")

    async def of(self, arn: str) -> list[Owned[FunctionUrl]]:
        """The URLs of a function and of its aliases."""
        return await self._kept.of(arn)

    async def create(self, arn: str, alias: str | None, url: FunctionUrl) -> None:
        """Keep the URL of a function or alias that has none; raises UrlExists."""
        async with self._kept.changing:
            if await self.find(arn, alias):
                raise UrlExists(arn=f"{arn}:{alias}" if alias else arn)
            await self.keep(arn, alias, url)

    async def keep(self, arn: str, alias: str | None, url: FunctionUrl) -> None:
        await self._kept.keep(arn, alias or "", url)

    async def forget(self, arn: str, *aliases: str) -> None:
        await self._kept.forget(arn, *aliases)
