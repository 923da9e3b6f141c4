"""CloudWatch Logs' filter patterns, by value."""
from __future__ import annotations

import pytest

from microlam.log_patterns import BadPattern, matcher

EVENT = '{"level": "ERROR", "ms": 120, "user": {"name": "Ada", "tags": ["a", "b"], "age": null}, "ok": true, "text": "12"}'
FIELDS = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /apache_pb.gif HTTP/1.0" 404 1534'


@pytest.mark.parametrize(("pattern", "event", "expected"), [
    ("", "anything", True), ("  ", "anything", True), ("ERROR", "[ERROR 400] BAD REQUEST", True), ("ERROR", "error", False),
    ("ERROR REQUEST", "[ERROR 400] BAD REQUEST", True), ("ERROR EXCEPTION", "[ERROR 400] BAD REQUEST", False),
    ("?ERROR ?WARN", "[WARN] low", True), ("?ERROR ?WARN", "[INFO] fine", False), ("ERROR -EXITING", "ERROR EXITING", False),
    ("ERROR -EXITING", "ERROR going on", True), ('"INTERNAL SERVER ERROR"', "500 INTERNAL SERVER ERROR", True), ('"a \\"b\\""', 'a "b"', True),
    ('"INTERNAL ERROR"', "INTERNAL SERVER ERROR", False), ('-"on purpose"', "on purpose", False), ("%[0-9]{3} [A-Z]+%", "x 404 NOT", True),
    ("%^x$%", "xy", False), ("a.c", "abc", False),
])
def test_words(pattern: str, event: str, expected: bool) -> None:
    assert matcher(pattern)(event) is expected


@pytest.mark.parametrize(("pattern", "expected"), [
    ('{ $.level = "ERROR" }', True), ('{ $.level != "ERROR" }', False), ('{ $.level = "ERR*" }', True), ("{ $.level = ERROR }", True), ("{$.level=*}", True),
    ("{ $.ms > 100 }", True), ("{ $.ms <= 100 }", False), ("{ $.ms = 120 }", True), ("{ $.ms = 1.2e2 }", True), ("{ $.ms != 120 }", False),
    ("{ $.text > 11 }", True), ("{ $.level > 1 }", False), ('{ $.user.name = "Ada" }', True), ('{ $.user.tags[1] = "b" }', True),
    ('{ $.user.tags[2] = "c" }', False), ('{ $["user"]["name"] = "Ada" }', True), ("{ $.user.age IS NULL }", True), ("{ $.ok IS TRUE }", True),
    ("{ $.ok is false }", False), ("{ $.nothing NOT EXISTS }", True), ("{ $.ms NOT EXISTS }", False), ('{ ($.ms > 1) && ($.level = "ERROR") }', True),
    ('{ $.ms > 1 && $.level = "INFO" || $.ok IS TRUE }', True), ('{ $.ms > 1 && ($.level = "INFO" || $.ok IS FALSE) }', False),
    ("{ $.user.name = %^A.a$% }", True), ("{ $.user.name != %^A.a$% }", False),
])
def test_json(pattern: str, expected: bool) -> None:
    assert matcher(pattern)(EVENT) is expected
    assert matcher(pattern)("no JSON") is False


@pytest.mark.parametrize(("pattern", "expected"), [
    ("[ip, id, user, time, request, status, size]", True), ("[ip, id, user]", False), ("[ip, id, user, ..., size]", True), ("[..., status, size]", True),
    ("[ip, id, user, time, request, status=4*, size]", True), ("[ip, id, user, time, request, status=5*, size]", False),
    ("[ip, id, user, time, request, status, size > 1000]", True), ("[ip, id, user, time, request, status, size < 1000]", False),
    ("[ip, id, user, time, request=*pb.gif*, status=4* || status=5*, size]", True), ("[..., status=404 && status!=500, size]", True),
    ("[ip, id, user!=frank, ...]", False),
])
def test_fields_between_blanks(pattern: str, expected: bool) -> None:
    assert matcher(pattern)(FIELDS) is expected


@pytest.mark.parametrize("pattern", [
    "{ $.a = ", "{ $.a = }", "{ a = 1 }", "{ ($.a = 1 }", "{ $.a > word }", "{ $.a IS NOTHING }", "{ $.a = 1 $.b = 2 }", "[a, b", "[..., a, ...]",
    "%(%", '"open',
])
def test_what_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        matcher(pattern)
