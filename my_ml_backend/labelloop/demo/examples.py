"""The demo's pictures: scikit-learn's handwritten digits as PNG files, or a folder per class of one's own."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from labelloop.errors import SettingsError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
_SHOWN_SIDE = 96
"""Pixels: scikit-learn's digits have 8 x 8, too few to look at."""

_LEAST_TESTS = 500
_SHARE_OF_TESTS = 0.3


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture whose label is known."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Pictures:
    """``shown`` go to Label Studio, in this order; ``held_out`` never do: they measure the promoted versions.

    ``skipped`` are folders that are no classes: hidden ones, and those without a picture.
    """

    classes: tuple[str, ...]
    shown: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    skipped: tuple[str, ...] = ()


def digits(folder: Path, seed: int, tasks: int) -> Pictures:
    """Write scikit-learn's 1,797 digits to ``folder``; ``tasks`` of them, chosen by ``seed``, are to be shown."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pictures: list[Picture] = []
    for number, (pixels, label) in enumerate(zip(data.images, data.target, strict=True)):
        path = folder / f"digit-{number:04}.png"
        grey = Image.fromarray((255 - pixels * (255 / 16)).astype(np.uint8))
        grey.resize((_SHOWN_SIDE, _SHOWN_SIDE), Image.Resampling.BICUBIC).save(path)
        pictures.append(Picture(path, str(label)))
    random.Random(seed).shuffle(pictures)
    return Pictures(tuple("0123456789"), tuple(pictures[:tasks]), tuple(pictures[tasks:]))


def folder_per_class(folder: Path, tests: Path | None, seed: int, least: int = 1) -> Pictures:
    """Read ``folder/<class>/<picture>``; without a folder of ``tests``, 500 or 30 % of the pictures are held out.

    Raises SettingsError for fewer than two classes, or fewer than ``least`` pictures to be shown.
    """
    found = {entry.name: _of_class(entry) for entry in sorted(folder.iterdir()) if entry.is_dir()}
    classes = tuple(name for name, held in found.items() if held and not name.startswith((".", "__")))
    skipped = tuple(name for name in found if name not in classes)
    if len(classes) < 2:
        others = f"; no class: {', '.join(skipped)}" if skipped else ""
        raise SettingsError(
            f"--images {folder}: expected a folder per class with pictures in it ({', '.join(sorted(_SUFFIXES))}), at "
            f"least two classes; found {', '.join(classes) or 'none'}{others}"
        )
    pictures = [picture for name in classes for picture in found[name]]
    random.Random(seed).shuffle(pictures)
    if tests is not None:
        held_out = [picture for name in classes if (tests / name).is_dir() for picture in _of_class(tests / name)]
        if not held_out:
            raise SettingsError(
                f"--test-images {tests}: no picture in a folder named after a class ({', '.join(classes)})"
            )
        shown = pictures
    else:
        held = min(_LEAST_TESTS, round(_SHARE_OF_TESTS * len(pictures)))
        shown, held_out = pictures[held:], pictures[:held]
    if len(shown) < least:
        raise SettingsError(
            f"--images {folder}: {len(pictures)} pictures, of which {len(shown)} are shown and the rest held out to "
            f"measure; a first version needs {least} (LABELLOOP_MIN_LABELS)"
        )
    return Pictures(classes, tuple(shown), tuple(held_out), skipped)


def _of_class(folder: Path) -> list[Picture]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    return [Picture(path, folder.name) for path in files]
