"""How the next trial is chosen: one process at a time, so that each knows of all the others' trials."""

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from labelloop.files import file_lock
from labelloop.run.search.folder import SearchFolder
from labelloop.run.search.space import Space, suggest
from labelloop.run.search.trials import BEGUN, RETRY_OF, note_lost, retried

_RANDOM = 10
"""Trials chosen at random before the sampler begins to prefer what was good."""


def ask(
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
        study.sampler = optuna.samplers.TPESampler(seed=_seed(seed, len(begun)), n_startup_trials=_RANDOM)
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


def _origin(trials: list[FrozenTrial], trial: optuna.Trial) -> int:
    """Give the number of the trial that this one takes up, or its own."""
    before = trial.user_attrs.get(RETRY_OF)
    if before is None:
        return trial.number
    return int(trials[before].user_attrs.get(BEGUN, {}).get("origin", before))


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
