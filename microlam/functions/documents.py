"""How functions, versions, aliases and changes are written as documents, and read again."""
from __future__ import annotations

import dataclasses
from datetime import datetime

from microlam.functions.snapshot import Change, Provision, Snapshot, plain
from microlam.model import Alias, account_of, region_of
from microlam.store import Document


def owner_of(arn: str) -> str:
    """Who owns functions: an account in a region."""
    return f"{account_of(arn)}:{region_of(arn)}"


def of_function(snapshot: Snapshot) -> Document:
    return Document(kind="function", owner=owner_of(snapshot.arn), name=snapshot.name, body=plain(snapshot))


def of_version(snapshot: Snapshot) -> Document:
    return Document(kind="version", owner=snapshot.arn, name=snapshot.number, body=plain(snapshot))


def of_alias(alias: Alias) -> Document:
    return Document(kind="alias", owner=alias.arn, name=alias.name, body=dataclasses.asdict(alias))


def of_provision(provision: Provision) -> Document:
    body = {"requested": provision.requested, "modified": provision.modified.isoformat()}
    return Document(kind="provision", owner=provision.arn, name=provision.qualifier, body=body)


def of_reserve(arn: str, reserved: int) -> Document:
    return Document(kind="reserve", owner=arn, name="", body={"reserved": reserved})


def of_numbering(arn: str, last: int) -> Document:
    """The last number that was given to a version; it outlives the function, because no number is used twice."""
    return Document(kind="numbering", owner=arn, name="", body={"last": last})


def of_change(change: Change) -> Document:
    body = {name: value for name, value in dataclasses.asdict(change).items() if name not in ("id", "arn")}
    return Document(kind="change", owner=change.arn, name=change.id, body=body | {"at": change.at.isoformat()})


def read_snapshot(document: Document) -> Snapshot:
    body = dict(document.body)
    for name in ("layers", "path", "preload"):
        body[name] = tuple(body[name])
    return Snapshot(**body | {"modified": datetime.fromisoformat(body["modified"])})


def read_alias(document: Document) -> Alias:
    return Alias(**document.body)


def read_provision(document: Document) -> Provision:
    return Provision(
        arn=document.owner, qualifier=document.name, requested=document.body["requested"], modified=datetime.fromisoformat(document.body["modified"]),
    )


def read_change(document: Document) -> Change:
    return Change(**dict(document.body) | {"id": document.name, "arn": document.owner, "at": datetime.fromisoformat(document.body["at"])})
