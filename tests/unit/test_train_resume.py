"""A training that is killed goes on from its checkpoint, and only from its own."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support import materials, shapes

pytestmark = pytest.mark.train

SOURCES = Path(__file__).parents[2]


def fit(material: Any) -> Any:
    from labelloop.train.recipes import finetune

    return finetune.fit(material, None, workers=0)


def brief() -> dict[str, Any]:
    """Let an epoch from random weights be of few steps."""
    from labelloop.train.recipes.base import Budget

    return {"budget": Budget(fresh_steps=2)}


def first_step(data: Any, settings: Any, folder: Path) -> int:
    """Train with checkpoints in ``folder``; give the step at which that began, 0 if all was done before."""
    steps: list[int] = []
    told = {"progress": lambda _what, done, _total: steps.append(done), "checkpoints": folder / "checkpoints"}
    fit(materials.material(data, settings, folder / "cache", **told, **brief()))
    return steps[0] if steps else 0


@pytest.mark.process
def test_a_killed_training_ends_where_it_would_have(tmp_path: Path) -> None:
    paths = os.pathsep.join(str(SOURCES / name) for name in ("my_ml_backend", "tests"))
    killed = subprocess.run(
        [sys.executable, "-m", "support.materials", str(tmp_path), "18"],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    steps: list[int] = []
    told = {"progress": lambda _what, done, _total: steps.append(done), "checkpoints": tmp_path / "checkpoints"}
    resumed = fit(materials.resumable(tmp_path, **told))
    assert steps[0] in {9, 17}
    assert steps[-1] == 24
    straight = fit(materials.resumable(tmp_path))
    assert materials.difference(resumed, straight) == 0
    assert (resumed.logits == straight.logits).all()
    assert [epoch["train_loss"] for epoch in resumed.curve] == [epoch["train_loss"] for epoch in straight.curve]


def test_from_learned_weights_it_still_ends_halfway_from_the_first(tmp_path: Path) -> None:
    data, settings = shapes.dataset(tmp_path / "pictures", validation=4), shapes.settings(epochs=4)
    first = materials.learned(materials.material(data, settings, tmp_path / "cache"))
    before = materials.head(first)

    def die(_what: str, done: int, total: int) -> None:
        if done == total:
            raise RuntimeError("killed")

    def again(**more: Any) -> Any:
        from labelloop.train.recipes import finetune

        return finetune.fit(replace(first, **more), before, workers=0)

    with pytest.raises(RuntimeError, match="killed"):
        again(progress=die, checkpoints=tmp_path / "checkpoints")
    steps: list[int] = []
    resumed = again(progress=lambda _what, done, _total: steps.append(done), checkpoints=tmp_path / "checkpoints")
    straight = again()
    assert steps == [2]
    assert materials.difference(resumed, straight) == 0
    assert (resumed.logits == straight.logits).all()


def test_only_the_very_same_training_goes_on(tmp_path: Path) -> None:
    data, settings = shapes.dataset(tmp_path / "pictures"), shapes.settings(epochs=1)
    assert first_step(data, settings, tmp_path) == 1
    assert first_step(data, settings, tmp_path) == 0
    assert first_step(data, replace(settings, learning_rate=0.001), tmp_path) == 1
    assert first_step(replace(data, train=data.train[1:]), settings, tmp_path) == 1
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"cos\nsystem\n(S'true'\ntR."])
def test_a_damaged_checkpoint_is_none(damage: bytes, tmp_path: Path) -> None:
    data, settings = shapes.dataset(tmp_path / "pictures"), shapes.settings(epochs=1)
    first_step(data, settings, tmp_path)
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    checkpoint.write_bytes(damage)
    assert first_step(data, settings, tmp_path) == 1
