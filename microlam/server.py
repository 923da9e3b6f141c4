"""The standalone server: faces behind one port, from its start to a signal.

A request falls straight through: the admin's paths, then the AWS wire, then the folder's routes.
"""
from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from microlam import __version__
from microlam.admin import Admin
from microlam.app import Microlam
from microlam.aws import Wire
from microlam.aws.call import Parts
from microlam.aws.downloads import Downloads
from microlam.errors import FolderMissing, PortTaken, SettingsError
from microlam.gateway import Gateway
from microlam.guard import Guard, may_start
from microlam.settings import Settings, url_of
from microlam.terminal import Terminal


class Server:
    """The standalone server: one coroutine for every request, under aiohttp's low-level server."""

    def __init__(self, lam: Microlam) -> None:
        settings = lam.settings
        guard = Guard(bind=settings.host, allowed_hosts=settings.allowed_host)
        self.admin = Admin(lam, guard=guard)
        self.wire = Wire(
            _parts(lam), region=settings.region, account=settings.account, guard=guard, credentials=lam.credentials,
            keys=(settings.access_key, settings.secret_key) if settings.access_key and settings.secret_key else None, say=lam.say,
        )
        self.gateway = Gateway(lam.functions, lam.triggers, lam.invoker, error_page=self.admin.error_page, clock=lam.clock)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, to the face that it is for."""
        if self.admin.wants(request):
            return await self.admin.serve(request)
        if self.wire.wants(request):
            return await self.wire.serve(request)
        return await self.gateway.serve(request)


def _parts(lam: Microlam) -> Parts:
    """What the AWS API may use."""
    return Parts(
        functions=lam.functions, invoker=lam.invoker, store=lam.store, buckets=lam.buckets, layers=lam.layers, attached=lam.attached,
        downloads=Downloads(lam.settings.data), policies=lam.policies, roles=lam.roles, sessions=lam.sessions, logs=lam.logs,
    )


async def run(settings: Settings, folder: Path, terminal: Terminal) -> None:
    """Serve a folder until a signal ends it; raises SettingsError where it cannot start."""
    if not folder.is_dir():
        raise FolderMissing(folder=folder)
    may_start(settings.host, settings.admin_token, settings.access_key, settings.secret_key)
    listening = listen(settings.host, settings.port)
    url = url_of(settings.host, listening.getsockname()[1])
    stopping = _stop_signals()
    try:
        async with Microlam(folder, settings, endpoint_url=url, say=terminal.warn) as lam:
            lam.invoker.ended.append(terminal.ended)
            await _serve(lam, Server(lam), listening, terminal, url, stopping)
    except* SettingsError as errors:
        raise errors.exceptions[0] from None
    finally:
        listening.close()


async def _serve(lam: Microlam, server: Server, listening: socket.socket, terminal: Terminal, url: str, stopping: asyncio.Event) -> None:
    # Bodies pass to the handlers as they came, and a client refused for its body is not waited for long.
    low_level = web.Server(server.serve, access_log=None, auto_decompress=False, lingering_time=2.0, max_line_size=16_384, max_field_size=16_384)
    sockets = await asyncio.get_running_loop().create_server(low_level, sock=listening, backlog=1024)
    terminal.show_banner(
        lam.folder, url, lam.functions.all(), version=__version__, next_times=lam.schedules.next_times(), buckets=lam.buckets.places(),
        warnings=lam.functions.warnings,
    )
    await stopping.wait()
    sockets.close()
    server.admin.close()
    lam.invoker.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(lam.settings.drain):
            await lam.invoker.idle()
    await low_level.shutdown(0.1)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises PortTaken, or SettingsError where the address is not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(reason=f"Address {host} cannot be listened on: {error.strerror or error}. Choose another with --host.") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host=host, port=port) from None
        raise SettingsError(reason=f"Address {host}:{port} cannot be listened on: {error.strerror}. Choose others with --host and --port.") from None
    listening.setblocking(False)
    return listening


def _stop_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; the second ends the process at once."""
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        if stopping.is_set():
            # The zygotes see our end of their sockets close, and kill every worker.
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopping
