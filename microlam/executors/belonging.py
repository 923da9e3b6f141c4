"""Threads that a handler inside the host's process starts, and calls that it gives to a pool of them: the variables they see are its
invocation's, and so is what they print while it lasts.

A new thread has context variables of its own. While an executor that runs such handlers lives, the two that tell whose output and whose environment
variables it is pass on from an invocation; everybody else's threads are started as ever.
"""
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from microlam.executors import variables
from microlam.executors.capture import current

Result = TypeVar("Result")


class Belonging:
    """Stands in the way of starting threads while anyone runs handlers, and out of it else."""

    def __init__(self) -> None:
        self._holders = 0

    def enter(self) -> None:
        """Begin; `leave` as often."""
        self._holders += 1
        if self._holders == 1:
            self._hosts_start, self._hosts_submit = threading.Thread.start, ThreadPoolExecutor.submit
            self._start, self._submit = starting(self._hosts_start), submitting(self._hosts_submit)
            threading.Thread.start, ThreadPoolExecutor.submit = self._start, self._submit  # type: ignore[assignment,method-assign]

    def leave(self) -> None:
        """One that has entered runs handlers no more; after the last one, threads start as ever."""
        self._holders -= 1
        if self._holders:
            return
        # Where somebody else has come in between since, ours stay, and do nothing.
        if threading.Thread.start is self._start:
            threading.Thread.start = self._hosts_start  # type: ignore[method-assign]
        if ThreadPoolExecutor.submit is self._submit:
            ThreadPoolExecutor.submit = self._hosts_submit  # type: ignore[method-assign]


def starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """A Thread.start that lets a thread belong to who starts it."""
    def started(thread: threading.Thread) -> None:
        if current.get() is not None:
            own = theirs(thread.run)

            def run() -> None:
                vars(thread).pop("run", None)       # it would keep the thread from going before the next collection
                own()

            thread.run = run        # type: ignore[method-assign]
        start(thread)

    return started


def submitting(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    """A ThreadPoolExecutor.submit that lets a call belong to who makes it: its thread is there for others as well."""
    def submitted(pool: ThreadPoolExecutor, call: Callable[..., Any], /, *facts: Any, **named: Any) -> Future[Any]:
        if current.get() is None:
            return submit(pool, call, *facts, **named)
        call = theirs(call)
        token = current.set(None)       # a thread that the pool needs for it is nobody's
        try:
            return submit(pool, call, *facts, **named)
        finally:
            current.reset(token)

    return submitted


def theirs(call: Callable[..., Result]) -> Callable[..., Result]:
    """The call as the present invocation would make it, from whichever thread."""
    output, own = current.get(), variables.current.get()

    def made(*facts: Any, **named: Any) -> Result:
        token, seen = current.set(output), variables.current.set(own)
        try:
            return call(*facts, **named)
        finally:
            variables.current.reset(seen)
            current.reset(token)

    return made


belonging = Belonging()     # of the process: threads are, too
