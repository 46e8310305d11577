"""Decoded, resized pictures: cached on disk, each decoded once ever, and packed into one file for all processes."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop import pictures
from labelloop.bundle_info import PictureSpec
from labelloop.errors import MediaError
from labelloop.files import remove_stale, whole_file
from labelloop.train.dataset import Sample
from labelloop.types import Progress


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one array as ``.npy``; readers see the old file, none, or the whole new one."""
    with whole_file(path, shared=True) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def load_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any] | None:
    """Read one cached array; None when it is missing, damaged, or not of this shape and type."""
    try:
        array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == dtype else None


_FORMAT = 2  # to be raised when labelloop.pictures decodes or resizes differently


class PixelCache:
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

    def has(self, sample: Sample) -> bool:
        """Whether a sample was decoded before."""
        return self._path(sample).is_file()

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
        if self.has(sample):
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
def packed(samples: Sequence[Sample], pixels: PixelCache, cache_dir: Path) -> Iterator[Packed]:
    """Write the pixels of ``samples``, in their order, to one file below ``cache_dir`` that is removed at the end."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    remove_stale(cache_dir, f"{_PREFIX}*", _ABANDONED)  # what runs that were killed left behind
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=cache_dir, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "pixels.npy"
        shape = (len(samples), pixels.spec.height, pixels.spec.width, 3)
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)  # type: ignore[no-untyped-call]
        for row, sample in enumerate(samples):
            rows[row] = pixels.one(sample)
        rows.flush()
        yield Packed(path)
