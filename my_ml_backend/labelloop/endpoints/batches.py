"""Cutting a list of inputs into requests."""

from collections.abc import Iterator, Sequence

from labelloop.types import Input


def batches(inputs: Sequence[Input], most: int, most_bytes: int) -> Iterator[slice]:
    """Cut into consecutive slices of at most ``most`` inputs and ``most_bytes`` bytes as sent (base64: 4/3).

    An input that is larger by itself gets a slice of its own.
    """
    start, size = 0, 0
    for index, item in enumerate(inputs):
        sent = len(item.content) * 4 // 3 + len(item.text or "") + 64
        if index > start and (index - start == most or size + sent > most_bytes):
            yield slice(start, index)
            start, size = index, 0
        size += sent
    if inputs:
        yield slice(start, len(inputs))


def halves(part: slice) -> tuple[slice, slice]:
    """Cut a slice of two or more in two."""
    middle = (part.start + part.stop) // 2
    return slice(part.start, middle), slice(middle, part.stop)
