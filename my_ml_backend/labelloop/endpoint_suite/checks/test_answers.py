"""Whether answers are well formed."""

import math
from collections.abc import Callable

from labelloop.endpoint_suite.compare import Answers, Wrong, classified
from labelloop.endpoint_suite.suite import Suite
from labelloop.types import Failure, Output

_SUM = 1e-3


def outputs(suite: Suite, singles: Answers) -> dict[str, Output]:
    """Take the answers to the pictures that can be read here."""
    readable = [name for name, answer in suite.expected.items() if not isinstance(answer, Failure)]
    return {name: classified(name, singles[name]) for name in readable}


def test_scores(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Answers name all classes of the bundle, are of its kind, and single choices sum to one.

    The container writes logits, or a part of the classes, or applies softmax where the bundle wants a sigmoid.
    """
    info = suite.info
    for name, answer in outputs(suite, singles).items():
        if set(answer.scores) != set(info.classes):
            raise Wrong(f"{name}: {len(answer.scores)} classes, the bundle has {len(info.classes)}")
        if answer.choice != info.choice:
            raise Wrong(f"{name}: answered as {answer.choice} choice, the bundle is of kind {info.choice}")
        total = math.fsum(answer.scores.values())
        if info.choice == "single" and abs(total - 1) > _SUM:
            raise Wrong(f"{name}: the scores sum to {total:.4f}")
    note(f"{len(info.classes)} classes, kind {info.choice}")


def test_version(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """All answers name one and the same version.

    Several versions answer behind one address: a deployment is under way, or traffic is split.
    """
    versions = sorted({answer.model_version for answer in outputs(suite, singles).values()})
    if len(versions) != 1 or not versions[0]:
        raise Wrong(f"answers came from the versions {', '.join(map(repr, versions)) or 'none'}")
    suite.version = versions[0]
    note(versions[0])
