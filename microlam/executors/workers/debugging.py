"""A worker that a debugger may attach to: debugpy listens in it, and a file tells the server while somebody is there."""
from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:       # importing typing would cost every worker memory
    from typing import Any

LOOK_EVERY = 0.05
PORT_EVERY = 0.1        # the worker before this one lets go of the port when it is done: it may stand at a breakpoint


def listen(wish: dict[str, Any], context: type) -> type:
    """Let a debugger attach; gives the class of contexts whose time stands still while one is there."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")     # else it complains of modules that are part of the interpreter
    import debugpy

    while not is_free(wish["port"]):
        time.sleep(PORT_EVERY)
    debugpy.listen(("127.0.0.1", wish["port"]))
    running: list[Any] = []

    class Context(context):     # type: ignore[misc]  # the class is the function's own
        def __init__(self, *facts: Any) -> None:
            super().__init__(*facts)
            running[:] = [self]

    watcher = threading.Thread(target=watch, args=(debugpy.is_client_connected, wish["attached"], running), daemon=True)
    # So pydevd calls threads that go on while all others are stopped.
    watcher.is_pydev_daemon_thread = watcher.pydev_do_not_trace = True  # type: ignore[attr-defined]
    watcher.start()
    if wish["wait"]:
        debugpy.wait_for_client()
    return Context


def watch(is_attached: Any, file: str, running: list[Any]) -> None:
    """Keep the file there while a debugger is, and meanwhile the time of the running invocation from passing."""
    told, looked = False, time.monotonic()
    while True:
        attached, now = is_attached(), time.monotonic()
        if attached and not told:
            open(file, "w").close()
        elif told and not attached:
            with suppress(OSError):
                os.unlink(file)
        if attached:
            for context in running:
                context._deadline += now - looked
        told, looked = attached, now
        time.sleep(LOOK_EVERY)


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
