"""How often annotators keep what a version predicts, and how long they take: what is counted of a version, and kept.

Tasks that were served at random tell how good the predictions are. Those that a version is least certain of come first
among the others, so that fewer of them are right.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import NamedTuple

from labelloop.data.site import Begun, Judged
from labelloop.models.records import readable, readable_record, to_bytes, update
from labelloop.models.store import Store
from labelloop.train.intervals import wilson
from labelloop.types import Json, ProjectKey
from labelloop.watch.timing import MOST, Saved, time_saved


class Share(NamedTuple):
    """How many annotations ``begun`` with a prediction, how many ``kept`` it, and their share's interval (95 %).

    The interval is Wilson's, ``None`` where none has begun.
    """

    begun: int
    kept: int
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, begun: int, kept: int) -> "Share":
        """Count."""
        return cls(begun, kept, wilson(kept, begun) if begun else None)


@dataclass(frozen=True, slots=True)
class Agreed:
    """Of a version: how many annotations ``begun`` with its predictions, and how many of them ``kept`` what they say.

    ``random`` are those of tasks that were served at random, ``random_kept`` how many of these kept it. Where
    pre-annotations are withheld from a share of these tasks, ``shown`` are the seconds of those that had theirs,
    ``control`` of those that had none. Control tasks are in none of the counts.
    """

    version: str
    begun: int
    kept: int
    random: int = 0
    random_kept: int = 0
    shown: tuple[float, ...] = ()
    control: tuple[float, ...] = ()

    @property
    def share(self) -> float:
        """The share of all that was kept."""
        return self.kept / self.begun

    @property
    def arms(self) -> dict[str, Share]:
        """Tell those served at random from the others."""
        others = Share.of(self.begun - self.random, self.kept - self.random_kept)
        return {"random": Share.of(self.random, self.random_kept), "ordered": others}

    def to_json(self) -> Json:
        """Turn into plain values: the counts, and each arm's with its interval."""
        arms = {name: one._asdict() for name, one in self.arms.items()}
        return {"version": self.version, "begun": self.begun, "kept": self.kept} | arms


@dataclass(frozen=True, slots=True)
class Annotator:
    """What one annotator did, by the tool's ``number``: None for annotations of which that is not known.

    ``annotations`` are all that were submitted, ``agreed`` is of those that began with a prediction that was not
    withheld, ``seconds`` the median of the ``timed`` ones. ``suspected`` is of the annotations of tasks whose labels
    were examined (``begun``): ``kept`` are those that are probably wrong; None where none were examined.
    """

    number: int | None
    annotations: int
    agreed: Share
    timed: int
    seconds: float | None
    suspected: Share | None

    def to_json(self) -> Json:
        """Turn into plain values."""
        names = ("examined", "found", "interval")
        suspected = dict(zip(names, self.suspected, strict=True)) if self.suspected else None
        return asdict(self) | {"agreed": self.agreed._asdict(), "suspected": suspected}


def by_annotator(
    judged: Iterable[Judged],
    withheld: Callable[[int], bool],
    examined: Container[int] = (),
    suspects: Container[int] = (),
) -> list[Annotator]:
    """Tell annotators apart, those with most annotations first.

    ``withheld`` says of which tasks a prediction was withheld; ``examined`` are the tasks whose labels were examined,
    ``suspects`` those of them whose labels are probably wrong.
    """
    made: dict[int | None, list[tuple[int, Begun]]] = defaultdict(list)
    for task in judged:
        for one in task.begun:
            made[one.by].append((task.task, one))

    def told(number: int | None, done: Sequence[tuple[int, Begun]]) -> Annotator:
        kept = [one.kept for task, one in done if one.version and not (one.blank and withheld(task))]
        seconds = [one.seconds for _, one in done if one.seconds is not None]
        wrong = [task in suspects for task, _ in done if task in examined]
        return Annotator(
            number,
            len(done),
            Share.of(len(kept), sum(kept)),
            len(seconds),
            median(seconds) if seconds else None,
            Share.of(len(wrong), sum(wrong)) if wrong else None,
        )

    found = (told(number, done) for number, done in made.items())
    return sorted(found, key=lambda one: (-one.annotations, one.number is None, one.number or 0))


@dataclass(frozen=True, slots=True)
class _Kept:
    """``agreement.json``: what was counted last of each version, by its name, in the order they were announced."""

    versions: dict[str, Json] = field(default_factory=dict)


def keep_agreement(store: Store, project: ProjectKey, agreed: Agreed) -> None:
    """Keep what is counted of a version; it outlives the next one's announcement. Raises StoreError."""
    path, some = _path(project), agreed.shown[:: 1 + len(agreed.shown) // MOST]
    entry = asdict(agreed) | {"shown": [round(one, 1) for one in some]}
    entry["control"] = [round(one, 1) for one in agreed.control]

    def changed(content: bytes | None) -> bytes | None:
        before = (readable(_Kept, content, path) if content else None) or _Kept()
        if before.versions.get(agreed.version) == entry:
            return None
        return to_bytes(_Kept(before.versions | {agreed.version: entry}))

    update(store, path, changed)


def kept_agreements(store: Store, project: ProjectKey) -> Mapping[str, Agreed]:
    """Read what was counted of each version, the oldest first; what is damaged counts as missing. Raises StoreError."""
    found = readable_record(store, _path(project), _Kept) or _Kept()
    return {name: one for name, kept in found.versions.items() if (one := _agreed(name, kept)) is not None}


def saved_by(agreements: Sequence[Agreed]) -> Saved | None:
    """Say what time pre-annotations saved, over all versions that were served with control tasks; None without any."""
    timed = [one for one in agreements if one.shown or one.control]
    if not timed:
        return None
    shown = [seconds for one in timed for seconds in one.shown]
    control = [seconds for one in timed for seconds in one.control]
    return time_saved(shown, control, sum(one.begun for one in timed))


def _agreed(version: str, kept: Json) -> Agreed | None:
    try:
        begun, right, random, random_right = (int(kept[name]) for name in ("begun", "kept", "random", "random_kept"))
        shown, control = (tuple(float(one) for one in kept[name]) for name in ("shown", "control"))
    except (KeyError, TypeError, ValueError):
        return None
    return Agreed(version, begun, right, random, random_right, shown, control)


def _path(project: ProjectKey) -> str:
    return f"{project}/agreement.json"
