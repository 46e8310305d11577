"""A run's training: the recipes compete on the validation side, and the better one becomes a bundle."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from labelloop.bundle_info import SHARED
from labelloop.errors import BundleError, RunCancelled, StoreError, TrainingError
from labelloop.files import kept_sha256, sha256
from labelloop.kinds.base import LAST_LAYER
from labelloop.kinds.text_classification.bundle import TextInfo
from labelloop.kinds.text_classification.recipes.material import Candidate, Material, OnNetwork, Recipe
from labelloop.kinds.texts.encoder_settings import NO_ENCODER, too_few
from labelloop.models.bundle import DESCRIPTION
from labelloop.train.calibration import temperature_effect
from labelloop.train.dataset import Trained
from labelloop.train.label_errors import suspected
from labelloop.train.selection import accuracies, settled, winner
from labelloop.types import TEXTS, Json


def train(material: Material, wanted: Sequence[str], left_out: Mapping[str, str], workdir: Path) -> Json:
    """Let recipes compete, and write the best model's bundle below ``workdir``; gives what ``train.json`` is to hold.

    ``wanted`` are the recipes that the settings name, ``left_out`` maps texts that cannot be read to the reason. The
    same labels and parameters give the same model.
    Raises TrainingError.
    """
    material.require_contrast()
    seconds: dict[str, float] = {}
    recipes, notes = entrants(material, wanted)
    found: list[Candidate] = []
    for name, recipe in recipes.items():
        with _timed(name, seconds):
            found.append(recipe(material, found[-1] if found else None))
        notes += found[-1].notes
    if material.on is not None:
        with _timed(LAST_LAYER, seconds):
            last, said = last_layers(material, material.on, found[0])
        found, notes = [*found, *last], [*notes, *said]
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
        network=material.on.network.version if material.on and best.recipe == LAST_LAYER else "",
        device=best.device,
        suspects=suspected(best.suspects, _given(material), material.classes),
        challengers={name: too_few(len(material.validation.names)) for name in material.challengers},
    )
    values = asdict(trained)
    values.pop("bundle")
    return values


def last_layers(material: Material, on: OnNetwork, before: Candidate) -> tuple[list[Candidate], Sequence[str]]:
    """Learn a last layer; none where that cannot be, for there is the head. Gives the notes with it."""
    from labelloop.kinds.text_classification.recipes import last_layer

    try:
        found = last_layer.fit(material, on, before)
    except RunCancelled:
        raise
    except (TrainingError, BundleError, StoreError) as error:
        return [], [f"{LAST_LAYER} is left out: {error}"]
    return [found], found.notes


def entrants(material: Material, wanted: Sequence[str]) -> tuple[Mapping[str, Recipe], list[str]]:
    """Give the recipes that run, in order, and say in a sentence which is left out, if one is."""
    # Either brings what takes a while to import.
    found: dict[str, Recipe] = {}
    if "head" in material.parameters.recipes:
        from labelloop.kinds.text_classification.recipes import head

        found["head"] = head.fit
    if "finetune" not in material.parameters.recipes:
        return found, [NO_ENCODER] if "finetune" in wanted else []
    from labelloop.kinds.text_classification.recipes import finetune

    if reason := finetune.left_out(material):
        if not found:
            raise TrainingError(reason)
        return found, [reason]
    return {**found, "finetune": finetune.fit}, []


def write_bundle(candidate: Candidate, material: Material, directory: Path) -> None:
    """Write a bundle into ``directory`` (emptied first), ``model.json`` last."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    names = candidate.write(directory, candidate.temperature)
    thresholds = (
        {} if candidate.thresholds is None else dict(zip(material.classes, candidate.thresholds.tolist(), strict=True))
    )
    info = TextInfo(
        classes=material.classes,
        choice=material.choice,
        recipe=candidate.recipe,
        files={name: (kept_sha256 if name in SHARED else sha256)(directory / name) for name in names},
        kind=TEXTS,
        temperature=candidate.temperature,
        thresholds=thresholds,
        features=candidate.features,
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
