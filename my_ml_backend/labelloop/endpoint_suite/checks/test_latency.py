"""How long an answer takes."""

import time
from collections.abc import Callable

import numpy as np

from labelloop.endpoint_suite.compare import Wrong, classified
from labelloop.endpoint_suite.samples import TYPICAL
from labelloop.endpoint_suite.suite import Suite

WARM_UP, REQUESTS = 3, 30


def test_latency(suite: Suite, note: Callable[[str], None]) -> None:
    """One request after the other, 19 of 20 are answered within the limit.

    The machine is too small for the network, too far away, or busy with other requests.
    """
    sample = next(one for one in suite.samples if one.name == TYPICAL)
    milliseconds = []
    for _ in range(WARM_UP + REQUESTS):
        begun = time.perf_counter()
        (answer,) = suite.deployed.ask([sample])
        milliseconds.append(1000 * (time.perf_counter() - begun))
        classified(sample.name, answer)
    middle, high = (float(value) for value in np.percentile(milliseconds[WARM_UP:], (50, 95)))
    suite.latency = {"p50_ms": round(middle, 2), "p95_ms": round(high, 2), "requests": REQUESTS}
    limit = suite.latency_ms
    told = f"p50 {middle:.1f} ms, p95 {high:.1f} ms" + ("" if limit is None else f", limit {limit:g} ms")
    if limit is not None and high > limit:
        raise Wrong(told)
    note(told)
