"""The faults: what each does to a machine, and which of two ways LabelLoop runs there."""

import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from chaos import clock, elsewhere, s3
from chaos.ground import cannot_mount
from chaos.machine import House
from chaos.scene import Scene
from labelloop.errors import QueueError
from labelloop.loop.lease import LEASE_SECONDS
from labelloop.loop.redis_client import as_text, key_of

ONE = House("one")
APART = House("apart", apart=True)

_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Fault:
    """``do`` is called at a random moment, and comes back when it is over; ``often`` of 100.

    ``early`` has it done before the first run can begin, ``second`` says whether it may come in the second run, too.
    ``cannot`` says why it cannot be tried on this machine.
    """

    name: str
    about: str
    do: Callable[[Scene], None]
    often: int
    house: House = ONE
    early: bool = False
    second: bool = True
    cannot: Callable[[], str] = lambda: ""


def _worker(scene: Scene) -> None:
    scene.kill([scene.one("worker")])


def _child(scene: Scene) -> None:
    scene.kill([scene.job()[0]])


def _both(scene: Scene) -> None:
    child, worker = scene.job()
    scene.kill([child, worker])


def _redis(scene: Scene) -> None:
    scene.kill([scene.one("redis")])


def _web(scene: Scene) -> None:
    scene.kill(_of_gunicorn(scene, "web"))


def _inference(scene: Scene) -> None:
    scene.kill(_of_gunicorn(scene, "inference"))


def _of_gunicorn(scene: Scene, name: str) -> list[psutil.Process]:
    """Choose the parent, or one of the processes that answer."""
    parent = scene.one(name)
    return [scene.chance.choice([parent, *parent.children()])]


def _studio(scene: Scene) -> None:
    scene.machine.kill_studio()
    scene.machine.rest(2)


def _all(scene: Scene) -> None:
    if scene.chance.random() < 0.5:
        scene.kill(scene.machine.running("start"))
    else:
        scene.kill(scene.machine.marked())


def _wipe(scene: Scene) -> None:
    for _ in range(scene.chance.randint(1, 2)):
        scene.machine.until(lambda: _wiped(scene), "Redis can be wiped", _WAIT_SECONDS)
        scene.machine.rest(scene.chance.random())


def _wiped(scene: Scene) -> bool:
    with suppress(QueueError):
        return bool(scene.redis.flushall())
    return False


def _drop_studio(scene: Scene) -> None:
    scene.machine.to_studio.cut(scene.chance.uniform(0, 3))


def _drop_web(scene: Scene) -> None:
    scene.machine.to_web.cut(scene.chance.uniform(0, 3))


def _drop_redis(scene: Scene) -> None:
    scene.machine.to_redis.cut(scene.chance.uniform(0, 3))


def _drop_inference(scene: Scene) -> None:
    scene.machine.to_inference.cut(scene.chance.uniform(0, 3))


def _frozen(scene: Scene) -> None:
    """Freeze the worker that holds the project until its lease has gone to another one, then let it go on."""
    scene.machine.until(lambda: bool(_holder(scene)), "a worker holds the project", _WAIT_SECONDS)
    holder = _holder(scene)
    child, worker = scene.job()
    frozen = [worker, *worker.children(recursive=True)]
    assert child in frozen
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    scene.did = "nobody took the lease"
    try:
        end = LEASE_SECONDS * 4
        with suppress(AssertionError):
            scene.machine.until(lambda: _holder(scene) not in ("", holder), "another worker takes it", end)
            scene.did = "the lease went to another worker"
        scene.machine.rest(scene.chance.uniform(0, 2))
    finally:
        for process in frozen:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)


def _holder(scene: Scene) -> str:
    """Give the token of the worker that has the project; empty where none has, or Redis is away."""
    with suppress(QueueError):
        return as_text(scene.redis.get(key_of(scene.project, "lease")) or b"")
    return ""


def _full(scene: Scene) -> None:
    ground = scene.machine.ground
    folder = scene.chance.choice([ground.model, ground.store])
    scene.did = f"{folder.name} was full"
    with ground.full(folder):
        scene.machine.rest(scene.chance.uniform(1, 6))


def _read_only(scene: Scene) -> None:
    with scene.machine.ground.read_only(scene.machine.ground.store):
        scene.machine.rest(scene.chance.uniform(1, 6))


def _memory(scene: Scene) -> None:
    """Let a job have no more memory than it has."""
    child, _ = scene.job()
    with suppress(psutil.Error):
        most = child.memory_info().vms + scene.chance.choice([1 << 20, 32 << 20])
        child.rlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


FAULTS = (
    Fault("worker", "SIGKILL to the worker", _worker, 9),
    Fault("child", "SIGKILL to the process of its job", _child, 9),
    Fault("both", "SIGKILL to both", _both, 8),
    Fault("redis", "SIGKILL to Redis", _redis, 7),
    Fault("web", "SIGKILL to the web process, its parent or the one that answers", _web, 6),
    Fault("inference", "SIGKILL to the inference server, likewise", _inference, 6),
    Fault("studio", "SIGKILL to Label Studio", _studio, 6),
    Fault("all", "SIGKILL to all of LabelLoop, or to `labelloop start`", _all, 6),
    Fault("wipe", "FLUSHALL, once or twice", _wipe, 6),
    Fault("wipe-first", "FLUSHALL before there is a run", _wipe, 4, early=True, second=False),
    Fault("full", "MODEL_DIR, with Redis, or the store is full for 1 to 6 s", _full, 5, cannot=cannot_mount),
    Fault("read-only", "the store is read-only for 1 to 6 s", _read_only, 4, cannot=cannot_mount),
    Fault("memory", "the job gets no more memory (RLIMIT_AS)", _memory, 4),
    Fault("drop-studio", "connections to Label Studio are reset, new ones for up to 3 s", _drop_studio, 3),
    Fault("drop-web", "likewise, from Label Studio to the web process", _drop_web, 2),
    Fault("drop-redis", "likewise, to Redis", _drop_redis, 3, APART),
    Fault("drop-inference", "likewise, to the inference server", _drop_inference, 2, APART),
    Fault("frozen", "SIGSTOP to worker and job; SIGCONT when the lease is another's", _frozen, 3, APART),
    Fault("s3", "uploads to S3 are reset halfway, one to four of them", s3.breaks, 4, s3.HOUSE),
    Fault(
        "clock",
        "the clock jumps, by up to two days ahead or an hour back",
        clock.jumps,
        4,
        clock.HOUSE,
        cannot=clock.cannot,
    ),
    Fault(
        "elsewhere",
        "a run with trainer and deployer elsewhere; one of the kills, at random",
        elsewhere.kills,
        4,
        elsewhere.HOUSE,
        second=False,
    ),
)
