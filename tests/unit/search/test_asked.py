"""What is searched, read from the words of a command."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import SettingsError
from labelloop.kinds.base import find
from labelloop.run.folder import RunFolder
from labelloop.run.search.search_folder import SearchFolder, SearchPlan
from labelloop.run.search.space import Space, Values, asked_space, present, space_of
from labelloop.settings import Settings
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS

PICTURES = find(IMAGES)


def resized(space: Space, *sizes: int) -> Space:
    return replace(space, lists={**space.lists, "sizes": sizes})


def test_without_words_the_settings_own_model_and_size_are_searched() -> None:
    space = space_of(Settings(backbone="resnet34", image_size=96), PICTURES)

    assert (space.lists["models"], space.lists["sizes"]) == (("resnet34",), (96,))
    assert space.lists["augmentations"] == ("none", "auto", "realistic")
    assert {"adamw", "sgd"} <= set(space.lists["optimizers"])


@pytest.mark.parametrize(
    ("weights", "recipes", "expected"),
    [
        ("pretrained", ("head", "finetune"), ("head", "finetune")),
        ("none", ("head", "finetune"), ("head", "finetune")),
        ("none", ("head",), ("head",)),
        ("pretrained", ("finetune",), ("finetune",)),
    ],
)
def test_the_recipes_that_compete_are_searched(
    weights: str, recipes: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert space_of(Settings(weights=weights, recipes=recipes), PICTURES).recipes == expected


def test_words_become_values() -> None:
    given = {"models": "resnet18, resnet34", "sizes": "128,160", "learning_rates": "1e-4,0.1"}
    space = asked_space(Settings(), given, None, PICTURES)

    assert (space.lists["models"], space.lists["sizes"]) == (("resnet18", "resnet34"), (128, 160))
    assert space.lists["learning_rates"] == (1e-4, 0.1)
    assert asked_space(Settings(), {"sizes": "96"}, space, PICTURES) == resized(space, 96)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sizes", "128,big", "whole numbers of pixels"),
        ("learning_rates", "0.1", "the lowest and the highest"),
        ("learning_rates", "0.1,0.01", "no range"),
        ("learning_rates", "0,0.1", "no range"),
        ("learning_rates", "nan,nan", "no range"),
        ("learning_rates", "0.1,inf", "no range"),
        ("models", " , ", "one value or more"),
        ("optimizers", "sgd,sgd", "each once"),
    ],
)
def test_words_that_say_nothing_are_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        asked_space(Settings(), {name: text}, None, PICTURES)
    assert str(caught.value).startswith(name)


def test_the_first_trial_is_the_settings_as_far_as_they_are_searched() -> None:
    settings = Settings(learning_rate=0.5, image_size=64, weights="none")
    space = resized(space_of(settings, PICTURES), 96)

    assert present(space, settings) == {
        "recipe": "finetune",
        "model": "resnet18",
        "optimizer": "adamw",
        "augmentations": "auto",
    }


def test_boxes_are_searched_by_what_is_a_setting_of_theirs() -> None:
    space = space_of(Settings(), find(BOXES))

    assert space.lists.keys() == {"models", "sizes", "augmentations", "learning_rates"}
    assert space.recipes == ("head", "finetune")
    assert space_of(Settings(weights="none"), find(BOXES)).recipes == ("finetune",)
    assert space_of(Settings(weights="none", recipes=("head",)), find(BOXES)).recipes == ("head",)


@pytest.mark.parametrize("kind", [TEXTS, SPANS])
def test_texts_are_searched_by_encoders(kind: str) -> None:
    named = space_of(Settings(encoder="small"), find(kind))
    listed = asked_space(Settings(), {"encoders": "small,large"}, None, find(kind))

    assert (named.lists["encoders"], named.recipes) == (("small",), ("head", "finetune"))
    assert (listed.lists["encoders"], listed.recipes) == (("small", "large"), ("head", "finetune"))
    assert listed.lists.keys() == {"encoders", "learning_rates"}


def test_a_search_with_nothing_to_choose_from_says_what_could_be() -> None:
    with pytest.raises(SettingsError, match=r"nothing to choose from .*recipe head.* --encoders"):
        asked_space(Settings(), {}, None, find(TEXTS))
    with pytest.raises(SettingsError, match=r"^--models says nothing to text-classification: .* --learning-rates"):
        asked_space(Settings(), {"models": "resnet18"}, None, find(TEXTS))


@pytest.fixture
def plan() -> SearchPlan:
    lists: dict[str, Values] = {"models": ("a",), "sizes": (32,), "optimizers": ("adamw",), "augmentations": ("none",)}
    space = Space({**lists, "learning_rates": (0.001, 0.01)}, ("head", "finetune"))
    return SearchPlan(space, {"model": "a", "recipe": "head,finetune", "epochs": "3"}, "hash")


def test_a_plan_is_read_as_it_was_written(tmp_path: Path, plan: SearchPlan) -> None:
    folder = SearchFolder(RunFolder(tmp_path))

    assert SearchPlan.read(folder) is None
    assert plan.settle(folder) == SearchPlan.read(folder) == plan.settle(folder)
    assert json.loads(folder.plan.read_text()) == {
        "space": {
            "models": ["a"],
            "sizes": [32],
            "optimizers": ["adamw"],
            "augmentations": ["none"],
            "learning_rates": [0.001, 0.01],
            "recipes": ["head", "finetune"],
        },
        "parameters": {"model": "a", "recipe": "head,finetune", "epochs": "3"},
        "manifest": "hash",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": {"model": "a", "recipe": "head,finetune", "epochs": "4"}}, "its epochs is '3', and now '4'"),
        ({"manifest": "other"}, "of other labels"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(
    tmp_path: Path, plan: SearchPlan, change: dict[str, object], said: str
) -> None:
    folder = SearchFolder(RunFolder(tmp_path))
    plan.settle(folder)

    with pytest.raises(SettingsError, match=said):
        replace(plan, **change).settle(folder)  # type: ignore[arg-type]
    other = replace(plan, space=resized(plan.space, 32, 64))
    with pytest.raises(SettingsError, match="its sizes are 32, and now 32,64 are asked for"):
        other.settle(folder)


def test_a_finetune_s_trial_trains_the_head_that_it_begins_from(plan: SearchPlan) -> None:
    assert plan.parameters_with({"recipe": "finetune", "model": "b"})["recipe"] == "head,finetune"
    assert plan.parameters_with({"recipe": "head", "model": "b"}) == {"model": "b", "recipe": "head", "epochs": "3"}
