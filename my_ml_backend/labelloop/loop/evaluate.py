"""Champion and challenger on the same test items, each read as Label Studio would get it."""

from collections.abc import Sequence
from pathlib import Path

from labelloop.loop.gate import Labels
from labelloop.loop.predict import decode
from labelloop.loop.resolve import Unpredicted
from labelloop.serve.engines.onnx import OnnxEngine
from labelloop.studio.control import Control
from labelloop.studio.rendering import Rendering
from labelloop.types import Failure, Input, Output, Progress

_AT_ONCE = 32


def predicted_labels(
    bundle: Path, version: str, control: Control, pictures: Sequence[Path], report: Progress
) -> list[Labels]:
    """Predict every picture with a bundle: the sorted labels that Label Studio would be given; none where that fails.

    The same engine serves predictions, so what is measured is what is served.
    """
    engine = OnnxEngine(bundle)
    found: list[Labels] = []
    for at in range(0, len(pictures), _AT_ONCE):
        contents = [path.read_bytes() for path in pictures[at : at + _AT_ONCE]]
        found += [_labels(control, output) for output in engine.predict(contents, version)]
        report(f"test items with {version}", len(found), len(pictures))
    return found


def _labels(control: Control, output: Output | Failure) -> Labels:
    prediction = decode(control.config, Rendering(), Input(), output)
    if isinstance(prediction, Unpredicted):
        return ()
    return tuple(sorted(choice for region in prediction["result"] for choice in region["value"]["choices"]))
