"""What tests of the Lambda API share: zips, functions made of them, and a server for a whole module."""
from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import Server, start, write

ROLE = "arn:aws:iam::000000000000:role/anybody"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
VERSION = "def handler(event, context):\n    return [{!r}, context.function_version, context.invoked_function_arn]\n"


def packed(**files: str | bytes) -> bytes:
    """A zip of Python files by name, without the `.py`; two underscores are a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/") + ".py", content)
    return buffer.getvalue()


def create(client: Any, name: str, code: str | bytes = VERSION.format("one"), **members: Any) -> Any:
    """Create a function whose index.handler is this code, and wait until it is active."""
    zip = code if isinstance(code, bytes) else packed(index=code)
    created = client.create_function(**{
        "FunctionName": name, "Runtime": "python3.11", "Role": ROLE, "Handler": "index.handler", "Code": {"ZipFile": zip}, **members,
    })
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    return created


def told(answer: Any) -> Any:
    """An answer without what boto3 adds."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def running(folder: Path, files: dict[str, str], *flags: str) -> Iterator[Server]:
    """A server over these files, for a fixture of a whole module."""
    folder.mkdir(exist_ok=True)
    write(folder, files)
    server = start(folder, *flags)
    yield server
    server.stop(9)
