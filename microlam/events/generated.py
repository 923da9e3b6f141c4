"""The event that a trigger would bring, made up, to try its function with."""
from __future__ import annotations

import re
from datetime import datetime

from microlam.events.http import HttpFacts, v2_event
from microlam.events.s3 import PUT, s3_event
from microlam.events.schedule import rule_arn, scheduled_event
from microlam.model import Drop, Route, Schedule, Trigger, account_of, new_id, region_of, split_arn
from microlam.routes import Match

_PARAMETER = re.compile(r"\{([^}+]+)\+?\}")


def event_for(trigger: Trigger, now: datetime) -> dict[str, object]:
    """What the function of this trigger would get."""
    arn, qualifier = split_arn(trigger.target)
    match trigger.when:
        case Route() as route:
            return _request(trigger, route, arn, qualifier, now)
        case Schedule():
            return scheduled_event(rule_arn(arn, 1), now, new_id(), region_of(arn), account_of(arn))
        case Drop() as drop:
            return s3_event(
                bucket=drop.bucket, key=f"{drop.prefix}example{drop.suffix}", name=PUT, time=now, sequencer="0" * 17 + "1", request_id=new_id(),
                region=region_of(arn), account=account_of(arn), configuration_id=trigger.id, size=1024, etag="0" * 32,
            )


def _request(trigger: Trigger, route: Route, arn: str, qualifier: str | None, now: datetime) -> dict[str, object]:
    """A request to a route, each parameter of its path filled with its own name."""
    path = "/" if route.path == "$default" else _PARAMETER.sub(r"\1", route.path)
    method = "GET" if route.method == "ANY" else route.method
    has_body = method in ("POST", "PUT", "PATCH")
    facts = HttpFacts(
        method=method, path=path, query="", host="127.0.0.1:3000", source_ip="127.0.0.1", protocol="HTTP/1.1", time=now, request_id=new_id(),
        headers=[("accept", "*/*"), *([("content-type", "application/json")] if has_body else [])], body=b"{}" if has_body else b"",
    )
    parameters = {name: name for name in _PARAMETER.findall(route.path)}
    return v2_event(facts, Match(trigger=trigger, arn=arn, qualifier=qualifier, route_key=str(route), path_parameters=parameters or None))
