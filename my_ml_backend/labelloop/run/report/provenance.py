"""Where the version comes from: its data, how it learned, the search before it, and how to make it again."""

from collections.abc import Mapping, Sequence
from typing import Any

from labelloop.bundle_info import Int8
from labelloop.data.classes import twin_names
from labelloop.models.headline import ACCURACY
from labelloop.run.parameters import is_hidden
from labelloop.run.report.charts import Chart, Series, line_chart
from labelloop.run.report.contents import Files, Section
from labelloop.run.report.numbers import duration, fraction, importance_rows, size, timestamp
from labelloop.types import Json

_SIDES = ("train", "validation", "test")
_MOST_CLASSES = 200
_MOST_REASONS = 20
_EXAMPLES = 8


def data_section(files: Files) -> Section | None:
    """Show pictures by class and side, and what was left out and why."""
    data = files.data
    if not data:
        return None
    sides = {name: data.get("sides", {}).get(name, {"items": 0, "classes": {}}) for name in _SIDES}
    most = max((count for side in sides.values() for count in side["classes"].values()), default=1) or 1
    return Section(
        "data",
        "Data",
        f"Every {files.item} is on one side for ever, by its content. A class with few {files.items} is learned badly, "
        f"and with few test {files.items} nobody can tell: label more of it.",
        {
            "sides": {name: side["items"] for name, side in sides.items()},
            "rows": [_row(name, sides, most) for name in data.get("classes", ())[:_MOST_CLASSES]],
            "more": max(0, len(data.get("classes", ())) - _MOST_CLASSES),
            "left_out": _reasons(data.get("left_out", ())),
            "unreadable": _reasons(data.get("unreadable", ())),
            "left_out_count": data.get("left_out_count", len(data.get("left_out", ()))),
            "left_out_listed": len(data.get("left_out", ())),
            "unreadable_count": len(data.get("unreadable", ())),
            "aside": _aside(data.get("aside", ())),
            "aside_count": sum(one["regions"] for one in data.get("aside", ())),
            "conflicts": data.get("conflicts", 0),
            "kind": data.get("kind", ""),
            "twins": twin_names(data.get("classes", ())),
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


def _aside(found: Sequence[Json]) -> list[Json]:
    """Give why regions are not learned as they were drawn, with some of their tasks."""
    return [
        {
            "reason": one["reason"],
            "count": one["regions"],
            "tasks": ", ".join(map(str, one["tasks"][:_EXAMPLES])) + (", ..." if one["items"] > _EXAMPLES else ""),
        }
        for one in found[:_MOST_REASONS]
    ]


Epochs = Sequence[Mapping[str, Any]]

_LOSSES = (("train_loss", "training"), ("validation_loss", "validation"))
_ACCURACY = (("validation_accuracy", "validation"),)


def curves_section(files: Files) -> Section | None:
    """Show what each recipe reached on validation, and the curves of those that have epochs."""
    trained = files.trained
    if not trained:
        return None
    reached = [
        {"recipe": name, "accuracy": fraction(value), "winner": name == trained.get("recipe")}
        for name, value in trained.get("validation", {}).items()
    ]
    return Section(
        "curves",
        "Learning",
        f"The recipes compete on the validation {files.items}. Loss that still falls at the end asks for more epochs; "
        "a validation loss that rises while training's falls asks for more labels or stronger augmentation.",
        {
            "reached": reached,
            "recipe": trained.get("recipe"),
            "charts": [chart for name, epochs in trained.get("curves", {}).items() for chart in _charts(name, epochs)],
            "notes": list(trained.get("notes", ())),
            "balance": trained.get("balance"),
        },
    )


def _charts(recipe: str, epochs: Epochs) -> list[Chart]:
    charts = (
        line_chart(f"{recipe}: loss", _lines(epochs, _LOSSES), "epoch"),
        line_chart(f"{recipe}: accuracy", _lines(epochs, _ACCURACY), "epoch"),
    )
    return [chart for chart in charts if chart]


def _lines(epochs: Epochs, columns: Sequence[tuple[str, str]]) -> list[Series]:
    found = []
    for column, name in columns:
        points = [(float(one["epoch"]), float(one[column])) for one in epochs if one.get(column) is not None]
        if points:
            found.append(Series(name, points))
    return found


def order_section(files: Files) -> Section | None:
    """Show what the order of tasks was worth."""
    found = files.evaluation("order.json")
    if not found:
        return None
    return Section(
        "order",
        "Order of tasks",
        "You label what a version is least certain of first, and one task in five at random. Both are measured on the "
        "random ones. Where the interval reaches over 0, chance alone may have made the difference.",
        {"sentence": str(found["sentence"]), "labels": found["labels"], "besides": found["besides"]},
    )


_MOST_TRIALS = 10


def search_section(files: Files) -> Section | None:
    """Show the best trials and what mattered."""
    found = files.search
    if not found.get("trials"):
        return None
    finished = [one for one in found["trials"] if one.get("score") is not None and one.get("state") == "finished"]
    best = sorted(finished, key=lambda one: (-one["score"], one["number"]))[:_MOST_TRIALS]
    names = list(dict.fromkeys(name for one in best for name in one["parameters"]))
    return Section(
        "search",
        "Search",
        "Settings that were tried on the validation side, best first. What has little importance may be chosen for "
        "speed.",
        {
            "names": names,
            "figure": found.get("figure", ACCURACY),
            "rows": [
                {
                    "number": one["number"],
                    "accuracy": fraction(one["accuracy"]),
                    "values": [str(one["parameters"].get(name, "")) for name in names],
                }
                for one in best
            ],
            "importances": importance_rows(found.get("importances", {})),
            "counts": found.get("counts", {}),
            "seconds": duration(found.get("seconds", 0)),
            "ended": found.get("ended", ""),
        },
    )


def reproduce_section(files: Files) -> Section | None:
    """Show command, settings, code, packages, machine, times, and the served files with their differences."""
    record, bundle = files.record, files.bundle
    if not record and not bundle:
        return None
    return Section(
        "reproduce",
        "How to reproduce",
        "The same manifest, settings, seed, packages and kind of machine give the same model.",
        {
            "command": record.get("command", ""),
            "hidden": any(is_hidden(str(value)) for value in (record.get("parameters") or {}).values()),
            "facts": [(name, str(value)) for name, value in _facts(files) if value not in (None, "", {})],
            "settings": sorted((name, str(value)) for name, value in training_settings(files).items()),
            "packages": sorted(record.get("packages", {}).items()),
            "seconds": _seconds({**record.get("seconds", {}), **_parts(files)}),
            "files": [
                {"name": name, "sha256": digest, "parity": _parity(bundle, name)}
                for name, digest in bundle.get("files", {}).items()
            ],
        },
    )


def training_settings(files: Files) -> Json:
    """Give the parameters that the run was asked for."""
    found: Json = files.record.get("parameters") or {}
    return {name: value for name, value in found.items() if value != ""}


def _facts(files: Files) -> list[tuple[str, Any]]:
    record, bundle = files.record, files.bundle
    machine = record.get("machine", {})
    picture = bundle.get("picture", {})
    peak = record.get("peak_memory_bytes")
    return [
        ("run", record.get("key")),
        ("begun", timestamp(str(record.get("created") or ""))),
        ("manifest", record.get("manifest") or files.data.get("manifest")),
        ("git commit", record.get("git")),
        ("network", bundle.get("backbone")),
        ("recipe", bundle.get("recipe")),
        ("pictures", f"{picture['width']} x {picture['height']} pixels" if picture else ""),
        ("mirror image at prediction", "yes" if bundle.get("flips") else ""),
        ("temperature", bundle.get("temperature")),
        ("numbers of 8 bits", Int8(**files.trained["int8"]).told() if files.trained.get("int8") else ""),
        ("device", record.get("device") or files.trained.get("device")),
        ("Python", machine.get("python")),
        ("machine", f"{machine['platform']}, {machine['cores']} cores" if machine else ""),
        ("peak memory", size(peak) if peak else ""),
    ]


def _parts(files: Files) -> dict[str, float]:
    """Give the seconds of the train stage's parts."""
    return {f"train: {name}": seconds for name, seconds in (files.trained.get("seconds") or {}).items()}


def _seconds(seconds: Mapping[str, float]) -> list[Json]:
    most = max(seconds.values(), default=1) or 1
    return [{"name": name, "text": duration(value), "heat": round(value / most, 3)} for name, value in seconds.items()]


def _parity(bundle: Json, name: str) -> str:
    value = bundle.get("parity", {}).get(name)
    return "" if value is None else f"{value:.1e}"
