"""scikit-learn's digits as files: real pictures that come with a library."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_digits(folder: Path, which: Iterable[int], classes: int = 10, side: int = 32) -> None:
    """Write the digits ``which`` of those below ``classes``, dark on white, a folder per class."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    among = np.flatnonzero(data.target < classes)
    for at in among[list(which)]:
        target = folder / str(data.target[at])
        target.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((255 - data.images[at] * (255 / 16)).astype(np.uint8))
        grey.resize((side, side), Image.Resampling.BICUBIC).save(target / f"{at}.png")
