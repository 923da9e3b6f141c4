"""Logs structured JSON: one object a line, which people can read and programs can search.

    curl http://127.0.0.1:3000/audit --json '{"user": "ada", "action": "login"}'
    microlam logs audit --tail
"""
import base64
import json


def handler(event, context):
    entry = json.loads(body_of(event) or "{}")
    log(context, "INFO", "audit entry", entry=entry)
    if entry.get("action") == "delete":
        log(context, "WARNING", "something was deleted", user=entry.get("user", "unknown"))
    return {"recorded": context.aws_request_id}


def body_of(event):
    # Only types that are text come as they are. A form, which is what `curl -d` calls all it sends, is base64, here as on AWS.
    body = event.get("body") or ""
    return base64.b64decode(body).decode() if event.get("isBase64Encoded") else body


def log(context, level, message, **facts):
    print(json.dumps({"level": level, "message": message, "requestId": context.aws_request_id, **facts}))
