"""What an export of a model run gave, on this machine: a table of its rows, and how far the export is."""

import base64
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from labelloop.errors import StoreError
from labelloop.labelbox.rows import Row, read_votes, write_votes
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey

Stage = Literal["new", "reading", "splits", "refreshing", "done"]

_FORM = 1
"""The form of the table; one of another form is emptied."""

_PAGE = 1000
"""Rows that are read at a time."""

_SCHEMA = f"""
CREATE TABLE rows (
    number INTEGER NOT NULL, data_row TEXT NOT NULL, address TEXT NOT NULL, text TEXT NOT NULL, split TEXT NOT NULL,
    votes TEXT NOT NULL, reason TEXT NOT NULL, width INTEGER, height INTEGER, aside TEXT NOT NULL
);
CREATE TABLE export (state TEXT NOT NULL);
PRAGMA user_version = {_FORM};
"""


@dataclass(frozen=True, slots=True)
class ExportState:
    """How far an export is: of which ``task``, begun at which moment (Unix seconds), and what is read of it.

    ``offset`` is the first byte that is not read, ``rest`` the beginning of a line before it, ``lines`` how many lines
    are read. ``cursor`` is the next page of the model run's splits, where the export does not tell them. ``unreadable``
    counts lines that name no data row, ``remark`` says what Labelbox could not export. ``attempt`` is whose export it
    is.
    """

    stage: Stage = "new"
    task: str = ""
    begun: float = 0.0
    offset: int = 0
    rest: bytes = b""
    lines: int = 0
    cursor: str = ""
    unreadable: int = 0
    remark: str = ""
    attempt: int = 0

    @classmethod
    def read(cls, text: str) -> Self:
        """Read back what ``written`` wrote; what it does not know is left out."""
        told = json.loads(text)
        known = {entry.name: told[entry.name] for entry in fields(cls) if entry.name in told}
        return cls(**{**known, "rest": base64.b64decode(known.get("rest", ""))})

    def written(self) -> str:
        """Spell it as JSON."""
        return json.dumps({**asdict(self), "rest": base64.b64encode(self.rest).decode()})


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in a table: rows by the name of their split ("" where none is told), and by why they are left out."""

    rows: int
    splits: Mapping[str, int]
    left_out: Mapping[str, int]


class RowTable:
    """The rows of a model run in a file, in order of their numbers. Safe to share between threads.

    One process writes, others may read. All of it may be deleted at any time: it is exported again. Nothing is held but
    what is read at a time. Every method raises StoreError where the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._kept():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._file = self._open()
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    raise
                # What is no table any more, after a crash of the machine, is exported again.
                for one in path.parent.glob(f"{path.name}*"):
                    one.unlink()
                self._file = self._open()

    @classmethod
    def of(cls, settings: Settings, project: ProjectKey) -> Self:
        """Open the table of a model run."""
        return cls(settings.directory / "cache" / "labelbox" / str(project) / "rows.sqlite")

    @property
    def state(self) -> ExportState:
        """How far the export is."""
        found = self._all("SELECT state FROM export")
        return ExportState.read(found[0][0]) if found else ExportState()

    @property
    def complete(self) -> bool:
        """Whether all rows are there."""
        return self.state.stage in ("done", "refreshing")

    @property
    def exported_at(self) -> float:
        """When the export began that its links are of, in Unix seconds: they expire some time after that.

        0 where it has links of several exports.
        """
        state = self.state
        return 0.0 if state.stage == "refreshing" else state.begun

    def rows(self, after: int = 0) -> Iterator[Row]:
        """Yield the rows with a number above ``after``, in order; they may be written meanwhile."""
        while page := self._all("SELECT * FROM rows WHERE number > ? ORDER BY number LIMIT ?", after, _PAGE):
            yield from map(_row, page)
            after = page[-1][0]

    def get(self, number: int) -> Row | None:
        """Give a row by its number; None where there is none."""
        found = self._all("SELECT * FROM rows WHERE number = ?", number)
        return _row(found[0]) if found else None

    # Counted here: to group rows, SQLite sorts them, which takes as much memory again as its cache.

    def counts(self) -> Counts:
        """Count what is there."""
        splits: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        for split, reason in self._each("SELECT split, reason FROM rows"):
            splits[split] += 1
            left_out[reason] += 1
        del left_out[""]
        return Counts(splits.total(), splits, left_out)

    def aside(self) -> Mapping[str, int]:
        """Count what the labels of all rows say that is not learned, by what it is, the most frequent first."""
        found: Counter[str] = Counter()
        for (told,) in self._each("SELECT aside FROM rows WHERE aside != ''"):
            found.update(json.loads(told))
        return dict(found.most_common())

    def tells_splits(self) -> bool:
        """Whether any row came with its split."""
        return bool(self._all("SELECT 1 FROM rows WHERE split != '' LIMIT 1"))

    def begin(self, attempt: int) -> None:
        """Forget what another attempt has exported; what this one has, stays."""
        if self.state.attempt != attempt:
            self.clear(ExportState(attempt=attempt))

    def clear(self, state: ExportState | None = None) -> None:
        """Forget all rows and the export, so that the next one begins anew."""
        state = state or ExportState(attempt=self.state.attempt)
        with self.transaction():
            self._change("DROP INDEX IF EXISTS by_number")
            self._change("DELETE FROM rows")
            self.keep(state)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all that is written inside the block, or nothing of it where it raises."""
        self._change("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._file.in_transaction:
                self._change("ROLLBACK")
            raise
        self._change("COMMIT")

    def keep(self, state: ExportState) -> None:
        """Write how far the export is."""
        self._change("DELETE FROM export")
        self._change("INSERT INTO export VALUES (?)", [(state.written(),)])

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows; once they are ordered, in the place of those with the same number."""
        self._change("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_values, rows))

    def order(self) -> None:
        """Have rows found by their numbers, when all are there; of those with the same one the last stays.

        Ordered while they come, the place of each would be somewhere else in the file: a million rows would take half
        as long again.
        """
        index = "CREATE UNIQUE INDEX IF NOT EXISTS by_number ON rows (number)"
        try:
            self._change(index)
        except StoreError as error:
            if not isinstance(error.__cause__, sqlite3.IntegrityError):
                raise
            self._change("DELETE FROM rows WHERE rowid NOT IN (SELECT max(rowid) FROM rows GROUP BY number)")
            self._change(index)

    def readdress(self, rows: Iterable[Row]) -> None:
        """Give rows that are there the addresses of these; all else stays as it is."""
        self._change("UPDATE rows SET address = ? WHERE number = ?", ((one.address, one.number) for one in rows))

    def split(self, splits: Iterable[tuple[int, str]]) -> None:
        """Give rows, by their numbers, the names of their splits."""
        self._change("UPDATE rows SET split = ? WHERE number = ?", ((name, number) for number, name in splits))

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._kept():
            self._file.close()

    def _open(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)  # signed links are in it
        file = sqlite3.connect(self._path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -8000"):
                file.execute(f"PRAGMA {pragma}")
            if file.execute("PRAGMA user_version").fetchone()[0] != _FORM:
                file.executescript(f"DROP TABLE IF EXISTS rows; DROP TABLE IF EXISTS export; {_SCHEMA}")
        except BaseException:
            file.close()
            raise
        return file

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._kept():
            return self._file.execute(query, values).fetchall()

    def _each(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield what a query finds; until it is through, nobody else reads or writes."""
        with self._lock, self._kept():
            yield from self._file.execute(query)

    def _change(self, statement: str, values: Iterable[Sequence[object]] | None = None) -> None:
        with self._lock, self._kept():
            if values is None:
                self._file.execute(statement)
            else:
                self._file.executemany(statement, values)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"the rows of a model run cannot be kept in {self._path}: {error}. Free space there, or delete the "
                "folder if that does not help: the rows are exported again."
            ) from error


def _values(row: Row) -> tuple[object, ...]:
    width, height = row.size or (None, None)
    votes, aside = write_votes(row.votes), json.dumps(dict(row.aside)) if row.aside else ""
    return row.number, row.data_row, row.address, row.text, row.split, votes, row.reason, width, height, aside


def _row(values: tuple[Any, ...]) -> Row:
    number, data_row, address, text, split, votes, reason, width, height, aside = values
    size = None if width is None else (width, height)
    left: Json = json.loads(aside) if aside else {}
    return Row(number, data_row, address, text, split, read_votes(votes), reason, size, left)
