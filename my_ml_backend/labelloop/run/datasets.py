"""From a run's manifest to what training takes: pictures on disk and classes by index."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from labelloop.data.picture_cache import PictureCache
from labelloop.data.split import splits
from labelloop.run.context import Context
from labelloop.types import Item, TrainSettings

if TYPE_CHECKING:
    from labelloop.train.dataset import Dataset, Sample


def dataset_of(context: Context) -> "Dataset":
    """Give the two sides that training may see."""
    from labelloop.train.dataset import Dataset

    manifest = context.manifest
    sides = splits(manifest, context.named_sides)
    train, validation = (
        tuple(samples_of(manifest.classes, context.pictures, sides[name])) for name in ("train", "validation")
    )
    return Dataset(manifest.classes, manifest.choice, train, validation)


def training_of(context: Context) -> TrainSettings:
    """Give what a run's pictures are trained with; the files that the settings name are hashed once in a run."""
    training = context.training
    if not isinstance(training, TrainSettings):
        raise TypeError(f"{context.folder.path} is a run of {context.kind.name}: it trains no network for pictures")
    return training


def samples_of(classes: Sequence[str], pictures: PictureCache, items: Iterable[Item]) -> "Iterator[Sample]":
    """Give items as samples, in their order, one by one; ``pictures`` says where their files lie."""
    from labelloop.train.dataset import Sample

    index = {name: at for at, name in enumerate(classes)}
    for item in items:
        yield Sample(pictures.path(item.content), item.content, tuple(index[label] for label in item.labels))
