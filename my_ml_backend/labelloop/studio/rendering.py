"""From any endpoint's answer to a Label Studio prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labelloop.studio.label_config import LabelConfig
from labelloop.studio.mapping import Given, class_labels, no_label
from labelloop.studio.results.classification import classify
from labelloop.studio.results.findings import draw_findings, no_tag
from labelloop.studio.results.placing import Asked
from labelloop.studio.results.region import Drawn
from labelloop.studio.uncertainty import Uncertainty
from labelloop.studio.valid import check_prediction
from labelloop.types import NO_VERSION, Answer, Json, Output, Prompted

__all__ = ["Rendering", "Uncertainty", "render"]


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a user says of how answers become predictions.

    ``threshold`` is the score from which on something is shown, where a control tag has no ``model_score_threshold``.
    ``label_map`` says which label a class means; it goes before what the label config says.
    """

    threshold: float | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    uncertainty: Uncertainty = "least_confidence"


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
    given = tuple(how.label_map.items())
    if isinstance(answer, Output):
        drawn = _classified(config, answer, how, given)
    else:
        label = next((one.label for one in prompt if one.positive and one.label), "")
        drawn = draw_findings(config.tags, answer, Asked(given, how.threshold, text, label))
    prediction = prediction_of(drawn, answer.model_version)
    check_prediction(config.text, prediction)
    return prediction


def prediction_of(drawn: Drawn, version: str) -> Json:
    """Put a prediction together; Label Studio refuses one without a version (contract, section 2)."""
    return {"result": drawn.result, "score": drawn.score, "model_version": str(version or NO_VERSION)}


def _classified(config: LabelConfig, output: Output, how: Rendering, given: Given) -> Drawn:
    """Classify for the first control tag that shares a label with the model."""
    tags = [tag for tag in config.tags if tag.tag in ("Choices", "Taxonomy")]
    if not tags:
        raise no_tag("a classification (for <Choices> or <Taxonomy>)", config.tags)
    classes = tuple(output.scores)
    for tag in tags:
        threshold = how.threshold if tag.threshold is None else tag.threshold
        drawn = classify(tag, output, class_labels(tag, given, classes), threshold, how.uncertainty)
        if drawn is not None:
            return drawn
    raise no_label(tags, classes)
