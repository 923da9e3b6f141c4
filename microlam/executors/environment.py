"""The environment variables that a handler sees, and what else a worker must be told of its version."""
from __future__ import annotations

import os
import secrets
import site
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from microlam.executors import Credentials
from microlam.model import Version, account_of, region_of

# Read only when a process starts: a worker with one of these is exec'd and not forked.
READ_AT_START = ("LD_", "DYLD_", "PYTHON", "MALLOC_", "GLIBC_TUNABLES", "LANG", "LC_", "OPENSSL_")


def environment_of(
    version: Version, *, base: Mapping[str, str], credentials: Credentials, endpoint_url: str, log_stream: str, temporary: str, runtime: str
) -> dict[str, str]:
    """All variables of one worker: the server's choice, then the function's own, then those that are Lambda's to set."""
    region = region_of(version.arn)
    reserved = {
        "_HANDLER": version.handler,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{version.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": version.name,
        "AWS_LAMBDA_FUNCTION_VERSION": version.number,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(version.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency" if version.provisioned else "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": log_group_of(version),
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_LOG_FORMAT": version.log_format,
        "AWS_LAMBDA_RUNTIME_API": urlsplit(endpoint_url).netloc,
        "AWS_ACCESS_KEY_ID": account_of(version.arn),
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",    # no name server knows of stream-127.0.0.1
        "LAMBDA_TASK_ROOT": version.root,
        "LAMBDA_RUNTIME_DIR": runtime,
        "MICROLAM": "1",
    }
    # Lambda sets these too, but lets the function's own have their way.
    defaults = {"TZ": ":UTC", "TMPDIR": temporary, "PYTHONPATH": runtime, **_of_layers(version, base)}
    if version.log_format == "JSON":
        defaults["AWS_LAMBDA_LOG_LEVEL"] = version.log_level or "INFO"
    return {**base, **defaults, **version.environment, **reserved}


def _of_layers(version: Version, base: Mapping[str, str]) -> dict[str, str]:
    """Where programs and libraries of its layers are found; on AWS that is /opt/bin and /opt/lib."""
    if not version.layers:
        return {}
    library = {"LD_LIBRARY_PATH": f"{version.layers}/lib"} if _brings_libraries(version) else {}
    return {"PATH": ":".join([base.get("PATH", os.defpath), f"{version.layers}/bin"]), "MICROLAM_OPT": version.layers, **library}


def _brings_libraries(version: Version) -> bool:
    return bool(version.layers) and os.path.isdir(f"{version.layers}/lib")


def context_of(version: Version, log_stream: str) -> dict[str, str]:
    """What a handler's context says in every invocation."""
    return {
        "function_name": version.name,
        "function_version": version.number,
        "memory_limit_in_mb": str(version.memory),
        "log_group_name": log_group_of(version),
        "log_stream_name": log_stream,
    }


def needs_fresh_process(version: Version) -> bool:
    """Whether its environment holds what only a process that starts with it would notice."""
    return _brings_libraries(version) or any(name.startswith(READ_AT_START) for name in version.environment)


def log_group_of(version: Version) -> str:
    return version.log_group or f"/aws/lambda/{version.name}"


def new_log_stream(version: Version) -> str:
    """A worker's log stream: its day, its version, and 32 digits of its own."""
    return f"{datetime.now(UTC):%Y/%m/%d}/[{version.number}]{secrets.token_hex(16)}"


def site_packages() -> list[str]:
    """What this interpreter's environment has put on the path behind the standard library; not the folder the server was started in."""
    # sysconfig would tell too, but reads a table of half a megabyte for it.
    version = "python{}.{}".format(*sys.version_info)
    library = {os.path.dirname(os.__file__), os.path.join(sys.base_exec_prefix, sys.platlibdir, version)}
    library |= {os.path.join(folder, "lib-dynload") for folder in library}
    last = max((index for index, entry in enumerate(sys.path) if entry in library), default=-1)
    behind = [entry for entry in sys.path[last + 1:] if entry and os.path.isabs(entry)]
    return behind or site.getsitepackages()


def names_in(folders: tuple[str, ...]) -> set[str]:
    """The modules that lie at the top of these folders."""
    found: set[str] = set()
    for folder in folders:
        try:
            found.update(name.partition(".")[0] for name in os.listdir(folder))
        except OSError:
            continue
    return found


def preload_of(version: Version) -> tuple[str, ...]:
    """What a worker's zygote should have imported: what the version asks for and has no copy of its own of.

    asyncio too, where the handler's file speaks of it: importing it takes several times as long as all else of a cold start.
    """
    wanted = (*version.preload, "asyncio") if _speaks_of_coroutines(version) else version.preload
    if not wanted:
        return ()
    own = names_in((version.root, *version.path))
    return tuple(name for name in dict.fromkeys(wanted) if name.partition(".")[0] not in own)


def _speaks_of_coroutines(version: Version) -> bool:
    module = version.handler.rpartition(".")[0].replace("/", ".").replace(".", "/")
    for path in (f"{version.root}/{module}.py", f"{version.root}/{module}/__init__.py"):
        try:
            with open(path, "rb") as file:
                text = file.read()
        except OSError:
            continue
        return b"async def " in text or b"asyncio" in text
    return False
