"""XML bodies: a shape's value out of an element, and back. Names are compared without their namespaces, as AWS does."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from microlam.aws.errors import Unreadable
from microlam.aws.tables import Member, Shape
from microlam.aws.values import read_text, write_text

_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


# ---- reading ---------------------------------------------------------------------------------------------------------

def parse(body: bytes) -> ElementTree.Element:
    """The document's root; no document may bring entities of its own."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise Unreadable(reason="The XML has a document type.")
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise Unreadable(reason=f"The XML is not well-formed: {error}.") from None


def read(shape: Shape, node: ElementTree.Element) -> Any:
    """What an element says of a shape."""
    match shape.kind:
        case "structure":
            return _read_structure(shape.members.values(), node)
        case "list":
            return _read_list(shape, list(node))
        case "map":
            return _read_map(shape, list(node))
    return read_text(shape, node.text or "")


def read_members(members: Iterable[Member], node: ElementTree.Element) -> dict[str, Any]:
    """Those members of a structure that travel in the body."""
    return _read_structure(members, node)


def _read_structure(members: Iterable[Member], node: ElementTree.Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member in members:
        value: Any
        if member.attribute:
            value = _attribute(node, member)
        elif member.flat and member.shape.kind == "list":
            nodes = [child for child in node if _tag(child) == member.items_wire]
            value = _read_list(member.shape, nodes) if nodes else None
        elif member.flat and member.shape.kind == "map":
            nodes = [child for child in node if _tag(child) == member.wire]
            value = _read_map(member.shape, nodes) if nodes else None
        else:
            child = next((child for child in node if _tag(child) == member.wire.rpartition(":")[2]), None)
            value = None if child is None else read(member.shape, child)
        if value is not None:
            found[member.name] = value
    return found


def _read_list(shape: Shape, nodes: Iterable[ElementTree.Element]) -> list[Any]:
    return [read(shape.items.shape, node) for node in nodes]


def _read_map(shape: Shape, entries: Iterable[ElementTree.Element]) -> dict[str, Any]:
    found = {}
    for entry in entries:
        parts = {_tag(child): child for child in entry}
        if shape.keys.wire in parts and shape.values.wire in parts:
            found[parts[shape.keys.wire].text or ""] = read(shape.values.shape, parts[shape.values.wire])
    return found


def _attribute(node: ElementTree.Element, member: Member) -> str | None:
    name = member.wire.rpartition(":")[2]
    return next((value for key, value in node.attrib.items() if key.rpartition("}")[2] == name), None)


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


# ---- writing ---------------------------------------------------------------------------------------------------------

def element(name: str, content: str, *, namespace: Mapping[str, str] | None = None, attributes: str = "") -> str:
    """One element around content that is XML already."""
    if namespace:
        attributes = f" xmlns{':' + namespace['prefix'] if 'prefix' in namespace else ''}={quoteattr(namespace['uri'])}" + attributes
    return f"<{name}{attributes}>{content}</{name}>"


def text(value: str) -> str:
    """Text in XML; what XML has no way to say is a question mark in a diamond."""
    # A bare carriage return would reach the reader as a line feed.
    return escape(_UNSAYABLE.sub("\ufffd", value), {"\r": "&#13;"})


def write(name: str, shape: Shape, value: Any, member: Member | None = None) -> str:
    """A value as an element of this name."""
    namespace = (member.namespace if member is not None else None) or shape.namespace
    match shape.kind:
        case "structure":
            return element(name, write_members(shape.members.values(), value), namespace=namespace, attributes=_attributes(shape, value))
        case "list":
            inner = shape.items.wire
            return element(name, "".join(write(inner, shape.items.shape, item, shape.items) for item in value), namespace=namespace)
        case "map":
            return element(name, "".join(_entry("entry", shape, *pair) for pair in value.items()), namespace=namespace)
    written = write_text(shape, value, (member and member.timestamp_format) or shape.timestamp_format or "iso8601")
    return element(name, text(written), namespace=namespace)


def write_members(members: Iterable[Member], value: Mapping[str, Any]) -> str:
    """A structure's members, one element each; those that are None are left out."""
    return "".join(_write_member(member, value[member.name]) for member in members if value.get(member.name) is not None and not member.attribute)


def _write_member(member: Member, value: Any) -> str:
    shape = member.shape
    if member.flat and shape.kind == "list":
        return "".join(write(member.items_wire, shape.items.shape, item, shape.items) for item in value)
    if member.flat and shape.kind == "map":
        return "".join(_entry(member.wire, shape, *pair) for pair in value.items())
    return write(member.wire, shape, value, member)


def _entry(name: str, shape: Shape, key: str, value: Any) -> str:
    return element(name, element(shape.keys.wire, text(key)) + write(shape.values.wire, shape.values.shape, value))


def _attributes(shape: Shape, value: Mapping[str, Any]) -> str:
    return "".join(f" {member.wire}={quoteattr(str(value[member.name]))}" for member in shape.members.values() if member.attribute and member.name in value)
