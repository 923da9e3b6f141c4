"""Routes: what a route string may say, and which function a request leads to."""
from __future__ import annotations

import pytest

from microlam.errors import InvalidParameter
from microlam.model import Route, Schedule, Trigger, function_arn
from microlam.routes import RouteTable, parse_route


def trigger(name: str, route: str, *, origin: str = "decorator", qualifier: str = "", enabled: bool = True) -> Trigger:
    target = function_arn(name) + (f":{qualifier}" if qualifier else "")
    return Trigger(target=target, when=parse_route(route), origin=origin, enabled=enabled)


def table(**routes: str) -> RouteTable:
    return RouteTable(trigger(name, route) for name, route in routes.items())


def led_to(routes: RouteTable, method: str, path: str) -> tuple[str, dict[str, str] | None] | None:
    match = routes.match(method, path)
    return None if match is None else (match.route_key, dict(match.path_parameters) if match.path_parameters else None)


# ---- reading ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "route"), [
    ("GET /orders/{id}", Route(method="GET", path="/orders/{id}")),
    ("  any   /files/{path+} ", Route(method="ANY", path="/files/{path+}")),
    ("POST /", Route(method="POST", path="/")),
    ("$default", Route(method="ANY", path="$default")),
    ("GET /größe", Route(method="GET", path="/größe")),
    ("GET /2015-report", Route(method="GET", path="/2015-report")),
    ("GET /_microlamp", Route(method="GET", path="/_microlamp")),
])
def test_a_route_is_a_method_and_a_path(text: str, route: Route) -> None:
    assert parse_route(text) == route


@pytest.mark.parametrize(("text", "remedy"), [
    ("GET orders", 'write "GET /orders"'),
    ("/orders", 'write "ANY /orders"'),
    ("orders", 'write "ANY /orders"'),
    ("", "one method and one path"),
    ("GET /a b", "without blanks"),
    ("FETCH /a", "use one of GET, HEAD, POST"),
    ("GET $default", 'write "$default" alone'),
    ("GET /orders/", 'write "GET /orders"'),
    ("GET //", 'write "GET /"'),
    ("GET /a//b", 'write "GET /a/b"'),
    ("GET /{a+}/x", "must be the last segment"),
    ("GET /a{b}", "takes a whole segment"),
    ("GET /{}", "has a plain name"),
    ("GET /{a", "takes a whole segment"),
    ("GET /{id}/{id}", "give each its own name"),
    ("GET /a?x=1", "read the query string in the handler"),
    ("GET /a%20b", "paths are matched decoded"),
    ("GET /_microlam/x", "belong to the server"),
    ("ANY /_aws", "belong to the server"),
    ("POST /2015-03-31/functions", "belong to the server"),
])
def test_a_wrong_route_is_refused_with_the_remedy(text: str, remedy: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_route(text)
    assert remedy in str(refused.value)
    assert f'Route "{text}"' in str(refused.value)


# ---- matching --------------------------------------------------------------------------------------------------------

def test_the_most_specific_route_wins_as_in_awss_own_example() -> None:
    routes = table(a="GET /pets/dog/1", b="GET /pets/dog/{id}", c="GET /pets/{proxy+}", d="ANY /{proxy+}", e="$default")
    assert led_to(routes, "GET", "/pets/dog/1") == ("GET /pets/dog/1", None)
    assert led_to(routes, "GET", "/pets/dog/2") == ("GET /pets/dog/{id}", {"id": "2"})
    assert led_to(routes, "GET", "/pets/cat/1") == ("GET /pets/{proxy+}", {"proxy": "cat/1"})
    assert led_to(routes, "POST", "/test/5") == ("ANY /{proxy+}", {"proxy": "test/5"})
    assert led_to(routes, "POST", "/pets/dog/1") == ("ANY /{proxy+}", {"proxy": "pets/dog/1"})


def test_a_named_method_beats_any_and_the_path_comes_before_the_method() -> None:
    routes = table(a="GET /x", b="ANY /x", c="ANY /y/z", d="GET /y/{name}", e="$default")
    assert led_to(routes, "GET", "/x") == ("GET /x", None)
    assert led_to(routes, "POST", "/x") == ("ANY /x", None)
    assert led_to(routes, "GET", "/y/z") == ("ANY /y/z", None)
    assert led_to(routes, "GET", "/y/other") == ("GET /y/{name}", {"name": "other"})
    assert led_to(routes, "POST", "/y/other") == ("$default", None)


def test_a_branch_that_ends_nowhere_is_left_for_the_next_best() -> None:
    routes = table(a="GET /a/b/{x}/end", b="GET /a/{y}/{z}/other", c="GET /{w}/b/c/d", d="GET /a/{rest+}")
    assert led_to(routes, "GET", "/a/b/c/other") == ("GET /a/{y}/{z}/other", {"y": "b", "z": "c"})
    assert led_to(routes, "GET", "/a/b/c/x") == ("GET /a/{rest+}", {"rest": "b/c/x"})
    assert led_to(routes, "GET", "/q/b/c/d") == ("GET /{w}/b/c/d", {"w": "q"})
    assert led_to(routes, "GET", "/q") is None


def test_a_full_match_comes_before_a_greedy_one_that_begins_alike() -> None:
    routes = table(a="GET /a/{x}/c", b="GET /a/b/{y+}", c="ANY /{rest+}")
    assert led_to(routes, "GET", "/a/b/c") == ("GET /a/{x}/c", {"x": "b"})
    assert led_to(routes, "GET", "/a/b/d") == ("GET /a/b/{y+}", {"y": "d"})
    assert led_to(routes, "POST", "/a/b/c") == ("ANY /{rest+}", {"rest": "a/b/c"})


@pytest.mark.parametrize(("path", "expected"), [
    ("/orders", ("GET /orders", None)),
    ("/orders/", None),
    ("/orders/7", ("GET /orders/{id}", {"id": "7"})),
    ("/orders/7/", None),
    ("/orders/7/8", None),
    ("/Orders", None),
    ("/files", None),
    ("/files/", ("GET /files/{path+}", {"path": ""})),
    ("/files//x/", ("GET /files/{path+}", {"path": "/x/"})),
    ("", None),
    ("*", None),
])
def test_slashes_count(path: str, expected: tuple[str, dict[str, str] | None] | None) -> None:
    routes = table(a="GET /orders", b="GET /orders/{id}", c="GET /files/{path+}")
    assert led_to(routes, "GET", path) == expected


def test_get_does_not_answer_head() -> None:
    assert table(a="GET /x").match("HEAD", "/x") is None


def test_a_match_names_function_and_qualifier() -> None:
    match = RouteTable([trigger("shop", "GET /o/{id}", qualifier="live")]).match("GET", "/o/7")
    assert match is not None
    assert (match.arn, match.qualifier, match.target) == (function_arn("shop"), "live", function_arn("shop") + ":live")


# ---- several functions -----------------------------------------------------------------------------------------------

def test_a_declared_route_beats_a_default_one_without_a_warning() -> None:
    routes = RouteTable([trigger("aaa", "ANY /zzz", origin="default"), trigger("zzz", "ANY /zzz", origin="toml")])
    match = routes.match("GET", "/zzz")
    assert match is not None
    assert match.arn == function_arn("zzz")
    assert routes.conflicts == []


def test_the_first_function_by_name_keeps_a_route_that_two_declare() -> None:
    routes = RouteTable([trigger("beta", "GET /x/{id}"), trigger("alpha", "GET /x/{name}", origin="toml")])
    assert led_to(routes, "GET", "/x/1") == ("GET /x/{name}", {"name": "1"})
    [conflict] = routes.conflicts
    assert (conflict.kept.target, conflict.dropped.target) == (function_arn("alpha"), function_arn("beta"))
    assert "declared by alpha and by beta" in str(conflict)


def test_one_function_may_say_a_route_twice() -> None:
    routes = RouteTable([trigger("a", "GET /x"), trigger("a", "GET /x", origin="toml")])
    assert routes.conflicts == []


def test_paused_triggers_and_other_kinds_are_no_routes() -> None:
    rate = Trigger(target=function_arn("a"), when=Schedule(expression="rate(5 minutes)"))
    routes = RouteTable([rate, trigger("a", "GET /x", enabled=False)])
    assert routes.match("GET", "/x") is None
