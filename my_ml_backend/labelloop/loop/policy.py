"""When a project is due for a run: pure rules over the changes noted so far."""

from dataclasses import dataclass

from labelloop.settings import Settings


@dataclass(frozen=True, slots=True)
class Pending:
    """The labels changed since the last manifest: how many, and the first and last moment (Unix seconds)."""

    changed: int = 0
    first: float = 0.0
    last: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Retrain after ``retrain_after`` changed labels and ``quiet`` seconds, or ``max_wait`` seconds after the first."""

    retrain_after: int
    quiet: float
    max_wait: float
    min_labels: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """Take the rule from the settings."""
        return cls(
            settings.retrain_after, settings.quiet_seconds, settings.max_wait_seconds, min_labels=settings.min_labels
        )

    @classmethod
    def parse(cls, text: str) -> "Policy | None":
        """Read ``str()`` of a policy back; None for anything else."""
        found = text.split()
        try:
            return cls(int(found[0]), float(found[1]), float(found[2]), int(found[3]))
        except (ValueError, IndexError):
            return None

    def __str__(self) -> str:
        return f"{self.retrain_after} {self.quiet} {self.max_wait} {self.min_labels}"

    def due(self, pending: Pending, *, lacking: bool = False) -> float | None:
        """Say at which moment (Unix seconds) a run is due, given no further change; None while nothing has changed.

        A project ``lacking`` labels for a first version is due after any change.
        """
        if pending.changed == 0:
            return None
        latest = pending.first + self.max_wait
        if pending.changed < (1 if lacking else self.retrain_after):
            return latest
        return min(pending.last + self.quiet, latest)
