"""Figures on their way from annotations, versions, runs and the endpoint to a stand-in of CloudWatch."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from click.testing import CliRunner

from labelloop.cli.doctor import diagnose
from labelloop.cli.main import main
from labelloop.data.labeling import Counters
from labelloop.data.site import Begun, Judged
from labelloop.errors import StoreAway
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.metering import look_for_agreement
from labelloop.loop.order import Order, packed
from labelloop.loop.predict import predict_tasks
from labelloop.loop.project_registry import remember_project, site_of
from labelloop.loop.redis_client import METERED
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.records import to_bytes
from labelloop.models.runs import RunRecord
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord
from labelloop.types import Finding
from labelloop.watch.agreement import Agreed, keep_agreement, kept_agreements
from labelloop.watch.judgement import Judgement
from labelloop.watch.records import Watched
from support.aws import StandIn
from support.file_bundle import write_bundle
from support.label_configs import interface
from support.studio_api import CONFIG, StudioApi

from .conftest import MakeHub, of_this_process

PUT = "cloudwatch:PutMetricData"
ADDRESS = "cloudwatch://LabelLoop?region=eu-west-1"
TESTED = {"accuracy": {"value": 0.9}, "macro": {"f1": {"value": 0.8}}}


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in.reset()
    stand_in.use(monkeypatch)
    return stand_in


@pytest.fixture
def loop(aws: StandIn, make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of the sweep, of a project with an announced version whose predictions five tasks have."""
    made = make_hub(metrics=ADDRESS, endpoint="fake://?classes=cat,dog&script=down*")
    studio.connect("v1")
    studio.model_version = "v1"
    studio.add_tasks(6)
    project = made.project(7)
    versions, pointer = made.versions(project), made.pointer(project)
    versions.claim("k")
    record = VersionRecord("v1", "k", "head", None, "2026-11-01T00:00:00+00:00", True, "good", {"test": TESTED})
    versions.publish("v1", write_bundle(made.settings.directory / "made"), record)
    fence = pointer.take_fence()
    pointer.promote("v1", fence)
    pointer.announce("v1", fence)
    for task in range(1, 6):
        region = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}
        studio.predictions.append({"id": task, "task": task, "model_version": "v1", "result": [region], "score": 0.9})
    remember_project(made, project, "http://labelloop-1:9090")
    yield from of_this_process(made, monkeypatch)


def sums(aws: StandIn) -> dict[str, float]:
    """Give what lies in CloudWatch, by name, each with its Version if it has one."""
    client: Any = aws.client("cloudwatch")
    found = {}
    for one in client.list_metrics(Namespace="LabelLoop")["Metrics"]:
        told = {each["Name"]: each["Value"] for each in one["Dimensions"]}
        kept = client.get_metric_data(
            MetricDataQueries=[
                {"Id": "a", "MetricStat": {"Metric": one, "Period": 86400, "Stat": "Sum"}, "ReturnData": True}
            ],
            StartTime=1_700_000_000,
            EndTime=4_000_000_000,
        )
        found[" ".join(filter(None, (one["MetricName"], told.get("Version"))))] = sum(
            kept["MetricDataResults"][0]["Values"]
        )
    return found


def later(hub: Hub) -> None:
    """Let the minute be over."""
    hub.redis.delete(METERED)


def ended(hub: Hub, state: str, failures: int = 0) -> None:
    hub.runs(hub.project(7)).save(
        RunRecord("k", str(hub.project(7)), "m", "s", 0, state=state, failures=failures)  # type: ignore[arg-type]
    )


def test_a_sweep_sends_what_is_known_of_the_announced_version(aws: StandIn, loop: Hub, studio: StudioApi) -> None:
    for task, label in ((1, "cat"), (2, "cat"), (3, "dog")):
        studio.annotate(task, label, parent_prediction=task)
    studio.annotate(4, "cat")
    ended(loop, "promoted")

    jobs.sweep()
    found = sums(aws)
    assert found.pop("DaysWithoutRun") == pytest.approx(0, abs=0.01)
    assert found == {
        "Accuracy v1": 0.9,
        "MacroF1 v1": 0.8,
        "Agreement v1": pytest.approx(2 / 3),
        "Runs": 1.0,
        "EndpointErrors": 0.0,
    }
    assert project_status(loop, loop.project(7)).agreement == Agreed("v1", 3, 2)


def test_figures_are_sent_once_a_minute_and_a_run_is_told_once(aws: StandIn, loop: Hub) -> None:
    ended(loop, "failed", 1)
    jobs.sweep()
    jobs.sweep()
    assert aws.calls.count(PUT) == 1

    later(loop)
    jobs.sweep()
    assert (aws.calls.count(PUT), sums(aws)["RunsFailed"]) == (2, 1.0)

    ended(loop, "failed", 2)
    later(loop)
    jobs.sweep()
    assert sums(aws)["RunsFailed"] == 2.0


def test_calls_that_the_endpoint_did_not_answer_are_counted_and_told_once(
    aws: StandIn, loop: Hub, studio: StudioApi
) -> None:
    for task in (1, 2):
        predict_tasks(loop, 7, interface(loop, CONFIG), [studio.tasks[task]])
    jobs.sweep()
    assert sums(aws)["EndpointErrors"] == 2.0

    later(loop)
    jobs.sweep()
    assert sums(aws)["EndpointErrors"] == 2.0


@pytest.mark.parametrize(
    ("code", "status"), [("ThrottlingException", 400), ("AccessDeniedException", 400), ("ExpiredToken", 403)]
)
def test_a_cloudwatch_that_refuses_is_a_note_and_nothing_is_lost(
    aws: StandIn, loop: Hub, studio: StudioApi, code: str, status: int
) -> None:
    ended(loop, "promoted")
    predict_tasks(loop, 7, interface(loop, CONFIG), [studio.tasks[1]])
    aws.fail(PUT, code, status, times=4 if code == "ThrottlingException" else 1)
    project = loop.project(7)
    assert not jobs.sweep()[str(project)].startswith("failed")
    assert f"CloudWatch in eu-west-1: AWS answered {code}" in project_status(loop, project).trouble

    later(loop)
    jobs.sweep()
    assert "metrics" not in loop.state(project).notes()
    assert (sums(aws)["Runs"], sums(aws)["EndpointErrors"]) == (1.0, 1.0)


def test_what_cannot_be_counted_takes_nothing_from_the_sweep_nor_from_other_figures(
    aws: StandIn, loop: Hub, studio: StudioApi, caplog: pytest.LogCaptureFixture
) -> None:
    project = loop.project(7)
    remember_project(loop, loop.project(8), None)
    studio.others.add(8)
    announced = loop.pointer(loop.project(8))
    fence = announced.take_fence()
    announced.promote("v1", fence)
    announced.announce("v1", fence)
    odd = VersionRecord("v1", "k", "head", None, "", True, "good", {"test": {"accuracy": 0.9}})
    loop.versions(loop.project(8)).claim("k")
    loop.versions(loop.project(8)).publish("v1", write_bundle(loop.settings.directory / "odd"), odd)
    studio.annotate(1, "cat", parent_prediction=1)
    studio.tasks[1]["annotations"][0]["updated_at"] = None
    done = jobs.sweep()
    assert not any(told.startswith("failed") for told in done.values())
    assert f"project {project}: agreement is not judged" in caplog.text
    assert f"project {loop.project(8)}: its figures are not known" in caplog.text
    assert sums(aws)["Accuracy v1"] == 0.9


def test_agreement_follows_annotations_that_change(loop: Hub, studio: StudioApi) -> None:
    project = loop.project(7)
    studio.annotate(1, "dog", parent_prediction=1)
    sweep_project(loop, project, scan_now=True)
    assert project_status(loop, project).agreement == Agreed("v1", 1, 0)

    studio.tasks[1]["annotations"].clear()
    studio.annotate(1, "cat", parent_prediction=1)
    sweep_project(loop, project, scan_now=True)
    assert project_status(loop, project).agreement == Agreed("v1", 1, 1)


def test_only_what_changed_is_asked_for_and_only_when_something_did(loop: Hub, studio: StudioApi) -> None:
    project = loop.project(7)
    for task in (1, 2):
        studio.annotate(task, "cat", parent_prediction=task)

    def look() -> None:
        look_for_agreement(loop, project, site_of(loop, 7).overview().counters)

    look()
    before = len(asked_for_changes(studio))
    look()
    assert len(asked_for_changes(studio)) == before

    studio.annotate(3, "dog", parent_prediction=3)
    look()
    assert len(asked_for_changes(studio)) == before + 1
    assert asked_for_changes(studio)[-1] == studio.tasks[2]["annotations"][0]["updated_at"]
    assert project_status(loop, project).agreement == Agreed("v1", 3, 2)


def test_another_announced_version_is_counted_from_nothing(loop: Hub, studio: StudioApi) -> None:
    agreement = loop.state(loop.project(7)).agreement
    began = "2026-11-01T00:00:00.000000Z"
    assert agreement.begin("v1", lambda: began) == (began, "")
    changed = "2026-11-02T00:00:00.000000Z"
    agreement.note([Judged(1, changed, (Begun("v1", True), Begun("v0", True)))], Order("v1"), began)
    agreement.looked("seen")
    assert (agreement.begin("v1", lambda: began), agreement.read()) == ((changed, "seen"), Agreed("v1", 1, 1))
    assert agreement.begin("v2", lambda: changed) == (changed, "")
    assert agreement.read() is None


def serve_by(hub: Hub, order: Order) -> None:
    """Keep by which order the version was served, as its pre-annotation does."""
    hub.store.write(f"{hub.project(7)}/order/{order.version}.json", to_bytes(order))


def test_tasks_served_at_random_are_told_from_the_others_and_control_tasks_count_for_neither(
    loop: Hub, studio: StudioApi
) -> None:
    project = loop.project(7)
    serve_by(loop, Order("v1", served=packed([1, 2, 3, 4]), random=packed([1, 2, 4]), control=packed([4]), share=0.1))
    studio.predictions[3]["result"] = studio.predictions[4]["result"] = []
    for task, label in ((1, "cat"), (2, "dog"), (3, "cat"), (4, "cat"), (5, "cat")):
        studio.annotate(task, label, parent_prediction=task, lead_time=2.0 * task)
    sweep_project(loop, project)

    # Nothing was shown for task 5 either: it was served one by one, and may have been a control task.
    counted = Agreed("v1", 3, 2, random=2, random_kept=1, shown=(2.0, 4.0), control=(8.0,))
    assert project_status(loop, project).agreement == counted
    assert dict(kept_agreements(loop.store, project)) == {"v1": counted}
    told = CliRunner().invoke(main, ["status", "--project", "7"]).stdout
    assert "of tasks served at random 1 of 2 (50%, 95 % interval 9% to 91%), of the others 1 of 1 (100%" in told
    assert "time saved: not known before 9 more tasks without a pre-annotation are annotated and 8 more" in told


def test_what_was_counted_of_a_version_outlives_the_next_one(loop: Hub, studio: StudioApi) -> None:
    project = loop.project(7)
    studio.annotate(1, "cat", parent_prediction=1)
    sweep_project(loop, project)
    loop.state(project).agreement.begin("v2", lambda: "2026-11-02T00:00:00.000000Z")
    serve_by(loop, Order("v2", served=packed([2]), random=packed([2])))
    loop.state(project).agreement.note(
        [Judged(2, "2026-11-03T00:00:00.000000Z", (Begun("v2", False),))], Order("v2"), ""
    )
    keep_agreement(loop.store, project, loop.state(project).agreement.read() or Agreed("", 0, 0))
    found = kept_agreements(loop.store, project)
    assert [(name, one.begun, one.kept) for name, one in found.items()] == [("v1", 1, 1), ("v2", 1, 0)]

    keep_agreement(loop.store, project, Agreed("v1", 3, 2, random=2, random_kept=1))
    told = CliRunner().invoke(main, ["versions", "--project", "7"]).stdout
    assert "good; of its pre-annotations of randomly served tasks annotators kept 1 of 2 (50%" in told

    loop.store.write(f"{project}/agreement.json", b'{"versions": {"v1": {"begun": "x"}, "v2": 3}}')
    assert kept_agreements(loop.store, project) == {}
    studio.annotate(2, "cat", parent_prediction=2)
    sweep_project(loop, project)
    assert kept_agreements(loop.store, project)["v1"].begun == 2


class _Full:
    """A store that takes no figures of agreement."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def create(self, path: str, content: bytes) -> None:
        if path.endswith("agreement.json"):
            raise StoreAway("the store is away")
        self._store.create(path, content)


def test_what_the_store_could_not_keep_is_kept_by_the_next_look(loop: Hub, studio: StudioApi) -> None:
    project, store = loop.project(7), loop.store
    studio.annotate(1, "cat", parent_prediction=1)
    counters = Counters(6, 1, 1, 0)
    loop.__dict__["_store"] = _Full(store)
    with pytest.raises(StoreAway):
        look_for_agreement(loop, project, counters)
    loop.__dict__["_store"] = store
    look_for_agreement(loop, project, counters)
    assert dict(kept_agreements(store, project)) == {"v1": Agreed("v1", 1, 1)}


def test_status_says_what_time_was_saved_over_all_versions(loop: Hub) -> None:
    project = loop.project(7)
    for version, control in (("v1", (9.0, 10.0, 11.0, 10.0, 600.0)), ("v2", (8.0, 10.0, 12.0, 10.0, 10.0, 10.0))):
        keep_agreement(loop.store, project, Agreed(version, 60, 50, 30, 25, (3.0, 4.0, 5.0) * 4, control))
    keep_agreement(loop.store, project, Agreed("v3", 1000, 900, 30, 25))
    saved = project_status(loop, project).saved
    assert saved is not None
    assert (saved.shown, saved.control, saved.begun) == (24, 11, 120)
    assert saved.minutes == pytest.approx([2 * one for one in saved.seconds or ()])
    told = CliRunner().invoke(main, ["status", "--project", "7"]).stdout
    assert "time saved: 6.0 s a task (95 % interval 5." in told
    assert "24 with a pre-annotation, 11 without), 10 to 13 minutes over 120 annotations" in told


def test_what_earlier_releases_counted_is_read(loop: Hub) -> None:
    state = loop.state(loop.project(7))
    state.agreement.begin("v1", lambda: "")
    loop.redis.hset(f"labelloop:{loop.project(7)}:agreement", mapping={"t1": "2 1", "t2": "1 1"})
    assert state.agreement.read() == Agreed("v1", 3, 2)


def asked_for_changes(studio: StudioApi) -> list[str]:
    return [str(one["value"]) for one in studio.filters if one["filter"] == "filter:tasks:updated_at"]


def test_without_a_place_for_figures_none_are_sent_nor_errors_counted(
    aws: StandIn, make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_hub(endpoint="fake://?classes=cat,dog&script=down*")
    studio.add_tasks(1)
    project = made.project(7)
    remember_project(made, project, "http://labelloop-1:9090")
    predict_tasks(made, 7, interface(made, CONFIG), list(studio.tasks.values()), version="v1")
    for _ in of_this_process(made, monkeypatch):
        jobs.sweep()
    assert aws.calls == []
    assert made.state(project).counted.endpoint_errors() == 0


def test_what_the_last_look_for_drift_found_goes_along(aws: StandIn, loop: Hub) -> None:
    found = Judgement("v1", at=1.0, new=300, reference=300, ks=0.4, psi=0.3, mmd=None, drifts=True, what="cat")
    Watched(loop.store, loop.project(7), "v1").note(lambda before: replace(before, last=asdict(found)))
    jobs.sweep()
    sent = {name: value for name, value in sums(aws).items() if name.startswith("Drift")}
    assert sent == {"Drift v1": 1.0, "DriftKS v1": 0.4, "DriftPSI v1": 0.3}

    loop.store.write(f"{loop.project(7)}/watch/v1/looks.json", b"{")
    later(loop)
    jobs.sweep()
    assert aws.calls.count(PUT) == 2, "what is damaged is what there is not, and the others are sent"


def test_doctor_says_whether_figures_are_taken(aws: StandIn, make_hub: MakeHub) -> None:
    hub = make_hub(metrics=ADDRESS, trainer="command:true")

    def found() -> Finding:
        return next(one for one in diagnose(hub, None, {}, {}) if one.name == "figures")

    assert found() == Finding("figures", ok=True, detail="cloudwatch://LabelLoop takes figures")
    aws.deny(PUT)
    assert "let the role of this process do cloudwatch:PutMetricData" in found().detail
