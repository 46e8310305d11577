"""From a run's manifest to what training takes: pictures on disk and classes by index."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from labelloop.data.split import splits
from labelloop.run.context import Context
from labelloop.types import Item

if TYPE_CHECKING:
    from labelloop.train.dataset import Dataset, Sample


def dataset_of(context: Context) -> "Dataset":
    """Give the two sides that training may see."""
    from labelloop.train.dataset import Dataset

    manifest = context.manifest
    sides = splits(manifest, context.named_sides)
    return Dataset(
        manifest.classes,
        manifest.choice,
        tuple(samples_of(context, sides["train"])),
        tuple(samples_of(context, sides["validation"])),
    )


def samples_of(context: Context, items: Iterable[Item]) -> "Iterator[Sample]":
    """Give items as samples, in their order, one by one."""
    from labelloop.train.dataset import Sample

    index = {name: at for at, name in enumerate(context.manifest.classes)}
    pictures = context.pictures
    for item in items:
        yield Sample(pictures.path(item.content), item.content, tuple(index[label] for label in item.labels))
