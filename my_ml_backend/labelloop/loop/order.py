"""In which order annotators get what waits: the least certain items of the train side, the others at random.

Label Studio orders tasks by the scores of their predictions. Were all ordered by how certain a version is, the test and
validation sides would fill with the hardest items, and every figure taken on them would be too low. So an item of these
sides, which is *held out*, is shown at a place that chance gives it: its order score is drawn from the scores of the
train side. Whenever annotators stop, what they have done of the held-out items is a random part of them.

What is kept of a version is ``order/<version>.json``; what simulates the order needs no hub: ``is_held_out``,
``quantiles`` (a table from scores) and ``order_score`` (from content, version and table) are pure.
"""

import hashlib
import logging
import re
import threading
import time
import zlib
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import accumulate, pairwise

from labelloop.errors import StoreError
from labelloop.models.records import readable, readable_record, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import FIRST_LABELS, Arm, Json, ProjectKey, side

_log = logging.getLogger(__name__)

_ORDER, _CONTROL = "labelloop order 1", "labelloop control 1"
"""What draws hang on beside item and version: neither may go along with the other, or with the split."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_TABLE = 200
"""Scores of a table that are evenly spread over the tasks, and as many that are closer the lower they are."""

_ENOUGH = 100
"""Scores from which on a table stands; a smaller one grows with the next tasks that are pre-annotated in bulk."""

_KNOWN, _AGAIN_SECONDS = 256, 60.0
"""Versions whose orders a process keeps in mind; when it asks the store again for one that is not there, or may grow.
"""


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
    pre-annotation is withheld (``LABELLOOP_CONTROL_SHARE`` when the table was made). ``served``, ``random`` and
    ``control`` are ids of tasks (``packed``); both others are among the first.

    Of FIRST_LABELS, which is no version, ``scores`` are what tasks are ordered by, by their ids. They count as
    ``control``, for they were shown without a pre-annotation, and not as ``served``, for no version chose them.
    """

    version: str
    table: list[list[float]] = field(default_factory=list)
    share: float = 0.0
    served: str = ""
    random: str = ""
    control: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def may_grow(self) -> bool:
        """Whether the table is of so few scores that more are added."""
        return len(self.table) < _ENOUGH

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


def keep_scores(store: Store, project: ProjectKey, version: str, scores: Sequence[float], share: float) -> Order:
    """Make the table of a version of true scores of train-side tasks, and give its order. Raises StoreError.

    A table that stands is left as it is, and so is the ``share`` that was kept first.
    """
    path = _path(project, version)

    def kept(content: bytes | None) -> bytes | None:
        before = readable(Order, content, path) if content else None
        if before is not None and not (before.may_grow and scores):
            return None
        known = before or Order(version, share=share)
        return to_bytes(replace(known, table=quantiles([*(score for _, score in known.table), *scores])))

    update(store, path, kept)
    return read_order(store, project, version) or Order(version, quantiles(scores), share)


def forget_table(store: Store, project: ProjectKey, version: str) -> None:
    """Leave of a version that never serves again which tasks it served, and how: the rest is most of it.

    Raises StoreError.
    """
    path = _path(project, version)

    def without(content: bytes | None) -> bytes | None:
        kept = readable(Order, content, path) if content else None
        return to_bytes(replace(kept, table=[])) if kept is not None and kept.table else None

    update(store, path, without)


def note_places(store: Store, project: ProjectKey, version: str, places: Sequence[tuple[int, Place]]) -> None:
    """Keep which tasks are served and how, before they are. Raises StoreError."""
    path = _path(project, version)

    def noted(content: bytes | None) -> bytes:
        kept = readable(Order, content, path) if content else None
        return to_bytes((kept or Order(version)).noting(places))

    update(store, path, noted)


def without_version(score: float) -> Json:
    """Make the prediction of a task that has a place before the first version: it shows nothing."""
    return {"result": [], "score": score, "model_version": FIRST_LABELS}


def note_first(store: Store, project: ProjectKey, scores: Mapping[int, float]) -> None:
    """Keep by which scores tasks are ordered before the first version, before they are. Raises StoreError."""
    path = _path(project, FIRST_LABELS)

    def noted(content: bytes | None) -> bytes:
        kept = (readable(Order, content, path) if content else None) or Order(FIRST_LABELS)
        known = kept.scores | {str(task): score for task, score in scores.items()}
        control = packed([*unpacked(kept.control), *scores])
        return to_bytes(replace(kept, scores=known, control=control))

    update(store, path, noted)


def end_first(store: Store, project: ProjectKey) -> None:
    """Forget those scores; what was shown without a pre-annotation stays known. Raises StoreError."""
    path = _path(project, FIRST_LABELS)

    def ended(content: bytes | None) -> bytes | None:
        kept = readable(Order, content, path) if content else None
        return to_bytes(replace(kept, scores={})) if kept else None

    update(store, path, ended)


def all_orders(store: Store, project: ProjectKey) -> Iterator[Order]:
    """Read the orders of all versions that there are; raises StoreError."""
    for name in store.names(f"{project}/order/"):
        found = readable_record(store, f"{project}/order/{name}", Order)
        if found is not None:
            yield found


def control_tasks(store: Store, project: ProjectKey) -> Callable[[int], bool]:
    """Give what tells of a task whether any version's prediction was withheld of it; the store is read when asked."""

    @cache
    def known() -> list[Order]:
        return [order for order in all_orders(store, project) if order.control]

    return lambda task: any(order.is_control(task) for order in known())


def control_mark(store: Store, project: ProjectKey) -> str:
    """Name by a hash of which tasks ``control_tasks`` tells; raises StoreError."""
    known = sorted((order.version, order.control) for order in all_orders(store, project) if order.control)
    return hashlib.sha256(repr(known).encode()).hexdigest()


def arms(store: Store, project: ProjectKey, tasks: Iterable[int]) -> dict[int, Arm]:
    """Say of tasks how they were served, by whatever version; those that none served in bulk are left out.

    Raises StoreError.
    """
    known = list(tasks)
    found: dict[int, Arm] = {}
    for order in all_orders(store, project):
        for task in known:
            # A file that was changed at its address has changed its side: chance once is not enough then.
            if arm := order.arm(task):
                found[task] = "ordered" if "ordered" in (arm, found.get(task)) else arm
    return found


def _path(project: ProjectKey, version: str) -> str:
    """Say where it lies; an endpoint may call its own model whatever it likes."""
    hashed = hashlib.sha256(version.encode(errors="surrogatepass")).hexdigest()
    return f"{project}/order/{version if _PLAIN.fullmatch(version) else f'_{hashed}'}.json"


class KnownOrders:
    """The orders that a process has read: each version's once. Safe to share between threads.

    Nobody who waits for a prediction is refused it: while the store is away, scores are the true ones.
    """

    def __init__(self, store: Callable[[], Store], clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[ProjectKey, str], tuple[Order | None, float]] = OrderedDict()
        self._missed: set[ProjectKey] = set()

    def find(self, project: ProjectKey, version: str) -> Order | None:
        """Give the order of a version; None where there is none, or the store is away, which is logged once."""
        with self._lock:
            order, until = self._known.get((project, version), (None, 0.0))
        if self._clock() < until:
            return order
        try:
            order = read_order(self._store(), project, version)
            self._missed.discard(project)
        except StoreError as error:
            if project not in self._missed:
                self._missed.add(project)
                _log.warning("project %s: predictions are ordered by their true scores: %s", project, error)
        self.remember(project, version, order)
        return order

    def remember(self, project: ProjectKey, version: str, order: Order | None) -> None:
        """Know what was read or kept."""
        seconds = _AGAIN_SECONDS if order is None or order.may_grow else float("inf")
        with self._lock:
            self._known[project, version] = order, self._clock() + seconds
            self._known.move_to_end((project, version))
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
