"""Resource policies: who may do what with one thing, as statements in IAM's own language."""
from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microlam.errors import BadRequest, Conflict, NotFound, PreconditionFailed
from microlam.resources.belongings import Belongings
from microlam.store import Store

SIZE_LIMIT = 20_480     # bytes of a whole policy

Statement = Mapping[str, Any]


class StatementExists(Conflict):
    """The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."""


class StatementNotFound(NotFound):
    """Statement {sid} is not found in resource policy."""


class PolicyNotFound(NotFound):
    """No policy is associated with the given resource."""


class PolicyTooLong(BadRequest):
    """The final policy size ({size}) is bigger than the limit ({limit})."""

    code = "PolicyLengthExceededException"


@dataclass(frozen=True, kw_only=True)
class ResourcePolicy:
    """The statements of one thing, and the revision they are at."""

    revision: str
    statements: tuple[Statement, ...]

    @property
    def document(self) -> str:
        """The policy as IAM writes it."""
        return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": self.statements}, separators=(",", ":"))


class ResourcePolicies:
    """The policies of things: `arn` is a function's or a layer version's, `qualifier` a version or alias of the function.

    A `revision` that is given must be the one the policy is at, or the `current` one of what it hangs on, where that counts;
    `call` is where a caller learns which that is.
    """

    def __init__(self, store: Store) -> None:
        self._kept = Belongings(store, "resource-policy", ResourcePolicy)

    async def find(self, arn: str, qualifier: str = "") -> ResourcePolicy | None:
        return await self._kept.find(arn, qualifier)

    async def add(self, arn: str, qualifier: str, statement: Statement, *, revision: str | None, call: str, current: str | None = None) -> ResourcePolicy:
        """Add a statement under a name that none has yet; gives the policy as it is now."""
        async with self._kept.changing:
            before = await self.find(arn, qualifier)
            statements = before.statements if before else ()
            if any(other["Sid"] == statement["Sid"] for other in statements):
                raise StatementExists(sid=statement["Sid"])
            if revision not in (None, current or (before.revision if before else "")):
                raise PreconditionFailed(call=call)
            return await self._keep(arn, qualifier, (*statements, statement))

    async def remove(self, arn: str, qualifier: str, sid: str, *, revision: str | None, call: str, current: str | None = None) -> None:
        """Remove a statement by its name."""
        async with self._kept.changing:
            before = await self.find(arn, qualifier)
            if before is None:
                raise PolicyNotFound()
            left = tuple(statement for statement in before.statements if statement["Sid"] != sid)
            if len(left) == len(before.statements):
                raise StatementNotFound(sid=sid)
            if revision not in (None, current or before.revision):
                raise PreconditionFailed(call=call)
            if left:
                await self._keep(arn, qualifier, left)
            else:
                await self._kept.forget(arn, qualifier)

    async def _keep(self, arn: str, qualifier: str, statements: tuple[Statement, ...]) -> ResourcePolicy:
        policy = ResourcePolicy(revision=str(uuid.uuid4()), statements=statements)
        size = len(policy.document)
        if size > SIZE_LIMIT:
            raise PolicyTooLong(size=size, limit=SIZE_LIMIT)
        await self._kept.keep(arn, qualifier, policy)
        return policy

    async def forget(self, arn: str, *qualifiers: str) -> None:
        """Forget the policies of a thing that is gone, or those of some of its qualifiers."""
        await self._kept.forget(arn, *qualifiers)
