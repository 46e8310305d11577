"""The folder of one run: which file is what. A stage reads and writes these and nothing else (docs/training.md)."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names the files of one run. A cloud may want checkpoints and events elsewhere, where they outlive the machine."""

    path: Path
    checkpoints_at: Path | None = None
    events_at: Path | None = None

    @property
    def record(self) -> Path:
        """The run's record: settings, versions of packages, manifest hash, timings, device, peak memory."""
        return self.path / "run.json"

    @property
    def manifest(self) -> Path:
        """``fetch``: the manifest, LabelLoop's own form."""
        return self.path / "manifest.jsonl"

    @property
    def sides(self) -> Path:
        """``fetch``: the sides that the source named, by picture (sha256), and tasks it put on two sides."""
        return self.path / "sides.json"

    @property
    def chosen(self) -> Path:
        """``fetch``: the labeled tasks that annotators got because of their scores; not there where there are none."""
        return self.path / "chosen.json"

    @property
    def data(self) -> Path:
        """``preprocess``: classes, pictures of each class on each side, what was left out and why."""
        return self.path / "data.json"

    @property
    def checkpoints(self) -> Path:
        """``train``: where an interrupted training goes on."""
        return self.checkpoints_at or self.path / "checkpoints"

    @property
    def command(self) -> Path:
        """``train``: what is handed to somebody else's training, and what that leaves (docs/trainers.md)."""
        return self.path / "command"

    @property
    def bundle(self) -> Path:
        """``train``: the bundle (docs/bundle.md)."""
        return self.path / "bundle"

    @property
    def trained(self) -> Path:
        """``train``: what each recipe reached, epoch by epoch, and what was chosen."""
        return self.path / "train.json"

    @property
    def archive(self) -> Path:
        """``train``: the bundle as SageMaker wants it."""
        return self.path / "model.tar.gz"

    @property
    def evaluation(self) -> Path:
        """``evaluate``: everything measured on the test side, with its pictures."""
        return self.path / "evaluation"

    @property
    def metrics(self) -> Path:
        """``evaluate``: the metrics with their intervals."""
        return self.evaluation / "metrics.json"

    @property
    def predictions(self) -> Path:
        """``evaluate``: truth and scores of every test picture."""
        return self.evaluation / "predictions.npz"

    @property
    def events(self) -> Path:
        """TensorBoard's event files."""
        return self.events_at or self.path / "tensorboard"

    @property
    def verdict(self) -> Path:
        """``register`` or ``judge``: the gate's verdict."""
        return self.path / "verdict.json"

    @property
    def report(self) -> Path:
        """The report: one HTML file."""
        return self.path / "report.html"


JUDGE = "judge"
"""A stage that only says what ``register`` would decide; no run needs it."""

STAGES = ("fetch", "preprocess", "train", "evaluate", "register", "report")
"""In their order. ``report`` comes last: nobody's next step waits for it."""
