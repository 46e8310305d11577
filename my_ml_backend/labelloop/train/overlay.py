"""Heat laid over a picture, as a PNG that can be looked at."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from labelloop.train.augmentations.engine import opencv

Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]

_SIDE = 224  # pixels, of each half
_GAP = 4
_BRIGHTEST = 99.0  # percentile of the heat that is drawn brightest: single pixels stick out
_SOFT = 0.012  # of the picture's side: single pixels can hardly be seen


def write_overlay(pixels: Pixels, heat: Heat, path: Path) -> None:
    """Write the picture (height, width, 3) and, to its right, the same under ``heat`` (height, width), 0 and more."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * _SIDE / max(height, width))), max(1, round(height * _SIDE / max(height, width))))
    sheet = Image.new("RGB", (2 * size[0] + _GAP, size[1]), "white")
    sheet.paste(_enlarged(pixels, size), (0, 0))
    sheet.paste(_enlarged(_under(pixels, heat), size), (size[0] + _GAP, 0))
    sheet.save(path, optimize=True)


def _under(pixels: Pixels, heat: Heat) -> Pixels:
    """Draw the picture in grey and, the hotter, the more in colour."""
    cv2 = opencv()
    soft = cv2.GaussianBlur(heat, (0, 0), max(0.5, _SOFT * max(heat.shape)))
    most = float(np.percentile(soft, _BRIGHTEST)) or float(soft.max())
    share = np.clip(soft / most, 0, 1) if most > 0 else np.zeros_like(soft)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    opaque = 0.35 + 0.45 * share[..., None]
    mixed: Pixels = np.round(grey * (1 - opaque) + colours * opaque).astype(np.uint8)
    return mixed


def _enlarged(pixels: Pixels, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
