"""A whole search of one run folder's data, from its plan to ``search.json``."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import optuna

from labelloop.data.split import splits
from labelloop.errors import SettingsError, TrainingError
from labelloop.files import file_lock
from labelloop.run.context import Context, write_json, write_text
from labelloop.run.parameters import parameters_of
from labelloop.run.search.asking import release
from labelloop.run.search.folder import SearchFolder
from labelloop.run.search.journal import mend, open_study
from labelloop.run.search.leader import Budget, Leader, Watcher
from labelloop.run.search.machine import environments
from labelloop.run.search.plan import Plan
from labelloop.run.search.report import report
from labelloop.run.search.result import Spent, result
from labelloop.run.search.space import Space, present
from labelloop.run.search.trials import tried
from labelloop.types import Json

_log = logging.getLogger(__name__)


def search(context: Context, space: Space, budget: Budget, jobs: int, visible: list[str], watcher: Watcher) -> Json:
    """Search, or go on with the search of this folder; gives what ``search.json`` holds.

    ``context`` is a run whose data are fetched, ``jobs`` how many trials are made at a time, ``visible`` the GPUs for
    them. Raises SettingsError for another search than the folder's, TrainingError when nothing can be found.
    """
    folder = SearchFolder(context.folder)
    pictures = len(splits(context.manifest, context.named_sides)["validation"])
    if not pictures:
        raise TrainingError("a search needs pictures on the validation side: label more, or name a validation location")
    with _alone(folder):
        plan = Plan(space, parameters_of(context.settings, context.kind.settings), context.manifest.hash).settle(folder)
        study = _study(folder, context, space)
        before, begun = _ended(study), time.monotonic()
        leader = Leader(folder, study, budget, environments(context.settings, jobs, visible))
        ended = leader.lead(watcher)
        spent = Spent(time.monotonic() - begun, jobs, _ended(study) - before)
        found = result(study, plan, pictures, spent, ended)
        write_json(folder.result, found)
        write_text(folder.report, report(found))
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


@contextmanager
def _alone(folder: SearchFolder) -> Iterator[None]:
    """Hold the search against other processes; raises SettingsError when one of them has it."""
    folder.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(folder.lock, 0))
        except BlockingIOError:
            raise SettingsError(
                f"another process searches in {folder.run.path}: wait for it, or take another folder"
            ) from None
        yield
