"""Roles: who may assume them, and the policies that hang on them. Kept, not enforced."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from microlam.errors import EntityExists, EntityInUse, EntityNotFound, InvalidParameter, TooMany
from microlam.resources.kept import Kept
from microlam.resources.policies import Policies, Policy
from microlam.resources.statements import check_policy, check_trust
from microlam.store import Document, Store

ATTACHED_LIMIT = 10
SESSION_LONGEST = 3600


@dataclass(frozen=True, kw_only=True)
class Role:
    """One role. `trust` says who may assume it, `attached` are ARNs of managed policies, `inline` the policies of its own."""

    name: str
    arn: str
    id: str
    path: str
    trust: str
    created_at: datetime
    description: str | None = None
    longest: int = SESSION_LONGEST      # seconds a session may last
    boundary: str | None = None         # ARN of the policy that limits it
    tags: Mapping[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    inline: Mapping[str, str] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    def policy(self, name: str) -> str:
        """The document of an inline policy; raises EntityNotFound."""
        if name not in self.inline:
            raise EntityNotFound(reason=f"The role policy with name {name} cannot be found.")
        return self.inline[name]


class Roles:
    """Every role, by account and name; names differ in more than their case."""

    def __init__(self, store: Store, policies: Policies) -> None:
        self._kept = Kept(store, "role", _document_of, _role_of)
        self._policies = policies

    # ---- looking ------------------------------------------------------------------------------------------------

    async def find(self, account: str, name: str) -> Role:
        """An account's role; raises EntityNotFound."""
        role = await self.get(account, name)
        if role is None:
            raise EntityNotFound(reason=f"The role with name {name} cannot be found.")
        return role

    async def get(self, account: str, name: str) -> Role | None:
        return await self._kept.get(account, name.lower())

    async def of(self, account: str) -> Sequence[Role]:
        """An account's roles."""
        return await self._kept.of(account)

    async def uses(self, policy: str, account: str) -> tuple[int, int]:
        """How many of an account's roles have a policy attached, and how many are bounded by it."""
        roles = await self.of(account)
        return sum(policy in role.attached for role in roles), sum(policy == role.boundary for role in roles)

    # ---- changing -----------------------------------------------------------------------------------------------

    async def create(self, role: Role) -> None:
        """Keep a new role."""
        check_trust(role.trust)
        async with self._kept.changing:
            if await self.get(role.account, role.name) is not None:
                raise EntityExists(reason=f"Role with name {role.name} already exists.")
            await self._kept.put(role)

    async def change(self, account: str, name: str, change: Callable[[Role], Role]) -> None:
        """Keep a role as `change` makes it."""
        async with self._kept.changing:
            role = change(await self.find(account, name))
            check_trust(role.trust)
            await self._kept.put(role)

    async def remove(self, account: str, name: str) -> None:
        """Delete a role that has no policies any more."""
        async with self._kept.changing:
            role = await self.find(account, name)
            if role.attached:
                raise EntityInUse(reason="Cannot delete entity, must detach all policies first.")
            if role.inline:
                raise EntityInUse(reason="Cannot delete entity, must delete policies first.")
            await self._kept.remove(role)

    # ---- its policies -------------------------------------------------------------------------------------------

    async def attach(self, account: str, name: str, policy: str) -> None:
        """Hang a managed policy on a role; once is enough."""
        check_policy_arn(policy)
        await self.find(account, name)
        if await self._policies.get(policy) is None:
            raise EntityNotFound(reason=f"Policy {policy} does not exist or is not attachable.")

        def having(role: Role) -> Role:
            attached = role.attached if policy in role.attached else (*role.attached, policy)
            if len(attached) > ATTACHED_LIMIT:
                raise TooMany(reason=f"Cannot exceed quota for PoliciesPerRole: {ATTACHED_LIMIT}")
            return dataclasses.replace(role, attached=attached)

        await self.change(account, name, having)

    async def detach(self, account: str, name: str, policy: str) -> None:
        """Take a managed policy off a role."""
        check_policy_arn(policy)

        def without(role: Role) -> Role:
            if policy not in role.attached:
                raise EntityNotFound(reason=f"Policy {policy} was not found.")
            return dataclasses.replace(role, attached=tuple(each for each in role.attached if each != policy))

        await self.change(account, name, without)

    async def attached(self, account: str, name: str) -> list[Policy]:
        """The managed policies of a role."""
        role = await self.find(account, name)
        return [await self._policies.find(arn) for arn in role.attached]

    async def remove_policy(self, account: str, policy: str) -> None:
        """Delete a managed policy that no role has."""
        async with self._kept.changing:
            if any(await self.uses(policy, account)):
                raise EntityInUse(reason="Cannot delete a policy attached to entities.")
            await self._policies.remove(policy)

    async def put_inline(self, account: str, name: str, policy: str, document: str) -> None:
        """Give a role a policy of its own, in place of one of the same name."""
        check_policy(document)
        await self.change(account, name, lambda role: dataclasses.replace(role, inline={**role.inline, policy: document}))

    async def remove_inline(self, account: str, name: str, policy: str) -> None:
        """Take a policy of its own from a role."""
        def without(role: Role) -> Role:
            role.policy(policy)
            return dataclasses.replace(role, inline={key: value for key, value in role.inline.items() if key != policy})

        await self.change(account, name, without)


def check_policy_arn(arn: str) -> None:
    """Raise where this cannot be the ARN of a managed policy."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2:4] != ["iam", ""] or not parts[5].startswith("policy/"):
        raise InvalidPolicyArn(arn=arn)


class InvalidPolicyArn(InvalidParameter):
    """ARN {arn} is not valid."""

    code = "InvalidInput"


def _document_of(role: Role) -> Document:
    return Document(kind="role", owner=role.account, name=role.name.lower(), body=dataclasses.asdict(role) | {"created_at": role.created_at.isoformat()})


def _role_of(document: Document) -> Role:
    body = document.body
    return Role(**{**body, "created_at": datetime.fromisoformat(body["created_at"]), "attached": tuple(body["attached"])})
