"""Runs a finetune on several devices: a process for each, spawned anew, that tells this one how far it is.

Spawned, not started from the command line that started this process, and so the same in a worker's job as in a
terminal. The weights travel as safetensors files.
"""

import json
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from labelloop.errors import LabelLoopError, TrainingDied, TrainingError
from labelloop.train.finetuning.job import Job, Outcome
from labelloop.types import Epoch, Progress, Watch

_START, _WEIGHTS, _LOGITS, _FIGURES = "start.safetensors", "weights.safetensors", "logits.npy", "figures.json"
_PATIENCE = 30.0  # seconds that the other ranks get to end, once one has


def run_ranks(job: Job, network: nn.Module, progress: Progress, watch: Watch, workers: int | None = None) -> Outcome:
    """Train ``network`` on as many ranks as the job's plan says; see running.run_rank.

    What ``progress`` or ``watch`` raises ends the ranks. Raises TrainingError, also when a rank dies.
    """
    with tempfile.TemporaryDirectory(prefix="labelloop-ranks-") as name:
        folder = Path(name)
        _save(network.state_dict(), folder / _START)
        with _spawned(job, folder, workers) as (processes, links):
            listen(processes, links, progress, watch)
        return _read(folder)


@contextmanager
def _spawned(
    job: Job, folder: Path, workers: int | None
) -> Iterator[tuple[Sequence[SpawnProcess], Sequence[Connection]]]:
    context = multiprocessing.get_context("spawn")
    processes, links = [], []
    try:
        for rank in range(job.plan.ranks):
            ours, theirs = context.Pipe()
            process = context.Process(target=_rank, args=(job, folder, rank, workers, theirs), name=f"rank-{rank}")
            process.start()
            theirs.close()
            processes.append(process)
            links.append(ours)
        yield processes, links
    finally:
        for process in processes:
            process.kill()
            process.join()
        for link in links:
            link.close()


def listen(processes: Sequence[SpawnProcess], links: Sequence[Connection], progress: Progress, watch: Watch) -> None:
    """Hand on what the ranks say until all have ended well; raises TrainingError for one that has not."""
    going = dict(zip(links, processes, strict=True))
    while going:
        said = set(wait(list(going)))
        for link in [one for one in going if one in said]:
            try:
                what, *rest = link.recv()
            except EOFError:
                _ended(going.pop(link))
                continue
            if what == "failed":
                raise TrainingError(rest[0])
            if what == "progress":
                progress(*rest)
            else:
                link.send(watch(*rest))


def _ended(process: SpawnProcess) -> None:
    process.join(_PATIENCE)
    if process.exitcode != 0:
        code = process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        raise TrainingDied(f"{process.name} of the finetune ended by {how}; was there too little memory?")


def _rank(job: Job, folder: Path, rank: int, workers: int | None, link: Connection) -> None:
    """Be one rank, in a process of its own."""
    from labelloop.train.finetuning.running import run_rank

    def progress(what: str, done: int, total: int) -> None:
        link.send(("progress", what, done, total))

    def watch(recipe: str, epoch: Epoch) -> bool:
        link.send(("watch", recipe, dict(epoch)))
        return bool(link.recv())

    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}  # so that Lightning starts no processes of its own
    try:
        _meet(job, folder, rank)
        outcome = run_rank(job, _network(job, folder), progress, watch, rank, workers)
    except LabelLoopError as error:
        link.send(("failed", str(error)))
        return
    if rank == 0:
        _write(outcome, folder)
    torch.distributed.destroy_process_group()


def _meet(job: Job, folder: Path, rank: int) -> None:
    """Bring the ranks together by a file, which unlike a port nobody else can take."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    store = torch.distributed.FileStore(str(folder / "meeting"), job.plan.ranks)  # type: ignore[attr-defined]
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=job.plan.ranks)


def _network(job: Job, folder: Path) -> nn.Module:
    from labelloop.train.backbone import build

    model = build(replace(job.settings, weights="none"), job.truth.shape[1])
    model.load_state_dict(load_file(folder / _START))
    return model


def _save(state: dict[str, torch.Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


def _write(outcome: Outcome, folder: Path) -> None:
    _save(outcome.state, folder / _WEIGHTS)
    np.save(folder / _LOGITS, outcome.logits, allow_pickle=False)
    figures: dict[str, Any] = {"curve": [dict(epoch) for epoch in outcome.curve]}
    (folder / _FIGURES).write_text(json.dumps(figures))


def _read(folder: Path) -> Outcome:
    figures = json.loads((folder / _FIGURES).read_text())
    logits = np.load(folder / _LOGITS, allow_pickle=False)
    return Outcome(load_file(folder / _WEIGHTS), logits, tuple(figures["curve"]))
