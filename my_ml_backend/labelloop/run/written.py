"""Whether what a stage wrote is still there."""

from labelloop.errors import BundleError
from labelloop.models.bundle import check_bundle
from labelloop.run.folder import RunFolder


def is_written(folder: RunFolder, stage: str) -> bool:
    """Whether a stage's files are all there, the bundle undamaged; register's are in the store, so it never is done."""
    files = {
        "fetch": (folder.manifest, folder.sides),
        "preprocess": (folder.data,),
        "train": (folder.trained, folder.archive),
        "evaluate": (folder.metrics, folder.predictions),
    }
    there = stage in files and all(path.is_file() for path in files[stage])
    return there and (stage != "train" or _is_bundle(folder))


def _is_bundle(folder: RunFolder) -> bool:
    try:
        check_bundle(folder.bundle)
    except BundleError:
        return False
    return True
