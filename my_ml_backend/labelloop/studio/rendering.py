"""From any endpoint's answer to a Label Studio prediction, checked with Label Studio's own checker."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from labelloop.errors import LabelConfigError
from labelloop.studio.control_tag import ControlTag
from labelloop.studio.label_config import LabelConfig
from labelloop.studio.mapping import class_labels, no_label
from labelloop.studio.results.classification import classify
from labelloop.studio.results.findings import draw_findings, no_tag
from labelloop.studio.results.prediction import Rendering, Uncertainty
from labelloop.types import Answer, Json, Output, Prompted

__all__ = ["Rendering", "Uncertainty", "render"]

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
    if isinstance(answer, Output):
        prediction = _classified(config.tags, answer, how)
    else:
        label = next((one.label for one in prompt if one.positive and one.label), "")
        prediction = draw_findings(config.tags, answer, how, text=text, prompted=label)
    check_prediction(config.text, prediction)
    return prediction


def _classified(among: Sequence[ControlTag], output: Output, how: Rendering) -> Json:
    """Classify for the first control tag that shares a label with the model."""
    tags = [tag for tag in among if tag.tag in ("Choices", "Taxonomy")]
    if not tags:
        raise no_tag("a classification (for <Choices> or <Taxonomy>)", among)
    classes = tuple(output.scores)
    for tag in tags:
        prediction = classify(tag, output, class_labels(tag, how.given, classes), how.least(tag), how.uncertainty)
        if prediction is not None:
            return prediction
    raise no_label(tags, classes)


def check_prediction(label_config: str, prediction: Json) -> None:
    """Raise LabelConfigError when Label Studio would refuse a prediction, and say what did not pass.

    Label Studio's import drops such a prediction without a word (contract, section 2).
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
    # It imports for over a second; what renders nothing does not wait for it.
    from label_studio_sdk._extensions.label_studio_tools.core.utils.exceptions import (
        LabelStudioXMLSyntaxErrorSentryIgnored,
    )
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        return LabelInterface(label_config)
    except (LabelStudioXMLSyntaxErrorSentryIgnored, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LabelConfigError(
            f"Label Studio cannot read the label config: {type(error).__name__}: {str(error)[:_LONGEST]}"
        ) from None
