"""Metrics of predictions as they are, by torchmetrics; intervals.py has the same for resamples.

One class against the rest is what torchmetrics calls a label, whatever the kind. Arrays are (items, classes).
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from labelloop.train.metrics import support

Matrix = npt.NDArray[np.float64]
Indicators = npt.NDArray[np.bool_]

RATES = ("f1", "precision", "recall", "auroc")


def exact(truth: Indicators, predicted: Indicators) -> float:
    """Share of items with exactly the right classes."""
    from torchmetrics.functional.classification import multilabel_exact_match

    return float(multilabel_exact_match(_tensor(predicted), _tensor(truth), num_labels=truth.shape[1]))


def rates(truth: Indicators, predicted: Indicators, scores: Matrix) -> Mapping[str, Matrix]:
    """Give each class's rates against the rest, (classes,); nan where no item, or (auroc) every item, has the class."""
    import torch
    from torchmetrics.functional import classification as by

    shown, given = _tensor(truth), _tensor(predicted)
    how: dict[str, Any] = {"num_labels": truth.shape[1], "average": "none"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (positive|negative) samples in targets", category=UserWarning)
        found = {
            "f1": by.multilabel_f1_score(given, shown, **how),
            "precision": by.multilabel_precision(given, shown, **how),
            "recall": by.multilabel_recall(given, shown, **how),
            "auroc": by.multilabel_auroc(torch.from_numpy(scores), shown, **how),
        }
    counts = support(truth)
    defined = {rate: (counts > 0) & ((counts < len(truth)) | (rate != "auroc")) for rate in RATES}
    return {rate: np.where(defined[rate], value.double().numpy(), np.nan) for rate, value in found.items()}


def _tensor(shown: Indicators) -> Any:
    import torch

    return torch.from_numpy(shown.astype(np.int64))
