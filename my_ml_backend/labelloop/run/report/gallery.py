"""Pictures to look at: the worst mistakes, likely label errors, explanations, augmentations."""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from labelloop import pictures
from labelloop.errors import Unreadable
from labelloop.files import whole_file
from labelloop.run.context import write_json
from labelloop.run.folder import RunFolder
from labelloop.run.report.contents import THUMBNAIL, Files, Section
from labelloop.run.report.marked import around, marked_text
from labelloop.run.report.numbers import fraction
from labelloop.run.scoring import Scored
from labelloop.run.verdict import Predictions
from labelloop.types import Choice, Json


def mistakes_section(files: Files) -> Section | None:
    """Show the pictures that the version is most certain and most wrong about."""
    found = files.evaluation("mistakes.json")
    if not found:
        return None
    rows = [
        {
            "uri": files.thumbnail(one["picture"]),
            "text": _marked(one["text"], []) if "text" in one else None,
            "task": one["task"],
            "truth": label_text(one["truth"]),
            "predicted": label_text(one["predicted"]),
            "score": fraction(one.get("score"), 2),
            "true_score": fraction(one.get("true_score"), 2),
        }
        for one in found
    ]
    return Section(
        "mistakes",
        "Worst mistakes",
        f"Test {files.items} that the version is most certain, and wrong, about. Open their tasks: either the label is "
        f"wrong (correct it) or the {files.item} is of a kind that training lacks (label more like it).",
        {"rows": rows},
    )


_MOST_ERRORS = 60


def label_errors_section(files: Files) -> Section | None:
    """Show where models that had not seen a label are sure of another one."""
    found = files.evaluation("label_errors.json")
    if not found:
        return None
    errors = found.get("errors", [])
    rows = [
        {
            "uri": files.thumbnail(one["picture"]),
            "text": _marked(one["text"], one["regions"]) if "text" in one else None,
            "task": one["task"],
            "given": label_text(one["given"]),
            "suggested": label_text(one["suggested"]),
            "score": fraction(one.get("score"), 2),
            "given_score": fraction(one.get("given_score"), 2),
            "left_out": one.get("left_out", False),
        }
        for one in errors[:_MOST_ERRORS]
    ]
    return Section(
        "label-errors",
        "Likely label errors",
        "Annotations that contradict a model which had not learned from them, most certain first. Open these tasks "
        "and correct what is wrong: a test label that is wrong costs as much as a bad model.",
        {
            "rows": rows,
            "examined": found.get("examined"),
            "folds": found.get("folds"),
            "total": len(errors),
            "left_out": sum(1 for one in errors if one.get("left_out")),
            "more": max(0, len(errors) - _MOST_ERRORS),
        },
    )


_MOST_EXPLAINED = 24
_EXPLAINED_WIDTH = 400


def explanations_section(files: Files) -> Section | None:
    """Show the pictures that mark what decided."""
    views = (_view(files, one) for one in files.evaluation("explanations.json") or ())
    shown = [view for view in views if view]
    if not shown:
        return None
    return Section(
        "explanations",
        "Explanations",
        (_WORDS if shown[0].get("text") else _PIXELS),
        {"rows": shown[:_MOST_EXPLAINED]},
    )


_PIXELS = (
    "Grad-CAM and occlusion mark the regions, integrated gradients the pixels that spoke for the prediction. If they "
    "mark the background, the training pictures share backgrounds that tell classes apart: label pictures that do not."
)
_WORDS = (
    "Words that spoke for what was found: without one, the score is lower by as much as stands beside it; against it "
    "spoke those where it is higher. If they say nothing to you, label texts that use them otherwise."
)
_MARKED = (
    ("Grad-CAM", "grad_cam"),
    ("integrated gradients", "integrated_gradients"),
    ("occlusion: red spoke for the box, blue against it", "occlusion"),
)


def _marked(text: str, regions: Sequence[Json]) -> list[Json]:
    return marked_text(text, regions, *around(text, regions))


_STRONG = 0.05
"""The weight of a word from which on it is marked."""


def _worded(one: Json) -> Json:
    """Show a text with the words that spoke for what was found, or against it."""
    found = [{"span": one["span"], "label": label_text(one["predicted"])}] if "span" in one else []
    words = [
        {"span": word["span"], "label": f"{word['weight']:+.2f}", "mark": "right" if word["weight"] > 0 else "invented"}
        for word in one["words"]
        if abs(word["weight"]) >= _STRONG
    ]
    truth = label_text(one.get("truth"))
    return {
        "text": _marked(one["text"], [*found, *words]),
        "kind": one.get("kind", ""),
        "truth": truth,
        "predicted": label_text(one.get("predicted")),
        "score": fraction(one.get("score"), 2),
        "task": one.get("task"),
    }


def _view(files: Files, one: Json) -> Json | None:
    if "text" in one:
        return _worded(one)
    pictures = [
        {"uri": uri, "name": name}
        for name, key in _MARKED
        if (file := one.get(key)) and (uri := files.picture(f"explanations/{file}", _EXPLAINED_WIDTH))
    ]
    if not pictures:
        return None
    return {
        "text": None,
        "pictures": pictures,
        "kind": one.get("kind", ""),
        "truth": label_text(one.get("truth")),
        "predicted": label_text(one.get("predicted")),
        "score": fraction(one.get("score"), 2),
        "right": one.get("kind") == "right",
        "task": files.task_of.get(one.get("picture", "")),
    }


def label_text(labels: str | list[str] | None) -> str:
    """Write one label or several."""
    if isinstance(labels, str):
        return labels
    return ", ".join(labels or ()) or "none"


_GRID_WIDTH = 1000


def augmentations_section(files: Files) -> Section | None:
    """Show the grid of augmented pictures."""
    uri = files.picture("augmentations.png", _GRID_WIDTH)
    if not uri:
        return None
    return Section(
        "augmentations",
        "Augmentations",
        "On the left training pictures as they are, beside them as the network saw them. If a person could not name "
        "the class any more, the augmentations are too strong.",
        {"uri": uri, "policy": files.trained.get("policy", "")},
    )


MOST = 24

Find = Callable[[str], Path]
"""Gives the file of a picture by its sha256; it need not exist."""


def write_mistakes(folder: RunFolder, choice: Choice, find: Find, most: int = MOST) -> list[Json]:
    """Write ``evaluation/mistakes.json`` with thumbnails, from ``predictions.npz``; raises StoreError without that."""
    found = worst_mistakes(Scored.read(folder.predictions), choice, most)
    write_thumbnails(folder, (one["picture"] for one in found), find)
    write_json(folder.evaluation / "mistakes.json", found)
    return found


def worst_mistakes(tested: Scored, choice: Choice, most: int = MOST) -> list[Json]:
    """Give the wrong answers, those furthest from the truth first; pictures without an answer are none of them.

    ``score`` is the highest score of a class that is not true, ``true_score`` the lowest of one that is; either is None
    where there is no such class.
    """
    given = Predictions("", tested.scores, thresholds=tested.thresholds)
    wrong = np.flatnonzero(~given.right(tested.truth, choice) & given.answered)
    chosen = given.given(choice)
    untrue = np.where(tested.truth, 0.0, tested.scores).max(axis=1)
    true = np.where(tested.truth, tested.scores, 1.0).min(axis=1)
    far = np.maximum(untrue, 1 - true) if choice == "multiple" else untrue - true
    worst = sorted(wrong.tolist(), key=lambda at: (-far[at], tested.pictures[at]))
    names = np.array(tested.classes)
    return [
        {
            "picture": tested.pictures[at],
            "task": int(tested.tasks[at]),
            "truth": names[tested.truth[at]].tolist(),
            "predicted": names[chosen[at]].tolist(),
            "score": float(untrue[at]) if not tested.truth[at].all() else None,
            "true_score": float(true[at]) if tested.truth[at].any() else None,
        }
        for at in worst[:most]
    ]


def write_thumbnails(
    folder: RunFolder, names: Iterable[str], find: Find, width: int = THUMBNAIL, name: str = "thumbnails"
) -> None:
    """Write ``evaluation/thumbnails/<sha256>.jpg`` for pictures that can be read; those that are there are kept.

    They are at most ``width`` pixels wide and high, and may go into a folder of another ``name``.
    """
    directory = folder.evaluation / name
    directory.mkdir(parents=True, exist_ok=True)
    for picture in names:
        target = directory / f"{picture}.jpg"
        if not target.exists():
            _write_thumbnail(find(picture), target, width)


def _write_thumbnail(source: Path, target: Path, width: int) -> None:
    try:
        image = pictures.decode(source.read_bytes())
    except (OSError, Unreadable):
        return
    image.thumbnail((width, width), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    with whole_file(target) as aside:
        aside.write_bytes(buffer.getvalue())
