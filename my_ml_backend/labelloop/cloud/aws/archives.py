"""A version's ``model.tar.gz`` in S3, from which SageMaker and Lambda functions take it."""

import tempfile
from pathlib import Path

from labelloop.cloud.aws.objects import Folder
from labelloop.models.archive import write_archive
from labelloop.models.bundle import bundle_digest
from labelloop.types import ProjectKey

ARCHIVE = "model.tar.gz"


def place_of(folder: Folder, project: ProjectKey, version: str, bundle: Path) -> Folder:
    """Name the folder of a version's files, by what its bundle holds: the same bundle always lies in the same one."""
    return folder.below(f"models/{project}/{version}-{bundle_digest(bundle)[:16]}")


def put_archive(folder: Folder, project: ProjectKey, version: str, bundle: Path) -> str:
    """Write a version's archive unless it is there, and give its address.

    Raises BundleError for a damaged bundle, and CloudError.
    """
    place = place_of(folder, project, version, bundle)
    if not place.has(ARCHIVE):
        with tempfile.TemporaryDirectory(prefix="labelloop-archive-") as beside:
            archive = Path(beside) / ARCHIVE
            write_archive(bundle, archive)
            place.put_file(ARCHIVE, archive)
    return f"{place.uri}/{ARCHIVE}"
