"""One function as it runs: its last good version, the files that version was made of, and whether they are still the same."""
from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from microlam.functions.discovery import Found
from microlam.model import Trigger, Version
from microlam.packages import Copy, Stamp, stamp_of

# A request looks at its handler's file every time, and at the rest of a small package at most so often.
LOOK_EVERY = 0.005
LOOK_AT_MOST = 64
KEEP_LAST = 3       # copies of good versions before this one


class Live:
    """What is known of one function; only the registry changes it."""

    def __init__(self, arn: str, found: Found, path: Path) -> None:
        self.arn = arn
        self.found = found
        self.path = str(path)                       # the handler's file
        self.root = path                            # the folder its package lies in
        self.triggers: tuple[Trigger, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.good: Version | None = None            # what requests run
        self.proven = False                         # a worker has imported it
        self.latest: Version | None = None          # what was last made of the files, whether it imports or not
        self.failure: Mapping[str, object] | None = None        # why `latest` does not import
        self.trouble: Mapping[str, object] | None = None        # why it could not be made: requirements, unreadable files
        self.files: Mapping[str, Stamp] = {}
        self.refreshing: asyncio.Task[None] | None = None
        self.recent: deque[Version] = deque(maxlen=KEEP_LAST)
        self._clean = False
        self._own: Stamp | None = None
        self._others: list[tuple[str, Stamp]] = []
        self._look_again = 0.0

    def mark(self) -> None:
        """Something has changed, or may have: look before the next request."""
        self._clean = False

    @property
    def marked(self) -> bool:
        return not self._clean

    def adopt(self, copy: Copy, root: Path) -> None:
        """Take the files of a copy for what lies in the folder, until one differs."""
        self.files = copy.files
        own = os.path.relpath(self.path, root)
        self._own = copy.files.get(own)
        others = [(str(root / path), stamp) for path, stamp in copy.files.items() if path != own]
        self._others = others if len(others) < LOOK_AT_MOST else []
        self._look_again = 0.0
        # Of files that changed within the last tick of the clock one cannot tell: look again at the next request.
        self._clean = copy.settled

    def unchanged(self) -> bool:
        """Whether the files are what they were, as far as can be told in a microsecond."""
        if not self._clean:
            return False
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        if (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino) != self._own:
            return False
        return time.monotonic() < self._look_again or self._others_unchanged()

    def _others_unchanged(self) -> bool:
        if any(stamp_of(path) != stamp for path, stamp in self._others):
            return False
        self._look_again = time.monotonic() + LOOK_EVERY
        return True

    @property
    def error(self) -> Mapping[str, object] | None:
        """Why the code in the folder does not run; None while it does."""
        return self.trouble or self.failure or self._syntax_error()

    def _syntax_error(self) -> Mapping[str, object] | None:
        """What importing the file would say, for a function that nobody has used since."""
        problem = self.found.reading.problem
        if problem is None or self.found.settings.runtime is not None:     # another Python may take it
            return None
        return {
            "errorType": "Runtime.UserCodeSyntaxError",
            "errorMessage": f"Syntax error in module '{self.found.module}': {problem.message}",
            "stackTrace": [f'  File "{self.path}" Line {problem.line}\n    {problem.text.strip()}\n'],
        }
