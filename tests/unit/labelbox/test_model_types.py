"""The six model types: their names in any letter case, and numbers that stand in stores."""

import pytest

from labelloop.kinds import base
from labelloop.labelbox.model_types import FIRST_INFERENCE, TYPES, find_type, type_of

NUMBERS = {
    "bounding_box": 1,
    "ner": 2,
    "image_single_classification": 3,
    "image_multi_classification": 4,
    "text_single_classification": 5,
    "text_multi_classification": 6,
}


def test_numbers_stay_what_they_are() -> None:
    assert {one.name: one.number for one in TYPES} == NUMBERS
    assert max(NUMBERS.values()) < FIRST_INFERENCE


@pytest.mark.parametrize("name", ["Text_multi_classification", "TEXT_MULTI_CLASSIFICATION", " ner ", "bounding_box"])
def test_letter_case_does_not_count(name: str) -> None:
    found = find_type(name)

    assert found is not None
    assert found.name == name.lower().strip()
    assert type_of(found.number) is found


@pytest.mark.parametrize("name", ["", "video", "ner2", "text-multi-classification"])
def test_other_names_are_none(name: str) -> None:
    assert find_type(name) is None


@pytest.mark.parametrize("number", [0, 7, FIRST_INFERENCE, -1])
def test_other_numbers_are_none(number: int) -> None:
    assert type_of(number) is None


def test_each_is_learned_by_a_kind_that_reads_such_votes() -> None:
    for one in TYPES:
        says = base.find(one.kind).says

        assert says == ("labels" if one.feature in ("radio", "checklist") else "regions")
        assert one.of_text == (one.name == "ner" or one.name.startswith("text_"))
