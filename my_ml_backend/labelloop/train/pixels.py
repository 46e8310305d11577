"""Decoded, resized pictures, cached on disk: every picture is decoded once ever."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop import pictures
from labelloop.errors import MediaError
from labelloop.train.dataset import Sample
from labelloop.train.files import load_array, save_array
from labelloop.types import PictureSpec, Progress

_FORMAT = 1  # to be raised when labelloop.pictures decodes or resizes differently


class Pixels:
    """Gives samples as uint8 pixels of the spec's size."""

    def __init__(self, spec: PictureSpec, cache_dir: Path) -> None:
        self.spec = spec
        self._directory = cache_dir / "pixels" / f"{_FORMAT}-{spec.width}x{spec.height}-{spec.interpolation}"

    def one(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """Give one sample: uint8, (height, width, 3). Raises MediaError when its file is no readable picture."""
        path = self._path(sample)
        pixels = load_array(path, (self.spec.height, self.spec.width, 3), np.uint8)
        if pixels is None:
            pixels = self._decode(sample)
            save_array(path, pixels)
        return pixels

    def many(self, samples: Sequence[Sample]) -> npt.NDArray[np.uint8]:
        """Give samples: uint8, (samples, height, width, 3)."""
        return np.stack([self.one(sample) for sample in samples])

    def check(self, samples: Iterable[Sample], total: int, progress: Progress) -> dict[str, str]:
        """Decode each of so many samples once ever; map the pictures (sha256) that cannot be read to the reason."""
        unreadable: dict[str, str] = {}
        for done, sample in enumerate(samples):
            if reason := self.trouble(sample):
                unreadable[sample.picture] = reason
            progress("pictures", done + 1, total)
        return unreadable

    def trouble(self, sample: Sample) -> str:
        """Say why a sample cannot be read, empty where it can; one that was decoded before is not read to know."""
        if self._path(sample).is_file():
            return ""
        try:
            self.one(sample)
        except MediaError as error:
            return str(error)
        return ""

    def _path(self, sample: Sample) -> Path:
        return self._directory / sample.picture[:2] / f"{sample.picture}.npy"

    def _decode(self, sample: Sample) -> npt.NDArray[np.uint8]:
        try:
            content = sample.path.read_bytes()
        except OSError as error:
            raise MediaError(f"picture {sample.picture} could not be read from the cache: {error.strerror}") from error
        return pictures.fitted(content, self.spec)
