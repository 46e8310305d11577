"""Files that versions share: a head's backbone lies once in a project's folder of the store, and once on a machine.

By its content: ``backbones/<sha256>/<name>``, to which the ``model.json`` of each version refers. So publishing a head
is writing its last layer, whichever version before it brought the backbone.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from labelloop.bundle_info import SHARED, BundleInfo
from labelloop.errors import BundleError, NotFound
from labelloop.files import keep_sha256, kept_sha256, link_kept, remove_stale, sha256
from labelloop.models.bundle import DESCRIPTION
from labelloop.models.store import Store
from labelloop.types import ProjectKey

FOLDER = "backbones"
SHARED_FILE = re.compile(rf"{FOLDER}/([0-9a-f]{{64}})/(?:{'|'.join(map(re.escape, SHARED))})")
"""The path of a shared file below a project's folder, with its hash."""


def shared_files(info: BundleInfo) -> dict[str, str]:
    """Map the files of a bundle that others may have, too, to their hashes."""
    return {name: info.files[name] for name in SHARED if name in info.files}


def place(project: ProjectKey, sha: str, name: str) -> str:
    """Say where a shared file lies in the store."""
    return f"{project}/{FOLDER}/{sha}/{name}"


def upload_shared(store: Store, project: ProjectKey, bundle: Path, info: BundleInfo) -> None:
    """Upload those shared files of a bundle that the store does not have in full. Raises BundleError, StoreError.

    Several processes may do so at once, for all of them write the same.
    """
    if not (shared := shared_files(info)):
        return
    there = dict(store.sizes(f"{project}/{FOLDER}/"))
    for name, known in shared.items():
        path, file = place(project, known, name), bundle / name
        if there.get(path) == file.stat().st_size:
            continue
        # All versions to come will have it from there, so whatever is kept of its hash is not enough.
        if sha256(file) != known:
            raise BundleError(f"bundle {bundle}: {name} is damaged, its sha256 is not the one in {DESCRIPTION}")
        store.upload(path, file)


class SharedCache:
    """The shared files of all versions that were fetched to this machine; safe for many processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f".{FOLDER}"

    def bring(self, store: Store, project: ProjectKey, sha: str, name: str, folder: Path) -> None:
        """Link a shared file into a folder, after it was downloaded where it is not here. Raises BundleError.

        What is here is hashed again as ``kept_sha256`` says: one that lost bytes is downloaded anew.
        """
        held = self._folder / sha / name
        for _ in range(2):
            if not _is(held, sha):
                self._download(store, project, sha, held)
            # Between the two it may have gone, as one that no version on this machine had.
            with suppress(FileNotFoundError):
                link_kept(held, folder / name)
                return
        raise BundleError(f"{held} is removed again and again: see what else clears MODEL_DIR")

    def unused(self) -> Iterator[Path]:
        """Name the folders of files that no version on this machine has any more."""
        for folder in self._folder.glob("*"):
            with suppress(OSError):
                if all(path.stat().st_nlink == 1 for path in folder.iterdir()):
                    yield folder

    def _download(self, store: Store, project: ProjectKey, sha: str, held: Path) -> None:
        held.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(held.parent, "*.partial")
        partial = held.with_name(f"{uuid.uuid4().hex}.partial")
        path = place(project, sha, held.name)
        try:
            store.download(path, partial)
            if sha256(partial) != sha:
                raise BundleError(
                    f"{path} is damaged in the store: its sha256 is not its name. All versions on that backbone need "
                    "it: restore it from a backup of the store, or remove it, and the next head on it brings it anew"
                )
            partial.replace(held)
            keep_sha256(held, sha)
        except NotFound:
            raise BundleError(
                f"{path} is gone from the store. All versions on that backbone need it: restore it from a backup of "
                "the store; the next head on it brings it anew"
            ) from None
        finally:
            partial.unlink(missing_ok=True)


def _is(held: Path, sha: str) -> bool:
    try:
        return kept_sha256(held) == sha
    except OSError:
        return False
