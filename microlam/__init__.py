"""AWS Lambda on your own machine.

The public names, and nothing else. Handlers import this module too, so all but the decorators is fetched at its first use.
"""
from __future__ import annotations

from .declare import http, on_file, schedule

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .model import Invocation, Outcome

_HOMES = {"Invocation": "model", "Outcome": "model", "KEY": "app", "Microlam": "app", "create_app": "app", "setup": "app"}

__all__ = ["Invocation", "Outcome", "http", "on_file", "schedule"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
