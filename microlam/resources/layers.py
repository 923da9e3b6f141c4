"""Layers: libraries and files that several functions share, as numbered zips; what AWS unpacks to /opt.

A function's layers are unpacked together into one folder, the later over the earlier, so that a package may be spread over several.
A deleted version can be neither looked at nor added to a function any more, but the functions that have it keep it.
"""
from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from microlam.errors import InvalidParameter
from microlam.model import region_of
from microlam.packages import code_sha256
from microlam.resources.archives import UNPACKED_LIMIT, check_archive, unpack_all
from microlam.resources.kept import Kept
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
        self._kept = Kept(store, "layer-version", LayerVersion)
        self._folder = folder
        self._turn = asyncio.Lock()

    # ---- versions ----------------------------------------------------------------------------------------------------

    async def publish(self, version: LayerVersion, archive: bytes) -> LayerVersion:
        """Keep a zip as the next version of a layer; a number is never used again. The version says all but its number, hash and sizes."""
        unpacked = await asyncio.to_thread(check_archive, archive)
        sha256 = code_sha256(archive)
        async with self._turn:
            await asyncio.to_thread(_write, self._zip(sha256), archive)
            number = max((kept.number for kept in (await self._kept.of(version.arn)).values()), default=0) + 1
            version = dataclasses.replace(version, number=number, sha256=sha256, size=len(archive), unpacked=unpacked)
            await self._kept.keep(version.arn, str(number), version)
        return version

    async def find(self, arn: str, number: int) -> LayerVersion | None:
        """A version that is not deleted."""
        version = await self._kept.find(arn, str(number))
        return version if version is not None and not version.deleted else None

    async def versions(self, arn: str) -> list[LayerVersion]:
        """The versions of a layer, the newest first."""
        kept = (await self._kept.of(arn)).values()
        return sorted((version for version in kept if not version.deleted), key=lambda version: -version.number)

    async def all(self) -> list[LayerVersion]:
        """All versions of all layers, the newest of each first."""
        versions = [version for _, _, version in await self._kept.all() if not version.deleted]
        return sorted(versions, key=lambda version: (version.arn, -version.number))

    async def delete(self, arn: str, number: int) -> None:
        """Delete a version. Functions that have it keep it, so its zip stays."""
        version = await self.find(arn, number)
        if version is not None:
            await self._kept.keep(arn, str(number), dataclasses.replace(version, deleted=True))

    def archive(self, version: LayerVersion) -> bytes:
        """The zip that was published."""
        return self._zip(version.sha256).read_bytes()

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

    async def unpacked(self, arns: Sequence[str]) -> str:
        """The folder that is /opt to a function with these layers; empty where it has none."""
        versions = await self.of(arns)
        return str(await asyncio.to_thread(self._unpack, versions)) if versions else ""

    def _unpack(self, versions: Sequence[LayerVersion]) -> Path:
        name = hashlib.sha256(" ".join(version.sha256 for version in versions).encode()).hexdigest()
        target = self._folder / "opt" / name
        if not target.is_dir():
            unpack_all([self.archive(version) for version in versions], target)
        return target

    def _zip(self, sha256: str) -> Path:
        return self._folder / f"{base64.b64decode(sha256).hex()}.zip"


def _write(path: Path, archive: bytes) -> None:
    """A file that is whole and on disk, or not there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".making-{secrets.token_hex(8)}")
    with making.open("wb") as file:
        file.write(archive)
        file.flush()
        os.fsync(file.fileno())
    making.rename(path)


def check_together(code: int, layers: Sequence[LayerVersion]) -> None:
    """Raise InvalidParameter where a function's code and its layers are too large together."""
    size = code + sum(layer.unpacked for layer in layers)
    if layers and size > UNPACKED_LIMIT:
        raise InvalidParameter(
            reason=f"Function code combined with layers exceeds the maximum allowed size of {UNPACKED_LIMIT} bytes. The actual size is {size} bytes."
        )


def path_entries(opt: str, runtime: str) -> tuple[str, ...]:
    """Where Python looks for modules of layers, after the function's own."""
    return (f"{opt}/python/lib/{runtime}/site-packages", f"{opt}/python") if opt else ()
