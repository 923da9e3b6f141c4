"""The operations of IAM, by name: roles and policies, which are kept and not enforced."""
from __future__ import annotations

from microlam.aws.call import Answers
from microlam.aws.iam import policies, roles

OPERATIONS: Answers = {**roles.OPERATIONS, **policies.OPERATIONS}
