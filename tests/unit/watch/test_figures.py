"""Which figures a project has, of its version and of its runs."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.watch.figures import outcome, run_figures, version_figures

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
MEASURED = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "macro": {"f1": {"value": 0.85}}}
VERSION = VersionRecord("v3", "k", "head", "v2", "2026-11-27T12:00:00+00:00", True, "", {"test": MEASURED})
RUN = RunRecord("k", "p", "m", "s", 0, state="promoted", updated="2026-11-28T12:00:00+00:00")


def values(figures: list) -> dict[str, float]:  # type: ignore[type-arg]
    return {one.name: one.value for one in figures}


def test_a_version_has_what_it_was_measured_at_and_how_annotators_agree() -> None:
    found = version_figures("p", VERSION, 0.5, NOW)
    assert values(found) == {"Accuracy": 0.9, "MacroF1": 0.85, "Agreement": 0.5}
    assert {(one.project, one.version, one.at) for one in found} == {("p", "v3", NOW)}


@pytest.mark.parametrize("test", [None, {}, {"accuracy": {"value": None}}, {"macro": {"f1": None}}])
def test_what_was_not_measured_is_left_out(test: object) -> None:
    metrics = {} if test is None else {"test": test}
    assert version_figures("p", replace(VERSION, metrics=metrics), None, NOW) == []


def test_a_version_of_annotations_has_no_f1() -> None:
    measured = {"test": {"accuracy": {"value": 0.5}}}
    assert values(version_figures("p", replace(VERSION, metrics=measured), None, NOW)) == {"Accuracy": 0.5}


def test_a_run_is_told_once_however_it_ended() -> None:
    failed = replace(RUN, state="failed", failures=1)
    assert values(run_figures("p", RUN, VERSION, "", NOW)) == {"Runs": 1.0, "DaysWithoutRun": 1.0}
    assert values(run_figures("p", RUN, VERSION, outcome(RUN), NOW)) == {"DaysWithoutRun": 1.0}
    # Tried again and failed again is another failure; the days go on since the version was made.
    assert values(run_figures("p", failed, VERSION, "", NOW)) == {"RunsFailed": 1.0, "DaysWithoutRun": 2.0}
    assert "RunsFailed" in values(run_figures("p", replace(failed, failures=2), VERSION, outcome(failed), NOW))


def test_a_run_whose_version_waits_has_ended_and_a_persons_word_is_no_other_run() -> None:
    waits = replace(RUN, state="waiting")
    assert values(run_figures("p", waits, VERSION, "", NOW)) == {"Runs": 1.0, "DaysWithoutRun": 1.0}
    for state in ("promoted", "rejected"):
        settled = replace(waits, state=state)
        assert values(run_figures("p", settled, VERSION, outcome(waits), NOW)) == {"DaysWithoutRun": 1.0}


def test_a_run_that_goes_on_is_no_outcome() -> None:
    running = replace(RUN, state="running")
    assert values(run_figures("p", running, VERSION, "", NOW)) == {"DaysWithoutRun": 2.0}
    assert run_figures("p", None, None, "", NOW) == []
