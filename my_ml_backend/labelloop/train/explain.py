"""Why a version answered as it did: what it looked at (Grad-CAM, integrated gradients), right or wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from labelloop import pictures
from labelloop.bundle_info import NetworkInfo
from labelloop.models.bundle import read_network_info
from labelloop.train.augmentations.engine import opencv
from labelloop.train.bundle import load_network
from labelloop.train.dataset import Sample, indicators
from labelloop.train.evaluation import answers_of
from labelloop.train.frozen import Flipped
from labelloop.train.pixels import PixelCache
from labelloop.train.thresholds import least_scores
from labelloop.types import HALF, Choice, Json, Progress

Pixels = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]

_SIDE = 224  # pixels, of each half
_GAP = 4
_BRIGHTEST = 99.0  # percentile of the heat that is drawn brightest: single pixels stick out
_SOFT = 0.012  # of the picture's side: single pixels can hardly be seen


def write_overlay(pixels: Pixels, heat: Heat, path: Path) -> None:
    """Write the picture (height, width, 3) and, to its right, the same under ``heat`` (height, width), 0 and more."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width * _SIDE / max(height, width))), max(1, round(height * _SIDE / max(height, width))))
    sheet = Image.new("RGB", (2 * size[0] + _GAP, size[1]), "white")
    sheet.paste(_enlarged(pixels, size), (0, 0))
    sheet.paste(_enlarged(_under(pixels, heat), size), (size[0] + _GAP, 0))
    sheet.save(path)


def _under(pixels: Pixels, heat: Heat) -> Pixels:
    """Draw the picture in grey and, the hotter, the more in colour."""
    cv2 = opencv()
    soft = cv2.GaussianBlur(heat, (0, 0), max(0.5, _SOFT * max(heat.shape)))
    most = float(np.percentile(soft, _BRIGHTEST)) or float(soft.max())
    share = np.clip(soft / most, 0, 1) if most > 0 else np.zeros_like(soft)
    colours = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    opaque = 0.35 + 0.45 * share[..., None]
    mixed: Pixels = np.round(grey * (1 - opaque) + colours * opaque).astype(np.uint8)
    return mixed


def _enlarged(pixels: Pixels, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


STEPS = 24
_BATCH = 16
_PLACES = 3


def grad_cam(network: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> Heat | None:
    """Weigh the last feature map by its gradients (Selvaraju et al. 2017): (n, height, width), 0 and more.

    ``images`` is (n, 3, height, width), normalised; ``targets`` (n,) says which class's logit is explained. None for a
    network whose last features are no map of the picture (ViT, Swin).
    """
    if isinstance(network, Flipped):
        straight = grad_cam(network.network, images, targets)
        mirrored = grad_cam(network.network, images.flip(-1), targets)
        return None if straight is None or mirrored is None else _mean(straight, mirrored[..., ::-1])
    layer = last_map(network, images[:1])
    if layer is None:
        return None
    from captum.attr import LayerGradCam

    found = LayerGradCam(network, layer).attribute(images, target=targets, relu_attributions=True).detach()
    heat: Heat = functional.interpolate(found, images.shape[-2:], mode="bilinear")[:, 0].numpy()
    return heat


def integrated_gradients(network: nn.Module, images: torch.Tensor, targets: torch.Tensor, steps: int = STEPS) -> Heat:
    """Sum the gradients on the way from the mean colour to the picture (Sundararajan, Taly and Yan 2017).

    Arguments as with ``grad_cam``; gives each pixel's part in the logit, over its colours: (n, height, width).
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(network)
    parts = [
        method.attribute(images[at : at + 1], target=targets[at : at + 1], n_steps=steps, internal_batch_size=_BATCH)
        for at in range(len(images))
    ]
    heat: Heat = torch.cat(parts).sum(dim=1).detach().float().numpy()
    return heat


def _mean(one: Heat, other: Heat) -> Heat:
    mean: Heat = (one + other) / np.float32(2)
    return mean


def last_map(network: nn.Module, image: torch.Tensor) -> nn.Module | None:
    """Find the layer whose output is the last map of the picture, (1, features, height, width), with room to point at.

    It is the features themselves or, where the picture is small and they are of fewer than 3 x 3 places, those of a
    stage before. None where the features are no map.
    """
    features, outputs = _forward(network, image)
    if features.ndim != 4 or features.shape[1] != network.num_features:
        return None
    if min(features.shape[2:]) >= _PLACES:
        same = [layer for layer, output in outputs if output.shape == features.shape and torch.equal(output, features)]
        return same[-1] if same else None
    stages = {network.get_submodule(stage["module"]) for stage in getattr(network, "feature_info", ())}
    large = [layer for layer, output in outputs if layer in stages and min(output.shape[2:]) >= _PLACES]
    return large[-1] if large else None


def _forward(network: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, list[tuple[nn.Module, torch.Tensor]]]:
    """Give the features of one picture, and what each layer gave on the way there, in the order they ended."""
    outputs: list[tuple[nn.Module, torch.Tensor]] = []

    def note(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs.append((layer, output))

    handles = [layer.register_forward_hook(note) for layer in network.modules() if layer is not network]
    try:
        with torch.no_grad():
            return network.forward_features(image), outputs  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()


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
    pixels: PixelCache,
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
    info = read_network_info(bundle)
    cases = _cases(indicators(samples, len(info.classes)), scores, info.choice, few, least_scores(info))
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
    pixels: PixelCache
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


def _cases(
    truth: npt.NDArray[np.bool_], scores: Matrix, choice: Choice, few: int, thresholds: Matrix | None = None
) -> list[_Case]:
    """Choose the most certain of the right and of the wrong, and the least certain of the rest, of several classes."""
    answered: npt.NDArray[np.bool_] = np.asarray(scores.any(axis=1))
    right = (truth == answers_of(scores, choice, thresholds)).all(axis=1)
    certain = _certainty(scores, choice, thresholds)
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


def _certainty(scores: Matrix, choice: Choice, thresholds: Matrix | None) -> Matrix:
    """How far the answer is from another one: the lead over the second class, or over the threshold: (samples,)."""
    if choice == "multiple" or scores.shape[1] < 2:
        nearest: Matrix = np.abs(scores - (HALF if thresholds is None else thresholds)).min(axis=1)
        return nearest
    second, first = np.sort(scores, axis=1)[:, -2:].T
    lead: Matrix = first - second
    return lead
