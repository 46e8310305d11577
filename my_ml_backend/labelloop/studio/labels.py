"""From a model's classes to the label config's labels, and from an endpoint's output to a prediction."""

import math
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from labelloop.errors import LabelMappingError
from labelloop.studio.choices import Label
from labelloop.studio.control import Control
from labelloop.types import NO_VERSION, Json, Output

_THRESHOLD = 0.5
_SHOWN = 20
_LONGEST = 60


def label_map(control: Control, classes: Iterable[str]) -> dict[str, str]:
    """Map each class that is a label of the label config to the label's name; the others are not in the answer.

    A class is matched by ``predicted_values``, then alias, value, and any of them in other letters' case. Raises
    LabelMappingError, which names both lists and the fix, when not one class is a label.
    """
    classes = tuple(classes)
    find = label_finder(control)
    found = {name: label for name in classes if (label := find(name)) is not None}
    if found:
        return found
    labels = [label.name for label in control.labels]
    raise LabelMappingError(
        f"none of the model's classes is a label of <Choices name={control.name!r}>. Classes: {_listed(classes)}. "
        f"Labels: {_listed(labels)}. Say which label a class means, as in "
        f'<Choice value={labels[0]!r} predicted_values="{classes[0] if classes else "class"}"/>, or train a version '
        f"for these labels (Start Training)."
    )


def label_finder(control: Control, *, labels_first: bool = False) -> Callable[[str], str | None]:
    """Make the function that gives the label a class means, None for none.

    ``labels_first`` asks the labels' own names before ``predicted_values``: right for what annotators chose, who
    see only labels.
    """
    labels = control.labels
    predicted = _table(labels, lambda label: label.predicted_values)
    own = _table(labels, lambda label: (label.name,))
    value = _table(labels, lambda label: (label.value,))
    folded = _table(labels, lambda label: map(_fold, (*label.predicted_values, label.name, label.value)))
    tables = (own, predicted, value) if labels_first else (predicted, own, value)

    def find(name: str) -> str | None:
        return next((table[name] for table in tables if name in table), folded.get(_fold(name)))

    return find


def to_prediction(control: Control, output: Output, mapping: Mapping[str, str]) -> Json | None:
    """Make the prediction of one task: valid for ``control`` whatever label config the model was trained for.

    ``score`` is in [0, 1]: of a single label its probability, of several the confidence in the least certain one, so
    that uncertainty sampling serves it by that. Several classes that mean one label count together. An empty
    ``result`` says that no label fits. None when no class with a usable score is a label any more.
    """
    scores = _label_scores(control, output, mapping)
    if not scores:
        return None
    best = max(scores, key=scores.__getitem__)
    chosen, score = [best], scores[best]
    if control.kind == "multiple" and output.kind == "multiple":
        chosen = [name for name, value in scores.items() if value >= _THRESHOLD]
        score = min(max(value, 1.0 - value) for value in scores.values())
    result = [_region(control, chosen, score)] if chosen else []
    return {"result": result, "score": score, "model_version": str(output.model_version or NO_VERSION)}


def _region(control: Control, chosen: list[str], score: float) -> Json:
    return {
        "id": uuid.uuid4().hex[:10],
        "from_name": control.name,
        "to_name": control.to_name,
        "type": "choices",
        "value": {"choices": chosen},
        "score": score,
    }


def _label_scores(control: Control, output: Output, mapping: Mapping[str, str]) -> dict[str, float]:
    """Score each label that the model knows, in the label config's order."""
    found: dict[str, list[float]] = {label.name: [] for label in control.labels}
    for name, value in output.scores.items():
        if mapping.get(name) in found and (score := _probability(value)) is not None:
            found[mapping[name]].append(score)
    together = max if output.kind == "multiple" else math.fsum
    return {label: min(1.0, together(values)) for label, values in found.items() if values}


def _probability(value: Any) -> float | None:
    """Read a score, whatever an endpoint made of it; None when it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(1.0, max(0.0, number)) if math.isfinite(number) else None


def _table(labels: Iterable[Label], keys: Callable[[Label], Iterable[str]]) -> dict[str, str]:
    table: dict[str, str] = {}
    for label in labels:
        for key in keys(label):
            table.setdefault(key, label.name)
    table.pop("", None)
    return table


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _listed(names: Iterable[str]) -> str:
    names = tuple(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name[:_LONGEST]) for name in names[:_SHOWN]) + more or "(none)"
