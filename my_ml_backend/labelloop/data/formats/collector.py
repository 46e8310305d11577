"""Makes a listing of what a format's reader finds, line by line."""

from collections.abc import Iterable
from pathlib import Path

from labelloop.data.formats.base import Hints
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import Choice, LeftOut, Side


class Collector:
    """Takes records as they come: shares equal labels, numbers tasks where the source does not.

    Either all entries of a source have a task id or none has.
    """

    def __init__(self, source: Path | str, hints: Hints) -> None:
        self._source, self._hints = source, hints
        self._records: list[Record] = []
        self._left_out: list[LeftOut] = []
        self._shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._numbered: bool | None = None

    def take(
        self,
        uri: str,
        labels: Iterable[str],
        task: int | None,
        side: Side | None = None,
        picture: str = "",
        text: str = "",
        result: str = "",
    ) -> None:
        """Add a record; raises ManifestError when only some entries have task ids."""
        found = tuple(sorted(set(labels)))
        shared = self._shared.setdefault(found, found)
        self._records.append(Record(uri, shared, self._number(task), side, picture, text, result))

    def leave_out(self, reason: str, task: int | None) -> None:
        """Note an entry that cannot be used; raises ManifestError when only some entries have task ids."""
        self._left_out.append(LeftOut(self._number(task), reason))

    def listing(self, choice: Choice | None = None, classes: Iterable[str] | None = None) -> Listing:
        """Make the listing; ``choice`` and ``classes`` are what the source says, hints go before.

        Raises ManifestError for a source that names a task twice, or nothing at all.
        """
        if not self._records and not self._left_out:
            raise ManifestError(f"{self._source} lists no picture")
        hints = self._hints
        given = classes if hints.classes is None else hints.classes
        listing = Listing.of(self._records, self._left_out, hints.choice or choice, given)
        if self._numbered:
            self._refuse_twins(listing)
        return listing

    def _refuse_twins(self, listing: Listing) -> None:
        seen: set[int] = set()
        for task in listing.tasks():
            if task in seen:
                raise ManifestError(f"{self._source}: task {task} is there twice")
            seen.add(task)

    def _number(self, task: int | None) -> int:
        count = len(self._records) + len(self._left_out) + 1
        if self._numbered is None:
            self._numbered = task is not None
        if self._numbered != (task is not None):
            raise ManifestError(f"{self._source}: some entries have a task id and some have none (entry {count})")
        return count if task is None else task
