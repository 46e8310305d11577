"""What a model run is given of a version's answers: what annotators would see, not all that it is measured with."""

import pytest

from labelloop.bundle_info import ForeignInfo
from labelloop.kinds.base import find
from labelloop.kinds.named_entity_recognition.info import SpanInfo
from labelloop.loop.conclusion import as_shown
from labelloop.types import IMAGES, SPANS, Answer, Failure, Findings, Output, Region, Span

INFO = SpanInfo(("a", "b"), "multiple", "head", kind=SPANS, thresholds={"a": 0.3})
FOUND = Findings(tuple(Region("a", Span(0, 3), score) for score in (0.9, 0.4, 0.2, None)), "v1", score=0.7)


def test_regions_below_their_labels_threshold_are_left_out() -> None:
    shown = as_shown(find(SPANS), INFO, FOUND)

    assert isinstance(shown, Findings)
    assert [one.score for one in shown.regions] == [0.9, 0.4, None]
    assert (shown.score, shown.model_version) == (0.7, "v1")


def test_what_a_model_that_lies_elsewhere_answers_is_shown() -> None:
    foreign = ForeignInfo(("a", "b"), "multiple", "foreign", kind=SPANS, model="m")

    assert as_shown(find(SPANS), foreign, FOUND) is FOUND


@pytest.mark.parametrize("answer", [Output("a", 0.1, {"a": 0.1}, "v1"), Failure("it is too large")])
def test_classes_and_failures_stay_as_they_are(answer: Answer | Failure) -> None:
    assert as_shown(find(SPANS), INFO, answer) is answer
    assert as_shown(find(IMAGES), INFO, answer) is answer
