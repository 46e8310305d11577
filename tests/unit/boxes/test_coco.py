"""Average precision, against pycocotools."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from labelloop.kinds.object_detection import KIND
from labelloop.kinds.object_detection.coco import AREAS, OVERLAPS, mean_precision
from labelloop.run.located import Located
from labelloop.types import Box, Region
from support.examples import examples

CLASSES = ("cell", "dust")
SIDE = 200


def scene(seed: int) -> list[Located]:
    """Give pictures of 200 pixels a side with boxes of all sizes, some found, more or less well; ties among scores."""
    chance, items = np.random.default_rng(seed), []
    for picture in range(int(chance.integers(1, 5))):
        true, found = [], []
        for _ in range(int(chance.integers(0, 7))):
            width, height = chance.integers(6, 140, 2)
            x, y = int(chance.integers(0, SIDE - width)), int(chance.integers(0, SIDE - height))
            label = CLASSES[int(chance.integers(2))]
            true.append(Region(label, placed(x, y, int(width), int(height))))
            for _ in range(int(chance.integers(0, 3))):
                dx, dy, dw, dh = (int(one) for one in chance.integers(-9, 10, 4))
                other = label if chance.random() < 0.8 else CLASSES[int(chance.integers(2))]
                box = placed(x + dx, y + dy, max(2, int(width) + dw), max(2, int(height) + dh))
                found.append(Region(other, box, round(float(chance.random()), 1)))
        items.append(Located(f"{picture:064x}", picture, tuple(true), tuple(found)))
    return items


def placed(x: int, y: int, width: int, height: int) -> Box:
    return Box(x / SIDE, y / SIDE, width / SIDE, height / SIDE)


def oracle(items: list[Located]) -> Any:
    """Let pycocotools evaluate; its ``eval`` has the precisions."""
    truth, results = [], []
    for at, one in enumerate(items):
        truth += [{"image_id": at, "iscrowd": 0, **coco(region)} for region in one.true]
        results += [{"image_id": at, "score": region.score, **coco(region)} for region in one.found]
    whole = COCO()
    whole.dataset = {
        "images": [{"id": at, "width": SIDE, "height": SIDE} for at in range(len(items))],
        "annotations": [{"id": number, **one} for number, one in enumerate(truth, start=1)],
        "categories": [{"id": at, "name": name} for at, name in enumerate(CLASSES)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        whole.createIndex()
        evaluated = COCOeval(whole, whole.loadRes(results), "bbox")
        evaluated.evaluate()
        evaluated.accumulate()
    return evaluated.eval["precision"]


def coco(region: Region) -> dict[str, Any]:
    box = region.shape
    assert isinstance(box, Box)
    sides = [round(one * SIDE) for one in (box.x, box.y, box.width, box.height)]
    return {"category_id": CLASSES.index(region.label), "bbox": sides, "area": sides[2] * sides[3]}


def mean(precisions: Any) -> float | None:
    """Mean over overlaps, recalls and labels, as COCO's summary has it."""
    known = precisions[precisions > -1]
    return float(known.mean()) if known.size else None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=examples(25), deadline=None)
def test_average_precision_is_cocos(seed: int) -> None:
    items = scene(seed)
    if not any(one.found for one in items) or not any(one.true for one in items):
        return
    expected = oracle(items)
    assert mean_precision(items, CLASSES, KIND.overlaps) == pytest.approx(mean(expected[:, :, :, 0, 2]))
    assert mean_precision(items, CLASSES, KIND.overlaps, (0.5,)) == pytest.approx(mean(expected[0, :, :, 0, 2]))
    for at, (least, most) in enumerate(AREAS.values(), start=1):

        def within(_: Located, region: Region, least: float = least, most: float = most) -> bool:
            box = region.shape
            assert isinstance(box, Box)
            return least <= round(box.width * SIDE) * round(box.height * SIDE) <= most

        found = mean_precision(items, CLASSES, KIND.overlaps, OVERLAPS, within)
        wanted = mean(expected[:, :, :, at, 2])
        assert found == (None if wanted is None else pytest.approx(wanted))
