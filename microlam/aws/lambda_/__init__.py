"""The operations of AWS Lambda, by name; each module holds those of one thing."""
from __future__ import annotations

from microlam.aws.call import Answers
from microlam.aws.lambda_ import (
    account,
    aliases,
    code_signing,
    concurrency,
    event_invoke,
    functions,
    invoke,
    layer_permissions,
    layers,
    mappings,
    policies,
    runtime_settings,
    tags,
    urls,
    versions,
)

OPERATIONS: Answers = {
    **functions.OPERATIONS, **versions.OPERATIONS, **aliases.OPERATIONS, **concurrency.OPERATIONS, **invoke.OPERATIONS, **policies.OPERATIONS,
    **tags.OPERATIONS, **urls.OPERATIONS, **event_invoke.OPERATIONS, **mappings.OPERATIONS, **code_signing.OPERATIONS, **layers.OPERATIONS,
    **layer_permissions.OPERATIONS, **account.OPERATIONS, **runtime_settings.OPERATIONS,
}
