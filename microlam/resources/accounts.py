"""What accounts have besides functions. Only AWS's clients ask for it, so each part is made, and imported, when one first does."""
from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from microlam.store import Store

if TYPE_CHECKING:
    from microlam.resources.logs import LogGroups
    from microlam.resources.policies import Policies
    from microlam.resources.roles import Roles
    from microlam.resources.sessions import Sessions


class Accounts:
    """Policies, roles, the sessions of who assumed them, and log groups: each a part of its own over the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def policies(self) -> Policies:
        from microlam.resources.policies import Policies
        return Policies(self._store)

    @cached_property
    def roles(self) -> Roles:
        from microlam.resources.roles import Roles
        return Roles(self._store, self.policies)

    @cached_property
    def sessions(self) -> Sessions:
        from microlam.resources.sessions import Sessions
        return Sessions(self._store)

    @cached_property
    def logs(self) -> LogGroups:
        from microlam.resources.logs import LogGroups
        return LogGroups(self._store)
