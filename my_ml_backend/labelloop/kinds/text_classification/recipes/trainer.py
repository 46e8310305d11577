"""A run's training: the recipes compete on the validation side, and the better one becomes a bundle."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from labelloop.files import sha256
from labelloop.kinds.text_classification.bundle import TextInfo
from labelloop.kinds.text_classification.recipes import head
from labelloop.kinds.text_classification.recipes.material import Candidate, Material, Recipe
from labelloop.models.bundle import DESCRIPTION
from labelloop.train.calibration import temperature_effect
from labelloop.train.dataset import Trained
from labelloop.train.label_errors import suspected
from labelloop.train.selection import accuracies, settled, winner
from labelloop.types import TEXTS, Json

RECIPES: Mapping[str, Recipe] = {"head": head.fit}
"""All recipes, in the order in which they run."""


def train(material: Material, recipes: tuple[str, ...], left_out: Mapping[str, str], workdir: Path) -> Json:
    """Train by these recipes and write the best model's bundle below ``workdir``; gives what ``train.json`` is to hold.

    The same labels and parameters give the same model. ``left_out`` maps texts that cannot be read to the reason.
    Raises TrainingError.
    """
    material.require_contrast()
    seconds: dict[str, float] = {}
    notes: list[str] = []
    found: list[Candidate] = []
    for name, recipe in RECIPES.items():
        if name not in recipes:
            continue
        with _timed(name, seconds):
            found.append(recipe(material, found[-1] if found else None))
        notes += found[-1].notes
    candidates = [_with_temperature(one, material) for one in found]
    best = winner(candidates, material.tested)
    material.progress("export", 0, 1)
    with _timed("export", seconds):
        write_bundle(best, material, workdir / "bundle")
    material.progress("export", 1, 1)
    trained = Trained(
        bundle=workdir / "bundle",
        recipe=best.recipe,
        validation=accuracies(candidates, material.tested),
        seconds=seconds,
        left_out=left_out,
        notes=tuple(notes),
        curves={one.recipe: one.curve for one in candidates if one.curve},
        balance=best.balance,
        temperature=best.temperature,
        calibration=temperature_effect(material.tested.held(best), material.choice, best.temperature),
        device=best.device,
        suspects=suspected(best.suspects, _given(material), material.classes),
    )
    values = asdict(trained)
    values.pop("bundle")
    return values


def write_bundle(candidate: Candidate, material: Material, directory: Path) -> None:
    """Write a bundle into ``directory`` (emptied first), ``model.json`` last."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    written = candidate.write(directory, candidate.temperature)
    thresholds = (
        {} if candidate.thresholds is None else dict(zip(material.classes, candidate.thresholds.tolist(), strict=True))
    )
    info = TextInfo(
        classes=material.classes,
        choice=material.choice,
        recipe=candidate.recipe,
        files={name: sha256(directory / name) for name in written.files},
        kind=TEXTS,
        temperature=candidate.temperature,
        thresholds=thresholds,
        encoder=written.encoder,
    )
    (directory / DESCRIPTION).write_text(info.to_json())


def _with_temperature(candidate: Candidate, material: Material) -> Candidate:
    found = settled(candidate, material.tested)
    logits = (candidate.logits / found.temperature).astype(np.float32)
    return replace(candidate, logits=logits, temperature=found.temperature, thresholds=found.thresholds)


def _given(material: Material) -> dict[str, list[int]]:
    both = material.train.joined(material.validation)
    return {name: np.flatnonzero(shown).tolist() for name, shown in zip(both.names, both.shown, strict=True)}


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    begun = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - begun, 3)
