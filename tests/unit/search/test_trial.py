"""Trials that train for real: small networks, small pictures, seconds."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from labelloop.run.context import Context
from labelloop.run.parameters import parameters_of
from labelloop.run.search.journal import Tried, next_trial, open_study, tried
from labelloop.run.search.search_folder import SearchFolder, SearchPlan
from labelloop.run.search.space import Space
from labelloop.run.search.trial import Trial
from support import searching

pytestmark = pytest.mark.train

SPACE = Space(
    {
        "models": ("test_resnet", "test_vit"),
        "sizes": (32, 40),
        "optimizers": ("adamw", "sgd"),
        "augmentations": ("none", "light"),
        "learning_rates": (2e-4, 2e-2),
    },
    ("head", "finetune"),
)
FINETUNE = {
    "recipe": "finetune",
    "model": "test_resnet",
    "image_size": 32,
    "optimizer": "adamw",
    "augmentations": "none",
    "learning_rate": 0.002,
}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return searching.fetched(tmp_path, searching.settings(tmp_path))


@pytest.fixture
def study(context: Context) -> optuna.Study:
    folder = SearchFolder(context.folder)
    folder.path.mkdir()
    return open_study(folder, warmup=0)


Make = Callable[[dict[str, object]], Tried]


@pytest.fixture
def make(context: Context, study: optuna.Study) -> Make:
    """Make a trial with these values and tell how it went."""
    folder = SearchFolder(context.folder)
    plan = SearchPlan(SPACE, parameters_of(context.settings, context.kind.settings), context.manifest.hash)
    plan.settle(folder)

    def carry_out(values: dict[str, object]) -> Tried:
        study.enqueue_trial(values)
        asked = next_trial(study, folder, SPACE, seed=0, most=99, worker=0)
        assert asked is not None
        Trial.begin(study, *asked, context).carry_out()
        assert not folder.trial(asked[0].number).exists()
        return tried(study)[-1]

    return carry_out


def test_a_trial_is_worth_what_its_recipe_reaches_on_the_validation_side(make: Make) -> None:
    one = make(FINETUNE)

    assert (one.state, one.epochs, one.reason) == ("finished", 2, "")
    assert one.accuracy is not None
    assert one.log_loss is not None
    assert one.score is not None
    assert one.accuracy - 1 / 8 <= one.score <= one.accuracy
    again = make(FINETUNE)
    assert (again.state, again.same_as, again.score) == ("finished", 0, one.score)
    assert again.seconds < one.seconds / 2


def test_a_trial_that_cannot_be_says_why_and_the_search_learns_from_it(make: Make, study: optuna.Study) -> None:
    one = make({**FINETUNE, "model": "test_vit", "image_size": 40})

    assert one.state == "failed"
    assert "takes no picture of 40 x 40 pixels" in one.reason
    assert study.get_trials()[-1].state == TrialState.PRUNED
    again = make({**FINETUNE, "model": "test_vit", "image_size": 40})
    assert (again.state, again.reason, again.same_as) == ("failed", one.reason, 0)


def test_a_head_s_trial_has_no_epochs(make: Make) -> None:
    one = make({"recipe": "head", "model": "test_resnet", "image_size": 32})

    assert (one.state, one.epochs, one.parameters.get("optimizer")) == ("finished", 0, None)
    assert one.log_loss is not None


def test_a_trial_below_the_median_of_those_before_is_cut_short(make: Make, study: optuna.Study) -> None:
    for _ in range(5):
        study.add_trial(create_trial(intermediate_values=dict.fromkeys((1, 2), 2.0), value=2.0))
    one = make({**FINETUNE, "learning_rate": 0.001})

    assert (one.state, one.epochs) == ("pruned", 1)
    assert one.reason == "below the median of the trials before"
    assert one.accuracy is not None
