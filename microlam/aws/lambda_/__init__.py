"""The operations of AWS Lambda, by name; each module holds those of one thing."""
from __future__ import annotations

from microlam.aws.call import Answers
from microlam.aws.lambda_ import invoke

OPERATIONS: Answers = {**invoke.OPERATIONS}
