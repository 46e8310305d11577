"""Features of pictures, taken once, that every measurement of learning stands on."""

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.types import TrainSettings

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """Pictures as a frozen network sees them: (pictures, features), those of their mirror images, and their classes.

    ``names`` are the sha256 of the pictures' bytes, ``labels`` the places of their classes in ``classes``.
    """

    names: tuple[str, ...]
    straight: Rows
    mirrored: Rows
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def fewer(self, count: int = 96) -> "Features":
        """Give as many numbers of each picture as ``count``, so that hundreds of loops take minutes.

        They are its principal components, turned at random: a head gives every feature the same scale, and would make
        as much of the last component as of the first. On scenes heads of 96 are as good as those of 1,280.
        """
        if self.straight.shape[1] <= count:
            return self
        mean, scale = self.straight.mean(axis=0), self.straight.std(axis=0) + 1e-6
        components = np.linalg.svd((self.straight - mean) / scale, full_matrices=False)[2][:count].T
        turned = components @ np.linalg.qr(np.random.default_rng(0).normal(size=(count, count)))[0]
        straight, mirrored = (
            np.asarray((rows - mean) / scale @ turned, dtype=np.float32) for rows in (self.straight, self.mirrored)
        )
        return replace(self, straight=straight, mirrored=mirrored)

    def save(self, path: Path) -> None:
        names, classes = np.array(self.names), np.array(self.classes)
        np.savez(path, names=names, straight=self.straight, mirrored=self.mirrored, labels=self.labels, classes=classes)

    @classmethod
    def load(cls, path: Path) -> "Features":
        with np.load(path, allow_pickle=False) as held:
            names, classes = (tuple(str(one) for one in held[name]) for name in ("names", "classes"))
            return cls(names, held["straight"], held["mirrored"], held["labels"], classes)


def digits() -> Features:
    """Give scikit-learn's digits by their 64 pixels: they ship with the library, and need no network."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    images: Rows = np.asarray(data.images / 16, dtype=np.float32)
    names = tuple(hashlib.sha256(f"{at} ".encode() + one.tobytes()).hexdigest() for at, one in enumerate(images))
    straight, mirrored = (_flat(one) for one in (images, images[:, :, ::-1]))
    return Features(names, straight, mirrored, np.asarray(data.target, dtype=np.int64), tuple("0123456789"))


def _flat(images: Rows) -> Rows:
    return np.ascontiguousarray(images.reshape(len(images), -1), dtype=np.float32)


def of_folder(folder: Path, settings: TrainSettings) -> Features:
    """Take the features of pictures in a folder per class, by the network of the settings; seconds to minutes."""
    from benchmarks.bench_train import per_class
    from labelloop.train.backbone import build, for_features, picture_spec
    from labelloop.train.features import FeatureCache
    from labelloop.train.frozen import freeze
    from labelloop.train.pixels import PixelCache

    classes, samples = per_class(folder)
    settings = for_features(settings)
    model = build(settings, len(classes))
    spec = picture_spec(model, settings.image_size)
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        of = FeatureCache(freeze(model, settings.backbone, spec, cache), PixelCache(spec, cache), cache).of
        straight, mirrored = (of(samples, lambda *_: None, mirrored=turned) for turned in (False, True))
    labels = np.array([one.targets[0] for one in samples])
    return Features(tuple(one.picture for one in samples), straight, mirrored, labels, classes)


def written_digits(folder: Path, count: int = 400) -> Path:
    """Write some of scikit-learn's digits as pictures, a folder per class."""
    from benchmarks.bench_train import digits as pictures

    (folder / "all").mkdir(parents=True)
    for number, one in enumerate(pictures(folder / "all")[:count]):
        place = folder / "classes" / str(one.targets[0])
        place.mkdir(parents=True, exist_ok=True)
        one.path.rename(place / f"{number}.png")
    return folder / "classes"
