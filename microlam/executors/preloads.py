"""Preloads: what zygotes are to import ahead of their workers, and could not."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from microlam.executors.zygotes import Zygote
from microlam.model import Version


class Preloads:
    """Which modules could not be imported ahead, by interpreter; whose functions name them are told once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failed: dict[tuple[str, str], str] = {}       # by interpreter and module, why

    def heed(self, zygote: Zygote, version: Version) -> None:
        """Learn what a zygote that is ready could not import for a version, and say so."""
        before = self.warnings(version, zygote.interpreter)
        for name in zygote.preload:
            self._failed.pop((zygote.interpreter, name), None)
        self._failed |= {(zygote.interpreter, name): reason for name, reason in zygote.failed.items()}
        for warning in self.warnings(version, zygote.interpreter):
            if warning not in before:
                self._say(f"Warning: {version.name}: {warning}")

    def warnings(self, version: Version, interpreter: str) -> Sequence[str]:
        """What of a version's preload is of no effect on an interpreter."""
        return [
            f'preload = ["{name}"] is of no effect, as importing it ahead fails: {self._failed[interpreter, name]}'
            for name in version.preload if (interpreter, name) in self._failed
        ]
