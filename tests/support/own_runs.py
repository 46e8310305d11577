"""Runs of ours that are trained elsewhere: on a machine of this project's, and, in no time, as if they were there."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.run.context import Context, Labeled
from labelloop.run.driver import Run
from labelloop.run.folder import RunFolder
from labelloop.run.registrar import Registrar
from labelloop.settings import Settings
from labelloop.trainers.base import Trainer, Training
from labelloop.types import Item, Json, ProjectKey
from support.bundles import COLOURS, make_bundle, picture

PROJECT = ProjectKey("localhost-8080", 7)


@dataclass
class Told:
    """Hears how far a run is."""

    told: list[tuple[str, int, int]] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.told.append((f"stage {name}", 0, 0))

    def __call__(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


class Baker:
    """Trains in no time: a network that knows colours. It stands for what a training elsewhere does."""

    name, elsewhere, predicts, ours = "baker", False, False, True

    def __init__(self) -> None:
        self.made = {"recipe": "head", "validation": {"accuracy": 1.0}, "seconds": {}, "left_out": {}, "notes": []}

    def check(self, *, thorough: bool) -> None:
        """It is here."""

    def start(self, context: Context, key: str) -> str:
        make_bundle(context.folder.bundle)
        return key

    def find(self, key: str) -> str:
        return key

    def poll(self, handle: str) -> Training:
        return Training("done", handle)

    def collect(self, handle: str, context: Context) -> Json:  # noqa: ARG002 - see Trainer
        return {**self.made, "calibration": {}, "device": "cpu", "policy": ""}

    def cancel(self, handle: str) -> None:
        """It has ended."""

    def predict(self, model: str, inputs: Sequence[Any], classes: tuple[str, ...] = ()) -> list[Any]:
        raise AssertionError(f"{model} is a bundle: {inputs} {classes}")


def labeled(pictures: PictureCache, count: int = 60) -> Labeled:
    """Label pictures of three colours by their colour."""
    held = []
    for task in range(1, count + 1):
        colour = COLOURS[task % 3]
        held.append(Item(task, pictures.add(picture(colour, size=(8 + task, 8))), (colour,)))
    return Labeled(Manifest.of(PROJECT, "single", COLOURS, held))


@dataclass
class RunMachine:
    """A project's runs in a folder (``path``) of this machine, by the ``usual`` settings and those ``given``."""

    path: Path
    usual: dict[str, Any]
    given: dict[str, Any] = field(default_factory=dict)
    reporter: Told = field(default_factory=Told)

    @property
    def settings(self) -> Settings:
        """The settings of its runs."""
        return Settings(**{"model_dir": str(self.path), "poll_seconds": 0.1, **self.usual, **self.given})

    def run(self, name: str = "run", trainer: Trainer | None = None) -> Run:
        """Open a run."""
        store = FileStore(self.path / "store")
        fence = 0 if trainer else ChampionPointer(store, PROJECT).take_fence()
        run = Run(
            RunFolder(self.path / name),
            self.settings,
            {},
            self.reporter,
            source=lambda _: labeled(run.context.pictures),
            registrar=Registrar(store, PROJECT, fence),
            archive=False,
            trainer=trainer,
        )
        return run

    def make(self, *stages: str, name: str = "run", trainer: Trainer | None = None) -> Run:
        """Make stages of a run."""
        run = self.run(name, trainer)
        with run.alone():
            for stage in stages:
                run.make(stage)
        return run

    def baked(self, name: str, change: Callable[[RunFolder], None] = lambda _: None) -> RunFolder:
        """Make a run as it would be made elsewhere, and change what a test wants otherwise."""
        folder = self.make("fetch", "preprocess", "train", "evaluate", "judge", name=name, trainer=Baker()).folder
        change(folder)
        return folder


def _other_labels(folder: RunFolder) -> None:
    record = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps({**record, "manifest": "0" * 64}))


def _damaged(folder: RunFolder) -> None:
    (folder.bundle / "model.onnx").write_bytes(b"other")


def _other_choice(folder: RunFolder) -> None:
    make_bundle(folder.bundle, choice="multiple")


def _nothing(folder: RunFolder) -> None:
    folder.trained.unlink()


NOT_TAKEN = [
    (_other_labels, "holds a run of other labels"),
    (_damaged, "a bundle that cannot be used: .*damaged"),
    (_other_choice, "multiple choice; the labels are for"),
    (_nothing, "train.json cannot be read"),
]
"""What may have been changed in a run that was made elsewhere, and what is then said in the place of taking it."""
