"""Function URLs: an HTTP address of its own for a function or an alias."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.existing import FunctionMissing, ResourceMissing, exists
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import Target, target_of
from microlam.aws.protocol import Params
from microlam.model import region_of
from microlam.resources.urls import FunctionUrl, url_id


async def create_function_url_config(call: Call, params: Params) -> Params:
    """Give a function or an alias an address."""
    target = await _existing(call, params)
    url = FunctionUrl(
        id=url_id(target.arn, target.qualifier), auth=params["AuthType"], cors=_read_cors(params.get("Cors")), mode=params.get("InvokeMode"),
        created=call.now, modified=call.now,
    )
    await call.attached.urls.create(target.arn, target.qualifier, url)
    return _described(call, target, url) | {"LastModifiedTime": None}


async def get_function_url_config(call: Call, params: Params) -> Params:
    """The address of a function or an alias."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    return _listed(call, target, await _found(call, target))


async def update_function_url_config(call: Call, params: Params) -> Params:
    """Change how an address answers."""
    target = await _existing(call, params)
    url = await _found(call, target)
    changes = {field: params[member] for member, field in (("AuthType", "auth"), ("InvokeMode", "mode")) if params.get(member)}
    cors = _read_cors(params["Cors"]) if "Cors" in params else url.cors
    url = dataclasses.replace(url, **changes, cors=cors, modified=call.now)
    await call.attached.urls.keep(target.arn, target.qualifier, url)
    return _described(call, target, url)


async def delete_function_url_config(call: Call, params: Params) -> Params:
    """Take an address away."""
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    await _found(call, target)
    await call.attached.urls.forget(target.arn, target.qualifier or "")
    return {}


async def list_function_url_configs(call: Call, params: Params) -> Params:
    """The addresses of a function and of its aliases."""
    target = target_of(call, params["FunctionName"], None)
    if target.arn not in call.functions:
        raise FunctionMissing()
    shown, marker = page(await call.attached.urls.of(target.arn), lambda owned: owned.name, params)
    return {"FunctionUrlConfigs": [_listed(call, Target(target.arn, name or None), url) for _, name, url in shown], "NextMarker": marker}


OPERATIONS: Answers = {
    "CreateFunctionUrlConfig": create_function_url_config, "GetFunctionUrlConfig": get_function_url_config,
    "UpdateFunctionUrlConfig": update_function_url_config, "DeleteFunctionUrlConfig": delete_function_url_config,
    "ListFunctionUrlConfigs": list_function_url_configs,
}


# ---- CORS ------------------------------------------------------------------------------------------------------------

_CORS = {
    "AllowCredentials": "credentials", "AllowHeaders": "headers", "AllowMethods": "methods", "AllowOrigins": "origins", "ExposeHeaders": "exposed",
    "MaxAge": "max_age",
}


def _read_cors(said: Params | None) -> Mapping[str, Any] | None:
    """What was said of other sites' pages; None where that is nothing."""
    return {name: (said or {})[member] for member, name in _CORS.items() if (said or {}).get(member) is not None} or None


# ---- parts -----------------------------------------------------------------------------------------------------------

async def _existing(call: Call, params: Params) -> Target:
    target = target_of(call, params["FunctionName"], params.get("Qualifier"))
    if not exists(call, target):
        raise FunctionMissing()
    return target


async def _found(call: Call, target: Target) -> FunctionUrl:
    url = await call.attached.urls.find(target.arn, target.qualifier)
    if url is None:
        raise ResourceMissing()
    return url


def _described(call: Call, target: Target, url: FunctionUrl) -> Params:
    return {
        "FunctionUrl": address(call.origin, region_of(target.arn), url),
        "FunctionArn": target.invoked,
        "AuthType": url.auth,
        "Cors": url.cors and {member: url.cors[name] for member, name in _CORS.items() if name in url.cors},
        "CreationTime": _instant(url.created),
        "LastModifiedTime": _instant(url.modified),
        "InvokeMode": url.mode,
    }


def _listed(call: Call, target: Target, url: FunctionUrl) -> Params:
    # Only here AWS says the mode also where nobody chose one.
    return _described(call, target, url) | {"InvokeMode": url.mode or "BUFFERED"}


def address(origin: str, region: str, url: FunctionUrl) -> str:
    """Where a function URL is reached on the server that a client knows as `origin`: a host name of its own, which on this machine ends in localhost."""
    parts = urlsplit(origin)
    name = parts.hostname or "localhost"
    host = "localhost" if name.replace(".", "").isdecimal() or ":" in name else name
    return f"{parts.scheme}://{url.id}.lambda-url.{region}.{host}{f':{parts.port}' if parts.port else ''}/"


def _instant(instant: datetime) -> str:
    """`2026-11-24T06:00:00.000000Z`, as AWS writes the times of URLs."""
    return f"{instant:%Y-%m-%dT%H:%M:%S.%f}Z"
