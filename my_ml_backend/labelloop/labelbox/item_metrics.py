"""What a model run shows of each data row beside what Labelbox computes itself: loss, entropy, margin, agreement.

Loss and entropy are in nats. What makes no sense of an answer is not given: regions have no probability of what people
drew, and so no loss, and no second best answer, and so no margin.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labelloop.kinds.majority import Vote, counting
from labelloop.regions import read_regions
from labelloop.types import Answer, Findings, Output, Region

if TYPE_CHECKING:
    from labelloop.run.matching import Matches

Matched = Callable[[Sequence[Region], Sequence[Region]], "Matches"]
"""Says which of the regions that were found are right, of (true, found): a kind's ``matched``."""

METRICS = ("loss", "entropy", "margin", "agreement")
"""All there are, in the order in which they are told."""

_LEAST = 1e-7
"""What a model calls impossible is taken for this probable, so that a loss stays finite: 16.1 nats at most."""


def item_metrics(
    answer: Answer, votes: Sequence[Vote] = (), labels: Iterable[str] | None = None, matched: Matched | None = None
) -> dict[str, float]:
    """Measure the answer for one data row, whose ``votes`` are settled to ``labels`` (None: it has no truth).

    Regions are compared by ``matched``; without it they have no agreement.
    """
    found = _of_output(answer, labels) if isinstance(answer, Output) else _of_regions(answer)
    usable = [vote for vote in counting(votes) if not vote.reason]
    if isinstance(answer, Output):
        given = frozenset(_given(answer))
        shares = [overlap(given, vote.labels) for vote in usable]
    elif matched is not None:
        shares = [_dice(matched, read_regions(vote.result or "[]"), answer.regions) for vote in usable]
    else:
        shares = []
    if shares:
        found["agreement"] = math.fsum(shares) / len(shares)
    return {name: found[name] for name in METRICS if name in found}


def cross_entropy(scores: Mapping[str, float], label: str) -> float:
    """Give the loss of a choice of one class: minus the logarithm of the probability of the true one.

    I. J. Good, "Rational Decisions" (J. Royal Stat. Soc. B 14, 1952), section 8.
    """
    return -math.log(_possible(scores.get(label, 0.0)))


def binary_cross_entropy(scores: Mapping[str, float], labels: Iterable[str]) -> float:
    """Give the loss of independent classes: the mean of what each costs, those that the model does not know too.

    C. M. Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.90, by class.
    """
    true = frozenset(labels)
    costs = [
        -math.log(_possible(score if name in true else 1.0 - score))
        for name, score in {**dict.fromkeys(sorted(true), 0.0), **scores}.items()
    ]
    return _mean(costs)


def entropy(shares: Iterable[float]) -> float:
    """Give the entropy of a distribution, in nats.

    C. E. Shannon, "A Mathematical Theory of Communication" (Bell System Technical Journal 27, 1948), section 6.
    """
    return math.fsum(-share * math.log(share) for share in shares if share > 0.0) + 0.0


def binary_entropy(scores: Iterable[float]) -> float:
    """Give the mean entropy of independent yes or no answers, in nats: 0.693 where nothing is known of any."""
    return _mean([entropy((score, 1.0 - score)) for score in scores])


def margin(scores: Iterable[float]) -> float:
    """Give by how much the best class is ahead of the second one.

    T. Scheffer, C. Decomain and S. Wrobel, "Active Hidden Markov Models for Information Extraction" (IDA 2001).
    """
    best, second, *_ = (*sorted(scores, reverse=True), 0.0, 0.0)
    return best - second


def binary_margin(scores: Iterable[float]) -> float:
    """Give the margin between yes and no of the least sure of independent answers."""
    return min(abs(2.0 * score - 1.0) for score in scores)


def overlap(ones: frozenset[str], others: frozenset[str]) -> float:
    """Give the share of their union that two sets of classes have in common; 1 for two empty ones.

    P. Jaccard, "The Distribution of the Flora in the Alpine Zone" (New Phytologist 11, 1912).
    """
    union = ones | others
    return len(ones & others) / len(union) if union else 1.0


def _of_output(answer: Output, labels: Iterable[str] | None) -> dict[str, float]:
    scores = answer.scores
    if not scores:
        return {}
    single = answer.choice == "single"
    found = {
        "entropy": entropy(scores.values()) if single else binary_entropy(scores.values()),
        "margin": margin(scores.values()) if single else binary_margin(scores.values()),
    }
    true = None if labels is None else tuple(labels)
    if true is None or (single and len(true) != 1):
        return found
    loss = cross_entropy(scores, true[0]) if single else binary_cross_entropy(scores, true)
    return {"loss": loss, **found}


def _of_regions(answer: Findings) -> dict[str, float]:
    """Give how unsure the regions are, each of them being right or not."""
    scores = [one.score for one in answer.regions if one.score is not None]
    return {"entropy": binary_entropy(scores)} if scores else {}


def _given(answer: Output) -> Iterable[str]:
    return (answer.label,) if answer.choice == "single" else filter(answer.gives, answer.scores)


def _dice(matched: Matched, true: Sequence[Region], found: Sequence[Region]) -> float:
    """Give twice what two have in common by what they have in all, which is F1; 1 where neither has any.

    L. R. Dice, "Measures of the Amount of Ecologic Association Between Species" (Ecology 26, 1945).
    """
    both = len(true) + len(found)
    return 2.0 * len(matched(true, found).right) / both if both else 1.0


def _possible(probability: float) -> float:
    return min(1.0, max(_LEAST, probability))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
