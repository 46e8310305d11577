"""Features of a frozen backbone, taken with onnxruntime and cached on disk by picture and backbone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop import pictures
from labelloop.train.dataset import Sample
from labelloop.train.export import IMAGES, session
from labelloop.train.files import load_array, save_array
from labelloop.train.frozen import Frozen
from labelloop.train.pixels import Pixels
from labelloop.types import Progress

_BATCH = 16


class Features:
    """Gives the features of samples; every picture goes through the backbone once, ever."""

    def __init__(self, frozen: Frozen, pixels: Pixels, cache_dir: Path) -> None:
        self._frozen = frozen
        self._pixels = pixels
        self._directory = cache_dir / "features" / frozen.hash

    def of(self, samples: Sequence[Sample], progress: Progress) -> npt.NDArray[np.float32]:
        """Give features: float32, (samples, features)."""
        found = {sample.picture: self._cached(sample.picture) for sample in samples}
        missing = list({sample.picture: sample for sample in samples if found[sample.picture] is None}.values())
        onnx = session(self._frozen.onnx) if missing else None
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            images = pictures.normalise(self._pixels.many(batch), self._pixels.spec)
            for sample, row in zip(batch, onnx.run(None, {IMAGES: images})[0], strict=True):  # type: ignore[union-attr]
                save_array(self._path(sample.picture), row)
                found[sample.picture] = row
            progress("features", start + len(batch), len(missing))
        rows = [row for sample in samples if (row := found[sample.picture]) is not None]
        return np.stack(rows) if rows else np.zeros((0, self._frozen.width), dtype=np.float32)

    def _cached(self, picture: str) -> npt.NDArray[np.float32] | None:
        return load_array(self._path(picture), (self._frozen.width,), np.float32)

    def _path(self, picture: str) -> Path:
        return self._directory / picture[:2] / f"{picture}.npy"
