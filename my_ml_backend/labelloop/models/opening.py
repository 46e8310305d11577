"""Opening the store by its address, and seeing whether it keeps its two promises: some that speak S3 do not."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from labelloop.errors import Conflict, StoreError, UnsafeStore
from labelloop.models.file_store import FileStore
from labelloop.models.records import update
from labelloop.models.s3_store import S3Store
from labelloop.models.store import Store

_PATH = "labelloop-check/object"


def open_store(address: str) -> Store:
    """Open ``file:///folder`` or ``s3://bucket/prefix``; raises StoreError naming what else it was."""
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise StoreError(
            "LABELLOOP_STORE holds a user, password or options: expected file:///folder or s3://bucket/prefix. "
            "Credentials go where boto3 looks for them (AWS_ACCESS_KEY_ID, a profile, a role)."
        )
    if parts.scheme == "file":
        return _open_folder(address, parts)
    if parts.scheme == "s3":
        return _open_bucket(address, parts)
    if parts.scheme == "gs":
        raise StoreError(f"store {address}: gs:// is not supported yet; use file:///folder or s3://bucket/prefix")
    raise StoreError(f"store address {address!r} is of no known kind: use file:///folder or s3://bucket/prefix")


def _open_folder(address: str, parts: SplitResult) -> Store:
    if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
        raise StoreError(f"store address {address!r} names no folder: it has three slashes, as in file:///data/store")
    return FileStore(Path(unquote(parts.path)))


def _open_bucket(address: str, parts: SplitResult) -> Store:
    if not parts.netloc:
        raise StoreError(f"store address {address!r} names no bucket: expected s3://bucket/prefix")
    prefix = parts.path.strip("/")
    return S3Store(parts.netloc, f"{prefix}/" if prefix else "")


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
        f"the store {what}: it passes over conditional writes (If-None-Match, If-Match), so two workers could "
        "overwrite each other's version. Use a service that honours them, or a file:// store."
    )
