"""What `microlam.toml` says of functions, checked; every complaint names the file, the key and the remedy."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from microlam.errors import BrokenToml, meant
from microlam.functions.declared import QUALIFIER, Declared, When, read_drop, read_qualifier, read_route, read_schedule
from microlam.functions.environment import RESERVED_VARIABLES

FILE = "microlam.toml"
EXECUTORS = ("processes", "inprocess")
LOG_FORMATS = ("Text", "JSON")
PYTHONS = tuple(f"python3.{minor}" for minor in range(8, 15))      # what workers/ runs on; AWS's API takes the same

_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_HANDLER = re.compile(r"\S{1,128}")
_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, kw_only=True)
class FunctionSettings:
    """What `[functions.NAME]` says; the defaults are AWS's."""

    handler: str | None = None
    timeout: float = 3.0
    memory: int = 128
    environment: Mapping[str, str] = field(default_factory=dict)
    concurrency: int | None = None
    runtime: str | None = None
    executor: str | None = None         # None: the server's choice
    preload: tuple[str, ...] = ()
    log_format: str = "Text"
    serve: str | None = None            # the version or alias that its triggers lead to; None: what the files are
    triggers: tuple[Declared, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """All of `microlam.toml`: functions by name, and `[microlam]` as it stands."""

    functions: Mapping[str, FunctionSettings] = field(default_factory=dict)
    server: Mapping[str, object] = field(default_factory=dict)


def read_configuration(text: str, file: str = FILE) -> Configuration:
    """Read the text of a `microlam.toml`; BrokenToml where it cannot be used."""
    import tomllib  # many folders have no such file
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BrokenToml(file=file, reason=f"{error}.") from None
    try:
        _only(said, ("functions", "microlam"), "")
        tables = _table(said.get("functions", {}), "functions")
        return Configuration(
            functions={name: read_function(name, _table(table, f"functions.{name}")) for name, table in tables.items()},
            server=_table(said.get("microlam", {}), "microlam"),
        )
    except ValueError as error:
        raise BrokenToml(file=file, reason=f"{error}.") from None


def read_function(name: str, said: Mapping[str, object]) -> FunctionSettings:
    """What is said of one function; ValueError, in a sentence, where it cannot be used."""
    where = f"functions.{name}"
    if not _NAME.fullmatch(name):
        raise ValueError(f"[{where}]: a function's name has up to 64 letters, digits, hyphens and underscores")
    _only(said, (*_READERS, *_TRIGGERS), where)
    values = {key: read(said[key], f"{where}.{key}") for key, read in _READERS.items() if key in said}
    triggers = [declared for key, read in _TRIGGERS.items() for declared in _declared(said.get(key, ()), read, f"{where}.{key}")]
    return FunctionSettings(**values, triggers=tuple(triggers))  # type: ignore[arg-type]  # each reader returns its own field's type


# ---- values ----------------------------------------------------------------------------------------------------------

def _only(said: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for key in said:
        if key not in known:
            near = meant(key, known)
            remedy = f'write "{near}"' if near else f"there are: {', '.join(known)}"
            raise ValueError(f'{where}{"." if where else ""}{key} is not known here; {remedy}')


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a table: write [{where}], not {value!r}")
    return value


def _number(least: float, most: float, unit: str) -> Callable[[object, str], float]:
    def read(value: object, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"{where} must be a number of {unit} from {least} to {most}, not {value!r}")
        return float(value)
    return read


def _whole(least: int, most: int, unit: str) -> Callable[[object, str], int]:
    def read(value: object, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{where} must be a whole number of {unit} from {least} to {most}, not {value!r}")
        return value
    return read


def _one_of(*known: str) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if value not in known:
            raise ValueError(f"{where} must be {' or '.join(map(repr, known))}, not {value!r}")
        return str(value)
    return read


def _python(value: object, where: str) -> str:
    if not isinstance(value, str) or value not in PYTHONS:
        raise ValueError(f'{where} must be a Python from "{PYTHONS[0]}" to "{PYTHONS[-1]}", not {value!r}')
    return value


def _matching(pattern: re.Pattern[str], must: str) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{where} must be {must}, not {value!r}")
        return value
    return read


def _modules(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and _MODULE.fullmatch(name) for name in value):
        raise ValueError(f'{where} must be a list of module names, as ["boto3"], not {value!r}')
    return tuple(value)


def _variables(value: object, where: str) -> dict[str, str]:
    for name, content in _table(value, where).items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{where}.{name}: a variable's name begins with a letter and has letters, digits and underscores")
        if name in RESERVED_VARIABLES:
            raise ValueError(f"{where}.{name} is reserved, as on AWS; choose another name")
        if not isinstance(content, str):
            raise ValueError(f'{where}.{name} must be a string: write "{content}"')
    return {name: str(content) for name, content in _table(value, where).items()}


_READERS: Mapping[str, Callable[[object, str], object]] = {
    "handler": _matching(_HANDLER, 'a module and a name in it, as "hello.handler"'),
    "timeout": _number(1, 900, "seconds"),
    "memory": _whole(128, 10240, "MB"),
    "environment": _variables,
    "concurrency": _whole(1, 1000, "workers"),
    "runtime": _python,
    "executor": _one_of(*EXECUTORS),
    "preload": _modules,
    "log_format": _one_of(*LOG_FORMATS),
    "serve": _matching(QUALIFIER, 'an alias or a version number, as "live"'),
}


# ---- triggers --------------------------------------------------------------------------------------------------------

def _declared(said: object, read: Callable[[object], When], where: str) -> list[Declared]:
    several = [said] if isinstance(said, str | dict) else said
    if not isinstance(several, list | tuple):
        raise ValueError(f"{where} must be a list, not {said!r}")
    try:
        return [_declare(one, read) for one in several]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _declare(said: object, read: Callable[[object], When]) -> Declared:
    """One trigger; as a table it may say a `qualifier` of its own."""
    if not isinstance(said, dict) or "qualifier" not in said:
        return Declared(when=read(said), origin="toml")
    own = {key: value for key, value in said.items() if key != "qualifier"}
    return Declared(when=read(own), origin="toml", qualifier=read_qualifier(said["qualifier"]))


def _needed(said: Mapping[str, object], key: str) -> object:
    if key not in said:
        raise ValueError(f"{key} is missing: write {{ {key} = … }}")
    return said[key]


def _route(said: object) -> When:
    """`"GET /orders"`, or `{route = …}`."""
    if isinstance(said, dict):
        _only(said, ("route",), "")
        said = _needed(said, "route")
    return read_route(said)


def _schedule(said: object) -> When:
    """`"rate(5 minutes)"`, or `{expression = …, timezone = …}`."""
    if not isinstance(said, dict):
        return read_schedule(said)
    _only(said, ("expression", "timezone"), "")
    return read_schedule(_needed(said, "expression"), said.get("timezone", "UTC"))


def _files(said: object) -> When:
    """`"uploads"`, `"uploads/in/*.png"`, or `{bucket = …, prefix = …, suffix = …, events = …}`."""
    if isinstance(said, str):
        bucket, _, rest = said.partition("/")
        prefix, _, suffix = rest.partition("*")
        if "*" in suffix:
            raise ValueError(f'"{said}" has more than one *: it stands for all between a prefix and a suffix')
        return read_drop(bucket, prefix, suffix)
    if not isinstance(said, dict):
        raise ValueError(f"write the bucket's name, or {{bucket = …, prefix = …, suffix = …}}, not {said!r}")
    _only(said, ("bucket", "prefix", "suffix", "events"), "")
    return read_drop(_needed(said, "bucket"), said.get("prefix", ""), said.get("suffix", ""), said.get("events", ()))


_TRIGGERS: Mapping[str, Callable[[object], When]] = {"http": _route, "schedule": _schedule, "files": _files}
