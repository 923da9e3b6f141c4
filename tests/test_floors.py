"""The house stands: nothing imports upward, and each library has its home."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "microlam"

FLOORS = (
    {"model", "errors", "settings", "events", "cron", "routes", "declare", "clock", "guard", "hooks", "log_patterns", "awake"},
    {"store", "packages", "archives", "requirements", "executors", "watching"},
    {"admission", "functions", "triggers", "pauses", "invoke", "resources"},
    {"sources", "gateway", "aws", "admin"},
    {"app", "connections", "faces", "server", "embed", "bridge", "adapters", "testing", "pytest_plugin", "cli", "terminal", "client", "commands", "__init__", "__main__"},
)
HOMES = {
    "aiohttp": {"gateway", "aws", "admin", "app", "connections", "faces", "server", "embed", "bridge", "testing", "guard"}, "jinja2": {"admin"},
    "pygments": {"admin"}, "aiosqlite": {"store"},
    "watchfiles": {"watching"}, "aws_croniter": {"cron"}, "botocore": set(), "boto3": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The absolute names a file imports; what it imports only for its types does not count."""
    tree = ast.parse(path.read_text())
    for_types = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ["microlam", *path.relative_to(PACKAGE).parts][:-node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ([f"microlam.{alias.name}" for alias in node.names] if module == "microlam" else [module])


def floor(name: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if name in parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_upward(path: Path) -> None:
    own = part(path)
    for module in imported(path):
        if module.startswith("microlam.") and (other := module.split(".")[1]) != own and not other.startswith("__"):
            assert floor(other) <= floor(own), f"{path} (floor {floor(own)}) imports {module} (floor {floor(other)})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_has_its_home(path: Path) -> None:
    for module in imported(path):
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or part(path) in homes, f"{path} imports {module}"
