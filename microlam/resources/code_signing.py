"""Code signing: whose signatures a function's code must carry. Kept and shown; nothing is verified here."""
from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from datetime import datetime

from microlam.errors import Conflict
from microlam.resources.belongings import Belongings, Owned
from microlam.store import Store


class CodeSigningInUse(Conflict):
    """The code signing configuration {arn} is used by {count} function{s}. Remove it from them first."""


@dataclass(frozen=True, kw_only=True)
class CodeSigning:
    """The signing profiles that are trusted, and what becomes of code that has none of their signatures."""

    publishers: tuple[str, ...]
    untrusted: str                          # Warn or Enforce
    description: str
    modified: datetime


@dataclass(frozen=True)
class _Uses:
    arn: str


def new_code_signing_arn(region: str, account: str) -> str:
    id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(17))
    return f"arn:aws:lambda:{region}:{account}:code-signing-config:csc-{id}"


class CodeSignings:
    """Code signing configurations by ARN, and which function uses which."""

    def __init__(self, store: Store) -> None:
        self._kept = Belongings(store, "code-signing", CodeSigning)
        self._used = Belongings(store, "code-signing-of", _Uses)

    async def find(self, arn: str) -> CodeSigning | None:
        return await self._kept.find(arn)

    async def all(self) -> list[Owned[CodeSigning]]:
        return await self._kept.all()

    async def keep(self, arn: str, signing: CodeSigning) -> None:
        await self._kept.keep(arn, "", signing)

    async def delete(self, arn: str) -> None:
        """Forget a configuration that no function uses."""
        users = await self.users(arn)
        if users:
            raise CodeSigningInUse(arn=arn, count=len(users), s="s" * (len(users) > 1))
        await self._kept.forget(arn)

    async def users(self, arn: str) -> list[str]:
        """The ARNs of the functions that use a configuration."""
        return [owner for owner, _, uses in await self._used.all() if uses.arn == arn]

    async def used_by(self, function: str) -> str | None:
        """The ARN of the configuration that a function uses."""
        uses = await self._used.find(function)
        return uses.arn if uses else None

    async def use(self, function: str, arn: str) -> None:
        await self._used.keep(function, "", _Uses(arn))

    async def leave(self, function: str) -> None:
        """The function uses none any more."""
        await self._used.forget(function)
