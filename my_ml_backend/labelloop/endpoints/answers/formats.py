"""The answer formats by name."""

from collections.abc import Sequence

from labelloop.endpoints.answers.automl import AutoMl
from labelloop.endpoints.answers.boxes import Boxes
from labelloop.endpoints.answers.detections import Detections
from labelloop.endpoints.answers.format import AnswerFormat
from labelloop.endpoints.answers.labelloop import LabelLoop
from labelloop.endpoints.answers.labels import Labels
from labelloop.endpoints.answers.mapping import check_mapping
from labelloop.endpoints.answers.masks import Masks
from labelloop.endpoints.answers.numbers import Numbers
from labelloop.endpoints.answers.objects import Objects
from labelloop.endpoints.answers.probabilities import Probabilities
from labelloop.endpoints.answers.text import Texts
from labelloop.endpoints.answers.tokens import Tokens
from labelloop.errors import SettingsError

FORMATS: tuple[AnswerFormat, ...] = (
    LabelLoop(),
    Detections(),
    Boxes(),
    AutoMl(),
    Objects(),
    Masks(),
    Tokens(),
    Labels(),
    Probabilities(),
    Texts(),
    Numbers(),
)
"""In the order in which ``auto`` tries them: the first that fits reads the answer."""

RESPONSES = ("auto", *(form.name for form in FORMATS))


def answer_formats(response: str) -> Sequence[AnswerFormat]:
    """Find a format by its name, all of them for ``auto``; raises SettingsError, listing the names, for any other."""
    if response == "auto":
        return FORMATS
    for form in FORMATS:
        if form.name == response:
            return (form,)
    raise SettingsError(f"the response format {response[:50]!r} is not known. Possible are {', '.join(RESPONSES)}.")


def check_response(response: str, mapping: str) -> None:
    """Raise SettingsError when there is no such format or the mapping is no JMESPath expression."""
    answer_formats(response)
    if mapping:
        check_mapping(mapping)
