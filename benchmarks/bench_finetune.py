"""How fast a finetune is beside a bare PyTorch loop, what it waits for, and whether two ranks learn what one does.

``python -m benchmarks.bench_finetune`` draws its own pictures. The bare loop has the same network, batches, optimizer
and precision, its pictures as tensors in memory, normalised and unchanged, and it keeps no average; it runs an epoch
after each of the finetune's, so that both meet the same load. Two ranks are two processes on the CPU, which meet by
gloo; with GPUs, as many ranks as there are up to two.
"""

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench_head import draw
from benchmarks.bench_train import digits, per_class
from labelloop.train.dataset import Dataset, Sample
from labelloop.types import TrainSettings

if TYPE_CHECKING:
    from labelloop.train.recipes.base import Candidate, Material

_SMI = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200"]


def run(pictures: int = 640, backbone: str = "resnet18", image_size: int = 64, epochs: int = 4) -> dict[str, str]:
    """Measure the speed on made pictures, and one rank against two on digits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        classes, samples = per_class(draw(folder / "pictures", pictures))
        settings = TrainSettings(
            backbone=backbone,
            weights="none",
            image_size=image_size,
            recipes=("finetune",),
            epochs=epochs,
            batch_size=32,
            learning_rate=0.001,
            seed=0,
        )
        rows = speed(Dataset(classes, "single", tuple(samples), ()), settings, folder / "cache")
        return rows | ranks(folder)


def speed(dataset: Dataset, settings: TrainSettings, cache: Path) -> dict[str, str]:
    """Run an epoch of the bare loop after each epoch of the finetune; the first of each is for warming up."""
    from labelloop.train.recipes import finetune
    from labelloop.train.recipes.finetune_plan import on_gpu, plan

    given = material(dataset, settings, cache)
    planned, bare, spent = plan(given), _Bare(given), []

    def watch(_recipe: str, _epoch: Mapping[str, float]) -> bool:
        spent.append(bare.epoch())
        return False

    with _utilisation() as busy:
        found = finetune.fit(replace(given, watch=watch), None)
    seconds, bare_seconds = sum(epoch["seconds"] for epoch in found.curve[1:]), sum(spent[1:])
    learned = planned.batch * planned.steps * len(spent[1:])
    waiting = np.mean([epoch["waiting"] for epoch in found.curve[1:]])
    rows = {
        "finetune": f"{learned / seconds:.0f} pictures/s",
        "bare loop, tensors in memory": f"{learned / bare_seconds:.0f} pictures/s",
        "finetune, of the bare loop's": f"{bare_seconds / seconds:.1%}",
        "time between steps, mostly waiting for pictures": f"{waiting:.1%}",
        "peak memory of both": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
    }
    return rows | ({"GPU busy, of all that time": f"{np.mean(busy):.0f} %"} if on_gpu() and busy else {})


def material(dataset: Dataset, settings: TrainSettings, cache: Path) -> "Material":
    """Make all that a recipe needs."""
    import torch

    from labelloop.train.backbone import build, picture_spec
    from labelloop.train.dataset import in_order
    from labelloop.train.pixels import PixelCache
    from labelloop.train.recipes.base import Material

    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    start = build(settings, len(dataset.classes))
    pixels = PixelCache(picture_spec(start, settings.image_size), cache)
    return Material(in_order(dataset), settings, start, pixels, cache, lambda *_: None)


class _Bare:
    """What one writes by hand: tensors in memory, forward, backward, step."""

    def __init__(self, given: "Material") -> None:
        import torch

        from labelloop import pictures
        from labelloop.train.dataset import indicators
        from labelloop.train.optimizers import make_optimizer, rest
        from labelloop.train.recipes.finetune_plan import on_gpu, plan

        self._device, self._plan = torch.device("cuda" if on_gpu() else "cpu"), plan(given)
        layout: Any = {"device": self._device, "memory_format": torch.channels_last}
        self._model = given.network().to(**layout).train()
        rest(self._model, self._plan.resting)
        samples = given.dataset.train
        images = torch.from_numpy(pictures.normalise(given.pixels.many(samples), given.pixels.spec))
        self._images = images.to(**layout)
        self._truth = torch.from_numpy(indicators(samples, len(given.dataset.classes)).argmax(axis=1)).to(self._device)
        rate = self._plan.learning_rate
        self._optimizer = make_optimizer(self._model, given.settings.optimizer, rate, self._plan.layer_decay)

    def epoch(self) -> float:
        """Take an epoch's steps; give the seconds."""
        import torch

        begun = time.perf_counter()
        for _ in range(self._plan.steps):
            chosen = torch.randint(len(self._images), (self._plan.batch,), device=self._device)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                logits = self._model(self._images[chosen])
            loss = torch.nn.functional.cross_entropy(logits.float(), self._truth[chosen], label_smoothing=0.1)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun


def ranks(folder: Path, epochs: int = 10, most: int = 2) -> dict[str, str]:
    """Learn 200 digits on one rank and on several, with the same batches; accuracy on 1,000 others."""
    import torch

    from labelloop.train.recipes import finetune
    from labelloop.train.recipes.finetune_plan import on_gpu

    order = np.random.default_rng(0).permutation(1797)
    samples = digits(folder)
    shown, unseen = ([samples[at] for at in part] for part in (order[:200], order[200:1200]))
    settings = TrainSettings(
        backbone="test_resnet",
        weights="none",
        image_size=32,
        recipes=("finetune",),
        epochs=epochs,
        batch_size=32,
        learning_rate=0.002,
        seed=0,
    )
    data = Dataset(tuple("0123456789"), "single", tuple(shown), ())
    rows = {}
    for count in range(1, 1 + (most if not on_gpu() else min(most, torch.cuda.device_count()))):
        given = material(data, settings, folder / "cache")
        found = finetune.fit(given, None, ranks=count)
        faster = np.mean([epoch["pictures_per_second"] for epoch in found.curve[1:]])
        rows[f"digits, {count} rank{'s' * (count > 1)}"] = (
            f"accuracy {accuracy(found, given, unseen):.3f}, {faster:.0f} pictures/s"
        )
    return rows


def accuracy(found: "Candidate", given: "Material", samples: list[Sample]) -> float:
    import torch

    from labelloop import pictures

    images = pictures.normalise(given.pixels.many(samples), given.pixels.spec)
    with torch.inference_mode():
        best = found.model(torch.from_numpy(images)).argmax(dim=1).numpy()
    return float(np.mean(best == [sample.targets[0] for sample in samples]))


@contextmanager
def _utilisation() -> Iterator[list[float]]:
    """Note how busy the GPU is, in percent, five times a second; nothing without one."""
    from labelloop.train.recipes.finetune_plan import on_gpu

    noted: list[float] = []
    if not on_gpu():
        yield noted
        return
    with subprocess.Popen(_SMI, stdout=subprocess.PIPE, text=True) as watcher:
        yield noted
        watcher.terminate()
        noted += [float(line) for line in (watcher.stdout or ()) if line.strip().isdigit()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_finetune", description=__doc__)
    parser.add_argument("--pictures", type=int, default=640)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    for what, value in run(options.pictures, options.backbone, options.image_size, options.epochs).items():
        print(f"{what:<50} {value}")


if __name__ == "__main__":
    main()
