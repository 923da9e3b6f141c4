"""The event with a notification of a topic."""
from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime


def sns_event(
    *, id: str, message: str, topic_arn: str, subscription_arn: str, time: datetime, subject: str | None = None,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, object]:
    """What a handler gets: always one notification. Nothing is signed here, so the signature is of no use."""
    host = f"https://sns.{topic_arn.split(':')[3]}.amazonaws.com"
    return {"Records": [{
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription_arn,
        "Sns": {
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": topic_arn,
            "Subject": subject,
            "Message": message,
            "Timestamp": time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "SignatureVersion": "1",
            "Signature": "EXAMPLE",
            "SigningCertUrl": f"{host}/SimpleNotificationService.pem",
            "UnsubscribeUrl": f"{host}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}",
            "MessageAttributes": {name: dict(said) for name, said in (attributes or {}).items()},
        },
    }]}
