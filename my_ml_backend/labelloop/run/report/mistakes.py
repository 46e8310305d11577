"""Picks the worst mistakes on the test side, and makes the small pictures that a report shows."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from labelloop import pictures
from labelloop.errors import Unreadable
from labelloop.files import whole_file
from labelloop.run.context import write_json
from labelloop.run.folder import RunFolder
from labelloop.run.report.files import THUMBNAIL
from labelloop.run.scoring import Scored
from labelloop.run.verdict import Predictions
from labelloop.types import Choice, Json

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
    given = Predictions("", tested.scores)
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


def write_thumbnails(folder: RunFolder, names: Iterable[str], find: Find) -> None:
    """Write ``evaluation/thumbnails/<sha256>.jpg`` for pictures that can be read; those that are there are kept."""
    directory = folder.evaluation / "thumbnails"
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = directory / f"{name}.jpg"
        if not target.exists():
            _write_thumbnail(find(name), target)


def _write_thumbnail(source: Path, target: Path) -> None:
    try:
        image = pictures.decode(source.read_bytes())
    except (OSError, Unreadable):
        return
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    with whole_file(target) as aside:
        aside.write_bytes(buffer.getvalue())
