"""The Scheduled Event that EventBridge sends when a rule with a schedule is due."""
from __future__ import annotations

from datetime import UTC, datetime

from microlam.model import account_of, region_of


def rule_arn(function_arn: str, number: int) -> str:
    """The ARN of a function's nth schedule: `…:rule/nightly-1`."""
    name = function_arn.rpartition(":")[2]
    return f"arn:aws:events:{region_of(function_arn)}:{account_of(function_arn)}:rule/{name}-{number}"


def scheduled_event(rule_arn: str, time: datetime, id: str, region: str, account: str) -> dict[str, object]:
    """What a handler gets; `time` is when the schedule was due, to the second, whenever it runs."""
    return {
        "version": "0",
        "id": id,
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account,
        "time": f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [rule_arn],
        "detail": {},
    }
