"""Tasks that show the same input, byte for byte: what they say together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from labelloop.types import Item, LeftOut


@dataclass(slots=True)
class _Group:
    """The tasks of one content; ``agree``: they are labeled alike, as the first is; ``confirmed``: one of them is."""

    labels: tuple[str, ...]
    result: str
    tasks: list[int] = field(default_factory=list)
    agree: bool = True
    confirmed: bool = False

    def add(self, item: Item) -> None:
        self.tasks.append(item.task)
        self.confirmed |= item.confirmed
        self.agree &= (item.labels, item.result) == (self.labels, self.result)

    def reason(self, item: str) -> str:
        tasks = ", ".join(map(str, self.tasks[:5])) + (", ..." if len(self.tasks) > 5 else "")
        return f"tasks {tasks} show the same {item} and are labeled differently"


@dataclass(frozen=True)
class Twins:
    """The items whose content another one has, too. Only they are held, by their content."""

    groups: Mapping[str, _Group]

    @classmethod
    def among(cls, items: Sequence[Item]) -> Self:
        """Find them. Goes through the items twice at most, with eight bytes of each in memory."""
        repeated = _repeated(items)
        groups: dict[str, _Group] = {}
        for item in items if repeated else ():
            if _beginning(item) in repeated:
                groups.setdefault(item.content, _Group(item.labels, item.result)).add(item)
        return cls({content: group for content, group in groups.items() if len(group.tasks) > 1})

    def once(self, items: Iterable[Item]) -> Iterator[Item]:
        """Give the first item of every content, in the items' order; none of one whose items contradict each other.

        Without the first rule an input would count as often as it was imported; the second is for want of a truth.
        """
        for item in items:
            group = self.groups.get(item.content)
            if group is None:
                yield item
            elif group.agree and item.task == group.tasks[0]:
                yield replace(item, confirmed=group.confirmed)

    def contradictions(self, item: str) -> Iterator[LeftOut]:
        """Name the tasks that are not learned from because another one shows the same ``item`` with other labels."""
        for group in self.groups.values():
            if not group.agree:
                yield from (LeftOut(task, group.reason(item)) for task in group.tasks)


def _repeated(items: Sequence[Item]) -> set[int]:
    """Give the beginnings of hashes that several items have: a few may have it by chance."""
    import numpy as np

    beginnings = np.fromiter((_beginning(item) for item in items), np.uint64, len(items))
    beginnings.sort()
    return set(beginnings[1:][beginnings[1:] == beginnings[:-1]].tolist())


def _beginning(item: Item) -> int:
    return int(item.content[:16], 16)
