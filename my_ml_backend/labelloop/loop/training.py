"""The train stage: from a manifest to a bundle on this machine and a version's name."""

from dataclasses import replace

from labelloop.data.formats.addresses import local_file
from labelloop.errors import BundleError, SettingsError, TrainingError
from labelloop.loop.run import Run, save
from labelloop.loop.startup import trains_here
from labelloop.models.bundle import check_bundle
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.run.context import Context, read_json, write_json, write_text
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import parameters_of
from labelloop.run.record import RunInfo, command
from labelloop.run.stages.preprocess import preprocess
from labelloop.run.stages.train import train_bundle
from labelloop.run.train_settings import train_settings
from labelloop.settings import Settings


def require_trainable(settings: Settings) -> None:
    """Raise SettingsError for what no run could be made with, on this machine: a network, a recipe, a missing file."""
    if not trains_here():
        raise SettingsError("this worker cannot train: torch is not installed (requirements-train.txt)")
    # Only the worker has torch; this module is also read where there is none.
    from labelloop.train.entrants import check

    try:
        check(train_settings(settings))
    except TrainingError as error:
        raise SettingsError(f"nothing can be trained with these settings: {error}") from error


def train_version(run: Run, record: RunRecord) -> tuple[Context, RunRecord]:
    """Train, or take up the bundle that an interrupted attempt has finished; names the version."""
    context = open_context(run, record)
    if not is_trained(context.folder):
        run.reporter.stage("train")
        record = save(run, replace(record, stage="train"))
        preprocess(context)
        train_bundle(context)
    trained = read_json(context.folder.trained, "train")
    metrics = {
        "validation": trained["validation"],
        "train_seconds": trained["seconds"],
        "unreadable": trained["left_out"],
        "notes": trained["notes"],
        "calibration": trained["calibration"],
    }
    version = Versions(run.hub.store, run.project).claim(record.key)
    return context, save(run, replace(record, version=version, recipe=trained["recipe"], metrics=metrics))


def is_trained(folder: RunFolder) -> bool:
    """Whether the bundle and what tells of its training are there, the last of which is written last."""
    try:
        check_bundle(folder.bundle)
    except BundleError:
        return False
    return folder.trained.is_file()


def open_context(run: Run, record: RunRecord) -> Context:
    """Make the folder of a run as the pipeline's stages know it: its record, its manifest, no sides of its own."""
    folder = RunFolder(run.folder / record.key)
    context = Context(folder, run.settings, run.reporter)
    if RunInfo.read(folder) is None:
        write_json(folder.sides, {"sides": {}, "moved": []})
        write_text(folder.manifest, run.manifest.to_jsonl())
        # Last, for it says that the folder is complete: a worker may be killed at any line.
        info = RunInfo.new({**parameters_of(run.settings), "project_key": str(run.project)})
        kept = f"{run.hub.settings.store_address}/{run.project}/manifests/{run.manifest.hash}.jsonl"
        repeat = command(info.parameters, run.settings, str(local_file(kept) or kept))
        replace(info, key=record.key, manifest=run.manifest.hash, command=repeat).write(folder)
    return context
