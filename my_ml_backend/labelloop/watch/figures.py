"""The figures of a project and its version, as they are drawn over time and watched by alarms (docs/aws.md)."""

from datetime import datetime

from labelloop.cloud.base import Figure
from labelloop.models.headline import ACCURACY, headline
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.types import Json

_DAY = 24 * 3600.0


def version_figures(project: str, record: VersionRecord, agreed: float | None, at: float) -> list[Figure]:
    """Give how right a version was on the test side, and how often annotators left its predictions as they were.

    ``Main`` is its kind's main figure, where that is not the accuracy. ``agreed`` is the share that they left. What
    was not measured is left out.
    """
    measured = record.metrics.get("test", {})
    name, main = headline(measured)
    found = {
        "Accuracy": _value(measured, ACCURACY),
        "Main": None if name == ACCURACY else main["value"],
        "MacroF1": _value(measured.get("macro") or {}, "f1"),
        "Agreement": agreed,
    }
    return [Figure(name, value, project, record.version, at) for name, value in found.items() if value is not None]


def run_figures(
    project: str, last: RunRecord | None, version: VersionRecord | None, told: str, at: float
) -> list[Figure]:
    """Give how a project's runs go: whether the last one has ended since ``told`` (see ``outcome``), and how long ago.

    Days are those since the last run if it came to its verdict, else since the version was made.
    """
    found = {}
    if last is not None and outcome(last) not in ("", told):
        found["RunsFailed" if last.state == "failed" else "Runs"] = 1.0
    ended = last.updated if last is not None and last.judged else ""
    if since := ended or (version.created if version is not None else ""):
        found["DaysWithoutRun"] = max(0.0, at - datetime.fromisoformat(since).timestamp()) / _DAY
    return [Figure(name, value, project, "", at) for name, value in found.items()]


def outcome(record: RunRecord) -> str:
    """Name how a run has ended, another way each time that it ends; empty while it goes on."""
    # What a person says of a version that waits is no other end of its run.
    state = "judged" if record.judged else record.state
    return "" if state == "running" else f"{record.key} {state} {record.failures}"


def _value(measured: Json, name: str) -> float | None:
    value = (measured.get(name) or {}).get("value")
    return None if value is None else float(value)
