"""The files beside the code that shape functions: `microlam.toml`, `.env` and the `--env-vars` JSON; a broken one keeps its last good content."""
from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from microlam.errors import BrokenToml, SettingsError
from microlam.functions.configuration import FILE, Configuration, read_configuration
from microlam.functions.environment import Variables, read_dotenv, read_env_vars
from microlam.packages import Stamp, stamp_of
from microlam.settings import check_table


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What those files say, and what is wrong with them."""

    configuration: Configuration = field(default_factory=Configuration)
    dotenv: Variables = field(default_factory=Variables)
    env_vars: Variables = field(default_factory=Variables)
    warnings: tuple[str, ...] = ()
    stamps: Mapping[str, Stamp | None] = field(default_factory=dict)

    def environment(self, name: str, own: Mapping[str, str]) -> dict[str, str]:
        """All that is set for function `name`; `own` is what `microlam.toml` gives it."""
        return {**self.dotenv.everybody, **own, **self.env_vars.everybody, **self.env_vars.functions.get(name, {})}


class InputFiles:
    """Reads them again whenever one has changed."""

    def __init__(self, folder: Path, env_vars: Path | None) -> None:
        self._toml, self._dotenv, self._env_vars = folder / FILE, folder / ".env", env_vars
        self._inputs = Inputs()
        self._server: Mapping[str, object] | None = None        # [microlam] as it was at the start
        self._settled = False

    def read(self, *, strict: bool = False) -> Inputs:
        """What they say now. A broken one raises BrokenToml where `strict`, else leaves what it said last, and a warning."""
        now_ns = time.time_ns()
        stamps = {str(path): stamp_of(path) for path in (self._toml, self._dotenv, self._env_vars) if path}
        if self._settled and stamps == self._inputs.stamps:
            return self._inputs
        before, broken = self._inputs, []
        configuration, dotenv, env_vars = before.configuration, before.dotenv, before.env_vars
        try:
            configuration = self._read_configuration()
        except BrokenToml as error:
            broken.append(error)
        try:
            dotenv = self._read_dotenv()
        except BrokenToml as error:
            broken.append(error)
        try:
            env_vars = self._read_env_vars()
        except BrokenToml as error:
            broken.append(error)
        if strict and broken:
            raise broken[0]
        warnings = (f"{str(error).rstrip('.')}. Until it is mended, what it said before stays in force." for error in broken)
        self._inputs = Inputs(
            configuration=configuration, dotenv=dotenv, env_vars=env_vars, stamps=stamps,
            warnings=(*warnings, *self._server_warnings(configuration.server), *dotenv.warnings, *env_vars.warnings),
        )
        self._settled = all(stamp is None or stamp.settled(now_ns) for stamp in stamps.values())
        return self._inputs

    def _server_warnings(self, server: Mapping[str, object]) -> Iterator[str]:
        """What a running server says to new settings of its own."""
        if self._server is None:
            self._server = server
        if server == self._server:
            return
        try:
            check_table(server)
            yield f"{FILE}: [microlam] has changed. What it says now holds from the server's next start."
        except SettingsError as error:
            yield f"{error} Correct it: with it the server would not start again."

    def _read_configuration(self) -> Configuration:
        text = _text(self._toml)
        return Configuration() if text is None else read_configuration(text)

    def _read_dotenv(self) -> Variables:
        return Variables.of(".env", read_dotenv(_text(self._dotenv) or ""))

    def _read_env_vars(self) -> Variables:
        if self._env_vars is None:
            return Variables()
        text = _text(self._env_vars)
        if text is None:
            raise BrokenToml(file=self._env_vars, reason="there is no such file. Create it, or leave out --env-vars.")
        return Variables.of(self._env_vars.name, *read_env_vars(text, str(self._env_vars)))


def _text(path: Path) -> str | None:
    """A file's text; None where there is no file."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenToml(file=path.name, reason=f"it cannot be read: {error}") from None
