"""How many events of S3 a second go from the queue into the loop, and that ten thousand of them are one run.

The queue is a stand-in for SQS that answers at once, in a process of its own (``benchmarks.many_events``): what it
needs of the processor is shown, and subtracted. Redis is real, Label Studio a stand-in that is asked for its storages.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

ANNOTATIONS = 10_000


def run() -> dict[str, Any]:
    """Measure it."""
    from labelloop.loop.redis_server import RedisServer

    with tempfile.TemporaryDirectory() as folder, _stand_in() as (pid, environment):
        redis = RedisServer(Path(folder) / "redis")
        redis.start()
        try:
            command = [sys.executable, "-m", "benchmarks.bench_events", folder, redis.url, str(pid)]
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
            )
        finally:
            redis.stop()
    found = json.loads(done.stdout.splitlines()[-1])
    own = found["seconds"] - found["theirs"]
    return {
        f"events ({ANNOTATIONS:,} annotations, each tenth of them twice)": found["events"],
        "s, and of these the stand-in's": f"{found['seconds']:.1f}, {found['theirs']:.1f}",
        "events/s, and without the stand-in's time": f"{found['events'] / found['seconds']:.0f}, "
        f"{found['events'] / own:.0f}",
        "annotations lost: none": _kept(found["changed"] == ANNOTATIONS and not found["left"]),
        "runs: one": f"{found['runs']} {_kept(found['runs'] == 1)}",
        "CPU cores": os.cpu_count(),
    }


def _kept(well: bool) -> str:
    return "kept" if well else "MISSED"


@contextmanager
def _stand_in() -> Iterator[tuple[int, dict[str, str]]]:
    command = [sys.executable, "-m", "benchmarks.many_events", str(ANNOTATIONS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.pid, json.loads(child.stdout.readline())
        finally:
            child.kill()


def _read(folder: str, redis: str, stand_in: int) -> None:
    """Read the queue and look at the policy, in this process; prints what came of it."""
    import psutil

    from labelloop.loop.cloud_events import read_events
    from labelloop.loop.consider import consider
    from labelloop.loop.process import open_hub
    from labelloop.loop.project_registry import confirmed_project, remember_project
    from labelloop.loop.queue import LONG, queue
    from labelloop.loop.state import Seen
    from labelloop.settings import Settings
    from support.aws.queue import QUEUE
    from support.studio_api import running_studio

    with running_studio() as studio:
        studio.store_in("labels/cats")
        settings = Settings(
            model_dir=folder,
            redis_url=redis,
            label_studio_url=studio.url,
            label_studio_api_key="legacy",
            endpoint="fake://?classes=cat,dog",
            events=QUEUE,
        )
        hub = open_hub(settings)
        project = confirmed_project(hub, 7)[0]
        remember_project(hub, project, None)
        hub.state(project).see(Seen(scanned=time.time() - 3600))
        hub.inbox  # noqa: B018 - what a worker has opened before
        other = psutil.Process(stand_in)
        before, began = sum(other.cpu_times()[:2]), time.perf_counter()
        events = 0
        while (told := read_events(hub)) != "none":
            events += int(told.removesuffix(" of labels"))
            consider(hub, project)
        seconds, theirs = time.perf_counter() - began, sum(other.cpu_times()[:2]) - before
        consider(hub, project)
        found = {
            "events": events,
            "seconds": seconds,
            "theirs": theirs,
            "changed": hub.state(project).changes.pending().changed,
            "left": len(hub.inbox.take(10)) if hub.inbox else 0,
            "runs": len(queue(hub.redis, LONG).get_jobs()),
        }
        hub.redis.close()
    print(json.dumps(found))


if __name__ == "__main__":
    _read(sys.argv[1], sys.argv[2], int(sys.argv[3]))
