"""The run folder of a search's winner: the same data, the winner's parameters."""

import shutil
from dataclasses import replace

from labelloop.run.folder import RunFolder
from labelloop.run.parameters import LOCATIONS
from labelloop.run.record import RunInfo
from labelloop.run.search.folder import SearchFolder
from labelloop.run.search.plan import Plan
from labelloop.types import Json


def winner_folder(searched: RunFolder, best: Json) -> RunFolder:
    """Name the run folder of a trial."""
    return RunFolder(searched.path / f"winner-{best['number']}")


def prepare(searched: RunFolder, plan: Plan, best: Json) -> RunFolder:
    """Make the winner's run folder, whose data are those of the search; the run in one that is there is left as it is.

    What the search found is laid into it, for the run's report.
    """
    folder = winner_folder(searched, best)
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
