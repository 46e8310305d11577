"""A SageMaker pipeline of ours (`labelloop aws pipeline apply`): it gets labels and pictures, and gives a run back.

What it has measured is not measured again, where it was made from the same: the stages' own hashes say so.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.cloud.aws.groups import registry_prefix, require_group
from labelloop.cloud.aws.objects import location_of
from labelloop.cloud.aws.pipeline_plan import GROUP, parameters_of_run, spelled
from labelloop.cloud.names import group_of
from labelloop.cloud.places import MANIFEST, PICTURES, SHARDS, SIDES, results, source, write_shards
from labelloop.data.shards import pictures_of, shards
from labelloop.errors import TrainingError
from labelloop.kinds.base import find
from labelloop.trainers.handover import take_bundle
from labelloop.trainers.sagemaker import PipelineTrainer
from labelloop.training_parameters import PARAMETERS
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.run.context import Context

_LAST = "judge"
"""The step that leaves the whole run's folder."""

_FOLDERS, _FILES = ("bundle", "evaluation"), ("train.json", "run.json", "report.html")
"""What is taken of it."""

_MEASURED = ("evaluate", "report")
_TRAINED = ("recipe", "validation", "seconds", "left_out", "notes", "calibration", "device")
"""What ``train.json`` must say."""


class OwnPipeline(PipelineTrainer):
    """Runs our stages: the run's parameters are the pipeline's, and what it leaves is a run's folder."""

    ours = True
    _remedy = "`labelloop aws pipeline apply` brings it up to date"

    def check(self, *, thorough: bool) -> None:
        """Look at all that every pipeline needs, and for files that only this machine has; see Trainer."""
        settings = self._settings
        for name in ("weights", "augmentations", "encoder"):
            if path := settings.file_of(name):
                told = f"LABELLOOP_{name.upper()} names a file of this machine, {path}, which {self.name} has not"
                raise TrainingError(told)
        if taken := [name for name in self._address.parameters if name in self._own]:
            raise TrainingError(
                f"{self.name}: parameter.{taken[0]} would give runs something else than they are named and found by: "
                "leave it to the settings"
            )
        super().check(thorough=thorough)

    @property
    def _own(self) -> tuple[str, ...]:
        """Name the parameters that a run gives."""
        return (*map(spelled, PARAMETERS), "TrainLocation", *self._about("", ""))

    def _gives(self) -> Sequence[str]:
        return (*self._own, *self._address.parameters)

    def _about(self, key: str, project: str, group: str = "") -> dict[str, str]:
        """Say of a run what the pipeline takes beside its training parameters."""
        settings = self._settings
        return {
            "RunKey": key,
            "ProjectKey": project,
            "Location": location_of(settings),
            "MinimumF1": str(settings.minimum_f1),
            "ApprovalStatus": "PendingManualApproval" if settings.approval == "manual" else "Approved",
            GROUP: group,
        }

    def _hand_over(self, context: "Context", key: str) -> dict[str, str]:
        """Write the labels, and the shards that are not there yet; what shows that all is there comes last."""
        project, kind = context.manifest.project, context.manifest.kind
        if not find(kind).recipes:
            raise TrainingError(
                f"{self.name} trains what LabelLoop has recipes for, and these labels are for {kind}: hand them to a "
                "pipeline of yours, which names what takes them, as in manifest=InputManifest (docs/trainers.md)"
            )
        place, names = self.folder.below(source(key)), self._shards(context)
        group = group_of(registry_prefix(self._settings) or self._address.name, project)
        require_group(self.account, group)
        place.put_file(MANIFEST, context.folder.manifest)
        place.put_file(SIDES, context.folder.sides)
        place.put(SHARDS, write_shards(f"{self.folder.uri}/{PICTURES}/", names), "application/json")
        return {
            **parameters_of_run(context.parameters),
            **self._about(key, str(project), group),
            "TrainLocation": f"{place.uri}/",
        }

    def _shards(self, context: "Context") -> list[str]:
        """Bring pictures to S3, in shards; names all that the run needs."""
        place, names = self.folder.below(PICTURES), []
        files = next(pictures_of(context.manifest), "")
        there = set(place.names())
        with tempfile.TemporaryDirectory(prefix="labelloop-shards-") as folder:
            for one in shards(pictures_of(context.manifest), context.pictures):
                if files and not one.pictures:
                    raise TrainingError(f"{self.name} trains on pictures, and none of this run is on this machine")
                if one.name not in there:
                    path = Path(folder) / one.name
                    one.write(context.pictures, path)
                    place.put_file(one.name, path)
                    path.unlink()
                names.append(one.name)
                context.progress("shards of pictures to S3", len(names), 0)
        return names

    def collect(self, handle: str, context: "Context") -> Json:
        """Take bundle, figures and report into the run's folder; see Trainer."""
        place = self.folder.below(results(handle.rpartition("/")[2], _LAST))
        names = [name for name in place.names() if name in _FILES or name.partition("/")[0] in _FOLDERS]
        with tempfile.TemporaryDirectory(prefix="labelloop-collected-") as path:
            place.fetch(Path(path), names)
            found = replace(context.folder, path=Path(path))
            record, trained = _read(found.record, place.uri), _read(found.trained, place.uri)
            if record.get("manifest") != context.manifest.hash:
                raise TrainingError(f"{place.uri} holds a run of other labels than these: nothing of it is taken")
            if missing := [name for name in _TRAINED if name not in trained]:
                raise TrainingError(
                    f"{place.uri}/{found.trained.name} does not say {missing[0]}: nothing of it is taken"
                )
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
