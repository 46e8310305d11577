"""Classes of whole pictures, by timm's networks. torch is imported by the stages that need it, and by no server."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.bundle_info import HEAD, INT8_BACKBONE, INT8_MODEL, SHARED, BundleInfo, NetworkInfo
from labelloop.errors import TrainingError
from labelloop.files import is_sha256, multiplies_bytes
from labelloop.kinds.base import LAST_LAYER, FeatureTaker, Learned
from labelloop.kinds.classification import Classification
from labelloop.models.bundle import network_info
from labelloop.training_parameters import PictureParameters
from labelloop.types import IMAGES, Item, Json, Progress, TrainSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.models.features import OpenFeatures
    from labelloop.run.context import Context
    from labelloop.run.refits import Refit
    from labelloop.serve.engines.base import Engine
    from labelloop.settings import Settings

ENGINES: Mapping[str, tuple[str, str, str]] = {
    "onnx": ("model.onnx", "backbone.onnx", HEAD),
    "onnx-float32": ("model.onnx", "backbone.onnx", HEAD),
    "torchscript": ("model.ts.pt", "backbone.ts.pt", HEAD),
}
"""The engines, and the bundle's files that each of them runs: a network's one, or a backbone's and its head's."""


class ImageClassification(Classification):
    """What one picture shows: one class, or any number of them."""

    name = IMAGES
    item = "picture"
    whoever_trains = True
    label_configs = (("Choices", ("Image",)),)
    recipes: Mapping[str, int] = {"head": 3, "finetune": 2}
    quick: tuple[str, ...] = ("head", LAST_LAYER)
    refits = ("head",)
    begins_with: tuple[str, ...] = ("backbone", "image_size", "weights")
    settings = tuple(row.name for row in fields(PictureParameters) if row.name != "seed")
    weights = ("model.onnx", INT8_MODEL, "model.safetensors", "model.ts.pt", *SHARED, HEAD)

    def check(self, content: bytes) -> None:
        """Raise Unreadable for what is no picture."""
        from labelloop.pictures import decode

        decode(content)

    def competing(self, settings: "Settings") -> tuple[str, ...]:
        """Take the recipes that the settings name."""
        return settings.recipes

    def hyperparameters(self, settings: "Settings") -> TrainSettings:
        """Take network, weights, recipes and all that they learn by."""
        from labelloop.run.parameters import train_settings

        return train_settings(settings)

    def check_settings(self, settings: "Settings", *, thorough: bool) -> None:
        """Raise TrainingError for a network, recipe, optimizer or augmentation that there is not.

        ``thorough``: the network is made, for only it knows its arguments, weights and sizes; of weights that are yet
        to be downloaded nothing is known.
        """
        training = self.hyperparameters(settings)
        # After what is wrong without it, for torch takes seconds.
        from labelloop.train.backbone import build
        from labelloop.train.contest import check

        check(training)
        if thorough:
            build(replace(training, weights="none") if training.weights == "pretrained" else training, 2)

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Decode and resize all pictures, as far as that has not been done."""
        from labelloop.run.preprocess import samples_of, training_of
        from labelloop.train.backbone import spec_of
        from labelloop.train.pixels import PixelCache

        pixels = PixelCache(spec_of(training_of(context)), context.caches)
        return pixels.check(samples_of(context.manifest.classes, context.pictures, items), total, context.progress)

    def train(self, context: "Context") -> Json:
        """Let the recipes compete on the validation side, from the last checkpoint on."""
        from labelloop.run.champion_network import opened
        from labelloop.run.preprocess import dataset_of, training_of
        from labelloop.run.suspects import with_suspects
        from labelloop.train.trainer import train as fit

        folder = context.folder
        trained = fit(
            dataset_of(context),
            training_of(context),
            folder.path,
            context.caches,
            context.progress,
            watch=context.watch,
            checkpoints=folder.checkpoints,
            opens=context.features,
            challengers=context.challengers,
            network=opened(context),
        )
        values = asdict(trained)
        values.pop("bundle")
        return with_suspects(values, context.manifest)

    def refit(self, context: "Context", items: Sequence[Item], others: Sequence[Item]) -> "Refit":  # noqa: ARG002 - a picture's features are its own
        """Take the features of a head's pictures, which lie in the cache where it was trained here."""
        if find_spec("torch") is None:
            raise TrainingError("torch is not installed where it is judged")
        from labelloop.run.preprocess import samples_of, training_of
        from labelloop.train.refitted_head import RefittedHead

        samples = list(samples_of(context.manifest.classes, context.pictures, items))
        manifest, settings = context.manifest, training_of(context)
        return RefittedHead.of(
            samples, manifest.classes, manifest.choice, settings, context.caches, context.progress, context.features
        )

    def analyse(self, context: "Context") -> None:
        """Show mistakes, robustness, explanations, probable label errors, augmentations; write TensorBoard's events."""
        from labelloop.kinds.image_classification.analysis import analyse

        analyse(context)

    def label_errors(self, context: "Context", learned: Learned | None) -> Json:
        """Ask heads that have not seen them, on the champion's features where it has any."""
        from labelloop.kinds.image_classification.analysis import find_label_errors

        return find_label_errors(context, learned)

    def nearest(self, asked: Item, learned: Learned, progress: Progress) -> Sequence[tuple[Item, float]]:
        """Compare the features of pictures by the cosine of their angle."""
        from labelloop.kinds.image_classification.analysis import nearest

        return nearest(asked, learned, progress)

    def features(
        self, items: Sequence[Item], settings: "Settings", progress: Progress, opens: "OpenFeatures | None" = None
    ) -> "tuple[Sequence[Item], npt.NDArray[np.float32]]":
        """Take those that no label has touched."""
        from labelloop.kinds.picture_features import first_features

        return first_features(items, settings, self.hyperparameters(settings), progress, opens)

    def featured(self, settings: "Settings", network: str = "") -> str:
        """Name network, weights and size, where a head competes that is trained here."""
        if "head" not in settings.recipes or settings.trainer != "local" or find_spec("torch") is None:
            return ""
        from labelloop.run.context import digest_of

        training = self.hyperparameters(settings)
        weights = training.weights_hash or training.weights
        named = digest_of("features 2", version("timm"), training.backbone, weights, str(training.image_size))
        return f"{named} on {network}" if network else named

    def taker(self, settings: "Settings", network: Path | None = None) -> "FeatureTaker":
        """Make the network of the settings, or the champion's, or find its exported form."""
        from labelloop.train.features import Taker

        if network is not None:
            settings = replace(settings, weights=str(network))
        return Taker.of(self.hyperparameters(settings), settings.directory / "cache" / "train")

    def network_files(self, info: BundleInfo) -> tuple[str, ...]:
        """Name the safetensors file, from which the network is made."""
        headed = isinstance(info, NetworkInfo) and info.features != ""
        return ("backbone.safetensors" if headed else "model.safetensors",)

    def describe(self, raw: Json) -> NetworkInfo:
        """Read ``model.json`` with the network's own part."""
        return NetworkInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:
        """Refuse pictures that cannot be prepared, impossible thresholds, and a bundle without a network to run."""
        if isinstance(info, NetworkInfo) and not _are_thresholds(info):
            yield "has a threshold that is of no class, or not between 0 and 1"
        if not isinstance(info, NetworkInfo) or not info.picture.is_possible:
            yield "has an impossible picture size, mean or std"
        headed = isinstance(info, NetworkInfo) and info.features != ""
        if isinstance(info, NetworkInfo) and headed and not is_sha256(info.features):
            yield "names features by what is no sha256"
        in_8_bits = isinstance(info, NetworkInfo) and info.in_8_bits
        needed = ("backbone.onnx", HEAD) if headed else ("model.onnx",)
        for name in (*needed, INT8_BACKBONE if headed else INT8_MODEL)[: len(needed) + in_8_bits]:
            if name not in info.files:
                yield f"has no hash of {name}: nothing could be served"

    def served(self, engine: str) -> tuple[str, ...]:
        """Name the files of a network, and those of a head and its backbone."""
        return (*ENGINES[engine], INT8_MODEL, INT8_BACKBONE) if engine == "onnx" else ENGINES[engine]

    def open(self, directory: Path, info: BundleInfo, engine: str) -> "Engine":
        """Load the network; a head's backbone only where no other version in this process has.

        What an engine needs is imported here and not before: onnxruntime starts a thread when it is imported and aborts
        at the end of a process forked after that, and torch takes seconds.
        """
        from labelloop.serve.engines.head import LOADED, Head, HeadEngine
        from labelloop.serve.engines.network import NetworkEngine

        if engine == "torchscript":
            from labelloop.serve.engines.torchscript import open_network
        else:
            from labelloop.serve.engines.onnx import open_network

        described, (whole, backbone, _) = network_info(info, directory), ENGINES[engine]
        if engine == "onnx" and described.in_8_bits and multiplies_bytes():
            # Elsewhere the answers would be others than those that were compared.
            whole, backbone = INT8_MODEL, INT8_BACKBONE
        if not described.features:
            return NetworkEngine(described, open_network(directory, described, whole))
        head = Head.read(directory, described)
        hashed = described.files.get(backbone, "")
        network = LOADED.get(hashed, lambda: open_network(directory, described, backbone))
        return HeadEngine(head, network, hashed if backbone == INT8_BACKBONE else described.features)


KIND = ImageClassification()


def _are_thresholds(info: NetworkInfo) -> bool:
    known = isinstance(info.thresholds, dict) and set(info.thresholds) <= set(info.classes)
    return known and all(isinstance(one, int | float) and 0 < one < 1 for one in info.thresholds.values())
