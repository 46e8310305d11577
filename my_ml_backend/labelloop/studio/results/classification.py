"""``Choices`` and ``Taxonomy``: the labels of a whole task."""

from collections.abc import Mapping

from labelloop.studio.control_tag import ControlTag
from labelloop.studio.results.prediction import Uncertainty, of_each, of_one, prediction_of, probability, result_of
from labelloop.types import Json, Output

_HALF = 0.5


def classify(
    tag: ControlTag, output: Output, labels: Mapping[str, str], threshold: float | None, measure: Uncertainty
) -> Json | None:
    """Predict labels: the best one, or each from the threshold on where both tag and model take several.

    Several classes that mean one label count together. Without a threshold the best label is always chosen, and
    several from one half on. None when no class with a usable score is a label.
    """
    scores = _label_scores(tag, output, labels)
    if not scores:
        return None
    if tag.kind == "multiple" and output.kind == "multiple":
        least = _HALF if threshold is None else threshold
        chosen = [name for name, value in scores.items() if value >= least]
        sure = of_each(tuple(scores.values()), measure)
    else:
        best = max(scores, key=scores.__getitem__)
        chosen = [best] if threshold is None or scores[best] >= threshold else []
        sure = of_one(tuple(scores.values()), measure)
    own = min((scores[name] for name in chosen), default=0.0)
    return prediction_of([result_of(tag, _value(tag, chosen), own)] if chosen else [], sure, output.model_version)


def _value(tag: ControlTag, chosen: list[str]) -> Json:
    if tag.tag == "Taxonomy":
        paths = {label.name: list(label.path) for label in tag.labels}
        return {"taxonomy": [paths[name] for name in chosen]}
    return {"choices": chosen}


def _label_scores(tag: ControlTag, output: Output, labels: Mapping[str, str]) -> dict[str, float]:
    """Score each label that the model knows, in the label config's order."""
    independent = output.kind == "multiple"
    found: dict[str, float] = {}
    for name, value in output.scores.items():
        label = labels.get(name)
        score = None if label is None else probability(value)
        if label is None or score is None:
            continue
        if label in found:
            score = max(found[label], score) if independent else min(1.0, found[label] + score)
        found[label] = score
    return {label.name: found[label.name] for label in tag.labels if label.name in found}
