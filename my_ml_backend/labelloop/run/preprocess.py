"""preprocess: say what there is to learn from, and bring it into the form that training reads."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, islice
from typing import TYPE_CHECKING

from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.data.split import SIDES, Part, Tally, lacking, splits, tally
from labelloop.errors import MediaError, NotEnoughLabels, SettingsError
from labelloop.run.context import Context, write_json
from labelloop.types import Item, Json, Side, TrainSettings

if TYPE_CHECKING:
    from labelloop.train.dataset import Dataset, Sample


_FEWEST = 4
"""Labels that a run needs at all; how many a project waits for is its policy's matter."""

_MOST_LISTED = 10_000
"""Tasks that are left out and listed with their reasons; the manifest has all of them."""


_MOST_ASIDE = 100
"""Tasks that are named of which something is not learned, for one reason."""


def preprocess(context: Context) -> None:
    """Read the manifest, write ``data.json``.

    Raises NotEnoughLabels where nothing can be learned or tested, SettingsError where nothing could be judged, and
    MediaError where pictures were removed meanwhile.
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
    unreadable = context.learner.prepare(context, items, total)
    _require_pictures(context, unreadable)
    write_json(context.folder.data, summed_up(context, sides, unreadable))


def _require_pictures(context: Context, unreadable: Mapping[str, str]) -> None:
    """Raise MediaError where pictures are gone from this machine that were noted to be here.

    The note is taken back, so the next attempt fetches them. Of those that could not be had it was never said.
    """
    manifest, pictures = context.manifest, context.pictures
    lost = (item for item in manifest.items if item.content in unreadable and not item.text) if unreadable else ()
    gone = [item.content for item in lost if not pictures.has(item.content)]
    if gone and pictures.is_whole(manifest.project, manifest.hash):
        pictures.forget_whole(manifest.project)
        raise MediaError(
            f"{len(gone)} of the {context.kind.item}s of run {context.folder.path} were removed from this machine's "
            f"cache, such as {gone[0]}: the next attempt fetches them again"
        )


def summed_up(context: Context, sides: Mapping[Side, Tally], unreadable: Mapping[str, str]) -> Json:
    """Sum up a run's data: classes, pictures by side and class, what is left out and why."""
    manifest, labeled = context.manifest, context.labeled
    conflicts = sum(1 for _ in labeled.contradicting())
    left_out = chain(manifest.left_out, labeled.contradicting())
    return {
        "project": str(manifest.project),
        "manifest": manifest.hash,
        "kind": manifest.choice,
        "item": context.kind.item,
        "classes": list(manifest.classes),
        "sides": {name: _counts(side, manifest.classes) for name, side in sides.items()},
        "left_out": [asdict(out) for out in islice(left_out, _MOST_LISTED)],
        "left_out_count": len(manifest.left_out) + conflicts,
        "unreadable": _with_tasks(manifest, unreadable),
        "aside": _aside(context),
        "conflicts": conflicts,
        "moved": [asdict(out) for out in labeled.moved],
    }


def _counts(side: Tally, classes: Sequence[str]) -> Json:
    return {"items": side.items, "classes": {name: side.labels[name] for name in classes}}


def _aside(context: Context) -> list[Json]:
    """Count what the kind does not learn as it stands, by reason, with the first tasks of each."""
    counts: Counter[str] = Counter()
    tasks: dict[str, dict[int, None]] = defaultdict(dict)
    for one in context.kind.aside(context, Part(context.manifest, context.named_sides, SIDES)):
        counts[one.reason] += 1
        tasks[one.reason][one.task] = None
    return [
        {
            "reason": reason,
            "regions": count,
            "items": len(tasks[reason]),
            "tasks": [*islice(tasks[reason], _MOST_ASIDE)],
        }
        for reason, count in counts.most_common()
    ]


def _with_tasks(manifest: Manifest, unreadable: Mapping[str, str]) -> list[Json]:
    """Name the task of each picture that cannot be read: the last that shows it."""
    tasks = {item.content: item.task for item in manifest.items if item.content in unreadable} if unreadable else {}
    return [{"task": tasks[picture], "picture": picture, "reason": reason} for picture, reason in unreadable.items()]


def dataset_of(context: Context) -> "Dataset":
    """Give the two sides that training may see."""
    from labelloop.train.dataset import Dataset

    manifest = context.manifest
    sides = splits(manifest, context.named_sides)
    train, validation = (
        tuple(samples_of(manifest.classes, context.pictures, sides[name])) for name in ("train", "validation")
    )
    return Dataset(manifest.classes, manifest.choice, train, validation)


def training_of(context: Context) -> TrainSettings:
    """Give what a run's pictures are trained with; the files that the settings name are hashed once in a run."""
    training = context.training
    if not isinstance(training, TrainSettings):
        raise TypeError(f"{context.folder.path} is a run of {context.kind.name}: it trains no network for pictures")
    return training


def samples_of(classes: Sequence[str], pictures: PictureCache, items: Iterable[Item]) -> "Iterator[Sample]":
    """Give items as samples, in their order, one by one; ``pictures`` says where their files lie."""
    from labelloop.train.dataset import Sample

    index = {name: at for at, name in enumerate(classes)}
    for item in items:
        targets = tuple(index[label] for label in item.labels)
        yield Sample(pictures.path(item.content), item.content, targets, item.confirmed)
