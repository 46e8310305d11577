"""An announced version and its predecessor on the same randomly served tasks: what is kept, and what it comes to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from labelloop.models.records import now, readable, readable_record, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import ProjectKey
from labelloop.watch.evidence import at_least, chances

LEAST = 20
"""Tasks before which nothing is said: the first few may be one person's, in one minute."""

MOST = 5000
"""Tasks after which no more are compared: what they do not tell is too little to matter."""


class Met(NamedTuple):
    """One task: how far a version's answer agrees with its annotators, and how far its predecessor's, in [0, 1]."""

    task: int
    own: float
    theirs: float


WORSE = "worse"
"""The note, and the message, that the announced version is worse than its predecessor, and why it stays."""


@dataclass(frozen=True, slots=True)
class Compared:
    """``watch/<version>/compared.json``: what was found on each task, each once, as it was labeled then.

    ``worse`` says that the version is worse than its predecessor, empty where that is not known; ``at`` when that was
    said first (UTC, ISO 8601). ``stays`` says why it is not rolled back even so.
    """

    predecessor: str = ""
    items: tuple[Met, ...] = ()
    worse: str = ""
    at: str = ""
    stays: str = ""

    def chance(self) -> float:
        """Bound the chance that a version as good as its predecessor ever looks like this."""
        return float(chances([one.theirs - one.own for one in self.items])[-1]) if self.items else 1.0

    def told(self, version: str) -> str:
        """Say what was found of a ``version``."""
        count = len(self.items)
        own, theirs = (
            sum(values) / count for values in zip(*((one.own, one.theirs) for one in self.items), strict=True)
        )
        closer, further = (sum(sign * (one.theirs - one.own) > 0 for one in self.items) for sign in (1, -1))
        return (
            f"on {count} randomly served tasks annotators agree with {version} by {own:.1%} and with "
            f"{self.predecessor}, asked about the same tasks, by {theirs:.1%} ({self.predecessor} is closer on "
            f"{closer}, {version} on {further}); a version as good as {self.predecessor} ever looks so with a chance "
            f"of at most {max(self.chance(), 1e-6):.2g}"
        )

    def told_of_stay(self, version: str, project: ProjectKey) -> str:
        """Say that a ``version`` is worse, why it stays, and what a person can do."""
        return (
            f"{version} is worse than {self.predecessor}, and is not rolled back ({self.stays}): {self.worse}. "
            f"`labelloop rollback --project {project.shown} --to {self.predecessor}` does it"
        )


class Comparison:
    """Reads and writes what is kept of one version of a project. Raises StoreError."""

    def __init__(self, store: Store, project: ProjectKey, version: str) -> None:
        self._store, self._path = store, f"{project}/watch/{version}/compared.json"

    def read(self) -> Compared:
        """Read what was found; what is damaged counts as not there."""
        return _whole(readable_record(self._store, self._path, Compared))

    def add(self, predecessor: str, items: Iterable[Met]) -> Compared:
        """Add tasks that were not there before; with another predecessor it begins anew."""

        def added(before: Compared) -> Compared:
            known = {one.task for one in before.items}
            new = [one for one in items if one.task not in known]
            return replace(before, items=(*before.items, *new)[:MOST])

        return self._change(predecessor, added)

    def tell(self, predecessor: str, worse: str, stays: str) -> Compared:
        """Note that the version is worse, and why it stays; both empty: it is not known to be."""
        return self._change(
            predecessor,
            lambda before: replace(before, worse=worse, stays=stays, at=(before.at or now()) if worse else ""),
        )

    def _change(self, predecessor: str, change: Callable[[Compared], Compared]) -> Compared:
        found = Compared()

        def changed(content: bytes | None) -> bytes | None:
            nonlocal found
            before = _whole(readable(Compared, content, self._path) if content else None)
            stands = before if before.predecessor == predecessor else Compared(predecessor)
            found = change(stands)
            return None if found == before else to_bytes(found)

        update(self._store, self._path, changed)
        return found


def _whole(found: Compared | None) -> Compared:
    """Read the items; what is of another form counts as not there."""
    if found is None:
        return Compared()
    try:
        items = tuple(Met(int(task), float(own), float(theirs)) for task, own, theirs in found.items)
    except (TypeError, ValueError):
        return Compared()
    return replace(found, items=items)


def kept_less(own: tuple[int, int], theirs: tuple[int, int], error: float) -> bool:
    """Whether fewer pre-annotations are kept of a version than of its predecessor, each (begun, kept) of other tasks.

    Where the two are equally good, that is said ever with a chance of ``error`` at most: half of it is the chance that
    the predecessor's share lies below its bound, half that the version's looks lower than that by chance.
    """
    begun, kept = own
    if not LEAST <= begun <= MOST:
        return False
    floor = at_least(theirs[1], theirs[0], error / 2)
    found = chances([floor] * (begun - kept) + [floor - 1] * kept)
    return bool(found[-1] <= error / 2)
