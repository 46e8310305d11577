"""From a run to what its recipes learn from: texts with their classes, and a head's texts to be trained on anew."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from labelloop.data.split import splits
from labelloop.errors import TrainingError, Unreadable
from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.kinds.text_classification.reading import decode
from labelloop.run.context import Context
from labelloop.types import Item

if TYPE_CHECKING:
    from labelloop.kinds.text_classification.recipes.material import Labeled, Material
    from labelloop.train.refitted_head import RefittedHead


def parameters_of(context: Context) -> OwnParameters:
    """Give what a run's texts are trained with."""
    training = context.training
    if not isinstance(training, OwnParameters):
        raise TypeError(f"{context.folder.path} is a run of {context.kind.name}: it trains no model of texts")
    return training


def labeled_of(context: Context, items: Iterable[Item]) -> "tuple[Labeled, dict[str, str]]":
    """Read items with their classes; maps those that are no text (sha256) to the reason."""
    from labelloop.kinds.text_classification.recipes.material import Labeled

    found: list[tuple[Item, str]] = []
    unread: dict[str, str] = {}
    for item in items:
        try:
            found.append((item, decode(next(context.contents([item])))))
        except Unreadable as error:
            unread[item.content] = str(error)
    return Labeled.of(found, context.manifest.classes), unread


def material_of(context: Context) -> "tuple[Material, dict[str, str]]":
    """Give the two sides that training may see; maps texts that cannot be read to the reason."""
    from labelloop.kinds.text_classification.recipes.material import Material, OnNetwork
    from labelloop.run.champion_network import opened

    manifest, training, network = context.manifest, parameters_of(context), opened(context)
    on = None
    if network is not None and context.features is not None:
        on = OnNetwork(network, context.features, context.caches)
    train, validation, unread = _sides(context)
    material = Material(
        classes=manifest.classes,
        choice=manifest.choice,
        train=train,
        validation=validation,
        parameters=training,
        progress=context.progress,
        checkpoints=context.folder.checkpoints,
        caches=context.caches,
        watch=context.watch,
        challengers=context.challengers,
        challenger=context.challenger,
        on=on,
    )
    return material, unread


def _sides(context: Context) -> "tuple[Labeled, Labeled, dict[str, str]]":
    """Read the training and the validation side; maps texts that cannot be read to the reason."""
    sides = splits(context.manifest, context.named_sides)
    train, lost = labeled_of(context, sides["train"])
    validation, more = labeled_of(context, sides["validation"])
    return train, validation, lost | more


def refit(context: Context, items: Sequence[Item], others: Sequence[Item]) -> "RefittedHead":
    """Take the features of a head's texts, to be trained on anew without some of them; raises TrainingError.

    ``others`` are those of the head that it meets.
    """
    from labelloop.kinds.text_classification.recipes.head import Task, refitted

    labeled, unread = labeled_of(context, items)
    own = set(labeled.names)
    beside, more = labeled_of(context, (item for item in others if item.content not in own))
    if lost := len(unread | more):
        raise TrainingError(f"{lost} of the texts they learned from cannot be read where it is judged")
    manifest, training = context.manifest, parameters_of(context)
    task = Task(manifest.classes, manifest.choice, training.seed)
    # Those of today's labels make the space, which this run's head has made as well, and then any that they lack: the
    # same texts in the same order for both heads, so that they differ by their labels alone.
    train, validation, _ = _sides(context)
    today = train.joined(validation)
    both = dict(zip((*labeled.names, *beside.names), (*labeled.texts, *beside.texts), strict=True))
    lacking = sorted(both.keys() - set(today.names))
    texts = [*today.texts, *(both[name] for name in lacking)]
    return refitted(task, texts, labeled, str(training.values["balance"]), context.caches)
