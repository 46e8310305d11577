"""What to do next, from all that was measured."""

from collections.abc import Iterator

from labelloop.run.report.files import Files
from labelloop.run.report.numbers import is_few, share
from labelloop.run.report.section import Section
from labelloop.run.report.sections.confusion import pairs
from labelloop.train.proportions import TOO_FEW
from labelloop.types import Json

_FEW_TESTS = 100
_FEW_OF_CLASS = 10
_WEAK = 0.05
_HEAVY_DROP = 0.15
_MISCALIBRATED = 0.1


def build(files: Files) -> Section | None:
    """List the next steps that the figures suggest, the most useful first; None where they suggest nothing."""
    steps = [step for step in _steps(files) if step]
    if not steps:
        return None
    return Section("advice", "What to do next", "What the figures below suggest.", {"steps": steps})


def _steps(files: Files) -> Iterator[str]:
    yield _label_errors(files)
    yield from _classes(files)
    yield _tests(files)
    yield _robustness(files)
    yield _calibration(files)
    yield _unreadable(files)


def _label_errors(files: Files) -> str:
    errors = (files.evaluation("label_errors.json") or {}).get("errors", [])
    if not errors:
        return ""
    tasks = ", ".join(str(one["task"]) for one in errors[:5])
    more = f" ({len(errors)} in all)" if len(errors) > 5 else ""
    return f"Check the annotations that are likely wrong: tasks {tasks}{more}."


def _classes(files: Files) -> Iterator[str]:
    per_class = files.metrics.get("per_class", {})
    measured = {name: one["f1"] for name, one in per_class.items() if _known(one)}
    mean = (files.metrics.get("macro", {}).get("f1") or {}).get("value")
    if not measured or mean is None:
        return
    name = min(measured, key=lambda one: measured[one])
    if mean - measured[name] > _WEAK:
        mixed = [one["given"] for one in pairs(files.metrics["confusion"], files.classes) if one["true"] == name]
        taken = f"; it is most often taken for {mixed[0]}" if mixed else ""
        yield f"Label more of {name}: its F1 is {share(measured[name])} where the mean is {share(mean)}{taken}."


def _known(one: Json) -> bool:
    """Whether a class's F1 is more than the luck of a few pictures."""
    return one.get("f1") is not None and (one.get("support") or 0) >= _FEW_OF_CLASS


def _tests(files: Files) -> str:
    items = files.metrics.get("items")
    if items is None or items >= _FEW_TESTS:
        return ""
    rare = [
        name for name, one in files.metrics.get("per_class", {}).items() if (one.get("support") or 0) < _FEW_OF_CLASS
    ]
    of = f", {len(rare)} classes fewer than {_FEW_OF_CLASS} of them" if rare else ""
    if is_few(items):
        return f"Label more in all: {TOO_FEW}, {items} in all{of}."
    return f"Label more in all: there are {items} test pictures{of}; the intervals show how little that tells."


def _robustness(files: Files) -> str:
    found = files.evaluation("robustness.json") or {}
    if (found.get("relative_drop") or 0) < _HEAVY_DROP or is_few(found.get("pictures")):
        return ""
    worst = min(found["corruptions"], key=lambda name: sum(found["corruptions"][name]))
    return (
        f"If your pictures can be bad, train with the augmentations realistic: {worst} costs most, from "
        f"{share(found['clean'])} to {share(min(found['corruptions'][worst]))} at its worst."
    )


def _calibration(files: Files) -> str:
    value = (files.metrics.get("calibration_error") or {}).get("value")
    if value is None or value < _MISCALIBRATED or is_few(files.metrics.get("items")):
        return ""
    return (
        f"Do not read scores as probabilities yet: the calibration error is {share(value)}; "
        "more validation pictures help."
    )


def _unreadable(files: Files) -> str:
    count = len(files.data.get("unreadable", ()))
    return f"Replace {count} pictures that cannot be read; they are listed under Data." if count else ""
