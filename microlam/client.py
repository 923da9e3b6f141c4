"""A running server as the command line sees it: Invoke over the AWS API, and the admin's JSON."""
from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from microlam import __version__
from microlam.errors import CallFailed, ServerAway
from microlam.guard import is_loopback
from microlam.model import DEFAULT_REGION

# A function may run 15 minutes; the rest answers at once.
INVOKE_DEADLINE = 930.0
ADMIN_DEADLINE = 30.0

NO_ROUTE = "Not Found"      # all that a server says where it has nothing
NO_PAGE = "There is nothing at "

NO_FUNCTION = "Function not found: "
# What the AWS API says to who is not known to it.
NOT_SIGNED = ("MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidSignatureException", "UnrecognizedClientException")


@dataclass(frozen=True)
class Answer:
    """What the server said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Given:
    """The address that was given for a server, and the flag that gives it."""

    url: str
    flag: str


class Server:
    """One running server: its AWS API is at `endpoint`, its admin at `admin`, by default where a server of its own has it."""

    def __init__(self, endpoint: str, *, admin: str | None = None, admin_token: str | None = None) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.admin = (admin or f"{self.endpoint}/_microlam").rstrip("/")
        self._admin_token = admin_token
        given = Given(self.endpoint, "--endpoint-url")
        self.admin_given = Given(self.admin, "--admin-url") if admin else given
        self._aws = _Door(self.endpoint, given, elsewhere="the address of its AWS API: --endpoint-url {origin}/aws")
        self._pages = _Door(self.admin, self.admin_given, elsewhere="its admin: --admin-url {origin}/admin")

    def invoke(self, name: str, payload: bytes, *, qualifier: str | None = None, invocation_type: str = "RequestResponse") -> Answer:
        """Invoke a function; raises CallFailed where AWS would answer with an error, not where the handler fails."""
        path = f"/2015-03-31/functions/{_quoted(name)}/invocations"
        if qualifier:
            path += "?" + urllib.parse.urlencode({"Qualifier": qualifier})
        headers = {"X-Amz-Invocation-Type": invocation_type, "X-Amz-Log-Type": "Tail", "Content-Type": "application/json"}
        answer = self._aws.ask("POST", path, payload, self._signed("POST", path, headers, payload), INVOKE_DEADLINE)
        code = _code(answer)
        if code in NOT_SIGNED:
            raise CallFailed(reason=f"{code}: {_sentence(_message(answer))} Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the server's --access-key "
                                    "and --secret-key.")
        if answer.status < 400 and "x-amzn-requestid" not in answer.headers:
            raise self._aws.not_microlam("")
        return self._aws.done(answer)

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
        answer = self._pages.ask(method, "/" + path, body, headers, ADMIN_DEADLINE)
        if _code(answer):       # it is the AWS API that answers
            raise self._pages.nobody_there()
        try:
            value = json.loads(self._pages.done(answer).body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._pages.not_microlam("")
        return value

    def _signed(self, method: str, path: str, headers: dict[str, str], payload: bytes) -> Mapping[str, str]:
        access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not access_key or not secret_key:
            return headers
        from microlam.aws.signature import sign
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
        return sign(method, self.endpoint + path, headers, payload, access_key=access_key, secret_key=secret_key, region=region, service="lambda")


class _Door:
    """One face of a server: it is asked at `url`, spoken of as what was `given`, and in an application looked for `elsewhere`."""

    def __init__(self, url: str, given: Given, *, elsewhere: str) -> None:
        self._url, self._at, self._flag = url, given.url, given.flag
        self._origin = "/".join(given.url.split("/")[:3])
        self._elsewhere = elsewhere.format(origin=self._origin)
        # A proxy for the world outside does not reach this machine's loopback.
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_loopback(_host_of(given)) else []))

    def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float) -> Answer:
        """What answers there, whatever it says; raises ServerAway where nothing does."""
        try:
            return self._answer(urllib.request.Request(self._url + path, body, dict(headers), method=method), deadline)
        except TimeoutError:
            raise ServerAway(reason=f"The server at {self._at} did not answer within {deadline:.0f} seconds.") from None
        except ValueError as error:             # a token or key that no header can hold
            raise CallFailed(reason=f"The request cannot be sent: {error}.") from None
        except (OSError, http.client.HTTPException) as error:
            remedy = f"Start one with `microlam dev FOLDER`, or name another with {self._flag}."
            raise ServerAway(reason=f"No microlam server answers at {self._at} ({_why(error)}). {remedy}") from None

    def _answer(self, request: urllib.request.Request, deadline: float) -> Answer:
        try:
            with self._opener.open(request, timeout=deadline) as reply:
                return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())

    def done(self, answer: Answer) -> Answer:
        """The same answer; raises CallFailed where it is an error."""
        if answer.status < 400:
            return answer
        code, message = _code(answer), _message(answer)
        if answer.status == 404 and not code and (message in ("", NO_ROUTE) or message.startswith(NO_PAGE)):
            raise self.nobody_there()
        if not code and not message:
            raise self.not_microlam(f" ({answer.status} {http.client.responses.get(answer.status, '')}".rstrip() + ")")
        if message.startswith(NO_FUNCTION):
            message = f"{_sentence(message)} {_known_functions(message)}"
        kind = ServerAway if answer.status == 503 and not code else CallFailed      # one that stops
        raise kind(reason=": ".join(filter(None, [code, message])))

    def nobody_there(self) -> CallFailed:
        """What is to be said where something answers, but has no such face."""
        alone = f"Name one by its address alone, such as --endpoint-url {self._origin}, or where" if self._at != self._origin else "Where"
        return CallFailed(reason=f"There is no microlam server at {self._at}. {alone} it is part of an application, {self._elsewhere}")

    def not_microlam(self, answered: str) -> CallFailed:
        """What is to be said where something else answers."""
        return CallFailed(reason=f"What answers at {self._at} is not a microlam server{answered}. Name one with {self._flag}.")


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _host_of(given: Given) -> str:
    try:
        parts = urllib.parse.urlsplit(given.url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts.hostname
    except ValueError:
        pass
    raise CallFailed(reason=f"{given.url} is not the address of a server. Give one such as {given.flag} http://127.0.0.1:3000.")


def _why(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__


def _code(answer: Answer) -> str:
    """The code of the AWS API's error; the admin has none."""
    return answer.headers.get("x-amzn-errortype", "").partition(":")[0]


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


def _sentence(text: str) -> str:
    return text.rstrip(".") + "."


def _known_functions(message: str) -> str:
    """Where one sees which functions there are, or versions and aliases, where it is one of these that there is not."""
    qualified = re.fullmatch(r".*:function:[^:]+:(?!\$LATEST)[^:]+", message)
    return "`microlam list` shows the functions" + (", their pages in the admin their versions and aliases." if qualified else ".")


def _objects(page: Mapping[str, object], name: str) -> list[dict[str, object]]:
    items = page.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
