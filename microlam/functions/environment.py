"""Environment variables from files: `.env` in the folder, and SAM's `--env-vars` JSON; and the names that nobody may set."""
from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from microlam.errors import BrokenToml, did_you_mean

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html, "Reserved environment variables"
RESERVED_VARIABLES = frozenset({
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN",
})

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LINE = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<name>[^\s=#'"]+)[ \t]*=[ \t]*
        (?: '(?P<plain>[^']*)' | "(?P<escaped>(?:[^"\\]|\\.)*)" | (?P<bare>[^\s'"#](?:[^\r\n#]|(?<=\S)\#)*|) )
        [ \t]*(?:\#[^\r\n]*)?(?:\r?\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_NOTHING = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r?\n|\Z)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True, kw_only=True)
class Variables:
    """What one file sets for every function and for some by name, and a warning for each name that AWS keeps to itself."""

    file: str = ""
    everybody: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def strangers(self, functions: Collection[str]) -> list[str]:
        """A warning for each name that is none of these functions'."""
        remedy = "Create it, or remove the entry."
        return [f"{self.file}: there is no function {name} in the folder, so its variables reach nobody. {did_you_mean(name, functions, remedy)}"
                for name in self.functions if name not in functions]

    @classmethod
    def of(cls, file: str, everybody: Mapping[str, str], functions: Mapping[str, Mapping[str, str]] | None = None) -> Variables:
        """All but the reserved ones."""
        functions = functions or {}
        refused = sorted(RESERVED_VARIABLES & {name for variables in (everybody, *functions.values()) for name in variables})
        return cls(
            file=file, everybody=_allowed(everybody),
            functions={name: _allowed(variables) for name, variables in functions.items()},
            warnings=tuple(f"{file}: {name} is reserved, as on AWS, and reaches no function. Choose another name for it." for name in refused),
        )


def _allowed(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in RESERVED_VARIABLES}


def read_dotenv(text: str, file: str = ".env") -> dict[str, str]:
    """`KEY=VALUE` lines with quotes, comments and `export`; quoted values may run over several lines."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        nothing = _NOTHING.match(text, position)
        if nothing:
            position = nothing.end()
            continue
        line = _LINE.match(text, position)
        if line is None or not _NAME.fullmatch(line["name"]):
            number = text.count("\n", 0, position) + 1
            raise BrokenToml(file=file, reason=f"line {number} {_complaint(text[position:].splitlines()[0])}")
        found[line["name"]] = _dotenv_value(line)
        position = line.end()
    return found


def _complaint(line: str) -> str:
    """What is wrong with a line that cannot be read."""
    name, equals, value = (part.strip() for part in line.partition("="))
    name = re.sub(r"export\s+", "", name)
    if not equals or name.startswith(";"):
        return "is not KEY=VALUE. A comment begins with #."
    if not _NAME.fullmatch(name):
        return f'sets "{name}", which cannot be the name of a variable. Use letters, digits and underscores, with no digit at the beginning.'
    if value.startswith(("'", '"')) and value.count(value[0]) == 1:
        return f"opens a quote, {value[0]}, that is never closed. Close it, or put the value in the other kind of quotes."
    return "is not KEY=VALUE. Put quotes around a value with blanks or quotes in it."


def _dotenv_value(line: re.Match[str]) -> str:
    if line["plain"] is not None:
        return line["plain"]
    if line["escaped"] is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), line["escaped"], flags=re.DOTALL)
    return line["bare"].rstrip()


def read_env_vars(text: str, file: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """SAM's JSON: `Parameters` for every function, and under a function's name its own."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise BrokenToml(file=file, reason=f"not JSON: {error}") from None
    if not isinstance(said, dict) or not all(isinstance(variables, dict) for variables in said.values()):
        raise BrokenToml(file=file, reason='it must be {"FUNCTION": {"NAME": "value"}, "Parameters": {"NAME": "value"}}')
    by_name = {function: {name: _sam_value(file, function, name, value) for name, value in variables.items()} for function, variables in said.items()}
    return by_name.pop("Parameters", {}), by_name


def _sam_value(file: str, function: str, name: str, value: object) -> str:
    """SAM writes true and false so, other plain values as they stand, and nothing for null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if value is None:
        return ""
    raise BrokenToml(file=file, reason=f"{function}.{name} must be a string, a number or a boolean, not {json.dumps(value)}")
