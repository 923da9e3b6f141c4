"""One function under a debugger: which it is, and what its worker is told. It has one worker at a time, because only one can have the port."""
from __future__ import annotations

from collections.abc import Callable

from microlam.errors import PortTaken
from microlam.executors.workers.debugging import is_free
from microlam.model import Version


class Debugging:
    """A debugger may attach to the worker of one function: of `function`, or of the first that runs."""

    def __init__(self, port: int, *, function: str | None = None, wait: bool = False, say: Callable[[str], None] = print) -> None:
        if not is_free(port):       # its worker would wait for it without end
            raise PortTaken(host="127.0.0.1", port=port, flag="--debug-port")
        self._port, self._function, self._wait, self._say = port, function, wait, say

    def wants(self, version: Version) -> bool:
        """Whether this is a version of the function."""
        if self._function is None:
            self._function = version.name
        return version.name == self._function

    def wish(self, version: Version, attached: str, *, ours: bool) -> dict[str, object]:
        """What its worker is told; it keeps the file `attached` there while a debugger is. `ours`: a worker before it may have the port still."""
        taken = "" if ours or is_free(self._port) else ", once nothing else uses that port"
        self._say(f"{version.name}: {'waits for a debugger' if self._wait else 'a debugger may attach'} at 127.0.0.1:{self._port}{taken}")
        return {"port": self._port, "wait": self._wait, "attached": attached}
