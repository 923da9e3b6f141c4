"""One table of settings; flags, MICROLAM_* variables, [microlam] in microlam.toml, their checks and README's table follow from it.

A flag beats a variable, a variable beats microlam.toml, and that beats the default. Nothing here does I/O: the caller brings what it read.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from microlam.errors import SettingsError, did_you_mean
from microlam.guard import allowed_name, may_start
from microlam.model import DEFAULT_ACCOUNT, DEFAULT_REGION

Value = str | int | float | bool | Path | tuple[str, ...] | None

TOML = "[microlam] in microlam.toml"


# ---- what values may be ----------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class Kind:
    """A sort of value: `must` completes “it must be …”, `read` takes text or a TOML value and raises ValueError for what it is not."""

    must: str
    read: Callable[[object], Value]
    metavar: str


def whole(low: int, high: int | None = None) -> Kind:
    """A whole number in a range."""
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(value)
        number = int(value)
        if number < low or (high is not None and number > high):
            raise ValueError(value)
        return number
    return Kind(must=f"a whole number from {low} to {high}" if high is not None else f"a whole number, {low} or more", read=read, metavar="N")


def decimal(low: float, what: str, metavar: str) -> Kind:
    """A number that may have a fraction: a duration."""
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(value)
        number = float(value)
        if not math.isfinite(number) or number < low:
            raise ValueError(value)
        return number
    return Kind(must=f"a number of {what}, {low:g} or more", read=read, metavar=metavar)


def text(must: str, pattern: str, metavar: str) -> Kind:
    """Text of a certain form."""
    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(value)
        return value
    return Kind(must=must, read=read, metavar=metavar)


def _read_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}[str(value).lower()]


def _read_path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(value)
    return Path(value)


def _read_hosts(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError(value)
    hosts = tuple(part.strip() for item in items for part in item.split(",") if part.strip())
    if None in map(allowed_name, hosts) or not all(item.strip(", ") for item in items):
        raise ValueError(value)
    return hosts


SECONDS = decimal(0, "seconds", "SECONDS")
COUNT = whole(1)
REGION = text("an AWS region", r"(eusc-)?[a-z]{2}(-[a-z]+)+-[0-9]", "REGION")
SWITCH = Kind(must="true or false", read=_read_switch, metavar="")
PATH = Kind(must="a path", read=_read_path, metavar="PATH")
HOSTS = Kind(must="a list of host names or addresses, none empty, without wildcards (in a variable: with commas between)", read=_read_hosts, metavar="NAME")
EXECUTOR = text("processes or inprocess", "processes|inprocess", "NAME")
SECRET = text("ASCII text without spaces, not empty", r"[\x21-\x7e]+", "TEXT")


# ---- the table -------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Setting:
    """One setting, by whatever way it is set."""

    name: str
    default: Value
    help: str
    kind: Kind
    otherwise: tuple[str, ...] = ()     # variables of other tools that give the default
    secret: bool = False                # never shown

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "MICROLAM_" + self.name.upper()


GROUPS: Mapping[str, tuple[Setting, ...]] = {
    "where it listens and what it reads": (
        Setting("host", "127.0.0.1", "Address to listen on", text("an address or a host name", r"[^\s/]+", "ADDRESS")),
        Setting("port", 3000, "Port to listen on; 0 takes any free one", whole(0, 65535)),
        Setting("data", None, "Folder for everything the server keeps; by default .microlam in the folder of functions", PATH),
        Setting("env_vars", None, "JSON file with environment variables of functions, as of sam local --env-vars", PATH),
        Setting("buckets", None, "Folder in which a folder is the bucket of its name; by default the folder of functions", PATH),
        Setting("requirements", None, "Folder for what requirements.txt files ask for; by default in the data folder", PATH),
        Setting("region", DEFAULT_REGION, "Region in ARNs, events and the handlers' environment", REGION, otherwise=("AWS_REGION", "AWS_DEFAULT_REGION")),
        Setting("account", DEFAULT_ACCOUNT, "Account in ARNs, where a request's credentials name none", text("twelve digits", r"[0-9]{12}", "ID")),
        Setting("seed", None, "Number that makes the choices of weighted aliases the same at every start", whole(0)),
        Setting("poll", False, "Look for changed files at intervals, where the file system sends no events (network drives, some containers)", SWITCH),
    ),
    "who may use it": (
        Setting("allowed_host", (), "Further host name by which the admin and the AWS API may be called; may be repeated", HOSTS),
        Setting("admin_token", None, "Token the admin asks for (Authorization: Bearer …); needed on an address other than loopback", SECRET, secret=True),
        Setting("read_only_token", None, "Token with which one may look at everything in the admin and change nothing", SECRET, secret=True),
        Setting("access_key", None, "Access key whose signature the AWS API asks for; needed on an address other than loopback", SECRET),
        Setting("secret_key", None, "The secret of the access key", SECRET, secret=True),
    ),
    "how much at once": (
        Setting("executor", "processes", "How functions run that do not say it themselves: processes, or inprocess, within the server", EXECUTOR),
        Setting("concurrency", 10, "Workers of one function at once, where it sets no limit of its own", COUNT),
        Setting("server_concurrency", 100, "Workers of all functions at once", COUNT),
        Setting("queue_limit", 1000, "Invocations of one function that may wait for a worker; more are throttled (429)", whole(0)),
        Setting("queue_wait", 10.0, "Seconds an invocation waits for a worker before it is throttled", SECONDS),
        Setting("unwritten", 10_000, "Finished invocations kept in memory until they are written; beyond it new ones wait", COUNT),
        Setting("log_limit", 1_048_576, "Bytes of output kept of one invocation", whole(0)),
    ),
    "times": (
        Setting("drain", 10.0, "Seconds a stopping server waits for running invocations", SECONDS),
        Setting("idle", 300.0, "Seconds after which a worker without work ends", SECONDS),
        Setting("file_quiet", 0.25, "Seconds a dropped file must not have changed to count as whole", SECONDS),
        Setting("catch_up", 3600.0, "Seconds back for which schedules missed while the server was down or the machine asleep still fire once", SECONDS),
        Setting("retry_delay", 60.0, "Seconds before the first retry of an asynchronous invocation; twice that before the second", SECONDS),
    ),
    "debugging": (
        Setting("debug_port", None, "Port at which a debugger may attach to one function's worker (pip install 'microlam[debug]')", whole(1, 65535)),
        Setting("debug_function", None, "That function; by default the first that is run", text("a function's name", r"[a-zA-Z0-9-_]{1,64}", "NAME")),
        Setting("wait", False, "Import the debugged function only once a debugger has attached", SWITCH),
    ),
    "how long invocations stay on record": (
        Setting("retention_days", 7.0, "Days an invocation stays on record", decimal(0, "days", "DAYS")),
        Setting("retention_count", 1_000_000, "Invocations that stay on record at most", COUNT),
    ),
}
SETTINGS: tuple[Setting, ...] = tuple(setting for group in GROUPS.values() for setting in group)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting of a server by name, and in `origins` where each came from: its flag, its variable, microlam.toml or "default"."""

    host: str
    port: int
    data: Path
    env_vars: Path | None
    buckets: Path | None
    requirements: Path | None
    region: str
    account: str
    seed: int | None
    poll: bool
    allowed_host: tuple[str, ...]
    admin_token: str | None = field(repr=False)
    read_only_token: str | None = field(repr=False)
    access_key: str | None
    secret_key: str | None = field(repr=False)
    executor: str
    concurrency: int
    server_concurrency: int
    queue_limit: int
    queue_wait: float
    unwritten: int
    log_limit: int
    drain: float
    idle: float
    file_quiet: float
    catch_up: float
    retry_delay: float
    debug_port: int | None
    debug_function: str | None
    wait: bool
    retention_days: float
    retention_count: int
    origins: Mapping[str, str] = field(default_factory=dict)


class Named(TypedDict, total=False):
    """Settings as keyword arguments, where microlam is embedded; what is left out comes from variables and microlam.toml."""

    host: str
    port: int
    data: str | Path
    env_vars: str | Path
    seed: int
    buckets: str | Path
    requirements: str | Path
    region: str
    account: str
    poll: bool
    allowed_host: Sequence[str]
    admin_token: str
    read_only_token: str
    access_key: str
    secret_key: str
    executor: str
    concurrency: int
    server_concurrency: int
    queue_limit: int
    queue_wait: float
    unwritten: int
    log_limit: int
    drain: float
    idle: float
    file_quiet: float
    catch_up: float
    retry_delay: float
    debug_port: int
    debug_function: str
    wait: bool
    retention_days: float
    retention_count: int


# ---- from what was said to what holds --------------------------------------------------------------------------------

def read_settings(folder: Path, *, flags: Mapping[str, object], variables: Mapping[str, str], toml: Mapping[str, object]) -> Settings:
    """The settings for a folder of functions; raises SettingsError naming the one that cannot be used, where it came from, and the remedy.

    `flags` holds what the command line named, `variables` the environment, `toml` the table [microlam] of microlam.toml.
    """
    _refuse_unknown(toml)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        values[setting.name], origins[setting.name] = _settle(setting, flags, variables, toml)
    values["data"] = _place(folder, values["data"] or folder / ".microlam", origins["data"])
    for name in ("env_vars", "buckets", "requirements"):
        if values[name] is not None:
            values[name] = _place(folder, values[name], origins[name])
    settings = Settings(**values, origins=origins)
    _check_together(settings)
    return settings


def check_table(toml: Mapping[str, object]) -> None:
    """See that a server could start with the table [microlam] of microlam.toml; raises SettingsError where not, as far as one can tell from it alone."""
    _refuse_unknown(toml)
    for setting in SETTINGS:
        if setting.name in toml:
            _checked(setting, toml[setting.name], TOML)


def _settle(setting: Setting, flags: Mapping[str, object], variables: Mapping[str, str], toml: Mapping[str, object]) -> tuple[Value, str]:
    # An empty variable counts as unset, as for the AWS tools.
    said: list[tuple[object, str]] = [
        (flags.get(setting.name), setting.flag),
        (variables.get(setting.variable) or None, setting.variable),
        (toml.get(setting.name), TOML),
        *((variables.get(name) or None, name) for name in setting.otherwise),
    ]
    for value, origin in said:
        if value is not None:
            return _checked(setting, value, origin), origin
    return setting.default, "default"


def _checked(setting: Setting, value: object, origin: str) -> Value:
    try:
        return setting.kind.read(value)
    except (ValueError, KeyError, OverflowError):
        shown = "(not shown)" if setting.secret else repr(value)
        such = f", such as {setting.default}" if setting.default not in (None, ()) and setting.kind not in (SWITCH, EXECUTOR) else ""
        raise SettingsError(reason=f"{setting.name} = {shown}, from {origin}, cannot be used: it must be {setting.kind.must}{such}.") from None


def _refuse_unknown(toml: Mapping[str, object]) -> None:
    known = [setting.name for setting in SETTINGS]
    for name in toml:
        if name not in known:
            remedy = did_you_mean(name, known, f"There are: {', '.join(known)}.")
            raise SettingsError(reason=f"{TOML} sets {name}, but there is no such setting. {remedy}")


def _place(folder: Path, path: Path, origin: str) -> Path:
    """A path in microlam.toml starts at its folder, one that was typed at the working directory."""
    path = path.expanduser()
    return Path(folder / path if origin == TOML else path).absolute()


def _check_together(settings: Settings) -> None:
    if (settings.access_key is None) != (settings.secret_key is None):
        given, other = ("access_key", "--secret-key") if settings.secret_key is None else ("secret_key", "--access-key")
        raise SettingsError(reason=f"{given}, from {settings.origins[given]}, is one half of a pair: set {other} too.")
    if settings.read_only_token is not None and settings.admin_token is None:
        raise SettingsError(reason=f"read_only_token, from {settings.origins['read_only_token']}, needs --admin-token: without it everybody may change things.")
    if settings.read_only_token is not None and settings.read_only_token == settings.admin_token:
        origin = settings.origins["read_only_token"]
        raise SettingsError(reason=f"read_only_token, from {origin}, is the admin token too, which may change things. Choose another.")
    for name in ("debug_function", "wait"):
        # In microlam.toml they may lie ready for the day that somebody gives the port.
        if settings.debug_port is None and getattr(settings, name) and settings.origins[name] != TOML:
            raise SettingsError(reason=f"{name}, from {settings.origins[name]}, does nothing without a port for the debugger: set --debug-port too.")
    may_start(settings.host, settings.admin_token, settings.access_key, settings.secret_key)


# ---- addresses -------------------------------------------------------------------------------------------------------

def url_of(host: str, port: int) -> str:
    """The address to open in a browser on this machine."""
    if host in ("0.0.0.0", "::"):       # every address: loopback is among them
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# ---- README ----------------------------------------------------------------------------------------------------------

def settings_table() -> str:
    """README's table of settings, in Markdown."""
    lines = ["| Flag | Variable | In `[microlam]` | Default | |", "|---|---|---|---|---|"]
    lines += [f"| `{setting.flag}` | `{setting.variable}` | `{setting.name}` | {_default_in_words(setting)} | {setting.help} |" for setting in SETTINGS]
    return "\n".join(lines) + "\n"


def _default_in_words(setting: Setting) -> str:
    if setting.name == "data":
        return "`FOLDER/.microlam`"
    if setting.default in (None, ()):
        return ""
    shown = str(setting.default).lower() if isinstance(setting.default, bool) else f"{setting.default}"
    return " or ".join([*(f"`{name}`" for name in setting.otherwise), f"`{shown}`"])
