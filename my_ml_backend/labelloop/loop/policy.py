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

    @classmethod
    def of(cls, settings: Settings, *, lacking: bool = False) -> "Policy":
        """Take the rule from the settings; a project ``lacking`` labels for a first version is due after any change."""
        return cls(1 if lacking else settings.retrain_after, settings.quiet_seconds, settings.max_wait_seconds)

    def due(self, pending: Pending) -> float | None:
        """Say at which moment (Unix seconds) a run is due, given no further change; None while nothing has changed."""
        if pending.changed == 0:
            return None
        latest = pending.first + self.max_wait
        if pending.changed < self.retrain_after:
            return latest
        return min(pending.last + self.quiet, latest)
