"""Numbered versions: publish and list them."""
from __future__ import annotations

from contextlib import suppress

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.configuration import described
from microlam.aws.lambda_.functions import number_key
from microlam.aws.lambda_.paging import page
from microlam.aws.lambda_.target import target_of
from microlam.aws.protocol import Params
from microlam.errors import FunctionNotFound


async def publish_version(call: Call, params: Params) -> Params:
    """Number what `$LATEST` is now."""
    target = target_of(call, params["FunctionName"], None)
    published = await call.functions.publish(
        target.arn, origin=call.face, description=params.get("Description"), revision=params.get("RevisionId"), sha256=params.get("CodeSha256"),
    )
    return await described(call, published, arn=published.qualified)


async def list_versions_by_function(call: Call, params: Params) -> Params:
    """Every version of a function, `$LATEST` first."""
    target = target_of(call, params["FunctionName"], None)
    if target.arn not in call.functions:
        raise FunctionNotFound(arn=target.arn)
    found = call.functions.versions(target.arn)
    with suppress(FunctionNotFound):        # its file may be gone
        found.append(await call.functions.snapshot(target.arn))
    shown, marker = page(found, number_key, params)
    return {"Versions": [await described(call, snapshot, arn=snapshot.qualified, listed=True) for snapshot in shown], "NextMarker": marker}


OPERATIONS: Answers = {"PublishVersion": publish_version, "ListVersionsByFunction": list_versions_by_function}
