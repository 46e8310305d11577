"""How alike pictures are to a network that no label has touched: for kinds that learn from pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from labelloop.models.features import OpenFeatures
from labelloop.run.context import picture_cache
from labelloop.run.preprocess import samples_of
from labelloop.settings import Settings
from labelloop.types import Item, Progress, TrainSettings

Rows = npt.NDArray[np.float32]


def first_features(
    items: Sequence[Item],
    settings: Settings,
    training: TrainSettings,
    progress: Progress,
    opens: OpenFeatures | None = None,
) -> tuple[list[Item], Rows]:
    """Give the items whose pictures can be read, with features that no label has touched; see Kind.features."""
    from labelloop.train.examine import seen

    there = {one.content: one for one in items}
    samples = list(samples_of((), picture_cache(settings), (replace(one, labels=()) for one in there.values())))
    readable, rows = seen(samples, 1, training, None, settings.directory / "cache" / "train", progress, opens)
    return [there[one.picture] for one in readable], rows


def by_likeness(
    asked: Item,
    learned: Iterable[Item],
    settings: Settings,
    features: Callable[[Sequence[Item]], tuple[Sequence[Item], Rows]],
) -> list[tuple[Item, float]]:
    """Order the items whose pictures are on this machine by the cosine of their features with one's; see Kind.nearest.

    ``features`` gives those of items that can be read.
    """
    pictures = picture_cache(settings)
    there = {one.content: one for one in learned if pictures.has(one.content) and one.content != asked.content}
    readable, rows = features([asked, *there.values()])
    if not readable or readable[0].content != asked.content:
        return []
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    alike = unit[1:] @ unit[0]
    return [(there[readable[at + 1].content], float(alike[at])) for at in np.argsort(-alike, kind="stable")]
