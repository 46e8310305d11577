"""More evidence than the test side has: both versions trained anew without items that both learned from.

The items that are in the labels of both are dealt into folds. For each fold a model is trained of the champion's labels
and one of the challenger's, both without the fold, and both answer for it; it counts what the fold's items are labeled
today. Trained alike, they differ by their labels alone, and neither has an item that the other has not. How a model is
trained is the kind's matter.
"""

from dataclasses import dataclass

from labelloop.train.metrics import Indicators


@dataclass(frozen=True, eq=False)
class Refits:
    """What refits of champion and challenger give items that they have not seen: bool, (items, classes), as the truth.

    There is at least one item.
    """

    truth: Indicators
    champion: Indicators
    challenger: Indicators
