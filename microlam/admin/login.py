"""Logging in with the admin token or the read-only one, and out again."""
from __future__ import annotations

from typing import TYPE_CHECKING

from microlam.admin.asking import Asked, Done, action, page
from microlam.admin.facts import Facts
from microlam.admin.permission import COOKIE, Permission
from microlam.errors import WrongToken

if TYPE_CHECKING:
    from microlam.app import Microlam


async def ask(lam: Microlam, asked: Asked) -> Facts:
    """The page that asks for a token."""
    return {"message": ""}


async def log_in(lam: Microlam, asked: Asked) -> Done:
    """A cookie for a token, and on to the page that was wanted."""
    session = asked.tokens.session(asked.field("token"))
    if session is None:
        raise WrongToken()
    return Done(to=inside(asked.field("next")), cookies={COOKIE: session})


async def log_out(lam: Microlam, asked: Asked) -> Done:
    """Take the cookie away."""
    return Done(to="login", cookies={COOKIE: ""})


def inside(to: str) -> str:
    """An address below the admin's root; anything else leads to the root."""
    return to if to[:1].isalnum() and ":" not in to.partition("?")[0].partition("/")[0] else ""


ROUTES = (
    page("login", ask, "login.html", needs=Permission.NOTHING), action("login", log_in, needs=Permission.NOTHING),
    action("logout", log_out, needs=Permission.NOTHING),
)
