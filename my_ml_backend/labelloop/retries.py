"""Trying again after a pause, each twice as long as the one before."""

import math
import random
import time
from collections.abc import Callable, Iterator


def retries(
    tries: int,
    first: float,
    most: float = math.inf,
    spread: float = 0.0,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[int]:
    """Yield once for every try, with how many are left after it; whoever has succeeded leaves the loop.

    Before every try but the first it waits: ``first`` seconds, doubled each time up to ``most``. Waits vary by
    ``spread`` of themselves (0 to 1), so that many who failed together do not come back at once.
    """
    pause = first
    for number in range(tries):
        if number:
            wait(pause * random.uniform(1 - spread, 1 + spread))
            pause = min(pause * 2, most)
        yield tries - 1 - number
