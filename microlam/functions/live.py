"""One function as it runs: its last good version, the files that version was made of, and whether they are still the same."""
from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from enum import Enum

from microlam.functions.looking import Plan
from microlam.model import Outcome, Trigger, Version
from microlam.packages import Copy, Stamp, stamp_of

# A request looks at its handler's file, at the folder it lies in (where files come and go) and at a few others every time (a microsecond each),
# at the rest of a small package and at the configuration at most so often. What it does not look at, the watcher tells.
LOOK_EVERY = 0.002
LOOK_ALWAYS = 8
LOOK_AT_MOST = 64
KEEP_LAST = 3       # copies of good versions before this one


class Step(Enum):
    """What becomes of the version that the files make now."""

    SERVE = "serves"            # nothing did: the first request's own worker imports it, so that a cold start is one fork
    KEEP = "changes nothing"    # saved without a change, or still as broken as it was, or just being imported
    GO_BACK = "the good one"    # whatever else was tried is given up
    IMPORT = "is imported"      # and serves once it has been


def what_now(key: str, good: str | None, latest: str | None, *, missing: bool, broken: bool, bare: bool) -> Step:
    """The step for a version by its key, those of the one that serves and of the one made before it.

    `missing`: what it requires could not be installed; `broken`: the one that serves does not import; `bare`: that one runs without what it requires.
    """
    if good is None:
        return Step.SERVE
    if missing and not (broken or bare):        # only who never had what it requires runs without
        return Step.GO_BACK
    if key == latest:
        return Step.KEEP
    return Step.GO_BACK if key == good else Step.IMPORT


class Live:
    """What is known of one function; only the registry changes it."""

    def __init__(self, arn: str, plan: Plan) -> None:
        self.arn = arn
        self.plan = plan
        self.triggers: tuple[Trigger, ...] = ()
        self.warnings: tuple[str, ...] = ()                     # those that come from other functions
        self.good: Version | None = None                        # what requests run
        self.broken: Mapping[str, object] | None = None         # why even that does not import
        self.latest: Version | None = None                      # what was last made of the files
        self.failure: Mapping[str, object] | None = None        # why it does not import
        self.trouble: Mapping[str, object] | None = None        # why it could not be made as it should
        self.told = ""                                          # the error that was last said aloud
        self.bare = False                                       # the good one runs without what it requires, which could not be installed
        self.recent: deque[Version] = deque(maxlen=KEEP_LAST)
        self.importing: asyncio.Task[Outcome | None] | None = None      # of the latest, before it may serve
        self.tried: list[Version] = []                          # those whose import was begun before they might serve
        self.refreshing: asyncio.Task[None] | None = None
        self.files: Mapping[str, Stamp] = {}
        self.marks = 0                                          # how often something was seen to have changed
        self._clean = False
        self._always: list[tuple[str, Stamp | None]] = []
        self._sometimes: list[tuple[str, Stamp | None]] = []
        self._look_again = 0.0
        self._looked = False                                    # in this turn of the event loop

    def mark(self) -> None:
        """Something has changed: look before the next request."""
        self.marks += 1
        self._clean = False

    @property
    def marked(self) -> bool:
        return not self._clean

    def adopt(self, plan: Plan, copy: Copy, beside: Mapping[str, Stamp | None], marks: int) -> None:
        """Take the files of a copy, and those `beside` the code, for what there is, until one differs; `marks` were seen when it was made."""
        root = str(plan.root)
        own = [(str(plan.path), copy.files.get(plan.own)), (root, copy.folders.get(root))]
        others: list[tuple[str, Stamp | None]] = [(str(plan.root / path), stamp) for path, stamp in copy.files.items() if path != plan.own]
        others += [(path, stamp) for path, stamp in copy.folders.items() if path != root]
        self._always = [*own, *others] if len(others) <= LOOK_ALWAYS else own
        self._sometimes = [*beside.items(), *(others if LOOK_ALWAYS < len(others) <= LOOK_AT_MOST else [])]
        self._look_again = 0.0
        # Of files that changed within the last tick of the clock one cannot tell: look again at the next request.
        self._clean = copy.settled and self.marks == marks

    def unchanged_this_turn(self) -> bool:
        """The same as `unchanged`, looked once in each turn of the event loop: all that came by a socket and is served in it had come before."""
        if not (self._looked and self._clean):
            if not self.unchanged():
                return False
            self._looked = True
            asyncio.get_running_loop().call_soon(self._turn)
        return True

    def _turn(self) -> None:
        self._looked = False

    def unchanged(self) -> bool:
        """Whether the files are what they were, as far as a few microseconds tell."""
        if not self._clean:
            return False
        try:
            for path, stamp in self._always:
                status = os.stat(path)
                if (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino) != stamp:
                    return False
        except OSError:
            return False
        return time.monotonic() < self._look_again or self._rest_unchanged()

    def _rest_unchanged(self) -> bool:
        if any(stamp_of(path) != stamp for path, stamp in self._sometimes):
            return False
        self._look_again = time.monotonic() + LOOK_EVERY
        return True

    def stop_importing(self) -> None:
        """What is being imported is no longer what the files hold."""
        if self.importing is not None:
            self.go_back()

    def go_back(self) -> None:
        """The good version is the latest again, whatever else is being imported."""
        if self.importing is not None:
            self.importing.cancel()
        self.importing, self.latest, self.failure = None, self.good, self.broken

    def forget_tried(self) -> list[Version]:
        """Those that were tried and are of no use any more."""
        useful = self.versions()
        over = [version for version in self.tried if version not in useful]
        self.tried = [version for version in self.tried if version in useful]
        return over

    def versions(self) -> list[Version]:
        """Those whose copies are still of use."""
        return [version for version in (self.good, self.latest, *self.recent) if version is not None]

    @property
    def error(self) -> Mapping[str, object] | None:
        """Why the code in the folder does not run; None while it does."""
        return self.trouble or self.failure or self.plan.syntax_error
