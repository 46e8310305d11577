"""Labels that a training left out because they are probably wrong: which tasks have them, and how that is told."""

from collections.abc import Sequence

from labelloop.data.manifest import Manifest
from labelloop.types import Json

_NAMED = 5


def with_suspects(trained: Json, manifest: Manifest) -> Json:
    """Give ``train.json`` with the tasks of its ``suspects`` (train.dataset.Trained), and a note that tells of them."""
    found = {one["picture"]: one for one in trained["suspects"]}
    if not found:
        return trained
    tasks: dict[str, int] = {}
    for item in manifest.items:
        if item.content in found:
            tasks.setdefault(item.content, item.task)
    listed = [{"task": tasks[picture], **one} for picture, one in found.items()]
    return {**trained, "suspects": listed, "notes": [*trained["notes"], told(listed)]}


def with_left_out(errors: Sequence[Json], suspects: Sequence[Json]) -> list[Json]:
    """Mark those of the likely label errors that training left out, and add what it alone found; most certain first.

    Both have ``task``, ``score`` and ``given_score``.
    """
    left_out = {one["task"] for one in suspects}
    listed = {one["task"] for one in errors}
    every = (*errors, *(one for one in suspects if one["task"] not in listed))
    marked = [{**one, "left_out": one["task"] in left_out} for one in every]
    return sorted(marked, key=lambda one: one["given_score"] - one["score"])


def told(suspects: Sequence[Json]) -> str:
    """Say how many labels were left out, and where to look."""
    tasks = ", ".join(str(one["task"]) for one in suspects[:_NAMED])
    more = f" and {len(suspects) - _NAMED} more" if len(suspects) > _NAMED else ""
    which = "1 label was" if len(suspects) == 1 else f"{len(suspects)} labels were"
    return (
        f"{which} left out of training as probably wrong (task {tasks}{more}): correct the annotation, or mark it as "
        "ground truth where it is right; `labelloop label-errors` lists such tasks"
    )
