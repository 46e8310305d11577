"""The contest of the recipes: who wins on the validation side, by the spans that each of them finds there."""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.kinds.named_entity_recognition.crf import FLOOR
from labelloop.kinds.named_entity_recognition.info import SpanInfo
from labelloop.kinds.named_entity_recognition.recipes.base import Candidate, Labeled, Material, Recipe, Regions
from labelloop.kinds.texts.encoder_settings import NO_ENCODER, too_few
from labelloop.run.context import Context, write_text
from labelloop.settings import Settings
from labelloop.types import HALF, SPANS, Json

ENOUGH = 50
"""Validation texts from which on a later recipe can win."""


def train(context: Context, material: Material) -> Json:
    """Let the recipes compete, write the winner's bundle, and give what ``train.json`` is to hold."""
    if not material.train and not material.validation:
        raise TrainingError("there is no text to learn from")
    seconds: dict[str, float] = {}
    recipes, notes = entrants(context.settings, material)
    candidates = []
    for name, fit in recipes.items():
        begun = time.monotonic()
        candidates.append(fit(material))
        seconds[name] = round(time.monotonic() - begun, 3)
    best, begun = winner(candidates, material.validation), time.monotonic()
    model = best.model if best.refit is None or not material.validation else best.refit()
    seconds["refit"] = round(time.monotonic() - begun, 3)
    folder = context.folder.bundle
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in model.write(folder)}
    info = SpanInfo(
        material.classes, "multiple", best.recipe, files, kind=SPANS, thresholds=_thresholds(material.classes)
    )
    write_text(folder / "model.json", info.to_json())
    return {
        "recipe": best.recipe,
        "validation": {one.recipe: f1(material.validation, one.found) for one in candidates if material.validation},
        "seconds": seconds,
        "left_out": {},
        "notes": [*notes, *(note for one in candidates for note in one.notes)],
        "calibration": best.calibration,
        "curves": {one.recipe: one.curve for one in candidates if one.curve},
        "device": best.device,
        "challengers": {name: too_few(len(material.validation)) for name in material.challengers},
    }


def entrants(settings: Settings, material: Material) -> tuple[Mapping[str, Recipe], tuple[str, ...]]:
    """Give the recipes that run, in order, and say in a sentence which is left out, if one is."""
    # Either brings what takes a while to import.
    found: dict[str, Recipe] = {}
    if "head" in material.parameters.recipes:
        from labelloop.kinds.named_entity_recognition.recipes import head

        found["head"] = head.fit
    if "finetune" not in material.parameters.recipes:
        return found, (NO_ENCODER,) if "finetune" in settings.recipes else ()
    from labelloop.kinds.named_entity_recognition.recipes import finetune

    if reason := finetune.left_out(material):
        if not found:
            raise TrainingError(reason)
        return found, (reason,)
    return {**found, "finetune": finetune.fit}, ()


def winner(candidates: Sequence[Candidate], texts: Sequence[Labeled]) -> Candidate:
    """Give the candidate that is to serve: the last one, unless one before it is clearly better.

    Clearly: its loss on the validation side is lower by more than the standard error of the difference, text by text,
    and its span F1 is no lower. With fewer than 50 texts the first one serves.
    """
    best = candidates[0]
    for one in candidates[1:]:
        if len(texts) >= ENOUGH and not _clearly_better(best, one, texts):
            best = one
    return best


def f1(texts: Sequence[Labeled], found: Sequence[Regions]) -> float:
    """Give the span F1 of what is sure enough to be shown; 1 where nothing is to be found, and nothing is."""
    true = [{(one.label, one.shape) for one in text.regions} for text in texts]
    given = [{(one.label, one.shape) for one in regions if (one.score or 0.0) >= HALF} for regions in found]
    right = sum(len(ours & theirs) for ours, theirs in zip(true, given, strict=True))
    every = sum(map(len, true)) + sum(map(len, given))
    return 2 * right / every if every else 1.0


def losses(texts: Sequence[Labeled], found: Sequence[Regions]) -> npt.NDArray[np.float64]:
    """Give each text's log-loss: of true spans what they were found with, of others what that leaves of 1."""
    return np.array([_loss(text, regions) for text, regions in zip(texts, found, strict=True)])


def _loss(text: Labeled, found: Regions) -> float:
    scores = {(one.label, one.shape): min(max(one.score or 0.0, FLOOR), 1 - FLOOR) for one in found}
    true = {(one.label, one.shape) for one in text.regions}
    missed = -sum(math.log(scores.get(one, FLOOR)) for one in true)
    return missed - sum(math.log(1 - score) for one, score in scores.items() if one not in true)


def _clearly_better(one: Candidate, other: Candidate, texts: Sequence[Labeled]) -> bool:
    gain = losses(texts, other.found) - losses(texts, one.found)
    return bool(gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain))) and f1(texts, one.found) >= f1(
        texts, other.found
    )


def _thresholds(classes: Sequence[str]) -> dict[str, float]:
    return dict.fromkeys(classes, HALF)
