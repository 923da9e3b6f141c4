"""What hangs on functions besides their code and configuration; it goes when they go."""
from __future__ import annotations

from microlam.resources.code_signing import CodeSignings
from microlam.resources.event_invoke import EventInvokes
from microlam.resources.resource_policies import ResourcePolicies
from microlam.resources.runtime_settings import RuntimeSettings
from microlam.resources.source_mappings import SourceMappings
from microlam.resources.tags import Tags
from microlam.resources.urls import FunctionUrls
from microlam.store import Store


class Attached:
    """Tags, policies, URLs and the rest: each a part of its own over the store."""

    def __init__(self, store: Store) -> None:
        self.tags = Tags(store)
        self.policies = ResourcePolicies(store)
        self.urls = FunctionUrls(store)
        self.event_invokes = EventInvokes(store)
        self.code_signings = CodeSignings(store)
        self.runtime_settings = RuntimeSettings(store)
        self.source_mappings = SourceMappings(store)

    async def forget(self, function: str, qualifier: str | None) -> None:
        """A function is gone, or one of its versions or aliases. Event source mappings stay, as on AWS: who deletes a function deletes them apart."""
        gone = [qualifier] if qualifier else []
        await self.policies.forget(function, *gone)
        await self.urls.forget(function, *gone)
        await self.event_invokes.forget(function, *gone)
        await self.runtime_settings.forget(function, *gone)
        if not gone:
            await self.tags.forget(function)
            await self.code_signings.leave(function)
