"""In which order annotators get what waits: the least certain items of the train side, the others at random.

Label Studio orders tasks by the scores of their predictions. Were all ordered by how certain a version is, the test and
validation sides would fill with the hardest items, and every figure taken on them would be too low. So an item of these
sides, which is *held out*, is shown at a place that chance gives it: its order score is drawn from the scores of the
train side. Whenever annotators stop, what they have done of the held-out items is a random part of them.

What is kept of a version is ``order/<version>.json``. What simulates the order needs no hub: ``is_held_out``,
``quantiles`` (a table from scores) and ``order_score`` (from content, version and table) are pure.
"""

import hashlib
import re
import zlib
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Literal

from labelloop.data.split import side
from labelloop.errors import Conflict
from labelloop.models.records import readable, readable_record, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import ProjectKey

Arm = Literal["random", "ordered"]
"""How a task was served: at a place that chance gave it, or by its true score."""

_ORDER, _CONTROL = "labelloop order 1", "labelloop control 1"
"""What draws hang on beside item and version: neither may go along with the other, or with the split."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_TABLE = 200
"""Scores of a table that are evenly spread over the tasks, and as many that are closer the lower they are."""


def is_held_out(content: str) -> bool:
    """Say whether an item is on the validation or test side; ``content`` is the sha256 of its bytes or text (hex)."""
    return side(content) != "train"


def order_score(content: str, version: str, table: Sequence[Sequence[float]]) -> float:
    """Give the score by which a held-out item is ordered: chance, but the same for ever with this version and table."""
    return score_at(table, _drawn(_ORDER, content, version))


def is_control(content: str, version: str, share: float) -> bool:
    """Say whether a held-out item is shown without its pre-annotation, as that ``share`` of them is."""
    return _drawn(_CONTROL, content, version) < share


def quantiles(scores: Iterable[float]) -> list[list[float]]:
    """Make a table of true scores: pairs of a share in (0, 1) and the score below which so many tasks lie.

    What is drawn from it falls with the same chance between any two neighbours of the scores. Of many, some are kept.
    """
    found = sorted(scores)
    count = len(found)
    even = {at * (count - 1) // _TABLE for at in range(_TABLE + 1)} if count else set()
    low = {round(count ** (at / _TABLE)) - 1 for at in range(_TABLE + 1)} if count else set()
    return [[(at + 1) / (count + 1), found[at]] for at in sorted(even | low)]


def score_at(table: Sequence[Sequence[float]], share: float) -> float:
    """Give the score below which that share of the tasks lies, in [0, 1]; between two of the table, what lies between.

    Beyond its ends it goes on as it ended. An empty table says that scores are spread evenly.
    """
    if not table:
        return share
    if len(table) == 1:
        return table[0][1]
    at = min(max(bisect_left(table, share, key=lambda pair: pair[0]), 1), len(table) - 1)
    (left, low), (right, high) = table[at - 1], table[at]
    return min(1.0, max(0.0, low + (high - low) * (share - left) / (right - left)))


def _drawn(salt: str, content: str, version: str) -> float:
    digest = hashlib.sha256(f"{salt}\n{version}\n{content}".encode(errors="surrogatepass")).digest()
    # 53 bits, which a double holds: more would be rounded, and could be rounded up to 1.
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task stands in the order: by which score, in which arm, and whether its pre-annotation is withheld."""

    score: float
    arm: Arm
    control: bool = False


@dataclass(frozen=True)
class Order:
    """``order/<version>.json``: by which order a version's predictions are served, and what was served so in bulk.

    ``table`` is of the true scores of train-side tasks (``quantiles``), ``share`` that of the held-out ones whose
    pre-annotation is withheld (``LABELLOOP_CONTROL_SHARE`` when the version was first served). ``served``, ``random``
    and ``control`` are ids of tasks (``packed``); both others are among the first.
    """

    version: str
    table: list[list[float]] = field(default_factory=list)
    share: float = 0.0
    served: str = ""
    random: str = ""
    control: str = ""

    def place(self, content: str, score: float) -> Place:
        """Place an item with its true score; ``content`` as for ``is_held_out``."""
        if not is_held_out(content):
            return Place(score, "ordered")
        drawn = order_score(content, self.version, self.table)
        return Place(drawn, "random", is_control(content, self.version, self.share))

    def arm(self, task: int) -> Arm | None:
        """Say how a task was served in bulk; None where it was not."""
        if _is_among(self._random, task):
            return "random"
        return "ordered" if _is_among(self._served, task) else None

    def is_control(self, task: int) -> bool:
        """Say whether a task was shown without its pre-annotation."""
        return _is_among(self._control, task)

    def noting(self, places: Iterable[tuple[int, Place]]) -> "Order":
        """Add tasks that are served now."""
        new = list(places)
        return replace(
            self,
            served=packed([*self._served, *(task for task, _ in new)]),
            random=packed([*self._random, *(task for task, place in new if place.arm == "random")]),
            control=packed([*self._control, *(task for task, place in new if place.control)]),
        )

    # A million tasks are to be read only where somebody asks for them.
    @cached_property
    def _served(self) -> Sequence[int]:
        return unpacked(self.served)

    @cached_property
    def _random(self) -> Sequence[int]:
        return unpacked(self.random)

    @cached_property
    def _control(self) -> Sequence[int]:
        return unpacked(self.control)


def packed(tasks: Iterable[int]) -> str:
    """Write ids of tasks, each once, as text: a million that follow each other take 20 kB, a fifth of them 220 kB."""
    ordered = sorted(set(tasks))
    gaps = array("Q", (after - before for before, after in pairwise([0, *ordered])))
    return b64encode(zlib.compress(gaps.tobytes())).decode() if ordered else ""


def unpacked(text: str) -> Sequence[int]:
    """Read what ``packed`` wrote, in ascending order."""
    return array("Q", accumulate(array("Q", zlib.decompress(b64decode(text))) if text else ()))


def _is_among(tasks: Sequence[int], task: int) -> bool:
    at = bisect_left(tasks, task)
    return at < len(tasks) and tasks[at] == task


def read_order(store: Store, project: ProjectKey, version: str) -> Order | None:
    """Read what is kept of a version; None where there is nothing, or it is damaged. Raises StoreError."""
    return readable_record(store, _path(project, version), Order)


def keep_order(store: Store, project: ProjectKey, order: Order) -> Order:
    """Keep the order of a version for good, and give it; the one that was kept first stands. Raises StoreError."""
    with suppress(Conflict):
        store.create(_path(project, order.version), to_bytes(order))
    return read_order(store, project, order.version) or order


def note_places(store: Store, project: ProjectKey, order: Order, places: Sequence[tuple[int, Place]]) -> None:
    """Keep which tasks are served and how, before they are. Raises StoreError."""
    path = _path(project, order.version)

    def noted(content: bytes | None) -> bytes:
        kept = readable(Order, content, path) if content else None
        return to_bytes((kept or order).noting(places))

    if places:
        update(store, path, noted)


def _path(project: ProjectKey, version: str) -> str:
    """Say where it lies; an endpoint may call its own model whatever it likes."""
    hashed = hashlib.sha256(version.encode(errors="surrogatepass")).hexdigest()
    return f"{project}/order/{version if _PLAIN.fullmatch(version) else f'_{hashed}'}.json"
