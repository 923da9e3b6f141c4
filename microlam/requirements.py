"""What a `requirements.txt` asks for, installed once into the data folder: one folder for each text and interpreter."""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from microlam.errors import MicrolamError
from microlam.model import OWN_RUNTIME

_MADE_BY = ".made-by"

# What pip and uv print that is worth a line in the terminal.
_PROGRESS = re.compile(r"\s*(?:Collecting|Downloading|Building|Installing collected|Resolved|Prepared|Installed) ")
_ERROR = re.compile(r"(?:error|ERROR|×|╰─▶)[: ]|\s+╰─▶")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_INCLUDED = re.compile(r"(?:-r|--requirement|-c|--constraint)[ =]?\s*(\S+)")


class RequirementsFailed(MicrolamError):
    """{file}{line}: {problem} Correct it, or see that the package index can be reached; saving the file tries again."""


class Requirements:
    """The installed requirements, in one folder. `python_of` tells the interpreter of a runtime."""

    def __init__(self, folder: Path, say: Callable[[str], None], python_of: Callable[[str], Awaitable[str]] | None = None) -> None:
        self._folder = folder
        self._say = say
        self._python_of = python_of or _own
        self._locks: dict[Path, asyncio.Lock] = {}
        self._failed: dict[Path, tuple[int, RequirementsFailed]] = {}

    def place(self, file: Path, runtime: str = OWN_RUNTIME) -> Path | None:
        """Where the packages of a requirements file are, or will be, for one runtime; None where it asks for nothing."""
        wanted = _lines(file)
        if not wanted:
            return None
        facts = "\n".join([sys.implementation.cache_tag if runtime == OWN_RUNTIME else runtime, sys.platform, *wanted])
        return self._folder / hashlib.sha256(facts.encode()).hexdigest()[:32]

    async def install(self, file: Path, runtime: str = OWN_RUNTIME) -> None:
        """Install a requirements file for a runtime unless that is done; raises RequirementsFailed, again and again until the file is saved."""
        target = self.place(file, runtime)
        if target is None:
            return
        python = await self._python_of(runtime)
        if _is_done(target, runtime, python):
            return
        async with self._locks.setdefault(target, asyncio.Lock()):
            saved = file.stat().st_mtime_ns
            if _is_done(target, runtime, python):
                return
            if target in self._failed and self._failed[target][0] == saved:
                raise self._failed[target][1]
            try:
                await self._install(file, target, python)
                self._failed.pop(target, None)
            except RequirementsFailed as error:
                self._failed[target] = (saved, error)
                raise

    async def _install(self, file: Path, target: Path, python: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        making = self._folder / f".making-{secrets.token_hex(8)}"
        self._say(f"Installing {file}, once …")
        try:
            try:
                status, output = await self._run([*_installer(python), "--target", str(making), "-r", str(file)], file.parent)
            except FileNotFoundError:
                raise RequirementsFailed(file=file, line="", problem="There is neither pip nor uv to install it with.") from None
            if status != 0:
                raise _failure(file, output)
            making.mkdir(exist_ok=True)
            (making / _MADE_BY).write_text(python)
            if target.is_dir():     # made by another Python, before this machine had the right one
                shutil.rmtree(target, ignore_errors=True)
            with contextlib.suppress(OSError):      # another server was first
                os.rename(making, target)
            self._say(f"Installed {file}.")
        finally:
            shutil.rmtree(making, ignore_errors=True)

    async def _run(self, command: list[str], folder: Path) -> tuple[int, list[str]]:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, limit=1 << 20,
        )
        assert process.stdout is not None
        output: list[str] = []
        try:
            async for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip()
                output.append(line)
                if _PROGRESS.match(line):
                    self._say(f"  {line.strip()}")
            return await process.wait(), output
        finally:
            if process.returncode is None:      # the server stops
                process.kill()
                await process.wait()


async def _own(runtime: str) -> str:
    return sys.executable


def _is_done(target: Path, runtime: str, python: str) -> bool:
    """Whether the packages are there, and made by this Python: for a runtime that was missing, the server's own had to do."""
    if runtime == OWN_RUNTIME or not target.is_dir():
        return target.is_dir()
    try:
        return (target / _MADE_BY).read_text() == python
    except OSError:
        return False


def _installer(python: str) -> list[str]:
    """uv where there is one, for its speed; else pip. Bytecode would be of no use: workers keep theirs elsewhere."""
    uv = shutil.which("uv")
    if uv or (python == sys.executable and importlib.util.find_spec("pip") is None):
        return [uv or "uv", "pip", "install", "--python", python, "--no-progress"]
    own = ["--root-user-action", "ignore"] if python == sys.executable else []      # which an older pip may not know
    return [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--no-compile", *own]


def _lines(file: Path, above: tuple[Path, ...] = ()) -> list[str]:
    """The lines of a requirements file that ask for something, with those of the files it names."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    found: list[str] = []
    for raw in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(?:^|\s)#.*", "", raw).strip()
        if not line:
            continue
        found.append(line)
        included = _INCLUDED.match(line)
        if included and file not in above:
            found += _lines(file.parent / included[1], (*above, file))
    return found


def _failure(file: Path, output: list[str]) -> RequirementsFailed:
    errors = [line for line in output if _ERROR.match(line)] or [line for line in output[-3:] if line.strip()]
    said = [re.sub(r"^(?:ERROR|error):?\s*", "", line.strip()) for line in errors]
    problem = (said[0] if said else "the installer ended without a word").rstrip(".") + "."
    for number, line in enumerate(file.read_text("utf-8-sig", errors="replace").splitlines(), 1):
        name = _NAME.match(line.strip())
        if name and any(re.search(rf"(?<![\w.-]){re.escape(name[0])}(?![\w-])", words, re.IGNORECASE) for words in said):
            return RequirementsFailed(file=file, line=f' line {number}, "{line.strip()}"', problem=problem)
    return RequirementsFailed(file=file, line="", problem=problem)
