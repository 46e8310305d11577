"""FeatureCache of a frozen backbone, taken with onnxruntime on all cores and cached on disk by picture and backbone.

The cache is a folder of shards: files of some hundred rows, each row with the hash of its picture, mapped into memory.
A file for every picture would take longer to open than its features take to fit.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop import pictures
from labelloop.files import cores
from labelloop.train.dataset import Sample
from labelloop.train.export import IMAGES, session
from labelloop.train.frozen import Frozen
from labelloop.train.pixels import PixelCache, save_array
from labelloop.types import Progress, chunks

Rows = npt.NDArray[np.float32]

_BATCH = 8
_SHARD = 512


class FeatureCache:
    """Gives the features of samples; every picture goes through the backbone once, ever."""

    def __init__(self, frozen: Frozen, pixels: PixelCache, cache_dir: Path) -> None:
        self.frozen = frozen
        self._pixels = pixels
        self._directory = cache_dir / "features" / frozen.hash

    def of(self, samples: Sequence[Sample], progress: Progress, *, mirrored: bool = False) -> Rows:
        """Give features: float32, (samples, features); with ``mirrored`` of the samples' mirror images."""
        store = _Shards(self._directory / ("mirrored" if mirrored else "straight"), self.frozen.width)
        rows = np.empty((len(samples), self.frozen.width), dtype=np.float32)
        missing = store.read([sample.picture for sample in samples], rows)
        places: dict[str, list[int]] = {}
        for at in missing:
            places.setdefault(samples[at].picture, []).append(at)
        for done, (taken, part) in enumerate(self._take([samples[at[0]] for at in places.values()], mirrored), 1):
            store.write([sample.picture for sample in taken], part)
            for sample, row in zip(taken, part, strict=True):
                rows[places[sample.picture]] = row
            progress("features", min(done * _SHARD, len(places)), len(places))
        return rows

    def _take(self, samples: Sequence[Sample], mirrored: bool) -> Iterator[tuple[list[Sample], Rows]]:
        """Run the backbone on samples; yields a shard's worth of them and their features at a time."""
        if not samples:
            return
        run = self._runner(mirrored)
        with ThreadPoolExecutor(cores(), thread_name_prefix="features") as pool:
            for shard in chunks(samples, _SHARD):
                yield shard, np.concatenate(list(pool.map(run, chunks(shard, _BATCH))))

    def _runner(self, mirrored: bool) -> Callable[[Sequence[Sample]], Rows]:
        onnx = session(self.frozen.onnx)  # of one thread; several may run it at a time

        def run(batch: Sequence[Sample]) -> Rows:
            pixels = self._pixels.many(batch)
            images = pictures.normalise(pixels[:, :, ::-1] if mirrored else pixels, self._pixels.spec)
            rows: Rows = onnx.run(None, {IMAGES: images})[0]
            return rows

        return run


class _Shards:
    """Rows by picture in the files of one folder, safe for many processes: a file is written whole and never again."""

    def __init__(self, directory: Path, width: int) -> None:
        self._directory = directory
        self._type = np.dtype([("picture", "S64"), ("row", "<f4", (width,))])

    def read(self, names: Sequence[str], rows: Rows) -> list[int]:
        """Fill in the rows of these pictures, and tell at which places there is none."""
        wanted = np.array(names, dtype="S64").reshape(-1)
        waiting = np.ones(len(wanted), dtype=bool)
        for shard in self._open():
            if not waiting.any():
                break
            held = shard["picture"]
            order = np.argsort(held)
            at = order[np.minimum(np.searchsorted(held, wanted, sorter=order), len(held) - 1)]
            here = waiting & (held[at] == wanted)
            rows[here] = shard["row"][at[here]]
            waiting &= ~here
        return [int(place) for place in np.flatnonzero(waiting)]

    def write(self, names: Sequence[str], rows: Rows) -> None:
        """Store rows under the names of their pictures."""
        shard = np.empty(len(names), dtype=self._type)
        shard["picture"], shard["row"] = np.array(names, dtype="S64"), rows
        save_array(self._directory / f"{hashlib.sha256(shard['picture'].tobytes()).hexdigest()[:32]}.npy", shard)

    def _open(self) -> Iterator[npt.NDArray[np.void]]:
        """Map every shard that is whole and of this width."""
        for path in sorted(self._directory.glob("*.npy")):
            try:
                shard: npt.NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                continue
            if shard.dtype == self._type and shard.ndim == 1 and len(shard):
                yield shard
