"""Logs structured JSON: one object a line, which people can read and programs can search.

    curl http://127.0.0.1:3000/audit --json '{"user": "ada", "action": "login"}'
    microlam logs audit --tail
"""
import json


def handler(event, context):
    entry = json.loads(event.get("body") or "{}")
    log(context, "INFO", "audit entry", entry=entry)
    if entry.get("action") == "delete":
        log(context, "WARNING", "something was deleted", user=entry.get("user", "unknown"))
    return {"recorded": context.aws_request_id}


def log(context, level, message, **facts):
    print(json.dumps({"level": level, "message": message, "requestId": context.aws_request_id, **facts}))
