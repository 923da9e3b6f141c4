"""A running server as the command line sees it: Invoke over the AWS API, and the admin's JSON."""
from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from microlam import __version__
from microlam.errors import CallFailed
from microlam.guard import is_loopback
from microlam.model import DEFAULT_REGION

# A function may run 15 minutes; the rest answers at once.
INVOKE_DEADLINE = 930.0
ADMIN_DEADLINE = 30.0

NO_ROUTE = "Not Found"      # all that a server says where it has nothing; the admin has a sentence


@dataclass(frozen=True)
class Answer:
    """What the server said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Server:
    """One running server."""

    def __init__(self, endpoint: str, *, admin_token: str | None = None) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._admin_token = admin_token
        host = _host_of(endpoint)
        self._origin = "/".join(self.endpoint.split("/")[:3])
        # A proxy for the world outside does not reach this machine's loopback.
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_loopback(host) else []))

    def invoke(self, name: str, payload: bytes, *, qualifier: str | None = None, invocation_type: str = "RequestResponse") -> Answer:
        """Invoke a function; raises CallFailed where AWS would answer with an error, not where the handler fails."""
        path = f"/2015-03-31/functions/{_quoted(name)}/invocations"
        if qualifier:
            path += "?" + urllib.parse.urlencode({"Qualifier": qualifier})
        headers = {"X-Amz-Invocation-Type": invocation_type, "X-Amz-Log-Type": "Tail", "Content-Type": "application/json"}
        return self._send("POST", path, payload, self._signed("POST", path, headers, payload), INVOKE_DEADLINE)

    def functions(self) -> list[dict[str, object]]:
        """Every function with what leads to it."""
        return _objects(self._admin("GET", "functions.json"), "functions")

    def invocations(self, function: str) -> Iterator[list[dict[str, object]]]:
        """A function's invocations, newest first, a page at a time, fetched as far as one reads."""
        query = {"function": function, "limit": "100"}
        while True:
            page = self._admin("GET", "invocations.json?" + urllib.parse.urlencode(query))
            yield _objects(page, "invocations")
            if not page.get("next"):
                return
            query["cursor"] = str(page["next"])

    def invocation(self, id: str, attempt: int) -> dict[str, object]:
        """One invocation, with its event, its reply or error, and its logs."""
        return self._admin("GET", f"invocations/{_quoted(id)}.json?attempt={attempt}")

    def fire(self, name: str, *, time: str | None, schedule: int | None) -> dict[str, object]:
        """Fire a schedule by hand."""
        return self._post(f"functions/{_quoted(name)}/fire", {"time": time, "schedule": schedule})

    def publish(self, name: str, description: str | None) -> dict[str, object]:
        """Number what a function is now."""
        return self._post(f"functions/{_quoted(name)}/publish", {"description": description})

    def put_alias(self, name: str, alias: str, *, number: str | None, other: str | None, weight: float | None) -> dict[str, object]:
        """Create or move an alias; `other` gets the share `weight` of it."""
        percent = None if weight is None else round(100 * weight, 9)
        return self._post(f"functions/{_quoted(name)}/aliases", {"alias": alias, "number": number, "other": other, "weight": percent})

    def move_alias(self, name: str, alias: str, how: str) -> dict[str, object]:
        """`promote` or `rollback` an alias."""
        return self._post(f"functions/{_quoted(name)}/aliases/{_quoted(alias)}/{how}", {})

    def _post(self, path: str, wish: Mapping[str, object]) -> dict[str, object]:
        """Have something done; what is None is not said."""
        return self._admin("POST", path, json.dumps({key: value for key, value in wish.items() if value is not None}).encode())

    def _admin(self, method: str, path: str, body: bytes | None = None) -> dict[str, object]:
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": f"microlam/{__version__}"}
        if self._admin_token:
            headers["Authorization"] = f"Bearer {self._admin_token}"
        answer = self._send(method, "/_microlam/" + path, body, headers, ADMIN_DEADLINE)
        try:
            value = json.loads(answer.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise CallFailed(reason=f"What answers at {self.endpoint} is not a microlam server. Name one with --endpoint-url.")
        return value

    def _signed(self, method: str, path: str, headers: dict[str, str], payload: bytes) -> Mapping[str, str]:
        access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not access_key or not secret_key:
            return headers
        from microlam.aws.signature import sign
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
        return sign(method, self.endpoint + path, headers, payload, access_key=access_key, secret_key=secret_key, region=region, service="lambda")

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float) -> Answer:
        """The server's answer; raises CallFailed where it is an error."""
        answer = self._ask(method, path, body, headers, deadline)
        if answer.status < 400:
            return answer
        code, message = answer.headers.get("x-amzn-errortype", "").partition(":")[0], _message(answer)
        if answer.status == 404 and not code and message in ("", NO_ROUTE):
            raise CallFailed(reason=f"There is no microlam server at {self.endpoint}. Name one by its address alone, such as --endpoint-url {self._origin}")
        raise CallFailed(reason=": ".join(filter(None, [code, message or f"the server answered {answer.status} {_phrase(answer.status)}".rstrip()])))

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float) -> Answer:
        try:
            request = urllib.request.Request(self.endpoint + path, body, dict(headers), method=method)
            with self._opener.open(request, timeout=deadline) as reply:
                return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())
        except TimeoutError:
            raise CallFailed(reason=f"The server at {self.endpoint} did not answer within {deadline:.0f} seconds.") from None
        except ValueError as error:             # a token or key that no header can hold
            raise CallFailed(reason=f"The request cannot be sent: {error}.") from None
        except (OSError, http.client.HTTPException) as error:
            remedy = "Start one with `microlam dev FOLDER`, or name another with --endpoint-url."
            raise CallFailed(reason=f"No microlam server answers at {self.endpoint} ({_why(error)}). {remedy}") from None


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _host_of(endpoint: str) -> str:
    try:
        parts = urllib.parse.urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise CallFailed(reason=f"{endpoint} is not the address of a server. Give one such as --endpoint-url http://127.0.0.1:3000.")


def _why(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__


def _message(answer: Answer) -> str:
    """The message of an error reply, whichever way its service spells it; empty where it has none."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        for name in ("message", "Message"):
            if isinstance(value.get(name), str):
                return " ".join(value[name].split())        # AWS's may have several lines
    return ""


def _phrase(status: int) -> str:
    return http.client.responses.get(status, "")


def _objects(page: Mapping[str, object], name: str) -> list[dict[str, object]]:
    items = page.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
