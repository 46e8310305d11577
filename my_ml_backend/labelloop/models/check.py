"""Whether a store can be written and keeps its two promises; some services that speak S3 pass conditions over."""

import uuid
from collections.abc import Callable
from contextlib import suppress

from labelloop.errors import Conflict, UnsafeStore
from labelloop.models.store import Store
from labelloop.models.update import update

_PATH = "labelloop-check/object"


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
