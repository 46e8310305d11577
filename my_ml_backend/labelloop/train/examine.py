"""From labeled pictures to the labels that are probably wrong: which features to look at, and the pictures left out."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from labelloop.bundle_info import PictureSpec
from labelloop.models.bundle import read_network_info
from labelloop.models.features import OpenFeatures, Rows
from labelloop.train.backbone import build, for_features, picture_spec
from labelloop.train.bundle import load_network
from labelloop.train.dataset import Sample, indicators
from labelloop.train.features import FeatureCache
from labelloop.train.frozen import Flipped, freeze
from labelloop.train.label_errors import Examined, label_errors
from labelloop.train.pixels import PixelCache
from labelloop.types import Choice, Progress, TrainSettings


def examine(
    samples: Sequence[Sample],
    classes: Sequence[str],
    choice: Choice,
    settings: TrainSettings,
    bundle: Path | None,
    cache_dir: Path,
    progress: Progress,
    opens: OpenFeatures | None = None,
) -> tuple[list[Sample], Examined]:
    """Examine the labels of ``samples``; gives those whose picture can be read, and what was found, by row of these.

    Raises TrainingError; see ``seen``.
    """
    readable, rows = seen(samples, len(classes), settings, bundle, cache_dir, progress, opens)
    shown, pictures = indicators(readable, len(classes)), [sample.picture for sample in readable]
    return readable, label_errors(rows, shown, choice, settings.seed, pictures)


def seen(
    samples: Sequence[Sample],
    classes: int,
    settings: TrainSettings,
    bundle: Path | None,
    cache_dir: Path,
    progress: Progress,
    opens: OpenFeatures | None = None,
) -> tuple[list[Sample], Rows]:
    """Give those samples whose picture can be read, and their features: (samples, features).

    The features are those of the network's first weights, which no label has touched. Where these are random, they are
    those of ``bundle``, which may have learned from some of the labels and so trust them more, and without one those of
    the fixed network. ``opens`` opens those that are kept of their project. Raises TrainingError.
    """
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model, backbone, spec = _network(settings, classes, bundle)
    pixels = PixelCache(spec, cache_dir)
    unreadable = pixels.check(samples, len(samples), progress)
    readable = [sample for sample in samples if sample.picture not in unreadable]
    frozen = freeze(model, backbone, spec, cache_dir)
    return readable, FeatureCache(frozen, pixels, cache_dir, opens).of(readable, progress)


def _network(settings: TrainSettings, classes: int, bundle: Path | None) -> tuple[nn.Module, str, PictureSpec]:
    """Give the network to look through, its name, and what pictures it takes."""
    if settings.weights != "none" or bundle is None:
        settings = for_features(settings)
        model = build(settings, classes)
        return model, settings.backbone, picture_spec(model, settings.image_size)
    model, info = load_network(bundle), read_network_info(bundle)
    return model.network if isinstance(model, Flipped) else model, info.backbone, info.picture
