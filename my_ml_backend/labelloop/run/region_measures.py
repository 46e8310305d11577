"""How good a version is at finding regions: its figures with intervals, each label, and what is taken for what.

A region is right with the right label at the right place, as its kind says. Intervals are percentiles of the bootstrap
over items, for the regions of an item are good or bad together; of items that are exactly right, Wilson's.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from labelloop.run.located import Located
from labelloop.run.matching import Matches, match, score_of
from labelloop.run.resampled import F1, AveragePrecision, Figure, Matrix, ratio
from labelloop.train import intervals
from labelloop.train.intervals import FEW, wilson
from labelloop.types import Choice, Json, Region

RESAMPLES = 1000
Regions = Sequence[Region]

_DIGITS = 6
_NO_WIDTH = 1e-9
_RATES = ("f1", "precision", "recall")


def counted(items: Sequence[Located], matches: Sequence[Matches], classes: Sequence[str]) -> F1:
    """Count what is right, true and given of each label, item by item."""
    place = {name: at for at, name in enumerate(classes)}
    right, true, found = (np.zeros((len(items), len(classes))) for _ in range(3))
    for row, (one, met) in enumerate(zip(items, matches, strict=True)):
        for region in one.true:
            true[row, place[region.label]] += 1
        for region in one.given:
            found[row, place[region.label]] += 1
        for at, _ in met.right:
            right[row, place[one.true[at].label]] += 1
    return F1(right, true, found)


def exact(items: Sequence[Located], matches: Sequence[Matches]) -> list[bool]:
    """Tell which items have exactly the right regions; one without a prediction has not."""
    return [one.answered and met.exact for one, met in zip(items, matches, strict=True)]


def measure_regions(
    name: str,
    figure: Figure,
    items: Sequence[Located],
    matches: Sequence[Matches],
    classes: Sequence[str],
    choice: Choice,
    seed: int,
) -> Json:
    """Measure what was found in test items, at least one; gives ``metrics.json`` (docs/evaluation.md).

    ``figure``, called ``name``, is the one that versions are compared by.
    """
    counts, right = counted(items, matches, classes), sum(exact(items, matches))
    once, drawn = np.ones((1, len(items))), intervals.draws(len(items), RESAMPLES, seed)
    main, rates = figure(once).whole, _rates(counts, once)
    # Block by block: all draws of many items together are more than memory should hold.
    wholes, resampled = zip(*((figure(weights).whole, _rates(counts, weights)) for weights in drawn), strict=True)
    low, high = wilson(right, len(items))
    failed = [one.reason for one in items if not one.answered]
    return {
        "items": len(items),
        "failed": len(failed),
        "reason": failed[0] if failed else "",
        "few": len(items) < FEW,
        "kind": choice,
        "classes": list(classes),
        "main": {"name": name, **_figure(main, wholes)},
        "accuracy": {"value": right / len(items), "low": low, "high": high},
        "regions": _regions(counts),
        **{of: _averages(of, rates, resampled) for of in ("micro", "macro")},
        "per_class": {
            label: _of_label(at, counts, rates, resampled) | _beside(label, items, matches)
            for at, label in enumerate(classes)
        },
        "confusion": _confusion(items, matches, classes),
        "interval": intervals.INTERVAL,
        "resamples": RESAMPLES,
    }


def _regions(counts: F1) -> Json:
    right, true, found = (int(one.sum()) for one in counts.counts)
    return {"true": true, "found": found, "right": right, "missed": true - right, "invented": found - right}


def _rates(counts: F1, weights: Matrix) -> Mapping[str, Mapping[str, Matrix]]:
    """Give F1, precision and recall over all regions, as mean of the labels, and of each label: (resamples, ...)."""
    right, true, found = (weights @ one for one in counts.counts)
    # A label that none has, nor was given, is nan; one that was never given, or that none has, reaches nothing.
    known = (true > 0) | (found > 0)
    labels = {
        "f1": ratio(2 * right, true + found),
        "precision": np.where(known, np.nan_to_num(ratio(right, found)), np.nan),
        "recall": np.where(true > 0, np.nan_to_num(ratio(right, true)), np.nan),
    }
    right, true, found = (one.sum(axis=1) for one in (right, true, found))
    whole = {"f1": ratio(2 * right, true + found), "precision": ratio(right, found), "recall": ratio(right, true)}
    # As elsewhere, the mean is over the labels that any item has.
    had = (weights @ counts.true) > 0
    macro = {
        name: ratio(np.where(had, np.nan_to_num(one), 0.0).sum(axis=1), had.sum(axis=1).astype(np.float64))
        for name, one in labels.items()
    }
    return {"labels": labels, "micro": whole, "macro": macro}


_Rates = Mapping[str, Mapping[str, Matrix]]


def _averages(of: str, rates: _Rates, resampled: Sequence[_Rates]) -> Json:
    return {name: _figure(rates[of][name], [one[of][name] for one in resampled]) for name in _RATES}


def _of_label(at: int, counts: F1, rates: _Rates, resampled: Sequence[_Rates]) -> Json:
    """Give a label's rates with their intervals; ``support`` counts its true regions, ``items`` those that have any."""
    found = {
        name: _figure(rates["labels"][name][:, at], [one["labels"][name][:, at] for one in resampled])
        for name in _RATES
    }
    ends = {name: {end: one[end] for end in ("low", "high")} for name, one in found.items()}
    support, items = int(counts.true[:, at].sum()), int((counts.true[:, at] > 0).sum())
    values = {name: one["value"] for name, one in found.items()}
    return {**values, "support": support, "items": items, "intervals": ends}


def _beside(label: str, items: Sequence[Located], matches: Sequence[Matches]) -> Json:
    """Count how true regions of a label were missed: found with a ``wrong_border``, or as another label."""
    borders = sum(one.true[at].label == label for one, met in _pairs(items, matches) for at, _ in met.borders)
    others = sum(one.true[at].label == label for one, met in _pairs(items, matches) for at, _ in met.labels)
    return {"wrong_border": borders, "wrong_label": others}


def _pairs(items: Sequence[Located], matches: Sequence[Matches]) -> Sequence[tuple[Located, Matches]]:
    return list(zip(items, matches, strict=True))


def _confusion(items: Sequence[Located], matches: Sequence[Matches], classes: Sequence[str]) -> list[list[int]]:
    """Count regions at the right place by their label (rows) and the one that they were given (columns)."""
    counts = Counter(
        (one.true[at].label, one.given[to].label)
        for one, met in _pairs(items, matches)
        for at, to in (*met.right, *met.labels)
    )
    return [[counts[true, given] for given in classes] for true in classes]


def _figure(value: Matrix, resampled: Sequence[Matrix]) -> Json:
    seen = float(value[0])
    low, high = intervals.ends(np.concatenate(resampled)) if not np.isnan(seen) else (np.nan, np.nan)
    if not high - low > _NO_WIDTH:
        low = high = np.nan  # draws that all give the same say nothing of chance
    return {name: _rounded(one) for name, one in (("value", seen), ("low", low), ("high", high))}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), _DIGITS)


def precisions(
    items: Sequence[Located],
    classes: Sequence[str],
    overlaps: Callable[[Regions, Regions], Matrix],
    least: float,
    within: Callable[[Located, Region], bool] | None = None,
) -> AveragePrecision:
    """Give average precision of all that was found, of the regions ``within`` what is asked (None: all).

    As COCO has it, true regions that are not within are ignored, as is what only they match, and what matches nothing
    and is not within itself.
    """
    place = {name: at for at, name in enumerate(classes)}
    true, rows = np.zeros((len(items), len(classes))), []
    for row, one in enumerate(items):
        wanted = [within is None or within(one, region) for region in one.true]
        asked, ignored = (
            [region for region, is_asked in zip(one.true, wanted, strict=True) if is_asked == kept]
            for kept in (True, False)
        )
        for region in asked:
            true[row, place[region.label]] += 1
        met = match(asked, one.found, overlaps(asked, one.found), least, 1.0)
        hits, rest = {at for _, at in met.right}, [one.found[at] for at in met.invented]
        taken = {met.invented[at] for _, at in match(ignored, rest, overlaps(ignored, rest), least, 1.0).right}
        for at, region in enumerate(one.found):
            if at in hits or (at not in taken and (within is None or within(one, region))):
                rows.append((row, place[region.label], score_of(region), at in hits))
    item, label, score, hit = zip(*rows, strict=True) if rows else ((), (), (), ())
    return AveragePrecision(
        np.array(item, dtype=np.int64),
        np.array(label, dtype=np.int64),
        np.array(score),
        np.array(hit, dtype=bool),
        true,
    )
