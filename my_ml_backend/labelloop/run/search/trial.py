"""One trial, a training with the chosen parameters, watched epoch by epoch; and the process that makes trials.

The process is started as ``python -m labelloop.run.search.trial RUN NUMBER TRIALS JOBS``: NUMBER is which of JOBS
processes it is, TRIALS how many there may be in all.
"""

import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from labelloop.data.split import splits
from labelloop.errors import LabelLoopError, StoreError, TrainingError
from labelloop.files import link_or_copy
from labelloop.logs import start_logging
from labelloop.run.context import Context, Labeled
from labelloop.run.folder import RunFolder
from labelloop.run.search.journal import BEGUN, OUTCOME, next_trial, open_study
from labelloop.run.search.search_folder import SearchFolder, SearchPlan
from labelloop.settings import Settings
from labelloop.types import Epoch, Json

_log = logging.getLogger(__name__)

_SETTINGS = "settings"


def trial_value(accuracy: float, log_loss: float | None, pictures: int) -> float:
    """Order by accuracy on the validation side, and where that is equal by log-loss (nats).

    On n pictures two accuracies differ by 1/n at least, and what log-loss takes away is below 1/n: the accuracy always
    decides first. A log-loss that is None or not finite counts as the worst.
    """
    if log_loss is None or not math.isfinite(log_loss):
        return accuracy - 1 / pictures
    return accuracy - log_loss / (1 + log_loss) / pictures


@dataclass
class Trial:
    """A trial that has begun; ``recipe`` is the one whose result counts."""

    study: optuna.Study
    asked: optuna.Trial
    recipe: str
    context: Context
    items: int
    _reached: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, study: optuna.Study, asked: optuna.Trial, chosen: Mapping[str, str], run: Context) -> Self:
        """Begin a trial of a run's labels, with the parameters that were ``chosen``, in a folder of its own.

        Raises StoreError where the search has no plan, SettingsError for impossible parameters.
        """
        folder = SearchFolder(run.folder)
        place = RunFolder(folder.trial(asked.user_attrs[BEGUN]["origin"]))
        place.path.mkdir(parents=True, exist_ok=True)
        if run.folder.data.is_file() and not place.data.is_file():
            # What cannot be read is left out of each trial; one that is taken up has it already.
            link_or_copy(run.folder.data, place.data)
        settings = plan_of(folder).settings(run.settings, chosen)
        context = Context(place, settings, lambda _what, _done, _total: None)
        context.labeled = run.labeled
        return cls(study, asked, chosen["recipe"], context, len(splits(run.manifest, run.named_sides)["validation"]))

    def carry_out(self) -> None:
        """Train, and note in the journal how it went."""
        begun = time.monotonic()
        self.context.watch = self.watch
        try:
            self.asked.set_user_attr(_SETTINGS, self.context.training.fingerprint())
            note, value = self._same() or self._train()
        except optuna.TrialPruned:
            note, value = {"state": "pruned", "reason": "below the median of the trials before", **self._reached}, None
        except LabelLoopError as error:
            note, value = {"state": "failed", "reason": str(error)}, None
        except Exception as error:  # noqa: BLE001 - the border: the other trials go on
            _log.exception("trial %d failed", self.asked.number)
            note, value = {"state": "failed", "reason": f"{type(error).__name__}: {error}"}, None
        self.asked.set_user_attr(OUTCOME, {"seconds": round(time.monotonic() - begun, 2), **note})
        # What cannot be is told as pruned: samplers pass over failed trials, and would choose the same again.
        self.study.tell(self.asked, value, TrialState.COMPLETE if value is not None else TrialState.PRUNED)
        shutil.rmtree(self.context.folder.path, ignore_errors=True)

    def watch(self, recipe: str, epoch: Epoch) -> bool:
        """Report an epoch; raises TrialPruned where the trial has no chance any more."""
        if recipe != self.recipe or "validation_accuracy" not in epoch:
            return False
        accuracy, loss, step = epoch["validation_accuracy"], epoch.get("validation_loss"), int(epoch["epoch"])
        self._reached = {"accuracy": accuracy, "log_loss": loss, "epochs": step}
        self.asked.report(trial_value(accuracy, loss, self.items), step)
        if self.asked.should_prune():
            raise optuna.TrialPruned
        return False

    def _train(self) -> tuple[dict[str, Any], float]:
        told = self.context.kind.train(self.context)
        if self.recipe not in told["validation"]:
            raise TrainingError("; ".join(told["notes"]) or f"{self.recipe} was left out")
        figure, loss = told["validation"][self.recipe], _log_loss(told, self.recipe)
        note = {"accuracy": figure, "log_loss": loss, "epochs": len(told["curves"].get(self.recipe, ()))}
        return {"state": "finished", **note}, trial_value(figure, loss, self.items)

    def _same(self) -> tuple[dict[str, Any], float | None] | None:
        """Take over the result of an earlier trial with the same settings: it would come out the same."""
        own = self.asked.user_attrs[_SETTINGS]
        for one in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            if one.user_attrs.get(_SETTINGS) == own and OUTCOME in one.user_attrs:
                return self._taken_over(one), one.value if one.state == TrialState.COMPLETE else None
        return None

    def _taken_over(self, one: FrozenTrial) -> dict[str, Any]:
        for step, value in one.intermediate_values.items():
            self.asked.report(value, step)
        note = dict(one.user_attrs[OUTCOME])
        del note["seconds"]
        return {"same_as": one.number, **note}


def _log_loss(told: Json, recipe: str) -> float | None:
    """Give a recipe's log-loss on the validation side: with its temperature where it has won, else its lowest."""
    if told["recipe"] == recipe and "log_loss_after" in told["calibration"]:
        return float(told["calibration"]["log_loss_after"])
    losses = [epoch["validation_loss"] for epoch in told["curves"].get(recipe, ()) if "validation_loss" in epoch]
    return min(losses, default=None)


def plan_of(folder: SearchFolder) -> SearchPlan:
    """Read the plan of a search that has begun; raises StoreError where there is none."""
    plan = SearchPlan.read(folder)
    if plan is None:
        raise StoreError(f"{folder.plan} is not there: begin with `labelloop search --run {folder.run.path}`")
    return plan


def make_trials(folder: SearchFolder, settings: Settings, worker: int, most: int) -> None:
    """Make trials until the search has had ``most`` of them. Raises StoreError without plan or manifest."""
    plan = plan_of(folder)
    common = plan.settings(settings, {})
    run = Context(folder.run, settings, lambda _what, _done, _total: None)
    # Before a trial begins: none is at fault where they are damaged.
    run.labeled = Labeled.read(folder.run)
    study = open_study(folder, warmup=common.epochs // 3)
    while (next_one := next_trial(study, folder, plan.space, common.seed, most, worker)) is not None:
        Trial.begin(study, *next_one, run).carry_out()


def worker_main() -> int:
    """Read the command line and work; gives the exit code."""
    run, (worker, most, jobs) = Path(sys.argv[1]), map(int, sys.argv[2:])
    try:
        settings = Settings.from_environment()
        start_logging(settings.log_level, settings.log_format)
        _keep_to(worker, jobs)
        make_trials(SearchFolder(RunFolder(run)), settings, worker, most)
    except LabelLoopError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


def _keep_to(worker: int, jobs: int) -> None:
    """Use this process's share of the cores alone, so that several do not each start helpers for all of them."""
    if jobs > 1 and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[worker % len(cores) :: jobs])


if __name__ == "__main__":
    sys.exit(worker_main())
