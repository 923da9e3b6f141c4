"""The guard: which requests may touch the admin and the wire, by value and over a real connection."""
from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from microlam.errors import Refused, UnsafeAddress
from microlam.guard import Asked, Guard, authorised, may_start

HOME = "localhost:3000"


def refused(guard: Guard, *hosts: str, origins: tuple[str, ...] = (), arrived_at: str = "") -> bool:
    return guard.refusal(Asked(hosts=hosts, origins=origins, arrived_at=arrived_at)) is not None


# ---- Host ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("host", [
    "localhost", "localhost:3000", "LOCALHOST:3000", "localhost.", "shop.localhost:3000", "a.b.localhost", "127.0.0.1", "127.0.0.1:80",
    "127.9.8.7:3000", "[::1]", "[::1]:3000", "[0:0:0:0:0:0:0:1]:3000", "[::ffff:127.0.0.1]:3000",
])
def test_loopback_names_are_welcome(host: str) -> None:
    assert not refused(Guard(), host)


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:3000", "localhost.evil.example", "notlocalhost", "127.0.0.1.evil.example", "127.evil.example", "192.168.1.5:3000",
    "[::2]:3000", "localhost@evil.example", "evil.example@localhost", "user:x@localhost:3000", "localhost:3000@evil.example",
    "localhost/evil.example", "localhost:", "localhost:x", "::1", "[::1", "::1]", "[::1%25lo]", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
    "127.0.0.01", "0.0.0.0", "[::]", "", " ", "localhost localhost", "localhost,evil.example", "localhost\x00", "localhost..", "ⓛocalhost",
    "[::ffff:10.0.0.1]",
])
def test_every_other_host_is_refused(host: str) -> None:
    assert refused(Guard(), host)


def test_a_request_says_its_host_once() -> None:
    assert refused(Guard())
    assert refused(Guard(), HOME, HOME)
    assert refused(Guard(), HOME, "evil.example")


def test_the_bind_address_and_allowed_hosts_are_welcome() -> None:
    guard = Guard(bind="192.168.1.5", allowed_hosts=["dev.example.com", "proxy.example:8080", "FE80::1"])
    assert not refused(guard, "[fe80::1]:3000")
    assert not refused(guard, "192.168.1.5:3000")
    assert not refused(guard, "Dev.Example.com.")
    assert not refused(guard, "proxy.example")
    assert refused(guard, "sub.dev.example.com")
    assert refused(guard, "192.168.1.6:3000")
    assert not refused(Guard(bind="fd00::1"), "[FD00:0:0::1]:3000")


def test_bound_everywhere_the_address_the_request_came_in_on_is_welcome() -> None:
    guard = Guard(bind="0.0.0.0")
    assert not refused(guard, "192.168.1.5:3000", arrived_at="192.168.1.5")
    assert not refused(Guard(bind="::"), "192.168.1.5:3000", arrived_at="::ffff:192.168.1.5")
    assert refused(guard, "192.168.1.6:3000", arrived_at="192.168.1.5")
    assert refused(guard, "evil.example:3000", arrived_at="192.168.1.5")
    assert refused(Guard(bind="127.0.0.1"), "192.168.1.5:3000", arrived_at="192.168.1.5")


# ---- Origin ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("host", "origin"), [
    (HOME, "http://localhost:3000"), (HOME, "https://LOCALHOST:3000"), ("localhost", "http://localhost"), ("localhost:443", "https://localhost"),
    ("localhost", "http://localhost:80"), ("[::1]:3000", "http://[::1]:3000"),
])
def test_the_servers_own_pages_are_welcome(host: str, origin: str) -> None:
    assert not refused(Guard(), host, origins=(origin,))


@pytest.mark.parametrize("origin", [
    "null", "", "http://evil.example", "http://localhost:8080", "http://localhost", "http://127.0.0.1:3000", "http://x.localhost:3000", "file://",
    "localhost:3000", "http://evil@localhost:3000", "http://localhost:3000/x", "http://localhost:99999", "chrome-extension://localhost:3000",
    "http://localhost:3000 http://evil.example", "http://[::1", "http://",
])
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    assert refused(Guard(), HOME, origins=(origin,))
    assert refused(Guard(), HOME, origins=("http://localhost:3000", origin))


# ---- Sec-Fetch -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("method", "mode", "destination", "page", "welcome"), [
    ("GET", "navigate", "document", True, True),
    ("GET", "navigate", "", True, True),
    ("GET", "navigate", "document", False, False),
    ("GET", "navigate", "iframe", True, False),
    ("GET", "no-cors", "image", True, False),
    ("GET", "cors", "empty", True, False),
    ("GET", "", "", True, False),
    ("POST", "navigate", "document", True, False),
])
def test_from_another_site_only_a_link_to_a_page_may_be_followed(method: str, mode: str, destination: str, page: bool, welcome: bool) -> None:
    asked = Asked(method=method, hosts=[HOME], fetch_site="cross-site", fetch_mode=mode, fetch_destination=destination, page=page)
    assert (Guard().refusal(asked) is None) is welcome


@pytest.mark.parametrize("site", ["same-origin", "none", ""])
def test_other_fetch_sites_are_welcome(site: str) -> None:
    assert Guard().refusal(Asked(method="POST", hosts=[HOME], fetch_site=site, fetch_mode="cors")) is None


# ---- over a connection -----------------------------------------------------------------------------------------------

async def test_the_guard_reads_a_real_request() -> None:
    """Given a guarded server, when requests with odd headers arrive, then each gets its verdict."""
    guard = Guard(bind="0.0.0.0")

    async def serve(request: web.BaseRequest) -> web.Response:
        try:
            guard.admit(request, page=True)
        except Refused as refusal:
            return web.Response(status=refusal.status, text=str(refusal))
        return web.Response(text="welcome")

    server = await asyncio.get_running_loop().create_server(web.Server(serve), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def status(head: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return int(line.split()[1])

    async with server:
        assert await status(f"GET / HTTP/1.1\nHost: 127.0.0.1:{port}") == 200
        assert await status("GET / HTTP/1.0") == 403
        assert await status("GET / HTTP/1.1\nHost: evil.example") == 403
        assert await status("GET / HTTP/1.1\nHost: localhost\nHost: evil.example") in (400, 403)
        assert await status("GET http://localhost/ HTTP/1.1\nHost: evil.example") == 403
        assert await status("POST / HTTP/1.1\nHost: localhost\nOrigin: null\nContent-Length: 0") == 403
        assert await status("GET / HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate") == 200
        assert await status("GET / HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors") == 403


# ---- starting, tokens ------------------------------------------------------------------------------------------------

def reason_not_to_start(host: str, *keys: str | None) -> str:
    try:
        may_start(host, *keys)
    except UnsafeAddress as unsafe:
        return str(unsafe)
    return ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3"])
def test_on_loopback_the_server_starts_without_keys(host: str) -> None:
    assert reason_not_to_start(host, None, None, None) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", socket.gethostname() + ".example"])
def test_elsewhere_it_starts_only_with_token_and_keys(host: str) -> None:
    assert reason_not_to_start(host, "token", "key", "secret") == ""
    assert "--admin-token and --access-key and --secret-key" in reason_not_to_start(host, None, None, None)
    assert "Set --secret-key," in reason_not_to_start(host, "token", "key", "")


def test_the_admin_token_opens_as_bearer_or_cookie() -> None:
    assert authorised(None)
    assert authorised("tökén", authorization="Bearer tökén")
    assert authorised("token", authorization="bearer  token ")
    assert authorised("token", cookie="token")
    assert authorised("token", authorization="Basic x", cookie="token")
    assert not authorised("token")
    assert not authorised("token", authorization="Bearer toke", cookie="")
    assert not authorised("token", authorization="Basic token")
    assert not authorised("token", authorization="Bearer \udcff")
