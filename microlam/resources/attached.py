"""What hangs on functions besides their code and configuration; it goes when they go."""
from __future__ import annotations

from microlam.resources.code_signing import CodeSignings
from microlam.resources.event_invoke import EventInvokes
from microlam.resources.policies import ResourcePolicies
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

    async def forget(self, function: str) -> None:
        """A function is gone. Event source mappings stay, as on AWS: who deletes a function deletes them apart."""
        await self.tags.forget(function)
        await self.code_signings.leave(function)
        await self.policies.forget(function)
        await self.urls.forget(function)
        await self.event_invokes.forget(function)
        await self.runtime_settings.forget(function)

    async def forget_qualifier(self, function: str, qualifier: str) -> None:
        """A version or an alias of a function is gone."""
        await self.policies.forget(function, qualifier)
        await self.urls.forget(function, qualifier)
        await self.event_invokes.forget(function, qualifier)
        await self.runtime_settings.forget(function, qualifier)
