"""train: the recipes compete on the validation side, and the better one becomes a bundle."""

from dataclasses import asdict

from labelloop.run.context import Context, write_json
from labelloop.run.datasets import dataset_of


def train_bundle(context: Context) -> None:
    """Write ``bundle/`` and ``train.json``, from the last checkpoint on. Raises TrainingError."""
    # Only the worker has torch; this module is also read where there is none.
    from labelloop.train.trainer import train as fit

    folder = context.folder
    trained = fit(
        dataset_of(context),
        context.training,
        folder.path,
        context.caches,
        context.progress,
        checkpoints=folder.checkpoints,
    )
    values = asdict(trained)
    values.pop("bundle")
    write_json(folder.trained, values)
