"""What is paused: triggers that lead nowhere until somebody lets them go on, also after a restart."""
from __future__ import annotations

from collections.abc import Sequence

from microlam.model import Trigger
from microlam.store import Document, Store
from microlam.triggers import Triggers

_KIND = "pause"


class Pauses:
    """Pauses triggers and lets them go on; the store remembers it."""

    def __init__(self, store: Store, triggers: Triggers) -> None:
        self._store, self._triggers = store, triggers

    async def load(self) -> None:
        """Pause what was paused before the server started."""
        self._triggers.pause([document.name for document in await self._store.documents(_KIND)])

    async def pause(self, triggers: Sequence[Trigger]) -> None:
        """Let these lead nowhere from now on."""
        await self._store.change_documents(keep=[_document(trigger) for trigger in triggers])
        self._triggers.pause([trigger.id for trigger in triggers])

    async def resume(self, triggers: Sequence[Trigger]) -> None:
        """Let these lead to their functions again."""
        await self._store.change_documents(forget=[_document(trigger) for trigger in triggers])
        self._triggers.resume([trigger.id for trigger in triggers])


def _document(trigger: Trigger) -> Document:
    return Document(kind=_KIND, owner=trigger.target, name=trigger.id)
