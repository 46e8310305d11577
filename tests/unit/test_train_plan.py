"""How long a finetune goes."""

from dataclasses import replace
from typing import Any

import pytest

from labelloop.bundle_info import PictureSpec
from support import materials, shapes

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("plan")
    return materials.material(shapes.dataset(folder / "pictures", train=70), shapes.settings(epochs=20), folder)


def test_random_weights_take_twenty_steps_an_epoch_at_the_rate_asked_for(given: Any) -> None:
    from labelloop.train.recipes.finetune_plan import plan

    planned = plan(given)
    assert (planned.epochs, planned.steps, planned.batch, planned.learning_rate) == (20, 20, 32, 0.002)
    assert planned.layer_decay is None


def test_learned_weights_take_half_as_many_passes_at_a_lower_rate(given: Any) -> None:
    from labelloop.train.recipes.finetune_plan import plan

    planned = plan(materials.learned(given))
    assert (planned.epochs, planned.steps, planned.batch) == (10, 3, 32)
    assert planned.learning_rate < 0.002
    assert planned.layer_decay is not None


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_ranks_share_a_batch(ranks: int, given: Any) -> None:
    from labelloop.train.recipes.finetune_plan import plan

    planned, alone = plan(given, ranks), plan(given)
    assert planned.batch - alone.batch in range(ranks)
    assert replace(planned, ranks=1, size=alone.size) == alone


def test_the_epochs_shrink_to_what_a_cpu_can_do_before_it_is_left_out(given: Any) -> None:
    import torch

    from labelloop.train.recipes.base import Budget
    from labelloop.train.recipes.finetune_plan import plan, too_long, work_of

    if torch.cuda.is_available():
        pytest.skip("a GPU takes any finetune")
    learned = materials.learned(given)
    epoch = 2 * 96 * work_of(given.start, given.pixels.spec).multiplications
    for room, epochs, long in ((30, 10, False), (8.5, 8, False), (6, 6, False), (5.9, 6, True)):
        limited = replace(learned, budget=Budget(cpu_work=room * epoch))
        assert (plan(limited).epochs, too_long(limited)) == (epochs, long)
    alone = replace(limited, settings=replace(learned.settings, recipes=("finetune",)))
    assert plan(alone).epochs == 10


def test_work_is_counted_forward_for_one_picture() -> None:
    from torch import nn

    from labelloop.train.recipes.finetune_plan import work_of

    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 5))
    found = work_of(model, PictureSpec(8, 8, (0, 0, 0), (1, 1, 1)))
    assert found.multiplications == 8 * 8 * 4 * 27 + 4 * 8 * 8 * 5
    assert found.activations == 3 * 4 * 8 * 8 + 5
