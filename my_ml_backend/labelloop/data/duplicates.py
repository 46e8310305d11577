"""Tasks that show the same picture, byte for byte: what they say together."""

from collections import defaultdict
from collections.abc import Iterable

from labelloop.types import Item, LeftOut


def each_picture_once(items: Iterable[Item]) -> list[Item]:
    """Keep the first item of every picture, in the items' order; none of a picture whose items contradict each other.

    Without the first rule a picture would count as often as it was imported; the second is for want of a truth.
    """
    return [group[0] for group in _groups(items) if _agree(group)]


def contradictions(items: Iterable[Item]) -> list[LeftOut]:
    """Name the tasks that are not learned from because another one shows the same picture with other labels."""
    return [LeftOut(item.task, _reason(group)) for group in _groups(items) if not _agree(group) for item in group]


def _groups(items: Iterable[Item]) -> list[list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.content].append(item)
    return list(groups.values())


def _agree(group: list[Item]) -> bool:
    return all(item.labels == group[0].labels for item in group)


def _reason(group: list[Item]) -> str:
    tasks = ", ".join(str(item.task) for item in group[:5]) + (", ..." if len(group) > 5 else "")
    return f"tasks {tasks} show the same picture and are labeled differently"
