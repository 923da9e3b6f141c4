"""The account in one region: what it may have, and how much of that is used."""
from __future__ import annotations

from contextlib import suppress

from microlam.archives import UNPACKED_LIMIT
from microlam.aws.call import Answers, Call
from microlam.aws.protocol import Params
from microlam.errors import MicrolamError
from microlam.functions.rules import ACCOUNT_CONCURRENCY
from microlam.model import account_of, function_arn, region_of

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
TOTAL_CODE = 80_530_636_800
ZIPPED_CODE = 52_428_800


async def get_account_settings(call: Call, params: Params) -> Params:
    """The limits of an account in this region, and what its functions and layers use of them."""
    functions = [function.arn for function in call.functions.all() if _own(call, function.arn)]
    layers = sum(version.size for version in await call.layers.all() if _own(call, version.arn))
    return {
        "AccountLimit": {
            "TotalCodeSize": TOTAL_CODE,
            "CodeSizeUnzipped": UNPACKED_LIMIT,
            "CodeSizeZipped": ZIPPED_CODE,
            "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
            "UnreservedConcurrentExecutions": call.functions.concurrency.unreserved(function_arn("any", call.region, call.account)),
        },
        "AccountUsage": {"TotalCodeSize": layers + sum([await _size(call, arn) for arn in functions]), "FunctionCount": len(functions)},
    }


OPERATIONS: Answers = {"GetAccountSettings": get_account_settings}


def _own(call: Call, arn: str) -> bool:
    return (account_of(arn), region_of(arn)) == (call.account, call.region)


async def _size(call: Call, arn: str) -> int:
    """The bytes of a function's zips: every version has one of its own."""
    size = sum(version.size for version in call.functions.versions(arn))
    with suppress(MicrolamError):       # files that do not make a package now have no zip
        size += (await call.functions.snapshot(arn)).size
    return size
