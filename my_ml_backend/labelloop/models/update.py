"""Changing one object that others change too: read, decide, compare-and-swap, and again when someone was faster."""

import random
import time
from collections.abc import Callable

from labelloop.errors import Conflict, NotFound, StoreAway
from labelloop.models.store import Store, Versioned

_TRIES = 60
"""With the pauses below about ten seconds: far beyond what any number of workers on one project needs."""


def update(store: Store, path: str, change: Callable[[bytes | None], bytes | None], tries: int = _TRIES) -> None:
    """Replace an object by what ``change`` makes of its content, as one atomic step.

    ``change`` gets None where there is no object yet, and answers None to leave all as it is. It is called again with
    newer content after a conflict, and may raise to give up. Raises StoreAway when others are faster ``tries`` times.
    """
    for attempt in range(tries):
        current = find(store, path)
        content = change(current.content if current else None)
        if content is None:
            return
        try:
            if current is None:
                store.create(path, content)
            else:
                store.swap(path, content, current.tag)
        except Conflict:
            time.sleep(random.random() * min(0.002 * 2**attempt, 0.3))
        else:
            return
    raise StoreAway(f"{path} is being changed by others all the time: see which processes write to this project")


def find(store: Store, path: str) -> Versioned | None:
    """Read one object; None where there is none."""
    try:
        return store.read(path)
    except NotFound:
        return None
