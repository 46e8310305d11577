"""The checks, in the order in which they run: test functions of pytest.

The first line of a docstring says what is checked, the rest what a failure tells of the endpoint.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from labelloop.bundle_info import BundleInfo
from labelloop.endpoint_suite.bad_requests import Bad
from labelloop.endpoint_suite.comparison import Answers, Wrong, is_renamed, require_answer, require_equal, shuffled
from labelloop.endpoint_suite.samples import Sample
from labelloop.endpoint_suite.suite import AT_ONCE, Subject, Suite
from labelloop.endpoints.failures import Refused
from labelloop.errors import EndpointError
from labelloop.types import Answer, Box, Failure, Findings, Region, Span

_SUM = 1e-3
"""How far from 1 the scores of a single choice may sum up."""

_TOGETHER = 16
"""Most samples of one call."""

_WARM_UP, _REQUESTS = 3, 30


def test_ping(deployed: Subject, note: Callable[[str], None]) -> None:
    """The endpoint is there.

    Address, network, credentials or the container itself are at fault; no other check was made.
    """
    note(deployed.ping())


def test_golden_samples(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Every sample gets the scores and the regions that the bundle gives it here.

    Another version is deployed, its classes are in another order, or it prepares inputs differently: of pictures size,
    interpolation, mean, order of the colours, EXIF orientation, transparency; of texts encoding, blanks, line ends, and
    what offsets count.
    """
    try:
        largest = require_equal(suite.expected, singles, suite.tolerance, suite.info)
    except Wrong as wrong:
        if is_renamed(suite.expected, singles, suite.tolerance):
            raise Wrong(f"the scores are right, but under other classes ({wrong})") from None
        raise
    found = sum(len(answer.regions) for answer in singles.values() if isinstance(answer, Findings))
    regions = f", {found} regions" if found else ""
    note(f"{len(singles)} {suite.item}s{regions}, scores differ by at most {largest:.2g}")


def readable_answers(suite: Suite, singles: Answers) -> dict[str, Answer]:
    """Take the answers to the samples that can be read here."""
    readable = {name: answer for name, answer in suite.expected.items() if not isinstance(answer, Failure)}
    return {name: require_answer(name, singles[name], answer) for name, answer in readable.items()}


def test_scores(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Answers name all classes of the bundle, are of its kind, and sum to one; regions lie in their input.

    The container writes logits, or a part of the classes, or applies softmax where the bundle wants a sigmoid; or
    labels that the bundle has not, and places in other units.
    """
    info, inputs = suite.info, {one.name: one for one in suite.samples}
    for name, answer in readable_answers(suite, singles).items():
        if isinstance(answer, Findings):
            for region in answer.regions:
                _require_region(name, region, inputs[name], info)
            continue
        if set(answer.scores) != set(info.classes):
            raise Wrong(f"{name}: {len(answer.scores)} classes, the bundle has {len(info.classes)}")
        if answer.choice != info.choice:
            raise Wrong(f"{name}: answered as {answer.choice} choice, the bundle is of kind {info.choice}")
        total = math.fsum(answer.scores.values())
        if info.choice == "single" and abs(total - 1) > _SUM:
            raise Wrong(f"{name}: the scores sum to {total:.4f}")
    note(f"{len(info.classes)} classes, kind {info.choice}")


def _require_region(name: str, region: Region, sample: Sample, info: BundleInfo) -> None:
    if region.label not in info.classes:
        raise Wrong(f"{name}: a region is labeled {region.label!r}, which the bundle has not")
    if region.score is None or not 0 <= region.score <= 1:
        raise Wrong(f"{name}: a region has the score {region.score}, and none from 0 to 1")
    match region.shape:
        case Span(_, end) if end > len(sample.input.text or ""):
            raise Wrong(f"{name}: a region ends at {end}, behind its text")
        case Box(x, y, width, height) if min(x, y, width, height) < 0 or max(x + width, y + height) > 1 + _SUM:
            raise Wrong(f"{name}: a box lies outside of its picture")


def test_version(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """All answers name one and the same version.

    Several versions answer behind one address: a deployment is under way, or traffic is split.
    """
    versions = sorted({answer.model_version for answer in readable_answers(suite, singles).values()})
    if len(versions) != 1 or not versions[0]:
        raise Wrong(f"answers came from the versions {', '.join(map(repr, versions)) or 'none'}")
    suite.version = versions[0]
    note(versions[0])


def test_format(suite: Suite, singles: Answers, request_format: str, note: Callable[[str], None]) -> None:
    """One input gets the same answer in every request format that the endpoint is asked in.

    The container, or a gateway before it, does not read this format, or reads it differently. Name the one it is made
    for with LABELLOOP_REQUEST_FORMAT.
    """
    few = suite.samples[:4]
    given = {one.name: suite.deployed.ask([one], request_format)[0] for one in few}
    require_equal({name: singles[name] for name in given}, given, suite.tolerance, suite.info)
    note(f"{len(few)} {suite.item}s")


def test_batch_equals_single(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Inputs of one call get, in order, the answers they get alone.

    The container mixes up the order of a batch, answers for the first only, or its network depends on what else is
    in the batch (BatchNorm in training mode).
    """
    together = suite.deployed.together
    if together is None:
        pytest.skip(f"request format {suite.deployed.formats[0]} carries one {suite.item}")
    few = suite.samples[:_TOGETHER]
    given = {one.name: answer for one, answer in zip(few, suite.deployed.ask(few, together), strict=True)}
    alone = {name: singles[name] for name in given}
    try:
        largest = require_equal(alone, given, suite.tolerance, suite.info)
    except Wrong as wrong:
        if shuffled(alone) == shuffled(given):
            raise Wrong(f"the answers are those of the single {suite.item}s in another order ({wrong})") from None
        raise
    note(f"{len(few)} {suite.item}s in one call, scores differ by at most {largest:.2g}")


def test_concurrent_requests(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Requests at the same time get the answers they get alone.

    The container shares state between threads, or fails under load.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = threads.map(lambda one: suite.deployed.ask([one])[0], suite.samples)
        given = {one.name: answer for one, answer in zip(suite.samples, answers, strict=True)}
    require_equal(singles, given, suite.tolerance, suite.info)
    note(f"{len(given)} requests, {AT_ONCE} at a time")


def test_latency(suite: Suite, note: Callable[[str], None]) -> None:
    """One request after the other, 19 of 20 are answered within the limit.

    The machine is too small for the network, too far away, or busy with other requests.
    """
    sample = suite.samples[0]
    milliseconds = []
    for _ in range(_WARM_UP + _REQUESTS):
        begun = time.perf_counter()
        (answer,) = suite.deployed.ask([sample])
        milliseconds.append(1000 * (time.perf_counter() - begun))
        require_answer(sample.name, answer, suite.expected[sample.name])
    middle, high = (float(value) for value in np.percentile(milliseconds[_WARM_UP:], (50, 95)))
    suite.latency = {"p50_ms": round(middle, 2), "p95_ms": round(high, 2), "requests": _REQUESTS}
    limit = suite.latency_ms
    told = f"p50 {middle:.1f} ms, p95 {high:.1f} ms" + ("" if limit is None else f", limit {limit:g} ms")
    if limit is not None and high > limit:
        raise Wrong(told)
    note(told)


def test_bad_input(suite: Suite, singles: Answers, bad: Bad, note: Callable[[str], None]) -> None:
    """A wrong request is refused with a 4xx, or an error in its place, and the endpoint lives on.

    A client's mistake counts as the server's: load balancers take the container out, callers try again in vain; or
    something wrong gets a prediction that somebody will believe.
    """
    note(_refusal(suite, bad))
    first = suite.samples[0]
    try:
        (after,) = suite.deployed.ask([first])
    except EndpointError as error:
        raise Wrong(f"after it, a good {suite.item} is not answered: {error}") from error
    try:
        require_equal({first.name: singles[first.name]}, {first.name: after}, suite.tolerance, suite.info)
    except Wrong as wrong:
        raise Wrong(f"after it, a good {suite.item} is answered differently: {wrong}") from None


def _refusal(suite: Suite, bad: Bad) -> str:
    try:
        answers = suite.deployed.send(bad.body, bad.inputs)
    except Refused as refused:
        return f"refused with {refused.status}"
    except EndpointError as error:
        raise Wrong(str(error)) from error
    if not all(isinstance(answer, Failure) for answer in answers):
        raise Wrong("it was answered with a prediction")
    return "an error in its place"
