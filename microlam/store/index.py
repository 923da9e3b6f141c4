"""The index of words: a file beside the record, made from it, so that it can be made again.

It is written behind the record, in batches. A search that it leads also looks at what is not indexed yet (queries.sql, `list_words`).
"""
from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from microlam.errors import SettingsError
from microlam.store import words
from microlam.store.database import Step
from microlam.store.sqlite import Sqlite

FILE = "words.db"
COMMON = 20_000                     # a word that more records hold is too common to lead together with others

_ADD = {"a": "index_words_a", "b": "index_words_b"}
_EMPTY = {"a": "empty_words_a", "b": "empty_words_b"}
_MIGRATIONS = Path(__file__).parent / "migrations" / "words"


@dataclass(frozen=True, slots=True)
class _Turn:
    """One of the two indexes: from which to which key it reaches (None: it is empty), and whether it is the one that is written."""

    name: str
    first: bytes | None
    last: bytes | None
    written: bool


class Index:
    """Finds the records that hold words."""

    def __init__(self, record: Sqlite, database: Sqlite) -> None:
        self._record, self._database = record, database

    @classmethod
    async def open(cls, folder: Path, record: Sqlite, queries: Mapping[str, str], *, wanted: bool) -> Self | None:
        """Open the index of a data folder; one that is new, or cannot be read, is made of all that has ended. None: it is not wanted, or SQLite lacks FTS5."""
        if not (wanted and _available()):
            _remove(folder)         # it would lack what is recorded without it
            return None
        try:
            database = await _open(folder, queries)
        except SettingsError:
            _remove(folder)
            database = await _open(folder, queries)
        record.read_beside("words", folder / FILE)
        index = cls(record, database)
        if all(turn.first is None for turn in await index._turns()):
            await _write(record, [Step("index_everything")])
        return index

    async def close(self) -> None:
        await self._database.close()

    # ---- writing -------------------------------------------------------------------------------------------------

    async def add(self, first: bytes, last: bytes) -> None:
        """Index what has ended and is not indexed yet, from one key to another. To do it again, after a crash, changes nothing."""
        name = next(turn.name for turn in await self._turns() if turn.written)
        await _write(self._database, [
            Step(_ADD[name], [{"last": last}]), Step("keep_places", [{"last": last}]), Step("extend_turn", [{"name": name, "first": first, "last": last}]),
        ])

    async def oldest(self) -> bytes:
        """The key of the oldest there is: what is indexed beyond is forgotten."""
        return (await self._record.rows("oldest", lambda row: row[0] or b""))[0]

    async def forget(self) -> None:
        """Where one of the two indexes knows nothing but what was forgotten, it is the next one to be written."""
        oldest, turns = await self.oldest(), await self._turns()
        written, other = sorted(turns, key=lambda turn: not turn.written)
        if written.first is not None and written.first < oldest and (other.last is None or other.last < oldest):
            gone = {"last": place(other.last or b"")}
            await _write(self._database, [Step(_EMPTY[other.name]), Step("forget_places", [gone]), Step("turn", [{"name": other.name}])])

    async def _turns(self) -> list[_Turn]:
        return await self._database.rows("turns", lambda row: _Turn(row[0], row[1], row[2], bool(row[3])))

    # ---- finding -------------------------------------------------------------------------------------------------

    async def lead(self, sought: Sequence[str]) -> tuple[str, int]:
        """The FTS5 query that leads to all records with these words, and how many hold the rarest, up to COMMON: then that one leads alone.

        Two common words that seldom meet would be looked for through the whole index, and nothing could stop that.
        """
        counts = {word: await self._count(word) for word in sought}
        rarest = min(sought, key=lambda word: counts[word])
        return words.match(sought if counts[rarest] < COMMON else [rarest]), counts[rarest]

    async def _count(self, word: str) -> int:
        return (await self._record.rows("count_word", lambda row: int(row[0]), match=words.match([word]), most=COMMON))[0]


async def _write(database: Sqlite, steps: Sequence[Step]) -> None:
    [result] = await database.write([lambda: steps])
    if isinstance(result, Exception):
        raise result


async def _open(folder: Path, queries: Mapping[str, str]) -> Sqlite:
    return await Sqlite.open(
        folder / FILE, queries, _MIGRATIONS, functions={"spelled_out": words.spelled_out}, beside={"record": folder / "microlam.db"}, alone=True,
    )


def _available() -> bool:
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
        except sqlite3.OperationalError:
            return False
    return True


def _remove(folder: Path) -> None:
    for file in folder.glob(f"{FILE}*"):
        file.unlink()


def place(key: bytes) -> int:
    """Where a key stands among the numbers of indexed rows: its first eight bytes, as SQLite counts them."""
    return int.from_bytes(key[:8].ljust(8, b"\0"), "big") - (1 << 63)
