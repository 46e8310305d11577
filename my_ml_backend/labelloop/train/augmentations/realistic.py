"""The ``realistic`` policy: what cameras, weather and storage do to photographs. No flips."""

from collections.abc import Sequence
from typing import Any

from labelloop.train.augmentations.engine import albumentations, opencv


def realistic(height: int, width: int) -> Sequence[Any]:
    """Make the transforms for pictures of ``height`` x ``width`` pixels; blur and rain go with the picture's size."""
    return (*_view(), _weather(height, width), _light(), _blur(min(height, width)), _noise(), *_storage())


def _view() -> Sequence[Any]:
    """Another place and angle of the camera."""
    library, cv2 = albumentations(), opencv()
    return (
        library.Affine(
            scale=(0.9, 1.1),
            rotate=(-15, 15),
            translate_percent=(-0.06, 0.06),
            shear=(-5, 5),
            border_mode=cv2.BORDER_REPLICATE,
            p=0.7,
        ),
        library.CropAndPad(percent=(-0.15, 0.0), keep_size=True, sample_independently=True, p=0.5),
    )


def _weather(height: int, width: int) -> Any:
    from labelloop.train.augmentations.weather import Fog, Snow

    rain = albumentations().RandomRain(
        slant_range=(-height / 16, height / 16),
        drop_length=max(2, height // 12),
        blur_value=3 if min(height, width) >= 200 else 1,
        brightness_coefficient=0.85,
        rain_type="drizzle",
        p=1,
    )
    return albumentations().OneOf([Fog((0.1, 0.5), p=1), rain, Snow((0.1, 0.5), p=1)], p=0.15)


def _light() -> Any:
    """Another hour, lamp or white balance."""
    library = albumentations()
    return library.OneOf(
        [
            library.ColorJitter(
                brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.6, 1.4), hue=(-0.03, 0.03), p=1
            ),
            library.PlanckianJitter(temperature_limit=(4500, 9500), p=1),
            library.RandomGamma(gamma_limit=(70, 140), p=1),
        ],
        p=0.7,
    )


def _blur(side: int) -> Any:
    """Out of focus, or moved: by about 1 % of the picture's ``side``."""
    library = albumentations()
    longest = max(3, side // 25 | 1)
    return library.OneOf(
        [
            library.GaussianBlur(blur_limit=0, sigma_limit=(0.2, max(0.6, side / 120)), p=1),
            library.MotionBlur(blur_limit=(3, longest), p=1),
        ],
        p=0.2,
    )


def _noise() -> Any:
    """The sensor's, in the dark."""
    library = albumentations()
    return library.OneOf(
        [
            library.GaussNoise(std_range=(0.01, 0.06), p=1),
            library.ISONoise(color_shift=(0.01, 0.04), intensity=(0.1, 0.35), p=1),
        ],
        p=0.25,
    )


def _storage() -> Sequence[Any]:
    """Sent, shrunk and compressed again."""
    library, cv2 = albumentations(), opencv()
    pair = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return (
        library.Downscale(scale_range=(0.5, 0.9), interpolation_pair=pair, p=0.1),
        library.ImageCompression(quality_range=(35, 95), p=0.3),
    )
