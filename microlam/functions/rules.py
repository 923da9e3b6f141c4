"""What may be asked of functions, versions and aliases: pure checks, which raise AWS's own refusals."""
from __future__ import annotations

import re
from collections.abc import Collection, Container, Mapping

from microlam.errors import FunctionNotFound, InvalidParameter, MicrolamError
from microlam.model import LATEST, Alias

# https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html: of an account's 1,000, at least 100 stay for functions without a reserve.
ACCOUNT_CONCURRENCY = 1000
LEAST_UNRESERVED = 100

# https://docs.aws.amazon.com/lambda/latest/api/API_CreateAlias.html
_ALIAS = re.compile(r"(?![0-9]+$)[a-zA-Z0-9-_]{1,128}")


class KeptInFolder(InvalidParameter):
    """{name} is made of the files in the folder of functions: edit {file} to change it, delete that file to remove it."""


class KeptByHost(InvalidParameter):
    """{name} is a callable of the program that microlam is embedded in, which registers it at each start: change it there."""


class NoAliasName(InvalidParameter):
    """{name!r} cannot name an alias: that takes 1 to 128 letters, digits, - and _, and not digits alone."""


class LatestCannotSplit(InvalidParameter):
    """$LATEST is not supported for an alias pointing to more than 1 version"""

    sided = False


class AlreadyRouted(InvalidParameter):
    """Invalid function version {number}. Function version {number} is already included in routing configuration."""


class LatestStays(InvalidParameter):
    """$LATEST version cannot be deleted without deleting the function."""


class OtherCode(InvalidParameter):
    """CodeSHA256 ({asked}) is different from current CodeSHA256 in $LATEST ({found}). Please try again with the CodeSHA256 in $LATEST."""


class DoesNotImport(InvalidParameter):
    """{name} is not published, because its code does not run. {kind}: {message}"""


class NothingToPromote(InvalidParameter):
    """{alias} names version {number} alone: there is no other to promote. Give one a share first: microlam alias {function} {name} --version {number} \
--weight M=0.1"""


class NothingBefore(InvalidParameter):
    """{alias} has named no version before {number} that still exists: there is nothing to go back to."""


class TooMuchReserved(InvalidParameter):
    """Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{least}]."""

    sided = False


class LessThanProvisioned(InvalidParameter):
    """ ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned concurrency [{provisioned}]."""

    sided = False


class MoreThanReserved(InvalidParameter):
    """Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"""


class MoreThanUnreserved(InvalidParameter):
    """Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}]."""

    sided = False


class TooMuchProvisioned(InvalidParameter):
    """Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{least}]."""

    sided = False


class ProvisionedTwice(InvalidParameter):
    """{reason}"""


class Unprovisionable(InvalidParameter):
    """Provisioned Concurrency Configs cannot be applied to unpublished function versions."""


class NotProvisioned(MicrolamError):
    """No Provisioned Concurrency Config found for this function"""

    code, status = "ProvisionedConcurrencyConfigNotFoundException", 404


def check_alias(alias: Alias, numbers: Container[str]) -> None:
    """Raise unless an alias may name what it names; `numbers` are the versions there are."""
    if not _ALIAS.fullmatch(alias.name):
        raise NoAliasName(name=alias.name)
    if alias.other == alias.number:
        raise AlreadyRouted(number=alias.number)
    for number in (alias.number, alias.other):
        if number is not None and number != LATEST and number not in numbers:
            raise FunctionNotFound(arn=f"{alias.arn}:{number}")
    if alias.other is not None and LATEST in (alias.number, alias.other):
        raise LatestCannotSplit()


def check_reserve(reserved: int, elsewhere: int, provisioned: int) -> None:
    """Raise unless so much may be reserved, with `elsewhere` reserved for others and so much provisioned of the function's own."""
    if reserved < provisioned:
        raise LessThanProvisioned(reserved=reserved, provisioned=provisioned)
    if ACCOUNT_CONCURRENCY - elsewhere - reserved < LEAST_UNRESERVED:
        raise TooMuchReserved(least=LEAST_UNRESERVED)


def check_provision(requested: int, others: int, reserved: int | None, unreserved: int) -> None:
    """Raise unless so many workers may be kept ready; `others` are kept for the function's other versions, `unreserved` is left of the account."""
    if reserved is not None:
        if requested + others > reserved:
            raise MoreThanReserved()
        return
    if requested + others > unreserved:
        raise MoreThanUnreserved(unreserved=unreserved)
    if unreserved - requested - others < LEAST_UNRESERVED:
        raise TooMuchProvisioned(least=LEAST_UNRESERVED)


def shares(alias: Alias, requested: int) -> dict[str, int]:
    """How an alias's workers are shared among its versions: by weight."""
    if alias.other is None:
        return {alias.number: requested}
    other = round(requested * alias.weight)
    return {number: count for number, count in ((alias.number, requested - other), (alias.other, other)) if count}


def check_overlap(qualifier: str, aliases: Mapping[str, Alias], provisioned: Collection[str]) -> None:
    """Raise where workers would be kept for a version and for an alias that names it."""
    alias = aliases.get(qualifier)
    if alias is not None:
        if {alias.number, alias.other} & set(provisioned):
            raise ProvisionedTwice(reason="Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
    elif any(qualifier in (aliases[name].number, aliases[name].other) for name in provisioned if name in aliases):
        raise ProvisionedTwice(reason="Version is pointed by a Provisioned Concurrency alias")
