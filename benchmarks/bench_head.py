"""How long a ``head`` takes with a cold and with a warm cache, and how much memory at most, by number of pictures.

``python -m benchmarks.bench_head`` draws pictures of its own (64 x 64 PNG of ten classes) for resnet10t with random
weights at 64 pixels (512 features), 1,000 and 20,000 of them, to end in minutes. ``--images DIR`` (a folder per class)
with ``--backbone``, ``--weights`` and ``--image-size`` measures those pictures instead. Every training is a process of
its own: imports are not in its seconds, the peak of its memory is the whole process's, imports too. Where the machine
does other work beside, the seconds of all cores together say more than those on the clock.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.bench_train import per_class
from labelloop.train.dataset import Dataset, Sample
from labelloop.types import TrainSettings

_CLASSES = 10
_SIDE = 64


def run(counts: Sequence[int] = (1_000, 20_000)) -> dict[str, Any]:
    """Measure made pictures; one row per number of pictures and cache."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            work = Path(folder) / str(count)
            options = argparse.Namespace(
                images=draw(work / "pictures", count), backbone="resnet10t", weights="none", image_size=_SIDE
            )
            rows |= {f"{count} pictures, {cache}": row for cache, row in measure(options, work).items()}
    return rows


def draw(folder: Path, count: int) -> Path:
    """Draw pictures in a folder per class: noise about a colour and a stripe of the class."""
    random = np.random.default_rng(0)
    colours = random.integers(80, 176, (_CLASSES, 3))
    for number in range(count):
        target = number % _CLASSES
        pixels = random.normal(colours[target], 40, (_SIDE, _SIDE, 3))
        pixels[target * 6 : target * 6 + 4] += random.normal(0, 40)
        path = folder / str(target) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)
    return folder


def measure(options: argparse.Namespace, work: Path) -> dict[str, str]:
    """Train twice on the same cache, each time in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_head", "--child", "--work", str(work)]
    for name in ("images", "backbone", "weights", "image_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    rows = {}
    for cache in ("cold", "warm"):
        ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        rows[cache] = ended.stdout.splitlines()[-1]
    return rows


def child(options: argparse.Namespace) -> str:
    """Train once, here; nine in ten pictures are learned from, the others validate."""
    from labelloop.train.trainer import train

    before = _peak()
    classes, samples = per_class(options.images)
    order: list[Sample] = [samples[at] for at in np.random.default_rng(0).permutation(len(samples))]
    tenth = len(order) // 10
    settings = TrainSettings(
        backbone=options.backbone,
        weights=options.weights,
        image_size=options.image_size,
        recipes=("head",),
        epochs=1,
        batch_size=32,
        learning_rate=0.002,
        seed=0,
    )
    data = Dataset(classes, "single", tuple(order[tenth:]), tuple(order[:tenth]))
    begun, worked = time.monotonic(), time.process_time()
    trained = train(data, settings, options.work / "run", options.work / "cache", lambda _what, _done, _total: None)
    seconds, worked = time.monotonic() - begun, time.process_time() - worked
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in trained.seconds.items() if spent >= 0.1)
    memory = f"peak {_peak():.0f} MB, {before:.0f} of them imports"
    return f"{seconds:.1f} s ({stages}), {worked:.1f} s of all cores together; {memory}"


def _peak() -> float:
    """Read the most memory this process held, in MB; what getrusage tells begins with that of whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_head", description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 20_000], help="of pictures that are drawn")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(child(options))
        return
    if options.images:
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, Any] = measure(options, Path(folder))
    else:
        found = run(options.counts)
    for what, value in found.items():
        print(f"{what:<28} {value}")


if __name__ == "__main__":
    main()
