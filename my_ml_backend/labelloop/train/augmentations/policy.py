"""How training pictures are changed: ``none``, ``light``, ``crop``, ``realistic``, or a YAML file of one's own.

- Affine: {rotate: [-10, 10], border_mode: BORDER_REPLICATE, p: 0.5}
- OneOf:
    p: 0.3
    transforms:
      - GaussNoise: {std_range: [0.02, 0.1]}
      - MotionBlur
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.train.augmentations.engine import LEAST_SEEN, Corners, Pipeline, Rows, albumentations, opencv
from labelloop.train.augmentations.realistic import realistic
from labelloop.train.augmentations.simple import Move, crop, cropping, light, lighting

Pixels = npt.NDArray[np.uint8]

AUTO = "auto"
"""Asks for the policy that suits the pictures."""

POLICIES = ("none", "light", "crop", "realistic")
"""The policies that come with LabelLoop."""


Boxed = tuple[Pixels, Corners, Rows]
"""A picture, the boxes that are left of it (boxes, 4) in pixels, and which of those before these are."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A way to change pictures; can be pickled. The same picture and seed give the same, whatever process or thread.

    ``boxed`` changes a picture with its boxes: left, top, right, bottom in pixels. Nothing turns by a few degrees there
    that comes with LabelLoop, for an upright box around a box that was turned fits what is in it no more.
    """

    name: str
    change: Callable[[Pixels, int], Pixels]
    boxed: Callable[[Pixels, Corners, int], Boxed]

    def __call__(self, pixels: Pixels, seed: int) -> Pixels:
        """Change one picture, uint8 (height, width, 3), by a ``seed`` of 0 or more; the size stays.

        Raises TrainingError when a transform cannot take a picture of that size.
        """
        return self.change(pixels, seed)


def load_policy(name: str, *, mirrors: bool = False) -> Augmentation:
    """Give a policy by its name, or by the path of a YAML file (docs/evaluation.md).

    ``auto`` is ``crop`` where mirror images have the labels too (``mirrors``), as photographs do, and ``light`` where
    they have not, as handwriting. Raises TrainingError naming the policies there are, or what in the file is not
    allowed.
    """
    if name == AUTO:
        name = "crop" if mirrors else "light"
    if name == "none":
        return Augmentation(name, _unchanged, _unmoved)
    if name == "light":
        return Augmentation(name, light, functools.partial(_moved, functools.partial(lighting, turns=False)))
    if name == "crop":
        return Augmentation(name, crop, functools.partial(_moved, cropping))
    if name == "realistic":
        return _by_pipeline(Pipeline(name, realistic))
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        raise TrainingError(
            f"augmentations {name!r}: expected {', '.join((AUTO, *POLICIES))}, or the path of a .yaml file"
        )
    return _by_pipeline(Pipeline(path.name, functools.partial(transforms, read_steps(path))))


def _by_pipeline(pipeline: Pipeline) -> Augmentation:
    return Augmentation(pipeline.name, pipeline, pipeline.boxed)


def _unchanged(pixels: Pixels, seed: int) -> Pixels:  # noqa: ARG001 - as every policy
    return pixels


def _unmoved(pixels: Pixels, corners: Corners, seed: int) -> Boxed:  # noqa: ARG001 - as every policy
    return pixels, corners, np.arange(len(corners))


def _moved(draw: Callable[[int, int, int], Move], pixels: Pixels, corners: Corners, seed: int) -> Boxed:
    height, width = pixels.shape[:2]
    move = draw(height, width, seed)
    whole = move.corners(corners)
    seen = np.clip(whole, 0, np.tile((width, height), 2).astype(np.float32))
    rows = np.flatnonzero(_areas(seen) > LEAST_SEEN * _areas(whole))
    return move(pixels), seen[rows], rows


def _areas(corners: Corners) -> Corners:
    areas: Corners = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return areas


GROUPS = ("OneOf", "SomeOf", "Sequential", "RandomOrder")
"""Take ``transforms``, a list, beside their own arguments."""

_NAMES = (
    "AdditiveNoise AdvancedBlur Affine AutoContrast Blur CenterCrop ChannelDropout ChannelShuffle ChromaticAberration "
    "CLAHE CoarseDropout ColorJitter Crop CropAndPad D4 Defocus Downscale ElasticTransform Emboss Equalize Erasing "
    "FancyPCA GaussianBlur GaussNoise GlassBlur GridDistortion GridDropout HorizontalFlip HueSaturationValue "
    "Illumination ImageCompression InvertImg ISONoise MedianBlur MotionBlur MultiplicativeNoise NoOp OpticalDistortion "
    "Pad PadIfNeeded Perspective PixelDropout PlanckianJitter PlasmaBrightnessContrast PlasmaShadow "
    "Posterize RandomBrightnessContrast RandomCrop RandomCropFromBorders RandomFog RandomGamma RandomGravel "
    "RandomGridShuffle RandomRain RandomResizedCrop RandomRotate90 RandomShadow RandomSizedCrop RandomSnow "
    "RandomSunFlare RandomToneCurve RGBShift RingingOvershoot Rotate SafeRotate SaltAndPepper Sharpen ShotNoise "
    "Solarize Spatter SquareSymmetry ThinPlateSpline ToGray ToSepia Transpose UnsharpMask VerticalFlip XYMasking "
    "ZoomBlur"
)

TRANSFORMS = tuple(_NAMES.split())
"""Those that need nothing but one picture of bytes and give one. A result of another size is resized back."""

_MOST_BYTES = 65536
_MOST_NESTED = 4


@dataclass(frozen=True, slots=True)
class AugmentationStep:
    """One transform: its name and arguments, and the ``steps`` of a group."""

    name: str
    arguments: Mapping[str, Any]
    steps: tuple["AugmentationStep", ...] = ()


def read_steps(path: Path) -> tuple[AugmentationStep, ...]:
    """Read and check a YAML file. Raises TrainingError naming the transform, the argument and what is allowed."""
    import yaml

    try:
        text = path.read_bytes()
        if len(text) > _MOST_BYTES:
            raise TrainingError(
                f"augmentations {path.name}: a policy has at most {_MOST_BYTES} bytes, this {len(text)}"
            )
        written = yaml.safe_load(text)
    except OSError as error:
        raise TrainingError(f"augmentations {str(path)!r} could not be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise TrainingError(f"augmentations {path.name} is no YAML: {' '.join(str(error).split())}") from error
    steps = _steps(written, path.name, 0)
    _made(steps, path.name)
    return steps


def transforms(steps: Sequence[AugmentationStep], _height: int, _width: int) -> list[Any]:
    """Make the transforms, which are the same for pictures of any size. Raises TrainingError."""
    return _made(steps, "policy")


def _made(steps: Sequence[AugmentationStep], where: str) -> list[Any]:
    return [_make(step, where) for step in steps]


def _steps(written: Any, where: str, depth: int) -> tuple[AugmentationStep, ...]:
    if not isinstance(written, list) or not written:
        raise TrainingError(
            f"augmentations {where}: expected a list of transforms, such as '- HorizontalFlip: {{p: 0.5}}'"
        )
    if depth > _MOST_NESTED:
        raise TrainingError(f"augmentations {where}: groups are nested more than {_MOST_NESTED} deep")
    return tuple(_step(entry, where, depth) for entry in written)


def _step(entry: Any, where: str, depth: int) -> AugmentationStep:
    name, arguments = _name_and_arguments(entry, where)
    if name not in TRANSFORMS and name not in GROUPS:
        raise TrainingError(
            f"augmentations {where}: {name!r} is not allowed. Allowed are {', '.join(TRANSFORMS)}; "
            f"and the groups {', '.join(GROUPS)}"
        )
    if name in TRANSFORMS:
        return AugmentationStep(name, arguments)
    own = {key: value for key, value in arguments.items() if key != "transforms"}
    return AugmentationStep(name, own, _steps(arguments.get("transforms"), f"{where}, {name}.transforms", depth + 1))


def _name_and_arguments(entry: Any, where: str) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, arguments),) = entry.items()
        if isinstance(name, str) and isinstance(arguments or {}, dict):
            return name, arguments or {}
    raise TrainingError(f"augmentations {where}: expected NAME or NAME: {{argument: value}}, not {str(entry)[:80]!r}")


def _make(step: AugmentationStep, where: str) -> Any:
    made = getattr(albumentations(), step.name)
    allowed = [name for name in inspect.signature(made.__init__).parameters if name not in {"self", "transforms"}]
    unknown = [str(key) for key in step.arguments if key not in allowed]
    if unknown:
        raise TrainingError(
            f"augmentations {where}: {step.name} has no argument {', '.join(unknown)}; it has {', '.join(allowed)}"
        )
    arguments = {key: _constant(value) for key, value in step.arguments.items()}
    chance = arguments.get("p", 1)
    if not isinstance(chance, int | float) or not 0 <= chance <= 1:
        raise TrainingError(f"augmentations {where}: {step.name}: p is a probability from 0 to 1, not {chance!r}")
    if step.steps:
        arguments["transforms"] = _made(step.steps, where)
    try:
        return made(**arguments)
    except (ValueError, TypeError, AssertionError) as error:
        raise TrainingError(f"augmentations {where}: {step.name}: {_reasons(error)}") from error


def _constant(value: Any) -> Any:
    """Read OpenCV's constants by name, such as BORDER_REPLICATE or INTER_CUBIC."""
    if isinstance(value, str) and value.startswith(("BORDER_", "INTER_")):
        return getattr(opencv(), value, value)
    return value


def _reasons(error: Exception) -> str:
    """Say what is wrong with which argument; pydantic's own text spreads over lines and names its site."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return str(error)
    found = error.__cause__.errors()
    return "; ".join(": ".join([*(str(part) for part in one["loc"]), one["msg"]]) for one in found)
