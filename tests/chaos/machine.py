"""One machine to break: a real Label Studio, LabelLoop as somebody runs it, and wires between them that can be cut.

Whatever ends is started again after a second, as systemd, Compose and Kubernetes do; nothing else is mended by hand.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from chaos.ground import Ground
from chaos.wire import Wire
from labelloop.children import start_child, stop_child
from labelloop.demo.label_studio import LabelStudio
from labelloop.environment import environment_of
from labelloop.errors import LabelLoopError
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer, find_binary
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from support.servers import free_port

MARK = "LABELLOOP_TEST_CHAOS"
"""A variable by which all processes of a machine are found, whoever their parent is."""

_AGAIN_SECONDS = 1.0
_UP_SECONDS = 180.0
_LOOK_SECONDS = 0.05
_STOP_SECONDS = 60.0

LABELS, MORE = 30, 12
"""How many labels make the first version, and how many more the second: no fewer, so that all come to the same."""


@dataclass(frozen=True)
class House:
    """How LabelLoop runs on a machine: by ``labelloop start`` alone, or with parts ``apart`` from it.

    Apart are Redis and inference, each behind a wire, and a second worker. ``environment`` gives what its processes are
    given beside the settings ``given``; what it opens stays open as long as the house stands.
    """

    name: str
    apart: bool = False
    given: Callable[["Machine", ExitStack], tuple[Mapping[str, Any], Mapping[str, str]]] = lambda *_: ({}, {})
    fresh: bool = False
    trains: str = "here"


class _Kept:
    """A process that is started again when it has ended."""

    def __init__(self, start: Callable[[], "subprocess.Popen[bytes] | None"]) -> None:
        self._start, self._again = start, 0.0
        self.process = start()

    def tend(self) -> None:
        ended = self.process is None or self.process.poll() is not None
        if ended and not self._again:
            self._again = time.monotonic() + _AGAIN_SECONDS
        elif ended and time.monotonic() > self._again:
            self._again, self.process = 0.0, self._start()

    def stop(self) -> None:
        if self.process is not None:
            stop_child(self.process, _STOP_SECONDS)


class Machine:
    """All that one trial needs, in ``folder``; everything ends with the ``with`` block.

    Call it from one thread, which lives as long: to the kernel that is the parent of what it starts. The wires to parts
    that not every house has are there in those that have.
    """

    to_redis: Wire
    to_inference: Wire
    to_s3: Wire
    clock: Path

    def __init__(self, label_studio: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.log = folder, folder / "labelloop.log"
        # It tells by /version what it is, and writes headers and content apart, for which each answer would wait 40 ms.
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(
            "import socketserver\nsocketserver.StreamRequestHandler.disable_nagle_algorithm = True\n"
        )
        self.studio = LabelStudio(label_studio, folder / "studio", free_port(), {"PYTHONPATH": str(site)})
        self.ground = Ground(folder)
        self._open = ExitStack()
        self._inside = ExitStack()
        self.house: House | None = None
        self.entered = 0
        self._kept: dict[str, _Kept] = {}
        self._studio_again = 0.0

    def __enter__(self) -> Self:
        self.studio.start()
        self._open.callback(self._stop_studio)
        self.client = Studio(self.studio.url, self.studio.token)
        self._open.callback(self.client.close)
        self._web = free_port()
        self.to_studio = self._open.enter_context(Wire(int(self.studio.url.rpartition(":")[2])))
        self.to_web = self._open.enter_context(Wire(self._web))
        self._open.enter_context(self.ground)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.leave()
        finally:
            self._open.close()

    def enter(self, house: House) -> None:
        """Have LabelLoop run as it does in that house; what ran before is ended, and its data removed."""
        if self.house is house and not house.fresh:
            return
        self.leave()
        self.house = house
        self.entered += 1
        self.ground.clear()
        given, environment = house.given(self, self._inside)
        self.settings = self._settings(house, given)
        self.hub: Hub = open_hub(self.settings)
        self._inside.callback(self.hub.tool.close)
        self._inside.callback(self.hub.redis.close)
        self._environment = {**os.environ, **environment_of(self.settings), **environment, MARK: str(self.folder)}
        for name, start in self._starts(house):
            self._kept[name] = _Kept(start)
            if name == "inference":
                self.until(
                    lambda: answers(f"http://127.0.0.1:{self._inference}/ping"), "inference answers", _UP_SECONDS
                )
        self.until(lambda: answers(f"http://127.0.0.1:{self._web}/health"), "LabelLoop is up", _UP_SECONDS)

    def leave(self) -> None:
        """End LabelLoop, in order."""
        for kept in reversed(self._kept.values()):
            kept.stop()
        self._kept.clear()
        self._inside.close()
        self.house = None

    def _settings(self, house: House, given: Mapping[str, Any]) -> Settings:
        self._inference = free_port()
        usual: dict[str, Any] = {
            "label_studio_url": self.to_studio.url,
            "label_studio_api_key": self.studio.token,
            "model_dir": str(self.ground.model),
            "store": f"file://{self.ground.store}",
            "host": "127.0.0.1",
            "port": self._web,
            "endpoint": f"http://127.0.0.1:{self._inference}",
            "backbone": "test_resnet",
            "weights": "none",
            "image_size": 32,
            "recipes": ("finetune",),
            "epochs": 3,
            "min_labels": LABELS,
            "retrain_after": MORE,
            "quiet_seconds": 1.0,
            "sweep_seconds": 5.0,
            "scan_seconds": 2.0,
            "retry_seconds": 1.0,
            "first_labels": False,
        }
        if house.apart:
            self._redis = RedisServer(self.ground.model / "redis")
            self.to_redis = self._inside.enter_context(Wire(str(self._redis.socket)))
            usual["redis_url"] = f"redis://127.0.0.1:{self.to_redis.port}"
            self.to_inference = self._inside.enter_context(Wire(self._inference))
            usual["endpoint"] = self.to_inference.url
        return Settings(**{**usual, **given})

    def _starts(self, house: House) -> Iterator[tuple[str, Callable[[], "subprocess.Popen[bytes] | None"]]]:
        command = [sys.executable, "-m", "labelloop"]
        if house.apart:
            yield "redis", self._start_redis
            serve = [*command, "serve", "--host", "127.0.0.1", "--port", str(self._inference)]
            yield "inference", lambda: self._start(serve)
            yield "second worker", lambda: self._start([*command, "worker"])
        yield "start", lambda: self._start([*command, "start"])

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        return start_child(command, log=self.log, environment=self._environment)

    def _start_redis(self) -> "subprocess.Popen[bytes] | None":
        with suppress(LabelLoopError):
            self._redis.start()
        return self._redis.process

    def tend(self) -> None:
        """Start again what has ended a second ago."""
        for kept in self._kept.values():
            kept.tend()
        if self._studio_again and time.monotonic() > self._studio_again:
            self._studio_again = 0.0
            self.studio.stop()
            self.studio.start()

    def kill_studio(self) -> None:
        """End Label Studio by SIGKILL; it is started again after a second."""
        for process in psutil.Process().children():
            with suppress(psutil.Error):
                if str(self.studio.url.rpartition(":")[2]) in process.cmdline() and "start" in process.cmdline():
                    kill([process, *process.children(recursive=True)])
        self._studio_again = time.monotonic() + _AGAIN_SECONDS

    def _stop_studio(self) -> None:
        self.studio.stop()

    def until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for a condition while all is looked after; raises AssertionError after ``seconds``."""
        give_up = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < give_up, f"not within {seconds:g} s: {what}"
            self.tend()
            time.sleep(_LOOK_SECONDS)

    def rest(self, seconds: float) -> None:
        """Let time pass, and look after all meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.tend()
            time.sleep(min(left, _LOOK_SECONDS))

    def running(self, name: str) -> list[psutil.Process]:
        """Find our processes by what they do: start, redis, inference, web, worker; the oldest first."""
        top = [kept.process.pid for kept in self._kept.values() if kept.process is not None]
        found = []
        for pid in top:
            with suppress(psutil.Error):
                parent = psutil.Process(pid)
                # What a worker or a server has forked bears its name, too.
                started = parent.children() if _name(parent) == "start" else []
                found += [one for one in (parent, *started) if name == _name(one)]
        return sorted(found, key=lambda one: one.pid)

    def marked(self) -> list[psutil.Process]:
        """Find every process that was started for this machine's LabelLoop, whoever its parent is."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        # Redis writes over the words that it was started with.
        if process.name() == find_binary().name:
            return "redis"
        words = process.cmdline()
        if "labelloop.web.wsgi:app" in words:
            return "web"
        for name in ("start", "serve", "worker"):
            if "labelloop" in words and name in words:
                return {"serve": "inference"}.get(name, name)
    return ""


def kill(processes: list[psutil.Process]) -> None:
    """End processes by SIGKILL, those that are gone too."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def answers(url: str) -> bool:
    """Whether a URL answers 200."""
    try:
        return httpx.get(url, timeout=1.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
