"""How the answers of an endpoint compare with those of its bundle: classes by their scores, regions one by one."""

import math
from collections.abc import Mapping, Sequence

from labelloop.bundle_info import BundleInfo
from labelloop.types import Answer, Box, Failure, Findings, Output, Region, Span

Answers = Mapping[str, Answer | Failure]
"""The answers to samples, by name."""

_SHOWN = 5


class Wrong(Exception):
    """What an endpoint answered is not what it should be; the text says how."""


def require_answer(name: str, answer: Answer | Failure, expected: Answer | Failure) -> Answer:
    """Take an answer of the form of the bundle's own; raises Wrong."""
    if isinstance(answer, Failure):
        raise Wrong(f"{name}: {answer.reason}")
    if isinstance(answer, Output) != isinstance(expected, Output):
        wanted, given = (
            ("a classification", "regions") if isinstance(expected, Output) else ("regions", "a classification")
        )
        raise Wrong(f"{name}: {given} instead of {wanted}")
    return answer


def require_equal(expected: Answers, given: Answers, tolerance: float, info: BundleInfo) -> float:
    """Give the largest difference of a score between answers to the same samples; raises Wrong beyond ``tolerance``.

    A sample that has no answer must have none on both sides. A region whose score is that near to its label's threshold
    may be missing on one.
    """
    largest, wrong = 0.0, []
    for name, one in expected.items():
        try:
            difference = _difference(name, one, given[name], tolerance, info)
        except Wrong as error:
            wrong.append(str(error))
            continue
        largest = max(largest, difference)
        if not difference <= tolerance:
            wrong.append(f"{name}: {_said(given[name])} instead of {_said(one)}")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise Wrong("; ".join([f"{len(wrong)} of {len(expected)} samples differ", *wrong[:_SHOWN], *more]))
    return largest


def is_renamed(expected: Answers, given: Answers, tolerance: float) -> bool:
    """Whether scores and places are right, but under other classes."""
    pairs = [(one, given[name]) for name, one in expected.items()]
    return bool(pairs) and all(_same_but_for_names(one, other, tolerance) for one, other in pairs)


def _same_but_for_names(one: Answer | Failure, other: Answer | Failure, tolerance: float) -> bool:
    match one, other:
        case Output(), Output():
            ones, others = sorted(one.scores.values()), sorted(other.scores.values())
            return len(ones) == len(others) and _furthest(ones, others) <= tolerance
        case Findings(), Findings():
            ones, others = (
                [_number_of(region) for region in sorted(side.regions, key=_place)] for side in (one, other)
            )
            places = [[_numbers(region) for region in sorted(side.regions, key=_place)] for side in (one, other)]
            return places[0] == places[1] and len(ones) == len(others) and _furthest(ones, others) <= tolerance
    return False


def shuffled(answers: Answers) -> list[tuple[object, ...]]:
    """Give what was answered without the order of samples, rounded to what two runs of a network agree in."""
    return sorted((_rounded(answer) for answer in answers.values() if not isinstance(answer, Failure)), key=repr)


def _rounded(answer: Answer) -> tuple[object, ...]:
    if isinstance(answer, Output):
        return tuple(sorted((name, round(score, 3)) for name, score in answer.scores.items()))
    return tuple(
        (one.label, *(round(number, 3) for number in _numbers(one)), round(one.score or 0.0, 3))
        for one in sorted(answer.regions, key=_place)
    )


def _difference(
    name: str, expected: Answer | Failure, given: Answer | Failure, tolerance: float, info: BundleInfo
) -> float:
    if isinstance(expected, Failure):
        if isinstance(given, Failure):
            return 0.0
        raise Wrong(f"{name}: {_said(given)}, though it cannot be read here: {expected.reason}")
    other = require_answer(name, given, expected)
    if not isinstance(expected, Output) or not isinstance(other, Output):
        ones, others = (one.regions if isinstance(one, Findings) else () for one in (expected, other))
        return _of_regions(name, ones, others, tolerance, info)
    if expected.scores.keys() != other.scores.keys():
        raise Wrong(f"{name}: the classes are {_listed(other.scores)} instead of {_listed(expected.scores)}")
    return _furthest(list(expected.scores.values()), [other.scores[label] for label in expected.scores])


def _of_regions(
    name: str, expected: Sequence[Region], given: Sequence[Region], tolerance: float, info: BundleInfo
) -> float:
    """Pair regions off; give the largest difference of scores, and raise Wrong for one that has no other."""
    left, largest = list(given), 0.0
    for one in expected:
        twin = min(
            (other for other in left if _is_same(one, other, tolerance)), key=lambda two: _apart(one, two), default=None
        )
        if twin is not None:
            left.remove(twin)
            largest = max(largest, _apart(one, twin))
        elif not _is_at_threshold(one, tolerance, info):
            raise Wrong(f"{name}: {_shown(one)} is missing, there are {len(given)} regions instead of {len(expected)}")
    for other in left:
        if not _is_at_threshold(other, tolerance, info):
            raise Wrong(f"{name}: {_shown(other)} is none of the {len(expected)} regions that the bundle finds")
    return largest


def _is_same(one: Region, other: Region, tolerance: float) -> bool:
    """Whether two regions have one label and one place: a span to the character, a box within the tolerance."""
    if one.label != other.label or type(one.shape) is not type(other.shape):
        return False
    within = tolerance if isinstance(one.shape, Box) else 0.0
    return _furthest(_numbers(one), _numbers(other)) <= within


def _apart(one: Region, other: Region) -> float:
    return abs(_number_of(one) - _number_of(other))


def _is_at_threshold(region: Region, tolerance: float, info: BundleInfo) -> bool:
    threshold = getattr(info, "thresholds", {}).get(region.label)
    return threshold is not None and region.score is not None and abs(region.score - threshold) <= tolerance


def _numbers(region: Region) -> list[float]:
    match region.shape:
        case Span(start, end):
            return [float(start), float(end)]
        case Box(x, y, width, height, rotation):
            return [x, y, width, height, rotation]
    return []


def _place(region: Region) -> tuple[list[float], str]:
    return _numbers(region), region.label


def _number_of(region: Region) -> float:
    return math.nan if region.score is None else region.score


def _furthest(ones: Sequence[float], others: Sequence[float]) -> float:
    return max((abs(one - other) for one, other in zip(ones, others, strict=True)), default=0.0)


def _said(answer: Answer | Failure) -> str:
    match answer:
        case Output():
            return f"{answer.label!r} {answer.score:.4f}"
        case Findings():
            shown = ", ".join(map(_shown, answer.regions[:_SHOWN]))
            return f"{len(answer.regions)} regions{f' ({shown})' if shown else ''}"
    return "no classification"


def _shown(region: Region) -> str:
    place = ", ".join(f"{number:.4g}" for number in _numbers(region))
    score = "" if region.score is None else f" {region.score:.4f}"
    return f"{region.label!r} at {place}{score}"


def _listed(scores: Mapping[str, float]) -> str:
    names = list(scores)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
