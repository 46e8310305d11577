"""What a trial is worth, as one number to be made as large as possible."""

import math


def score(accuracy: float, log_loss: float | None, pictures: int) -> float:
    """Order by accuracy on the validation side, and where that is equal by log-loss (nats).

    On n pictures two accuracies differ by 1/n at least, and what log-loss takes away is below 1/n: the accuracy always
    decides first. A log-loss that is None or not finite counts as the worst.
    """
    if log_loss is None or not math.isfinite(log_loss):
        return accuracy - 1 / pictures
    return accuracy - log_loss / (1 + log_loss) / pictures
