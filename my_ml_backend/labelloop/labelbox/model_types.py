"""The model types of Labelbox's model-training service: what each is called there, and what is learned by it here."""

from dataclasses import dataclass
from typing import Literal

from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Choice, caseless

Feature = Literal["rectangle", "named-entity", "radio", "checklist"]
"""What of an ontology a model answers: a tool by which things are marked, or a form of question, in Labelbox's words.
"""

FEATURE_NAMES: dict[Feature, str] = {
    "rectangle": "bounding-box tool",
    "named-entity": "named-entity tool",
    "radio": "radio question",
    "checklist": "checklist question",
}
"""How people know them."""


@dataclass(frozen=True, slots=True)
class ModelType:
    """One entry of the service's menu that is trained; ``number`` is that of the project a model run is by it.

    Numbers are fixed for ever, for they stand in the store. From 100 on they are inference's.
    """

    number: int
    name: str
    kind: str
    choice: Choice
    feature: Feature

    @property
    def of_text(self) -> bool:
        """Whether its data rows are texts, not pictures."""
        return self.kind in (SPANS, TEXTS)


TYPES = (
    ModelType(1, "bounding_box", BOXES, "multiple", "rectangle"),
    ModelType(2, "ner", SPANS, "multiple", "named-entity"),
    ModelType(3, "image_single_classification", IMAGES, "single", "radio"),
    ModelType(4, "image_multi_classification", IMAGES, "multiple", "checklist"),
    ModelType(5, "text_single_classification", TEXTS, "single", "radio"),
    ModelType(6, "text_multi_classification", TEXTS, "multiple", "checklist"),
)
"""Those of Labelbox's specification, which writes the last one with a capital T: case does not count."""

FIRST_INFERENCE = 100
"""The first number that is no model type's but an endpoint's that only predicts."""


def find_type(name: str) -> ModelType | None:
    """Give the model type of a name, in any letter case; None where that is none of them."""
    return _BY_NAME.get(caseless(name))


def type_of(number: int) -> ModelType | None:
    """Give the model type of a project's number; None for an endpoint's, and for any other."""
    return _BY_NUMBER.get(number)


_BY_NAME = {one.name: one for one in TYPES}
_BY_NUMBER = {one.number: one for one in TYPES}
