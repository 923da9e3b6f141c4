"""What hangs on functions besides their code and configuration; it goes when they go.

Most servers need little of it, so each part is made, and imported, when it is first asked for.
"""
from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from microlam.store import Store

if TYPE_CHECKING:
    from microlam.resources.code_signing import CodeSignings
    from microlam.resources.event_invoke import EventInvokes
    from microlam.resources.resource_policies import ResourcePolicies
    from microlam.resources.runtime_settings import RuntimeSettings
    from microlam.resources.source_mappings import SourceMappings
    from microlam.resources.tags import Tags
    from microlam.resources.urls import FunctionUrls


class Attached:
    """Tags, policies, URLs and the rest: each a part of its own over the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def tags(self) -> Tags:
        from microlam.resources.tags import Tags
        return Tags(self._store)

    @cached_property
    def policies(self) -> ResourcePolicies:
        from microlam.resources.resource_policies import ResourcePolicies
        return ResourcePolicies(self._store)

    @cached_property
    def urls(self) -> FunctionUrls:
        from microlam.resources.urls import FunctionUrls
        return FunctionUrls(self._store)

    @cached_property
    def event_invokes(self) -> EventInvokes:
        from microlam.resources.event_invoke import EventInvokes
        return EventInvokes(self._store)

    @cached_property
    def code_signings(self) -> CodeSignings:
        from microlam.resources.code_signing import CodeSignings
        return CodeSignings(self._store)

    @cached_property
    def runtime_settings(self) -> RuntimeSettings:
        from microlam.resources.runtime_settings import RuntimeSettings
        return RuntimeSettings(self._store)

    @cached_property
    def source_mappings(self) -> SourceMappings:
        from microlam.resources.source_mappings import SourceMappings
        return SourceMappings(self._store)

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
