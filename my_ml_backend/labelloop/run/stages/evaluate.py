"""evaluate: what the new model is worth on the test side, which training has never seen."""

from labelloop.run.context import Context, write_json
from labelloop.run.report.html import write_report
from labelloop.run.scored import Scored
from labelloop.run.scoring import scores_of
from labelloop.run.sides import sides_of
from labelloop.run.stages.analyse import analyse
from labelloop.types import Json


def evaluate(context: Context) -> None:
    """Write ``evaluation/``, metrics and predictions before what explains them, and the report; raises BundleError."""
    measure_bundle(context, "the new model")
    analyse(context)
    write_report(context.folder)


def measure_bundle(context: Context, name: str) -> Scored:
    """Write ``metrics.json`` and ``predictions.npz``, and give the predictions; ``name`` is for the progress."""
    from labelloop.train.evaluation import measure

    manifest, folder = context.manifest, context.folder
    items = sides_of(manifest, context.named_sides)["test"]
    pictures = [context.pictures.path(item.picture) for item in items]
    scores = scores_of(folder.bundle, pictures, manifest.classes, name, context.progress)
    tested = Scored.of(items, manifest.classes, scores)
    tested.write(folder.predictions)
    metrics: Json = measure(tested.truth, tested.scores, manifest.classes, manifest.kind, context.settings.seed)
    write_json(folder.metrics, metrics)
    return tested
