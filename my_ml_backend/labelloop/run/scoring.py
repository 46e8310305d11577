"""The scores that a bundle gives to pictures, as an endpoint that serves it would."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.types import Output, Progress

NEEDED = ("model.onnx",)
"""What of a bundle is needed to score pictures."""

_AT_ONCE = 32

Rename = Callable[[str], str | None]
"""Gives the name that a class has today; None for one that there is no more."""


def scores_of(
    bundle: Path,
    pictures: Sequence[Path],
    classes: Sequence[str],
    version: str,
    progress: Progress,
    rename: Rename = str,
) -> npt.NDArray[np.float64]:
    """Predict every picture: float64 (pictures, classes), probabilities; a row of nan where there is no answer.

    The same engine serves predictions, so what is measured is what is served. A picture whose best class is none of
    ``classes`` has no answer either: a model may be older than the label config. Raises BundleError.
    """
    # Here, for onnxruntime's threads must not be started in processes that fork.
    from labelloop.serve.engines.onnx import OnnxEngine

    engine = OnnxEngine(bundle)
    columns = {name: classes.index(today) for name in engine.info.classes if (today := rename(name)) in classes}
    scores = np.full((len(pictures), len(classes)), np.nan)
    for start in range(0, len(pictures), _AT_ONCE):
        contents = [_content(path) for path in pictures[start : start + _AT_ONCE]]
        for row, output in enumerate(engine.predict(contents, version), start):
            if isinstance(output, Output) and output.label in columns:
                scores[row] = _aligned(output, columns, len(classes))
        progress(f"test pictures with {version}", min(start + _AT_ONCE, len(pictures)), len(pictures))
    return scores


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the engine answers for it with a failure, as for any file that is no picture


def _aligned(output: Output, columns: dict[str, int], count: int) -> npt.NDArray[np.float64]:
    row = np.zeros(count)
    for name, column in columns.items():
        row[column] = output.scores[name]
    return row
