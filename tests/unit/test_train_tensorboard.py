"""What TensorBoard reads back is what was written; pictures for it can be read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelloop.train.pixels import PixelCache
from support import shapes, small_network

pytestmark = pytest.mark.train


def metrics() -> dict[str, Any]:
    from labelloop.train.evaluation import measure

    truth = np.eye(2, dtype=bool)[[0, 1, 0, 1]]
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    return measure(truth, scores, shapes.CLASSES, "single", resamples=10)


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_curves_metrics_pictures_and_settings_can_be_read_back(tmp_path: Path) -> None:
    from labelloop.train.tensorboard import write_events

    curves = {"finetune": [{"epoch": 1, "train_loss": 0.9}, {"epoch": 2, "train_loss": 0.5, "validation_loss": 0.4}]}
    chosen = shapes.settings(weights="/somewhere/private/weights.safetensors")
    for _ in range(2):  # written again, it is there once
        write_events(tmp_path, curves, metrics(), chosen, {"examples": Image.new("RGB", (20, 10))})
    events = read(tmp_path)
    assert [(one.step, round(one.value, 3)) for one in events.Scalars("finetune/train_loss")] == [(1, 0.9), (2, 0.5)]
    assert [one.step for one in events.Scalars("finetune/validation_loss")] == [2]
    assert [one.value for one in events.Scalars("test/accuracy")] == [0.75]
    assert set(events.Tags()["images"]) == {"confusion", "examples"}
    shown = events.Images("examples")[0]
    assert (shown.width, shown.height) == (20, 10)
    held = read(tmp_path / "hyperparameters")
    assert [one.value for one in held.Scalars("test/macro_f1")] == [pytest.approx(metrics()["macro"]["f1"]["value"])]
    summaries = held.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"weights.safetensors" in summaries
    assert b"private" not in summaries
    assert b"learning_rate" in summaries


@pytest.mark.parametrize("count", [2, 6, 50])
def test_a_confusion_matrix_can_be_read_at_any_size(count: int) -> None:
    from labelloop.train.tensorboard import draw_confusion

    counts = np.eye(count, dtype=int) * 9
    counts[0, 1] = 3
    counts[-1] = 0  # no picture of this class
    names = [f"class {at}" for at in range(count - 2)] + ["$a_{very}^ long name that goes on and on", "猫"]
    drawn = draw_confusion(counts.tolist(), names)
    assert 300 < drawn.width < 2000
    assert 300 < drawn.height < 2000
    dark = (np.asarray(drawn).astype(int).sum(axis=2) < 250).mean()
    assert dark > 0.002


def test_examples_stand_in_a_row_for_each_class(tmp_path: Path) -> None:
    from labelloop.train.grids import example_grid

    samples = shapes.samples(tmp_path / "pictures", 10, seed=1)
    grid = example_grid(samples, PixelCache(small_network.SPEC, tmp_path), ["across", "upright", "never"], columns=3)
    assert grid.size == (4 * 100, 2 * 100)
    assert np.asarray(grid)[:96, 100:].std() > 10
