"""The pytest plugin: fixtures `microlam` and, for `async def` tests under pytest-asyncio, `microlam_async`; a fresh instance a test.

Every pytest run where microlam is installed imports this module: it imports nothing of ours until a test asks.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from microlam.testing import AsyncClient, Client

MARK = "microlam(folder, at=…, executor=…, …): what this test's microlam is made with; settings are named as on the command line"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("microlam_folder", "Folder of functions that tests use; by default the nearest functions/ beside or above the test", default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARK)


@pytest.fixture
def microlam(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A microlam over the folder of functions, for this test alone."""
    from microlam.testing import Client

    with Client(**_wishes(request)) as client:
        yield client


def _wishes(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the marks say, the nearest first to be heard, and the folder."""
    wishes: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("microlam"))):
        if len(mark.args) > 1:
            raise pytest.UsageError(f"The mark microlam takes one folder of functions, not {', '.join(map(repr, mark.args))}; settings are named.")
        wishes |= {**({"folder": mark.args[0]} if mark.args else {}), **mark.kwargs}
    wishes["folder"] = request.config.rootpath / wishes["folder"] if "folder" in wishes else _folder(request)
    return wishes


def _folder(request: pytest.FixtureRequest) -> Path:
    root: Path = request.config.rootpath
    said = request.config.getini("microlam_folder")
    if said:
        return root / str(said)
    test: Path = request.node.path
    for above in test.parents:
        if (above / "functions").is_dir():
            return above / "functions"
        if above == root:
            break
    raise pytest.UsageError(
        f"There is no functions/ beside {test} or above it, up to pytest's root folder {root}. "
        "Create one there, or set microlam_folder in pytest's configuration."
    )


try:
    import pytest_asyncio
except ImportError:
    pass        # without it nothing runs `async def` fixtures
else:
    @pytest_asyncio.fixture
    async def microlam_async(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
        """The same for `async def` tests: its verbs are awaited, in the test's own loop."""
        from microlam.testing import AsyncClient

        async with AsyncClient(**_wishes(request)) as client:
            yield client
