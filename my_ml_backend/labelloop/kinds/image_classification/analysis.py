"""The second half of evaluate: what explains a model's figures, and likely label errors. Nobody's next step waits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.bundle_info import NetworkInfo
from labelloop.data.split import SIDES, Part, splits
from labelloop.kinds.base import Learned
from labelloop.kinds.picture_features import by_likeness
from labelloop.models.bundle import read_bundle_info, read_network_info
from labelloop.run.context import Context, picture_cache, read_json, write_json
from labelloop.run.parameters import recorded_settings
from labelloop.run.parts import make_parts, write_run_events
from labelloop.run.preprocess import samples_of, training_of
from labelloop.run.report.gallery import write_mistakes, write_thumbnails
from labelloop.run.scoring import Scored
from labelloop.run.suspects import with_left_out
from labelloop.types import Item, Json, Progress, TrainSettings

if TYPE_CHECKING:
    from torch import nn

    from labelloop.train.dataset import Sample
    from labelloop.train.pixels import PixelCache

_VARIED = 4
"""Pictures of which the augmentation grid shows variants."""

_ERRORS_SHOWN = 60
"""Probable label errors that the report shows with their pictures."""

_LEARNED = 100
"""Training pictures at hand as examples."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """``samples`` of the test side that can be read, ``scores`` (samples, classes), and a few ``learned`` samples."""

    context: Context
    samples: "tuple[Sample, ...]"
    scores: npt.NDArray[np.float64]
    learned: "tuple[Sample, ...]"
    pixels: "PixelCache"

    @cached_property
    def network(self) -> "nn.Module":
        """The bundle's network, for gradients; raises BundleError or TrainingError."""
        from labelloop.train.bundle import load_network

        return load_network(self.context.folder.bundle)

    @classmethod
    def of(cls, context: Context) -> Self:
        """Read the predictions of a run; raises StoreError where there are none."""
        from labelloop.train.pixels import PixelCache

        tested = Scored.read(context.folder.predictions)
        pixels = PixelCache(read_network_info(context.folder.bundle).picture, context.caches)
        sides = splits(context.manifest, context.named_sides)
        classes, pictures = context.manifest.classes, context.pictures
        samples = samples_of(classes, pictures, sides["test"])
        row = {picture: at for at, picture in enumerate(tested.pictures)}
        kept = [sample for sample in samples if sample.picture in row and not pixels.trouble(sample)]
        scores = tested.scores[[row[sample.picture] for sample in kept]].reshape(-1, len(tested.classes))
        known = samples_of(classes, pictures, sides["train"])
        learned = (sample for sample in known if not pixels.trouble(sample))
        return cls(context, tuple(kept), scores, tuple(islice(learned, _LEARNED)), pixels)


def analyse(context: Context) -> None:
    """Write the rest of ``evaluation/`` and TensorBoard's events from the bundle and its predictions.

    A part that this network or these data cannot have is left out and said in the log. Raises StoreError without
    predictions, and LeaseLost or Fenced where another worker has the project. Of a model that lies elsewhere there are
    mistakes to show, and no network for the rest; no more is there where torch is not installed.
    """
    if not isinstance(read_bundle_info(context.folder.bundle), NetworkInfo) or find_spec("torch") is None:
        write_mistakes(context.folder, context.manifest.choice, context.pictures.path)
        return
    analysis = Analysis.of(context)
    parts: dict[str, Callable[[Analysis], None]] = {
        "mistakes": _mistakes,
        "robustness": _robustness,
        "explanations": _explanations,
        "label errors": _label_errors,
        "comparison of orders": lambda one: write_order(one.context),
        "augmentations": _augmentations,
        "TensorBoard": write_tensorboard,
        "numbers of 8 bits": _numbers_of_8_bits,
    }
    make_parts(context.folder.path.name, {name: partial(part, analysis) for name, part in parts.items()})


def _mistakes(analysis: Analysis) -> None:
    context = analysis.context
    write_mistakes(context.folder, context.manifest.choice, context.pictures.path)


def _robustness(analysis: Analysis) -> None:
    from labelloop.train.robustness import robustness

    context = analysis.context
    found = robustness(
        context.folder.bundle,
        analysis.samples,
        analysis.pixels,
        context.progress,
        context.settings.seed,
        network=analysis.network,
    )
    write_json(context.folder.evaluation / "robustness.json", found)


def _explanations(analysis: Analysis) -> None:
    from labelloop.train.explain import explain

    context = analysis.context
    folder = context.folder.evaluation
    scores = np.nan_to_num(analysis.scores)
    found = explain(
        context.folder.bundle,
        analysis.samples,
        scores,
        analysis.pixels,
        folder / "explanations",
        context.progress,
        network=analysis.network,
    )
    write_json(folder / "explanations.json", found)


def _numbers_of_8_bits(analysis: Analysis) -> None:
    """Make a head's backbone in 8 bits, and have it take the features that the next heads are compared by."""
    from labelloop.train import int8_backbone
    from labelloop.train.frozen import frozen_network
    from labelloop.train.int8 import is_tried

    context, info = analysis.context, read_network_info(analysis.context.folder.bundle)
    items = splits(context.manifest, context.named_sides)["validation"]
    validation = [
        one for one in samples_of(context.manifest.classes, context.pictures, items) if not analysis.pixels.trouble(one)
    ]
    settings = training_of(context)
    if not info.features or not is_tried(settings, len(validation)):
        return
    frozen, spec = frozen_network(settings, 1, context.caches)
    if (frozen.hash, spec) == (info.features, info.picture):
        small = int8_backbone.make(frozen, analysis.learned, analysis.pixels)
        int8_backbone.take(small, validation, analysis.pixels, context.caches, context.progress)


def _label_errors(analysis: Analysis) -> None:
    context = analysis.context
    found = find_label_errors(context, None)
    found["errors"] = with_left_out(found["errors"], read_json(context.folder.trained, "train").get("suspects", ()))
    write_json(context.folder.evaluation / "label_errors.json", found)
    write_thumbnails(context.folder, (one["picture"] for one in found["errors"][:_ERRORS_SHOWN]), context.pictures.path)


def write_order(context: Context) -> None:
    """Write what the order of tasks was worth, where one has served some of them (train/order_gain.py).

    Items of the validation and test sides that no version has served at random are learned from by both that are
    compared, like those that were labeled before there was an order. The features
    are those that no label has touched: what has learned from the order's labels is not the same for both.
    """
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.dataset import indicators
    from labelloop.train.examine import seen
    from labelloop.train.order_gain import order_gain

    items = list(Part(context.manifest, context.named_sides, SIDES).sided())
    served = context.arms(item.task for _, item in items)
    random = {item.content for side, item in items if side != "train" and served.get(item.task) == "random"}
    chosen = {item.content for side, item in items if side == "train" and served.get(item.task) == "ordered"}
    if not chosen:
        return
    classes, settings = context.manifest.classes, training_of(context)
    samples = list(samples_of(classes, context.pictures, (item for _, item in items)))
    readable, rows = seen(samples, len(classes), settings, None, context.caches, context.progress, context.features)
    problem = Problem(rows, indicators(readable, len(classes)), context.manifest.choice)
    at_random, by_order = (np.flatnonzero([one.picture in arm for one in readable]) for arm in (random, chosen))
    found = order_gain(problem, at_random, by_order, settings.seed)
    if found is not None:
        write_json(context.folder.evaluation / "order.json", found.to_json())


def _augmentations(analysis: Analysis) -> None:
    from labelloop.train.augmentations.policy import AUTO, load_policy
    from labelloop.train.grids import policy_grid

    context = analysis.context
    used, asked = read_json(context.folder.trained, "train")["policy"], context.settings.augmentations
    if not used:
        return
    shown = [analysis.pixels.one(sample) for sample in analysis.learned[:_VARIED]]
    sheet = policy_grid(load_policy(used if asked == AUTO else asked), shown)
    sheet.save(context.folder.evaluation / "augmentations.png")


def write_tensorboard(analysis: Analysis) -> None:
    """Write the event files of a run; raises StoreError when a stage before has not been made."""
    from labelloop.train.grids import example_grid

    context = analysis.context
    shown: dict[str, Image.Image] = {}
    if analysis.learned:
        shown["learned from"] = example_grid(analysis.learned, analysis.pixels, context.manifest.classes)
    grid = context.folder.evaluation / "augmentations.png"
    if grid.is_file():
        with Image.open(grid) as drawn:
            shown["augmentations"] = drawn.convert("RGB")
    write_run_events(context, shown)


def find_label_errors(context: Context, learned: Learned | None) -> Json:
    """Examine every label whose picture is on this machine, but for those that are confirmed; raises TrainingError.

    By the run's bundle, or by what the champion was trained with, through its weights where it has any.
    """
    from labelloop.train.examine import examine
    from labelloop.train.label_errors import listed

    manifest, (bundle, settings) = context.manifest, _looked_by(context, learned)
    samples = list(samples_of(manifest.classes, context.pictures, manifest.items))
    readable, found = examine(
        samples,
        manifest.classes,
        manifest.choice,
        settings,
        bundle,
        context.caches,
        context.progress,
        context.features,
    )
    confirmed = np.array([one.confirmed for one in readable], dtype=bool)
    return listed(found, [one.picture for one in readable], [one.targets for one in readable], confirmed, manifest)


def nearest(asked: Item, learned: Learned, progress: Progress) -> list[tuple[Item, float]]:
    """Order the items whose pictures are on this machine by how alike they are to one; see Kind.nearest."""
    info = read_bundle_info(learned.bundle)
    if not isinstance(info, NetworkInfo):
        return []
    from labelloop.train.examine import seen

    training, caches = recorded_settings(learned.trained_with, info), learned.settings.directory / "cache" / "train"
    pictures = picture_cache(learned.settings)

    def features(items: Sequence[Item]) -> tuple[list[Item], npt.NDArray[np.float32]]:
        # Their labels do not matter here, and may be none of the bundle's.
        there = {item.content: item for item in items}
        samples = list(samples_of(info.classes, pictures, (replace(item, labels=()) for item in there.values())))
        readable, rows = seen(samples, len(info.classes), training, learned.bundle, caches, progress, learned.features)
        return [there[one.picture] for one in readable], rows

    return by_likeness(asked, learned.items, learned.settings, features)


def _looked_by(context: Context, learned: Learned | None) -> tuple[Path | None, TrainSettings]:
    """Give the bundle to look through, if any, and the settings it was trained with."""
    if context.folder.bundle.is_dir():
        return context.folder.bundle, training_of(context)
    if learned is not None:
        info = read_bundle_info(learned.bundle)
        # One that was adopted from an ONNX file has no weights to look through, one of another kind no network.
        if isinstance(info, NetworkInfo) and {"model.safetensors", "backbone.safetensors"} & info.files.keys():
            return learned.bundle, recorded_settings(learned.trained_with, info)
    return None, training_of(context)
