"""Layers: publish, look at, list and delete them."""
from __future__ import annotations

from collections.abc import Iterable

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.code import archive_of, written_instant
from microlam.aws.lambda_.existing import ResourceMissing
from microlam.aws.lambda_.paging import page
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter
from microlam.model import account_of, region_of
from microlam.resources.layers import LayerVersion


async def publish_layer_version(call: Call, params: Params) -> Params:
    """Make a zip the next version of a layer."""
    version = LayerVersion(
        arn=layer_arn(call, params["LayerName"]), number=0, created=call.now, sha256="", size=0, unpacked=0, description=params.get("Description", ""),
        runtimes=_tuple(params.get("CompatibleRuntimes")), architectures=_tuple(params.get("CompatibleArchitectures")), license=params.get("LicenseInfo"),
    )
    version = await call.layers.publish(version, await archive_of(call, params["Content"]))
    return _whole(call, version)


async def get_layer_version(call: Call, params: Params) -> Params:
    """One version of a layer, with an address that its zip downloads from."""
    return await _found(call, layer_arn(call, params["LayerName"]), params["VersionNumber"])


async def get_layer_version_by_arn(call: Call, params: Params) -> Params:
    """One version of a layer, by its ARN."""
    arn, _, number = params["Arn"].rpartition(":")
    if not number.isdecimal():      # one of AWS's own
        raise ResourceMissing()
    return await _found(call, arn, int(number))


async def list_layers(call: Call, params: Params) -> Params:
    """The layers of this account and region, each with its newest version that suits."""
    newest: dict[str, LayerVersion] = {}
    for version in await call.layers.all():
        if (account_of(version.arn), region_of(version.arn)) == (call.account, call.region) and _suits(version, params):
            newest.setdefault(version.arn, version)
    shown, marker = page(newest.values(), lambda version: version.arn, params)
    layers = [{"LayerName": _name(version.arn), "LayerArn": version.arn, "LatestMatchingVersion": _described(version)} for version in shown]
    return {"Layers": layers, "NextMarker": marker}


async def list_layer_versions(call: Call, params: Params) -> Params:
    """The versions of a layer that suit, the newest first."""
    versions = [version for version in await call.layers.versions(layer_arn(call, params["LayerName"])) if _suits(version, params)]
    shown, marker = page(versions, lambda version: f"{10**12 - version.number:012}", params)
    return {"LayerVersions": [_described(version) for version in shown], "NextMarker": marker}


async def delete_layer_version(call: Call, params: Params) -> Params:
    """Delete a version; one that is not there does not matter."""
    arn = layer_arn(call, params["LayerName"])
    _must_be_a_number(params["VersionNumber"])
    await call.layers.delete(arn, params["VersionNumber"])
    await call.attached.policies.forget(f"{arn}:{params['VersionNumber']}")
    return {}


OPERATIONS: Answers = {
    "PublishLayerVersion": publish_layer_version, "GetLayerVersion": get_layer_version, "GetLayerVersionByArn": get_layer_version_by_arn,
    "ListLayers": list_layers, "ListLayerVersions": list_layer_versions, "DeleteLayerVersion": delete_layer_version,
}


# ---- parts -----------------------------------------------------------------------------------------------------------

def layer_arn(call: Call, name: str) -> str:
    """The ARN of a layer that is named by it, or by its name alone."""
    return name if name.startswith("arn:") else f"arn:aws:lambda:{call.region}:{call.account}:layer:{name}"


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


async def _found(call: Call, arn: str, number: int) -> Params:
    _must_be_a_number(number)
    version = await call.layers.find(arn, number)
    if version is None:
        raise ResourceMissing()
    return _whole(call, version)


def _must_be_a_number(number: int) -> None:
    if number < 1:
        raise InvalidParameter(reason="Layer Version Cannot be less than 1.")


def _suits(version: LayerVersion, params: Params) -> bool:
    return version.suits(params.get("CompatibleRuntime"), params.get("CompatibleArchitecture"))


def _tuple(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _described(version: LayerVersion) -> Params:
    return {
        "LayerVersionArn": version.version_arn,
        "Version": version.number,
        "Description": version.description,
        "CreatedDate": written_instant(version.created),
        "CompatibleRuntimes": version.runtimes,
        "CompatibleArchitectures": version.architectures,
        "LicenseInfo": version.license,
    }


def _whole(call: Call, version: LayerVersion) -> Params:
    zip = call.layers.zip(version)
    content = {"Location": zip and call.downloads.address(call.origin, zip, call.now), "CodeSha256": version.sha256, "CodeSize": version.size}
    return {**_described(version), "LayerArn": version.arn, "Content": content}
