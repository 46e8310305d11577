"""evaluate: what the new model is worth on the test side, which training has never seen."""

from labelloop.run.context import Context, write_json
from labelloop.run.scored import Scored
from labelloop.run.scoring import scores_of
from labelloop.run.sides import sides_of
from labelloop.types import Json


def measure_bundle(context: Context) -> None:
    """Write ``metrics.json`` and ``predictions.npz``; raises BundleError."""
    from labelloop.train.evaluation import measure

    manifest, folder = context.manifest, context.folder
    items = sides_of(manifest, context.named_sides)["test"]
    pictures = [context.pictures.path(item.content) for item in items]
    scores = scores_of(folder.bundle, pictures, manifest.classes, "the new model", context.progress)
    tested = Scored.of(items, manifest.classes, scores)
    tested.write(folder.predictions)
    metrics: Json = measure(tested.truth, tested.scores, manifest.classes, manifest.choice, context.settings.seed)
    write_json(folder.metrics, metrics)
