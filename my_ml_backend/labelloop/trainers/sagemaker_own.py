"""A SageMaker pipeline of ours (`labelloop aws pipeline apply`): it gets labels and pictures, and gives a run back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelloop.cloud.aws.groups import registry_prefix, require_group
from labelloop.cloud.aws.objects import location_of
from labelloop.cloud.aws.pipeline_plan import GROUP, parameters_of_run, spelled
from labelloop.cloud.names import group_of
from labelloop.cloud.places import results
from labelloop.errors import TrainingError
from labelloop.trainers.own import hand_over, require_elsewhere, require_recipes, take_run
from labelloop.trainers.sagemaker import PipelineTrainer
from labelloop.training_parameters import PARAMETERS
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.run.context import Context

_LAST = "judge"
"""The step that leaves the whole run's folder."""


class OwnPipeline(PipelineTrainer):
    """Runs our stages: the run's parameters are the pipeline's, and what it leaves is a run's folder."""

    ours = True
    _remedy = "`labelloop aws pipeline apply` brings it up to date"

    def check(self, *, thorough: bool) -> None:
        """Look at all that every pipeline needs, and for files that only this machine has; see Trainer."""
        require_elsewhere(self._settings, self.name)
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
        """Write the labels and the pictures; see PipelineTrainer."""
        require_recipes(context, self.name, "which names what takes them, as in manifest=InputManifest")
        project = context.manifest.project
        group = group_of(registry_prefix(self._settings) or self._address.name, project)
        place = hand_over(self.folder, context, key, self.name)
        require_group(self.account, group)
        return {
            **parameters_of_run(context.parameters),
            **self._about(key, str(project), group),
            "TrainLocation": f"{place.uri}/",
        }

    def collect(self, handle: str, context: "Context") -> Json:
        """Take bundle, figures and report into the run's folder; see Trainer."""
        return take_run(self.folder.below(results(handle.rpartition("/")[2], _LAST)), context)
