"""From a network's logits to outputs."""

import numpy as np
import numpy.typing as npt

from labelloop.types import Choice, Failure, Output

Floats = npt.NDArray[np.float64]


def softmax(logits: Floats) -> Floats:
    """Softmax over the last axis: (..., classes) in, positive numbers that sum to 1 out."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: Floats) -> Floats:
    """Logistic function, for each number by itself; never overflows."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def outputs(
    logits: npt.NDArray[np.float32], classes: tuple[str, ...], choice: Choice, version: str
) -> list[Output | Failure]:
    """One output for each row of ``logits`` (pictures, classes); a row that is not finite is a Failure."""
    with np.errstate(invalid="ignore"):
        scores = (softmax if choice == "single" else sigmoid)(logits.astype(np.float64))
    return [_output(row, classes, choice, version) for row in scores]


def _output(scores: Floats, classes: tuple[str, ...], choice: Choice, version: str) -> Output | Failure:
    if not np.isfinite(scores).all():
        return Failure("the model's scores for this picture are not finite")
    best = int(scores.argmax())
    values = scores.tolist()
    return Output(classes[best], values[best], dict(zip(classes, values, strict=True)), version, choice)
