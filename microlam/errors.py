"""What can go wrong, as a tree; a class's docstring is its message, and each carries its AWS code and HTTP status.

    MicrolamError
    ├── SettingsError          a setting, a file or a folder the server cannot start with
    │   ├── FolderMissing · FolderIsFile · PortTaken · DataFolderHeld · DataFolderNewer · BrokenToml · UnsafeAddress
    ├── BadRequest
    │   ├── InvalidParameter · InvalidRequestContent · RequestTooLarge · MalformedPolicy
    │   └── BadArchive         a zip that is none, is too large, or would write elsewhere
    ├── NotFound
    │   ├── FunctionNotFound · AliasNotFound · InvocationNotFound · EntityNotFound · LogsNotFound
    ├── Conflict               something is there already, or in use
    │   ├── FunctionExists · AliasExists · VersionInUse
    ├── PreconditionFailed     a change that was meant for an earlier state
    ├── EntityExists · EntityInUse · TooMany      of roles and policies
    ├── LogGroupExists
    ├── Throttled              no free slot in time
    │   └── ReserveUsedUp      none of those reserved for the function
    ├── RecordUnavailable      the data folder takes nothing now: a full disk, a file that went away
    ├── Refused                a request the guard turns away
    │   └── TokenNeeded · WrongToken · ReadOnly
    └── CallFailed             a running server did not do what the command line asked of it
        └── ServerAway         none answers, or one that is just stopping

A handler's own failure is never one of these: it is an Outcome.
"""
from __future__ import annotations

from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str | None:
    """The known name of which another may be a slip."""
    from difflib import get_close_matches  # few need it
    return next(iter(get_close_matches(name, list(known), 1)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the known one that is like it, or else these words."""
    near = meant(name, known)
    return f"Did you mean {near}?" if near else otherwise


class MicrolamError(Exception):
    """Something went wrong: {reason}"""

    code = "ServiceException"
    status = 500
    sided = True        # whether AWS says whose fault it was, as it does of most

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__((self.__doc__ or "").format(**facts))


class SettingsError(MicrolamError):
    """{reason}"""

    code, status = "InvalidParameterValueException", 400


class FolderMissing(SettingsError):
    """There is no folder {folder}. Create it, or name the folder that holds your functions."""


class FolderIsFile(SettingsError):
    """{file} is a file. Name the folder that it is in: {folder}"""


class PortTaken(SettingsError):
    """Address {host}:{port} is already in use. Stop the program that uses it, or choose another with {flag}."""


class DataFolderHeld(SettingsError):
    """The data folder {folder} is in use by another microlam server. Stop that one, or give this one its own with --data."""


class DataFolderNewer(SettingsError):
    """The data folder {folder} was made by a newer microlam (schema {found}, this one knows {known}). Upgrade microlam, or choose another with --data."""


class BrokenToml(SettingsError):
    """{file}: {reason}"""


class UnsafeAddress(SettingsError):
    """On {host} everybody who reaches this machine could run code on it. Set {missing}, or listen on 127.0.0.1."""


class BadRequest(MicrolamError):
    """{reason}"""

    code, status = "InvalidParameterValueException", 400


class InvalidParameter(BadRequest):
    """{reason}"""


class InvalidRequestContent(BadRequest):
    """Could not parse request body into json: {reason}"""

    code = "InvalidRequestContentException"


class RequestTooLarge(BadRequest):
    """{reason}"""

    code, status = "RequestEntityTooLargeException", 413


class BadArchive(BadRequest):
    """{reason}"""


class NotFound(MicrolamError):
    """{reason}"""

    code, status = "ResourceNotFoundException", 404


class FunctionNotFound(NotFound):
    """Function not found: {arn}"""


class AliasNotFound(NotFound):
    """Cannot find alias arn: {arn}"""


class InvocationNotFound(NotFound):
    """There is no invocation {id}; it may have aged out of the record."""


class EntityNotFound(NotFound):
    """{reason}"""

    code = "NoSuchEntity"


class EntityExists(MicrolamError):
    """{reason}"""

    code, status = "EntityAlreadyExists", 409


class EntityInUse(MicrolamError):
    """{reason}"""

    code, status = "DeleteConflict", 409


class TooMany(MicrolamError):
    """{reason}"""

    code, status = "LimitExceeded", 409


class MalformedPolicy(BadRequest):
    """{reason}"""

    code = "MalformedPolicyDocument"


class LogsNotFound(NotFound):
    """The specified log {thing} does not exist."""

    status = 400        # of the JSON protocol, where every refusal is 400


class LogGroupExists(MicrolamError):
    """The specified log group already exists"""

    code, status = "ResourceAlreadyExistsException", 400


class Conflict(MicrolamError):
    """{reason}"""

    code, status = "ResourceConflictException", 409


class FunctionExists(Conflict):
    """Function already exist: {name}"""


class AliasExists(Conflict):
    """Alias already exists: {arn}"""


class VersionInUse(Conflict):
    """Unable to delete version because the following aliases reference it: [{aliases}]"""


class PreconditionFailed(MicrolamError):
    """The Revision Id provided does not match the latest Revision Id. Call the {call} API to retrieve the latest Revision Id"""

    code, status = "PreconditionFailedException", 412


class Throttled(MicrolamError):
    """Rate Exceeded."""

    code, status = "TooManyRequestsException", 429


class ReserveUsedUp(Throttled):
    """Rate Exceeded."""


class RecordUnavailable(MicrolamError):
    """The data folder cannot be used: {reason}"""


class Refused(MicrolamError):
    """{reason}"""

    code, status = "AccessDeniedException", 403


class TokenNeeded(Refused):
    """This server's admin asks for its token. Send it as `Authorization: Bearer TOKEN`, or give the command line --admin-token."""

    status = 401


class WrongToken(TokenNeeded):
    """That is not the token this server was started with."""


class ReadOnly(Refused):
    """The read-only token may look and change nothing. Log in with the admin token for this."""


class CallFailed(MicrolamError):
    """{reason}"""


class ServerAway(CallFailed):
    """{reason}"""
