"""What accounts have besides functions. Few servers are asked for it, so each part is made, and imported, when one first is."""
from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from microlam.store import Store

if TYPE_CHECKING:
    from microlam.resources.layers import Layers
    from microlam.resources.logs import LogGroups
    from microlam.resources.policies import Policies
    from microlam.resources.roles import Roles
    from microlam.resources.sessions import Sessions


class Accounts:
    """Layers, policies, roles, the sessions of who assumed them, and log groups: each a part of its own over the store."""

    def __init__(self, store: Store, layers: Path) -> None:
        self._store, self._layers = store, layers

    @cached_property
    def layers(self) -> Layers:
        from microlam.resources.layers import Layers
        return Layers(self._store, self._layers)

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
