"""Interpreters: which Python on this machine runs `python3.9`. Looked for when it is first needed, off the event loop, and remembered.

One counts only if it starts and says that it is of that version: pyenv leaves commands on the path that do neither.
"""
from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from microlam.executors.environment import site_packages
from microlam.model import OWN_RUNTIME

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PATIENCE = 5.0          # seconds that a Python may take to say its version
_RUNTIME = re.compile(r"python3\.(\d+)")
_ASK = "import sys; print('python%d.%d' % sys.version_info[:2], sys.executable)"

# boto3 and what it needs, by distribution and module: of the server's environment, handlers on another Python may import these.
LENT = {
    "boto3": "boto3", "botocore": "botocore", "s3transfer": "s3transfer", "jmespath": "jmespath", "python-dateutil": "dateutil", "six": "six.py",
    "urllib3": "urllib3",
}


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs handlers; `site` is what it imports from besides its own packages."""

    path: str
    site: tuple[str, ...] = ()
    missing: str = ""                   # the runtime in whose stead it runs

    @property
    def notice(self) -> str:
        """What is to be said of it in a function's log and beside its name; nothing where it is the right one."""
        return self.notice_of(["it"])

    def notice_of(self, functions: Sequence[str]) -> str:
        """The same about several functions, by name."""
        if not self.missing:
            return ""
        version, names = self.missing.removeprefix("python"), ", ".join(functions)
        return (f"no {self.missing} was found on this machine, so Python {sys.version_info.major}.{sys.version_info.minor} runs {names}: "
                f"install one (pyenv install {version}, or uv python install {version}) and start the server again")


class Interpreters:
    """Every interpreter that was needed so far. `lending` is where links to the server's own packages are made for the others.

    `functions` tells who runs on a runtime: their names are said where it is missing.
    """

    def __init__(self, known: Mapping[str, str] | None = None, *, lending: Path | None = None, environment: Mapping[str, str] | None = None,
                 say: Callable[[str], None] = lambda text: None, functions: Callable[[str], Sequence[str]] = lambda runtime: ()) -> None:
        self.own = Interpreter(sys.executable, tuple(site_packages()))
        self._known = {runtime: Interpreter(path) for runtime, path in (known or {}).items()}
        self._lending, self._environment, self._say, self._functions = lending, environment, say, functions
        self._looking = asyncio.Lock()

    def known(self, runtime: str) -> Interpreter | None:
        """The interpreter of a runtime, as far as somebody has looked for it."""
        return self.own if runtime == OWN_RUNTIME or (self._environment is None and runtime not in self._known) else self._known.get(runtime)

    async def find(self, runtime: str) -> Interpreter:
        """The interpreter of a runtime: one of its version, else the server's own."""
        known = self.known(runtime)
        if known is not None:
            return known
        async with self._looking:
            return self.known(runtime) or await self._look(runtime)

    async def _look(self, runtime: str) -> Interpreter:
        found, named = self.own, _RUNTIME.fullmatch(runtime)
        if named is not None:
            path = await asyncio.to_thread(find_python, runtime, self._environment or {})
            lent = await asyncio.to_thread(lend, self._lending, (3, int(named[1]))) if path and self._lending else ()
            found = Interpreter(path, lent) if path else replace(self.own, missing=runtime)
        self._known[runtime] = found
        if found.missing:
            self._say(f"Warning: {found.notice_of(self._functions(runtime) or ['it'])}")
        return found


# ---- looking ---------------------------------------------------------------------------------------------------------

def find_python(name: str, environment: Mapping[str, str]) -> str | None:
    """The first Python of that name (`python3.9`) that starts and is of that version: on the path, of pyenv, of uv."""
    return next((path for candidate in _candidates(name, environment) if (path := _path_of(candidate, name))), None)


def _candidates(name: str, environment: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environment.get("HOME", "/"))
    for folder in environment.get("PATH", "").split(os.pathsep):
        yield Path(folder) / name
    version = name.removeprefix("python")
    yield from _newest_first(Path(environment.get("PYENV_ROOT") or home / ".pyenv") / "versions", f"{version}[.-]*", name)
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    yield from _newest_first(Path(environment.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"), f"cpython-{version}[.-]*", name)


def _newest_first(folder: Path, pattern: str, name: str) -> list[Path]:
    found = sorted(folder.glob(pattern), key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.name)], reverse=True)
    return [path / "bin" / name for path in found]


def _path_of(candidate: Path, name: str) -> str | None:
    """Where the Python behind a command really is; None where it does not start or is another."""
    if not os.access(candidate, os.X_OK):
        return None
    try:
        asked = subprocess.run([candidate, "-I", "-S", "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    told, _, path = asked.stdout.strip().partition(" ")
    return path if asked.returncode == 0 and told == name else None


# ---- lending ---------------------------------------------------------------------------------------------------------

def lend(folder: Path, version: tuple[int, int]) -> tuple[str, ...]:
    """Make a folder from which a Python of that version imports the server's boto3; nothing where that is not made for it."""
    from importlib import metadata  # the server's start need not wait for it

    found = {module: each for name, module in LENT.items() for each in list(metadata.distributions(name=name))[:1]}
    if len(found) < len(LENT) or not all(_may_lend(each, version) for each in found.values()):
        return ()
    shelf = folder / "site-{}.{}".format(*version)
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        for module, distribution in found.items():
            link = shelf / module
            link.unlink(missing_ok=True)
            link.symlink_to(str(distribution.locate_file(module)))
    except OSError:     # the data folder takes nothing: handlers go without
        return ()
    return (str(shelf),)


def _may_lend(distribution: Distribution, version: tuple[int, int]) -> bool:
    """Whether a distribution is pure Python, and made for this version."""
    requires = ",".join(distribution.metadata.get_all("Requires-Python") or ())
    return "Root-Is-Purelib: true" in (distribution.read_text("WHEEL") or "") and allows(requires, version)


def allows(requires: str, version: tuple[int, int]) -> bool:
    """Whether a distribution's Requires-Python takes a version; what is not understood takes none."""
    for clause in filter(None, (part.strip() for part in requires.split(","))):
        read = re.fullmatch(r"(>=|!=|<|<=|>)\s*(\d+)(?:\.(\d+))?(?:\.(?:\d+|\*))?", clause)
        if read is None:
            return False
        bound = (int(read[2]), int(read[3] or 0))
        if not {">=": version >= bound, ">": version >= bound, "!=": version != bound, "<": version < bound, "<=": version <= bound}[read[1]]:
            return False
    return True
