"""A finetune on several devices: here two processes on the CPU, that meet by gloo."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from labelloop.errors import TrainingError
from support import materials, shapes

pytestmark = pytest.mark.train


def fit(material: Any, before: Any, ranks: int) -> Any:
    from labelloop.train.recipes import finetune

    return finetune.fit(material, before, ranks=ranks, workers=0)


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(tmp_path: Path) -> None:
    """From learned weights batch norms hold still, and the mean of two halves is that of the whole."""
    data = shapes.dataset(tmp_path / "pictures", train=26, validation=53)
    settings = shapes.settings(epochs=4, weights="none")
    steps: list[tuple[str, int, int]] = []
    told: list[float] = []

    def watch(_recipe: str, epoch: Any) -> bool:
        told.append(epoch["validation_loss"])
        return False

    first = materials.material(data, settings, tmp_path / "cache", progress=lambda *step: steps.append(step))
    given = materials.learned(first)
    before = materials.head(given)
    one = fit(given, before, 1)
    steps.clear()
    two = fit(materials.learned(materials.material(data, settings, tmp_path / "cache", watch=watch)), before, 2)
    assert materials.difference(one, two) < 1e-4
    assert abs(one.logits - two.logits).max() < 1e-3
    assert told == pytest.approx([epoch["validation_loss"] for epoch in one.curve], abs=1e-3)
    assert len(two.curve) == 2


def listen(target: Any, *arguments: Any) -> None:
    """Hear one process of a rank out."""
    from labelloop.train.finetuning.ranks import listen

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process: Any = context.Process(target=target, args=(theirs, *arguments), name="rank-1")
    process.start()
    theirs.close()
    try:
        listen([process], [ours], lambda *_: None, lambda *_: False)
    finally:
        process.kill()
        process.join()


def fail(link: Any) -> None:
    link.send(("failed", "finetune diverged"))


def die(link: Any) -> None:
    os.kill(os.getpid(), 9)


def leave(link: Any) -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("ending", "words"), [(fail, "finetune diverged"), (die, "rank-1.*SIGKILL"), (leave, "rank-1.*exit code 3")]
)
def test_how_a_rank_ends_is_told(ending: Any, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        listen(ending)
