"""Training by our own stages elsewhere: what is handed over to them in a cloud's folder, and what is taken back.

What they have measured is not measured again, where it was made from the same: the stages' own hashes say so.
"""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.cloud.base import Folder
from labelloop.cloud.objects import storage_of
from labelloop.cloud.places import (
    LEFT_FILES,
    LEFT_FOLDERS,
    MANIFEST,
    PICTURES,
    SHARDS,
    SIDES,
    source,
    write_shards,
)
from labelloop.data.shards import pictures_of, shards
from labelloop.errors import TrainingError
from labelloop.kinds.base import find
from labelloop.settings import Settings
from labelloop.trainers.handover import take_bundle
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.run.context import Context

_MEASURED = ("evaluate", "report")
_TRAINED = ("recipe", "validation", "seconds", "left_out", "notes", "calibration", "device")
"""What ``train.json`` must say."""


def require_elsewhere(settings: Settings, name: str) -> None:
    """Raise TrainingError for settings that name files of this machine, which the trainer of that name has not."""
    for parameter in ("weights", "augmentations", "encoder"):
        if path := settings.file_of(parameter):
            told = f"LABELLOOP_{parameter.upper()} names a file of this machine, {path}, which {name} has not"
            raise TrainingError(told)


def require_recipes(context: "Context", name: str, instead: str) -> None:
    """Raise TrainingError where our stages do not train what these labels are for; ``instead`` says who might."""
    kind = context.manifest.kind
    if not find(kind).recipes:
        raise TrainingError(
            f"{name} trains what LabelLoop has recipes for, and these labels are for {kind}: hand them to a pipeline "
            f"of yours, {instead} (docs/trainers.md)"
        )


def hand_over(folder: Folder, context: "Context", key: str, name: str) -> Folder:
    """Write a run's labels, and the shards that are not there yet; what shows that all is there comes last.

    Gives the folder of the labels. Raises TrainingError, CloudError, or an Outage.
    """
    place, names = folder.below(source(key)), _bring_shards(folder.below(PICTURES), context, name)
    place.put_file(MANIFEST, context.folder.manifest)
    place.put_file(SIDES, context.folder.sides)
    place.put(SHARDS, write_shards(f"{folder.uri}/{PICTURES}/", names), "application/json")
    return place


def _bring_shards(place: Folder, context: "Context", trainer: str) -> list[str]:
    """Bring pictures there, in shards; names all that the run needs."""
    names = []
    files = next(pictures_of(context.manifest), "")
    there = set(place.names())
    with tempfile.TemporaryDirectory(prefix="labelloop-shards-") as folder:
        for one in shards(pictures_of(context.manifest), context.pictures):
            if files and not one.pictures:
                raise TrainingError(f"{trainer} trains on pictures, and none of this run is on this machine")
            if one.name not in there:
                path = Path(folder) / one.name
                one.write(context.pictures, path)
                place.put_file(one.name, path)
                path.unlink()
            names.append(one.name)
            context.progress(f"shards of pictures to {storage_of(place.uri)}", len(names), 0)
    return names


def take_run(place: Folder, context: "Context") -> Json:
    """Take bundle, figures and report of a run made elsewhere into the run's folder; gives what Trainer.collect does.

    Raises TrainingError where it is not the run of these labels, or not whole; CloudError, or an Outage.
    """
    names = [name for name in place.names() if name in LEFT_FILES or name.partition("/")[0] in LEFT_FOLDERS]
    with tempfile.TemporaryDirectory(prefix="labelloop-collected-") as path:
        place.fetch(Path(path), names)
        found = replace(context.folder, path=Path(path))
        record, trained = _read(found.record, place.uri), _read(found.trained, place.uri)
        if record.get("manifest") != context.manifest.hash:
            raise TrainingError(f"{place.uri} holds a run of other labels than these: nothing of it is taken")
        if missing := [name for name in _TRAINED if name not in trained]:
            raise TrainingError(f"{place.uri}/{found.trained.name} does not say {missing[0]}: nothing of it is taken")
        take_bundle(context, found.bundle)
        _take(found.evaluation, context.folder.evaluation)
        _take(found.report, context.folder.report)
    return {name: trained[name] for name in trained if name != "reported"} | {"stages": _measured(record)}


def _read(path: Path, place: str) -> Json:
    """Read a JSON object that a stage wrote elsewhere; raises TrainingError."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{place}/{path.name} cannot be read ({error}): nothing of it is taken") from error
    if not isinstance(found, dict):
        raise TrainingError(f"{place}/{path.name} is no JSON object: nothing of it is taken")
    return found


def _measured(record: Json) -> dict[str, str]:
    stages = record.get("stages")
    if not isinstance(stages, dict):
        return {}
    return {name: str(stages[name]) for name in _MEASURED if name in stages}


def _take(there: Path, here: Path) -> None:
    """Put a file or a folder in the place of another; where there is none, that is gone, too."""
    if here.is_dir():
        shutil.rmtree(here)
    here.unlink(missing_ok=True)
    if there.exists():
        shutil.move(there, here)
