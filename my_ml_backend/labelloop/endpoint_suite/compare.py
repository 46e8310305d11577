"""Comparing answers."""

from collections.abc import Mapping

from labelloop.types import Answer, Failure, Output

Answers = Mapping[str, Answer | Failure]
"""The answers to pictures, by name."""

_SHOWN = 5


class Wrong(Exception):
    """What an endpoint answered is not what it should be; the text says how."""


def classified(name: str, answer: Answer | Failure) -> Output:
    """Take an answer that must be a classification; raises Wrong."""
    if isinstance(answer, Output):
        return answer
    said = answer.reason if isinstance(answer, Failure) else "regions instead of a classification"
    raise Wrong(f"{name}: {said}")


def require_equal(expected: Answers, given: Answers, tolerance: float) -> float:
    """Give the largest difference of a score between answers to the same pictures; raises Wrong beyond ``tolerance``.

    A picture that has no answer must have none on both sides.
    """
    largest, wrong = 0.0, []
    for name, one in expected.items():
        try:
            difference = _difference(name, one, given[name])
        except Wrong as error:
            wrong.append(str(error))
            continue
        largest = max(largest, difference)
        if not difference <= tolerance:
            wrong.append(f"{name}: {_said(given[name])} instead of {_said(one)}")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise Wrong("; ".join([f"{len(wrong)} of {len(expected)} pictures differ", *wrong[:_SHOWN], *more]))
    return largest


def is_renamed(expected: Answers, given: Answers, tolerance: float) -> bool:
    """Whether the scores are right, but under other classes."""
    pairs = [(one, given[name]) for name, one in expected.items()]
    return bool(pairs) and all(
        isinstance(one, Output)
        and isinstance(other, Output)
        and len(one.scores) == len(other.scores)
        and _furthest(sorted(one.scores.values()), sorted(other.scores.values())) <= tolerance
        for one, other in pairs
    )


def _difference(name: str, expected: Answer | Failure, given: Answer | Failure) -> float:
    if isinstance(expected, Failure):
        if isinstance(given, Failure):
            return 0.0
        raise Wrong(f"{name}: {_said(given)}, though it cannot be read here: {expected.reason}")
    one, other = classified(name, expected), classified(name, given)
    if one.scores.keys() != other.scores.keys():
        raise Wrong(f"{name}: the classes are {_listed(other.scores)} instead of {_listed(one.scores)}")
    return _furthest(list(one.scores.values()), [other.scores[label] for label in one.scores])


def _furthest(ones: list[float], others: list[float]) -> float:
    return max(abs(one - other) for one, other in zip(ones, others, strict=True))


def _said(answer: Answer | Failure) -> str:
    return f"{answer.label!r} {answer.score:.4f}" if isinstance(answer, Output) else "no classification"


def _listed(scores: Mapping[str, float]) -> str:
    names = list(scores)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
