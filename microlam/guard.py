"""May this request touch the admin or the wire? A page in a browser must not run code on the developer's machine.

Decisions are pure functions of a request's headers; `Guard.admit` takes the headers from an aiohttp request.
"""
from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from microlam.errors import Refused, UnsafeAddress

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>\d{1,5}))?", re.IGNORECASE | re.ASCII)
_WILDCARDS = ("", "0.0.0.0", "::")
_DEFAULT_PORTS = {"http": 80, "https": 443}


# ---- names and addresses ---------------------------------------------------------------------------------------------

def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case, without port, brackets and a last dot; None where it is none.

    Only the plain forms count: browsers write 127.1, 0x7f000001 and the like as 127.0.0.1 before they send them.
    """
    match = _HOST.fullmatch(host)
    return _plain(match["name"]) if match else None


def allowed_name(host: str) -> str | None:
    """The name or address that an --allowed-host allows; None where no Host header could ever be it."""
    return host_name(host) or (host if _address(host) is not None else None)


def is_loopback(name: str) -> bool:
    """`localhost`, `*.localhost`, 127.0.0.0/8 or `::1`, as a name or an address without a port."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if isinstance(address, IPv6Address):
        return address.is_loopback or (address.ipv4_mapped is not None and address.ipv4_mapped.is_loopback)
    return address is not None and address.is_loopback


def loopback_host(host: str) -> bool:
    """Whether a Host header names this machine itself."""
    name = host_name(host)
    return name is not None and is_loopback(name)


def _plain(name: str) -> str:
    return name.lower().strip("[]").removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    for kind in (IPv4Address, IPv6Address):
        try:
            return kind(name)
        except AddressValueError:
            continue
    return None


def _same(name: str, other: str) -> bool:
    """Equal as names, or as addresses however they are written."""
    return name == other or ((address := _address(name)) is not None and address == _address(other))


# ---- one request -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the guard looks at: every Host and Origin header, the Sec-Fetch ones, and the local address the request came in on.

    `page` says that it is for a page of the admin, which a link elsewhere may lead to.
    """

    method: str = "GET"
    hosts: Sequence[str]
    origins: Sequence[str] = ()
    fetch_site: str = ""
    fetch_mode: str = ""
    fetch_destination: str = ""
    arrived_at: str = ""
    near: bool = True           # it was sent from this machine, and by nobody's proxy
    page: bool = False


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Stands before the admin and the wire of a server that listens on `bind`; `allowed_hosts` are the `--allowed-host` names.

    Within a host that may listen anywhere, callers on other machines are let in only where something else keeps out those who may not
    (`elsewhere`); where that is the host's own guard, it may have any name (`any_host`).
    """

    bind: str = "127.0.0.1"
    allowed_hosts: Iterable[str] = ()
    any_host: bool = False
    elsewhere: bool = True

    def admit(self, request: BaseRequest, *, page: bool = False) -> None:
        """Raise Refused where the request may not touch the admin or the wire."""
        headers = request.headers
        address = request.transport.get_extra_info("sockname") if request.transport else None
        reason = self.refusal(Asked(
            method=request.method,
            hosts=headers.getall("Host", []),
            origins=headers.getall("Origin", []),
            fetch_site=",".join(headers.getall("Sec-Fetch-Site", [])),
            fetch_mode=headers.get("Sec-Fetch-Mode", ""),
            fetch_destination=headers.get("Sec-Fetch-Dest", ""),
            arrived_at=address[0] if isinstance(address, tuple) else "",
            near=is_loopback(request.remote or "127.0.0.1") and "X-Forwarded-For" not in headers and "Forwarded" not in headers,
            page=page,
        ))
        if reason is not None:
            raise Refused(reason=reason)

    def refusal(self, asked: Asked) -> str | None:
        """Why this request is refused; None where it is welcome."""
        if not self.elsewhere and not asked.near:
            return "From another machine this takes the admin token, or a signature. Give the server --admin-token, --access-key and --secret-key."
        if len(asked.hosts) != 1:
            return "The request has no Host header." if not asked.hosts else "The request has several Host headers."
        host = asked.hosts[0]
        name = host_name(host)
        if name is None or not (self.any_host or self._ours(name, asked.arrived_at)):
            return f"The Host {host!r} is not this server's. If it should be, start it with --allowed-host {name or 'NAME'}."
        if any(not _own_origin(origin, host) for origin in asked.origins):
            return f"Pages of {', '.join(map(repr, asked.origins))} may not use this server."
        if "cross-site" in asked.fetch_site.lower() and not _plain_navigation(asked):
            return "Pages of other sites may not use this server."
        return None

    def _ours(self, name: str, arrived_at: str) -> bool:
        """Any other name may be an attacker's that leads to this address (DNS rebinding)."""
        if is_loopback(name) or _same(name, _plain(self.bind)):
            return True
        # Bound to every address: it is the one the request came in on.
        if self.bind in _WILDCARDS and _address(name) is not None and _same(name, arrived_at.removeprefix("::ffff:")):
            return True
        return any(_same(name, allowed_name(allowed) or allowed) for allowed in self.allowed_hosts)


def _own_origin(origin: str, host: str) -> bool:
    """Whether an Origin is that of the Host itself; `null` (a file, a sandboxed frame) never is."""
    try:
        parts = urlsplit(origin)
        default = _DEFAULT_PORTS.get(parts.scheme)
        if default is None or parts.path or parts.query or parts.fragment:
            return False
        ours = urlsplit(f"{parts.scheme}://{host}")
        return host_name(parts.netloc) == host_name(host) is not None and (parts.port or default) == (ours.port or default)
    except ValueError:
        return False


def _plain_navigation(asked: Asked) -> bool:
    """A link to an admin page was followed, in a window of its own."""
    return asked.page and asked.method == "GET" and asked.fetch_mode == "navigate" and asked.fetch_destination in ("", "document")


# ---- tokens and the address ------------------------------------------------------------------------------------------

def may_start(host: str, admin_token: str | None, access_key: str | None, secret_key: str | None) -> None:
    """Raise UnsafeAddress where others can reach `host` and something that keeps them out is missing."""
    if is_loopback(_plain(host)):
        return
    missing = [
        option for option, value in (("--admin-token", admin_token), ("--access-key", access_key), ("--secret-key", secret_key)) if not value
    ]
    if missing:
        raise UnsafeAddress(host=host or "every address", missing=" and ".join(missing))


def authorised(admin_token: str | None, *, authorization: str | None = None, cookie: str | None = None) -> bool:
    """Whether a bearer header or a cookie carries the admin token; without a token everybody is (only loopback starts so)."""
    if not admin_token:
        return True
    scheme, _, bearer = (authorization or "").partition(" ")
    shown = [bearer.strip()] if scheme.lower() == "bearer" else []
    if cookie is not None:
        shown.append(cookie)
    return any(hmac.compare_digest(_bytes(token), _bytes(admin_token)) for token in shown)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
