"""The scores that a version gives to items, as an endpoint that serves it would."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from labelloop.serve.engines.base import Engine
from labelloop.types import Output, Progress

_AT_ONCE = 32

Rename = Callable[[str], str | None]
"""Gives the name that a class has today; None for one that there is no more."""


def scores_of(
    engine: Engine,
    contents: Iterable[bytes],
    count: int,
    classes: Sequence[str],
    version: str,
    progress: Progress,
    rename: Rename = str,
) -> npt.NDArray[np.float64]:
    """Predict ``count`` inputs: float64 (inputs, classes), probabilities; a row of nan where there is no answer.

    The same engine serves predictions, so what is measured is what is served. An input whose best class is none of
    ``classes`` has no answer either: a model may be older than the label config. Raises BundleError.
    """
    columns = {name: classes.index(today) for name in engine.info.classes if (today := rename(name)) in classes}
    scores, rest = np.full((count, len(classes)), np.nan), iter(contents)
    for start in range(0, count, _AT_ONCE):
        for row, output in enumerate(engine.predict(list(islice(rest, _AT_ONCE)), version), start):
            if isinstance(output, Output) and output.label in columns:
                scores[row] = _aligned(output, columns, len(classes))
        progress(f"test items with {version}", min(start + _AT_ONCE, count), count)
    return scores


def _aligned(output: Output, columns: dict[str, int], count: int) -> npt.NDArray[np.float64]:
    row = np.zeros(count)
    for name, column in columns.items():
        row[column] = output.scores[name]
    return row
