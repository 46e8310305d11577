"""How a project stands: for ``labelloop status``, ``/status`` and the demo. Asks the store and Redis only."""

from dataclasses import asdict, dataclass

from labelloop.errors import QueueError
from labelloop.loop import changes
from labelloop.loop.hub import Hub
from labelloop.loop.notes import read_notes
from labelloop.loop.progress import Step, current_step
from labelloop.loop.registry import known_projects
from labelloop.loop.run import describe
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.types import Json, ProjectKey

__all__ = ["ProjectStatus", "known_projects", "project_status"]


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project at one moment. ``due`` is when the policy calls for a run (Unix seconds), None without changes.

    ``missing`` says what the first version lacks, ``trouble`` what went wrong last; ``queue`` whether Redis answers.
    """

    project: str
    champion: str | None
    announced: str | None
    missing: str = ""
    trouble: str = ""
    changed: int = 0
    due: float | None = None
    step: Step | None = None
    run: Json | None = None
    queue: bool = True

    def to_json(self) -> Json:
        """Turn into plain values."""
        return asdict(self)


def project_status(hub: Hub, project: ProjectKey) -> ProjectStatus:
    """Say how the project stands; without Redis, what the store knows. Raises StoreError."""
    pointers = ChampionPointer(hub.store, project).read()
    record = Runs(hub.store, project).latest()
    run, needed = describe(record) if record else None, hub.settings.min_labels
    try:
        notes, pending, step = read_notes(hub, project), changes.pending(hub, project), current_step(hub, project)
        due = changes.due(hub, project)
    except QueueError as error:
        return ProjectStatus(
            str(project), pointers.champion, pointers.announced, trouble=str(error), run=run, queue=False
        )
    return ProjectStatus(
        str(project),
        pointers.champion,
        pointers.announced,
        missing="" if pointers.champion else notes.get("missing") or _missing(record, needed, pending.changed),
        trouble="; ".join(notes[name] for name in ("trouble", "sweep") if name in notes),
        changed=pending.changed,
        due=due,
        step=step,
        run=run,
    )


def _missing(record: RunRecord | None, needed: int, labels: int) -> str:
    """Say what the first version lacks as long as no run has found labels missing."""
    if record is not None:
        return f"a version that passes the gate; the last run is {record.state}"
    if labels < needed:
        return f"{needed - labels} more label{'' if needed - labels == 1 else 's'}"
    return "nothing; the first run is about to begin"
