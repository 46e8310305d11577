"""``search.json``: what a search has found, and the run folder of its winner."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna
from optuna.trial import TrialState

from labelloop.run.folder import RunFolder
from labelloop.run.record import RunInfo
from labelloop.run.search.journal import Tried, tried
from labelloop.run.search.search_folder import SearchFolder, SearchPlan
from labelloop.training_parameters import LOCATIONS
from labelloop.types import Json

_FEWEST = 4
"""Finished trials from which importances say anything."""


def best_of(trials: Sequence[Tried]) -> Tried | None:
    """Give the finished trial of the highest score, of equals the earliest; None while there is none."""
    finished = [one for one in trials if one.state == "finished" and one.score is not None]
    return max(finished, key=lambda one: (one.score, -one.number), default=None)


def importances(study: optuna.Study, best: Tried) -> dict[str, float]:
    """Say how much of the difference between trials of the best one's recipe goes with each parameter.

    Shares of 1, largest first, by fANOVA (Hutter et al., 2014, "An Efficient Approach for Assessing Hyperparameter
    Importance"). Empty while there are too few trials, or while none differs from another.
    """
    recipe = best.parameters["recipe"]
    same = [one for one in study.get_trials(deepcopy=False) if one.params.get("recipe") == recipe]
    finished = [one for one in same if one.state == TrialState.COMPLETE]
    varied = [name for name in best.parameters if len({one.params.get(name) for one in finished}) > 1]
    if len(finished) < _FEWEST or len({one.value for one in finished}) < 2 or not varied:
        return {}
    among = optuna.create_study(direction="maximize")
    among.add_trials(finished)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(among, evaluator=evaluator, params=varied)
    return {name: float(share) for name, share in shares.items()}


@dataclass(frozen=True, slots=True)
class Judged:
    """What trials are judged by: the ``figure`` of their kind, on so many ``items`` of the validation side."""

    figure: str
    item: str
    items: int


def result(
    study: optuna.Study, plan: SearchPlan, judged: Judged, ended: str, seconds: float, jobs: int, made: int
) -> Json:
    """Sum up a search as JSON; ``ended`` says why it is over. A trial's figure is called ``accuracy`` in it.

    This start of it took ``seconds``, with ``jobs`` processes, in which ``made`` trials ended.
    """
    trials = [_left(one) for one in tried(study)]
    best = best_of(trials)
    rows: list[dict[str, Any]] = [asdict(one) for one in trials]
    return {
        "format": 1,
        "objective": f"{judged.figure} on the validation side, then log-loss",
        "figure": judged.figure,
        "item": judged.item,
        "pictures": judged.items,
        "manifest": plan.manifest,
        "space": {name: list(values) for name, values in plan.space.values().items()},
        "common": dict(plan.parameters),
        "ended": ended,
        "best": asdict(best) if best else None,
        "importances": importances(study, best) if best else {},
        "counts": {state: sum(one.state == state for one in trials) for state in _STATES},
        "seconds": round(seconds, 1),
        "jobs": jobs,
        "trials_per_minute": round(60 * made / seconds, 2) if seconds else 0.0,
        "trials": rows,
    }


_STATES = ("finished", "pruned", "failed", "interrupted")


def _left(one: Tried) -> Tried:
    """Call a trial interrupted whose process has been ended."""
    return Tried(**{**asdict(one), "state": "interrupted"}) if one.state == "running" else one


def prepare_winner(searched: RunFolder, plan: SearchPlan, best: Json) -> RunFolder:
    """Make the winner's run folder, whose data are those of the search; the run in one that is there is left as it is.

    What the search found is laid into it, for the run's report.
    """
    folder = RunFolder(searched.path / f"winner-{best['number']}")
    own = SearchFolder(folder)
    own.path.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SearchFolder(searched).result, own.result)
    if folder.record.is_file():
        return folder
    for name in ("manifest", "sides"):
        shutil.copyfile(getattr(searched, name), getattr(folder, name))
    info = RunInfo.read(searched) or RunInfo.new({})
    places = {name: info.parameters[name] for name in LOCATIONS if name in info.parameters}
    fetched = {name: made_from for name, made_from in info.stages.items() if name == "fetch"}
    made = RunInfo.new({**plan.parameters_with(best["parameters"]), **places})
    replace(made, manifest=plan.manifest, stages=fetched).write(folder)
    return folder
