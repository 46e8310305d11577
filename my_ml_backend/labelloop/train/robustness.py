"""How much of a version's accuracy is left when pictures are worse than those it learned from.

Pictures are corrupted after they were squeezed to the network's input size: at the original's size the same blur or
noise would mean little for a large photograph and much for a small one, and the squeezing would undo part of it. The
bundle's ONNX file predicts, as it does when it is served.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from labelloop import pictures
from labelloop.bundle_info import NetworkInfo, PictureSpec
from labelloop.files import cores
from labelloop.models.bundle import read_network_info
from labelloop.train import metrics
from labelloop.train.bundle import load_network, open_logits
from labelloop.train.corruptions import CORRUPTIONS, SEVERITIES, corruption
from labelloop.train.dataset import Sample, balanced, indicators
from labelloop.train.pixels import PixelCache
from labelloop.train.thresholds import least_scores
from labelloop.types import Choice, Json, Progress

Pixels = npt.NDArray[np.uint8]
Indicators = npt.NDArray[np.bool_]

_BATCH = 16


def directions(
    network: nn.Module, pixels: Pixels, truth: Indicators, choice: Choice, spec: PictureSpec
) -> npt.NDArray[np.int8]:
    """Tell for every colour value whether more (1) or less (-1) of it raises the loss: like ``pixels``.

    ``pixels`` is (n, height, width, 3), ``truth`` (n, classes). The network's input is the pixels scaled by a positive
    factor, so that the signs are the same for both. Fast gradient sign method (Goodfellow, Shlens and Szegedy 2015).
    """
    parts = [
        _signs(network, pixels[start : start + _BATCH], truth[start : start + _BATCH], choice, spec)
        for start in range(0, len(pixels), _BATCH)
    ]
    return np.concatenate(parts)


def shifted(pixels: Pixels, signs: npt.NDArray[np.int8], epsilon: int) -> Pixels:
    """Change every colour value by ``epsilon`` grey levels in the direction of ``signs``, within 0 to 255."""
    changed: Pixels = np.clip(pixels.astype(np.int16) + epsilon * signs.astype(np.int16), 0, 255).astype(np.uint8)
    return changed


def _signs(
    network: nn.Module, pixels: Pixels, truth: Indicators, choice: Choice, spec: PictureSpec
) -> npt.NDArray[np.int8]:
    images = torch.from_numpy(pictures.normalise(pixels, spec)).requires_grad_()
    logits, shown = network(images), torch.from_numpy(truth).float()
    if choice == "multiple":
        loss = functional.binary_cross_entropy_with_logits(logits, shown, reduction="sum")
    else:
        loss = functional.cross_entropy(logits, shown, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    signs: npt.NDArray[np.int8] = gradient.sign().permute(0, 2, 3, 1).to(torch.int8).numpy()
    return signs


MOST = 100
EPSILONS = (1, 2, 4, 8)

_MOST_THREADS = 8

Stack = npt.NDArray[np.uint8]


def robustness(
    bundle: Path,
    samples: Sequence[Sample],
    pixels: PixelCache,
    progress: Progress,
    seed: int = 0,
    most: int = MOST,
    epsilons: Sequence[int] = EPSILONS,
    network: nn.Module | None = None,
) -> Json:
    """Measure ``bundle`` on at most ``most`` of ``samples`` (readable ones), as many of each class as there are.

    Gives ``robustness.json`` (docs/evaluation.md). ``epsilons`` are FGSM's largest changes in grey levels of 255;
    ``network`` is the bundle's, where it is at hand. Raises ValueError without samples, BundleError, TrainingError.
    """
    few = balanced(samples, most, seed)
    if not few:
        raise ValueError("there are no pictures to measure robustness on")
    judge = _Judge.of(bundle, few, pixels)
    seeds = [int(sample.picture[:12], 16) + seed for sample in few]
    clean = judge.accuracy(judge.clean)
    table = _table(judge, seeds, progress)
    fgsm = _fgsm(judge, network or load_network(bundle), epsilons, progress) if epsilons else []
    return metrics.robustness_told(clean, len(few), table, fgsm)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Tells how many of the pictures a bundle still gets right. May be asked by several threads at once."""

    info: NetworkInfo
    logits: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    clean: Stack
    truth: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, bundle: Path, samples: Sequence[Sample], pixels: PixelCache) -> "_Judge":
        info = read_network_info(bundle)
        return cls(
            info,
            open_logits(bundle, info),
            pixels.many(samples),
            indicators(samples, len(info.classes)),
        )

    def accuracy(self, changed: Stack) -> float:
        """Share of pictures (n, height, width, 3) that get exactly the right classes."""
        logits = [self.logits(pictures.normalise(part, self.info.picture)) for part in _parts(changed)]
        scores = metrics.probabilities(np.concatenate(logits), self.info.choice)
        return metrics.accuracy(self.truth, metrics.given(scores, self.info.choice, least_scores(self.info)))


def _parts(pixels: Stack) -> Iterator[Stack]:
    return (pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH))


def _table(judge: _Judge, seeds: Sequence[int], progress: Progress) -> dict[str, list[float]]:
    """Measure every corruption at every severity, as many at a time as there are cores."""

    def measure(job: tuple[str, int]) -> float:
        change = corruption(*job)
        return judge.accuracy(np.stack([change(one, seed) for one, seed in zip(judge.clean, seeds, strict=True)]))

    jobs = [(name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    table: dict[str, list[float]] = {name: [] for name in CORRUPTIONS}
    with ThreadPoolExecutor(min(_MOST_THREADS, cores())) as threads:
        for done, (job, share) in enumerate(zip(jobs, threads.map(measure, jobs), strict=True)):
            table[job[0]].append(share)
            progress("robustness", done + 1, len(jobs))
    return table


def _fgsm(judge: _Judge, network: nn.Module, epsilons: Sequence[int], progress: Progress) -> list[Json]:
    progress("fgsm", 0, len(epsilons))
    signs = directions(network, judge.clean, judge.truth, judge.info.choice, judge.info.picture)
    found = []
    for done, epsilon in enumerate(epsilons):
        found.append({"epsilon": epsilon, "accuracy": judge.accuracy(shifted(judge.clean, signs, epsilon))})
        progress("fgsm", done + 1, len(epsilons))
    return found
