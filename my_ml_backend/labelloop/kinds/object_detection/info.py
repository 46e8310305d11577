"""What a bundle that finds boxes says of itself in its ``model.json`` (docs/bundle.md)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.bundle_info import BundleInfo, PictureSpec
from labelloop.errors import BundleError
from labelloop.types import Json

ONNX, WEIGHTS = "model.onnx", "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorInfo(BundleInfo):
    """A detector on the timm network ``backbone``, with pyramid levels of these ``strides`` (pixels).

    ``thresholds`` maps each class to the score from which on its boxes are shown. Of boxes of a class that overlap by
    more than ``overlap`` only the surest is found. ``flips`` names the mirror images whose answers are averaged with
    the picture's own: ``h`` (left is right), ``v`` (the top is the bottom), both together ``hv``. ``parity`` maps files
    to the largest difference from the trained detector, in scores or in shares of the picture's sides.
    """

    backbone: str
    picture: PictureSpec
    strides: tuple[int, ...]
    overlap: float
    flips: tuple[str, ...] = ()
    parity: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def _own(cls, values: Json) -> Json:
        lists = {name: tuple(values.get(name, ())) for name in ("strides", "flips")}
        return {**values, **lists, "picture": PictureSpec.read(values["picture"])}

    def problems(self) -> Iterator[str]:
        """Say what of it can never be served."""
        if not self.picture.is_possible:
            yield "has an impossible picture size, mean or std"
        if not set(self.thresholds) <= set(self.classes) or not all(map(_is_share, self.thresholds.values())):
            yield "has a threshold that is of no class, or not between 0 and 1"
        if ONNX not in self.files:
            yield f"has no hash of {ONNX}: nothing could be served"


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < 1


def detector_info(info: BundleInfo, directory: Path) -> DetectorInfo:
    """Give a description back; raises BundleError where it is of no detector."""
    if not isinstance(info, DetectorInfo):
        raise BundleError(f"bundle {directory}: its model finds no boxes, it is for {info.kind}")
    return info
