"""The texts of a run as its recipes get them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from labelloop.data.split import splits
from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.kinds.named_entity_recognition.recipes.base import Labeled, Material
from labelloop.run.context import Context
from labelloop.types import Item

if TYPE_CHECKING:
    from labelloop.kinds.named_entity_recognition import NamedEntityRecognition


def material_of(kind: "NamedEntityRecognition", context: Context) -> Material:
    """Read the texts of the training and validation sides; raises TrainingError."""
    sides = splits(context.manifest, context.named_sides)
    train, validation = (tuple(labeled(kind, context, sides[side])) for side in ("train", "validation"))
    return Material(
        train,
        validation,
        context.manifest.classes,
        OwnParameters.of(kind, context.settings),
        context.caches,
        context.folder.checkpoints,
        context.progress,
        context.challengers,
        context.challenger,
    )


def labeled(kind: "NamedEntityRecognition", context: Context, items: Iterable[Item]) -> Iterator[Labeled]:
    """Give the items in an order of their own, so that the order of tasks decides nothing."""
    for item in sorted(items, key=lambda one: one.content):
        yield Labeled(item.content, text_of(context, item), kind.learnable(context, item).regions)


def text_of(context: Context, item: Item) -> str:
    """Give an item's text; empty for one that is not on this machine."""
    return item.text or next(context.contents([item])).decode(errors="replace")
