"""Opening the store by its address, and seeing whether it keeps its two promises: some that speak S3 do not."""

import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from labelloop.errors import Conflict, SettingsError, StoreError, UnsafeStore
from labelloop.models.file_store import FileStore
from labelloop.models.records import update
from labelloop.models.s3_store import S3Store
from labelloop.models.store import Store

_PATH = "labelloop-check/object"


_KINDS = "file:///folder, s3://bucket/prefix or gs://bucket/prefix"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
"""Names of buckets of Cloud Storage."""


def open_store(address: str) -> Store:
    """Open ``file:///folder``, ``s3://bucket/prefix`` or ``gs://bucket/prefix``.

    Raises StoreError naming what else it was.
    """
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StoreError(
            f"LABELLOOP_STORE holds a user, password or options: expected {_KINDS}. Credentials go where boto3 looks "
            "for them (AWS_ACCESS_KEY_ID, a profile, a role), or Google's own programs "
            "(GOOGLE_APPLICATION_CREDENTIALS, a service account)."
        )
    if parts.scheme == "file":
        return _open_folder(address, parts)
    if parts.scheme in ("s3", "gs"):
        return _open_bucket(address, parts)
    raise StoreError(f"store address {address!r} is of no known kind: use {_KINDS}")


def _open_folder(address: str, parts: SplitResult) -> Store:
    if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
        raise StoreError(f"store address {address!r} names no folder: it has three slashes, as in file:///data/store")
    return FileStore(Path(unquote(parts.path)))


def _open_bucket(address: str, parts: SplitResult) -> Store:
    if not parts.netloc:
        raise StoreError(f"store address {address!r} names no bucket: expected {parts.scheme}://bucket/prefix")
    prefix = parts.path.strip("/")
    below = f"{prefix}/" if prefix else ""
    if parts.scheme == "s3":
        return S3Store(parts.netloc, below)
    if not _BUCKET.fullmatch(parts.netloc):
        raise StoreError(f"store address {address!r} names no bucket of Cloud Storage: letters are small ones there")
    # Imported here: a quarter of a second that only such a bucket is worth.
    from labelloop.models.gcs_store import GcsStore

    try:
        return GcsStore(parts.netloc, below)
    except SettingsError as error:
        raise StoreError(f"store {address}: {error} (STORAGE_EMULATOR_HOST, HTTPS_PROXY)") from None


def check_store(store: Store) -> None:
    """Try every step on an object of its own, which stays behind; raises StoreError saying which one fails.

    UnsafeStore means that the store works and does not keep its promises.
    """
    with suppress(Conflict):
        store.create(_PATH, _content())
    held = store.read(_PATH)
    if not _is_refused(lambda: store.create(_PATH, _content())):
        raise UnsafeStore(_unsafe("created an object that exists"))
    store.write(_PATH, _content())
    if not _is_refused(lambda: store.swap(_PATH, _content(), held.tag)):
        raise UnsafeStore(_unsafe("replaced an object that had changed"))
    update(store, _PATH, lambda _: _content())


def _content() -> bytes:
    return uuid.uuid4().hex.encode()


def _is_refused(step: Callable[[], None]) -> bool:
    try:
        step()
    except Conflict:
        return True
    return False


def _unsafe(what: str) -> str:
    return (
        f"the store {what}: it passes over conditional writes (If-None-Match and If-Match of S3, ifGenerationMatch "
        "of Cloud Storage), so two workers could overwrite each other's version. Use a service that honours them, or a "
        "file:// store."
    )
