"""What of AWS's API is answered, read off the tables and the operations themselves: `microlam compat`, and README's table."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

from microlam.aws import ANSWERS
from microlam.aws.tables import MODELS, Table


def supported() -> Mapping[str, Sequence[str]]:
    """The operations that are answered, by service."""
    services = sorted(path.stem for path in MODELS.glob("*.json"))
    return {service: sorted(set(Table.load(service).operations.raw) & set(ANSWERS.get(service, {}))) for service in services}


def missing(service: str) -> Sequence[str]:
    """Those of AWS's operations that are refused with 501, as far as the table names them."""
    answered = supported()[service]
    table = Table.load(service)
    return sorted(name for name in (*table.operations.raw, *table.raw.get("unsupported", ())) if name not in answered)


def compat_text() -> str:
    """What is answered, for the terminal."""
    parts = []
    for service, names in supported().items():
        parts.append(f"{service}: {len(names)} operations\n{_indented(names)}")
        if missing(service):
            parts.append(f"{service}: not answered (501)\n{_indented(missing(service))}")
    return "\n\n".join(parts)


def compat_table() -> str:
    """README's table of what is answered, in Markdown."""
    lines = ["| Service | Answered | Operations |", "|---|---|---|"]
    lines += [f"| `{service}` | {len(names)} | {', '.join(names)} |" for service, names in supported().items()]
    return "\n".join(lines) + "\n"


def _indented(names: Sequence[str]) -> str:
    return fill(" ".join(names), 100, initial_indent="  ", subsequent_indent="  ")
