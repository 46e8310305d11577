"""What the order of tasks is worth where spans are found: see train/order_gain.py."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from labelloop.data.split import SIDES, Part
from labelloop.kinds.named_entity_recognition.recipes.base import Regions
from labelloop.kinds.named_entity_recognition.recipes.head import learn
from labelloop.kinds.named_entity_recognition.training import labeled
from labelloop.run.context import Context
from labelloop.train.order_gain import OrderGain, Rows, exchanged
from labelloop.types import HALF

if TYPE_CHECKING:
    from labelloop.kinds.named_entity_recognition import NamedEntityRecognition

_MOST = 200
"""Texts that are exchanged, and as many besides: a CRF takes longer to learn than a head on features."""


def compared_orders(context: Context, kind: "NamedEntityRecognition") -> OrderGain | None:
    """Compare texts that the order chose with random ones; None where there are too few of either."""
    sided = {item.content: (side, item) for side, item in Part(context.manifest, context.named_sides, SIDES).sided()}
    served = context.arms(item.task for _, item in sided.values())
    texts = list(labeled(kind, context, (item for _, item in sided.values())))

    def rows(arm: str, *, train: bool) -> Rows:
        sides = [sided[one.content] for one in texts]
        return np.flatnonzero([(side == "train") == train and served.get(item.task) == arm for side, item in sides])

    def right(learned: Rows, asked: Rows) -> npt.NDArray[np.float64]:
        crf = learn([texts[at] for at in sorted(learned.tolist())])
        held = [texts[at] for at in asked]
        found = crf.find([one.text for one in held])
        return np.array([_places(one.regions) == _places(given) for one, given in zip(held, found, strict=True)], float)

    return exchanged(
        len(texts), right, rows("random", train=False), rows("ordered", train=True), context.settings.seed, _MOST
    )


def _places(regions: Regions) -> set[tuple[str, object]]:
    return {(one.label, one.shape) for one in regions if one.score is None or one.score >= HALF}
