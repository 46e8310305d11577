"""How long a ``head`` takes with a cold and with a warm cache, and how much memory at most, by number of pictures.

``python -m benchmarks.bench_head`` draws pictures of its own (64 x 64 PNG of ten classes) for resnet10t with random
weights at 64 pixels (512 features), 1,000 and 20,000 of them, to end in minutes. ``--images DIR`` (a folder per class)
with ``--backbone``, ``--weights`` and ``--image-size`` measures those pictures instead. Every training is a process of
its own: imports are not in its seconds, the peak of its memory is the whole process's, imports too. Where the machine
does other work beside, the seconds of all cores together say more than those on the clock.

The last row is what the next version costs when the features of its 1,000 items are at hand: CPU seconds of the stages
train, evaluate and register (which judges it) against a champion of 900 of them, with 95 test items, so that the gate
trains heads anew. Its goal is 1 s. ``--stages`` measures that alone.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.bench_train import digits, per_class
from labelloop.train.dataset import Dataset, Sample
from labelloop.types import TrainSettings

if TYPE_CHECKING:
    from labelloop.run.context import Labeled
    from labelloop.run.source import Source

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
        rows |= next_version(Path(folder))
    return rows


def next_version(folder: Path, options: argparse.Namespace | None = None) -> dict[str, str]:
    """Measure the stages on pictures of a folder per class; by default scikit-learn's digits, by the fixed features."""
    if options is None:
        for sample in digits(_made(folder / "digits")):
            sample.path.rename(_made(folder / "digits" / str(sample.targets[0])) / sample.path.name)
        options = argparse.Namespace(images=folder / "digits", backbone="resnet18", weights="none", image_size=_SIDE)
    return {f"the next version of {_ITEMS} items": _elsewhere("stages-here", options, folder / "stages")}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
    return {cache: _elsewhere("child", options, work) for cache in ("cold", "warm")}


def _elsewhere(what: str, options: argparse.Namespace, work: Path) -> str:
    """Let a process of its own say the last line."""
    command = [sys.executable, "-m", "benchmarks.bench_head", f"--{what}", "--work", str(work)]
    for name in ("images", "backbone", "weights", "image_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return ended.stdout.splitlines()[-1]


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


_ITEMS, _TESTED, _CHAMPIONS = 1_000, 95, 900
"""Items of the next version, the test items among them, and how many the champion has."""

_GOAL = 1.0
"""CPU seconds."""


def stages(options: argparse.Namespace) -> str:
    """Make two versions of pictures here, and a third whose stages are measured: all is imported by then."""
    from labelloop.data.manifest import Manifest
    from labelloop.data.picture_cache import PictureCache
    from labelloop.kinds.base import find
    from labelloop.models.champion import ChampionPointer
    from labelloop.models.features import Features, feature_folder
    from labelloop.models.file_store import FileStore
    from labelloop.run.context import Labeled
    from labelloop.run.driver import Run
    from labelloop.run.folder import RunFolder
    from labelloop.run.registrar import Registrar
    from labelloop.settings import Settings
    from labelloop.types import IMAGES, Item, ProjectKey, side

    settings = Settings(
        model_dir=str(options.work),
        backbone=options.backbone,
        weights=options.weights,
        image_size=options.image_size,
        recipes=("head",),
    )
    project, store = ProjectKey("benchmark", 1), FileStore(options.work / "store")
    classes, samples = per_class(options.images)
    pictures = PictureCache(settings.directory / "cache" / "pictures")
    items: dict[bool, list[Item]] = {True: [], False: []}
    for task, at in enumerate(np.random.default_rng(0).permutation(len(samples)), 1):
        one = samples[at]
        content = pictures.add(one.path.read_bytes())
        items[side(content) == "test"].append(Item(task, content, tuple(classes[at] for at in one.targets)))
    held = items[True][:_TESTED] + items[False][: _ITEMS - _TESTED]
    taker = find(IMAGES).taker(settings)
    features = Features(store, project, taker.backbone, taker.width, feature_folder(settings))
    contents = [pictures.path(item.content).read_bytes() for item in held]
    for mirrored in (False, True):
        features.keep([item.content for item in held], taker.take(contents, mirrored=mirrored)[0], mirrored=mirrored)
    spent: dict[str, float] = {}
    for number, count in enumerate((_CHAMPIONS - 50, _CHAMPIONS, _ITEMS)):
        labeled = Labeled(Manifest.of(project, "single", classes, held[:count]))
        registrar = Registrar(store, project, ChampionPointer(store, project).take_fence())
        folder = RunFolder(options.work / f"run{number}")
        run = Run(folder, settings, {}, _Quiet(), _source(labeled), registrar, f"run{number}", False)
        gc.freeze()  # as a worker does when it has imported all: what torch holds is not looked through again
        with run.alone():
            for stage in ("fetch", "preprocess", "train", "evaluate", "register"):
                worked = time.process_time()
                run.make(stage)
                spent[stage] = time.process_time() - worked
    whole = sum(spent[stage] for stage in ("train", "evaluate", "register"))
    told = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in spent.items())
    return f"{whole:.2f} s of CPU, goal {_GOAL:g} {'kept' if whole <= _GOAL else 'MISSED'} ({told})"


def _source(labeled: "Labeled") -> "Source":
    return lambda _: labeled


class _Quiet:
    def stage(self, name: str) -> None:
        """Say nothing."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say nothing."""


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
    parser.add_argument("--stages", action="store_true", help="measure the stages of the next version alone")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--stages-here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child or options.stages_here:
        print(child(options) if options.child else stages(options))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.stages:
            found: dict[str, Any] = next_version(folder, options if options.images else None)
        elif options.images:
            found = measure(options, folder)
        else:
            found = run(options.counts)
    for what, value in found.items():
        print(f"{what:<28} {value}")


if __name__ == "__main__":
    main()
