"""What may happen to pictures after training: ten corruptions at five fixed severities.

The idea is of Hendrycks and Dietterich (2019), "Benchmarking neural network robustness to common corruptions and
perturbations"; the strengths are this project's. Blur, rain and flakes go with the picture's shorter side, so that a
severity means the same at every size.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.train.augmentations.engine import Pipeline, albumentations, opencv

Pixels = npt.NDArray[np.uint8]

SEVERITIES = (1, 2, 3, 4, 5)

_NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)  # standard deviation, of the range
_BLUR = (1.0, 1.8, 2.6, 3.6, 5.0)  # standard deviation in pixels, on a side of 224
_FOG = (0.2, 0.35, 0.5, 0.65, 0.8)  # mean density
_RAIN = (("drizzle", 0.95, 1), ("default", 0.88, 1), ("heavy", 0.8, 1), ("heavy", 0.7, 2), ("torrential", 0.6, 2))
_SNOW = (0.2, 0.4, 0.6, 0.8, 1.0)
_QUALITY = (40, 25, 15, 10, 5)  # of JPEG
_BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the range
_CONTRAST = (0.6, 0.45, 0.3, 0.2, 0.1)  # of the contrast there was
_SCALE = (0.5, 0.35, 0.25, 0.18, 0.12)  # of the side
_DEGREES = (8, 16, 24, 32, 40)


def corruption(name: str, severity: int) -> Pipeline:
    """Give one corruption for many pictures. Raises ValueError naming those there are."""
    if name not in _MADE or severity not in SEVERITIES:
        raise ValueError(f"no corruption {name!r} of severity {severity}: there are {', '.join(_MADE)}, from 1 to 5")
    return Pipeline(f"{name} {severity}", functools.partial(_steps, name, severity - 1))


def _steps(name: str, at: int, height: int, width: int) -> Sequence[Any]:
    return (_MADE[name](at, min(height, width)),)


def _noise(at: int, _: int) -> Any:
    return albumentations().GaussNoise(std_range=(_NOISE[at], _NOISE[at]), p=1)


def _blur(at: int, side: int) -> Any:
    sigma = _BLUR[at] * max(side, 96) / 224  # below that, a picture's own pixels are as coarse as the blur
    return albumentations().GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1)


def _fog(at: int, _: int) -> Any:
    from labelloop.train.augmentations.weather import Fog

    return Fog((_FOG[at], _FOG[at]), p=1)


def _rain(at: int, side: int) -> Any:
    kind, brightness, width = _RAIN[at]
    return albumentations().RandomRain(
        slant_range=(-side / 16, side / 16),
        drop_length=max(2, side // 10),
        drop_width=max(1, round(width * side / 224)),
        blur_value=3 if side >= 128 else 1,
        brightness_coefficient=brightness,
        rain_type=kind,
        p=1,
    )


def _snow(at: int, _: int) -> Any:
    from labelloop.train.augmentations.weather import Snow

    return Snow((_SNOW[at], _SNOW[at]), p=1)


def _compression(at: int, _: int) -> Any:
    return albumentations().ImageCompression(quality_range=(_QUALITY[at], _QUALITY[at]), p=1)


def _brightness(at: int, _: int) -> Any:
    limit = (_BRIGHTER[at], _BRIGHTER[at])
    return albumentations().RandomBrightnessContrast(brightness_limit=limit, contrast_limit=(0, 0), p=1)


def _contrast(at: int, _: int) -> Any:
    kept = (_CONTRAST[at], _CONTRAST[at])
    return albumentations().ColorJitter(brightness=(1, 1), contrast=kept, saturation=(1, 1), hue=(0, 0), p=1)


def _downscale(at: int, _: int) -> Any:
    cv2 = opencv()
    pair = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return albumentations().Downscale(scale_range=(_SCALE[at], _SCALE[at]), interpolation_pair=pair, p=1)


def _rotation(at: int, _: int) -> Any:
    library, border = albumentations(), opencv().BORDER_REFLECT_101
    turns = [library.Rotate((angle, angle), border_mode=border, p=1) for angle in (_DEGREES[at], -_DEGREES[at])]
    return library.OneOf(turns, p=1)


_MADE: Mapping[str, Callable[[int, int], Any]] = {
    "noise": _noise,
    "blur": _blur,
    "fog": _fog,
    "rain": _rain,
    "snow": _snow,
    "compression": _compression,
    "brightness": _brightness,
    "contrast": _contrast,
    "downscale": _downscale,
    "rotation": _rotation,
}

CORRUPTIONS = tuple(_MADE)
"""The names of the corruptions."""

MOVING = ("rotation",)
"""Those after which nothing is where it was."""
