"""Make the tables of microlam/aws/models from botocore: `python -m tests.distill`.

A table has the operations named below, with the shapes they reach, and of every other operation of a REST service where it is found,
so that a refusal can name it. Documentation is left out; limits are kept where requests are checked against them. The same botocore
gives the same bytes.
"""
from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

import botocore
from botocore.loaders import Loader
from botocore.model import ServiceModel

from microlam.aws.tables import MODELS

OPERATIONS = {name: words.split() for name, words in {
    "lambda": """
        AddLayerVersionPermission AddPermission CreateAlias CreateCodeSigningConfig CreateEventSourceMapping CreateFunction CreateFunctionUrlConfig
        DeleteAlias DeleteCodeSigningConfig DeleteEventSourceMapping DeleteFunction DeleteFunctionCodeSigningConfig DeleteFunctionConcurrency
        DeleteFunctionEventInvokeConfig DeleteFunctionUrlConfig DeleteLayerVersion DeleteProvisionedConcurrencyConfig GetAccountSettings GetAlias
        GetCodeSigningConfig GetEventSourceMapping GetFunction GetFunctionCodeSigningConfig GetFunctionConcurrency GetFunctionConfiguration
        GetFunctionEventInvokeConfig GetFunctionRecursionConfig GetFunctionUrlConfig GetLayerVersion GetLayerVersionByArn GetLayerVersionPolicy
        GetPolicy GetProvisionedConcurrencyConfig GetRuntimeManagementConfig Invoke InvokeAsync InvokeWithResponseStream ListAliases
        ListCodeSigningConfigs ListEventSourceMappings ListFunctionEventInvokeConfigs ListFunctionUrlConfigs ListFunctions
        ListFunctionsByCodeSigningConfig ListLayerVersions ListLayers ListProvisionedConcurrencyConfigs ListTags ListVersionsByFunction
        PublishLayerVersion PublishVersion PutFunctionCodeSigningConfig PutFunctionConcurrency PutFunctionEventInvokeConfig PutFunctionRecursionConfig
        PutProvisionedConcurrencyConfig PutRuntimeManagementConfig RemoveLayerVersionPermission RemovePermission TagResource UntagResource UpdateAlias
        UpdateCodeSigningConfig UpdateEventSourceMapping UpdateFunctionCode UpdateFunctionConfiguration UpdateFunctionEventInvokeConfig
        UpdateFunctionUrlConfig
    """,
    "sts": """
        AssumeRole GetCallerIdentity
    """,
    "iam": """
        AttachRolePolicy CreatePolicy CreatePolicyVersion CreateRole DeletePolicy DeletePolicyVersion DeleteRole DeleteRolePolicy DetachRolePolicy
        GetPolicy GetPolicyVersion GetRole GetRolePolicy ListAttachedRolePolicies ListEntitiesForPolicy ListInstanceProfilesForRole ListPolicies
        ListPolicyVersions ListRolePolicies ListRoleTags ListRoles PutRolePolicy SetDefaultPolicyVersion TagRole UntagRole UpdateAssumeRolePolicy UpdateRole
    """,
    "logs": """
        CreateLogGroup DeleteLogGroup DeleteRetentionPolicy DescribeLogGroups DescribeLogStreams FilterLogEvents GetLogEvents ListTagsForResource
        PutRetentionPolicy StartLiveTail TagResource UntagResource
    """,
}.items()}

# Where AWS's recorded answers word a limit otherwise than botocore does.
_ARN = r"arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+"
_TAGGED = (
    r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?"
    r"|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}"
    r"|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"
)
CORRECTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "lambda": {
        "EventSourcePosition": {"enum": ["LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"]},
        "LayerVersionArn": {"pattern": rf"({_ARN})|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"},
        "SecurityGroupIds": {"sparse": True},
        "SubnetIds": {"sparse": True},
        "TaggableResource": {"pattern": _TAGGED},
    },
}

# What AWS checks with a sentence of its own, after the table's constraints: of these members the shape's limits are not asked.
UNCHECKED = {("CreateFunctionRequest", "Runtime"): "String", ("UpdateFunctionConfigurationRequest", "Runtime"): "String"}

_METADATA = ("apiVersion", "awsQueryCompatible", "endpointPrefix", "jsonVersion", "signingName", "targetPrefix", "xmlNamespace")
_SHAPE = (
    "type", "members", "required", "member", "key", "value", "payload", "flattened", "locationName", "timestampFormat", "streaming", "eventstream",
    "event", "error", "exception", "fault", "xmlNamespace", "document", "union",
)
_LIMITS = ("min", "max", "pattern", "enum", "sensitive")
_MEMBER = (
    "shape", "location", "locationName", "flattened", "xmlAttribute", "xmlNamespace", "timestampFormat", "jsonvalue", "idempotencyToken",
    "eventheader", "eventpayload", "hostLabel",
)
_OPERATION = ("http", "input", "output", "errors", "endpoint", "httpChecksum", "unsignedPayload", "authtype")


def distil(service: str, names: Iterable[str]) -> dict[str, Any]:
    """One service's table."""
    model = Loader().load_service_model(service, "service-2")
    metadata = {"service": service, "protocol": ServiceModel(model, service).resolved_protocol, **_only(model["metadata"], _METADATA)}
    operations = {name: _operation(model["operations"][name]) for name in sorted(names)}
    table: dict[str, Any] = {"botocore": botocore.__version__, "metadata": metadata, "operations": operations}
    if metadata["protocol"].startswith("rest"):
        table["unsupported"] = {
            name: f"{raw['http']['method']} {raw['http']['requestUri']}" for name, raw in sorted(model["operations"].items()) if name not in operations
        }
    table["shapes"] = _shapes(model["shapes"], operations, CORRECTIONS.get(service, {}))
    return table


def text(table: Mapping[str, Any]) -> str:
    """A table as a file: an operation or a shape a line."""
    parts = []
    for name, value in table.items():
        if name in ("operations", "unsupported", "shapes"):
            lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}" for key, item in value.items())
            parts.append(f"{json.dumps(name)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{" + ",\n".join(parts) + "}\n"


def hash_order(values: Iterable[str]) -> list[str]:
    """The order in which a Java HashSet gives its members: AWS's sentences list most sets so."""
    known = list(values)
    size = 16
    while size * 0.75 < len(known):
        size *= 2
    return sorted(known, key=lambda value: _java_hash(value) & (size - 1))


def _java_hash(value: str) -> int:
    total = 0
    for letter in value:
        total = (31 * total + ord(letter)) & 0xFFFFFFFF
    return total ^ (total >> 16)


def _operation(raw: Mapping[str, Any]) -> dict[str, Any]:
    kept = _only(raw, _OPERATION)
    for side in ("input", "output"):
        if side in kept:
            kept[side] = _only(kept[side], ("shape", "locationName", "xmlNamespace", "resultWrapper"))
    if "errors" in kept:
        kept["errors"] = sorted(error["shape"] for error in kept["errors"])
    return kept


def _shapes(model: Mapping[str, Any], operations: Mapping[str, Any], corrections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    asked = _reached(model, (raw["input"]["shape"] for raw in operations.values() if "input" in raw))
    answered = _reached(model, (name for raw in operations.values() for name in [raw.get("output", {}).get("shape"), *raw.get("errors", ())] if name))
    shapes = {}
    for name in sorted(asked | answered):
        shapes[name] = _shape(model[name], limits=name in asked)
        for member, free in ((member, free) for (shape, member), free in UNCHECKED.items() if shape == name):
            shapes[name]["members"][member]["shape"] = free
        if name in asked:
            shapes[name] |= corrections.get(name, {})
    return shapes


def _reached(model: Mapping[str, Any], names: Iterable[str]) -> set[str]:
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            shape = model[name]
            waiting += [member["shape"] for member in shape.get("members", {}).values()]
            waiting += [shape[part]["shape"] for part in ("member", "key", "value") if part in shape]
    return reached


def _shape(raw: Mapping[str, Any], *, limits: bool) -> dict[str, Any]:
    kept = copy.deepcopy(_only(raw, _SHAPE + (_LIMITS if limits else ())))
    if "members" in kept:
        kept["members"] = {name: _only(member, _MEMBER) for name, member in kept["members"].items()}
    for part in ("member", "key", "value"):
        if part in kept:
            kept[part] = _only(kept[part], _MEMBER)
    if "enum" in kept:
        kept["enum"] = hash_order(kept["enum"])
    if "error" in kept:
        kept["error"] = _only(kept["error"], ("code", "httpStatusCode"))
    return kept


def _only(raw: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those entries, in this order; what is false says nothing."""
    return {name: raw[name] for name in names if name in raw and raw[name] is not False}


def main() -> None:
    MODELS.mkdir(exist_ok=True)
    for service, names in OPERATIONS.items():
        (MODELS / f"{service}.json").write_text(text(distil(service, names)), encoding="utf-8")


if __name__ == "__main__":
    main()
