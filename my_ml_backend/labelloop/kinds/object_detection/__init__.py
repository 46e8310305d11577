"""Boxes in pictures, found by a detector on one of timm's networks. torch is imported by the stages that need it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.bundle_info import BundleInfo
from labelloop.errors import Unreadable
from labelloop.kinds.base import Learned
from labelloop.kinds.object_detection import boxes
from labelloop.kinds.object_detection.info import ONNX, WEIGHTS, DetectorInfo, detector_info
from labelloop.kinds.overlap import overlaps
from labelloop.kinds.regions import Learnable, Regions
from labelloop.regions import read_regions
from labelloop.types import BOXES, Box, Item, Json, Progress, Region, TrainSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.models.features import OpenFeatures
    from labelloop.run.context import Context
    from labelloop.run.located import Located
    from labelloop.run.resampled import Figure
    from labelloop.serve.engines.base import Engine
    from labelloop.settings import Settings

_SAME = 0.5
"""The overlap from which on two boxes are of one thing (Everingham et al., IJCV 88, 2010, section 4.2)."""

_TOUCHING = 0.1


class ObjectDetection(Regions):
    """What is where in a picture: boxes with a label each."""

    name = BOXES
    item = "picture"
    shape = Box
    figure = "AP50"
    least, touching = _SAME, _TOUCHING
    label_configs = (("RectangleLabels", ("Image",)), ("Rectangle", ("Image",)))
    recipes: Mapping[str, int] = {"head": 1, "finetune": 1}
    settings = (
        "backbone", "weights", "recipes", "image_size", "epochs", "batch_size", "augmentations", "learning_rate",
    )  # fmt: skip
    weights = (ONNX, WEIGHTS)

    def overlaps(self, ones: Sequence[Region], others: Sequence[Region]) -> "npt.NDArray[np.float64]":
        """Give intersection over union; what is turned is compared as drawn in a square."""
        first, second = ([one.shape for one in some if isinstance(one.shape, Box)] for some in (ones, others))
        return overlaps(first, second, 1.0)

    def middle(self, drawn: Sequence[Region]) -> Region:
        """Give the box of the medians."""
        return boxes.middle(drawn)

    def learnable(self, context: "Context", item: Item) -> Learnable:
        """Give upright boxes as far as they lie in the picture."""
        regions, aside = [], []
        for region in read_regions(item.result or "[]"):
            if not isinstance(region.shape, Box):
                continue
            shape = region.shape
            if shape.rotation % 360:
                aside.append(boxes.TURNED)
                shape = boxes.upright(shape, _aspect(context, item))
            seen, trouble = boxes.within(shape)
            if trouble:
                aside.append(trouble)
            if seen is not None:
                regions.append(replace(region, shape=seen))
        return Learnable(tuple(regions), tuple(aside))

    def shown(self, info: BundleInfo, region: Region) -> bool:
        """Whether annotators would see a box: from its label's threshold on."""
        from labelloop.kinds.object_detection.engine import is_sure

        return not isinstance(info, DetectorInfo) or is_sure(info, region)

    def evidence(self, items: Sequence["Located"], classes: Sequence[str]) -> "Figure":
        """Give AP50: the average precision of all that was found, however unsure."""
        return self.precisions(items, classes, self.least)

    def further(self, context: "Context", items: Sequence["Located"]) -> Json:
        """Give COCO's other figures: AP at .5:.95, of small, medium and large boxes."""
        from labelloop.kinds.object_detection.coco import figures

        return figures(context, items, self.overlaps)

    def check(self, content: bytes) -> None:
        """Raise Unreadable for what is no picture."""
        from labelloop.pictures import decode

        decode(content)

    def competing(self, settings: "Settings") -> tuple[str, ...]:
        """Take the recipes that the settings name; a head on random weights finds nothing beside a finetune."""
        alone = settings.weights == "none" and "finetune" in settings.recipes
        return tuple(name for name in settings.recipes if not (alone and name == "head"))

    def hyperparameters(self, settings: "Settings") -> TrainSettings:
        """Take network, weights, recipes and all that they learn by; what else pictures learn by does not count."""
        from labelloop.run.parameters import raised, train_settings

        taken = replace(train_settings(settings), raised=raised(settings.recipes, self.recipes))
        return replace(taken, optimizer="adamw", mixup=0.0, balance="auto", int8="auto")

    def check_settings(self, settings: "Settings", *, thorough: bool) -> None:
        """Raise TrainingError for a network, recipe or augmentation that there is not.

        ``thorough``: a detector is made, for only it knows whether it finds maps in the network; of weights that are
        yet to be downloaded nothing is known.
        """
        training = self.hyperparameters(settings)
        # After what is wrong without it, for torch takes seconds.
        from labelloop.kinds.object_detection.recipes.checks import check, check_detector

        check(training)
        if thorough:
            check_detector(replace(training, weights="none") if training.weights == "pretrained" else training)

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Decode and resize all pictures, as far as that has not been done."""
        from labelloop.kinds.object_detection.recipes.sizes import size_of
        from labelloop.run.preprocess import samples_of, training_of
        from labelloop.train.pixels import PixelCache

        pixels = PixelCache(size_of(context, self, training_of(context)).spec, context.caches)
        unnamed = (replace(item, labels=()) for item in items)
        return pixels.check(samples_of((), context.pictures, unnamed), total, context.progress)

    def train(self, context: "Context") -> Json:
        """Let the recipes compete on the validation side, from the last checkpoint on."""
        from labelloop.kinds.object_detection.recipes.sizes import size_of
        from labelloop.kinds.object_detection.recipes.training import Place, sides_of, train
        from labelloop.run.preprocess import training_of

        folder, settings = context.folder, training_of(context)
        place = Place(context.caches, folder.checkpoints)
        size = size_of(context, self, settings)
        values = train(sides_of(context, self), size, settings, folder.bundle, place, context.progress)
        return {**values, "notes": [*values["notes"], *self.aside_notes(context)]}

    def analyse(self, context: "Context") -> None:
        """Show mistakes, robustness, explanations and probable label errors; write TensorBoard's events."""
        from labelloop.kinds.object_detection.analysis import analyse

        super().analyse(context)
        analyse(context, self)

    def label_errors(self, context: "Context", learned: Learned | None) -> Json:  # noqa: ARG002
        """Ask heads on the network's first weights, which have not learned from the pictures they judge."""
        from labelloop.kinds.object_detection.recipes.doubts import find_doubts

        return find_doubts(context, self)

    def nearest(self, asked: Item, learned: Learned, progress: Progress) -> Sequence[tuple[Item, float]]:
        """Compare what the network says of whole pictures by the cosine of the angle."""
        from labelloop.kinds.object_detection.analysis import nearest

        return nearest(asked, learned, progress)

    def features(
        self, items: Sequence[Item], settings: "Settings", progress: Progress, opens: "OpenFeatures | None" = None
    ) -> "tuple[Sequence[Item], npt.NDArray[np.float32]]":
        """Take those that no label has touched, of whole pictures."""
        from labelloop.kinds.picture_features import first_features

        return first_features(items, settings, replace(self.hyperparameters(settings), image_size=0), progress, opens)

    def describe(self, raw: Json) -> DetectorInfo:
        """Read ``model.json`` with the detector's own part."""
        return DetectorInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:
        """Refuse pictures that cannot be prepared, impossible thresholds, and a bundle without ``model.onnx``."""
        if not isinstance(info, DetectorInfo):
            yield "is of no detector"
            return
        yield from info.problems()

    def served(self, engine: str) -> tuple[str, ...]:  # noqa: ARG002 - suppression is in the graph: there is one file
        """Name the graph, whatever the engine: there is no other artefact."""
        return (ONNX,)

    def open(self, directory: Path, info: BundleInfo, engine: str) -> "Engine":  # noqa: ARG002
        """Load the detector."""
        from labelloop.kinds.object_detection.engine import DetectorEngine

        return DetectorEngine(directory, detector_info(info, directory))


def _aspect(context: "Context", item: Item) -> float:
    """Give a picture's height by its width; 1 where it cannot be read, for then nothing is learned of it."""
    from labelloop.pictures import upright_size

    try:
        width, height = upright_size(context.pictures.path(item.content).read_bytes())
    except (OSError, Unreadable):
        return 1.0
    return height / width


KIND = ObjectDetection()
