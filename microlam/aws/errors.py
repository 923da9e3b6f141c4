"""What only the wire can get wrong, or say more exactly than the floors below: refusals with AWS's codes and members."""
from __future__ import annotations

from collections.abc import Mapping

from microlam.errors import BadRequest, InvalidParameter, MicrolamError


class WireError(MicrolamError):
    """{reason}"""

    def __init__(self, *, members: Mapping[str, object] | None = None, **facts: object) -> None:
        super().__init__(**facts)
        self.members = members or {}        # of the error's shape, besides its message; None leaves one out that would be there


class TooManyRequests(WireError):
    """Rate Exceeded."""

    code, status = "TooManyRequestsException", 429


class ValidationFailed(BadRequest):
    """{count} validation error{s} detected: {sentences}"""

    code = "ValidationException"


class Invalid(BadRequest):
    """{reason}"""

    code = "ValidationError"        # as services of the query protocol call it


class Unreadable(BadRequest):
    """{reason}"""

    code = "SerializationException"


class Unsupported(MicrolamError):
    """microlam does not support {operation}."""

    code, status = "UnknownOperationException", 501


class QualifierMismatch(InvalidParameter):
    """The derived qualifier from the function name does not match the specified qualifier."""


class FunctionElsewhere(MicrolamError):
    """Functions from '{theirs}' are not reachable in this region ('{ours}')"""

    code, status = "ResourceNotFoundException", 404


class AccountElsewhere(MicrolamError):
    """Functions of another account cannot be created; use an access key of that account."""

    code, status = "AccessDeniedException", 403


class RequestCutShort(BadRequest):
    """Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."""

    code, status = "RequestTimeout", 408


# ---- signatures ------------------------------------------------------------------------------------------------------

class SignatureRefused(MicrolamError):
    """{reason}"""

    status = 403
    codes = ("InvalidSignatureException", "SignatureDoesNotMatch")      # in JSON, in XML

    def __init__(self, protocol: str, **facts: object) -> None:
        super().__init__(**facts)
        self.code = self.codes[0 if protocol.endswith("json") else 1]


class SignatureMissing(SignatureRefused):
    """Request is missing Authentication Token"""

    codes = ("MissingAuthenticationTokenException", "MissingAuthenticationToken")


class SignatureIncomplete(SignatureRefused):
    """Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters, and a date."""

    codes = ("IncompleteSignatureException", "IncompleteSignature")


class KeyUnknown(SignatureRefused):
    """The security token included in the request is invalid."""

    codes = ("UnrecognizedClientException", "InvalidClientTokenId")


class TokenExpired(SignatureRefused):
    """The security token included in the request is expired"""

    codes = ("ExpiredTokenException", "ExpiredToken")


class SignatureWrong(SignatureRefused):
    """The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. \
Consult the service documentation for details."""
