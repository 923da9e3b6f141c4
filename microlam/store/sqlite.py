"""SQLite as the store's database: open, read rows, write units, close. Nothing here knows what the rows mean.

One connection writes and, as a rule, others read, each on a thread of its own (aiosqlite's): a long search holds up neither a write nor a page.
"""
from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import lru_cache, partial
from itertools import chain, compress
from pathlib import Path
from threading import Thread
from typing import Any, Self, TypeVar

import aiosqlite

from microlam.errors import DataFolderNewer, RecordUnavailable, SettingsError
from microlam.store.database import Parameters, Row, Step, Undone, Unit

T = TypeVar("T")

# In WAL mode, NORMAL hands every commit to the operating system and syncs at checkpoints only: what was committed survives
# `kill -9` of this process. Loss of power may take the last commits, but never breaks the database.
_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "temp_store = MEMORY")

# sqlite3 gives up Python's lock at every statement and, beside a busy event loop, waits long to have it back: a record written
# with two statements of its own came ten times slower than one of many in the same statement, and cost the loop more.
_BATCHES = (128, 32, 8, 2, 1)
_INSERT = re.compile(r"(INSERT .*\sVALUES )(\(.*?\))(\s*(?:ON CONFLICT.*)?;)", re.DOTALL)


# Threads that read. Each holds a third of a megabyte for good, so another one is made only when all have been busy for so many seconds.
_READERS, _PATIENCE = 4, 0.05

Function = Callable[..., Any]


class Sqlite:
    """One database file."""

    def __init__(
        self, path: Path, writer: aiosqlite.Connection, queries: Mapping[str, str], functions: Mapping[str, Function], alone: bool,
    ) -> None:
        self._path, self._writer, self._functions = path, writer, functions
        self._beside: dict[str, Path] = {}
        self._readers: list[aiosqlite.Connection] = []
        self._unopened = 0 if alone else _READERS
        self._idle: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        if alone:
            self._idle.put_nowait(writer)
        self._queries = queries
        self._inserts = {name: match.groups() for name, query in queries.items() if (match := _INSERT.fullmatch(query))}
        self._returning = frozenset(name for name, query in queries.items() if re.search(r"\bRETURNING\b", query))

    @classmethod
    async def open(
        cls, path: Path, queries: Mapping[str, str], migrations: Path, *,
        functions: Mapping[str, Function] | None = None, beside: Mapping[str, Path] | None = None, alone: bool = False,
    ) -> Self:
        """Open the file, made or brought up to date by the numbered SQL files in `migrations`.

        Queries may call these Python functions; what is written may also be read from the files `beside` it, by name. With `alone`, the connection
        that writes is the one that reads: for those who only read what they write.
        """
        try:
            writer = await _connect(path, functions or {}, {})
            try:
                for pragma in _PRAGMAS:
                    await writer.execute_fetchall(f"PRAGMA {pragma}")
                await _migrate(writer, path.parent, migrations)
                await _attach(writer, beside or {})
            except BaseException:
                await writer.close()
                raise
        except sqlite3.Error as error:
            raise SettingsError(reason=f"{path}: {error}") from error
        return cls(path, writer, queries, functions or {}, alone)

    def read_beside(self, name: str, path: Path) -> None:
        """From now on queries may read another file as well."""
        self._beside[name] = path

    async def rows(self, query: str, make: Callable[[Row], T], **parameters: Any) -> list[T]:
        """What a named query finds, each row made into a value off the event loop."""
        reader = await self._reader()
        try:
            return await _in_thread(reader, partial(self._read, query, make, parameters))
        except asyncio.CancelledError:
            if reader is not self._writer:
                await reader.interrupt()        # nobody waits for it any more
            raise
        finally:
            self._idle.put_nowait(reader)

    async def _reader(self) -> aiosqlite.Connection:
        if self._unopened == _READERS:
            return await self._another()
        try:
            async with asyncio.timeout(_PATIENCE if self._unopened else None):
                return await self._idle.get()
        except TimeoutError:
            return await (self._another() if self._unopened else self._idle.get())

    async def _another(self) -> aiosqlite.Connection:
        self._unopened -= 1
        try:
            self._readers.append(reader := await _connect(self._path, self._functions, self._beside))
        except sqlite3.Error as error:
            self._unopened += 1
            raise _unavailable(error) from error
        return reader

    async def write(self, units: Sequence[Unit]) -> list[list[Row] | Exception]:
        """Commit the units together; each gives the rows that its last step returned, or why it alone was undone."""
        return await _in_thread(self._writer, partial(self._commit, units))

    async def close(self) -> None:
        async with AsyncExitStack() as closing:         # all of them, also when cancelled
            for connection in (self._writer, *self._readers):
                closing.push_async_callback(connection.close)

    # ---- on the connections' threads ----

    def _read(self, query: str, make: Callable[[Row], T], parameters: Parameters, connection: sqlite3.Connection) -> list[T]:
        return [make(row) for row in connection.execute(self._queries[query], parameters)]

    def _commit(self, units: Sequence[Unit], connection: sqlite3.Connection) -> list[list[Row] | Exception]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            written = [self._unit(unit, connection) for unit in units]
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        return written

    def _unit(self, unit: Unit, connection: sqlite3.Connection) -> list[Row] | Exception:
        connection.execute("SAVEPOINT unit")
        try:
            rows: list[Row] = []
            for step in unit():
                rows = self._step(step, connection)
        except Exception as error:
            if _concerns_all(error):
                raise
            connection.execute("ROLLBACK TO unit")
            return _unavailable(error) if isinstance(error, sqlite3.Error) else error
        finally:
            # A full disk may have ended the whole transaction already.
            if connection.in_transaction:
                connection.execute("RELEASE unit")
        return rows

    def _step(self, step: Step, connection: sqlite3.Connection) -> list[Row]:
        query = self._queries[step.query]
        if step.query in self._returning:
            return [row for parameters in step.rows for row in connection.execute(query, parameters).fetchall()]
        if step.query in self._inserts:
            self._insert(step, connection)
        elif connection.executemany(query, step.rows).rowcount == 0 and step.required:
            raise Undone
        return []

    def _insert(self, step: Step, connection: sqlite3.Connection) -> None:
        for rows in _batches(list(step.rows)):
            columns = list(zip(*rows, strict=True))
            # sqlite3 takes ten times as long for a None as for a number, and Python's lock is held all the while.
            filled = tuple(column.count(None) < len(rows) for column in columns)
            statement = _insertion(*self._inserts[step.query], len(rows), filled)
            connection.execute(statement, list(chain.from_iterable(zip(*compress(columns, filled), strict=True))))


@lru_cache(maxsize=128)
def _insertion(before: str, values: str, after: str, count: int, filled: tuple[bool, ...]) -> str:
    """The statement for so many rows at once; a column that is not `filled` is empty in all of them."""
    marks = iter(filled)
    values = re.sub(r"\?", lambda _: "?" if next(marks) else "NULL", values)
    return before + ", ".join([values] * count) + after


def _batches(rows: Sequence[Parameters]) -> Iterator[Sequence[Parameters]]:
    """The rows in batches of few different sizes, so that few different statements are prepared."""
    start = 0
    while start < len(rows):
        size = next(size for size in _BATCHES if size <= len(rows) - start)
        yield rows[start:start + size]
        start += size


def _concerns_all(error: Exception) -> bool:
    """Whether the database itself is at fault (full disk, lost file), not what one unit wanted to write."""
    return type(error) is sqlite3.DatabaseError or isinstance(error, sqlite3.OperationalError | MemoryError)


def _roll_back(connection: sqlite3.Connection) -> None:
    # After some errors SQLite has rolled back by itself.
    with suppress(sqlite3.Error):
        connection.execute("ROLLBACK")


async def _in_thread(connection: aiosqlite.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run a whole piece of work in one visit to the connection's thread: aiosqlite's public methods cost one a statement."""
    try:
        result: T = await connection._execute(lambda: work(connection._conn))  # type: ignore[no-untyped-call]
    except (sqlite3.Error, MemoryError) as error:
        raise _unavailable(error) from error
    return result


def _unavailable(error: Exception) -> RecordUnavailable:
    return RecordUnavailable(reason=str(error) or type(error).__name__)


async def _connect(path: Path, functions: Mapping[str, Function], beside: Mapping[str, Path]) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, isolation_level=None, uri=True)
    # A program that ends without closing us ends all the same. Before aiosqlite 0.22 the connection is its thread.
    thread: Thread = getattr(connection, "_thread", connection)     # type: ignore[arg-type]  # as its types tell the newer one
    thread.daemon = True
    await connection
    try:
        for name, function in functions.items():
            await connection.create_function(name, -1, function, deterministic=True)
        await _attach(connection, beside)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _attach(connection: aiosqlite.Connection, files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        # Read-only: else each transaction of ours would hold the other file as well.
        await connection.execute_fetchall(f"ATTACH ? AS {name}", (f"{path.absolute().as_uri()}?mode=ro",))


async def _migrate(writer: aiosqlite.Connection, folder: Path, migrations: Path) -> None:
    [(found,)] = await writer.execute_fetchall("PRAGMA user_version")
    files = {int(path.name[:4]): path for path in sorted(migrations.glob("[0-9][0-9][0-9][0-9]_*.sql"))}
    if found > max(files):
        raise DataFolderNewer(folder=folder, found=found, known=max(files))
    for number, path in files.items():
        if number > found:
            await writer.executescript(f"BEGIN IMMEDIATE;\n{path.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")
