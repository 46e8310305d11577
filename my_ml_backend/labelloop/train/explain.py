"""Why a version answered as it did: what it looked at in pictures it got right, got wrong and was least sure of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from labelloop import pictures
from labelloop.train.attributions import STEPS, Heat, grad_cam, integrated_gradients
from labelloop.train.dataset import Sample, indicators
from labelloop.train.evaluation import chosen
from labelloop.train.load import load_network, read_info
from labelloop.train.overlay import write_overlay
from labelloop.train.pixels import Pixels
from labelloop.types import Choice, Json, NetworkInfo, Progress

Matrix = npt.NDArray[np.float64]

FEW = 3


@dataclass(frozen=True, slots=True)
class _Case:
    """One sample to explain: why it was chosen, and the class (index) whose logit is explained: its best."""

    at: int
    why: str
    best: int


def explain(
    bundle: Path,
    samples: Sequence[Sample],
    scores: Matrix,
    pixels: Pixels,
    folder: Path,
    progress: Progress,
    few: int = FEW,
    steps: int = STEPS,
    network: nn.Module | None = None,
) -> list[Json]:
    """Explain at most ``few`` samples each that were right, wrong and least certain; write PNGs into ``folder``.

    ``scores`` (samples, classes) are the bundle's probabilities; ``steps`` is how many gradients are integrated,
    ``network`` the bundle's, where it is at hand. Gives ``explanations.json`` (docs/evaluation.md); ``grad_cam`` is
    None for networks without a last feature map. Raises BundleError, TrainingError, MediaError.
    """
    info = read_info(bundle)
    cases = _cases(indicators(samples, len(info.classes)), scores, info.choice, few)
    if not cases:
        return []
    explainer = _Explainer(info, network or load_network(bundle), pixels, folder, steps)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for done, case in enumerate(cases):
        entries.append(explainer.entry(samples[case.at], case, float(scores[case.at, case.best])))
        progress("explanations", done + 1, len(cases))
    return entries


@dataclass(frozen=True, slots=True)
class _Explainer:
    """Explains one sample at a time."""

    info: NetworkInfo
    network: nn.Module
    pixels: Pixels
    folder: Path
    steps: int

    def entry(self, sample: Sample, case: _Case, score: float) -> Json:
        """Write a sample's pictures and give its entry."""
        shown = self.pixels.one(sample)
        image = torch.from_numpy(pictures.normalise(shown[None], self.info.picture))
        target = torch.tensor([case.best])
        cam = grad_cam(self.network, image, target)
        gradients = integrated_gradients(self.network, image, target, self.steps)
        return {
            "picture": sample.picture,
            "kind": case.why,
            "truth": [self.info.classes[one] for one in sample.targets],
            "predicted": self.info.classes[case.best],
            "score": round(score, 6),
            "grad_cam": None if cam is None else self._write(shown, cam, f"{sample.picture[:16]}-grad-cam.png"),
            "integrated_gradients": self._write(shown, gradients, f"{sample.picture[:16]}-gradients.png"),
        }

    def _write(self, shown: npt.NDArray[np.uint8], heat: Heat, name: str) -> str:
        write_overlay(shown, np.abs(heat[0]), self.folder / name)
        return name


def _cases(truth: npt.NDArray[np.bool_], scores: Matrix, choice: Choice, few: int) -> list[_Case]:
    """Choose the most certain of the right and of the wrong, and the least certain of the rest, of several classes."""
    answered: npt.NDArray[np.bool_] = np.asarray(scores.any(axis=1))
    right = (truth == chosen(scores, choice)).all(axis=1)
    certain = _certainty(scores, choice)
    found: dict[int, str] = {}
    for why, eligible, order in (
        ("right", answered & right, -certain),
        ("wrong", answered & ~right, -certain),
        ("least certain", answered, certain),
    ):
        ranked = [int(at) for at in np.argsort(order, kind="stable") if eligible[at] and int(at) not in found]
        found |= dict.fromkeys(_by_turns(ranked, scores.argmax(axis=1))[:few], why)
    return [_Case(at, why, int(scores[at].argmax())) for at, why in found.items()]


def _by_turns(ranked: Sequence[int], best: npt.NDArray[np.int64]) -> list[int]:
    """Put the first of each class before the second of any: three pictures of one class tell less."""
    turns: dict[int, int] = {}
    placed = []
    for at in ranked:
        turns[int(best[at])] = turn = turns.get(int(best[at]), 0) + 1
        placed.append((turn, at))
    return [at for _, at in sorted(placed, key=lambda entry: entry[0])]


def _certainty(scores: Matrix, choice: Choice) -> Matrix:
    """How far the answer is from another one: the lead over the second class, or over the threshold: (samples,)."""
    if choice == "multiple" or scores.shape[1] < 2:
        nearest: Matrix = np.abs(scores - 0.5).min(axis=1)
        return nearest
    second, first = np.sort(scores, axis=1)[:, -2:].T
    lead: Matrix = first - second
    return lead
