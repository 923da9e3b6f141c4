"""The standalone server: all faces behind one port, from its start to a signal."""
from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
from math import inf
from pathlib import Path

from microlam import __version__
from microlam.app import Microlam
from microlam.connections import allow_many, low_level
from microlam.errors import PortTaken, SettingsError
from microlam.executors.workers.system import share_heap
from microlam.faces import Faces
from microlam.guard import may_start
from microlam.settings import Settings, url_of
from microlam.terminal import Terminal, stopping_line

# Seconds in which a second signal is the first one again: `timeout` signals its child, and then the group that the child is in.
SAME_SIGNAL = 0.1
# Seconds that clients have for what is still to be sent or read when no invocation runs any more.
REPLIES = 1.0


async def run(settings: Settings, folder: Path, terminal: Terminal) -> None:
    """Serve a folder until a signal ends it; raises SettingsError where it cannot start."""
    share_heap()
    allow_many()
    may_start(settings.host, settings.admin_token, settings.access_key, settings.secret_key)
    listening = listen(settings.host, settings.port)
    url = url_of(settings.host, listening.getsockname()[1])
    stopping = _stop_signals()
    try:
        lam = Microlam(folder, settings=settings, endpoint_url=url, say=terminal.warn)
        _forget_credentials(lam)
        async with lam:
            lam.invoker.ended.append(terminal.ended)
            await _serve(lam, listening, terminal, url, stopping)
    except* SettingsError as errors:
        raise errors.exceptions[0] from None
    finally:
        listening.close()


async def _serve(lam: Microlam, listening: socket.socket, terminal: Terminal, url: str, stopping: asyncio.Event) -> None:
    faces = Faces(lam, untouched=True)
    server = low_level(faces.serve)
    sockets = await asyncio.get_running_loop().create_server(server, sock=listening, backlog=1024)
    terminal.show_banner(
        lam.folder, url, lam.functions.all(), version=__version__, next_times=lam.schedules.next_times(), buckets=lam.buckets.places(),
        warnings=[*lam.functions.warnings, *_unknown_to_debug(lam)],
    )
    gc.freeze()     # what is there now stays: no collection need look at it again
    await stopping.wait()
    sockets.close()
    await asyncio.sleep(0)      # what has come already is begun
    faces.close()
    terminal.say(stopping_line(lam.invoker.unfinished(), lam.settings.drain))
    # On the connections that they have, handlers are still answered.
    in_time = await lam.drain(faces.finish())
    server.pre_shutdown()   # closes the idle ones
    await server.shutdown(REPLIES if in_time else 0.1)


def _unknown_to_debug(lam: Microlam) -> list[str]:
    """A warning where there is no function of the name that is to be debugged: there may be one later."""
    name, known = lam.settings.debug_function, [function.name for function in lam.functions.all()]
    if lam.settings.debug_port is None or name is None or name in known:
        return []
    return [f"--debug-function: there is no function {name} yet; there are: {', '.join(known) or 'none'}."]


def _forget_credentials(lam: Microlam) -> None:
    """Know of AWS, and of our settings, what handlers know: the programs and threads of one that runs within this process have its environment."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MICROLAM_")):
            del os.environ[name]
    os.environ.update(lam.client_variables)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises PortTaken, or SettingsError where the address is not this machine's."""
    # A name as bytes is taken as it is; the codec for others is a tenth of a megabyte.
    name = host.encode() if host.isascii() else host
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
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
            raise PortTaken(host=host, port=port, flag="--port") from None
        raise SettingsError(reason=f"Address {host}:{port} cannot be listened on: {error.strerror}. Choose others with --host and --port.") from None
    listening.setblocking(False)
    return listening


def _stop_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; the second ends the process at once."""
    loop, stopping, first = asyncio.get_running_loop(), asyncio.Event(), inf

    def stop(number: int) -> None:
        nonlocal first
        if loop.time() - first > SAME_SIGNAL:
            # The zygotes see our end of their sockets close, and kill every worker.
            os._exit(128 + number)
        first = min(first, loop.time())
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return stopping
