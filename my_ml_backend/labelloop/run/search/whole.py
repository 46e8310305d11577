"""A whole ``labelloop search``: fetch the data, search, train the winner and look at the test side once."""

from collections.abc import Mapping
from dataclasses import dataclass

from labelloop.errors import TrainingError
from labelloop.files import cores
from labelloop.run.context import read_json
from labelloop.run.driver import Reporter, Run
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import with_parameters
from labelloop.run.record import RunInfo
from labelloop.run.search.asked import asked_space, check_space
from labelloop.run.search.folder import SearchFolder
from labelloop.run.search.leader import Budget, Watcher
from labelloop.run.search.machine import gpus
from labelloop.run.search.plan import Plan
from labelloop.run.search.run import search
from labelloop.run.search.winner import prepare
from labelloop.run.source import Opener, open_reader
from labelloop.settings import Settings
from labelloop.types import IMAGES, Json


@dataclass(frozen=True)
class Search:
    """One search: ``parameters`` are common to all trials, ``lists`` say what is searched (asked.LISTS).

    ``jobs`` trials are made at a time; None is one for each GPU, or for each core where there is none.
    """

    folder: RunFolder
    settings: Settings
    parameters: Mapping[str, str]
    lists: Mapping[str, str]
    budget: Budget
    jobs: int | None
    reporter: Reporter
    opens: Opener = open_reader

    def search(self, watcher: Watcher) -> Json:
        """Fetch the data and search; gives what ``search.json`` holds. Raises TrainingError where nothing was found."""
        run = Run(self.folder, self.settings, self.parameters, self.reporter, opens=self.opens)
        held = Plan.read(SearchFolder(self.folder))
        common = self._common()
        space = asked_space(common, self.lists, held.space if held else None)
        check_space(common, space)
        with run.alone():
            for stage in ("fetch", "preprocess"):
                run.make(stage)
        if run.context.kind.name != IMAGES:
            raise TrainingError(f"a search tries networks for pictures; here {run.context.kind.name} are learned")
        visible = gpus()
        jobs = min(self.jobs or len(visible) or cores(), self.budget.trials)
        found = search(run.context, space, self.budget, jobs, visible, watcher)
        if found["best"] is None:
            raise TrainingError(f"no trial has finished: {_why(found)}")
        return found

    def winner(self, found: Json) -> RunFolder:
        """Make the winner's run folder."""
        plan = Plan.read(SearchFolder(self.folder))
        if plan is None:
            raise TrainingError(f"{self.folder.path} holds no search")
        return prepare(self.folder, plan, found["best"])

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
