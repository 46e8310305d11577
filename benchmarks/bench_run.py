"""One run, made by the loop and by ``labelloop train``: which files of ``run/`` and ``kinds/`` each enters.

It counts what is made more than once, too.

The loop's has its labels from a stand-in for Label Studio, the command's from the manifest that the loop's has left;
from there on the two enter the same files in the same order. Sixty pictures of digits, ``test_resnet``, two epochs of a
finetune and its report.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.trace import Trace, side_by_side, tracing

if TYPE_CHECKING:
    from labelloop.loop.hub import Hub
    from labelloop.models.runs import RunRecord
    from labelloop.settings import Settings
    from support.studio_api import StudioApi

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

_PICTURES = 60
_OWN = ("run/source.py", "run/source.py", "run/source.py", "run/search/defaults.py")
"""Where the command's labels and sides come from, and what a search found best for the loop's project."""


def run() -> dict[str, Any]:
    """Make both runs; the second one under another store, so that it is made whole."""
    with tempfile.TemporaryDirectory() as folder:
        loop, command, made = _runs(Path(folder))
    entered = [[path for path in trace.files if not path.startswith(_PREFIXES)] for trace in (loop, command)]
    kept = "kept" if _are_one_way(*entered) else "MISSED"
    figures: dict[str, Any] = {
        "files of run/ and kinds/: one order from prepare on": f"{len(entered[0])} and {len(entered[1])} {kept}"
    }
    figures |= {f"{what}, in a run of the loop, {_PICTURES} pictures": count for what, count in sorted(made.items())}
    return figures | {f"{at:03}": line for at, line in enumerate(side_by_side((("loop", loop), ("train", command))))}


_PREFIXES = tuple(f"labelloop/{one}" for one in _OWN)
_FIRST = "labelloop/run/preprocess.py"


def _are_one_way(loop: list[str], command: list[str]) -> bool:
    stages = [way[way.index(_FIRST) :] for way in (loop, command)]
    both = set(stages[0]) & set(stages[1])
    first, second = ([path for path in stage if path in both] for stage in stages)
    return set(loop) == set(command) and first == second


def _runs(folder: Path) -> tuple[Trace, Trace, Counter[str]]:
    from labelloop.loop.process import open_hub
    from labelloop.loop.redis_server import RedisServer
    from labelloop.settings import Settings
    from support.studio_api import running_studio

    redis = RedisServer(folder / "redis")
    redis.start()
    try:
        with running_studio() as studio:
            _annotate_digits(studio, folder / "digits")
            settings = Settings(
                model_dir=str(folder / "model"),
                redis_url=redis.url,
                label_studio_url=studio.url,
                label_studio_api_key="legacy",
                endpoint="fake://?classes=cat,dog",
                min_labels=4,
                backbone="test_resnet",
                weights="none",
                image_size=32,
                epochs=2,
                recipes=("finetune",),
            )
            hub = open_hub(settings)
            record, loop, made = _by_the_loop(hub)
            command = _by_hand(replace(settings, store=(folder / "other").as_uri()), settings, record, folder / "run")
            hub.redis.close()
    finally:
        redis.stop()
    return loop, command, made


def _annotate_digits(studio: "StudioApi", folder: Path) -> None:
    from support.digit_pictures import write_digits

    write_digits(folder, range(_PICTURES), classes=2)
    studio.add_tasks(_PICTURES)
    studio.connect("v0")
    for task, path in zip(studio.tasks, sorted(folder.glob("*/*.png")), strict=True):
        studio.pictures[studio.tasks[task]["data"]["image"]] = path.read_bytes()
        studio.annotate(task, "cat" if path.parent.name == "0" else "dog")


def _by_the_loop(hub: "Hub") -> "tuple[RunRecord, Trace, Counter[str]]":
    from labelloop.loop.lease import Lease, ProgressReporter
    from labelloop.loop.retrain import retrain

    project = hub.project(7)
    with Lease(hub, project) as lease, counting() as made, tracing(_of_run) as trace:
        record = retrain(hub, project, "bench", ProgressReporter(hub, project, lease))
    return record, trace, made


def _by_hand(settings: "Settings", of_the_loop: "Settings", record: "RunRecord", folder: Path) -> Trace:
    """Make the run whose manifest the loop has left; raises RuntimeError where it is another one."""
    from labelloop.cli.terminal import Bar
    from labelloop.run.driver import Run
    from labelloop.run.folder import STAGES, RunFolder

    kept = f"{of_the_loop.store_address}/{record.project}/manifests/{record.manifest}.jsonl"
    given = {"train_location": kept, "format": "labelloop", "project_key": record.project}
    with Bar(False) as quiet, tracing(_of_run) as trace:
        run = Run(RunFolder(folder), settings, given, quiet)
        with run.alone():
            for stage in STAGES:
                run.make(stage)
    if run.key != record.key:
        raise RuntimeError(f"the command's run is {run.key}, the loop's {record.key}")
    return trace


def _of_run(path: str) -> bool:
    """Whether it is a run's code; the report's templates are compiled once per process, for whoever comes first."""
    return path.startswith(("labelloop/run/", "labelloop/kinds/")) and path.endswith(".py")


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count networks made, manifests read, pictures decoded, and pixels read from their cache."""
    import timm
    from PIL import Image

    from labelloop.data.manifest import Manifest
    from labelloop.train import pixels

    found: Counter[str] = Counter()

    def counted(what: str, usual: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            found[what] += 1
            return usual(*given, **named)

        return call

    places: list[tuple[Any, str, str]] = [
        (timm, "create_model", "networks made"),
        (Manifest, "from_jsonl", "manifests read"),
        (Image, "open", "pictures opened"),
        (pixels, "load_array", "pixels of a picture read"),
    ]
    held = [getattr(owner, name) for owner, name, _ in places]
    for owner, name, what in places:
        setattr(owner, name, counted(what, getattr(owner, name)))
    try:
        yield found
    finally:
        for (owner, name, _), usual in zip(places, held, strict=True):
            setattr(owner, name, usual)
