"""The search's memory: Optuna's journal, one line an event, read and written by all of its processes.

One process at a time begins a trial, so that each knows of all the others' trials.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from labelloop.errors import StoreError
from labelloop.files import file_lock
from labelloop.run.search.search_folder import SearchFolder
from labelloop.run.search.space import Space, spelled, suggest

_NAME = "search"

_STARTUP = 5
"""Trials that must have ended before any is cut short."""

Outcome = Literal["running", "finished", "pruned", "failed", "interrupted"]

OUTCOME = "outcome"
"""The note in which a trial that has ended says how: state, accuracy, log_loss, epochs, seconds, reason, same_as."""

BEGUN = "begun"
"""The note in which a trial that begins says where: worker, fingerprint, origin."""

RETRY_OF = "retry_of"
"""The note of a trial that takes up another one, which was interrupted: its number."""

_LOST = "lost-"

_RANDOM = 10
"""Trials chosen at random before the sampler begins to prefer what was good."""


class _KernelLock(JournalFileOpenLock):
    """A lock that goes with the process that holds it; a lock file would outlive a process that is killed."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path, self._held = path, ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._held.enter_context(file_lock(self._path))
        return True

    def release(self) -> None:
        """Let go."""
        self._held.close()


def mend(folder: SearchFolder) -> None:
    """Cut off a last line that a killed process has left half written; the next one would be spoilt by it."""
    try:
        content = folder.journal.read_bytes()
    except FileNotFoundError:
        return
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with folder.journal.open("r+b") as journal:
            journal.truncate(whole)


def open_study(folder: SearchFolder, warmup: int) -> optuna.Study:
    """Open the search's trials; after ``warmup`` epochs one is cut short that is below the median of those before it.

    Raises StoreError when the journal is damaged.
    """
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(logging.WARNING)
    lock = _KernelLock(folder.journal.with_suffix(".lock"))
    try:
        storage = JournalStorage(JournalFileBackend(str(folder.journal), lock_obj=lock))
        return optuna.create_study(
            study_name=_NAME,
            storage=storage,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=warmup),
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise StoreError(f"{folder.journal} is damaged ({error}): remove {folder.path} and search anew") from error


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial. ``accuracy``, or its kind's own figure, and ``log_loss`` are on the validation side.

    A pruned one tells what it had reached.

    ``same_as`` is an earlier trial of the same settings, whose result it has taken over.
    """

    number: int
    state: Outcome
    parameters: Mapping[str, str]
    accuracy: float | None = None
    log_loss: float | None = None
    score: float | None = None
    epochs: int = 0
    seconds: float = 0.0
    reason: str = ""
    same_as: int | None = None


def tried(study: optuna.Study) -> list[Tried]:
    """Give all trials that have begun, by number."""
    trials = study.get_trials(deepcopy=False)
    again = retried(trials)
    return [_tried(study, one, again) for one in trials if one.state != TrialState.WAITING]


def retried(trials: Sequence[FrozenTrial]) -> set[int]:
    """Give the numbers of the trials that were interrupted and are tried anew."""
    return {one.user_attrs[RETRY_OF] for one in trials if RETRY_OF in one.user_attrs}


def next_trial(
    study: optuna.Study, folder: SearchFolder, space: Space, seed: int, most: int, worker: int
) -> tuple[optuna.Trial, dict[str, str]] | None:
    """Begin the next trial and give it with its parameters; None when there have been ``most``.

    What is chosen depends on the seed and on the trials before, not on the process: a search that was interrupted goes
    on as if it had not been, if one process does it all.
    """
    with file_lock(folder.asking):
        trials = study.get_trials(deepcopy=False)
        waiting = any(one.state == TrialState.WAITING for one in trials)
        begun = {one.number for one in trials if one.state != TrialState.WAITING} - retried(trials)
        if not waiting and len(begun) >= most:
            return None
        study.sampler = optuna.samplers.TPESampler(seed=_sampler_seed(seed, len(begun)), n_startup_trials=_RANDOM)
        trial = study.ask()
        trial.set_user_attr(BEGUN, {"worker": worker, "origin": _origin(trials, trial)})
        return trial, suggest(trial, space)


def release(study: optuna.Study) -> None:
    """Enter trials whose process is gone for another try. To be called while no process is at work."""
    for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.enqueue_trial(dict(one.params), user_attrs={RETRY_OF: one.number})
        study.tell(one.number, state=TrialState.FAIL)


def bury(study: optuna.Study, worker: int, reason: str) -> None:
    """Fail the trial of a process that has ended in the middle of it; what ended it might end the next one too."""
    for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if one.user_attrs.get(BEGUN, {}).get("worker") == worker:
            note_lost(study, one.number, reason)


def _tried(study: optuna.Study, one: FrozenTrial, again: set[int]) -> Tried:
    note: dict[str, Any] = dict(one.user_attrs.get(OUTCOME, {}))
    state: Outcome = note.pop("state", "running")
    if one.number in again:
        state = "interrupted"
    elif (lost := study.user_attrs.get(f"{_LOST}{one.number}")) is not None:
        state, note["reason"] = "failed", lost
    return Tried(number=one.number, state=state, parameters=spelled(one.params), score=one.value, **note)


def note_lost(study: optuna.Study, number: int, reason: str) -> None:
    """Note that a trial's process has ended, and why; the trial fails."""
    study.set_user_attr(f"{_LOST}{number}", reason)
    study.tell(number, state=TrialState.FAIL)


def _origin(trials: list[FrozenTrial], trial: optuna.Trial) -> int:
    """Give the number of the trial that this one takes up, or its own."""
    before = trial.user_attrs.get(RETRY_OF)
    if before is None:
        return trial.number
    return int(trials[before].user_attrs.get(BEGUN, {}).get("origin", before))


def _sampler_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
