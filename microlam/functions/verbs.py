"""The verbs that change functions, versions and aliases.

The API, the admin and the command line call the same verbs and say who they are (`origin`), so that the history can tell. Each verb commits,
then replaces a frozen value: an invocation sees the state before or after it, never one between.
"""
from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace

from microlam.archives import Archive, folder_around
from microlam.errors import AliasExists, BadArchive, FunctionExists, FunctionNotFound, InvalidParameter, MicrolamError, PreconditionFailed, VersionInUse
from microlam.functions import documents, rules
from microlam.functions.registry import Registry
from microlam.functions.shelves import Shelf, previous
from microlam.functions.snapshot import ACTIVE, CREATING, UPDATING, Snapshot, difference, plain
from microlam.model import LATEST, Alias, Version, new_id
from microlam.store import Document


class Functions(Registry):
    """Every function, and what can be done to them."""

    # ---- functions of the API ----------------------------------------------------------------------------------------

    async def create(self, draft: Snapshot, code: bytes, *, origin: str, publish: bool = False) -> Snapshot:
        """Create a function from a zip; with `publish`, what comes back has the number of its first version."""
        shelf = self._shelves.of(draft.arn)
        async with shelf.lock:
            if draft.arn in self:
                raise FunctionExists(name=draft.name)
            archive = await self._archive(code, draft.handler)
            latest = self._stamped(draft, sha256=archive.sha256, size=archive.size, status=CREATING)
            entry = self._shelves.entry(draft.arn, "created", "function", origin=origin, after=plain(latest))
            await self._shelves.commit(entry, [documents.of_function(latest)])
            self._show_latest(shelf, latest)
            if not publish:
                return latest
            return replace(latest, number=(await self._publish(shelf, latest, None, origin)).number)

    async def update_code(
        self, arn: str, code: bytes, *, origin: str, options: Mapping[str, object] | None = None, revision: str | None = None, publish: bool = False,
        dry_run: bool = False,
    ) -> Snapshot:
        """Give a function the code of another zip; a dry run shows what would be, and with `publish` what comes back is the new version."""
        shelf = self._own(arn)
        async with shelf.lock:
            before = await self._before_change(shelf, revision)
            archive = await self._archive(code, before.handler)
            wished = replace(before, sha256=archive.sha256, size=archive.size, options={**before.options, **(options or {})})
            if dry_run:
                return wished
            latest = await self._change_latest(shelf, before, wished, "new code", origin)
            return latest if not publish else replace(await self._publish(shelf, latest, None, origin), status=latest.status)

    async def update_configuration(self, arn: str, changes: Mapping[str, object], *, origin: str, revision: str | None = None) -> Snapshot:
        """Change fields of a function's snapshot."""
        shelf = self._own(arn)
        async with shelf.lock:
            before = await self._before_change(shelf, revision)
            return await self._change_latest(shelf, before, replace(before, **changes), "changed", origin)  # type: ignore[arg-type]

    async def touch(self, arn: str, qualifier: str | None = None) -> None:
        """Note that something that hangs on a function, or on a version or alias of it, has changed: it gets a new revision."""
        shelf, revision = self._shelves.of(arn), new_id()
        async with shelf.lock:
            if qualifier in shelf.aliases:
                alias = replace(shelf.aliases[qualifier], revision=revision)
                await self._shelves.keep(documents.of_alias(alias))
                shelf.aliases[qualifier] = alias
            elif arn in self._hosted:
                return      # nothing of it is kept but its aliases
            elif qualifier in shelf.versions:
                version = replace(shelf.versions[qualifier], revision=revision)
                await self._shelves.keep(documents.of_version(version))
                shelf.versions[qualifier] = version
            elif qualifier is None and shelf.latest is not None and arn not in self._folder:
                latest = replace(await self._latest(arn), revision=revision)
                await self._shelves.keep(documents.of_function(latest))
                shelf.latest = latest

    async def delete(self, arn: str, *, origin: str) -> None:
        """Delete a function with its versions and aliases. Its history stays, and so does the count of its versions."""
        shelf = self._own(arn)
        async with shelf.lock:
            gone = [*map(documents.of_version, shelf.versions.values()), *map(documents.of_alias, shelf.aliases.values()),
                    *map(documents.of_provision, shelf.provisions.values()), *([documents.of_function(shelf.latest)] if shelf.latest else []),
                    *([documents.of_reserve(arn, 0)] if arn in self._shelves.reserved else [])]
            before = plain(shelf.latest) if shelf.latest else None
            await self._shelves.commit(self._shelves.entry(arn, "deleted", "function", origin=origin, before=before), forget=gone)
            ended = [*shelf.loaded.values(), *shelf.kept_warm.values()]
            shelf.latest = None
            for things in (shelf.versions, shelf.aliases, shelf.provisions, shelf.loaded, shelf.kept_warm):
                things.clear()
            self.concurrency.forget(arn)
        await self._forget(arn, None, *ended)

    def must_be_created(self, arn: str) -> None:
        """Raise unless a function may be changed here: unless it is one that no file makes, nor the host."""
        self._must_not_be_hosted(arn)
        if arn in self._folder:
            raise rules.KeptInFolder(name=arn.rpartition(":")[2], file=self._folder.file(arn))
        if arn not in self:
            raise FunctionNotFound(arn=arn)

    def _must_not_be_hosted(self, arn: str) -> None:
        if arn in self._hosted:
            raise rules.KeptByHost(name=arn.rpartition(":")[2])

    def _own(self, arn: str) -> Shelf:
        self.must_be_created(arn)
        return self._shelves.of(arn)

    async def _before_change(self, shelf: Shelf, revision: str | None) -> Snapshot:
        latest = await self._latest(shelf.arn)
        if revision is not None and revision != latest.revision:
            raise PreconditionFailed(call="GetFunction/GetAlias")
        return latest

    async def _archive(self, code: bytes, handler: str) -> Archive:
        folder = folder_around(code, handler)
        if folder is not None:
            raise BadArchive(reason=f'All files of the zip are in its folder "{folder}", but {handler} is looked for at its root. Zip what is in the folder: '
                                    f"(cd {folder} && zip -r ../{folder}.zip .)")
        return await asyncio.to_thread(self._archives.keep, code)

    def _stamped(self, snapshot: Snapshot, **facts: object) -> Snapshot:
        return replace(snapshot, modified=self._clock.now(), revision=new_id(), **facts)  # type: ignore[arg-type]

    async def _change_latest(self, shelf: Shelf, before: Snapshot, wished: Snapshot, what: str, origin: str) -> Snapshot:
        latest = self._stamped(wished, status=UPDATING)
        old, new = difference(before, latest)
        await self._shelves.commit(self._shelves.entry(shelf.arn, what, "function", origin=origin, before=old, after=new), [documents.of_function(latest)])
        self._show_latest(shelf, latest)
        return latest

    def _show_latest(self, shelf: Shelf, latest: Snapshot) -> None:
        shelf.latest = latest
        ended = shelf.loaded.pop(LATEST, None)
        shelf.settling = self._start(self._settle(shelf, latest, ended))

    async def _settle(self, shelf: Shelf, latest: Snapshot, ended: Version | None) -> None:
        """Make new code ready, and let what ran before it finish."""
        active, version = replace(latest, status=ACTIVE, revision=new_id()), None
        with suppress(MicrolamError, OSError):      # whatever hinders it is for the first invocation to tell
            version = await self._load(shelf, LATEST)
            if shelf.latest is latest:
                await self._shelves.keep(documents.of_function(active))
                await self._deployed.tell(version)
        if shelf.latest is latest:
            shelf.latest = active
        if ended is not None and (version is None or ended.key != version.key):
            await self._retire(ended)

    # ---- versions ----------------------------------------------------------------------------------------------------

    async def publish(
        self, arn: str, *, origin: str, description: str | None = None, revision: str | None = None, sha256: str | None = None
    ) -> Snapshot:
        """Number what `$LATEST` is now; while nothing has changed since, that is the last number again."""
        self._must_not_be_hosted(arn)
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            latest = await (self._files_to_publish(arn) if arn in self._folder else self._latest(arn))
            if sha256 is not None and sha256 != latest.sha256:
                raise rules.OtherCode(asked=sha256, found=latest.sha256)
            if revision is not None and revision != latest.revision:
                raise PreconditionFailed(call="GetFunction/GetAlias")
            return await self._publish(shelf, latest, description, origin)

    async def _publish(self, shelf: Shelf, latest: Snapshot, description: str | None, origin: str) -> Snapshot:
        last = shelf.versions.get(str(shelf.last))
        if last is not None and last.content == latest.fingerprint:
            return last
        number, numbering = self._shelves.numbered(shelf)
        published = self._stamped(
            latest, number=number, status=ACTIVE, content=latest.fingerprint, description=latest.description if description is None else description,
        )
        version = await self._version(published)
        if shelf.arn in self._folder:
            await self._import(version)
        entry = self._shelves.entry(shelf.arn, "published", "version", number, origin=origin, after=plain(published))
        await self._shelves.commit(entry, [documents.of_version(published), numbering])
        shelf.versions[number], shelf.loaded[number], shelf.last = published, version, int(number)
        self._start(self._deployed.tell(version))
        return published

    async def _files_to_publish(self, arn: str) -> Snapshot:
        """What the folder's files are now; raises DoesNotImport while what serves is not what they say."""
        version = await self._folder.current(arn)
        _must_run(version, self._folder.error(arn))
        return await self._snapshot_of_files(version)

    async def _import(self, version: Version) -> None:
        """Have a worker import the very bytes that get a number."""
        outcome = await self._warm(version)
        if outcome is not None:
            await self._retire(version)
            _must_run(version, outcome.error)

    async def delete_version(self, arn: str, number: str, *, origin: str) -> None:
        """Delete a version that no alias names; its number is not given again."""
        self._must_not_be_hosted(arn)
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            snapshot = shelf.versions.get(number)
            if snapshot is None:
                return
            using = [name for name, alias in sorted(shelf.aliases.items()) if number in (alias.number, alias.other)]
            if using:
                raise VersionInUse(aliases=", ".join(using))
            provisions = [documents.of_provision(shelf.provisions[number])] if number in shelf.provisions else []
            entry = self._shelves.entry(arn, "deleted", "version", number, origin=origin, before=plain(snapshot))
            await self._shelves.commit(entry, forget=[documents.of_version(snapshot), *provisions])
            del shelf.versions[number]
            shelf.provisions.pop(number, None)
            ended = [version for version in (shelf.loaded.pop(number, None), shelf.kept_warm.pop((number, number), None)) if version]
        self.concurrency.settle(shelf)
        await self._forget(arn, number, *ended)

    async def restore_version(self, arn: str, number: str, before: Mapping[str, object], *, origin: str) -> Snapshot:
        """Have a deleted version back, just as it was; `before` is what the history tells of it."""
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            snapshot = documents.read_snapshot(Document(kind="version", owner=arn, name=number, body=before))
            if arn not in self:
                raise FunctionNotFound(arn=arn)
            if number in shelf.versions:
                raise InvalidParameter(reason=f"Version {number} of {snapshot.name} is there.")
            if self.zip(snapshot.sha256) is None:
                raise InvalidParameter(reason=f"The code of version {number} of {snapshot.name} is not kept any more. Publish it again.")
            entry = self._shelves.entry(arn, "restored", "version", number, origin=origin, after=plain(snapshot))
            await self._shelves.commit(entry, [documents.of_version(snapshot)])
            shelf.versions[number] = snapshot
        return snapshot

    async def _forget(self, arn: str, qualifier: str | None, *versions: Version) -> None:
        for version in versions:
            self._start(self._retire(version))
        for forgotten in self.forgotten:
            await forgotten(arn, qualifier)

    # ---- aliases -----------------------------------------------------------------------------------------------------

    async def create_alias(
        self, arn: str, name: str, number: str, *, origin: str, other: str | None = None, weight: float = 0.0, description: str = ""
    ) -> Alias:
        """Name a version; an `other` one gets the share `weight` of what is invoked by that name."""
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            alias = Alias(arn=arn, name=name, number=number, other=other, weight=weight, description=description, revision=new_id())
            if arn not in self:
                raise FunctionNotFound(arn=f"{arn}:{number}")
            if name in shelf.aliases:
                raise AliasExists(arn=alias.qualified)
            return await self._put_alias(shelf, alias, "created", origin)

    async def update_alias(self, arn: str, name: str, changes: Mapping[str, object], *, origin: str, revision: str | None = None) -> Alias:
        """Change fields of an alias: `number`, `other` with `weight`, `description`."""
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            before = self.alias(arn, name)
            if revision is not None and revision != before.revision:
                raise PreconditionFailed(call="GetFunction/GetAlias")
            return await self._put_alias(shelf, replace(before, **changes), "changed", origin)  # type: ignore[arg-type]

    async def promote(self, arn: str, name: str, *, origin: str) -> Alias:
        """Let the other version of an alias have all of it."""
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            alias = self.alias(arn, name)
            if alias.other is None:
                raise rules.NothingToPromote(alias=f"{arn.rpartition(':')[2]}:{name}", number=alias.number, function=arn.rpartition(":")[2], name=name)
            return await self._put_alias(shelf, replace(alias, number=alias.other, other=None, weight=0.0), "promoted", origin)

    async def rollback(self, arn: str, name: str, *, origin: str) -> Alias:
        """Take the share of the other version back; where there is none, go back to the version that the alias named before."""
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            alias = self.alias(arn, name)
            if alias.other is not None:
                return await self._put_alias(shelf, replace(alias, other=None, weight=0.0), "changed", origin)
            number = previous(await self._shelves.changes(arn), name)
            if number is None or (number != LATEST and number not in shelf.versions):
                raise rules.NothingBefore(alias=f"{arn.rpartition(':')[2]}:{name}", number=alias.number)
            return await self._put_alias(shelf, replace(alias, number=number), "rolled back", origin)

    async def delete_alias(self, arn: str, name: str, *, origin: str) -> None:
        """Delete an alias; the versions it names stay."""
        shelf = self._shelves.of(arn)
        async with shelf.lock:
            alias = shelf.aliases.get(name)
            if alias is None:
                return
            provisions = [documents.of_provision(shelf.provisions[name])] if name in shelf.provisions else []
            entry = self._shelves.entry(arn, "deleted", "alias", name, origin=origin, before=asdict(alias))
            await self._shelves.commit(entry, forget=[documents.of_alias(alias), *provisions])
            del shelf.aliases[name]
            shelf.provisions.pop(name, None)
        self.concurrency.settle(shelf)
        await self._forget(arn, name)

    async def _put_alias(self, shelf: Shelf, wished: Alias, what: str, origin: str) -> Alias:
        alias, before = replace(wished, revision=new_id()), shelf.aliases.get(wished.name)
        rules.check_alias(alias, shelf.versions)
        entry = self._shelves.entry(
            shelf.arn, what, "alias", alias.name, origin=origin, before=asdict(before) if before else None, after=asdict(alias),
        )
        await self._shelves.commit(entry, [documents.of_alias(alias)])
        shelf.aliases[alias.name] = alias
        self.concurrency.moved(shelf, alias.name)
        return alias


def _must_run(version: Version, error: Mapping[str, object] | None) -> None:
    if error is not None:
        raise rules.DoesNotImport(name=version.name, kind=error.get("errorType"), message=error.get("errorMessage"))
