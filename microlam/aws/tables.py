"""The distilled tables: what an operation's request and reply look like, and which limits their members have.

A table is `models/NAME.json`, one shape a line, made by `python -m tests.distill`. Shapes are built when they are first asked for.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

MODELS = Path(__file__).parent / "models"
SCALARS = frozenset({"string", "integer", "long", "float", "double", "boolean", "timestamp", "blob", "bigdecimal", "biginteger", "character"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """A structure's member, a list's element, or a map's key or value."""

    shapes: Shapes
    target: str
    name: str = ""
    wire: str = ""                          # its name on the wire
    renamed: bool = False                   # the table says that name
    location: str | None = None             # uri · querystring · header · headers · statusCode; None: the body
    flattened: bool = False
    attribute: bool = False                 # of the XML element
    namespace: Mapping[str, str] | None = None
    timestamp_format: str | None = None
    json_value: bool = False                # a string that holds JSON
    event_header: bool = False
    event_payload: bool = False

    @cached_property
    def shape(self) -> Shape:
        return self.shapes[self.target]

    @cached_property
    def flat(self) -> bool:
        return self.flattened or self.shape.flattened

    @cached_property
    def items_wire(self) -> str:
        """What a flattened list calls each of its elements."""
        return self.shape.items.wire if self.shape.items.renamed else self.wire


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A kind of value. `kind` is structure, list, map, or one of SCALARS."""

    name: str
    kind: str
    members: dict[str, Member] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    element: Member | None = None           # of a list
    key: Member | None = None               # of a map
    value: Member | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    enum: Sequence[str] = ()
    sensitive: bool = False                 # AWS does not repeat such a value
    sparse: bool = False                    # a list that may hold nulls
    flattened: bool = False
    payload: str | None = None              # the member that is the whole body
    document: bool = False                  # any JSON
    event_stream: bool = False
    timestamp_format: str | None = None
    error: Mapping[str, Any] = field(default_factory=dict)
    fault: bool = False
    wire: str = ""                          # the name of its XML element, where the shape says one
    namespace: Mapping[str, str] | None = None

    @property
    def items(self) -> Member:
        """What a list holds."""
        return _there(self.element)

    @property
    def keys(self) -> Member:
        """What a map's keys are."""
        return _there(self.key)

    @property
    def values(self) -> Member:
        """What a map's values are."""
        return _there(self.value)

    @cached_property
    def body_members(self) -> Sequence[Member]:
        return [member for member in self.members.values() if member.location is None]

    @cached_property
    def located_members(self) -> Sequence[Member]:
        return [member for member in self.members.values() if member.location is not None]

    @cached_property
    def message(self) -> str:
        """How an error's shape calls its message."""
        return next((name for name in self.members if name.lower() == "message"), "message")


def _there(member: Member | None) -> Member:
    if member is None:
        raise TypeError("the table has no such member")
    return member


class Shapes(dict[str, Shape]):
    """All shapes of a table, by name; each is built when it is first asked for."""

    def __init__(self, raw: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        self.raw = raw

    def __missing__(self, name: str) -> Shape:
        shape = self[name] = self._shape(name, self.raw[name])
        return shape

    def _shape(self, name: str, raw: Mapping[str, Any]) -> Shape:
        return Shape(
            name=name, kind=raw["type"],
            members={key: self._member(key, member) for key, member in raw.get("members", {}).items()},
            required=frozenset(raw.get("required", ())),
            element=self._member("member", raw.get("member")), key=self._member("key", raw.get("key")), value=self._member("value", raw.get("value")),
            minimum=raw.get("min"), maximum=raw.get("max"), pattern=raw.get("pattern"), enum=raw.get("enum", ()),
            sensitive=raw.get("sensitive", False), sparse=raw.get("sparse", False), flattened=raw.get("flattened", False),
            payload=raw.get("payload"), document=raw.get("document", False), event_stream=raw.get("eventstream", False),
            timestamp_format=raw.get("timestampFormat"), error=raw.get("error", {}), fault=raw.get("fault", False),
            wire=raw.get("locationName", ""), namespace=raw.get("xmlNamespace"),
        )

    def _member(self, name: str, raw: Mapping[str, Any] | None) -> Any:
        if raw is None:
            return None
        return Member(
            shapes=self, target=raw["shape"], name=name, wire=raw.get("locationName", name), renamed="locationName" in raw,
            location=raw.get("location"), flattened=raw.get("flattened", False), attribute=raw.get("xmlAttribute", False),
            namespace=raw.get("xmlNamespace"), timestamp_format=raw.get("timestampFormat"), json_value=raw.get("jsonvalue", False),
            event_header=raw.get("eventheader", False), event_payload=raw.get("eventpayload", False),
        )


NOTHING = Shape(name="", kind="structure")


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One operation: where its request goes, and the shapes of request and reply."""

    name: str
    method: str
    uri: str
    status: int = 200
    input: Shape = NOTHING
    output: Shape | None = None
    wrapper: str = ""                       # the element around a query reply's members

    @cached_property
    def bound_arguments(self) -> frozenset[str]:
        """Names in the query that have a meaning of their own, and so are no part of a member that is a map of the rest."""
        wires = {member.wire for member in self.input.located_members if member.location == "querystring" and member.shape.kind != "map"}
        return frozenset(wires | {name for _, name, _ in _arguments(self.uri)})

    @cached_property
    def streams(self) -> Member | None:
        """The member of the reply that is a stream of events."""
        return next((member for member in self.output.members.values() if member.shape.event_stream), None) if self.output else None


@dataclass(frozen=True, eq=False)
class Route:
    """How a REST operation is told from others: by method and path, then by query and headers that it alone has."""

    operation: str
    method: str
    uri: str
    needed: Sequence[tuple[str, str, str]] = ()     # (querystring | header, name, "") of required members
    supported: bool = True

    @cached_property
    def parts(self) -> Sequence[str]:
        return _parts(self.uri.partition("?")[0].rstrip("/"))

    @cached_property
    def fixed(self) -> Sequence[tuple[str, str, str]]:
        """What its URI says of the query: (querystring, name, value)."""
        return _arguments(self.uri)

    @cached_property
    def rank(self) -> tuple[int, int, bool]:
        """The most particular first: more that must be there, then more of the path said literally."""
        return -len(self.fixed) - len(self.needed), -sum(len(part) for part in self.parts if not part.startswith("{")), not self.supported

    def labels(self, path: str) -> dict[str, str]:
        """The labels in a path that is this route's, decoded."""
        found: dict[str, str] = {}
        parts = _parts(path)
        for index, part in enumerate(self.parts):
            if part.endswith("+}"):
                found[part[1:-2]] = unquote("/".join(parts[index:]))
            elif part.startswith("{"):
                found[part[1:-1]] = unquote(parts[index])
        return found


class Routes:
    """A table's routes, found by the parts of a path: a tree of literal parts and labels."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Branch()
        for route in sorted(routes, key=lambda route: route.rank):
            branch = self._root
            for part in route.parts:
                branch = branch.setdefault("{+}" if part.endswith("+}") else "{}" if part.startswith("{") else part, _Branch())
            branch.routes.append(route)

    def at(self, path: str) -> Sequence[Route]:
        """Every route with this path, the most particular first; one slash more at its end does not matter."""
        parts = _parts(path)
        found = self._root.below(parts)
        if parts[-1:] == [""]:
            found += self._root.below(parts[:-1])
        return sorted(found, key=lambda route: route.rank) if len(found) > 1 else found


class _Branch(dict[str, "_Branch"]):
    """What may follow in a path, and the routes that end here."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: list[Route] = []

    def below(self, parts: Sequence[str]) -> list[Route]:
        if not parts:
            return list(self.routes)
        found = self[parts[0]].below(parts[1:]) if parts[0] in self else []
        if parts[0] and "{}" in self:
            found += self["{}"].below(parts[1:])
        if any(parts) and "{+}" in self:
            found += self["{+}"].routes
        return found


def _arguments(uri: str) -> list[tuple[str, str, str]]:
    return [("querystring", name, value) for name, _, value in (part.partition("=") for part in uri.partition("?")[2].split("&") if part)]


def _parts(path: str) -> list[str]:
    path = path.removeprefix("/")
    return path.split("/") if path else []


@dataclass(frozen=True, eq=False)
class Table:
    """One service's operations and shapes."""

    raw: Mapping[str, Any]

    @classmethod
    def load(cls, name: str) -> Table:
        return cls(orjson.loads((MODELS / f"{name}.json").read_bytes()))

    @property
    def metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self.raw["metadata"]
        return metadata

    @cached_property
    def shapes(self) -> Shapes:
        return Shapes(self.raw["shapes"])

    @cached_property
    def operations(self) -> Operations:
        return Operations(self.raw["operations"], self.shapes)

    @cached_property
    def errors(self) -> Mapping[str, str]:
        """Error code → the name of its shape."""
        return {raw.get("error", {}).get("code", name): name for name, raw in self.raw["shapes"].items() if raw.get("exception")}

    @property
    def uris(self) -> Iterable[str]:
        """The paths of every operation of a REST service, answered or not."""
        yield from (raw["http"]["requestUri"] for raw in self.raw["operations"].values())
        yield from (where.partition(" ")[2] for where in self.raw.get("unsupported", {}).values())

    @cached_property
    def routes(self) -> Routes:
        answered = [Route(name, raw["http"]["method"], raw["http"]["requestUri"], self._needed(raw)) for name, raw in self.raw["operations"].items()]
        others = [
            Route(name, method, uri, supported=False)
            for name, (method, _, uri) in ((name, where.partition(" ")) for name, where in self.raw.get("unsupported", {}).items())
        ]
        return Routes(answered + others)

    def _needed(self, raw: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
        shape = self.raw["shapes"].get(raw.get("input", {}).get("shape"), {})
        members = [shape["members"][name] for name in shape.get("required", ())]
        return [(member["location"], member["locationName"], "") for member in members if member.get("location") in ("querystring", "header")]


class Operations(dict[str, Operation]):
    """All operations of a table, by name; each is built when it is first asked for."""

    def __init__(self, raw: Mapping[str, Mapping[str, Any]], shapes: Shapes) -> None:
        super().__init__()
        self.raw, self.shapes = raw, shapes

    def __missing__(self, name: str) -> Operation:
        raw = self.raw[name]
        operation = self[name] = Operation(
            name=name, method=raw["http"]["method"], uri=raw["http"]["requestUri"], status=raw["http"].get("responseCode", 200),
            input=self.shapes[raw["input"]["shape"]] if "input" in raw else NOTHING,
            output=self.shapes[raw["output"]["shape"]] if "output" in raw else None,
            wrapper=raw.get("output", {}).get("resultWrapper", ""),
        )
        return operation
