"""Policy documents: whether IAM would take one, and if not, why, in its words. Nothing is enforced here."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from microlam.errors import MalformedPolicy

VERSIONS = ("2012-10-17", "2008-10-17")
_ACTION = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+")
_TRUST_ACTIONS = re.compile(r"\*|sts:.*", re.IGNORECASE)


def check_policy(document: str) -> None:
    """Raise MalformedPolicy unless the document can be a role's or a managed policy."""
    for statement in _statements(document, not_json="The policy is not in the valid JSON format."):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise MalformedPolicy(reason="Policy document should not specify a principal.")
        actions = _texts(statement, "Action", "NotAction")
        if not actions:
            raise MalformedPolicy(reason="Policy statement must contain actions.")
        resources = _texts(statement, "Resource", "NotResource")
        if not resources:
            raise MalformedPolicy(reason="Policy statement must contain resources.")
        if not all(_ACTION.fullmatch(action) for action in actions):
            raise MalformedPolicy(reason="Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
        for resource in resources:
            if resource != "*" and not resource.startswith("arn:"):
                raise MalformedPolicy(reason=f'Resource {resource} must be in ARN format or "*".')


def check_trust(document: str) -> None:
    """Raise MalformedPolicy unless the document can say who may assume a role."""
    for statement in _statements(document, not_json="This policy contains invalid Json"):
        for prohibited in ("Resource", "NotResource"):
            if prohibited in statement:
                raise MalformedPolicy(reason=f"Has prohibited field {prohibited}")
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise MalformedPolicy(reason="Missing required field Principal")
        actions = _texts(statement, "Action", "NotAction")
        if not actions:
            raise MalformedPolicy(reason="Missing required field Action")
        if not all(_TRUST_ACTIONS.fullmatch(action) for action in actions):
            raise MalformedPolicy(reason="AssumeRole policy may only specify STS AssumeRole actions.")


def _statements(document: str, *, not_json: str) -> Iterator[Mapping[str, object]]:
    try:
        policy = json.loads(document)
    except (ValueError, RecursionError):
        raise MalformedPolicy(reason=not_json) from None
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements or policy.get("Version", VERSIONS[1]) not in VERSIONS:
        raise MalformedPolicy(reason="Syntax errors in policy.")
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            raise MalformedPolicy(reason="Syntax errors in policy.")
        yield statement


def _texts(statement: Mapping[str, object], *names: str) -> list[str]:
    """What a statement names under one of these, alone or in a list."""
    value = next((statement[name] for name in names if name in statement), [])
    said = value if isinstance(value, list) else [value]
    texts = [text for text in said if isinstance(text, str)]
    if len(texts) != len(said):
        raise MalformedPolicy(reason="Syntax errors in policy.")
    return texts
