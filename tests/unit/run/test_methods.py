"""A recipe or the gate that is raised is a reason to train anew, once; as long as it is the first, nothing changes."""

from dataclasses import dataclass

import pytest

from labelloop.kinds.base import find
from labelloop.models.runs import RunRecord
from labelloop.run.parameters import GATE, improvement, methods_of, raised, train_settings
from labelloop.settings import Settings
from labelloop.types import IMAGES, TrainSettings

METHODS = {"head": 1, "finetune": 1, "gate": 1}
BOTH = ("head", "finetune")
OLD = RunRecord("k", "a/1", "m", "s", 0)


def made_with(**methods: int) -> RunRecord:
    return RunRecord("k", "a/1", "m", "s", 0, methods=methods)


@pytest.mark.train
def test_every_recipe_has_a_version() -> None:
    from labelloop.train.contest import RECIPES

    assert {*find(IMAGES).recipes, *GATE} == {*RECIPES, "gate"}


def test_what_is_raised_is_an_improvement_once() -> None:
    raised_head = METHODS | {"head": 2}
    assert improvement(OLD, BOTH, raised_head) == "head improved"
    assert improvement(OLD, BOTH, raised_head | {"gate": 3}) == "gate and head improved"
    assert improvement(made_with(**methods_of(BOTH, raised_head)), BOTH, raised_head) == ""
    assert improvement(OLD, BOTH, METHODS) == ""


def test_only_what_the_project_is_trained_with_counts() -> None:
    assert improvement(OLD, ("finetune",), METHODS | {"head": 2}) == ""
    assert improvement(made_with(finetune=1, gate=1), BOTH, METHODS | {"head": 2}) == "", "news of the settings"


def test_a_worker_of_an_older_release_does_not_go_back() -> None:
    assert improvement(made_with(head=2, finetune=1, gate=1), BOTH, METHODS) == ""


def test_what_is_raised_is_in_the_runs_key_and_a_first_version_is_not() -> None:
    today = train_settings(Settings(weights="none"))
    assert today.raised == raised(BOTH, find(IMAGES).recipes)
    assert (raised(BOTH, METHODS), raised(BOTH, METHODS | {"head": 2})) == ((), ("head 2",))
    first = _with(today, ())
    keys = {settings.fingerprint() for settings in (first, _with(first, ("head 2",)), _with(first, ("gate 2",)))}
    assert len(keys) == 3


def test_a_field_that_is_added_names_runs_only_where_it_is_set() -> None:
    @dataclass(frozen=True, slots=True)
    class Later(TrainSettings):
        frozen_layers: int = 3

    first = train_settings(Settings(weights="none"))
    values = {name: getattr(first, name) for name in TrainSettings.__dataclass_fields__}
    assert Later(**values).fingerprint() == first.fingerprint()
    assert Later(**values, frozen_layers=4).fingerprint() != first.fingerprint()


def _with(settings: TrainSettings, methods: tuple[str, ...]) -> TrainSettings:
    return TrainSettings(**{**{n: getattr(settings, n) for n in TrainSettings.__dataclass_fields__}, "raised": methods})
