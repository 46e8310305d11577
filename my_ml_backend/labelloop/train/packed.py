"""The pixels of one run in one file, mapped into memory: every process and worker reads the same pages."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.train.dataset import Sample
from labelloop.train.pixels import Pixels

_PREFIX = ".packed-"
_ABANDONED = 7 * 24 * 3600.0  # seconds; no training takes a week


class Packed:
    """Pixels by row, uint8; travels between processes as the path of its file, and is opened on first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: npt.NDArray[np.uint8] | None = None

    def rows(self) -> npt.NDArray[np.uint8]:
        """Give all pictures: (pictures, height, width, 3), read from disk as they are touched."""
        if self._rows is None:
            self._rows = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return self._rows

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path, "_rows": None}


@contextmanager
def packed(samples: Sequence[Sample], pixels: Pixels, cache_dir: Path) -> Iterator[Packed]:
    """Write the pixels of ``samples``, in their order, to one file below ``cache_dir`` that is removed at the end."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    _sweep(cache_dir)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=cache_dir, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "pixels.npy"
        shape = (len(samples), pixels.spec.height, pixels.spec.width, 3)
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)  # type: ignore[no-untyped-call]
        for row, sample in enumerate(samples):
            rows[row] = pixels.one(sample)
        rows.flush()
        yield Packed(path)


def _sweep(cache_dir: Path) -> None:
    """Remove what runs that were killed left behind."""
    for folder in cache_dir.glob(f"{_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED:
            shutil.rmtree(folder, ignore_errors=True)
