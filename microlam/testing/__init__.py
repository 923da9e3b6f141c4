"""Test functions as they run: a fresh microlam a test, in the test's own process, with a clock that you move.

    def test_an_order_is_taken(microlam):               # the fixture comes with the package
        assert microlam.http.post("/orders", json={"tea": 2}).status == 201

Without pytest, `with Client("functions/") as microlam:` or `async with AsyncClient("functions/") as microlam:`.
"""
from __future__ import annotations

from microlam.testing.asynchronous import AsyncClient
from microlam.testing.clock import MovableClock
from microlam.testing.results import Recorded, Reply
from microlam.testing.synchronous import Client

__all__ = ["AsyncClient", "Client", "MovableClock", "Recorded", "Reply"]
