"""What the store writes about invocations, as steps of named queries."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from microlam.model import Invocation, Outcome
from microlam.store import logs, rows
from microlam.store.database import Step
from microlam.store.rows import Running

Note: TypeAlias = tuple[Invocation, Outcome | Running]


class Changes:
    """Makes the steps of each change. It numbers the functions, since an ARN in every row would be most of the row.

    A number is given once and every change writes down the ones it uses, so one that was undone leaves nothing to repair.
    """

    def __init__(self, functions: Mapping[str, int]) -> None:
        self._numbers = dict(functions)

    def accept(self, invocations: Sequence[Invocation]) -> list[Step]:
        """Invocations that are to run later."""
        return [
            self._know(invocations),
            Step("accept_invocation", (rows.pending_row(invocation, self._number(invocation)) for invocation in invocations)),
            Step("keep_event", map(rows.event_row, invocations)),
        ]

    def end(self, ends: Sequence[tuple[Invocation, Outcome]]) -> list[Step]:
        """How invocations ended."""
        know = self._know([invocation for invocation, _ in ends])
        groups, streams = logs.noted([(self._number(invocation), outcome) for invocation, outcome in ends])
        return [
            know,
            Step("put_invocation", (
                (*rows.ended_row(invocation, self._number(invocation), outcome), *logs.logged_in(outcome)) for invocation, outcome in ends
            )),
            Step("put_payload", (rows.payload_row(invocation, outcome) for invocation, outcome in ends)),
            Step("note_log_group", groups),
            Step("note_log_stream", streams),
        ]

    def run(self, runs: Sequence[tuple[Invocation, Running]]) -> list[Step]:
        """That invocations run."""
        return [
            self._know([invocation for invocation, _ in runs]),
            Step("note_running", (rows.running_row(invocation, self._number(invocation), running) for invocation, running in runs)),
            Step("keep_event", (rows.event_row(invocation) for invocation, _ in runs)),
        ]

    def note(self, notes: Sequence[Note]) -> list[Step]:
        """What runs, then what ended: an end stands, in whatever order the two were noted."""
        runs = [(invocation, note) for invocation, note in notes if isinstance(note, Running)]
        ends = [(invocation, note) for invocation, note in notes if isinstance(note, Outcome)]
        return [*(self.run(runs) if runs else ()), *self.end(ends)]

    def _know(self, invocations: Iterable[Invocation]) -> Step:
        arns = {invocation.arn for invocation in invocations}
        for arn in arns - self._numbers.keys():
            self._numbers[arn] = len(self._numbers) + 1
        return Step("know_function", [(self._numbers[arn], arn) for arn in arns])

    def _number(self, invocation: Invocation) -> int:
        return self._numbers[invocation.arn]
