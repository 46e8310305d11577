"""The process that leads a search: it starts the others, each with its share of the machine, watches and ends them."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna

from labelloop.children import on_end_signal, start_child, stop_child
from labelloop.environment import environment_of
from labelloop.errors import TrainingError
from labelloop.run.search.journal import Tried, bury, tried
from labelloop.run.search.search_folder import SearchFolder
from labelloop.settings import Settings

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2

_GRACE_SECONDS = 5.0

_HOPELESS = 3
"""Failures, of trials without any success or of processes in a row, after which the search gives up."""

Watcher = Callable[[list[Tried]], None]
"""Told of all trials whenever one has begun or ended."""


@dataclass(frozen=True, slots=True)
class SearchBudget:
    """How long a search goes on: ``trials`` in all, and ``seconds`` from this start (None: as long as it takes)."""

    trials: int
    seconds: float | None = None


class Leader:
    """Leads the processes of one search; ``environments`` holds one for each of them."""

    def __init__(
        self, folder: SearchFolder, study: optuna.Study, budget: SearchBudget, environments: list[Mapping[str, str]]
    ) -> None:
        self._folder, self._study, self._budget = folder, study, budget
        self._environments = environments
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._deaths = 0
        self._seen = 0
        self._asked_to_end = False

    def lead(self, watcher: Watcher) -> str:
        """Make trials until the budget is spent, SIGINT or SIGTERM; gives why it ended, ends all processes.

        Raises TrainingError when no trial succeeds, or when the processes keep ending.
        """
        give_up = time.monotonic() + self._budget.seconds if self._budget.seconds is not None else None
        with on_end_signal(self._ask_to_end):
            try:
                for worker in range(len(self._environments)):
                    self._start(worker)
                while self._workers:
                    time.sleep(_LOOK_SECONDS)
                    self._look(watcher)
                    if self._asked_to_end:
                        return "interrupted"
                    if give_up is not None and time.monotonic() > give_up:
                        return "its time is over"
                return "all trials are made"
            finally:
                self._end()

    def _look(self, watcher: Watcher) -> None:
        for worker, child in list(self._workers.items()):
            if (code := child.poll()) is not None:
                del self._workers[worker]
                if code != 0:
                    self._bury(worker, code)
        trials = tried(self._study)
        watcher(trials)
        ended = [one for one in trials if one.state not in ("running", "interrupted")]
        if len(ended) > self._seen:
            self._seen, self._deaths = len(ended), 0
        if len(ended) >= _HOPELESS and all(one.state == "failed" for one in ended):
            raise TrainingError(f"every trial fails: {ended[-1].reason}")

    def _start(self, worker: int) -> None:
        jobs = len(self._environments)
        command = [sys.executable, "-m", "labelloop.run.search.trial", str(self._folder.run.path)]
        self._workers[worker] = start_child(
            [*command, str(worker), str(self._budget.trials), str(jobs)],
            log=self._folder.log(worker),
            environment=self._environments[worker],
        )

    def _bury(self, worker: int, code: int) -> None:
        reason = f"its process ended with {_told(code)}; {self._folder.log(worker).name} says more"
        _log.warning("search process %d ended with %s", worker, _told(code))
        bury(self._study, worker, reason)
        self._deaths += 1
        if self._deaths >= _HOPELESS:
            raise TrainingError(
                f"the processes of the search keep ending, last with {_told(code)}: {_last_line(self._folder, worker)}"
            )
        self._start(worker)

    def _ask_to_end(self) -> None:
        self._asked_to_end = True

    def _end(self) -> None:
        for child in self._workers.values():
            child.terminate()
        for child in self._workers.values():
            stop_child(child, _GRACE_SECONDS)


def gpus() -> list[str]:
    """Name the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` does."""
    import torch

    if not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]


def environments(settings: Settings, jobs: int, visible: list[str]) -> list[Mapping[str, str]]:
    """Give each process its environment: the settings, one thread for numerics, and one GPU where there are any."""
    common = {**os.environ, **environment_of(settings), "OMP_NUM_THREADS": "1"}
    if not visible:
        return [common] * jobs
    return [{**common, "CUDA_VISIBLE_DEVICES": visible[job % len(visible)]} for job in range(jobs)]


def _told(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _last_line(folder: SearchFolder, worker: int) -> str:
    lines = folder.log(worker).read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("Error: ") if lines else "it said nothing"
