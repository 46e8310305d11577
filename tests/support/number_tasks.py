"""A project of the stand-in of Label Studio that asks about numbers: those of odd tasks are low, the others high."""

from collections.abc import Iterable

from support.studio_api import StudioApi

NUMBERS = (
    '<View><Text name="number" value="$number"/><Choices name="label" toName="number">'
    '<Choice value="low"/><Choice value="high"/></Choices></View>'
)


def number_of(task: int, parts: int = 1000) -> str:
    """What a task shows; no two of so many show the same. On which side each is depends on it."""
    return f"{task / parts + (1 if task % 2 else 8):g}"


def label_of(task: int) -> str:
    """What is true of it."""
    return "low" if task % 2 else "high"


def add_numbers(studio: StudioApi, tasks: Iterable[int], parts: int = 1000) -> None:
    """Import tasks by their ids."""
    for task in tasks:
        studio.tasks[task] = {"id": task, "data": {"number": number_of(task, parts)}, "annotations": []}


def label_numbers(studio: StudioApi, tasks: Iterable[int]) -> None:
    """Label tasks with what is true of them."""
    for task in tasks:
        studio.annotate(task, label_of(task), to_name="number")
