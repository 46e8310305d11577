"""Long streams in lists of a fixed size."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of ``size``, the last one shorter; only one list is held at a time."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
