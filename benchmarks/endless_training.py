"""Trains on scikit-learn's digits again and again, as a worker does: the load beside which others are measured."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from labelloop.demo.pictures import digits
from labelloop.settings import Settings
from labelloop.train.dataset import Dataset, Sample
from labelloop.train.trainer import train
from labelloop.types import TrainSettings, side


def main(folder: Path) -> None:
    os.nice(Settings().run_niceness)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    shown = digits(pictures, 0, 260).shown
    samples = [(hashlib.sha256(one.content).hexdigest(), one) for one in shown]
    parts = {
        name: tuple(
            Sample(one.path, sha, (int(one.labels[0]),)) for sha, one in samples if one.path and side(sha) == name
        )
        for name in ("train", "validation")
    }
    dataset = Dataset(tuple("0123456789"), "single", parts["train"], parts["validation"])
    settings = TrainSettings(
        backbone="test_resnet",
        weights="none",
        image_size=32,
        recipes=("finetune",),
        epochs=1000,
        batch_size=32,
        learning_rate=0.002,
        seed=0,
    )
    print("training", flush=True)
    while True:
        train(dataset, settings, folder / "work", folder / "cache", lambda *_: None)
        shutil.rmtree(folder / "work")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
