"""From any endpoint's answer to a Label Studio prediction, checked with Label Studio's own checker."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from labelloop.errors import LabelConfigError
from labelloop.studio.control_tag import TAKEN_BY, ControlTag
from labelloop.studio.label_config import LabelConfig
from labelloop.studio.mapping import class_labels, no_label, tag_finder
from labelloop.studio.results.findings import UNKNOWN, draw_findings, no_tag, place
from labelloop.studio.results.prediction import (
    labels_value,
    least_score,
    of_each,
    of_one,
    prediction_of,
    probability,
    result_of,
)
from labelloop.types import Answer, Findings, Json, Number, Output, Prompted, Rendering, Text, Uncertainty, Whole, bare

_CLASSIFYING = ("Choices", "Taxonomy")
_CHECKERS = 32
_LONGEST = 300


def render(
    config: LabelConfig,
    answer: Answer,
    how: Rendering,
    *,
    text: str | None = None,
    prompt: Sequence[Prompted] = (),
) -> Json:
    """Make the prediction of one task: ``result``, ``score`` (a confidence in [0, 1]) and ``model_version``.

    ``text`` is what was labelled, where that is a text; ``prompt`` what an annotator drew to ask for it, whose label
    regions without one get. An empty ``result`` says that nothing was found, or nothing sure enough. Raises
    LabelConfigError when no control tag takes the answer or Label Studio would refuse the prediction,
    LabelMappingError when none of the model's classes is a label.
    """
    tags = tags_named(config, how.tag)
    if isinstance(answer, Output):
        prediction = _classified(tags, answer, how)
    elif (named := _named(tags, answer, how)) is not None:
        prediction = named
    else:
        label = next((one.label for one in prompt if one.positive and one.label), "")
        prediction = draw_findings(tags, answer, how, text=text, prompted=label)
    check_prediction(config.text, prediction)
    return prediction


def tags_named(config: LabelConfig, name: str) -> tuple[ControlTag, ...]:
    """Give the control tags of that name, all of them without one; raises LabelConfigError, listing them, for none."""
    found = tuple(tag for tag in config.tags if name in tag.names) if name else config.tags
    if found:
        return found
    known = ", ".join(dict.fromkeys(repr(one) for tag in config.tags for one in sorted(tag.names)))
    raise LabelConfigError(
        f"the option tag names the control tag {name[:60]!r}, and those that LabelLoop predicts for are called {known}"
    )


def tags_for(config: LabelConfig, answer: Answer, how: Rendering) -> frozenset[str]:
    """Name the control tags that an answer of this form can fill: a classification one of them, else all but those."""
    tags = tags_named(config, how.tag)
    if isinstance(answer, Output):
        classes = tuple(answer.scores)
        classifying = (tag for tag in tags if tag.tag in _CLASSIFYING)
        # The first that shares a label with the model is the one that is classified for.
        first = next((tag for tag in classifying if class_labels(tag, how.given, classes)), None)
        return frozenset() if first is None else frozenset({first.name})
    if answer.tags:
        return frozenset().union(*(tag.names for tag in tags if tag.names.intersection(answer.tags)))
    named = _named(tags, answer, how)
    if named is not None:
        return frozenset({result["from_name"] for result in named["result"]})
    whole = [region for region in answer.regions if isinstance(region.shape, Whole)]
    chosen = frozenset(one.tag.name for one in place(tags, whole, how.given, ""))
    return chosen.union(*(tag.names for tag in tags if tag.tag not in _CLASSIFYING))


def _classified(among: Sequence[ControlTag], output: Output, how: Rendering) -> Json:
    """Classify for the first control tag that shares a label with the model."""
    tags = [tag for tag in among if tag.tag in _CLASSIFYING]
    if not tags:
        raise no_tag("a classification (for <Choices> or <Taxonomy>)", among)
    classes = tuple(output.scores)
    for tag in tags:
        labels = class_labels(tag, how.given, classes)
        prediction = classify(tag, output, labels, least_score(how, tag), how.uncertainty)
        if prediction is not None:
            return prediction
    raise no_label(tags, classes)


def _named(among: Sequence[ControlTag], findings: Findings, how: Rendering) -> Json | None:
    """Choose the labels that a text or a class's number names, where no control tag takes texts or numbers; else None.

    It is one label, or, where several may be chosen, a list of them, and nothing else, as the text of an LLM.
    """
    (said,) = findings.regions if len(findings.regions) == 1 else (None,)
    if said is None or not isinstance(said.shape, Text | Number):
        return None
    words = said.shape.content if isinstance(said.shape, Text) else said.label
    if not words or any(tag.tag in TAKEN_BY[type(said.shape)] for tag in among):
        return None
    for tag in among:
        chosen = _read_labels(tag, words, how) if tag.tag in _CLASSIFYING else []
        if chosen:
            score = None if said.score is None else probability(said.score)
            sure = [result_of(tag, labels_value(tag, chosen), score)]
            shown = score is None or score >= (least_score(how, tag) or 0.0)
            return prediction_of(sure if shown else [], UNKNOWN if score is None else score, findings.model_version)
    return None


def _read_labels(tag: ControlTag, text: str, how: Rendering) -> list[str]:
    """Read labels of a tag, in its order; none where a word of the text is none."""
    find = tag_finder(tag, how.given)
    words = [text] if tag.choice == "single" or find(bare(text)) else re.split(r"[,;\n]", text)
    found = {find(bare(word)) for word in words if bare(word)}
    return [] if None in found else [label.name for label in tag.labels if label.name in found]


def classify(
    tag: ControlTag, output: Output, labels: Mapping[str, str], threshold: float | None, measure: Uncertainty
) -> Json | None:
    """Predict labels: the best one, or each from the threshold on where both tag and model take several.

    Several classes that mean one label count together. Without a threshold the best label is always chosen, and
    several where the model itself gives a class that means them. None when no class with a usable score is a label.
    """
    scores = _label_scores(tag, output, labels)
    if not scores:
        return None
    if tag.choice == "multiple" and output.choice == "multiple":
        given = {labels.get(name) for name in output.scores if output.gives(name)}
        chosen = [
            name for name, value in scores.items() if (name in given if threshold is None else value >= threshold)
        ]
        sure = of_each(tuple(scores.values()), measure)
    else:
        best = max(scores, key=scores.__getitem__)
        chosen = [best] if threshold is None or scores[best] >= threshold else []
        sure = of_one(tuple(scores.values()), measure)
    own = min((scores[name] for name in chosen), default=0.0)
    return prediction_of([result_of(tag, labels_value(tag, chosen), own)] if chosen else [], sure, output.model_version)


def _label_scores(tag: ControlTag, output: Output, labels: Mapping[str, str]) -> dict[str, float]:
    """Score each label that the model knows, in the label config's order."""
    independent = output.choice == "multiple"
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


def check_prediction(label_config: str, prediction: Json) -> None:
    """Raise LabelConfigError when Label Studio would refuse a prediction, and say what did not pass.

    Label Studio's import drops such a prediction without a word (contract, "Imports").
    """
    errors = _interface(label_config).validate_prediction(prediction, return_errors=True)
    if errors:
        raise LabelConfigError(
            f"Label Studio would not take this prediction: {str(errors[0])[:_LONGEST]}. Look whether the control tag "
            f"is written as Label Studio's documentation has it"
        )


@lru_cache(maxsize=_CHECKERS)
def _interface(label_config: str) -> Any:
    """Make the checker of a label config. It is not changed by checking, so threads may share it."""
    # It imports for half a second; what renders nothing does not wait for it.
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        return LabelInterface(label_config)
    except Exception as error:  # noqa: BLE001 - the SDK does not say what it raises: what it trips over, or its own
        raise LabelConfigError(
            f"Label Studio cannot read the label config: {type(error).__name__}: {str(error)[:_LONGEST]}"
        ) from None
