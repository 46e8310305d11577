"""How much trouble a fetch takes: tries of one picture, and pictures that may be missing in the end."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from labelloop.errors import Transient

T = TypeVar("T")

TRIES = 4
_FIRST_WAIT = 0.5

_FEW, _SHARE = 5, 0.1


def patiently(read: Callable[[], T], wait: Callable[[float], None] = time.sleep) -> T:
    """Read, up to ``TRIES`` times in all while the error is Transient; waits half a second first, each time doubled.

    Waits vary by half, so that many threads do not come back at once. Raises what the last try raised.
    """
    for attempt in range(TRIES - 1):
        try:
            return read()
        except Transient:
            wait(_FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25))
    return read()


def too_many(missing: int, total: int) -> bool:
    """Whether so many of the pictures are missing that the place they come from must be out of order.

    Up to five may be missing, or a tenth; never all of them. A manifest without them would pass for the truth.
    """
    return missing > max(_FEW, _SHARE * total) or 0 < total == missing
