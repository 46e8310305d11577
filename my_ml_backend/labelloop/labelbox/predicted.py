"""What is to be uploaded to a model run, in a file of this machine: whoever takes up a killed job goes on from there.

It is SQLite, so that what was kept stays whole wherever the process is killed, and a million rows take no memory.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from labelloop.errors import StoreError
from labelloop.labelbox.lines import withdrawn
from labelloop.types import Json

_TOGETHER = 250
"""Rows that are read at a time: nothing is locked while something is made of them."""

_REASONS = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS predicted
    (version TEXT, number INTEGER, lines TEXT, reason TEXT, PRIMARY KEY (version, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_number ON predicted (number);
CREATE TABLE IF NOT EXISTS earlier (number INTEGER, lines TEXT, PRIMARY KEY (number, lines)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempt (number INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a version says of the data row of a number: ``lines`` for Labelbox; none for a ``reason``."""

    number: int
    version: str
    lines: Sequence[Json] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows have lines, how many could be given none, and why: the first few reasons."""

    rows: int
    left_out: int
    reasons: tuple[str, ...]


class PredictedRows:
    """Predictions by version and data row. Safe to share between threads; ``version`` "" is any of them.

    Raises StoreError where the disk refuses.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def add(self, predicted: Iterable[Predicted]) -> None:
        """Keep all of these or none, each in place of what was kept of its version and row before."""
        entries = [(one.version, one.number, json.dumps(list(one.lines)), one.reason) for one in predicted]
        with self._open() as base, base:
            base.executemany("INSERT OR REPLACE INTO predicted VALUES (?, ?, ?, ?)", entries)

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of all rows that something is kept of, in order."""
        after = -1
        while page := self._read(
            "SELECT DISTINCT number FROM predicted WHERE number > ? ORDER BY number LIMIT ?", after, _TOGETHER
        ):
            yield from (number for (number,) in page)
            after = page[-1][0]

    def lines(self, version: str = "") -> Iterator[Json]:
        """Yield all lines, in the order of versions and numbers: each time the same."""
        for one in self._versions(version):
            after = -1
            while page := self._read(
                "SELECT number, lines FROM predicted WHERE version = ? AND number > ? ORDER BY number LIMIT ?",
                *(one, after, _TOGETHER),
            ):
                for _, lines in page:
                    yield from json.loads(lines)
                after = page[-1][0]

    def withdrawn(self, version: str = "") -> Iterator[Json]:
        """Yield, withdrawn, what was said earlier and is not any more, each line once (lines.py).

        Of a version that is what the others say; of any, what earlier attempts have said.
        """
        others, after = "predicted WHERE version != ?" if version else "earlier WHERE ? = ''", -1
        while page := self._read(
            f"SELECT DISTINCT number FROM {others} AND number > ? ORDER BY number LIMIT ?",  # noqa: S608 - no value
            *(version, after, _TOGETHER),
        ):
            numbers = [number for (number,) in page]
            before = self._by_uuid(others, version, numbers)
            now = self._by_uuid("predicted WHERE ? IN ('', version)", version, numbers)
            for number in numbers:
                gone = sorted(before[number].keys() - now[number].keys())
                yield from filter(None, (withdrawn(before[number][name]) for name in gone))
            after = numbers[-1]

    def _by_uuid(self, where: str, version: str, numbers: Sequence[int]) -> dict[int, dict[str, Json]]:
        """Give the lines of rows by their uuids."""
        among = ", ".join("?" * len(numbers))
        query = f"SELECT number, lines FROM {where} AND number IN ({among}) ORDER BY lines"  # noqa: S608 - no value
        found: dict[int, dict[str, Json]] = {number: {} for number in numbers}
        for number, lines in self._read(query, version, *numbers):
            found[number].update((line["uuid"], line) for line in json.loads(lines))
        return found

    def count(self, version: str = "") -> Counted:
        """Count what is kept."""
        ((rows, left),) = self._read(
            "SELECT count(DISTINCT CASE reason WHEN '' THEN number END), "
            "count(DISTINCT CASE reason WHEN '' THEN NULL ELSE number END) FROM predicted WHERE ? IN ('', version)",
            version,
        )
        reasons = self._read(
            "SELECT reason, count(*) FROM predicted WHERE reason != '' AND ? IN ('', version) GROUP BY reason "
            "ORDER BY count(*) DESC, reason LIMIT ?",
            *(version, _REASONS),
        )
        return Counted(rows, left, tuple(reason for reason, _ in reasons))

    def begin(self, attempt: int, *, forget: bool) -> None:
        """Note whose all this is; ``forget`` what another attempt has kept, but for what is to be withdrawn of it."""
        with self._open() as base, base:
            if base.execute("SELECT 1 FROM attempt WHERE number = ?", (attempt,)).fetchone():
                return
            base.execute("DELETE FROM attempt")
            base.execute("INSERT INTO attempt VALUES (?)", (attempt,))
            if forget:
                base.execute("INSERT OR IGNORE INTO earlier SELECT number, lines FROM predicted WHERE lines != '[]'")
                base.execute("DELETE FROM predicted")

    def _versions(self, version: str) -> list[str]:
        found = self._read("SELECT DISTINCT version FROM predicted ORDER BY version")
        return [version] if version else [one for (one,) in found]

    def _read(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._open() as base:
            return base.execute(query, values).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._opened()) as base:
                yield base
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"predictions cannot be kept in {self._file.parent}: {error}. Check the folder's rights and free "
                "space, or correct MODEL_DIR"
            ) from error

    def _opened(self) -> sqlite3.Connection:
        """Open the file; what is no table any more, after a crash of the machine, is begun anew."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _made(self._file)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._file.unlink()
            return _made(self._file)


def _made(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(file)
    try:
        base.executescript(_SCHEMA)
    except BaseException:
        base.close()
        raise
    return base
