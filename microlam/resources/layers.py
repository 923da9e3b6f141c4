"""Layers: libraries and files that several functions share, as numbered zips; what AWS unpacks to /opt.

A function's layers are unpacked together into one folder, the later over the earlier, so that a package may be spread over several.
A deleted version can be neither looked at nor added to a function any more, but the functions that have it keep it.
"""
from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from microlam.archives import UNPACKED_LIMIT, Archives, size_unpacked
from microlam.errors import InvalidParameter
from microlam.model import region_of
from microlam.resources.belongings import Belongings, Owned
from microlam.store import Store

MOST_LAYERS = 5


class LayerVersionMissing(InvalidParameter):
    """Layer version {arn} does not exist."""


class LayersElsewhere(InvalidParameter):
    """Layers are not in the same region as the function. Layers are expected to be in region {region}."""


class LayerTwice(InvalidParameter):
    """Two different versions of the same layer are not allowed to be referenced in the same function. \
{first} and {second} are versions of the same layer."""


@dataclass(frozen=True, kw_only=True)
class LayerVersion:
    """One version of a layer; `arn` is the layer's own, `sha256` its zip's, base64 as AWS writes it."""

    arn: str
    number: int
    created: datetime
    sha256: str
    size: int                               # bytes of the zip
    unpacked: int                           # and of what is in it
    description: str = ""
    runtimes: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None
    license: str | None = None
    deleted: bool = False

    @property
    def version_arn(self) -> str:
        return f"{self.arn}:{self.number}"

    def suits(self, runtime: str | None, architecture: str | None) -> bool:
        """Whether it says that it works with them; None: no matter which."""
        return (runtime is None or runtime in (self.runtimes or ())) and (architecture is None or architecture in (self.architectures or ()))


class Layers:
    """The layers of everybody, by ARN; `folder` holds their zips, and what they are unpacked to."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._kept = Belongings(store, "layer-version", LayerVersion)
        self._archives = Archives(folder)

    # ---- versions ----------------------------------------------------------------------------------------------------

    async def publish(self, version: LayerVersion, content: bytes) -> LayerVersion:
        """Keep a zip as the next version of a layer; a number is never used again. The version says all but its number, hash and sizes."""
        archive = await asyncio.to_thread(self._archives.keep, content)
        async with self._kept.changing:
            number = max((owned.thing.number for owned in await self._kept.of(version.arn)), default=0) + 1
            version = dataclasses.replace(version, number=number, sha256=archive.sha256, size=archive.size, unpacked=size_unpacked(content))
            await self._kept.keep(version.arn, str(number), version)
        return version

    async def find(self, arn: str, number: int) -> LayerVersion | None:
        """A version that is not deleted."""
        version = await self._kept.find(arn, str(number))
        return version if version is not None and not version.deleted else None

    async def versions(self, arn: str) -> list[LayerVersion]:
        """The versions of a layer, the newest first."""
        return _newest_first(await self._kept.of(arn))

    async def all(self) -> list[LayerVersion]:
        """All versions of all layers, the newest of each first."""
        return _newest_first(await self._kept.all())

    async def delete(self, arn: str, number: int) -> None:
        """Delete a version. Functions that have it keep it, so its zip stays."""
        version = await self.find(arn, number)
        if version is not None:
            await self._kept.keep(arn, str(number), dataclasses.replace(version, deleted=True))

    def zip(self, version: LayerVersion) -> Path | None:
        """The file with the zip that was published."""
        return self._archives.zip(version.sha256)

    # ---- of a function -----------------------------------------------------------------------------------------------

    async def chosen(self, arns: Sequence[str], region: str, code: int) -> list[LayerVersion]:
        """The layer versions that a function in this region is to have beside its own unpacked `code` bytes; raises InvalidParameter where it may not."""
        if len(arns) > MOST_LAYERS:
            raise InvalidParameter(reason=f"Cannot reference more than {MOST_LAYERS} layers.")
        if any(region_of(arn) != region for arn in arns):
            raise LayersElsewhere(region=region)
        for index, arn in enumerate(arns):
            other = next((other for other in arns[:index] if other.rpartition(":")[0] == arn.rpartition(":")[0]), None)
            if other is not None:
                raise LayerTwice(first=other, second=arn)
        versions = [await self._must_find(arn) for arn in arns]
        check_together(code, versions)
        return versions

    async def _must_find(self, version_arn: str) -> LayerVersion:
        arn, _, number = version_arn.rpartition(":")
        version = await self.find(arn, int(number))
        if version is None:
            raise LayerVersionMissing(arn=version_arn)
        return version

    async def of(self, arns: Sequence[str]) -> list[LayerVersion]:
        """The layer versions that a function has, deleted or not."""
        found = [await self._kept.find(*arn.rsplit(":", 1)) for arn in arns]
        return [version for version in found if version is not None]

    async def folder(self, arns: Sequence[str]) -> str:
        """The folder that is /opt to a function with these layers; empty where it has none."""
        hashes = [version.sha256 for version in await self.of(arns)]
        return str(await asyncio.to_thread(self._archives.together, hashes)) if hashes else ""


def _newest_first(kept: Iterable[Owned[LayerVersion]]) -> list[LayerVersion]:
    return sorted((owned.thing for owned in kept if not owned.thing.deleted), key=lambda version: (version.arn, -version.number))


def check_together(code: int, layers: Sequence[LayerVersion]) -> None:
    """Raise InvalidParameter where a function's code and its layers are too large together."""
    size = code + sum(layer.unpacked for layer in layers)
    if layers and size > UNPACKED_LIMIT:
        raise InvalidParameter(
            reason=f"Function code combined with layers exceeds the maximum allowed size of {UNPACKED_LIMIT} bytes. The actual size is {size} bytes."
        )
