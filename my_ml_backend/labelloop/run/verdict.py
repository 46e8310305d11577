"""The gate's rule, what it judges, and what it says."""

from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt

from labelloop.errors import Conflict
from labelloop.models.versions import VersionRecord, Versions
from labelloop.train.metrics import Indicators, correct, given
from labelloop.types import Choice, Json


@dataclass(frozen=True, slots=True)
class GateRule:
    """What a challenger may lose (docs/gate.md). All shares are in [0, 1].

    ``error`` is the chance that a version which is as good as the champion is taken for worse. ``margin``: the accuracy
    that one class may lose, on at least ``class_items`` items. ``calibration``: rise of the calibration error, on at
    least ``calibration_items``. ``confidence`` is that of all intervals; that of the calibration error is from
    ``resamples`` bootstrap draws, and ends at nothing (None) where these do not differ.
    """

    error: float = 0.1
    margin: float = 0.1
    calibration: float = 0.05
    confidence: float = 0.95
    resamples: int = 2000
    class_items: int = 10
    calibration_items: int = 50


@dataclass(frozen=True, slots=True)
class Conceded:
    """What contests since the best version let go: items that only the earlier one had right, and only the later."""

    lost: int = 0
    gained: int = 0

    @classmethod
    def read(cls, gate: Json) -> "Conceded":
        """Read what a champion's verdict noted; nothing in verdicts of releases that noted a share alone."""
        noted = gate.get("since_best", {})
        return cls(int(noted.get("lost", 0)), int(noted.get("gained", 0)))

    def after(self, lost: int, gained: int) -> "Conceded":
        """Add one more contest; nothing is left of it where the version is as good as the best."""
        total = Conceded(self.lost + lost, self.gained + gained)
        return total if total.lost > total.gained else Conceded()

    def numbers(self, items: int) -> Json:
        """Give it as JSON, also as the share of ``items`` that is lost in all."""
        return {"conceded": (self.lost - self.gained) / items, "since_best": asdict(self)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the challenger may replace the champion, in one sentence and in numbers (JSON).

    ``forced`` says that a person let it pass although the gate had rejected it.
    """

    passed: bool
    sentence: str
    numbers: Json = field(default_factory=dict)
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a version makes of the test items: probabilities, (items, classes); nan where a prediction failed.

    ``asked`` (items,) tells which items it could be asked about (None: all); the others show nothing of its worth.
    ``thresholds`` (classes,) are those that it gives classes by, with choice ``multiple`` (None: a half for each).
    """

    version: str
    scores: npt.NDArray[np.float64]
    asked: npt.NDArray[np.bool_] | None = None
    thresholds: npt.NDArray[np.float64] | None = None

    def only(self, items: npt.NDArray[np.bool_]) -> "Predictions":
        """Give the predictions of some items: bool, (items,)."""
        return Predictions(self.version, self.scores[items], thresholds=self.thresholds)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which items got a prediction: bool, (items,)."""
        return np.asarray(np.isfinite(self.scores).all(axis=1))

    def right(self, truth: Indicators, choice: Choice) -> npt.NDArray[np.bool_]:
        """Tell which items have exactly the right classes: bool, (items,); a failed prediction has not."""
        return correct(truth, self.given(choice)) & self.answered

    def given(self, choice: Choice) -> Indicators:
        """Tell which classes each item is given: bool, (items, classes); none where the prediction failed.

        With choice ``single`` the class of the highest score, with ``multiple`` all from their thresholds on.
        """
        scores = np.where(self.answered[:, None], self.scores, 0.0)
        return given(scores, choice, self.thresholds) & self.answered[:, None]


@dataclass(frozen=True, eq=False)
class Refits:
    """What refits of champion and challenger give items that they have not seen: bool, (items, classes), as the truth.

    There is at least one item.
    """

    truth: Indicators
    champion: Indicators
    challenger: Indicators


def force(verdict: Verdict) -> Verdict:
    """Let a rejected challenger pass at a person's word; the gate's own reason stays in the sentence.

    A verdict that passed is handed back as it is. What earlier versions had conceded is forgiven: the person has named
    a new standard.
    """
    if verdict.passed:
        return verdict
    sentence = f"promoted by force, though the gate said: {verdict.sentence}"
    return replace(
        verdict, passed=True, sentence=sentence, numbers=verdict.numbers | Conceded().numbers(1), forced=True
    )


def force_version(versions: Versions, version: str) -> VersionRecord:
    """Let a rejected version pass, and give its record as it is now; one that passed is left alone.

    Raises NotFound, and Conflict for one that was pruned.
    """
    record = versions.get(version)
    if record.promoted:
        return record
    if record.pruned:
        raise Conflict(f"{version} cannot serve any more: its files were pruned on {record.pruned[:10]}")
    verdict = force(Verdict(False, record.verdict, record.metrics.get("gate", {})))
    metrics = record.metrics | {"gate": verdict.numbers}
    forced = replace(record, promoted=True, forced=True, verdict=verdict.sentence, metrics=metrics)
    versions.amend(forced)
    return forced


def refuse_version(versions: Versions, version: str, why: str) -> VersionRecord:
    """Reject a version at a person's word, and give its record as it is now; a rejected one is left alone."""
    record = versions.get(version)
    if not record.promoted:
        return record
    refused = replace(record, promoted=False, verdict=f"{record.verdict}; {why}")
    versions.amend(refused)
    return refused
