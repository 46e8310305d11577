"""The trials of a search as they stand in its journal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from labelloop.run.search.space import spelled

Outcome = Literal["running", "finished", "pruned", "failed", "interrupted"]

OUTCOME = "outcome"
"""The note in which a trial that has ended says how: state, accuracy, log_loss, epochs, seconds, reason, same_as."""
BEGUN = "begun"
"""The note in which a trial that begins says where: worker, fingerprint, origin."""
RETRY_OF = "retry_of"
"""The note of a trial that takes up another one, which was interrupted: its number."""

_LOST = "lost-"


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial. ``accuracy`` and ``log_loss`` are on the validation side; a pruned one tells what it had reached.

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


def note_lost(study: optuna.Study, number: int, reason: str) -> None:
    """Note that a trial's process has ended, and why; the trial fails."""
    study.set_user_attr(f"{_LOST}{number}", reason)
    study.tell(number, state=TrialState.FAIL)


def _tried(study: optuna.Study, one: FrozenTrial, again: set[int]) -> Tried:
    note: dict[str, Any] = dict(one.user_attrs.get(OUTCOME, {}))
    state: Outcome = note.pop("state", "running")
    if one.number in again:
        state = "interrupted"
    elif (lost := study.user_attrs.get(f"{_LOST}{one.number}")) is not None:
        state, note["reason"] = "failed", lost
    return Tried(number=one.number, state=state, parameters=spelled(one.params), score=one.value, **note)
