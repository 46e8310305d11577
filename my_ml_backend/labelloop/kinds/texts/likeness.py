"""How alike texts are by their static embeddings, which no label has touched: for kinds that learn from texts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from labelloop.errors import TrainingError
from labelloop.kinds.base import Learned
from labelloop.kinds.texts.static_embeddings import packaged
from labelloop.run.context import picture_cache
from labelloop.settings import Settings
from labelloop.types import Item, Progress

Rows = npt.NDArray[np.float32]

_LONGEST = 10_000
"""Characters that a text is compared by."""


def first_features(items: Sequence[Item], settings: Settings, progress: Progress) -> tuple[list[Item], Rows]:
    """Give the items whose texts are at hand, with the mean vector of each text's sub-words; see Kind.features."""
    embeddings = packaged()
    if embeddings is None:
        raise TrainingError("texts cannot be compared without static embeddings: install the package wordllama")
    known = [(item, text) for item in {one.content: one for one in items}.values() if (text := _text(item, settings))]
    rows = np.zeros((len(known), embeddings.width), dtype=np.float32)
    for at, (_, text) in enumerate(known):
        (ids,) = embeddings.ids([text[:_LONGEST]])
        if len(ids):
            rows[at] = embeddings.vectors[ids].astype(np.float32).mean(axis=0)
        progress("features of texts", at + 1, len(known))
    return [item for item, _ in known], rows


def nearest(asked: Item, learned: Learned, progress: Progress) -> list[tuple[Item, float]]:
    """Order texts by the cosine of their features with one's; none without embeddings. See Kind.nearest."""
    if packaged() is None:
        return []
    others = {one.content: one for one in learned.items if one.content != asked.content}
    items, rows = first_features([asked, *others.values()], learned.settings, progress)
    if not items or items[0].content != asked.content:
        return []
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    alike = unit[1:] @ unit[0]
    return [(items[at + 1], float(alike[at])) for at in np.argsort(-alike, kind="stable")]


def _text(item: Item, settings: Settings) -> str:
    """Give an item's text; empty for one that is not on this machine, or none."""
    if item.text:
        return item.text
    try:
        return picture_cache(settings).path(item.content).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return ""
