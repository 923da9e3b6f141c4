"""The command line: `dev` and `serve` run a server; `invoke`, `logs`, `list` and `fire` talk to one that runs; the others need none.

Each command imports what it needs when it is used, so that help and the small commands come at once.
"""
from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from microlam import __version__
from microlam.errors import BrokenToml, FolderIsFile, FolderMissing, MicrolamError, SettingsError, did_you_mean
from microlam.settings import GROUPS, HOSTS, SWITCH, Setting, Settings, read_settings

LOGS_SHOWN = 10         # invocations that `logs` begins with

SERVERS = ("dev", "serve")
GENERATE_EVENT = "generate-event"

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 where it failed, or 2 where it was not understood."""
    chosen = choose(sys.argv[1:] if arguments is None else arguments)
    if chosen.command is None:
        return USAGE
    try:
        status = run(chosen)
        sys.stdout.flush()
        return status
    except MicrolamError as error:
        print(f"microlam: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # `microlam list | head -1`: the reader has enough.
        _let_output_go()
        return 0
    except OSError as error:
        if chosen.command in SERVERS:
            raise
        # What commands read, of files and of a server, they look after themselves: it is what they print that goes nowhere, on a full disk for instance.
        _let_output_go()
        print(f"microlam: The output cannot be written: {error.strerror or error}.", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _let_output_go() -> None:
    """What is buffered must go somewhere when the interpreter flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def choose(arguments: Sequence[str]) -> argparse.Namespace:
    """The command that was chosen, with its flags; help where none was. The parser goes: a server need not hold it."""
    parser = build_parser(arguments)
    chosen = parser.parse_args(arguments)
    if chosen.command is None:
        parser.print_help(sys.stderr)
    return chosen


def run(chosen: argparse.Namespace) -> int:
    """Run the command that was chosen."""
    if chosen.command in SERVERS:
        return dev(chosen)
    if chosen.command == GENERATE_EVENT:
        return generate_event(chosen)
    if chosen.command == "compat":
        return compat()
    from microlam.commands import COMMANDS
    return COMMANDS[chosen.command](chosen)


# ---- servers ---------------------------------------------------------------------------------------------------------

def dev(chosen: argparse.Namespace) -> int:
    """Serve a folder until a signal ends it."""
    folder: Path = chosen.folder
    if folder.is_file():
        raise FolderIsFile(file=folder, folder=folder.parent)
    if not folder.is_dir():
        raise FolderMissing(folder=folder)
    settings = settings_of(folder, vars(chosen))
    check_start(settings)
    import asyncio

    from microlam import server
    from microlam.terminal import Terminal
    terminal = Terminal(sys.stdout, quiet=chosen.command == "serve")
    try:
        asyncio.run(server.run(settings, folder, terminal))
    finally:
        terminal.close()
    return 0


def compat() -> int:
    """Print what of AWS's API is answered."""
    from microlam.aws.compat import compat_text
    print(compat_text())
    return 0


def settings_of(folder: Path, flags: Mapping[str, object]) -> Settings:
    """The settings from flags, environment and the folder's microlam.toml."""
    file = folder / "microlam.toml"
    try:
        text = file.read_text("utf-8-sig")
        import tomllib  # many folders have no such file
        table = tomllib.loads(text).get("microlam", {})
    except FileNotFoundError:
        table = {}
    except (OSError, ValueError) as error:
        raise BrokenToml(file=file, reason=error) from None
    if not isinstance(table, dict):
        raise BrokenToml(file=file, reason="microlam is not a table; write [microlam] above the server's settings")
    return read_settings(folder, flags=flags, variables=os.environ, toml=table)


def check_start(settings: Settings) -> None:
    """Raise SettingsError for what would keep a server from its work only later, or without a word."""
    if settings.debug_port == settings.port:
        raise SettingsError(reason=f"debug_port = {settings.debug_port}, from {settings.origins['debug_port']}, is the server's own port. "
                                   "Choose another with --debug-port.")
    for name in ("data", "buckets", "requirements"):
        place: Path | None = getattr(settings, name)
        there = next((each for each in (place, *place.parents) if os.path.exists(each)), None) if place is not None else None
        if there is not None and not there.is_dir():
            raise SettingsError(reason=f"{name} = {place}, from {settings.origins[name]}, cannot be used: {there} is a file, and no folder. "
                                       f"Name another with --{name}.")
    if settings.buckets is not None and not settings.buckets.is_dir():
        raise SettingsError(reason=f"There is no folder {settings.buckets}. Create it, or name another with --buckets.")


# ---- events ----------------------------------------------------------------------------------------------------------

def generate_event(chosen: argparse.Namespace) -> int:
    """Print an event to try a handler with."""
    import json

    from microlam.events.generate import generate
    print(json.dumps(generate(chosen.source, chosen.type, **chosen.fields(chosen)), indent=2, ensure_ascii=False))
    return 0


# ---- the parser ------------------------------------------------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    """Says of a flag that it does not know which one may be meant, and how the command is used that has it."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # argparse's own signature has several forms
        """As argparse, but each command refuses by itself what it does not know."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
            remedy = next(filter(None, (did_you_mean(flag, self._option_string_actions, "") for flag in flags)), "")
            self.error(f"unrecognized arguments: {' '.join(unknown)}" + (f". {remedy}" if remedy else ""))
        return known, unknown


class Commands:
    """The commands of a parser, added one by one."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def add(self, name: str, summary: str, *, more: str = "", examples: Sequence[str]) -> argparse.ArgumentParser:
        """A command with its help; `more` is said on its own page only."""
        return self._parsers.add_parser(
            name, help=summary[0].lower() + summary[1:], description=f"{summary}.{more}",
            epilog="\n".join(["examples:", *("  " + example for example in examples)]), formatter_class=argparse.RawDescriptionHelpFormatter,
        )


def build_parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Every command with its flags; the many kinds of events only where one is asked for: to build them takes longer than all else."""
    parser = Parser(
        prog="microlam", description="AWS Lambda on your own machine: serve a folder of functions, and work with it.",
        epilog="Begin with `microlam dev FOLDER`; `microlam COMMAND --help` tells more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"microlam {__version__}", help="print the version and end")
    commands = Commands(parser)
    _add_server(commands, "dev", "Serve a folder of functions, with hot reload, and print what happens")
    _add_server(commands, "serve", "Serve a folder of functions like dev, but print no line for every invocation")
    for add in (_add_invoke, _add_logs, _add_list, _add_fire, _add_publish, _add_alias, _add_promote, _add_rollback):
        _add_endpoint(add(commands))
    events = _add_generate_event(commands)
    if GENERATE_EVENT in given:
        _add_sources(events)
    commands.add("compat", "List the operations of AWS's API that are answered, service by service", examples=("microlam compat",))
    return parser


def _add_server(commands: Commands, name: str, summary: str) -> None:
    more = "\nA flag beats its variable (--port: MICROLAM_PORT), which beats [microlam] in FOLDER/microlam.toml."
    parser = commands.add(name, summary, more=more, examples=(
        f"microlam {name} functions",
        f"microlam {name} functions --port 8080 --env-vars env.json",
        f"microlam {name} functions --host 0.0.0.0 --admin-token T --access-key K --secret-key S",
    ))
    parser.add_argument("folder", type=_folder, metavar="FOLDER", help="folder that holds the functions")
    for title, settings in GROUPS.items():
        group = parser.add_argument_group(title)
        for setting in settings:
            _add_setting(group, setting)


def _add_setting(group: argparse._ArgumentGroup, setting: Setting) -> None:
    # argparse formats what follows a %-sign. Values are checked later, where all that a setting may come from meets.
    default = ", else ".join([*setting.otherwise, f"{setting.default}"])
    help = setting.help.replace("%", "%%") + (f" (default {default})" if setting.default not in (None, (), False) else "")
    if setting.kind is SWITCH:
        group.add_argument(setting.flag, action=argparse.BooleanOptionalAction, default=None, help=help)
    elif setting.kind is HOSTS:
        group.add_argument(setting.flag, action="append", metavar=setting.kind.metavar, help=help)
    else:
        group.add_argument(setting.flag, metavar=setting.kind.metavar, help=help)


def _add_invoke(commands: Commands) -> argparse.ArgumentParser:
    more = ("\nIts logs go to standard error. The exit status is 1 when it failed.\n"
            "A server with --access-key and --secret-key asks for these, and not for its admin token: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    parser = commands.add("invoke", "Invoke a function and print its reply", more=more, examples=(
        "microlam invoke hello",
        "microlam invoke hello -e events/hello.json",
        """echo '{"name": "Ada"}' | microlam invoke hello -e -""",
    ))
    parser.add_argument("name", type=_name, metavar="NAME", help="the function: its name, name:qualifier or ARN")
    parser.add_argument("-e", "--event", metavar="FILE", help="JSON file with the event, or - for standard input (default: {})")
    parser.add_argument("--qualifier", metavar="VERSION", help="version or alias to invoke (default $LATEST)")
    parser.add_argument("--invocation-type", choices=("RequestResponse", "Event", "DryRun"), default="RequestResponse",
                        help="wait for the reply, run it later, or only see whether it could run (default RequestResponse)")
    return parser


def _add_logs(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add("logs", "Print what a function logged, the newest last", examples=(
        "microlam logs hello",
        "microlam logs hello --last 50",
        "microlam logs hello --tail",
    ))
    parser.add_argument("name", type=_name, metavar="NAME", help="the function's name")
    parser.add_argument("--tail", action="store_true", help="go on printing as it logs, until Ctrl-C, also when the server is started again")
    parser.add_argument("--last", type=_count, default=LOGS_SHOWN, metavar="N", help=f"how many invocations to begin with (default {LOGS_SHOWN})")
    return parser


def _add_list(commands: Commands) -> argparse.ArgumentParser:
    return commands.add("list", "List the functions with their routes, schedules and drop folders", examples=(
        "microlam list",
        "microlam list --endpoint-url http://127.0.0.1:8080",
    ))


def _add_fire(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add("fire", "Fire a function's schedule by hand, now or as of another time", examples=(
        "microlam fire nightly",
        "microlam fire nightly --time 2026-03-29T02:00:00Z",
        "microlam fire report --schedule 2",
    ))
    parser.add_argument("name", type=_name, metavar="NAME", help="the function's name")
    parser.add_argument("--time", metavar="INSTANT", help="the time its event tells, in ISO 8601 (default now)")
    parser.add_argument("--schedule", type=_count, metavar="N", help="which of its schedules, counted from 1 (default 1)")
    return parser


def _add_publish(commands: Commands) -> argparse.ArgumentParser:
    more = "\nA version never changes: not with the files, nor when they are deleted. Unchanged code keeps its number."
    parser = commands.add("publish", "Give what a function is now a version number", more=more, examples=(
        "microlam publish hello",
        "microlam publish hello --description 'with the new prices'",
    ))
    parser.add_argument("name", type=_name, metavar="NAME", help="the function's name")
    parser.add_argument("--description", metavar="TEXT", help="what the version is")
    return parser


def _add_alias(commands: Commands) -> argparse.ArgumentParser:
    more = "\nWithout --weight the version gets all that is invoked by the alias."
    parser = commands.add("alias", "Name a version, or share what is invoked by a name between two", more=more, examples=(
        "microlam alias hello live --version 1",
        "microlam alias hello live --version 1 --weight 2=0.1",
    ))
    _add_name_and_alias(parser)
    parser.add_argument("--version", metavar="N", help="the version it names (default: the one it names already)")
    parser.add_argument("--weight", type=_weight, metavar="M=SHARE", help="version M gets this share, from 0 to 1")
    return parser


def _add_promote(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add("promote", "Let an alias's other version, its canary, have all of it", examples=("microlam promote hello live",))
    return _add_name_and_alias(parser)


def _add_rollback(commands: Commands) -> argparse.ArgumentParser:
    more = "\nA canary's share is taken back; where there is none, the alias goes back to the version it named before."
    parser = commands.add("rollback", "Take an alias back to what it was", more=more, examples=("microlam rollback hello live",))
    return _add_name_and_alias(parser)


def _add_name_and_alias(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", type=_name, metavar="NAME", help="the function's name")
    parser.add_argument("alias", type=_name, metavar="ALIAS", help="the alias's name")
    return parser


def _add_generate_event(commands: Commands) -> argparse.ArgumentParser:
    return commands.add(GENERATE_EVENT, "Print an event to try a handler with, as its source would send it", examples=(
        "microlam generate-event s3 put --bucket uploads --key in/a.png",
        "microlam generate-event sqs receive-message --body '{\"order\": 7}' | microlam invoke worker -e -",
        "microlam generate-event apigateway http-api-proxy --method POST --path /orders --body '{}'",
    ))


def _add_sources(parser: argparse.ArgumentParser) -> None:
    from microlam.events.generate import SOURCES
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", dest="source", required=True)
    for source, kinds in SOURCES.items():
        types = sources.add_parser(source, help=", ".join(kinds)).add_subparsers(title="types", metavar="TYPE", dest="type", required=True)
        for kind, build in kinds.items():
            summary = (build.__doc__ or "").rstrip(".")
            _add_fields(types.add_parser(kind, help=summary[0].lower() + summary[1:], description=f"{summary}."), build)


def _add_fields(parser: argparse.ArgumentParser, build: Callable[..., object]) -> None:
    """A flag for each parameter of what builds an event."""
    fields = inspect.signature(build).parameters
    for name, field in fields.items():
        default = f" (default {field.default})".replace("%", "%%") if field.default != "" else ""
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(field.default), default=field.default, metavar="VALUE", help=f"its {name}{default}")
    parser.set_defaults(fields=lambda chosen: {name: getattr(chosen, name) for name in fields})


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the running server")
    group.add_argument("--endpoint-url", metavar="URL", help="its address (default: AWS_ENDPOINT_URL, else http://127.0.0.1:3000)")
    group.add_argument("--admin-url", metavar="URL", help="its admin, where that is elsewhere than at /_microlam (default: MICROLAM_ADMIN_URL)")
    group.add_argument("--admin-token", metavar="TEXT", help="its admin token, where it asks for one (default: MICROLAM_ADMIN_TOKEN)")


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; the folder you are in is .")
    return Path(text)


def _weight(text: str) -> tuple[str, float]:
    version, _, share = text.partition("=")
    try:
        weight = float(share)
    except ValueError:
        weight = -1.0
    if not version.isdecimal() or not 0 <= weight <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version and its share, as 2=0.1")
    return version, weight


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return number
