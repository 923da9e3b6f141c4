"""Who may do what in the admin, and whether a request was made by one of its own pages. Pure functions of tokens and headers."""
from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from microlam.guard import authorised

COOKIE = "microlam_session"
THEME = "microlam_theme"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
_OF_BROWSERS = ("Origin", "Sec-Fetch-Site", "Cookie")


class Permission(IntEnum):
    """What one may do: nothing, look, or change things too."""

    NOTHING = 0
    LOOK = 1
    CHANGE = 2


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of a server; without an admin token, as on loopback, everybody may change things."""

    admin: str | None = field(default=None, repr=False)
    read_only: str | None = field(default=None, repr=False)

    def permission(self, *, authorization: str | None = None, cookie: str | None = None) -> Permission:
        """What a bearer header or the cookie of a login permits."""
        if not self.admin or _shown(self.admin, authorization, cookie):
            return Permission.CHANGE
        if self.read_only and _shown(self.read_only, authorization, cookie):
            return Permission.LOOK
        return Permission.NOTHING

    def session(self, token: str) -> str | None:
        """The cookie that a login with this token is given; None where it is neither token."""
        known = [mine for mine in (self.admin, self.read_only) if mine and authorised(mine, authorization=f"Bearer {token}")]
        return session_of(known[0]) if known else None


def _shown(token: str, authorization: str | None, cookie: str | None) -> bool:
    return authorised(token, authorization=authorization) or authorised(session_of(token), cookie=cookie)


def session_of(token: str) -> str:
    """What the cookie holds: it proves the token without being it."""
    return hmac.new(token.encode("utf-8", "surrogateescape"), b"microlam admin session", hashlib.sha256).hexdigest()


# ---- forms -----------------------------------------------------------------------------------------------------------

def csrf_token(secret: bytes, cookie: str | None) -> str:
    """What the forms of our own pages carry: another one for each login."""
    return hmac.new(secret, (cookie or "").encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def needs_csrf(headers: Mapping[str, str]) -> bool:
    """Whether a browser may have made this request for a page of another site: not with a bearer header, nor as command lines send it."""
    if "Authorization" in headers:
        return False
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in _FORMS or any(name in headers for name in _OF_BROWSERS)
