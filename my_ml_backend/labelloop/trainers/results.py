"""What a training that is not ours has left, taken as the run's version: a bundle, or a model that lies elsewhere."""

import shutil
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labelloop.bundle_info import ForeignInfo
from labelloop.data.split import splits
from labelloop.endpoints.answers.labelloop import write_item
from labelloop.models.bundle import write_foreign
from labelloop.trainers.handover import BUNDLE, Handover, Result, RunInputs, take_bundle
from labelloop.types import Answer, Failure, Input, Item, Json, NotAsked

if TYPE_CHECKING:
    from labelloop.run.context import Context

Ask = Callable[[str, Sequence[Input], tuple[str, ...]], list[Answer | Failure]]
"""Asks a model, by its name, for answers to inputs; gives one for each."""


def take_result(
    context: "Context", handover: Handover, recipe: str, lost: Sequence[str], begun: float, ask: Ask | None = None
) -> Json:
    """Take over what lies in the output of a hand-over, and give what Trainer.collect does; raises TrainingError.

    ``recipe`` is what such versions are called, ``lost`` what of the labels was not handed over. Where ``ask`` is
    given, the model is asked about the test items that it has not answered. ``begun`` is when collecting was, by the
    clock that only goes forward.
    """
    result = handover.result()
    notes = list(lost)
    if result.model:
        recipe = result.recipe or recipe
        notes += _take_model(context, handover, result, recipe, ask)
    else:
        recipe = take_bundle(context, handover.output / BUNDLE)
    return {
        "recipe": recipe,
        "validation": dict(result.validation or {}),
        "seconds": {"collect": round(time.monotonic() - begun, 3)},
        "left_out": {},
        "notes": [*result.notes, *notes],
        "calibration": {},
        "device": "",
        "policy": "",
    }


def _take_model(context: "Context", handover: Handover, result: Result, recipe: str, ask: Ask | None) -> list[str]:
    """Write the bundle of a model that lies elsewhere, its answers to the test items in it; gives notes."""
    manifest = context.manifest
    items = [item for item in splits(manifest, context.named_sides)["test"] if _is_here(context, item)]
    found = handover.answers(RunInputs(context, items), result.model, manifest.classes)
    unasked = [item for item in items if item.content not in found]
    if unasked and ask:
        answers = ask(result.model, RunInputs(context, unasked), manifest.classes)
        found |= {item.content: one for item, one in zip(unasked, answers, strict=True)}
    info = ForeignInfo(manifest.classes, manifest.choice, recipe, kind=manifest.kind, model=result.model)
    shutil.rmtree(context.folder.bundle, ignore_errors=True)
    told = {content: write_item(one) for content, one in found.items() if not isinstance(one, NotAsked)}
    write_foreign(context.folder.bundle, info, told)
    return [f"the model lies elsewhere, as {result.model}: what needs its weights is left out of this report"]


def _is_here(context: "Context", item: Item) -> bool:
    return bool(item.text) or context.pictures.has(item.content)
