"""How good a version is where an overlap is enough: a border beside the right one counts as right."""

from collections.abc import Sequence

from labelloop.kinds.named_entity_recognition.spans import overlaps
from labelloop.run.located import Located
from labelloop.run.matching import match
from labelloop.types import Json

_ANY = 1e-9


def by_overlap(items: Sequence[Located]) -> Json:
    """Give precision, recall and F1 of spans that overlap a true one of their label, each paired with one at most."""
    right = sum(len(match(one.true, one.given, overlaps(one.true, one.given), _ANY, 1.0).right) for one in items)
    true, given = (sum(len(getattr(one, side)) for one in items) for side in ("true", "given"))
    return {"f1": _share(2 * right, true + given), "precision": _share(right, given), "recall": _share(right, true)}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
