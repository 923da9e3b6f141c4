"""What a Lambda handler knows of its runtime: how it is found, its context, how replies and errors become JSON, how logging looks.

AWS's own words throughout: programs in the wild read them.
"""
from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable

from .frames import FAILED, REPLY_LIMIT, SUCCEEDED

TYPE_CHECKING = False
if TYPE_CHECKING:       # importing typing would cost every worker memory
    from typing import Any

OWN_FOLDERS = (os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__)))
TOO_LARGE = b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
NO_BREAK_SPACE = "\u00a0"


class Fault(Exception):
    """An error with a name of the runtime's own, not a Python exception's."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind, self.trace = kind, trace or []


# ---- finding the handler ---------------------------------------------------------------------------------------------

def find_handler(handler: str, import_module: Callable[[str], Any] = importlib.import_module) -> Callable[[Any, Any], Any]:
    """Import what `module.function`, `folder/module.function` or `package.module.function` names."""
    try:
        module_name, function = handler.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
    try:
        module = import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", trace) from None
    try:
        found: Callable[[Any, Any], Any] = getattr(module, function)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function}' missing on module '{module_name}'") from None
    return found


# ---- the context -----------------------------------------------------------------------------------------------------

class _Facts:
    """An object with just these attributes, None where nothing is known."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, facts: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, facts.get(name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{','.join(f'{name}={getattr(self, name)}' for name in self.__slots__)}])"


class CognitoIdentity(_Facts):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Facts):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")  # noqa: RUF023


class ClientContext(_Facts):
    __slots__ = ("custom", "env", "client")  # noqa: RUF023

    def __init__(self, facts: dict[str, Any]) -> None:
        client = facts.get("client")
        super().__init__({**facts, "client": None if client is None else Client(client)})


class LambdaContext:
    """What a handler gets as `context`: its function, this invocation, and the time that is left."""

    function_name = function_version = memory_limit_in_mb = log_group_name = log_stream_name = ""
    identity = CognitoIdentity({})
    tenant_id = None
    write: Callable[[str], object] = print

    def __init__(self, request_id: str, arn: str, client_context: str, timeout: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.client_context = read_client_context(client_context) if client_context else None
        self._deadline = time.monotonic() + timeout

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is ended."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Write to the function's log; the next record begins its own line."""
        type(self).write(whole_line(str(message)))

    def __repr__(self) -> str:
        names = ("aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb", "function_version",
                 "invoked_function_arn", "client_context", "identity", "tenant_id")
        return f"LambdaContext([{','.join(f'{name}={getattr(self, name)}' for name in names)}])"


def context_of(function: dict[str, str], write: Callable[[str], object]) -> type[LambdaContext]:
    """The context's class for one function: what is the same in each of its invocations is said once."""
    return type("LambdaContext", (LambdaContext,), {**function, "write": staticmethod(write)})


def read_client_context(text: str) -> ClientContext:
    try:
        return ClientContext(json.loads(text))
    except Exception as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", f"Unable to parse Client Context JSON: {error}") from None


# ---- replies and errors ----------------------------------------------------------------------------------------------

_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # there since Python 2.6


def _encoder(ascii: bool) -> Callable[[Any], str]:
    """What JSONEncoder(ensure_ascii=ascii).encode is, without most of the Python it is made of."""
    plain = json.JSONEncoder(ensure_ascii=ascii)
    make: Any = json.encoder.c_make_encoder  # type: ignore[attr-defined]  # there since Python 2.7
    if make is None:
        return plain.encode
    text = json.encoder.encode_basestring_ascii if ascii else json.encoder.encode_basestring
    return lambda value: "".join(make({}, plain.default, text, None, ": ", ", ", False, False, True)(value, 0))


_encode = {ascii: _encoder(ascii) for ascii in (True, False)}
# AWS escapes what is not ASCII only up to Python 3.11.
ASCII = sys.version_info < (3, 12)


def read_event(payload: bytes) -> Any:
    try:
        # What json.loads does once it has found out the encoding, which is nearly always this one and takes a quarter of its time.
        text = str(payload, "utf-8")
        event, end = _scan(text, 0)
        if end == len(text):
            return event
    except (ValueError, StopIteration, RecursionError):
        pass
    try:
        return json.loads(payload)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None


def marshal(value: Any) -> bytes:
    """A handler's result as a reply; bytes pass as they are."""
    if isinstance(value, bytes):
        return value
    try:
        try:
            text = _encode[ASCII](value)
        except TypeError:
            text = _encode_more(value)
        return text.encode()
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None


def _encode_more(value: Any) -> str:
    """JSON of what the plain encoder refuses: a Decimal becomes the number it shows, bytes within become text."""
    decimal = sys.modules.get("decimal")
    numbers: list[str] = []
    mark = os.urandom(16).hex()

    def default(item: Any) -> Any:
        if isinstance(item, bytes):
            return item.decode()
        if decimal is None or not isinstance(item, decimal.Decimal):
            raise TypeError(f"Object of type {type(item).__name__} is not JSON serializable")
        if item.is_nan():
            return float("nan")
        # The encoder cannot be told to print a number as it is: it prints a marked place, which the number then takes.
        numbers.append(str(item))
        return f"{mark}{len(numbers) - 1}."

    text = json.JSONEncoder(ensure_ascii=ASCII, default=default).encode(value)
    for index, number in enumerate(numbers):
        text = text.replace(f'"{mark}{index}."', number, 1)
    return text


def error_of(error: BaseException, request_id: str) -> dict[str, Any]:
    """The error object of an invocation that raised."""
    if isinstance(error, Fault):
        return {"errorMessage": str(error), "errorType": error.kind, "requestId": request_id, "stackTrace": error.trace}
    return {"errorMessage": message_of(error), "errorType": type(error).__name__, "requestId": request_id, "stackTrace": stack_of(error)}


def message_of(error: object) -> str:
    """What an exception says, also one that fails to say it."""
    try:
        return str(error)
    except Exception:
        return "<exception str() failed>"


def stack_of(error: BaseException) -> list[str]:
    """The lines of a traceback, without the runtime's own frames: at its top, and where the handler's modules import one another."""
    frames = [(frame.filename, frame.lineno or 0, frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)]
    return traceback.format_list([frame for frame in frames if os.path.dirname(frame[0]) not in OWN_FOLDERS])


def dump_error(error: dict[str, Any]) -> bytes:
    try:
        return _encode[ASCII](error).encode()
    except UnicodeEncodeError:      # half of a surrogate pair in a message
        return _encode[True](error).encode()


def error_line(error: dict[str, Any], log_format: str) -> str:
    """What the log says of an error."""
    if log_format == "JSON":
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return dump_error({"timestamp": stamp, "level": "ERROR", **error}).decode() + "\n"
    lines = [f"[ERROR] {error['errorType']}: {error['errorMessage']}" if error["errorMessage"] else f"[ERROR] {error['errorType']}"]
    lines.append("Traceback (most recent call last):")
    for part in error["stackTrace"]:
        for line in part.splitlines():
            text = line.lstrip(" ")
            # AWS indents with no-break spaces, which its console does not fold.
            lines.append(NO_BREAK_SPACE * (len(line) - len(text)) + text)
    return "\n".join(lines) + "\n"


def last_words(error: BaseException) -> tuple[str, int]:
    """What the interpreter prints, and the status it exits with, when nobody catches this: AWS's runtime catches only what is an Exception."""
    if not isinstance(error, SystemExit):
        return "".join(["Traceback (most recent call last):\n", *stack_of(error), *traceback.format_exception_only(type(error), error)]), 1
    code = 0 if error.code is None else error.code
    if isinstance(code, int):
        return "", (code if -1 << 63 <= code < 1 << 63 else -1) & 0xFF      # it says -1 to what is no C long
    return f"{message_of(code)}\n", 1


def finish(result: Any) -> tuple[int, bytes]:
    """A result as kind and bytes of the reply's frame."""
    payload = marshal(result)
    return (SUCCEEDED, payload) if len(payload) <= REPLY_LIMIT else (FAILED, TOO_LARGE)


def fail(error: BaseException, request_id: str, log_format: str, write: Callable[[str], object]) -> tuple[int, bytes]:
    """An exception as kind and bytes of the reply's frame; the log tells of it too."""
    described = error_of(error, request_id)
    write(error_line(described, log_format))
    return FAILED, fitting(dump_error(described))


def fitting(payload: bytes) -> bytes:
    """An error object as it is sent: one beyond the limit gives way to the error that it is too large."""
    return payload if len(payload) <= REPLY_LIMIT else TOO_LARGE


# ---- logging ---------------------------------------------------------------------------------------------------------

def whole_line(text: str) -> str:
    """On AWS each record is an event of its own; here the end of its line tells it from the next."""
    return text if text.endswith("\n") else text + "\n"


class LambdaLoggerHandler(logging.Handler):
    """The handler that Lambda's root logger has from the start."""

    def __init__(self, write: Callable[[str], object], request_id: Callable[[], str], log_format: str) -> None:
        super().__init__()
        self._write, self._request_id = write, request_id
        self.setFormatter(JsonFormatter() if log_format == "JSON" else TextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.aws_request_id = self._request_id()
            record.tenant_id = None
            self._write(self.format(record))
        except Exception:
            self.handleError(record)


class TextFormatter(logging.Formatter):
    """`[INFO]`, time, request id and message, with tabs between them."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record as whole lines: a traceback or a stack comes behind the message and its end of line."""
        return whole_line(super().format(record))


_RECORD_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"aws_request_id", "tenant_id", "message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A line of JSON a record; what `extra` brought along is part of it."""

    def format(self, record: logging.LogRecord) -> str:
        kind, error, trace = record.exc_info or (None, None, None)
        facts = {
            "timestamp": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10),
            "message": record.getMessage(),
            "logger": record.name,
            "stackTrace": traceback.format_tb(trace) if kind else None,
            "errorType": kind.__name__ if kind else None,
            "errorMessage": message_of(error) if error else None,
            "requestId": getattr(record, "aws_request_id", None),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if kind else None,
        }
        facts.update((name, value) for name, value in vars(record).items() if name not in _RECORD_FIELDS and name not in facts)
        return json.dumps({name: value for name, value in facts.items() if value is not None}, ensure_ascii=False, default=str) + "\n"
