"""An invocation as a command to copy: curl, boto3, aws. Pure functions of its record."""
from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from shlex import quote
from typing import Any

from microlam.store import Record

# What a client sets by itself, or a proxy in between.
_LEFT_OUT = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding", "user-agent", "accept")


def commands(record: Record, address: str) -> dict[str, str]:
    """By the name of the tool; curl repeats a request, or invokes where it was none."""
    event = _event(record)
    is_request = record.cause == "http" and bool(_part(_part(event, "requestContext"), "http"))
    return {
        "curl": _curl(event, address) if is_request else _curl_invoke(record, address),
        "boto3": _boto3(record, address), "aws": _aws(record, address), "microlam": f"microlam invoke {quote(_target(record))} -e event.json",
    }


def _event(record: Record) -> Mapping[str, Any]:
    try:
        event = json.loads(record.event)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _part(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within an event; an empty one where it is something else: a handler may have been given anything."""
    part = event.get(name)
    return part if isinstance(part, dict) else {}


def _target(record: Record) -> str:
    return f"{record.function}:{record.qualifier}" if record.qualifier else record.function


def _curl(event: Mapping[str, Any], address: str) -> str:
    http = _part(_part(event, "requestContext"), "http")
    url = address + str(http.get("path", event.get("rawPath", "/"))) + (f"?{event['rawQueryString']}" if event.get("rawQueryString") else "")
    method = str(http.get("method", "GET"))
    parts = ["curl", quote(url)] if method == "GET" else ["curl --head" if method == "HEAD" else f"curl -X {quote(method)}", quote(url)]
    headers = {name: value for name, value in _part(event, "headers").items() if name.lower() not in _LEFT_OUT and not name.lower().startswith("x-forwarded")}
    if isinstance(event.get("cookies"), list):
        headers["cookie"] = "; ".join(map(str, event["cookies"]))
    parts += [f"-H {quote(f'{name}: {value}')}" for name, value in headers.items()]
    body = str(event.get("body", ""))
    if body and event.get("isBase64Encoded"):
        return f"printf %s {quote(body)} | base64 -d | " + " ".join([*parts, "--data-binary @-"])
    return " ".join([*parts, *([f"--data-binary {quote(body)}"] if body else [])])


def _curl_invoke(record: Record, address: str) -> str:
    query = f"?Qualifier={record.qualifier}" if record.qualifier else ""
    return f"curl {quote(f'{address}/2015-03-31/functions/{record.function}/invocations{query}')} --data-binary {quote(_text(record))}"


def _boto3(record: Record, address: str) -> str:
    qualifier = f", Qualifier={record.qualifier!r}" if record.qualifier else ""
    context = f", ClientContext={base64.b64encode(record.client_context.encode()).decode()!r}" if record.client_context else ""
    return (
        "import boto3\n\n"
        f'client = boto3.client("lambda", endpoint_url={address!r}, region_name={record.arn.split(":")[3]!r},\n'
        f'                      aws_access_key_id={record.arn.split(":")[4]!r}, aws_secret_access_key="any")\n'
        f"reply = client.invoke(FunctionName={record.function!r}{qualifier}{context}, Payload={_text(record)!r})\n"
        'print(reply["Payload"].read())'
    )


def _aws(record: Record, address: str) -> str:
    qualifier = f" --qualifier {quote(record.qualifier)}" if record.qualifier else ""
    return (f"aws lambda invoke --endpoint-url {address} --function-name {quote(record.function)}{qualifier} "
            f"--cli-binary-format raw-in-base64-out --payload {quote(_text(record))} /dev/stdout")


def _text(record: Record) -> str:
    return record.event.decode(errors="replace") or "{}"
