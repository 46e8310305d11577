"""Features of a frozen backbone, taken with onnxruntime on all cores and kept by picture (models/features.py)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from labelloop import pictures
from labelloop.bundle_info import PictureSpec
from labelloop.errors import MediaError
from labelloop.files import cores
from labelloop.models.features import Features, OpenFeatures, Rows, rounded
from labelloop.train.dataset import Sample
from labelloop.train.export import IMAGES, session
from labelloop.train.frozen import Frozen, frozen_network
from labelloop.train.pixels import PixelCache
from labelloop.types import Progress, TrainSettings, chunks

_BATCH = 8
_TOGETHER = 512
"""Pictures whose features are kept at a time: what a run that is killed has to take anew."""


class FeatureCache:
    """Gives the features of samples; every picture goes through the backbone once, ever.

    They are those of the project that ``opens`` them; without one, they are kept in ``cache_dir``. Whether they were at
    hand makes no difference: they are rounded as they are kept.
    """

    def __init__(self, frozen: Frozen, pixels: PixelCache, cache_dir: Path, opens: OpenFeatures | None = None) -> None:
        self.frozen = frozen
        self._pixels = pixels
        self._kept = (opens or partial(Features.beside, cache_dir))(frozen.hash, frozen.width)

    def of(self, samples: Sequence[Sample], progress: Progress, *, mirrored: bool = False) -> Rows:
        """Give features: float32, (samples, features); with ``mirrored`` of the samples' mirror images."""
        rows, there = self._kept.rows([sample.picture for sample in samples], mirrored=mirrored)
        places: dict[str, list[int]] = {}
        for at in np.flatnonzero(~there):
            places.setdefault(samples[at].picture, []).append(at)
        for done, (taken, part) in enumerate(self._take([samples[at[0]] for at in places.values()], mirrored), 1):
            pictures = [sample.picture for sample in taken]
            self._kept.keep(pictures, part, mirrored=mirrored)
            for picture, row in zip(pictures, rounded(part), strict=True):
                rows[places[picture]] = row
            progress("features", min(done * _TOGETHER, len(places)), len(places))
        return rows

    def lacking(self, samples: Sequence[Sample], *, mirrored: bool = False) -> list[Sample]:
        """Give the samples whose features are not at hand; with ``mirrored`` those of the mirror images."""
        there = self._kept.rows([sample.picture for sample in samples], mirrored=mirrored)[1]
        return [sample for sample, known in zip(samples, there, strict=True) if not known]

    def _take(self, samples: Sequence[Sample], mirrored: bool) -> Iterator[tuple[list[Sample], Rows]]:
        """Run the backbone on samples; yields some of them and their features at a time."""
        if not samples:
            return
        run = _runner(self.frozen, self._pixels.spec, self._pixels.many, mirrored)
        with ThreadPoolExecutor(cores(), thread_name_prefix="features") as pool:
            for part in chunks(samples, _TOGETHER):
                yield part, np.concatenate(list(pool.map(run, chunks(part, _BATCH))))


@dataclass(frozen=True, slots=True)
class Taker:
    """Takes features of files that are given, and leaves nothing behind; see FeatureTaker."""

    mirrors: ClassVar[bool] = True

    frozen: Frozen
    spec: PictureSpec

    @classmethod
    def of(cls, settings: TrainSettings, cache_dir: Path) -> Self:
        """Make what a head looks through; its exported form is kept in ``cache_dir``. Raises TrainingError."""
        torch.set_num_threads(1)
        return cls(*frozen_network(settings, 1, cache_dir))

    @property
    def backbone(self) -> str:
        """The hash of the backbone."""
        return self.frozen.hash

    @property
    def width(self) -> int:
        """How many numbers a picture gives."""
        return self.frozen.width

    def take(self, contents: Sequence[bytes], *, mirrored: bool = False) -> tuple[Rows, Mapping[int, str]]:
        """Give the features of files, zeros where one is no picture, and why; see FeatureTaker."""
        rows, reasons = np.zeros((len(contents), self.width), dtype=np.float32), dict[int, str]()

        def pixels(at: int) -> npt.NDArray[np.uint8] | None:
            try:
                return pictures.fitted(contents[at], self.spec)
            except MediaError as error:
                reasons[at] = str(error)
                return None

        def batch(places: Sequence[int]) -> None:
            found = {at: one for at in places if (one := pixels(at)) is not None}
            if found:
                rows[[*found]] = run(np.stack([*found.values()]))

        run = _runner(self.frozen, self.spec, lambda given: given, mirrored)
        with ThreadPoolExecutor(cores(), thread_name_prefix="features") as pool:
            list(pool.map(batch, chunks(range(len(contents)), _BATCH)))
        return rows, reasons


T = TypeVar("T")


def _runner(
    frozen: Frozen, spec: PictureSpec, pixels: Callable[[T], npt.NDArray[np.uint8]], mirrored: bool
) -> Callable[[T], Rows]:
    """Make what gives the features of what ``pixels`` makes pictures of: uint8, (n, height, width, 3)."""
    onnx = session(frozen.onnx)  # of one thread; several may run it at a time

    def run(given: T) -> Rows:
        found = pixels(given)
        images = pictures.normalise(found[:, :, ::-1] if mirrored else found, spec)
        rows: Rows = onnx.run(None, {IMAGES: images})[0]
        return rows

    return run
