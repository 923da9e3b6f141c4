"""Tags of functions, event source mappings and code signing configurations."""
from __future__ import annotations

from microlam.aws.call import Answers, Call
from microlam.aws.lambda_.existing import must_exist
from microlam.aws.protocol import Params
from microlam.errors import InvalidParameter, NotFound
from microlam.model import account_of, region_of, split_arn


class TaggedNotFound(NotFound):
    """{kind} not found: {arn}"""


async def tag_resource(call: Call, params: Params) -> Params:
    """Add tags to a thing."""
    await _must_be_taggable(call, params["Resource"])
    if not params["Tags"]:
        # AWS's own words: it does not say what is wrong.
        raise InvalidParameter(reason="An error occurred and the request cannot be processed.")
    await call.attached.tags.add(params["Resource"], params["Tags"])
    await _touch(call, params["Resource"])
    return {}


async def untag_resource(call: Call, params: Params) -> Params:
    """Remove tags from a thing."""
    await _must_be_taggable(call, params["Resource"])
    await call.attached.tags.remove(params["Resource"], params["TagKeys"])
    await _touch(call, params["Resource"])
    return {}


async def list_tags(call: Call, params: Params) -> Params:
    """The tags of a thing."""
    await _must_be_taggable(call, params["Resource"])
    return {"Tags": dict(await call.attached.tags.of(params["Resource"]))}


OPERATIONS: Answers = {"TagResource": tag_resource, "UntagResource": untag_resource, "ListTags": list_tags}


async def _touch(call: Call, arn: str) -> None:
    """A function's tags are part of what its revision tells apart."""
    if ":function:" in arn:
        await call.functions.touch(arn)


async def _must_be_taggable(call: Call, arn: str) -> None:
    """Raise NotFound, in AWS's words for each sort of thing, unless there is one with this ARN."""
    kind, _, name = arn.split(":", 5)[5].partition(":")
    match kind:
        case "function":
            function, qualifier = split_arn(arn)
            if qualifier:
                raise InvalidParameter(reason="Tags on function aliases and versions are not supported. Please specify a function ARN.")
            must_exist(call, function)
        case "event-source-mapping":
            if await call.attached.source_mappings.find(f"{account_of(arn)}:{region_of(arn)}", name) is None:
                raise TaggedNotFound(kind="Event source mapping", arn=arn)
        case "code-signing-config":
            if await call.attached.code_signings.find(arn) is None:
                raise TaggedNotFound(kind="Code signing config", arn=arn)
        case "layer":
            raise InvalidParameter(reason="Tags on layers are not supported. Please specify a function ARN.")
        case _:
            raise TaggedNotFound(kind=kind.replace("-", " ").capitalize(), arn=arn)
