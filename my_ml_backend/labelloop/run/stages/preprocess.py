"""preprocess: say what there is to learn from, and bring it into the form that training reads."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from labelloop.data.lacking import lacking
from labelloop.errors import NotEnoughLabels
from labelloop.run.context import Context, write_json
from labelloop.run.sides import Sides, sides_of
from labelloop.types import Item, Json

_FEWEST = 4
"""Labels that a run needs at all; how many a project waits for is its policy's matter."""


def preprocess(context: Context) -> None:
    """Read the manifest, write ``data.json``. Raises NotEnoughLabels where nothing can be learned or tested."""
    manifest = context.manifest
    sides = sides_of(manifest, context.named_sides)
    needed: Sides = {name: items for name, items in sides.items() if name != "validation"}
    if missing := lacking(needed, manifest.classes, _FEWEST):
        raise NotEnoughLabels(f"run {context.folder.path} cannot be trained: {missing}")
    context.kind.check_settings(context.settings, thorough=False)
    unreadable = context.kind.prepare(context, [item for items in sides.values() for item in items])
    write_json(context.folder.data, describe(context, sides, unreadable))


def describe(context: Context, sides: Sides, unreadable: Mapping[str, str]) -> Json:
    """Sum up a run's data: classes, pictures by side and class, what is left out and why."""
    manifest = context.manifest
    conflicts = context.labeled.contradicting
    tasks = {item.content: item.task for item in manifest.items}
    return {
        "project": str(manifest.project),
        "manifest": manifest.hash,
        "kind": manifest.choice,
        "classes": list(manifest.classes),
        "sides": {name: _counts(items, manifest.classes) for name, items in sides.items()},
        "left_out": [{"task": out.task, "reason": out.reason} for out in (*manifest.left_out, *conflicts)],
        "unreadable": [
            {"task": tasks[picture], "picture": picture, "reason": reason} for picture, reason in unreadable.items()
        ],
        "conflicts": len(conflicts),
        "moved": [asdict(out) for out in context.labeled.moved],
    }


def _counts(items: Sequence[Item], classes: Sequence[str]) -> Json:
    counts = Counter(label for item in items for label in item.labels)
    return {"items": len(items), "classes": {name: counts[name] for name in classes}}
