"""Sessions: the keys that assuming a role gives, with the role they stand for. They outlive a restart, as long as they hold."""
from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from microlam.resources.kept import Kept
from microlam.resources.policies import new_entity_id
from microlam.resources.statements import check_policy
from microlam.store import Document, Store

REMEMBERED = timedelta(days=1)      # after they ceased to hold, so that their users hear why


@dataclass(frozen=True, kw_only=True)
class Session:
    """Keys of an assumed role."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    role: str                           # its ARN
    role_id: str
    name: str
    expires_at: datetime
    policy: str | None = None           # what limits it beyond the role: a document, and managed policies by ARN
    policies: tuple[str, ...] = ()

    @property
    def account(self) -> str:
        return self.role.split(":")[4]

    @property
    def arn(self) -> str:
        """Whoever uses the keys, as AWS names them: the role without its path, and the session."""
        return f"arn:aws:sts::{self.account}:assumed-role/{self.role.rpartition('/')[2]}/{self.name}"

    @property
    def user_id(self) -> str:
        return f"{self.role_id}:{self.name}"


class Sessions:
    """The sessions that hold, by access key."""

    def __init__(self, store: Store) -> None:
        self._kept = Kept(store, "session", _document_of, _session_of)

    async def find(self, access_key: str) -> Session | None:
        """The session with this key; None where it is none of ours. It may have expired."""
        return await self._kept.get("", access_key)

    async def open(
        self, role: str, role_id: str, name: str, seconds: float, now: datetime, *, policy: str | None = None, policies: Sequence[str] = (),
    ) -> Session:
        """New keys for a role; on disk when this returns."""
        if policy is not None:
            check_policy(policy)
        gone = [each for each in await self._kept.everything() if each.expires_at + REMEMBERED < now]
        return await self._kept.put(instead_of=gone, thing=Session(
            access_key="ASIA" + new_entity_id("")[:16], secret_key=secrets.token_urlsafe(30), token=secrets.token_urlsafe(192), role=role, role_id=role_id,
            name=name, expires_at=now.replace(microsecond=0) + timedelta(seconds=seconds), policy=policy, policies=tuple(policies),
        ))


def _document_of(session: Session) -> Document:
    # Of nobody: a key is looked for before anyone knows whose it is.
    body = dataclasses.asdict(session) | {"expires_at": session.expires_at.isoformat()}
    return Document(kind="session", owner="", name=session.access_key, body=body)


def _session_of(document: Document) -> Session:
    body = document.body
    return Session(**{**body, "expires_at": datetime.fromisoformat(body["expires_at"]), "policies": tuple(body["policies"])})
