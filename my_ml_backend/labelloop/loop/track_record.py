"""A project's versions as one looks back on them: what each was measured at, and how annotators agreed with it."""

from dataclasses import dataclass

from labelloop.errors import Damaged
from labelloop.loop.hub import Hub
from labelloop.models.champion import Pointers
from labelloop.models.headline import headline
from labelloop.models.versions import VersionRecord, VersionState, state_of
from labelloop.types import ADOPTED, Json, ProjectKey
from labelloop.watch.agreement import Agreed, kept_agreements


@dataclass(frozen=True, slots=True)
class PastVersion:
    """One version, how it stands now, and what annotators made of its predictions; None before they have said."""

    record: VersionRecord
    state: VersionState
    agreement: Agreed | None

    @property
    def labels(self) -> int | None:
        """How many labeled items there were when it was trained; None where that was not kept."""
        found = self.record.metrics.get("labels")
        return found if isinstance(found, int) else None

    @property
    def suspects(self) -> int:
        """How many labels were found to be probably wrong when it was trained."""
        found = self.record.metrics.get("suspects")
        return found if isinstance(found, int) else 0

    @property
    def measured(self) -> Json:
        """What it was measured at on test items, as ``metrics.json`` has it; empty where it was not."""
        found: Json = self.record.metrics.get("test") or {}
        return found

    @property
    def figure(self) -> tuple[str, Json]:
        """The figure that it is compared by: its name, and ``{"value", "low", "high"}``."""
        return headline(self.measured)

    @property
    def reported(self) -> bool:
        """Whether a report was written of it: none is of what was adopted, and a pruned version has lost it."""
        return self.record.recipe != ADOPTED and not self.record.pruned


def track_record(hub: Hub, project: ProjectKey, most: int = 0) -> tuple[list[PastVersion], str]:
    """Read the versions of a project, the newest first: all, or the ``most`` newest ones.

    Gives what is damaged, too, where it cannot be told which of them is champion. Raises StoreError.
    """
    try:
        pointers, damage = hub.pointer(project).read(), ""
    except Damaged as error:
        pointers, damage = Pointers(), str(error)
    agreements = kept_agreements(hub.store, project)
    past = [
        PastVersion(record, state_of(record.version, record, pointers), agreements.get(record.version))
        for record in reversed(hub.versions(project).all(most))
    ]
    return past, damage
