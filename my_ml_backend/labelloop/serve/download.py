"""Fetching the bundle that ``AIP_STORAGE_URI`` names, which a Vertex AI container has to do by itself."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from labelloop.errors import NotFound, SettingsError
from labelloop.kinds.base import weight_files
from labelloop.models.bundle import files
from labelloop.models.opening import open_store


def download(address: str, cache: Path, weights: Collection[str]) -> Path:
    """Copy a bundle from ``s3://bucket/prefix`` into a folder of its own below ``cache``, and name that.

    Of the weight files only ``weights`` are copied, and no other one stays there from before. Raises SettingsError for
    an address of another kind or without a bundle, StoreError when it cannot be read.
    """
    if not address.startswith("s3://"):
        kind = address.partition("://")[0]
        raise SettingsError(f"AIP_STORAGE_URI: {kind}:// cannot be read yet, s3:// can; or give the bundle by --bundle")
    store = open_store(address)
    directory = cache / hashlib.sha256(address.encode()).hexdigest()[:16]
    directory.mkdir(parents=True, exist_ok=True)
    left_out = {*weight_files()} - {*weights}
    for name in (*files(), "version.json"):
        if name in left_out:
            (directory / name).unlink(missing_ok=True)
            continue
        try:
            (directory / name).write_bytes(store.read(name).content)
        except NotFound:
            if name == "model.json":
                raise SettingsError(f"AIP_STORAGE_URI: there is no model.json at {address}") from None
            (directory / name).unlink(missing_ok=True)
    return directory
