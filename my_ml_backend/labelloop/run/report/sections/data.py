"""What the version learned from and was tested on."""

from collections.abc import Sequence

from labelloop.run.report.files import Files
from labelloop.run.report.section import Section
from labelloop.types import Json

_SIDES = ("train", "validation", "test")
_MOST_CLASSES = 200
_MOST_REASONS = 20
_EXAMPLES = 8


def build(files: Files) -> Section | None:
    """Show pictures by class and side, and what was left out and why."""
    data = files.data
    if not data:
        return None
    sides = {name: data.get("sides", {}).get(name, {"items": 0, "classes": {}}) for name in _SIDES}
    most = max((count for side in sides.values() for count in side["classes"].values()), default=1) or 1
    return Section(
        "data",
        "Data",
        "Every picture is on one side for ever, by its content. A class with few pictures is learned badly, and with "
        "few test pictures nobody can tell: label more of it.",
        {
            "sides": {name: side["items"] for name, side in sides.items()},
            "rows": [_row(name, sides, most) for name in data.get("classes", ())[:_MOST_CLASSES]],
            "more": max(0, len(data.get("classes", ())) - _MOST_CLASSES),
            "left_out": _reasons(data.get("left_out", ())),
            "unreadable": _reasons(data.get("unreadable", ())),
            "left_out_count": data.get("left_out_count", len(data.get("left_out", ()))),
            "left_out_listed": len(data.get("left_out", ())),
            "unreadable_count": len(data.get("unreadable", ())),
            "conflicts": data.get("conflicts", 0),
            "kind": data.get("kind", ""),
        },
    )


def _row(name: str, sides: dict[str, Json], most: int) -> Json:
    counts = [side["classes"].get(name, 0) for side in sides.values()]
    return {"name": name, "cells": [{"count": count, "heat": round(count / most, 3)} for count in counts]}


def _reasons(out: Sequence[Json]) -> list[Json]:
    """Group by reason, the most frequent first, with some tasks as examples."""
    tasks: dict[str, list[str]] = {}
    for one in out:
        tasks.setdefault(one["reason"], []).append(str(one["task"]))
    frequent = sorted(tasks.items(), key=lambda entry: -len(entry[1]))[:_MOST_REASONS]
    return [
        {
            "reason": reason,
            "count": len(ids),
            "tasks": ", ".join(ids[:_EXAMPLES]) + (", ..." if len(ids) > _EXAMPLES else ""),
        }
        for reason, ids in frequent
    ]
