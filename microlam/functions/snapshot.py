"""What is kept of functions, versions and their changes, as frozen values."""
from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from microlam.model import LATEST, Version

# How an API function stands: its code is made ready in the moment after it was created or changed.
CREATING, UPDATING, ACTIVE = "creating", "updating", "active"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One version as it is kept: its code, its configuration, and how it stands.

    `sha256` and `size` are its zip's. `options` is what a face keeps with a version, in that face's own words: nobody else reads it.
    """

    arn: str
    number: str = LATEST
    sha256: str = ""
    size: int = 0
    handler: str = ""
    runtime: str = ""
    role: str = ""
    description: str = ""
    timeout: float = 3.0
    memory: int = 128
    environment: Mapping[str, str] | None = None
    layers: tuple[str, ...] = ()
    log_format: str = "Text"
    log_level: str = ""
    log_group: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    concurrency: int | None = None
    executor: str = "processes"
    preload: tuple[str, ...] = ()
    modified: datetime
    revision: str
    status: str = ACTIVE
    content: str = ""                   # of a numbered one: what `$LATEST` was when it was published

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]

    @property
    def qualified(self) -> str:
        return f"{self.arn}:{self.number}"

    @property
    def fingerprint(self) -> str:
        """A hash of code and configuration: while it is the same, there is nothing new to publish."""
        facts = {name: value for name, value in plain(self).items() if name not in ("number", "modified", "revision", "status", "content")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def version(self, root: str, layers: str = "") -> Version:
        """What executors run, its code unpacked in `root` and all of its layers in one folder."""
        return Version(
            arn=self.arn, number=self.number, handler=self.handler, runtime=self.runtime, root=root, source=root, sha256=self.sha256,
            path=(*self.path, *layer_path(layers, self.runtime)), layers=layers, timeout=self.timeout, memory=self.memory,
            environment=self.environment or {}, concurrency=self.concurrency, executor=self.executor, preload=self.preload,
            log_format=self.log_format, log_level=self.log_level, log_group=self.log_group, role=self.role,
        )


    def with_status(self, status: str) -> Snapshot:
        return self if self.status == status else dataclasses.replace(self, status=status)

def layer_path(folder: str, runtime: str) -> tuple[str, ...]:
    """Where Python looks for the modules of layers, which lie in `folder` as in AWS's /opt."""
    return (f"{folder}/python/lib/{runtime}/site-packages", f"{folder}/python") if folder else ()


@dataclass(frozen=True, kw_only=True)
class Provision:
    """How many workers are kept ready for a version or alias, and how far that has come."""

    arn: str
    qualifier: str
    requested: int
    modified: datetime
    ready: int = 0
    status: str = "in progress"         # ready · failed
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One entry of a function's history: what was done to which of its things, by whom, and how that thing was before and after."""

    id: str
    arn: str
    at: datetime
    what: str                           # created · changed · published · deleted · …
    thing: str                          # function · version · alias · concurrency · provision
    name: str = ""                      # of the alias, the number of the version
    origin: str                         # api · admin · cli
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def plain(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON takes it, field by field."""
    return {item.name: getattr(snapshot, item.name) for item in dataclasses.fields(snapshot)} | {"modified": snapshot.modified.isoformat()}


def difference(before: Snapshot, after: Snapshot) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of two snapshots the fields in which they differ, as they were and as they are."""
    old, new = plain(before), plain(after)
    names = [name for name in old if old[name] != new[name] and name not in ("modified", "revision", "status")]
    return {name: old[name] for name in names}, {name: new[name] for name in names}
