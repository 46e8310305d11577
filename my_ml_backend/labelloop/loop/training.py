"""The train stage: from a manifest to a bundle on this machine and a version's name."""

from dataclasses import replace
from pathlib import Path

from labelloop.data.split import splits
from labelloop.errors import BundleError
from labelloop.loop.run import Run, save
from labelloop.loop.train_settings import train_settings
from labelloop.models.bundle import check_bundle
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.types import Item


def train_version(run: Run, record: RunRecord) -> tuple[Path, RunRecord]:
    """Train, or take up the bundle that an interrupted attempt has finished; names the version."""
    folder = run.folder / record.key
    bundle = folder / "bundle"
    try:
        recipe = check_bundle(bundle).recipe
        metrics = record.metrics
    except BundleError:
        run.reporter.stage("train")
        record = save(run, replace(record, stage="train"))
        # Only the worker has torch; this module is also read where there is none.
        from labelloop.train.dataset import Dataset, Sample
        from labelloop.train.trainer import train

        sides = splits(run.manifest)
        index = {name: at for at, name in enumerate(run.manifest.classes)}

        def samples(items: tuple[Item, ...]) -> tuple[Sample, ...]:
            return tuple(
                Sample(run.cache.path(item.picture), item.picture, tuple(index[label] for label in item.labels))
                for item in items
            )

        dataset = Dataset(
            run.manifest.classes, run.manifest.kind, samples(sides["train"]), samples(sides["validation"])
        )
        features = run.hub.settings.directory / "cache" / "train"
        trained = train(dataset, train_settings(run.hub.settings), folder, features, run.reporter)
        bundle, recipe = trained.bundle, trained.recipe
        metrics = {
            "validation": dict(trained.validation),
            "train_seconds": dict(trained.seconds),
            "unreadable": dict(trained.left_out),
            "notes": list(trained.notes),
        }
    version = Versions(run.hub.store, run.project).claim(record.key)
    return bundle, save(run, replace(record, version=version, recipe=recipe, metrics=metrics))
