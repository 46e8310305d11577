"""The rows of a model run on this machine: exported when they are needed, their links anew where these have expired."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from labelloop.errors import MediaDenied, MediaError, Transient, Unreadable
from labelloop.labelbox.client import Labelbox
from labelloop.labelbox.export import export, refresh
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.rows import Row, read_row
from labelloop.labelbox.table import Counts, RowTable
from labelloop.pictures import upright_size
from labelloop.retries import retries
from labelloop.sources.media import Media
from labelloop.types import BOXES, Progress, TaskKey, chunks

_log = logging.getLogger(__name__)

_LEAST_AGE, _LONGEST_AGE = 60.0, 6 * 3600.0
"""Seconds after which links that are refused may have expired; each time ten times as many where new ones are, too."""

_HANDED_ON = 3600.0
"""Seconds after their export in which links are given to others, who do not say why they could not read one."""

_AHEAD, _READERS = 64, 8

_ROW = TaskKey(0, None)
"""Who shows a row's address: nobody's list of one's own, and no project of Label Studio."""
_TRIES, _FIRST_WAIT = 4, 0.5
"""Of a picture that is looked at for its size, and the pause after the first one in seconds."""


class ExportedRows:
    """The rows of one model run. Safe to share between threads; raises the errors of Labelbox, and StoreError.

    ``ontology`` says what of labels is read; None: nothing of them. ``told`` hears how far an export is.
    """

    def __init__(
        self, client: Labelbox, run: str, table: RowTable, media: Media, ontology: Ontology | None, told: Progress
    ) -> None:
        self._client, self._run, self._table, self._media = client, run, table, media
        self._ontology, self._told = ontology, told
        self._read = partial(read_row, model_run=run, ontology=ontology)
        self._renewing = threading.Lock()
        self._least_age = _LEAST_AGE

    def export(self) -> None:
        """Export all rows, unless this machine has them; an export that was cut off is gone on with."""
        export(self._client, self._run, self._table, self._read, self._told)

    def find(self, number: int) -> Row | None:
        """Give the row of a number; None for none."""
        return self._table.get(number)

    def rows(self) -> Iterator[Row]:
        """Yield all rows, in order of their numbers."""
        return self._table.rows()

    def counts(self) -> Counts:
        """Count them, by their splits and by why they are left out."""
        return self._table.counts()

    def measured(self) -> Iterator[Row]:
        """Yield all rows with their sizes where boxes are learned: a picture whose size nobody tells is looked at."""
        if self._ontology is None or self._ontology.type.kind != BOXES:
            yield from self.rows()
            return
        with ThreadPoolExecutor(_READERS, thread_name_prefix="measure") as pool:
            for some in chunks(self.rows(), _AHEAD):
                yield from pool.map(self._measured, some)

    def size_of(self, row: Row) -> tuple[int, int]:
        """Give the width and height of a row's picture, upright; raises MediaError where it has to be read for that."""
        return row.size or upright_size(self.read(row))

    def read(self, row: Row, deadline: float | None = None) -> bytes:
        """Read a row's file, by a ``time.monotonic()`` moment. Raises MediaError.

        Where its link is refused and may have expired, all links are exported anew, once for all who read.
        """
        try:
            return self._media.read(row.address, _ROW, deadline)
        except MediaDenied:
            renewed = self._renewed(row)
            if renewed is None:
                raise
        try:
            return self._media.read(renewed.address, _ROW, deadline)
        except MediaDenied:
            # They have not expired: whoever asks may not read them.
            self._least_age = min(_LONGEST_AGE, 10 * self._least_age)
            raise

    def linked(self, row: Row) -> Row:
        """Give a row with a link that another machine may read some time later: none is handed on after an hour."""
        if time.time() - self._table.exported_at < _HANDED_ON:
            return row
        with self._renewing:
            if time.time() - self._table.exported_at >= _HANDED_ON:
                refresh(self._client, self._run, self._table, self._read, self._told)
        return self._table.get(row.number) or row

    def _renewed(self, row: Row) -> Row | None:
        """Give a row with a link that is younger than the one it has; None where that is too young to have expired."""
        with self._renewing:
            stands = self._table.get(row.number)
            if stands is None or stands.address != row.address:
                return stands
            if time.time() - self._table.exported_at < self._least_age:
                return None
            _log.info("model run %s: links to its files have expired, and are exported anew", self._run)
            refresh(self._client, self._run, self._table, self._read, self._told)
            return self._table.get(row.number)

    def _measured(self, row: Row) -> Row:
        if row.size is not None or row.reason or not any(vote.labels for vote in row.votes):
            return row
        try:
            return row.sized(self._patiently_measured(row))
        except Unreadable as error:
            return replace(row, votes=(), reason=str(error))
        except MediaError as error:
            return replace(row, votes=(), reason=f"how large its picture is, Labelbox does not tell: {error}")

    def _patiently_measured(self, row: Row) -> tuple[int, int]:
        for left in retries(_TRIES, _FIRST_WAIT):
            try:
                return self.size_of(row)
            except Transient:
                if not left:
                    raise
        raise AssertionError("there is no try")  # pragma: no cover
