"""What the store writes about invocations, as steps of named queries."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from microlam.model import Invocation, Outcome
from microlam.store import logs, rows
from microlam.store.database import Row, Step
from microlam.store.rows import Running

# That an invocation runs, or how it ended. Rows are made of them later, of many at once: for each by itself that would take as long as to run it.
Note: TypeAlias = tuple[Invocation, Outcome | Running]


class Changes:
    """Makes the steps of each change. It numbers the functions, since an ARN in every row would be most of the row.

    A number is given once and every change writes down the ones it uses, so one that was undone leaves nothing to repair.
    """

    def __init__(self, functions: Mapping[str, int]) -> None:
        self._numbers = dict(functions)
        self._arns = {number: arn for arn, number in functions.items()}

    def accept(self, invocations: Sequence[Invocation]) -> list[Step]:
        """Invocations that are to run later."""
        pending = [rows.pending_row(invocation, self._number(invocation.arn)) for invocation in invocations]
        return [self._know(pending), Step("accept_invocation", pending), Step("keep_event", map(rows.event_row, invocations))]

    def note(self, notes: Sequence[Note]) -> list[Step]:
        """What runs, then what ended: an end stands, in whatever order the two were noted."""
        runs = [(invocation, end) for invocation, end in notes if isinstance(end, Running)]
        ends = [rows.ended_rows(invocation, self._number(invocation.arn), end) for invocation, end in notes if isinstance(end, Outcome)]
        running = [rows.running_row(invocation, self._number(invocation.arn), run) for invocation, run in runs]
        groups, streams = logs.noted(ends)
        return [
            self._know([*running, *(row for row, _ in ends)]),
            Step("note_running", running), Step("keep_event", [rows.event_row(invocation) for invocation, _ in runs]),
            Step("put_invocation", [row for row, _ in ends]), Step("put_payload", [payload for _, payload in ends]),
            Step("note_log_group", groups), Step("note_log_stream", streams),
        ]

    def _know(self, rows: Iterable[Row]) -> Step:
        """Write down the numbers of these rows' functions."""
        return Step("know_function", [(number, self._arns[number]) for number in {row[2] for row in rows}])

    def _number(self, arn: str) -> int:
        number = self._numbers.get(arn)
        if number is None:
            number = self._numbers[arn] = len(self._numbers) + 1
            self._arns[number] = arn
        return number
