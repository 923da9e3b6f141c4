"""A version's configuration: as AWS's members in a request, and as they stand in an answer."""
from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import orjson

from microlam.aws.call import Call
from microlam.aws.errors import Unsupported
from microlam.aws.lambda_.code import written_instant
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter
from microlam.functions import Snapshot
from microlam.functions.environment import RESERVED_VARIABLES
from microlam.functions.snapshot import ACTIVE, CREATING
from microlam.model import LATEST, account_of, region_of

ENVIRONMENT_LIMIT = 4096

# In the order in which AWS names them.
RUNTIMES = (
    "nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x", "java25", "python3.10", "python3.11",
    "java21", "ruby3.3", "ruby3.4", "ruby3.2", "python3.8", "python3.9", "java17", "nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6",
    "nodejs18.x", "provided.al2", "java8.al2",
)
SNAPSTARTED = ("python3.12", "python3.13", "python3.14", "java11", "java17", "java21", "java25", "dotnet8", "dotnet10")

# What runs code in ways that are not ours.
REFUSED = {
    "AcceleratorConfig": "accelerators", "CapacityProviderConfig": "capacity providers", "DurableConfig": "durable functions",
    "ImageConfig": "container images", "PublishTo": "PublishTo", "RuntimeConfig": "RuntimeConfig", "TenancyConfig": "tenant isolation",
}
# Members whose value is kept as it was sent, and shown again.
_KEPT = ("VpcConfig", "DeadLetterConfig", "KMSKeyArn", "TracingConfig", "FileSystemConfigs", "EphemeralStorage", "SnapStart", "Architectures")
_FIELDS = {"Role": "role", "Handler": "handler", "Description": "description", "MemorySize": "memory", "Runtime": "runtime"}


class RuntimeUnknown(InvalidParameter):
    """Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{known}] or be a valid ARN"""


class ReservedVariable(InvalidParameter):
    """Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are \
currently not supported for modification. Reserved keys used in this request: {names}"""


class EnvironmentTooLarge(InvalidParameter):
    """Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. \
String measured: {measured}"""


# ---- members → fields ------------------------------------------------------------------------------------------------

def changes_of(params: Params, before: Snapshot | None = None) -> dict[str, Any]:
    """The fields of a snapshot that a request sets; raises, in AWS's words, where it may not."""
    check(params, before.runtime if before else "")
    changes: dict[str, Any] = {field: params[member] for member, field in _FIELDS.items() if params.get(member) is not None}
    if params.get("Timeout") is not None:
        changes["timeout"] = float(params["Timeout"])
    if params.get("Environment") is not None:
        changes["environment"] = params["Environment"].get("Variables") or {}
    if params.get("Layers") is not None:
        changes["layers"] = tuple(params["Layers"])
    options = {member: params[member] for member in _KEPT if params.get(member) is not None}
    if params.get("LoggingConfig") is not None:
        logging, options["SystemLogLevel"] = _logging(params["LoggingConfig"], before)
        changes |= logging
    if options:
        changes["options"] = {**(before.options if before else {}), **options}
    return changes


def check(params: Params, runtime_before: str = "") -> None:
    """Raise where a configuration asks for what AWS, or microlam, does not give."""
    for member, words in REFUSED.items():
        if params.get(member) is not None:
            raise Unsupported(operation=words)
    runtime = params.get("Runtime")
    if runtime is not None and runtime not in RUNTIMES:
        raise RuntimeUnknown(runtime=runtime, known=", ".join(RUNTIMES))
    _check_environment((params.get("Environment") or {}).get("Variables") or {})
    _check_network(params.get("VpcConfig"))
    if (params.get("SnapStart") or {}).get("ApplyOn") == "PublishedVersions" and (runtime or runtime_before) not in SNAPSTARTED:
        raise InvalidParameter(reason=f"{runtime or runtime_before} is not supported for SnapStart enabled functions.")


def _check_environment(variables: Mapping[str, str]) -> None:
    reserved = [name for name in variables if name in RESERVED_VARIABLES]
    if reserved:
        raise ReservedVariable(names=", ".join(reserved))
    measured = orjson.dumps(variables)
    if len(measured) > ENVIRONMENT_LIMIT:
        raise EnvironmentTooLarge(measured=orjson.dumps({name: variables[name] for name in _as_java_lists(variables)}).decode())


def _as_java_lists(names: Mapping[str, str]) -> list[str]:
    """The names in the order of a Java HashMap, which is how AWS prints them back."""
    size = 16
    while size * 0.75 < len(names):
        size *= 2
    return sorted(names, key=lambda name: _java_hash(name) & (size - 1))


def _java_hash(text: str) -> int:
    total = 0
    for letter in text:
        total = (31 * total + ord(letter)) & 0xFFFFFFFF
    return total ^ (total >> 16)


def _check_network(network: Params | None) -> None:
    if network is not None and bool(network.get("SubnetIds")) != bool(network.get("SecurityGroupIds")):
        raise InvalidParameter(reason="SubnetIds and SecurityIds must coexist or be both empty list.")


def _logging(asked: Params, before: Snapshot | None) -> tuple[dict[str, str], str]:
    """How a version logs: what is not said stays, and a JSON log has levels."""
    form = asked.get("LogFormat") or (before.log_format if before else "Text")
    fields = {"log_format": form, "log_group": asked.get("LogGroup") or (before.log_group if before else "")}
    if form != "JSON":
        return fields | {"log_level": ""}, ""
    kept = (before.log_level, str(before.options.get("SystemLogLevel", ""))) if before else ("", "")
    return fields | {"log_level": asked.get("ApplicationLogLevel") or kept[0] or "INFO"}, asked.get("SystemLogLevel") or kept[1] or "INFO"


# ---- fields → members ------------------------------------------------------------------------------------------------

async def described(call: Call, snapshot: Snapshot, *, arn: str, listed: bool = False) -> Params:
    """A version's configuration under this ARN; in lists AWS leaves out how it stands."""
    options = dict(snapshot.options)
    return {
        "FunctionName": snapshot.name,
        "FunctionArn": arn,
        "Runtime": snapshot.runtime,
        "Role": snapshot.role or f"arn:aws:iam::{account_of(snapshot.arn)}:role/microlam",
        "Handler": snapshot.handler,
        "CodeSize": snapshot.size,
        "Description": snapshot.description,
        "Timeout": math.ceil(snapshot.timeout),
        "MemorySize": snapshot.memory,
        "LastModified": written_instant(snapshot.modified),
        "CodeSha256": snapshot.sha256,
        "Version": snapshot.number,
        "VpcConfig": _network(options.get("VpcConfig")),
        "DeadLetterConfig": _unless_empty(options.get("DeadLetterConfig"), "TargetArn"),
        "Environment": None if snapshot.environment is None else {"Variables": dict(snapshot.environment)},
        "KMSKeyArn": options.get("KMSKeyArn") or None,
        "TracingConfig": {"Mode": "PassThrough", **_structure(options.get("TracingConfig"))},
        "RevisionId": snapshot.revision,
        "Layers": [{"Arn": layer.version_arn, "CodeSize": layer.size} for layer in await call.layers.of(snapshot.layers)] or None,
        "FileSystemConfigs": options.get("FileSystemConfigs") or None,
        "PackageType": "Zip",
        "Architectures": options.get("Architectures") or ["x86_64"],
        "EphemeralStorage": {"Size": 512, **_structure(options.get("EphemeralStorage"))},
        "SnapStart": _snap_start(snapshot, _structure(options.get("SnapStart")).get("ApplyOn", "None")),
        "LoggingConfig": _log(snapshot, options),
        **({} if listed else _standing(snapshot)),
    }


def _standing(snapshot: Snapshot) -> Params:
    """How a version stands: a new function is pending, a changed one is being updated, for a moment."""
    runtime = {"RuntimeVersionConfig": {"RuntimeVersionArn": runtime_version_arn(snapshot)}}
    reason = "The function is being created."
    if snapshot.status == CREATING:
        return {**runtime, "State": "Pending", "StateReason": reason, "StateReasonCode": "Creating"}
    if snapshot.status == ACTIVE:
        return {**runtime, "State": "Active", "LastUpdateStatus": "Successful"}
    # AWS gives the reason of a creation here too.
    return {
        **runtime, "State": "Active", "LastUpdateStatus": "InProgress", "LastUpdateStatusReason": reason, "LastUpdateStatusReasonCode": "Creating",
    }


def runtime_version_arn(snapshot: Snapshot) -> str:
    """The ARN of what runs a runtime's code; there is one for each runtime here."""
    return f"arn:aws:lambda:{region_of(snapshot.arn)}::runtime:{hashlib.sha256(snapshot.runtime.encode()).hexdigest()}"


def _structure(value: object) -> Params:
    return value if isinstance(value, dict) else {}


def _unless_empty(value: object, member: str) -> object:
    return value if _structure(value).get(member) else None


def _network(value: object) -> Params | None:
    network = _structure(value)
    if value is None:
        return None
    subnets = network.get("SubnetIds") or []
    return {
        "SubnetIds": subnets,
        "SecurityGroupIds": network.get("SecurityGroupIds") or [],
        "VpcId": f"vpc-{hashlib.sha256(subnets[0].encode()).hexdigest()[:17]}" if subnets else "",
        "Ipv6AllowedForDualStack": bool(network.get("Ipv6AllowedForDualStack")),
    }


def _snap_start(snapshot: Snapshot, apply_on: str) -> Params:
    return {"ApplyOn": apply_on, "OptimizationStatus": "On" if apply_on == "PublishedVersions" and snapshot.number != LATEST else "Off"}


def _log(snapshot: Snapshot, options: Mapping[str, object]) -> Params:
    levels = {"ApplicationLogLevel": snapshot.log_level or "INFO", "SystemLogLevel": options.get("SystemLogLevel") or "INFO"}
    return {
        "LogFormat": snapshot.log_format, "LogGroup": snapshot.log_group or f"/aws/lambda/{snapshot.name}", **(levels if snapshot.log_format == "JSON" else {}),
    }
