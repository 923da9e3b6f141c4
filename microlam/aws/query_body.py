"""Form bodies of the query protocol: `Tags.member.1.Key=a` read as nested values."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microlam.aws.tables import Member, Shape
from microlam.aws.values import read_text


class Node(dict[str, "Node"]):
    """One part of a dotted name; `text` is what stands at exactly this name."""

    text: str | None = None


def tree(pairs: Iterable[tuple[str, str]]) -> Node:
    """Dotted names as a tree."""
    root = Node()
    for name, text in pairs:
        node = root
        for part in name.split("."):
            node = node.setdefault(part, Node())
        node.text = text
    return root


def read(shape: Shape, node: Node) -> Any:
    """What a branch says of a shape."""
    match shape.kind:
        case "structure":
            return _read_structure(shape, node)
        case "list":
            return _read_list(shape, node.get(shape.items.wire, Node()))
        case "map":
            return _read_map(shape, node.get("entry", Node()))
    return read_text(shape, node.text or "")


def _read_structure(shape: Shape, node: Node) -> dict[str, Any]:
    found = {}
    for name, member in shape.members.items():
        branch = node.get(member.items_wire if member.flat and member.shape.kind == "list" else member.wire)
        if branch is not None:
            found[name] = _read_member(member, branch)
    return found


def _read_member(member: Member, branch: Node) -> Any:
    if not member.flat:
        return read(member.shape, branch)
    return _read_list(member.shape, branch) if member.shape.kind == "list" else _read_map(member.shape, branch)


def _read_list(shape: Shape, items: Node) -> list[Any]:
    return [read(shape.items.shape, item) for item in _in_order(items)]


def _read_map(shape: Shape, entries: Node) -> dict[str, Any]:
    return {
        entry[shape.keys.wire].text or "": read(shape.values.shape, entry.get(shape.values.wire, Node()))
        for entry in _in_order(entries) if shape.keys.wire in entry
    }


def _in_order(items: Node) -> list[Node]:
    return [items[index] for index in sorted((part for part in items if part.isdecimal()), key=int)]
