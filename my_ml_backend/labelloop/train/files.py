"""Cached arrays in files, written whole or not at all so that processes may share them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.files import whole_file


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
