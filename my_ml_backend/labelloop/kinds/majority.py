"""Several annotators, one truth: which annotations count, what each of them chose, and what most of them say."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from labelloop.types import Choice, Json

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Truth:
    """The labels of one task (sorted; none is an answer too where many may be chosen), or why there are none to use.

    ``result`` is all that is true of it, where labels alone do not say it (see ``Item``). ``confirmed``: somebody has
    looked a second time, and said the same.
    """

    labels: tuple[str, ...] = ()
    reason: str = ""
    result: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Vote:
    """What one annotation says: its labels, or why it says nothing that can be used.

    ``skipped`` ones say that the annotator passed the task over, ``ground_truth`` that this annotation is right.
    ``result`` is all that it says, for a kind to which labels alone do not say it. ``confirmed``: it was marked later
    than it was made, so by somebody who looked again; Label Studio marks whatever is imported. ``unseen`` ones say
    nothing and were made in bulk of a prediction that says nothing: nobody has looked at the task.
    """

    labels: frozenset[str] = frozenset()
    reason: str = ""
    skipped: bool = False
    ground_truth: bool = False
    result: str = ""
    confirmed: bool = False
    unseen: bool = False


def counting(votes: Sequence[Vote]) -> list[Vote]:
    """Give the votes that count: not the skipped ones; where some are marked as ground truth, only those."""
    kept = [vote for vote in votes if not vote.skipped]
    return [vote for vote in kept if vote.ground_truth] or kept


def settle(votes: Sequence[Vote], choice: Choice) -> Truth:
    """Give what most of the votes say that count; a tie is no truth."""
    usable = [vote for vote in counting(votes) if not vote.reason]
    if not usable:
        return Truth(reason=unsaid(votes))
    labels = [vote.labels for vote in usable]
    truth = _one(labels) if choice == "single" else _several(labels)
    same = [] if truth.reason else [vote for vote in usable if vote.labels == frozenset(truth.labels)]
    return replace(truth, confirmed=len(same) > 1 or any(vote.confirmed for vote in same))


def latest(votes: Sequence[Vote]) -> Truth:
    """Give what the last of the votes says that count and can be used; ``votes`` are from old to new."""
    said = next((vote for vote in reversed(counting(votes)) if not vote.reason), None)
    return Truth(reason=unsaid(votes)) if said is None else Truth(tuple(sorted(said.labels)), result=said.result)


def unsaid(votes: Sequence[Vote]) -> str:
    """Say why votes of which none can be used are no truth."""
    counted = counting(votes)
    return counted[0].reason if counted else "skipped by its annotators" if votes else "not annotated"


def votes_of(annotations: Iterable[object], read: Callable[[Json], Vote]) -> tuple[Vote, ...]:
    """Read the annotations of one of Label Studio's tasks, the skipped ones too; ``read`` says what one chooses."""
    return tuple(_marked(read, entry) for entry in annotations if isinstance(entry, dict))


def _marked(read: Callable[[Json], Vote], annotation: Json) -> Vote:
    if annotation.get("was_cancelled") is True:
        return Vote(skipped=True)
    vote = read(annotation)
    if _is_unseen(annotation):
        vote = replace(vote, unseen=True)
    if annotation.get("ground_truth") is not True:
        return vote
    return replace(vote, ground_truth=True, confirmed=changed_later(annotation))


def changed_later(annotation: Json) -> bool:
    """Whether an annotation of Label Studio was changed a second or more after it was made."""
    try:
        made, changed = (datetime.fromisoformat(annotation[name]) for name in ("created_at", "updated_at"))
        return (changed - made).total_seconds() >= 1
    except (KeyError, TypeError, ValueError):
        return False


def _is_unseen(annotation: Json) -> bool:
    """Whether Label Studio's "Create Annotations From Predictions" made it of an empty prediction; nobody took time."""
    return (
        annotation.get("parent_prediction") is not None
        and not annotation.get("lead_time")
        and not annotation.get("result")
    )


def _one(votes: Sequence[frozenset[str]]) -> Truth:
    first = votes[0]
    if len(first) == 1 and all(vote == first for vote in votes):
        return Truth(tuple(first))
    counts = Counter(label for vote in votes for label in vote).most_common()
    if len(counts) > 1 and counts[0][1] == counts[1][1]:
        return Truth(reason=f"its annotators disagree: {counts[0][1]} each say {listed(counts[0][0], counts[1][0])}")
    return Truth((counts[0][0],))


def _several(votes: Sequence[frozenset[str]]) -> Truth:
    counts = Counter(label for vote in votes for label in vote)
    tied = sorted(label for label, count in counts.items() if 2 * count == len(votes))
    if tied:
        return Truth(reason=f"half of its {len(votes)} annotators say {listed(*tied)}, half do not")
    return Truth(tuple(sorted(label for label, count in counts.items() if 2 * count > len(votes))))


def regions_of(annotation: Json) -> list[Json]:
    """Give the regions of an annotation's result, whatever else it may hold."""
    return [region for region in _list(annotation.get("result")) if isinstance(region, dict)]


def chosen(values: Iterable[object]) -> Iterator[str]:
    """Give the choices of regions' values."""
    for value in values:
        choices = value.get("choices") if isinstance(value, dict) else None
        for choice in _list(choices):
            # Nested choices are paths; the last step is what was chosen.
            last = choice[-1] if isinstance(choice, list) and choice else choice
            if isinstance(last, str):
                yield last


def listed(*names: str) -> str:
    """Quote names for a message: the first three, shortened."""
    shown = ", ".join(repr(name[:_SHOWN]) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
