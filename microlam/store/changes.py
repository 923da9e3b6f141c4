"""What the store writes about invocations, as steps of named queries."""
from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from microlam.model import Invocation, Outcome
from microlam.store import logs, rows
from microlam.store.database import Row, Step
from microlam.store.rows import Running


class Note(NamedTuple):
    """What is to be written of one invocation, as rows: that it runs, or how it ended."""

    ended: bool
    row: Row
    payload: Row
    size: int       # bytes it holds in memory


class Changes:
    """Makes the steps of each change. It numbers the functions, since an ARN in every row would be most of the row.

    A number is given once and every change writes down the ones it uses, so one that was undone leaves nothing to repair.
    """

    def __init__(self, functions: Mapping[str, int]) -> None:
        self._numbers = dict(functions)
        self._arns = {number: arn for arn, number in functions.items()}
        self._numbering = threading.Lock()      # on the event loop's thread and on the writer's

    def accept(self, invocations: Sequence[Invocation]) -> list[Step]:
        """Invocations that are to run later."""
        pending = [rows.pending_row(invocation, self._number(invocation.arn)) for invocation in invocations]
        return [self._know(pending), Step("accept_invocation", pending), Step("keep_event", map(rows.event_row, invocations))]

    def ended(self, invocation: Invocation, outcome: Outcome) -> Note:
        """How an invocation ended."""
        row, payload = rows.ended_rows(invocation, self._number(invocation.arn), outcome)
        return Note(True, row, payload, len(invocation.payload) + len(outcome.payload) + len(outcome.logs))

    def runs(self, invocation: Invocation, running: Running) -> Note:
        """That an invocation runs."""
        return Note(False, rows.running_row(invocation, self._number(invocation.arn), running), rows.event_row(invocation), len(invocation.payload))

    def note(self, notes: Sequence[Note]) -> list[Step]:
        """What runs, then what ended: an end stands, in whatever order the two were noted."""
        ends = [note for note in notes if note.ended]
        runs = [note for note in notes if not note.ended]
        groups, streams = logs.noted([(note.row, note.payload) for note in ends])
        return [
            self._know([note.row for note in notes]),
            Step("note_running", [note.row for note in runs]), Step("keep_event", [note.payload for note in runs]),
            Step("put_invocation", [note.row for note in ends]), Step("put_payload", [note.payload for note in ends]),
            Step("note_log_group", groups), Step("note_log_stream", streams),
        ]

    def _know(self, rows: Iterable[Row]) -> Step:
        """Write down the numbers of these rows' functions."""
        return Step("know_function", [(number, self._arns[number]) for number in {row[2] for row in rows}])

    def _number(self, arn: str) -> int:
        number = self._numbers.get(arn)
        if number is None:
            with self._numbering:
                number = self._numbers.setdefault(arn, len(self._numbers) + 1)
                self._arns[number] = arn
        return number
