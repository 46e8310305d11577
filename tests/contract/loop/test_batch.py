"""Pre-annotation by a batch job in a cloud: what Label Studio has afterwards, whatever happens meanwhile."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import support.google
from labelloop.cli import main
from labelloop.cloud.aws.account import Account
from labelloop.cloud.google.client import Google
from labelloop.deployers.base import Deployable
from labelloop.deployers.opening import open_deployer
from labelloop.errors import CloudAway, DeployError
from labelloop.loop import jobs, later_predictions
from labelloop.loop.batch import Route, goes_on
from labelloop.loop.consider import consider
from labelloop.loop.deploy import deployment_of
from labelloop.loop.hub import Hub
from labelloop.loop.moments import planned
from labelloop.loop.order import read_order
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.startup import clashes
from labelloop.loop.status import project_status
from labelloop.models.deployments import Deployments
from labelloop.models.open_batch import OpenBatch, OpenBatches
from labelloop.models.versions import VersionRecord, Versions
from labelloop.settings import Settings
from labelloop.types import Json
from support.aws import StandIn
from support.batch_clouds import AwsBatches, BatchCloud, GoogleBatches
from support.bundles import COLOURS, make_bundle, picture
from support.crash_store import Killed
from support.deploying import CONFIG
from support.google import google_stand_in
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import MakeHub, of_this_process
from .test_worker import working

TASKS = 6


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of two versions."""
    folder = tmp_path_factory.mktemp("bundles")
    for number in (1, 2):
        make_bundle(folder / f"v{number}", gain=4.0 + number)
    return folder


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in.reset()
    stand_in.use(monkeypatch)
    # A session takes a fifth of a second to be made.
    monkeypatch.setattr("labelloop.deployers.sagemaker.Account", cache(Account))
    where = {"LocationConstraint": "eu-west-1"}
    stand_in.client("s3").create_bucket(Bucket="labelloop", CreateBucketConfiguration=where)
    return stand_in


@pytest.fixture(scope="module")
def google_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.google.StandIn]:
    with google_stand_in(tmp_path_factory.mktemp("google")) as google:
        yield google


@pytest.fixture
def google(google_session: support.google.StandIn, monkeypatch: pytest.MonkeyPatch) -> support.google.StandIn:
    google_session.reset()
    monkeypatch.setattr(Google.__init__, "__kwdefaults__", {"environment": None, "wait": lambda _: None})
    google_session.use(monkeypatch)
    google_session.operations.looks = google_session.batches.looks = 0
    google_session.bucket("labelloop")
    return google_session


@pytest.fixture
def cloud(request: pytest.FixtureRequest) -> BatchCloud:
    """The cloud where versions are brought and jobs are begun: AWS, where a test does not say."""
    if getattr(request, "param", "aws") == "google":
        return GoogleBatches(request.getfixturevalue("google"))
    return AwsBatches(request.getfixturevalue("aws"))


in_both = pytest.mark.parametrize("cloud", ["aws", "google"], indirect=True)


@pytest.fixture
def loop(
    cloud: BatchCloud, make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch, bundles: Path
) -> Iterator[Hub]:
    """The hub of this process' jobs: its project's v1 is announced and serves, and six tasks wait."""
    studio.config = CONFIG
    studio.connect("v1")
    add_tasks(studio, TASKS)
    for hub in of_this_process(make_hub(**cloud.settings, batch_from=3), monkeypatch):
        made = Versions(hub.store, hub.project(7))
        for number in (1, 2):
            name = made.claim(f"run {number}")
            made.publish(
                name, bundles / name, VersionRecord(name, f"run {number}", "head", None, "", True, f"{name} is good")
            )
        serve(hub, bundles, "v1")
        pointer = hub.pointer(hub.project(7))
        fence = pointer.take_fence()
        pointer.promote("v1", fence)
        pointer.announce("v1", fence)
        yield hub


def add_tasks(studio: StudioApi, count: int) -> None:
    """Add tasks whose pictures are all different."""
    for at in range(len(studio.tasks) + 1, len(studio.tasks) + count + 1):
        studio.pictures[f"/data/upload/7/{at}.png"] = picture(COLOURS[at % 3], size=(10 + at, 10))
    studio.add_tasks(count)


def serve(hub: Hub, bundles: Path, version: str) -> None:
    """Let the endpoint serve a version, whose test nobody waits for here."""
    project = hub.project(7)
    deployer = open_deployer(hub.settings.deployer, project, hub.settings, lambda *_: "")
    brought = Deployable(project, version, bundles / version)
    deployer.deploy(brought)
    while (stands := deployer.go_on(brought)).version != version or stands.between:
        pass
    found = deployment_of(hub, project)
    assert found is not None
    there = replace(found, version=version, wanted=version, stage="there", brought=(*found.brought, version))
    Deployments(hub.store, project).replace(found, there)
    hub.state(project).deployed(there.to_json())


def run(hub: Hub, version: str | None = None, *, batch: bool | None = None) -> Prelabeled:
    return prelabel(hub, hub.project(7), version, lambda *_: None, batch=batch)


def prelabel_job(hub: Hub) -> str:
    return jobs.prelabel(str(hub.project(7)))


def held(hub: Hub) -> OpenBatch:
    return OpenBatches(hub.store, hub.project(7)).read()


def dying(*_: object) -> None:
    raise Killed


def told_of(studio: StudioApi) -> list[Json]:
    """Give what Label Studio has of each task, but for the ids of results, which are made up each time."""
    without = [one | {"result": [{**item, "id": ""} for item in one["result"]]} for one in studio.predictions]
    return sorted(without, key=lambda one: int(one["task"]))


@in_both
def test_one_job_predicts_as_the_endpoint_does(
    studio: StudioApi, loop: Hub, cloud: BatchCloud, make_hub: MakeHub, bundles: Path
) -> None:
    add_tasks(studio, 18)
    serve(loop, bundles, "v2")
    found = []
    for setting in (3, 0):
        hub = make_hub(**cloud.settings, batch_from=setting, control_share=0.5)
        assert run(hub, "v2") == Prelabeled(24, 0)
        order = read_order(hub.store, hub.project(7), "v2")
        assert order is not None
        assert order.table, "others than the held-out ones are in it"
        arms = [(order.arm(task), order.is_control(task)) for task in studio.tasks]
        assert {*arms} == {("ordered", False), ("random", False), ("random", True)}
        found.append((told_of(studio), order))
        studio.predictions.clear()
        (hub.settings.directory / "store" / str(hub.project(7)) / "order/v2.json").unlink()
    assert found[0] == found[1]
    assert (cloud.begun(), cloud.asked(), cloud.lying()) == (1, 24, [])


@in_both
def test_a_job_holds_no_worker_and_what_is_labeled_meanwhile_is_not_predicted(
    studio: StudioApi, loop: Hub, cloud: BatchCloud
) -> None:
    cloud.hold()
    project = loop.project(7)
    said = f"{cloud.name} job labelloop-batch-"
    assert prelabel_job(loop).startswith(said)
    assert not loop.state(project).is_held()
    assert "prelabel" in [job.name for job in planned(loop.redis)], "somebody comes back"
    step = project_status(loop, project).step
    assert step is not None
    assert (step.stage, step.total, step.elsewhere) == ("prelabel", TASKS, True)
    studio.annotate(2, "green")
    later_predictions.begin(loop, project)
    assert prelabel_job(loop).startswith(said)
    assert later_predictions.wait(loop, project) is None, "it predicts what was left for later, too"
    assert cloud.lying()
    cloud.release()
    assert prelabel_job(loop) == f"{TASKS - 1} tasks pre-annotated with v1, 0 left out"
    assert [studio.versions_of(task) for task in (1, 2)] == [["v1"], []]
    assert (cloud.begun(), cloud.asked(), cloud.lying()) == (1, 0, [])
    assert project_status(loop, project).step is None
    add_tasks(studio, 2)
    assert prelabel_job(loop) == "2 tasks pre-annotated with v1, 0 left out", "they are too few for a job"
    assert (cloud.begun(), cloud.asked()) == (1, 2)


@in_both
def test_a_worker_that_is_killed_anywhere_begins_no_second_job(
    studio: StudioApi, loop: Hub, cloud: BatchCloud, make_hub: MakeHub
) -> None:
    # One task: what several threads ask for at a time has no order.
    for task in range(2, TASKS + 1):
        del studio.tasks[task]
    loop = make_hub(**cloud.settings, batch_from=1, cache_max_bytes=0)
    done: list[str] = []
    for number in range(100):
        studio.predictions.clear()
        before = cloud.begun()
        try:
            with cloud.dying_at(number) as done:
                run(loop)
        except Killed:
            pass
        else:
            break
        run(loop)
        assert cloud.begun() == before + 1, done
        assert [studio.versions_of(task) for task in studio.tasks] == [["v1"]], done
        assert (cloud.lying(), held(loop).open, cloud.asked()) == ([], False, 0), done
    assert 7 < len(done) < 100


@in_both
def test_a_job_that_nobody_needs_any_more_is_ended(
    studio: StudioApi, loop: Hub, cloud: BatchCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.hold()
    with monkeypatch.context() as killed:
        killed.setattr(OpenBatches, "note", dying)
        with pytest.raises(Killed):
            run(loop)
    assert cloud.jobs() == ["running"]
    for task in studio.tasks:
        studio.annotate(task, "green")
    assert run(loop) == Prelabeled(0, 0)
    assert "running" not in cloud.jobs()
    assert (cloud.lying(), held(loop).open) == ([], False)


@in_both
def test_what_the_job_has_not_answered_is_asked_of_the_endpoint(
    studio: StudioApi, loop: Hub, cloud: BatchCloud
) -> None:
    studio.pictures["/data/upload/7/2.png"] = b"no picture"
    del studio.pictures["/data/upload/7/3.png"]
    cloud.lose_an_answer()
    done = run(loop)
    assert (done.predicted, done.left_out) == (TASKS - 2, 2)
    assert cloud.asked() == 1, "the answer that was lost"
    assert [len(studio.versions_of(task)) for task in studio.tasks] == [1, 0, 0, 1, 1, 1]
    assert run(loop).left_out == 2
    assert cloud.begun() == 1, "those that fail always begin no job"


@pytest.mark.parametrize(("place", "asked"), [("in/", 0), ("", TASKS)])
def test_answers_are_found_in_whatever_subfolder_and_where_there_are_none_that_is_said(
    studio: StudioApi, loop: Hub, aws: StandIn, place: str, asked: int
) -> None:
    def move(_: object) -> None:
        s3, moved = aws.client("s3"), "/out/in/"
        for name in [one["Key"] for one in s3.list_objects_v2(Bucket="labelloop").get("Contents", ())]:
            if "/out/" in name and moved not in name:
                if place:
                    source = {"Bucket": "labelloop", "Key": name}
                    s3.copy_object(Bucket="labelloop", Key=name.replace("/out/", moved), CopySource=source)
                s3.delete_object(Bucket="labelloop", Key=name)

    aws.after("sagemaker:DescribeTransformJob", move, times=None)
    assert run(loop) == Prelabeled(TASKS, 0)
    assert len(aws.runtime.answered) == asked
    trouble = project_status(loop, loop.project(7)).trouble
    assert ("it is over, and none of its answers can be found" in trouble) == bool(asked)


@pytest.mark.parametrize(
    ("cloud", "how"),
    [("aws", "refused"), ("aws", "stopped"), ("aws", "late"), ("google", "stopped"), ("google", "quota")],
    indirect=["cloud"],
)
def test_where_the_job_fails_the_endpoint_is_asked_and_that_is_said(
    studio: StudioApi, loop: Hub, cloud: BatchCloud, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.hold()
    if how in ("refused", "quota"):
        cloud.refuse()
    else:
        assert run(loop).job
    if how == "stopped":
        cloud.stop(held(loop).handle)
    if how == "quota":
        with pytest.raises(CloudAway, match="quota"):
            run(loop)
        cloud.refuse()
    if how in ("late", "quota"):
        monkeypatch.setattr("labelloop.loop.batch._LONGEST", 0)
    assert prelabel_job(loop) == f"{TASKS} tasks pre-annotated with v1, 0 left out"
    assert (cloud.asked(), cloud.lying()) == (TASKS, [])
    assert "running" not in cloud.jobs()
    why = {"refused": "ResourceLimitExceeded", "stopped": "failed: ", "late": "not over after", "quota": "is used up"}[
        how
    ]
    trouble = project_status(loop, loop.project(7)).trouble
    assert why in trouble
    assert "the endpoint was asked instead" in trouble
    studio.predictions.clear()
    begun = cloud.begun()
    run(loop)
    assert cloud.begun() == begun, "the next version has its job again"


def test_a_cloud_that_is_away_is_waited_for(
    studio: StudioApi, loop: Hub, aws: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    aws.transforms.stuck = True
    aws.hang_up("sagemaker:CreateTransformJob", after=True)
    assert run(loop).job, "the job was begun, though nobody heard so"
    aws.fail("sagemaker:DescribeTransformJob", "ThrottlingException", times=4)
    assert "cannot be asked for now" in prelabel_job(loop)
    aws.fail("sagemaker:DescribeTransformJob", "ThrottlingException", times=4)
    with pytest.raises(CloudAway):
        run(loop)
    aws.transforms.stuck = False
    assert run(loop) == Prelabeled(TASKS, 0)
    assert len(aws.transforms.jobs()) == 1


@in_both
def test_what_a_deployer_lacks_is_left_to_the_deployment_to_say(
    loop: Hub, cloud: BatchCloud, make_hub: MakeHub
) -> None:
    hub = make_hub(**{**cloud.settings, "aws_location": "", "google_folder": ""})
    assert goes_on(hub, hub.project(7), "v1") == ""


def test_a_champion_is_announced_when_its_job_is_taken_in(
    studio: StudioApi, loop: Hub, cloud: BatchCloud, bundles: Path
) -> None:
    cloud.hold()
    project = loop.project(7)
    assert run(loop).job
    serve(loop, bundles, "v2")
    assert "with v2 predicts 6 tasks" in jobs.deploy(str(project), "v2")
    assert cloud.jobs() == ["stopped", "running"], "nobody waits for v1 any more"
    assert "with v2 predicts 6 tasks" in consider(loop, project)
    assert loop.pointer(project).read().announced == "v1"
    cloud.release()
    assert consider(loop, project) == "v2 is to be announced"
    assert jobs.deploy(str(project), None) == "v2 is announced"
    assert (loop.pointer(project).read().announced, studio.backends[0]["title"]) == ("v2", "v2")
    assert [studio.versions_of(task) for task in studio.tasks] == [["v2"]] * TASKS
    assert (cloud.asked(), cloud.lying()) == (0, [])


def test_without_the_setting_no_cloud_hears_of_it(
    studio: StudioApi, loop: Hub, aws: StandIn, cloud: BatchCloud, make_hub: MakeHub
) -> None:
    hub = make_hub(**cloud.settings, store=loop.settings.store)
    aws.calls.clear()
    assert run(hub) == Prelabeled(TASKS, 0)
    assert not [name for name in aws.calls if "Transform" in name or name.startswith("s3:")]
    assert held(hub) == OpenBatch()
    assert "batch.json" not in hub.store.names(f"{hub.project(7)}/")


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("cloud", ["google"], indirect=True)
def test_a_worker_comes_back_for_the_answers(studio: StudioApi, loop: Hub, cloud: BatchCloud, tmp_path: Path) -> None:
    cloud.hold()
    project, log = loop.project(7), tmp_path / "worker.log"
    with working(loop, log):
        loop.queue(project).prelabel(0.0)
        wait_until(lambda: cloud.jobs() == ["running"], log.read_text, 60)
        wait_until(lambda: not loop.state(project).is_held(), log.read_text, 60)
        assert studio.predictions == []
        cloud.release()
        wait_until(lambda: not held(loop).open, log.read_text, 60)
    assert [studio.versions_of(task) for task in studio.tasks] == [["v1"]] * TASKS
    assert (cloud.begun(), cloud.asked(), cloud.lying()) == (1, 0, [])


def labelloop(*words: str) -> tuple[int, str]:
    told = CliRunner().invoke(main, ["predict", *words, "--project", "7"])
    return told.exit_code, "\n".join(line for line in told.output.splitlines() if " INFO " not in line)


def test_the_command_says_first_which_way_it_goes(studio: StudioApi, loop: Hub, cloud: BatchCloud) -> None:
    cloud.hold()
    code, told = labelloop()
    first, last = told.splitlines()
    assert (code, first.partition(":")[0]) == (0, "6 tasks wait")
    assert "Batch Transform predicts them with v1 on 2 x ml.m5.large, which is billed until the job ends" in first
    assert last.startswith("Batch Transform job labelloop-batch-")
    code, told = labelloop("--json")
    assert (code, "was begun: it is gone on with" in told) == (0, True)
    code, told = labelloop("--no-batch")
    assert (code, told.splitlines()[0]) == (0, "6 tasks wait: the endpoint is asked for v1")
    assert told.splitlines()[-1] == "6 tasks pre-annotated with v1, 0 left out"
    assert (cloud.jobs(), cloud.lying()) == (["stopped"], [])
    studio.predictions.clear()
    cloud.release()
    code, told = labelloop("--batch")
    assert (code, told.splitlines()[-1]) == (0, "6 tasks pre-annotated with v1, 0 left out")
    assert cloud.jobs() == ["stopped", "done"]
    assert labelloop("--batch", "--dry-run")[0] == 2


def test_where_there_can_be_no_job_that_is_said(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.add_tasks(3)
    hub = make_hub(batch_from=1)
    assert run(hub, "v1") == Prelabeled(3, 0)
    with pytest.raises(DeployError, match=r"no batch job can predict for project 7: .*LABELLOOP_DEPLOYER"):
        run(hub, "v1", batch=True)
    warned = [one for one in clashes(hub.settings) if "LABELLOOP_BATCH_FROM" in one]
    assert len(warned) == 1
    for good in (Settings(batch_from=1, deployer="sagemaker://cats"), Settings(deployer="")):
        assert not [one for one in clashes(good) if "LABELLOOP_BATCH_FROM" in one]


def test_how_long_it_takes_is_told_by_the_last_job_on_that_machine(loop: Hub) -> None:
    from labelloop.loop.batch import route
    from labelloop.loop.project_endpoint import project_endpoint

    project = loop.project(7)
    batches = OpenBatches(loop.store, project)
    found = route(loop, project, project_endpoint(loop, project), "v1", 12_000)
    assert "nobody knows yet how long" in found.told("v1", 12_000)
    batches.begin(OpenBatch("one", open=True))
    batches.take("one", pace=5.0, on="2 x ml.m5.large")
    batches.close("one")
    known = Route(found.batch, batches.read())
    assert known.told("v1", 12_000).endswith("billed until the job ends: about 40 min 00 s at the pace of the last job")
    batches.begin(replace(batches.read(), key="two", open=True, on="1 x ml.g5.xlarge"))
    other = Route(found.batch, replace(batches.read(), open=False))
    assert "nobody knows yet how long" in other.told("v1", 12_000)
    batches.take("two", failed="it is")
    assert json.loads(loop.store.read(f"{project}/batch.json").content)["pace"] == 5.0, "a failure tells no pace"
