"""Managed policies: those of the accounts, with their versions, and those that AWS itself provides. Kept, not enforced."""
from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from microlam.errors import EntityExists, EntityInUse, EntityNotFound, Refused, TooMany
from microlam.resources.kept import Kept
from microlam.resources.statements import check_policy
from microlam.store import Document, Store

OF_AWS = "arn:aws:iam::aws:policy/"
VERSION_LIMIT = 5
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True, kw_only=True)
class PolicyVersion:
    """One version of a policy's document."""

    id: str
    document: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A managed policy; `default` names the version that counts."""

    name: str
    arn: str
    id: str
    path: str
    created_at: datetime
    updated_at: datetime
    versions: tuple[PolicyVersion, ...]
    default: str = "v1"
    last: int = 1                       # number of the newest version there ever was
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def by_aws(self) -> bool:
        return self.arn.startswith(OF_AWS)

    def version(self, id: str) -> PolicyVersion:
        """One of its versions; raises EntityNotFound."""
        found = next((version for version in self.versions if version.id == id), None)
        if found is None:
            raise EntityNotFound(reason=f"Policy {self.arn} version {id} does not exist or is not attachable.")
        return found


class Policies:
    """Every managed policy there is, by its ARN."""

    def __init__(self, store: Store) -> None:
        self._kept = Kept(store, "policy", _document_of, _policy_of)

    # ---- looking ------------------------------------------------------------------------------------------------

    async def find(self, arn: str) -> Policy:
        """The policy with this ARN; raises EntityNotFound."""
        policy = await self.get(arn)
        if policy is None:
            raise EntityNotFound(reason=f"Policy {arn} was not found.")
        return policy

    async def get(self, arn: str) -> Policy | None:
        return aws_policies().get(arn) or await self._kept.get(_account_of(arn), arn)

    async def _own(self, arn: str) -> Policy:
        """One that may be changed: raises where it is AWS's."""
        policy = await self.find(arn)
        if policy.by_aws:
            raise PolicyOfAws(arn=arn)
        return policy

    async def of(self, account: str) -> Sequence[Policy]:
        """An account's own policies."""
        return await self._kept.of(account)

    # ---- changing -----------------------------------------------------------------------------------------------

    async def create(self, account: str, name: str, document: str, now: datetime, *, path: str = "/", description: str | None = None,
                     tags: Mapping[str, str] | None = None) -> Policy:
        """A new policy with one version."""
        check_policy(document)
        arn = f"arn:aws:iam::{account}:policy{path}{name}"
        async with self._kept.changing:
            # A name is taken whatever the path.
            if any(policy.name.lower() == name.lower() for policy in await self.of(account)):
                raise EntityExists(reason=f"A policy called {name} already exists. Duplicate names are not allowed.")
            first = PolicyVersion(id="v1", document=document, created_at=now)
            return await self._kept.put(Policy(
                name=name, arn=arn, id=new_entity_id("ANPA"), path=path, created_at=now, updated_at=now, versions=(first,), description=description,
                tags=tags or {},
            ))

    async def add_version(self, arn: str, document: str, now: datetime, *, default: bool) -> PolicyVersion:
        """One more version of a policy."""
        check_policy(document)
        async with self._kept.changing:
            policy = await self._own(arn)
            if len(policy.versions) >= VERSION_LIMIT:
                raise TooMany(reason=f"A managed policy can have up to {VERSION_LIMIT} versions. Before you create a new version, you must delete an existing "
                                     "version.")
            version = PolicyVersion(id=f"v{policy.last + 1}", document=document, created_at=now)
            await self._kept.put(dataclasses.replace(
                policy, versions=(*policy.versions, version), last=policy.last + 1, updated_at=now, default=version.id if default else policy.default,
            ))
            return version

    async def set_default(self, arn: str, version: str, now: datetime) -> None:
        """Have another version count."""
        async with self._kept.changing:
            policy = await self._own(arn)
            await self._kept.put(dataclasses.replace(policy, default=policy.version(version).id, updated_at=now))

    async def remove_version(self, arn: str, version: str, now: datetime) -> None:
        """Delete a version that does not count."""
        async with self._kept.changing:
            policy = await self._own(arn)
            gone = policy.version(version)
            if gone.id == policy.default:
                raise EntityInUse(reason="Cannot delete the default version of a policy.")
            await self._kept.put(dataclasses.replace(policy, versions=tuple(each for each in policy.versions if each is not gone), updated_at=now))

    async def remove(self, arn: str) -> None:
        """Delete a policy that nobody has attached and that has one version."""
        async with self._kept.changing:
            policy = await self._own(arn)
            if len(policy.versions) > 1:
                raise EntityInUse(reason="This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
                                         "The default version is deleted with the policy.")
            await self._kept.remove(policy)


class PolicyOfAws(Refused):
    """Policy {arn} is AWS's own and cannot be changed."""

    code = "AccessDenied"


# ---- AWS's own -------------------------------------------------------------------------------------------------------

@cache
def aws_policies() -> Mapping[str, Policy]:
    """The policies that AWS provides, as far as Lambda's users are wont to attach them, by ARN."""
    table = json.loads((Path(__file__).parent / "managed_policies.json").read_bytes())
    return {policy.arn: policy for policy in (_aws_policy(place, facts) for place, facts in table.items())}


def _aws_policy(place: str, facts: Mapping[str, Any]) -> Policy:
    path, _, name = f"/{place}".rpartition("/")
    created = datetime.fromisoformat(facts["created"])
    version = PolicyVersion(id=facts["version"], document=json.dumps(facts["document"]), created_at=created)
    return Policy(
        name=name, arn=OF_AWS + place, id=entity_id("ANPA", place), path=f"{path}/", created_at=created, updated_at=created,
        versions=(version,), default=version.id,
    )


# ---- documents -------------------------------------------------------------------------------------------------------

def new_entity_id(prefix: str) -> str:
    """An id as IAM makes them: four letters that say what it is of, and seventeen of its own."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(17))


def entity_id(prefix: str, name: str) -> str:
    """An id that is always the same for one name."""
    return prefix + "".join(_LETTERS[byte % 32] for byte in sha256(name.encode()).digest()[:17])


def _document_of(policy: Policy) -> Document:
    body = dataclasses.asdict(policy) | {"created_at": policy.created_at.isoformat(), "updated_at": policy.updated_at.isoformat()}
    body["versions"] = [{"id": each.id, "document": each.document, "created_at": each.created_at.isoformat()} for each in policy.versions]
    return Document(kind="policy", owner=_account_of(policy.arn), name=policy.arn, body=body)


def _policy_of(document: Document) -> Policy:
    body = document.body
    versions = tuple(PolicyVersion(**{**each, "created_at": datetime.fromisoformat(each["created_at"])}) for each in body["versions"])
    instants = {name: datetime.fromisoformat(body[name]) for name in ("created_at", "updated_at")}
    return Policy(**{**body, **instants, "versions": versions})


def _account_of(arn: str) -> str:
    return arn.split(":", 5)[4] if arn.count(":") >= 5 else ""
