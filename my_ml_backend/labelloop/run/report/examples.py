"""Texts and pictures with their regions: what annotators marked, and what the version found instead.

How a region is drawn is decided by its shape, whatever the kind: parts of a text are marked, boxes lie over a picture.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from labelloop.regions import region_json
from labelloop.run.context import write_json
from labelloop.run.folder import RunFolder
from labelloop.run.located import Located
from labelloop.run.matching import Matches
from labelloop.run.report.contents import Files, Section
from labelloop.run.report.gallery import write_thumbnails
from labelloop.run.report.marked import marked_text
from labelloop.run.report.numbers import fraction
from labelloop.types import Json, Region

_WRONG, _RIGHT = 12, 4
"""Items that are shown, those with mistakes and those without."""

_WIDTH = 480
"""Pixels of a picture's longer side: boxes are smaller than pictures."""

_LONGEST, _BEFORE = 1200, 200
"""Characters of a text that are shown, and of those before its first region."""

Place = tuple[Located, Matches]


def write_examples(
    folder: RunFolder, items: Sequence[Place], texts: Callable[[str], str] | None, find: Callable[[str], Path]
) -> None:
    """Write ``evaluation/examples.json``: the items with the most mistakes, then some that have regions and no mistake.

    ``texts`` gives the text of an item by its sha256; without it items are pictures, whose files ``find`` gives, and
    of which thumbnails are written.
    """
    chosen = _chosen(items)
    names = [one.picture for one, _ in chosen]
    if texts is None:
        write_thumbnails(folder, names, find, _WIDTH, "examples")
    found = [_example(one, met) | ({"text": texts(one.picture)} if texts else {}) for one, met in chosen]
    write_json(folder.evaluation / "examples.json", found)


def _chosen(items: Sequence[Place]) -> list[Place]:
    """Choose what to show; of as many mistakes always the same ones."""
    mistaken = [one for one in items if not one[1].exact]
    right = [one for one in items if one[1].exact and one[0].true]
    mistaken.sort(key=lambda one: (-len(one[1].missed) - len(one[1].invented), one[0].picture))
    right.sort(key=lambda one: (-len(one[0].true), one[0].picture))
    return [*mistaken[:_WRONG], *right[:_RIGHT]]


def _example(one: Located, met: Matches) -> Json:
    return {
        "task": one.task,
        "picture": one.picture,
        "right": len(met.right),
        "true": _marked(one.true, met, 0, "missed"),
        "given": _marked(one.given, met, 1, "invented"),
    }


def _marked(regions: Sequence[Region], met: Matches, side: int, otherwise: str) -> list[Json]:
    """Write regions with what became of each; ``side`` is their place in the pairs."""
    marks = {
        pair[side]: mark
        for mark, pairs in (("label", met.labels), ("border", met.borders), ("right", met.right))
        for pair in pairs
    }
    return [region_json(region) | {"mark": marks.get(at, otherwise)} for at, region in enumerate(regions)]


def examples_section(files: Files) -> Section | None:
    """Show the examples."""
    found = files.evaluation("examples.json")
    if not found:
        return None
    return Section(
        "examples",
        "Examples",
        "Test items with the most mistakes first, then some without. Open their tasks: either annotators missed what "
        "the version found (correct it) or training lacks what is missed here (label more like it).",
        {"rows": [_view(files, one) for one in found], "texts": "text" in found[0]},
    )


def _view(files: Files, one: Json) -> Json:
    missed, invented = (sum(region["mark"] != "right" for region in one[name]) for name in ("true", "given"))
    told = f"task {one['task']}: {one['right']} right, {missed} missed, {invented} invented"
    if "text" in one:
        begin, end = _window(one["text"], [*one["true"], *one["given"]])
        sides = [
            (who, marked_text(one["text"], one[name], begin, end))
            for who, name in (("annotators", "true"), ("version", "given"))
        ]
        return {"told": told, "sides": sides, "more": (begin > 0, end < len(one["text"]))}
    missing = [region for region in one["true"] if region["mark"] != "right"]
    return {"told": told, "drawn": drawn_boxes(files, f"examples/{one['picture']}.jpg", [*missing, *one["given"]])}


def _window(text: str, regions: Sequence[Json]) -> tuple[int, int]:
    """Choose what to show of a long text: what is around its first mistake, or else its first region."""
    if len(text) <= _LONGEST:
        return 0, len(text)
    wrong = [one["span"][0] for one in regions if one["mark"] != "right"] or [one["span"][0] for one in regions]
    begin = max(0, min(min(wrong, default=0) - _BEFORE, len(text) - _LONGEST))
    return begin, begin + _LONGEST


def drawn_boxes(files: Files, name: str, regions: Sequence[Json]) -> Json | None:
    """Give a picture of ``evaluation/`` with boxes over it, in its pixels; None where there is no picture.

    ``regions`` hold a ``box`` in fractions, ``label``, and perhaps ``rotation``, ``score`` and ``mark``.
    """
    uri = files.picture(name, _WIDTH)
    if not uri:
        return None
    with Image.open(files.folder.evaluation / name) as image:
        width, height = image.size
    return {"uri": uri, "width": width, "height": height, "boxes": [_box(one, width, height) for one in regions]}


def _box(one: Json, width: int, height: int) -> Json:
    x, y, across, down = (
        round(value * side, 1) for value, side in zip(one["box"], (width, height, width, height), strict=True)
    )
    score = f" {fraction(one['score'], 2)}" if one.get("score") is not None else ""
    place: Mapping[str, float] = {"x": x, "y": y, "width": across, "height": down, "turned": one.get("rotation", 0)}
    return {**place, "label": one["label"], "mark": one.get("mark", "plain"), "told": f"{one['label']}{score}"}
