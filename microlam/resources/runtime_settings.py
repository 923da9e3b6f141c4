"""How a function's runtime is looked after: when a newer one is taken, and whether a function that calls itself in a loop is stopped."""
from __future__ import annotations

from dataclasses import dataclass

from microlam.model import LATEST
from microlam.resources.belongings import Belongings
from microlam.store import Store


@dataclass(frozen=True, kw_only=True)
class RuntimeUpdates:
    """When a version gets a newer runtime: `Auto`, `FunctionUpdate`, or `Manual`, which is this one only."""

    on: str = "Auto"
    runtime: str | None = None              # ARN of a runtime version


@dataclass(frozen=True)
class _Recursion:
    loop: str                               # Terminate or Allow


class RuntimeSettings:
    """What was said of each function, by ARN, and of its versions."""

    def __init__(self, store: Store) -> None:
        self._updates = Belongings(store, "runtime-updates", RuntimeUpdates)
        self._recursion = Belongings(store, "recursion", _Recursion)

    async def updates(self, arn: str, number: str | None) -> RuntimeUpdates:
        return await self._updates.find(arn, number or LATEST) or RuntimeUpdates()

    async def keep_updates(self, arn: str, number: str | None, updates: RuntimeUpdates) -> None:
        await self._updates.keep(arn, number or LATEST, updates)

    async def loop(self, arn: str) -> str:
        """What becomes of a function that calls itself again and again."""
        said = await self._recursion.find(arn)
        return said.loop if said else "Terminate"

    async def keep_loop(self, arn: str, loop: str) -> None:
        await self._recursion.keep(arn, "", _Recursion(loop))

    async def forget(self, arn: str, *numbers: str) -> None:
        """Forget what was said of some versions, or of a function that is gone."""
        await self._updates.forget(arn, *numbers)
        if not numbers:
            await self._recursion.forget(arn)
