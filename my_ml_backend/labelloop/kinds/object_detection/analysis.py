"""The second half of evaluate: what explains a detector's figures, and boxes that are probably drawn wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from labelloop.bundle_info import ForeignInfo
from labelloop.kinds.base import Learned
from labelloop.kinds.object_detection.boxes import corners_of
from labelloop.kinds.object_detection.engine import DetectorEngine
from labelloop.kinds.object_detection.info import DetectorInfo, detector_info
from labelloop.kinds.object_detection.occlusion import explanation
from labelloop.kinds.picture_features import by_likeness, first_features
from labelloop.models.bundle import read_bundle_info
from labelloop.pictures import fitted, normalise
from labelloop.run.context import Context, write_json
from labelloop.run.located import Located, read_located
from labelloop.run.parameters import recorded_settings
from labelloop.run.parts import make_parts, write_run_events
from labelloop.train.metrics import robustness_told
from labelloop.types import Findings, Item, Json, Progress, Region

if TYPE_CHECKING:
    from labelloop.kinds.regions import Regions

_CORRUPTED = 16
"""Test pictures that are made worse: each goes through the detector fifty times."""

_EXPLAINED = 6
_SHOWN = 12
_WIDTH = 320


def analyse(context: Context, kind: "Regions") -> None:
    """Write the rest of ``evaluation/`` and TensorBoard's events; see Kind.analyse.

    Of a model that lies elsewhere there are examples to show, and no detector for the rest; no more is there where
    torch is not installed.
    """
    info = read_bundle_info(context.folder.bundle)
    if isinstance(info, ForeignInfo) or find_spec("torch") is None:
        return
    engine = DetectorEngine(context.folder.bundle, detector_info(info, context.folder.bundle))
    parts = {
        "robustness": partial(_robustness, context, kind, engine),
        "explanations": partial(_explanations, context, engine),
        "label errors": partial(_label_errors, context, kind),
        "TensorBoard": partial(_tensorboard, context),
    }
    make_parts(context.folder.path.name, parts)


def _robustness(context: Context, kind: "Regions", engine: DetectorEngine) -> None:
    """Measure AP50 on pictures that are made worse, but for what moves things out of their boxes."""
    from labelloop.train.corruptions import CORRUPTIONS, MOVING, SEVERITIES, corruption

    items = sorted(read_located(context.folder.predictions), key=lambda one: one.picture)
    shown = [(one, pixels) for one, pixels in _pixels(context, engine, items[:_CORRUPTED])]
    if not shown:
        raise ValueError("there are no pictures to measure robustness on")
    jobs = [(name, severity) for name in CORRUPTIONS if name not in MOVING for severity in SEVERITIES]
    table: dict[str, list[float]] = {}
    clean = _ap50(context, kind, engine, shown)
    for done, (name, severity) in enumerate(jobs, start=1):
        change = corruption(name, severity)
        worse = [(one, change(pixels, int(one.picture[:12], 16))) for one, pixels in shown]
        table.setdefault(name, []).append(_ap50(context, kind, engine, worse))
        context.progress("robustness", done, len(jobs))
    found = {"figure": kind.figure, **robustness_told(clean, len(shown), table)}
    write_json(context.folder.evaluation / "robustness.json", found)


def _ap50(
    context: Context, kind: "Regions", engine: DetectorEngine, shown: Sequence[tuple[Located, npt.NDArray[np.uint8]]]
) -> float:
    found = []
    for one, pixels in shown:
        (answer,) = engine.answers(normalise(pixels[None], engine.picture), "")
        regions = answer.regions if isinstance(answer, Findings) else ()
        found.append(Located(one.picture, one.task, one.true, regions))
    figure = kind.evidence(found, context.manifest.classes)
    return float(np.nan_to_num(figure(np.ones((1, len(found)))).whole[0]))


def _pixels(
    context: Context, engine: DetectorEngine, items: Sequence[Located]
) -> Iterator[tuple[Located, npt.NDArray[np.uint8]]]:
    """Give those items whose pictures are at hand, as the detector sees them."""
    for one in items:
        path = context.pictures.path(one.picture)
        if one.answered and path.is_file():
            yield one, fitted(path.read_bytes(), engine.picture)


def _explanations(context: Context, engine: DetectorEngine) -> None:
    """Show where the detector looked for the boxes that it is sure and wrong about, and for some that are right."""
    items = read_located(context.folder.predictions)
    right = {one.picture: one for one in items if one.given}
    surest = sorted(right.values(), key=lambda one: (-max(region.score or 0.0 for region in one.given), one.picture))
    folder = context.folder.evaluation / "explanations"
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Json] = []
    for one, pixels in _pixels(context, engine, surest[:_EXPLAINED]):
        region = max(one.given, key=lambda region: region.score or 0.0)
        name = f"{one.picture}.png"
        explanation(engine, pixels, region).save(folder / name)
        found.append(
            {
                "picture": one.picture,
                "occlusion": name,
                "kind": "found",
                "truth": sorted({true.label for true in one.true}),
                "predicted": region.label,
                "score": region.score,
            }
        )
        context.progress("explanations", len(found), min(_EXPLAINED, len(surest)))
    write_json(context.folder.evaluation / "explanations.json", found)


def _label_errors(context: Context, kind: "Regions") -> None:
    from labelloop.kinds.object_detection.recipes.doubts import find_doubts
    from labelloop.run.report.gallery import write_thumbnails

    found = find_doubts(context, kind)
    write_json(context.folder.evaluation / "label_errors.json", found)
    write_thumbnails(context.folder, (one["picture"] for one in found["errors"][: _SHOWN * 5]), context.pictures.path)


def _tensorboard(context: Context) -> None:
    items = [one for one in read_located(context.folder.predictions) if context.pictures.has(one.picture)][:_SHOWN]
    shown = {"found": _sheet(context, items)} if items else {}
    write_run_events(context, shown)


def _sheet(context: Context, items: Sequence[Located]) -> Image.Image:
    """Draw pictures with their true boxes in green and those that were found in red, four in a row."""
    from labelloop.pictures import decode

    drawn = []
    for one in items:
        image = decode(context.pictures.path(one.picture).read_bytes())
        image.thumbnail((_WIDTH, _WIDTH))
        _draw(image, one.true, "lime")
        _draw(image, one.given, "red")
        drawn.append(image)
    height = max(image.height for image in drawn)
    sheet = Image.new("RGB", (4 * _WIDTH, -(-len(drawn) // 4) * height), "white")
    for at, image in enumerate(drawn):
        sheet.paste(image, (at % 4 * _WIDTH, at // 4 * height))
    return sheet


def _draw(image: Image.Image, regions: Sequence[Region], colour: str) -> None:
    pen, sides = ImageDraw.Draw(image), (image.width - 1, image.height - 1)
    for left, top, right, bottom in (corners_of(regions) * np.tile(sides, 2)).tolist():
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=2)


def nearest(asked: Item, learned: Learned, progress: Progress) -> list[tuple[Item, float]]:
    """Order the items whose pictures are on this machine by how alike they are to one; see Kind.nearest."""
    info = read_bundle_info(learned.bundle)
    if not isinstance(info, DetectorInfo):
        return []
    training = replace(recorded_settings(learned.trained_with, info), image_size=0)

    def features(items: Sequence[Item]) -> tuple[list[Item], npt.NDArray[np.float32]]:
        return first_features(items, learned.settings, training, progress, learned.features)

    return by_likeness(asked, learned.items, learned.settings, features)
