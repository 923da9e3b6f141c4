"""AWS Lambda on your own machine.

The public names, and nothing else. Handlers import this module too, so all but the decorators is fetched at its first use.
"""
from __future__ import annotations

from .declare import http, on_file, schedule

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import adapters as adapters
    from . import testing as testing
    from .app import Microlam
    from .bridge import asgi
    from .embed import KEY, setup
    from .model import Invocation, Outcome, Version

_HOMES = {
    "Invocation": "model", "Outcome": "model", "Version": "model", "KEY": "embed", "Microlam": "app", "asgi": "bridge", "setup": "embed",
}
_MODULES = ("adapters", "testing")

__all__ = ["KEY", "Invocation", "Microlam", "Outcome", "Version", "asgi", "http", "on_file", "schedule", "setup"]


def __getattr__(name: str) -> object:
    if name not in _HOMES and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
