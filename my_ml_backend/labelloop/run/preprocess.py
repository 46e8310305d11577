"""preprocess: say what there is to learn from, and bring it into the form that training reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain, islice

from labelloop.data.manifest import Manifest
from labelloop.data.split import SIDES, Part, Tally, lacking, tally
from labelloop.errors import NotEnoughLabels, SettingsError
from labelloop.run.context import Context, write_json
from labelloop.types import Json, Side

_FEWEST = 4
"""Labels that a run needs at all; how many a project waits for is its policy's matter."""

_MOST_LISTED = 10_000
"""Tasks that are left out and listed with their reasons; the manifest has all of them."""


def preprocess(context: Context) -> None:
    """Read the manifest, write ``data.json``.

    Raises NotEnoughLabels where nothing can be learned or tested, SettingsError where nothing could be judged.
    """
    manifest = context.manifest
    if context.kind.as_shown and context.render is None:
        raise SettingsError(
            f"what is learned here, {context.kind.name}, is judged as annotators would see it, and only the project of "
            "the labels says how that is: let the loop make this run (`labelloop retrain --project ID`)"
        )
    sides = tally(manifest, context.named_sides)
    needed: dict[Side, Tally] = {name: side for name, side in sides.items() if name != "validation"}
    if missing := lacking(needed, manifest.classes, _FEWEST, context.kind):
        raise NotEnoughLabels(f"run {context.folder.path} cannot be trained: {missing}")
    if context.kind.name != context.expected:
        # Its settings could not be looked at before the labels said what they are of.
        context.learner.check_settings(context.settings, thorough=False)
    items, total = Part(manifest, context.named_sides, SIDES), sum(side.items for side in sides.values())
    write_json(context.folder.data, describe(context, sides, context.learner.prepare(context, items, total)))


def describe(context: Context, sides: Mapping[Side, Tally], unreadable: Mapping[str, str]) -> Json:
    """Sum up a run's data: classes, pictures by side and class, what is left out and why."""
    manifest, labeled = context.manifest, context.labeled
    conflicts = sum(1 for _ in labeled.contradicting())
    left_out = chain(manifest.left_out, labeled.contradicting())
    return {
        "project": str(manifest.project),
        "manifest": manifest.hash,
        "kind": manifest.choice,
        "classes": list(manifest.classes),
        "sides": {name: _counts(side, manifest.classes) for name, side in sides.items()},
        "left_out": [asdict(out) for out in islice(left_out, _MOST_LISTED)],
        "left_out_count": len(manifest.left_out) + conflicts,
        "unreadable": _with_tasks(manifest, unreadable),
        "conflicts": conflicts,
        "moved": [asdict(out) for out in labeled.moved],
    }


def _counts(side: Tally, classes: Sequence[str]) -> Json:
    return {"items": side.items, "classes": {name: side.labels[name] for name in classes}}


def _with_tasks(manifest: Manifest, unreadable: Mapping[str, str]) -> list[Json]:
    """Name the task of each picture that cannot be read: the last that shows it."""
    tasks = {item.content: item.task for item in manifest.items if item.content in unreadable} if unreadable else {}
    return [{"task": tasks[picture], "picture": picture, "reason": reason} for picture, reason in unreadable.items()]
