"""The engine of detectors: onnxruntime on the CPU, without torch. Suppression of overlapping boxes is in the graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelloop.errors import BundleError
from labelloop.kinds.object_detection.info import ONNX, DetectorInfo
from labelloop.pictures import upright_size
from labelloop.serve.engines.network import Array, PictureEngine
from labelloop.serve.engines.onnx import open_session
from labelloop.types import HALF, Answer, Box, Failure, Findings, Region

OUTPUTS = ("places", "corners", "scores")
"""Of what was found: picture and label, int64 (found, 2); left, top, right, bottom in shares of the picture's sides,
float32 (found, 4); how sure it is, calibrated, float32 (found,)."""


class DetectorEngine(PictureEngine):
    """Runs ``model.onnx``: one float32 input (pictures, 3, height, width), ``OUTPUTS`` out.

    ``predict`` gives the boxes that annotators are shown, ``measured`` all that were found.
    """

    def __init__(self, directory: Path, info: DetectorInfo) -> None:
        self.info, self.picture = info, info.picture
        self._session = open_session(directory / ONNX)
        self._input = self._session.get_inputs()[0].name
        self.answers(np.zeros((1, 3, info.picture.height, info.picture.width), dtype=np.float32), "")

    @property
    def measured(self) -> "Unsure":
        """What gives all that was found."""
        return Unsure(self)

    def predict(self, contents: Sequence[bytes], version: str) -> list[Answer | Failure]:
        """Answer for every encoded picture with the boxes that are sure enough; see Engine."""
        return [self._sure(answer) for answer in self.found(contents, version)]

    def found(self, contents: Sequence[bytes], version: str) -> list[Answer | Failure]:
        """Answer for every encoded picture with all boxes, the surest first."""
        answers = super().predict(contents, version)
        return [
            replace(answer, size=upright_size(content)) if isinstance(answer, Findings) else answer
            for answer, content in zip(answers, contents, strict=True)
        ]

    def answers(self, pictures: Array, version: str) -> list[Answer | Failure]:
        """Find boxes in prepared pictures; see PictureEngine."""
        try:
            places, corners, scores = self._session.run(OUTPUTS, {self._input: pictures})
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(f"{ONNX} cannot be run: {error}") from error
        found: list[list[Region]] = [[] for _ in pictures]
        order = np.argsort(-scores, kind="stable")
        for (picture, label), (left, top, right, bottom), score in zip(
            places[order].tolist(), corners[order].tolist(), scores[order].tolist(), strict=True
        ):
            if right > left and bottom > top:
                shape = Box(left, top, right - left, bottom - top)
                found[picture].append(Region(self._name(label), shape, min(max(score, 0.0), 1.0)))
        return [Findings(tuple(regions), version) for regions in found]

    def _name(self, label: int) -> str:
        if not 0 <= label < len(self.info.classes):
            raise BundleError(
                f"{ONNX} finds more labels than the {len(self.info.classes)} of model.json; export it anew"
            )
        return self.info.classes[label]

    def _sure(self, answer: Answer | Failure) -> Answer | Failure:
        """Give what annotators are shown; the whole is as sure as what is least sure, a box that is left out too."""
        if not isinstance(answer, Findings):
            return answer
        shown = tuple(one for one in answer.regions if is_sure(self.info, one))
        scored = [(one.score or 0.0, one in shown) for one in answer.regions]
        certain = min((score if sure else 1 - score for score, sure in scored), default=1.0)
        return replace(answer, regions=shown, score=certain)


@dataclass(frozen=True, slots=True)
class Unsure:
    """Gives all that an engine finds, however unsure."""

    engine: DetectorEngine

    def predict(self, contents: Sequence[bytes], version: str) -> list[Answer | Failure]:
        """Answer for every encoded picture; see Predictor."""
        return self.engine.found(contents, version)


def is_sure(info: DetectorInfo, region: Region) -> bool:
    """Whether annotators are shown a region: from its label's threshold on, a half where there is none."""
    return region.score is None or region.score >= info.thresholds.get(region.label, HALF)
