"""The folder of one search, inside its run's folder: which file is what."""

from dataclasses import dataclass
from pathlib import Path

from labelloop.run.folder import RunFolder


@dataclass(frozen=True, slots=True)
class SearchFolder:
    """Names the files of one search."""

    run: RunFolder

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.run.path / "search"

    @property
    def plan(self) -> Path:
        """What is searched."""
        return self.path / "plan.json"

    @property
    def journal(self) -> Path:
        """Optuna's journal: every trial, as it went."""
        return self.path / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the process that leads the search."""
        return self.path / ".lock"

    @property
    def asking(self) -> Path:
        """Held by the process that is choosing its next trial."""
        return self.path / ".asking"

    @property
    def result(self) -> Path:
        """Trials, best values, importances, times."""
        return self.path / "search.json"

    @property
    def report(self) -> Path:
        """The same to look at: one HTML file."""
        return self.path / "search.html"

    def log(self, worker: int) -> Path:
        """What one of the processes has said."""
        return self.path / f"worker-{worker}.log"

    def trial(self, number: int) -> Path:
        """Where a trial, and whichever takes it up, works; gone when it ends."""
        return self.path / "trials" / str(number)
