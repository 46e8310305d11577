"""Silhouettes, in the three ways that models write them.

Hugging Face image segmentation: ``[{"label", "score", "mask": "<PNG as base64>"}]``. COCO results:
``[{"category_id", "score", "segmentation": {"size": [height, width], "counts": ...}}]``. SageMaker semantic
segmentation: the body is one PNG whose pixels are class indices.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from labelloop.endpoints.answers.asked import One
from labelloop.endpoints.answers.format import entries
from labelloop.endpoints.answers.png import class_masks, mask_of_base64
from labelloop.endpoints.answers.rle import is_rle, mask_of_rle, mask_of_rows
from labelloop.endpoints.answers.values import Malformed, optional_score, region_class
from labelloop.types import Findings, Mask, Region

MOST_PIXELS = 500_000_000
"""Of all masks of one input together, a byte of memory each."""


class Masks:
    """The answer format ``masks``."""

    name = "masks"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names may be in the answer
        """Whether it is a PNG, a mask by itself, or a list of objects with masks, perhaps empty."""
        if isinstance(item, list):
            return all(_is_masked(entry) for entry in item)
        return isinstance(item, bytes) or _is_masked(item)

    def read(self, item: Any, one: One) -> Findings:
        """Read one picture's masks, each in its own resolution. Raises Malformed."""
        if isinstance(item, bytes):
            found = (Region(region_class(index, one), mask) for index, mask in class_masks(item, one.classes))
        else:
            found = (_region(entry, one) for entry in entries(item))
        regions = within_memory(found)
        return Findings(regions, one.version, _size(regions))


def read_mask(value: Any) -> Mask:
    """Read one mask: a PNG as base64, COCO's run lengths, or rows of numbers. Raises Malformed."""
    if isinstance(value, str):
        return mask_of_base64(value)
    if is_rle(value):
        return mask_of_rle(value)
    if isinstance(value, list):
        return mask_of_rows(value)
    raise Malformed('a mask is neither a PNG as base64 nor {"size": [height, width], "counts": ...}')


def within_memory(regions: Iterable[Region]) -> tuple[Region, ...]:
    """Make regions one by one as long as their masks fit the memory; raises Malformed."""
    made: list[Region] = []
    pixels = 0
    for region in regions:
        pixels += len(region.shape.inside) if isinstance(region.shape, Mask) else 0
        if pixels > MOST_PIXELS:
            raise Malformed(f"its masks have more than {MOST_PIXELS} pixels together")
        made.append(region)
    return tuple(made)


def _is_masked(entry: Any) -> bool:
    return isinstance(entry, dict) and ("mask" in entry or is_rle(entry.get("segmentation")) or is_rle(entry))


def _region(entry: dict[str, Any], one: One) -> Region:
    mask = entry if is_rle(entry) else entry.get("mask", entry.get("segmentation"))
    label = entry.get("label", entry.get("category_id"))
    return Region(region_class(label, one), read_mask(mask), optional_score(entry.get("score")))


def _size(regions: Sequence[Region]) -> tuple[int, int] | None:
    sizes = {(region.shape.width, region.shape.height) for region in regions if isinstance(region.shape, Mask)}
    return sizes.pop() if len(sizes) == 1 else None
