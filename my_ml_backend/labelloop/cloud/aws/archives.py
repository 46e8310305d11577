"""A version's ``model.tar.gz`` in S3, from which SageMaker takes it."""

import tempfile
from pathlib import Path

from labelloop.cloud.aws.objects import Folder
from labelloop.models.archive import write_archive
from labelloop.models.bundle import Wanted, weights_of

_ARCHIVE = "model.tar.gz"


def put_archive(folder: Folder, bundle: Path, version: str, wanted: Wanted = weights_of) -> str:
    """Write a version's archive, with the weights ``wanted``, into a folder unless it is there, and give its address.

    Raises BundleError for a damaged bundle, and CloudError.
    """
    if not folder.has(_ARCHIVE):
        with tempfile.TemporaryDirectory(prefix="labelloop-archive-") as beside:
            archive = Path(beside) / _ARCHIVE
            write_archive(bundle, archive, version, wanted)
            folder.put_file(_ARCHIVE, archive)
    return f"{folder.uri}/{_ARCHIVE}"
