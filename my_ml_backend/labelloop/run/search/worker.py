"""One process of a search; started as ``python -m labelloop.run.search.worker RUN NUMBER TRIALS JOBS``.

NUMBER is which of JOBS processes it is, TRIALS how many there may be in all.
"""

import os
import sys
from pathlib import Path

from labelloop.environment import start_logging
from labelloop.errors import LabelLoopError, StoreError
from labelloop.run.context import Context
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import train_settings
from labelloop.run.preprocess import dataset_of
from labelloop.run.search.asking import ask
from labelloop.run.search.folder import SearchFolder
from labelloop.run.search.journal import open_study
from labelloop.run.search.plan import Plan
from labelloop.run.search.trial import Trial
from labelloop.run.search.trials import BEGUN
from labelloop.settings import Settings


def work(folder: SearchFolder, settings: Settings, worker: int, most: int) -> None:
    """Make trials until the search has had ``most`` of them. Raises StoreError without plan or manifest."""
    plan = Plan.read(folder)
    if plan is None:
        raise StoreError(f"{folder.plan} is not there: begin with `labelloop search --run {folder.run.path}`")
    common = plan.settings(settings, {})
    context = Context(folder.run, common, lambda _what, _done, _total: None)
    dataset = dataset_of(context)
    study = open_study(folder, warmup=common.epochs // 3)
    while (next_one := ask(study, folder, plan.space, common.seed, most, worker)) is not None:
        asked, chosen = next_one
        place = folder.trial(asked.user_attrs[BEGUN]["origin"])
        trial = Trial(study, asked, chosen["recipe"], dataset, place, context.caches)
        trial.carry_out(train_settings(plan.settings(settings, chosen)))


def main() -> int:
    """Read the command line and work; gives the exit code."""
    run, (worker, most, jobs) = Path(sys.argv[1]), map(int, sys.argv[2:])
    try:
        settings = Settings.from_environment()
        start_logging(settings.log_level)
        _keep_to(worker, jobs)
        work(SearchFolder(RunFolder(run)), settings, worker, most)
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
    sys.exit(main())
