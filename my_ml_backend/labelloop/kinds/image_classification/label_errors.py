"""``label_errors.json``: the labels of a manifest that are probably wrong, with their tasks, most certain first."""

from pathlib import Path

from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import TrainingError
from labelloop.run.context import Context
from labelloop.run.preprocess import samples_of, training_of
from labelloop.types import IMAGES, Json, Progress, TrainSettings


def find_label_errors(context: Context) -> Json:
    """Examine the labels of a run, with its bundle at hand; raises TrainingError."""
    _require_pictures(context.manifest)
    return examine_manifest(
        context.manifest,
        training_of(context),
        context.pictures,
        context.caches,
        context.folder.bundle,
        context.progress,
    )


def examine_manifest(
    manifest: Manifest,
    settings: TrainSettings,
    pictures: PictureCache,
    caches: Path,
    bundle: Path | None,
    progress: Progress,
) -> Json:
    """Examine every label of a manifest whose pictures are on this machine; raises TrainingError."""
    _require_pictures(manifest)
    from labelloop.train.examine import examine
    from labelloop.train.label_errors import FOLDS

    samples = list(samples_of(manifest.classes, pictures, manifest.items))
    readable, found = examine(samples, manifest.classes, manifest.choice, settings, bundle, caches, progress)
    kept = {sample.picture for sample in readable}
    tasks = [item.task for item in manifest.items if item.content in kept]
    names = manifest.classes
    return {
        "examined": len(readable),
        "folds": FOLDS,
        "errors": [
            {
                "task": tasks[one.row],
                "picture": readable[one.row].picture,
                "given": [names[at] for at in readable[one.row].targets],
                "suggested": [names[at] for at in one.suggested],
                "score": one.score,
                "given_score": one.given_score,
            }
            for one in found.suspects
        ],
    }


def _require_pictures(manifest: Manifest) -> None:
    if manifest.kind != IMAGES:
        raise TrainingError(f"probable label errors are found in pictures; here {manifest.kind} are learned")
