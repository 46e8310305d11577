"""What a resting body says of pictures, kept on disk: the heads then learn in a fraction of the time."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from labelloop.bundle_info import PictureSpec
from labelloop.files import remove_stale
from labelloop.kinds.object_detection.recipes.examples import Boxes, Examples
from labelloop.kinds.object_detection.recipes.network import Detector, short_numbers
from labelloop.types import Progress

_PREFIX = ".maps-"
_ABANDONED = 7 * 24 * 3600.0  # seconds; no training takes a week
_HALF = torch.finfo(torch.float16)

MOST_BYTES = 1 << 30
"""Of the maps of one training on disk, as halves of a number's usual size."""


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of ``variants`` of each example: row ``example * variants + variant`` of ``rows``, float16 (n, numbers).

    ``boxes`` are those of each row, ``shapes`` those of one picture's maps. Variant 0 is the picture as it is.
    """

    rows: npt.NDArray[np.float16]
    boxes: Sequence[Boxes]
    shapes: Sequence[torch.Size]
    variants: int

    def __len__(self) -> int:
        return len(self.boxes) // self.variants

    def drawn(self, rows: Sequence[int], seeds: Sequence[int]) -> tuple[list[torch.Tensor], list[Boxes]]:
        """Give the maps of a variant of each example, which its seed chooses, and its boxes."""
        chosen = [row * self.variants + seed % self.variants for row, seed in zip(rows, seeds, strict=True)]
        return self.at(chosen), [self.boxes[at] for at in chosen]

    def at(self, chosen: Sequence[int]) -> list[torch.Tensor]:
        """Give the maps of rows."""
        whole = torch.from_numpy(self.rows[chosen].astype(np.float32))
        parts = torch.split(whole, [shape.numel() for shape in self.shapes], dim=1)
        return [
            part.view(len(chosen), *shape).contiguous(memory_format=torch.channels_last)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]


def shapes_of(detector: Detector, spec: PictureSpec) -> list[torch.Size]:
    """Give the shapes of the maps of one picture."""
    with torch.inference_mode():
        found = detector.maps(torch.zeros(1, 3, spec.height, spec.width, device=detector.device))
    return [one.shape[1:] for one in found]


def bytes_of(detector: Detector, spec: PictureSpec) -> int:
    """Give the bytes of one picture's maps."""
    return sum(shape.numel() for shape in shapes_of(detector, spec)) * torch.float16.itemsize


@contextmanager
def kept(
    detector: Detector, examples: Examples, variants: int, seed: int, folder: Path, progress: Progress
) -> Iterator[Maps]:
    """Write the maps of all examples to one file below ``folder``, which is removed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder, f"{_PREFIX}*", _ABANDONED)  # what runs that were killed left behind
    shapes, total = shapes_of(detector, examples.spec), len(examples) * variants
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder, ignore_cleanup_errors=True) as place:
        size = (total, sum(shape.numel() for shape in shapes))
        path = Path(place) / "maps.npy"
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=size)  # type: ignore[no-untyped-call]
        boxes: list[Boxes] = []
        for at in range(total):
            row, variant = divmod(at, variants)
            drawn = examples.variant(row, variant, seed + at)
            with torch.inference_mode(), short_numbers(detector.device):
                found = detector.maps(drawn.images.to(detector.device))
            flat = torch.cat([one.float().flatten(1) for one in found], dim=1).clamp(_HALF.min, _HALF.max)
            rows[at] = flat[0].cpu().numpy()
            boxes += drawn.boxes
            progress("maps", at + 1, total)
        yield Maps(rows, boxes, shapes, variants)
