"""What a site says has happened in one of its projects; what follows from it is the loop's matter."""

from dataclasses import dataclass, field

from labelloop.types import Identity


@dataclass(frozen=True, slots=True)
class ProjectEvent:
    """Something has happened in a project; ``created`` is in Unix seconds, None where the webhook does not tell it."""

    project_id: int
    created: int | None = field(default=None, kw_only=True)

    @property
    def project(self) -> Identity:
        """Which project that is."""
        return Identity(self.project_id, self.created)


@dataclass(frozen=True, slots=True)
class LabelsChanged(ProjectEvent):
    """Annotations were submitted, edited or deleted.

    A task that is skipped at once is no changed label; an annotation that becomes a skip, or stops being one, is.
    ``task_ids`` is empty where they are not named, as with deletions in Label Studio.
    """

    annotation_ids: tuple[int, ...]
    task_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TasksCreated(ProjectEvent):
    """Tasks were imported; a large import may come as several of these."""

    task_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TrainingRequested(ProjectEvent):
    """Somebody asked for a training: in Label Studio, pressed Start Training."""


@dataclass(frozen=True, slots=True)
class LabelConfigChanged(ProjectEvent):
    """The project's settings were saved, what annotators are asked perhaps among them."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to do, and why: another action, a skip, an empty list, or a webhook that carries no payload."""

    action: str
    reason: str


Event = LabelsChanged | TasksCreated | TrainingRequested | LabelConfigChanged | Ignored
