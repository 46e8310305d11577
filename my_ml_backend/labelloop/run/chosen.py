"""Test items whose tasks annotators got because of their scores: the hardest ones, so figures on them are too low."""

from dataclasses import replace

from labelloop.run.context import Context, read_json, write_json
from labelloop.run.verdict import Verdict
from labelloop.train.intervals import wilson
from labelloop.types import Json


def tell_chosen(context: Context) -> Json:
    """Give ``metrics.json``; where such items were measured, it is told how many, and the accuracy on the ``others``.

    Raises StoreError.
    """
    measured = read_json(context.folder.metrics, "evaluate")
    chosen = context.labeled.chosen
    if not chosen or not measured:
        return measured
    right = context.kind.right(context)
    others = [is_right for task, is_right in right.items() if task not in chosen]
    if len(others) < len(right):
        measured["chosen"] = {"items": len(right) - len(others), "others": _share(others)}
        write_json(context.folder.metrics, measured)
    return measured


def _share(right: list[bool]) -> Json:
    if not right:
        return {"items": 0, "value": None, "low": None, "high": None}
    low, high = wilson(sum(right), len(right))
    return {"items": len(right), "value": sum(right) / len(right), "low": low, "high": high}


def with_chosen(verdict: Verdict, measured: Json) -> Verdict:
    """Say in a verdict how many test items were chosen by score, and what is reached on the others."""
    told = chosen_told(measured)
    return replace(verdict, sentence=f"{verdict.sentence}; {told}") if told else verdict


def chosen_told(measured: Json) -> str:
    """Say it in words; empty where no test item was chosen by score."""
    found = measured.get("chosen")
    if not found:
        return ""
    others, items = found["others"], found["items"]
    if not others["items"]:
        return f"all {items} test items were chosen by score, which makes them harder than the rest"
    return (
        f"{items} of {items + others['items']} test items were chosen by score, which makes them harder than the rest: "
        f"accuracy on the {others['items']} others is {others['value']:.3f} "
        f"(95 % interval {others['low']:.3f} to {others['high']:.3f})"
    )
