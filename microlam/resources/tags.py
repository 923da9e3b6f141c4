"""Tags: words that people hang on things, to find and count them by."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from microlam.errors import InvalidParameter
from microlam.resources.belongings import Belongings
from microlam.store import Store

LIMIT = 50


@dataclass(frozen=True)
class _Tags:
    tags: Mapping[str, str] = field(default_factory=dict)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise InvalidParameter where these are more than one thing may have."""
    if len(tags) > LIMIT:
        raise InvalidParameter(reason=f"Number of tags exceeds resource tag limit of {LIMIT}.")


class Tags:
    """The tags of everything that can have some, by its ARN."""

    def __init__(self, store: Store) -> None:
        self._kept = Belongings(store, "tags", _Tags)

    async def of(self, arn: str) -> Mapping[str, str]:
        """The tags of a thing, by name."""
        return (await self._kept.find(arn) or _Tags()).tags

    async def add(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add tags, in place of those of the same names."""
        async with self._kept.changing:
            await self._keep(arn, {**await self.of(arn), **tags})

    async def remove(self, arn: str, names: Collection[str]) -> None:
        """Remove tags; those that are not there do not matter."""
        async with self._kept.changing:
            await self._keep(arn, {name: value for name, value in (await self.of(arn)).items() if name not in names})

    async def _keep(self, arn: str, tags: Mapping[str, str]) -> None:
        check_tags(tags)
        await self._kept.keep(arn, "", _Tags(dict(sorted(tags.items()))))

    async def forget(self, arn: str) -> None:
        """Forget all tags of a thing: it is gone."""
        await self._kept.forget(arn)
