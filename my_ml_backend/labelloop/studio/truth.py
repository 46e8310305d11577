"""Ground truth: what a task's annotations say its labels are, in the words of today's label config."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from labelloop.studio.control import Control
from labelloop.studio.mapping import label_finder
from labelloop.types import Json

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Truth:
    """The labels of one task (sorted; none is an answer too where many may be chosen), or why there are none to use."""

    labels: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Vote:
    labels: frozenset[str] = frozenset()
    reason: str = ""


def labels_of(control: Control, annotations: Sequence[object]) -> Truth:
    """Ask the annotations of one task for its labels: the majority's where there are several; a tie is no truth.

    Skips do not count. Where annotations are marked as ground truth, only those count. A label that was renamed with
    ``predicted_values`` counts as what it is called today; one that the label config no longer has does not.
    """
    made = [entry for entry in annotations if isinstance(entry, dict)]
    kept = [entry for entry in made if entry.get("was_cancelled") is not True]
    marked = [entry for entry in kept if entry.get("ground_truth") is True]
    find = label_finder(control.labels, labels_first=True)
    votes = [_vote(control, find, entry) for entry in marked or kept]
    usable = [vote.labels for vote in votes if not vote.reason]
    if not usable:
        skipped = "skipped by its annotators" if made else "not annotated"
        return Truth(reason=votes[0].reason if votes else skipped)
    return _one(usable) if control.kind == "single" else _several(usable)


def _one(votes: Sequence[frozenset[str]]) -> Truth:
    counts = Counter(label for vote in votes for label in vote).most_common()
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return Truth(reason=f"its annotators disagree: {counts[0][1]} each say {_listed(counts[0][0], counts[1][0])}")
    return Truth((counts[0][0],))


def _several(votes: Sequence[frozenset[str]]) -> Truth:
    counts = Counter(label for vote in votes for label in vote)
    tied = sorted(label for label, count in counts.items() if 2 * count == len(votes))
    if tied:
        return Truth(reason=f"half of its {len(votes)} annotators say {_listed(*tied)}, half do not")
    return Truth(tuple(sorted(label for label, count in counts.items() if 2 * count > len(votes))))


def _vote(control: Control, find: Callable[[str], str | None], annotation: Json) -> _Vote:
    regions = [region for region in _list(annotation.get("result")) if isinstance(region, dict)]
    chosen = set(_choices(region.get("value") for region in regions if region.get("from_name") == control.name))
    labels = {name: find(name) for name in chosen}
    known = frozenset(label for label in labels.values() if label is not None)
    gone = sorted(name for name, label in labels.items() if label is None)
    if not chosen:
        return _nothing(control, regions)
    if not known:
        return _Vote(reason=f"the label config has no label {_listed(*gone)} any more")
    if control.kind == "single" and len(known) + len(gone) > 1:
        return _Vote(
            reason=f"annotated with several labels ({_listed(*sorted(known), *gone)}), of which one is allowed"
        )
    return _Vote(known)


def _nothing(control: Control, regions: Iterable[Json]) -> _Vote:
    """Tell "none of the labels" from an answer to a question that the label config asks no more."""
    tags = {name for region in regions if isinstance(name := region.get("from_name"), str)}
    replaced = sorted(tags - control.tags - {control.name})
    if replaced:
        return _Vote(reason=f"annotated with the control tag {_listed(*replaced)}, which the label config has no more")
    return _Vote() if control.kind == "multiple" else _Vote(reason="annotated without a label")


def _choices(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        choices = value.get("choices") if isinstance(value, dict) else None
        for choice in _list(choices):
            # Nested choices are paths; the last step is what was chosen.
            last = choice[-1] if isinstance(choice, list) and choice else choice
            if isinstance(last, str):
                yield last


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _listed(*names: str) -> str:
    shown = ", ".join(repr(name[:_SHOWN]) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
