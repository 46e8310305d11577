"""Which side a picture is on, for ever; and what a project's sides lack for its first version."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from labelloop.data.manifest import Manifest
from labelloop.kinds.base import Kind, find
from labelloop.types import Item, Side, side

SIDES: tuple[Side, ...] = ("train", "validation", "test")

_NONE_NAMED: Mapping[str, Side] = MappingProxyType({})

_SHOWN = 5
"""How many classes without labels are named before the rest is counted."""


@dataclass(slots=True)
class Tally:
    """How many items there are, and how many of them have each label."""

    items: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, labels: Iterable[str]) -> None:
        """Count one more item with its labels."""
        self.items += 1
        for label in labels:
            self.labels[label] += 1


@dataclass(frozen=True, slots=True)
class Part:
    """The items of a manifest that are on some of the sides, in its order; found anew at every pass.

    Each input is there once, and none whose tasks contradict each other. ``named`` maps inputs (sha256) to the sides
    that they were given; all others go by their content.
    """

    manifest: Manifest
    named: Mapping[str, Side]
    sides: tuple[Side, ...]

    def __iter__(self) -> Iterator[Item]:
        return (item for name, item in self.sided() if name in self.sides)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def sided(self) -> Iterator[tuple[Side, Item]]:
        """Give every item of all sides with its own."""
        for item in self.manifest.distinct():
            yield self.named.get(item.content) or side(item.content), item


def splits(manifest: Manifest, named: Mapping[str, Side] = _NONE_NAMED) -> dict[Side, Part]:
    """Part the items by side."""
    return {name: Part(manifest, named, (name,)) for name in SIDES}


def tally(manifest: Manifest, named: Mapping[str, Side] = _NONE_NAMED) -> dict[Side, Tally]:
    """Count items and labels by side, in one pass."""
    found = {name: Tally() for name in SIDES}
    for name, item in Part(manifest, named, SIDES).sided():
        found[name].add(item.labels)
    return found


def missing(manifest: Manifest, min_labels: int, named: Mapping[str, Side] = _NONE_NAMED, *, per_class: int = 0) -> str:
    """Say what the first version still lacks: ``12 more labels; class 7 has none; no test picture yet``.

    Empty when there is enough: ``min_labels`` items, two different answers among them, one on every side.
    Classes without a label are told along with the rest, but alone they do not keep a project from its first version,
    unless each class needs ``per_class`` items.
    """
    return lacking(tally(manifest, named), manifest.classes, min_labels, find(manifest.kind), per_class=per_class)


def lacking(
    sides: Mapping[Side, Tally], classes: Sequence[str], min_labels: int, kind: Kind, *, per_class: int = 0
) -> str:
    """Say what the sides of a split lack, empty when they hold enough; see ``missing``."""
    counts = sum((side.labels for side in sides.values()), Counter[str]())
    total = sum(side.items for side in sides.values())
    bare = ["training" if name == "train" else name for name, side in sides.items() if not side.items]
    empty = f"no {_listed(bare, 'or')} {kind.item} yet" if bare and total else ""
    return _sentence(
        _labels(total, min_labels),
        _answers(total, counts, kind),
        _bare_classes(counts, classes),
        empty,
        _few(counts, classes, per_class),
    )


def lacking_labels(
    total: int, counts: Mapping[str, int], classes: Sequence[str], min_labels: int, kind: Kind, *, per_class: int = 0
) -> str:
    """Say what is lacking as far as counts can tell: ``total`` labeled items, ``counts`` of them by label."""
    few = _few(counts, classes, per_class)
    return _sentence(_labels(total, min_labels), _answers(total, counts, kind), _bare_classes(counts, classes), "", few)


def _sentence(labels: str, answers: str, bare_classes: str, sides: str, few: str) -> str:
    blocked = labels or answers or sides or few
    return "; ".join(part for part in (labels, answers, few or bare_classes, sides) if part) if blocked else ""


def _few(counts: Mapping[str, int], classes: Sequence[str], per_class: int) -> str:
    """Name the classes that have fewer items than each needs."""
    short = [
        f"class {name} has {counts.get(name, 0)} of {per_class}" for name in classes if counts.get(name, 0) < per_class
    ]
    more = [f"{len(short) - _SHOWN} more have too few"] if len(short) > _SHOWN + 1 else []
    return _listed([*short[:_SHOWN], *more] if more else short)


def _labels(total: int, min_labels: int) -> str:
    count = min_labels - total
    if count <= 0:
        return ""
    return "1 more label" if count == 1 else f"{count} more labels"


def _answers(total: int, counts: Mapping[str, int], kind: Kind) -> str:
    """Complain when all items have the same labels: then each label is on all of them or on none."""
    if not kind.contrasts or total == 0 or any(0 < count < total for count in counts.values()):
        return ""
    everywhere = [name for name, count in counts.items() if count]
    if not everywhere:
        return f"no {kind.item} has a label"
    return f"every {kind.item} is labeled {_listed(everywhere)}, so there is nothing to tell apart"


def _bare_classes(counts: Mapping[str, int], classes: Sequence[str]) -> str:
    bare = [name for name in classes if not counts.get(name)]
    if not bare or len(bare) == len(classes):
        return ""
    if len(bare) == 1:
        return f"class {bare[0]} has none"
    if len(bare) > _SHOWN + 1:
        return f"classes {', '.join(bare[:_SHOWN])} and {len(bare) - _SHOWN} more have none"
    return f"classes {_listed(bare)} have none"


def _listed(names: Sequence[str], word: str = "and") -> str:
    """Join as in speech: ``a``, ``a and b``, ``a, b and c``."""
    return f" {word} ".join(part for part in (", ".join(names[:-1]), "".join(names[-1:])) if part)
