"""A whole ``labelloop search``: fetch the data, search, train the winner and look at the test side once."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import optuna

from labelloop.data.split import splits
from labelloop.errors import SettingsError, TrainingError
from labelloop.files import cores, file_lock
from labelloop.kinds.base import find
from labelloop.run.context import Context, read_json, write_json, write_text
from labelloop.run.driver import Run, StageReporter
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import parameters_of, with_parameters
from labelloop.run.record import RunInfo
from labelloop.run.report.search_page import search_page
from labelloop.run.search.journal import mend, open_study, release, tried
from labelloop.run.search.leader import Leader, SearchBudget, Watcher, environments, gpus
from labelloop.run.search.result import Judged, prepare_winner, result
from labelloop.run.search.search_folder import SearchFolder, SearchPlan
from labelloop.run.search.space import Space, asked_space, check_lists, check_space, present
from labelloop.run.source import Opener
from labelloop.settings import Settings
from labelloop.sources.reader import Reader
from labelloop.types import IMAGES, Json

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """One search: ``parameters`` are common to all trials, ``lists`` say what is searched, by option.

    ``jobs`` trials are made at a time; None is one for each GPU, or for each core where there is none.
    """

    folder: RunFolder
    settings: Settings
    parameters: Mapping[str, str]
    lists: Mapping[str, str]
    budget: SearchBudget
    jobs: int | None
    reporter: StageReporter
    opens: Opener = Reader

    def search(self, watcher: Watcher) -> Json:
        """Fetch the data and search; gives what ``search.json`` holds. Raises TrainingError where nothing was found."""
        run = Run(self.folder, self.settings, self.parameters, self.reporter, opens=self.opens)
        held = SearchPlan.read(SearchFolder(self.folder))
        common = self._common()
        # Most of what can be wrong is so for pictures: that is said before anything is fetched.
        check_lists(replace(common, weights="none"), self.lists, find(IMAGES))
        with run.alone():
            run.make("fetch")
            kind = run.context.kind
            if not kind.recipes:
                raise TrainingError(f"there is nothing to search for {kind.name}: LabelLoop has no recipes for it")
            space = asked_space(common, self.lists, held.space if held else None, kind)
            check_space(common, space, kind)
            run.make("preprocess")
        visible = gpus()
        jobs = min(self.jobs or len(visible) or cores(), self.budget.trials)
        found = run_search(run.context, space, self.budget, jobs, visible, watcher)
        if found["best"] is None:
            raise TrainingError(f"no trial has finished: {_why(found)}")
        return found

    def winner(self, found: Json) -> RunFolder:
        """Make the winner's run folder."""
        plan = SearchPlan.read(SearchFolder(self.folder))
        if plan is None:
            raise TrainingError(f"{self.folder.path} holds no search")
        return prepare_winner(self.folder, plan, found["best"])

    def test(self, winner: RunFolder) -> Json:
        """Train the winner and measure it on the test side; gives what ``metrics.json`` holds."""
        run = Run(winner, self.settings, {}, self.reporter)
        with run.alone():
            for stage in ("preprocess", "train", "evaluate", "report"):
                run.make(stage)
        return read_json(winner.metrics, "evaluate")

    def _common(self) -> Settings:
        info = RunInfo.read(self.folder)
        return with_parameters(self.settings, {**(info.parameters if info else {}), **self.parameters})


def _why(found: Json) -> str:
    reasons = [one["reason"] for one in found["trials"] if one["reason"]]
    return reasons[-1] if reasons else f"{found['ended']}; the same command goes on with them"


def run_search(
    context: Context, space: Space, budget: SearchBudget, jobs: int, visible: list[str], watcher: Watcher
) -> Json:
    """Search, or go on with the search of this folder; gives what ``search.json`` holds.

    ``context`` is a run whose data are fetched, ``jobs`` how many trials are made at a time, ``visible`` the GPUs for
    them. Raises SettingsError for another search than the folder's, TrainingError when nothing can be found.
    """
    folder = SearchFolder(context.folder)
    items = len(splits(context.manifest, context.named_sides)["validation"])
    if not items:
        raise TrainingError(
            f"a search needs {context.kind.item}s on the validation side: label more, or name a validation location"
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    another = f"another process searches in {context.folder.path}: wait for it, or take another folder"
    with file_lock(folder.lock, 0, occupied=SettingsError(another)):
        common = parameters_of(context.settings, context.kind.settings)
        plan = SearchPlan(space, common, context.manifest.hash).settle(folder)
        judged = Judged(context.kind.figure, context.kind.item, items)
        study = _study(folder, context, space)
        before, begun = _ended(study), time.monotonic()
        leader = Leader(folder, study, budget, environments(context.settings, jobs, visible))
        ended = leader.lead(watcher)
        found = result(study, plan, judged, ended, time.monotonic() - begun, jobs, _ended(study) - before)
        write_json(folder.result, found)
        write_text(folder.report, search_page(found))
    return found


def _study(folder: SearchFolder, context: Context, space: Space) -> optuna.Study:
    """Open the trials made so far; a new search begins with the settings as they are."""
    mend(folder)
    study = open_study(folder, context.settings.epochs // 3)
    if study.get_trials(deepcopy=False):
        release(study)
    else:
        study.enqueue_trial(present(space, context.settings))
    return study


def _ended(study: optuna.Study) -> int:
    return sum(one.state in ("finished", "pruned", "failed") for one in tried(study))
