"""A backbone in whole numbers of 8 bits, for all heads on it: made in the background, so that no head waits for it.

A head learns from the features of the backbone itself, and is asked by those. What it makes of the others is measured
on the validation side, by features that are at hand: for each version anew, in milliseconds.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labelloop.bundle_info import INT8_BACKBONE, Int8
from labelloop.files import keep_sha256, kept_sha256, made_once, sha256
from labelloop.train.backbone import classifier
from labelloop.train.crossvalidation import mean
from labelloop.train.dataset import Sample
from labelloop.train.features import FeatureCache
from labelloop.train.frozen import Frozen, used
from labelloop.train.int8 import calibration, compare, is_tried, quantize
from labelloop.train.pixels import PixelCache
from labelloop.train.recipes.base import Candidate, Material
from labelloop.train.selection import Validation
from labelloop.types import Progress

_FORMAT = 1
"""To be raised where the form in 8 bits is made otherwise."""

_FEW = 16
"""Validation pictures that a head takes the features of by itself: more have it wait for seconds."""


def find(frozen: Frozen) -> Frozen | None:
    """Give what was made of a backbone on this machine; None where there is nothing yet, or it is damaged."""
    file = _folder(frozen) / INT8_BACKBONE
    try:
        known = kept_sha256(file)
    except OSError:
        return None
    used(file.parent)
    return Frozen(known, file.parent, frozen.width, {file.name: known}, {})


def make(frozen: Frozen, samples: Sequence[Sample], pixels: PixelCache) -> Frozen:
    """Make it, its scales found with some of the ``samples``; one that is there stays. Raises StoreError."""

    def write(folder: Path) -> None:
        file = folder / INT8_BACKBONE
        quantize(frozen.onnx, calibration(samples, pixels), file)
        keep_sha256(file, sha256(file))

    return made_once(_folder(frozen), "a backbone in 8 bits", lambda: find(frozen), write)


def take(
    small: Frozen,
    validation: Sequence[Sample],
    pixels: PixelCache,
    cache_dir: Path,
    progress: Progress,
) -> None:
    """Take the features of the validation side and of its mirror images: heads to come may ask for either.

    They are kept on this machine alone, as the form itself is.
    """
    features = FeatureCache(small, pixels, cache_dir)
    for mirrored in (False, True):
        features.of(validation, progress, mirrored=mirrored)


def compared(candidate: Candidate, material: Material) -> tuple[Frozen, Int8] | None:
    """Compare what a head that has not seen the validation side makes of the features of both forms.

    None where it is not tried, nothing is made yet, or features of more than a few pictures are not at hand.
    """
    validation = material.dataset.validation
    if candidate.frozen is None or not is_tried(material.settings, len(validation)):
        return None
    if (small := find(candidate.frozen)) is None:
        return None
    features = FeatureCache(small, material.pixels, material.cache_dir)
    sides = (False, True)[: 1 + candidate.flips]
    if any(len(features.lacking(validation, mirrored=mirrored)) > _FEW for mirrored in sides):
        return None
    found = [features.of(validation, material.progress, mirrored=mirrored) for mirrored in sides]
    rows, last = mean(*found) if candidate.flips else found[0], classifier(candidate.model)
    weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
    given = (rows @ weight.T + bias).astype(np.float32)
    return small, compare(candidate, Validation.of(material.dataset), given)


def _folder(frozen: Frozen) -> Path:
    return frozen.directory.parent / f"{frozen.hash}-int8-{_FORMAT}"
