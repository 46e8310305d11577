"""From a model's classes to the labels of a control tag."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from labelloop.data.classes import Find
from labelloop.errors import LabelMappingError
from labelloop.studio.control_tag import ControlTag
from labelloop.studio.label_tag import Label
from labelloop.types import caseless

_REMEMBERED = 64
_SHOWN = 20
_LONGEST = 60

Given = tuple[tuple[str, str], ...]
"""What the user says that classes mean: pairs of class and label."""


@lru_cache(maxsize=_REMEMBERED)
def tag_finder(tag: ControlTag, given: Given) -> Find:
    """Make the finder of a control tag; what the user gave goes before all else, a label it does not have is none."""
    find = label_finder(tag.labels)
    own = label_finder(tag.labels, labels_first=True)
    told = {name: own(label) for name, label in given}
    return lambda name: told[name] if name in told else find(name)


@lru_cache(maxsize=_REMEMBERED)
def class_labels(tag: ControlTag, given: Given, classes: tuple[str, ...]) -> Mapping[str, str]:
    """Map each class that is a label of the tag to the label's name; made once for a model's classes."""
    find = tag_finder(tag, given)
    return {name: label for name in classes if (label := find(name)) is not None}


def known_labels(tag: ControlTag, classes: Iterable[str]) -> Mapping[str, str]:
    """Map each class that is a label of the tag to the label's name; the others are not in the answer.

    Raises LabelMappingError when not one class is a label.
    """
    classes = tuple(classes)
    found = class_labels(tag, (), classes)
    if not found:
        raise no_label([tag], classes)
    return found


def label_finder(labels: Sequence[Label], *, labels_first: bool = False) -> Find:
    """Make the function that gives the label a class means: by ``predicted_values``, then alias, value, letter case.

    ``labels_first`` asks the labels' own names before ``predicted_values``: right for what annotators chose, who
    see only labels. Of a taxonomy the last step of a path is enough where no other path ends in it.
    """
    predicted = _table(labels, lambda label: label.predicted_values)
    own = _table(labels, lambda label: (label.name,))
    value = _table(_told_apart(labels), _short)
    alike = _table(labels, lambda label: map(caseless, (*label.predicted_values, label.name)))
    alike = _table(_told_apart(labels), lambda label: map(caseless, _short(label))) | alike
    tables = (own, predicted, value) if labels_first else (predicted, own, value)

    def find(name: str) -> str | None:
        return next((table[name] for table in tables if name in table), alike.get(caseless(name)))

    return find


def no_label(tags: Sequence[ControlTag], classes: Iterable[str]) -> LabelMappingError:
    """Make the error that says so when not one class is a label: it names both lists and the ways out."""
    classes = tuple(classes)
    labels = list(dict.fromkeys(label.name for tag in tags for label in tag.labels))
    first = classes[0][:_LONGEST] if classes else "class"
    child = "Choice" if tags[0].tag in ("Choices", "Taxonomy") else "Label"
    where = ", ".join(f"<{tag.tag} name={tag.name!r}>" for tag in tags[:3])
    return LabelMappingError(
        f"none of the model's classes is a label of {where}. Classes: {_listed(classes)}. Labels: {_listed(labels)}. "
        f'Say which label a class means, as in <{child} value={labels[0]!r} predicted_values="{first}"/> or, in the '
        f'extra parameters of the ML backend, "label_map": {{"{first}": "{labels[0]}"}}. A model of LabelLoop\'s '
        f"learns these labels when it is trained anew (Start Training)."
    )


def _short(label: Label) -> tuple[str, ...]:
    return (label.value, label.path[-1]) if label.path else (label.value,)


def _told_apart(labels: Sequence[Label]) -> list[Label]:
    """Leave out the paths of a taxonomy whose last step is that of another, too: it says nothing by itself."""
    ends = Counter(caseless(name) for label in labels if label.path for name in set(_short(label)))
    return [label for label in labels if not label.path or all(ends[caseless(name)] == 1 for name in _short(label))]


def _table(labels: Iterable[Label], keys: Callable[[Label], Iterable[str]]) -> dict[str, str]:
    table: dict[str, str] = {}
    for label in labels:
        for key in keys(label):
            table.setdefault(key, label.name)
    table.pop("", None)
    return table


def _listed(names: Iterable[str]) -> str:
    names = tuple(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    listed = ", ".join(repr(name if len(name) <= _LONGEST else name[:_LONGEST] + "...") for name in names[:_SHOWN])
    return (listed or "(none)") + more
