"""Versions that a real program brings to an endpoint, by which a real server answers: step for step, and cut."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.cli.doctor import diagnose
from labelloop.endpoints.spec import EndpointSpec
from labelloop.environment import environment_of
from labelloop.errors import DeployError, OptionsError, SettingsError
from labelloop.kinds import base
from labelloop.loop import jobs
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.loop.project_endpoint import hear, open_for, share_extra_params
from labelloop.loop.queue import LONG, SHORT
from labelloop.loop.redis_client import key_of, projects_key
from labelloop.loop.serving import announced_version
from labelloop.loop.standing import standing
from labelloop.loop.startup import clashes, refuse_impossible
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.champion import ChampionPointer
from labelloop.models.deployments import Deployments
from labelloop.models.runs import Runs
from labelloop.models.versions import VersionRecord, Versions
from labelloop.settings import Settings
from labelloop.types import ProjectKey
from support import numbers_kind
from support.aws_wire import aws_account
from support.crash_store import CrashStore, Killed
from support.deployed import Place, running_place
from support.file_bundle import write_bundle
from support.label_configs import interface
from support.number_tasks import NUMBERS, add_numbers, label_numbers
from support.reports import reported
from support.studio_api import CONFIG, StudioApi
from support.waiting import wait_until

from .conftest import MakeHub, of_this_process
from .test_consider import scheduled, waiting
from .test_standalone import NO_TORCH, versions
from .test_worker import working

pytestmark = pytest.mark.process

MakeLoop = Callable[..., Hub]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with running_place(tmp_path / "its place") as running:
        yield running


@pytest.fixture
def make_loop(
    place: Place, make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeLoop]:
    """Make the hub of this process' jobs: its endpoint is brought versions by a script, its project has three."""
    stack: list[Iterator[Hub]] = []

    def make(**given: object) -> Hub:
        usual: dict[str, object] = {"endpoint": place.endpoint, "deployer": place.deployer, "poll_seconds": 0.1}
        stack.append(of_this_process(make_hub(**(usual | given)), monkeypatch))
        hub = next(stack[-1])
        publish(hub, hub.project(7), "v1", "v2", "v3")
        return hub

    if not studio.backends:
        studio.connect("labelloop")
        studio.add_tasks(5)
    yield make
    for one in stack:
        next(one, None)


@pytest.fixture
def loop(make_loop: MakeLoop) -> Hub:
    return make_loop()


def publish(hub: Hub, project: ProjectKey, *names: str) -> None:
    made = Versions(hub.store, project)
    for name in names:
        bundle = write_bundle(hub.settings.directory / "made" / name, name.encode())
        made.claim(f"run of {name}")
        made.publish(name, bundle, VersionRecord(name, f"run of {name}", "head", None, "", True, f"{name} is good"))


def deploy(hub: Hub, version: str | None = None) -> str:
    return jobs.deploy(str(hub.project(7)), version)


def arrive(hub: Hub, place: Place, version: str) -> None:
    """Bring a version to its end, however long it is on its way."""
    assert "on its way" in deploy(hub, version)
    place.arrive(version)
    assert deploy(hub) == f"{version} is announced"


def predict(hub: Hub, studio: StudioApi, count: int = 1) -> list[Prediction]:
    return predict_tasks(hub, 7, interface(hub, CONFIG), list(studio.tasks.values())[:count])


def pointers(hub: Hub) -> tuple[str | None, str | None]:
    found = ChampionPointer(hub.store, hub.project(7)).read()
    return found.champion, found.announced


def predicted(studio: StudioApi) -> dict[int, list[str]]:
    return {task: studio.versions_of(task) for task in studio.tasks}


def test_a_version_is_promoted_deployed_predicted_with_and_announced(
    studio: StudioApi, loop: Hub, place: Place
) -> None:
    project = loop.project(7)
    assert deploy(loop, "v1") == "v1 is announced"

    assert (place.calls, place.serving) == (["deploy v1"], ["v1"])
    told = json.loads((place.folder / "deployment.json").read_text())
    assert told == {"project": str(project), "version": "v1", "model": "", "bundle": "bundle"}
    assert (place.folder / "model.onnx").read_bytes() == b"model.onnxv1"
    assert (place.folder / "calls").read_text().split() == ["deploy", "v1", str(project)]
    assert pointers(loop) == ("v1", "v1")
    assert all(found == ["v1"] for found in predicted(studio).values())
    assert studio.backends[0]["title"] == "v1"
    assert not list((loop.settings.directory / "cache" / "bundles" / str(project) / ".deploy").iterdir())

    assert deploy(loop) == "v1 is announced"
    assert place.calls == ["deploy v1"], "what is there is not deployed again"
    assert consider(loop, project) == "nothing has changed"
    stands = project_status(loop, project)
    assert standing(stands)[1] == "  deployed: v1 since 2026-11-29T12:00:00Z"
    assert stands.to_json()["deployed"]["version"] == "v1"


def test_one_that_takes_long_holds_no_worker_and_is_looked_at_again(
    studio: StudioApi, make_loop: MakeLoop, place: Place
) -> None:
    loop = make_loop(poll_seconds=30.0)
    project = loop.project(7)
    deploy(loop, "v1")
    place.write("slow", "")

    assert deploy(loop, "v2") == "v2 is on its way to its endpoint"
    assert not loop.state(project).is_held()
    assert consider(loop, project) == "v2 is on its way to its endpoint"
    assert "consider" in scheduled(loop)
    assert not waiting(loop, SHORT)
    assert (pointers(loop), announced_version(loop, project)) == (("v2", "v1"), "v1")
    assert all(found == ["v1"] for found in predicted(studio).values()), "nobody waits for v2 yet"
    assert "just now v1 or v2 answers" in standing(project_status(loop, project))[1]

    place.arrive("v2")
    assert deploy(loop) == "v2 is announced"
    assert place.calls == ["deploy v1", "deploy v2"]
    assert (pointers(loop), announced_version(loop, project)) == (("v2", "v2"), "v2")
    assert all(found == ["v1", "v2"] for found in predicted(studio).values())


def test_a_look_comes_when_it_is_time(loop: Hub, place: Place) -> None:
    place.write("slow", "")
    deploy(loop, "v1")
    wait_until(lambda: consider(loop, loop.project(7)) == "v1 is to be announced", "it is looked at again", 10)
    assert [job.args[1] for job in waiting(loop, SHORT) if "deploy" in str(job.func_name)] == [None]
    assert deploy(loop) == "v1 is on its way to its endpoint"


def test_while_two_versions_answer_nothing_is_kept_and_bulk_waits(studio: StudioApi, loop: Hub, place: Place) -> None:
    project = loop.project(7)
    deploy(loop, "v1")
    assert versions(predict(loop, studio)) == ["v1"]
    asked = place.asked
    assert versions(predict(loop, studio)) == ["v1"]
    assert place.asked == asked, "it was kept"
    place.write("slow", "")
    deploy(loop, "v2")

    assert versions(predict(loop, studio) + predict(loop, studio)) == ["v1 or v2"] * 2
    assert place.asked == asked + 2, "and is given no more, nor is what answers now kept"
    place.named = True
    assert sorted(versions(predict(loop, studio) + predict(loop, studio))) == ["v1", "v2"]
    assert announced_version(loop, project) == "v1"

    studio.add_tasks(1)
    loop.queue(project).prelabel(0.0)
    assert jobs.prelabel(str(project)) == "v1 or v2 may answer: it is done when that is settled"
    assert studio.versions_of(6) == []
    again = CliRunner().invoke(main, ["predict", "--project", "7"])
    assert (again.exit_code, "its endpoint answers as v1 or v2" in again.output) == (1, True)

    place.arrive("v2")
    assert deploy(loop) == "v2 is announced"
    assert studio.versions_of(6) == ["v2"]
    assert versions(predict(loop, studio)) == ["v2"]
    consider(loop, project)
    assert "prelabel" in scheduled(loop), "what was postponed comes"
    assert "0 tasks pre-annotated with v2" in jobs.prelabel(str(project))


def test_what_the_transport_tells_counts_where_the_container_says_nothing(
    studio: StudioApi, make_loop: MakeLoop, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_account(monkeypatch, sagemaker_runtime=place.server.address)
    place.told = True
    loop = make_loop(endpoint="sagemaker://cats?region=eu-west-1")
    deploy(loop, "v1")
    assert versions(predict(loop, studio)) == ["v1"], "what was brought goes before the variant's name"
    place.write("slow", "")
    deploy(loop, "v2")
    found = versions(predict(loop, studio) + predict(loop, studio))
    assert sorted(found) == ["cats/variant-v1", "cats/variant-v2"]


def test_a_failed_one_leaves_the_old_version_serving_and_is_tried_again(
    studio: StudioApi, loop: Hub, place: Place
) -> None:
    project = loop.project(7)
    deploy(loop, "v1")
    place.write("refuse", "no quota for ml.g5 in eu-west-1")
    with pytest.raises(DeployError, match="no quota"):
        deploy(loop, "v2")

    assert (pointers(loop), announced_version(loop, project)) == (("v2", "v1"), "v1")
    assert versions(predict(loop, studio)) == ["v1"]
    told = "\n".join(standing(project_status(loop, project)))
    assert "deployed: v1 since 2026-11-29T12:00:00Z; the last deployment failed: deploy.sh deploy ended with" in told
    assert "exit status 3: no quota for ml.g5 in eu-west-1" in told
    assert consider(loop, project) == "the last attempt failed; it is left alone for a while"

    loop.redis.delete(key_of(project, "failures"))
    assert consider(loop, project) == "v2 is to be announced"
    place.remove("refuse")
    assert deploy(loop) == "v2 is announced"
    assert place.calls == ["deploy v1", "deploy v2", "deploy v2"]
    assert "failed" not in "\n".join(standing(project_status(loop, project)))


def test_a_later_champion_takes_the_place_of_one_that_cannot_be_deployed(loop: Hub, place: Place) -> None:
    project = loop.project(7)
    deploy(loop, "v1")
    place.write("refuse", "no quota")
    with pytest.raises(DeployError):
        deploy(loop, "v2")
    loop.redis.delete(key_of(project, "failures"))
    loop.state(project).changes.add(["a1", "a2", "a3"], time.time() - 60)
    assert consider(loop, project) == "run enqueued: 3 changed labels", "labels do not wait for a deployment that fails"
    assert len(waiting(loop, LONG)) == 1

    place.remove("refuse")
    assert deploy(loop, "v3") == "v3 is announced"
    assert place.calls[-1] == "deploy v3"


def test_one_that_ends_without_its_version_has_failed(make_loop: MakeLoop, place: Place) -> None:
    loop = make_loop(deploy_seconds=1.0)
    project = loop.project(7)
    deploy(loop, "v1")
    place.write("slow", "")
    assert "on its way" in deploy(loop, "v2")
    place.remove("between")
    place.write("reason", "the container did not answer its health check")
    with pytest.raises(DeployError, match=r"v2 could not be brought .* the container did not answer its health check"):
        deploy(loop)
    place.remove("reason")
    assert "on its way" in deploy(loop), "it is begun anew"
    assert place.calls == ["deploy v1", "deploy v2", "deploy v2"]
    place.remove("between")
    with pytest.raises(DeployError, match=r"deploy\.sh says that v1 serves, and that nothing is on its way"):
        deploy(loop)

    assert "on its way" in deploy(loop)
    begun = time.time()
    wait_until(lambda: time.time() > begun + 1.1, "its time is over", 10)
    with pytest.raises(DeployError, match="it is not over after 1 s"):
        deploy(loop)
    assert pointers(loop) == ("v2", "v1")
    assert "v1 or v2" in "\n".join(standing(project_status(loop, project)))


def test_a_rollback_is_made_by_its_own_verb(studio: StudioApi, loop: Hub, place: Place) -> None:
    deploy(loop, "v1")
    deploy(loop, "v2")
    answer = CliRunner().invoke(main, ["rollback", "--project", "7", "--to", "v1"])
    assert "there is no worker" in answer.output
    [job] = [one for one in waiting(loop, SHORT) if one.args[1:] == ["v1"]]
    assert jobs.deploy(*job.args) == "v1 is announced"

    assert place.calls == ["deploy v1", "deploy v2", "rollback v1"]
    assert (pointers(loop), place.serving) == (("v1", "v1"), ["v1"])
    assert studio.backends[0]["title"] == "v1"


def test_a_rollback_ends_a_deployment_that_is_under_way(loop: Hub, place: Place) -> None:
    deploy(loop, "v1")
    place.write("slow", "")
    assert "v2 is on its way" in deploy(loop, "v2")
    place.remove("slow")

    assert deploy(loop, "v1") == "v1 is announced"
    assert place.calls == ["deploy v1", "deploy v2", "rollback v1"]
    assert place.serving == ["v1"]


def test_a_rollback_to_what_is_announced_still_is_brought_there_later(loop: Hub, place: Place) -> None:
    project = loop.project(7)
    deploy(loop, "v1")
    place.write("slow", "")
    deploy(loop, "v2")
    with Lease(loop, project):
        assert "announced later" in deploy(loop, "v1"), "another worker is at it"
    assert pointers(loop) == ("v1", "v1")
    place.remove("slow")
    place.arrive("v2")
    place.write("refuse", "no quota")
    assert consider(loop, project) == "v1 is to be announced"
    with pytest.raises(DeployError, match="no quota"):
        deploy(loop)
    place.remove("refuse")
    loop.redis.delete(key_of(project, "failures"))
    assert consider(loop, project) == "v1 is to be announced"
    assert deploy(loop) == "v1 is announced"
    assert place.serving == ["v1"]
    assert consider(loop, project) == "nothing has changed"


def test_one_that_does_not_show_at_once_what_it_has_begun_may_answer_with_either(
    studio: StudioApi, loop: Hub, place: Place
) -> None:
    deploy(loop, "v1")
    place.write("slow", "")
    place.write("late", "")
    assert "on its way" in deploy(loop, "v2")
    assert versions(predict(loop, studio)) == ["v1 or v2"]
    place.arrive("v2")
    assert deploy(loop) == "v2 is announced"


def test_a_program_that_only_deploys_is_waited_for(studio: StudioApi, make_loop: MakeLoop, place: Place) -> None:
    loop = make_loop(deployer=place.plain)
    project = loop.project(7)
    assert deploy(loop, "v1") == "v1 is announced"
    assert deploy(loop) == "v1 is announced"
    place.write("refuse", "no quota")
    with pytest.raises(DeployError):
        deploy(loop, "v2")
    assert project_status(loop, project).deployed is not None
    assert versions(predict(loop, studio)) == ["v1"], "what was there before serves on"
    place.remove("refuse")
    assert deploy(loop) == "v2 is announced"
    assert deploy(loop, "v1") == "v1 is announced"
    assert place.calls == ["deploy v1", "deploy v2", "deploy v2", "deploy v1"]
    loop.redis.flushall()
    assert versions(predict(loop, studio)) == ["v1"], "the store knows it"


def test_what_is_there_already_is_not_deployed(loop: Hub, place: Place) -> None:
    place.arrive("v1")
    assert deploy(loop, "v1") == "v1 is announced"
    assert place.calls == []


def test_a_wiped_redis_takes_nothing(studio: StudioApi, loop: Hub, place: Place) -> None:
    project = loop.project(7)
    place.write("slow", "")
    deploy(loop, "v1")
    loop.redis.flushall()
    assert versions(predict(loop, studio)) == [f"{loop.endpoint.name} or v1"]
    place.arrive("v1")
    wait_until(lambda: consider(loop, project) == "v1 is to be announced", "it is looked at again", 10)
    assert deploy(loop) == "v1 is announced"
    loop.redis.flushall()
    assert (announced_version(loop, project), versions(predict(loop, studio))) == ("v1", ["v1"])
    assert consider(loop, project) == "nothing has changed"


def test_a_container_that_names_another_version_is_believed_and_not_announced(
    studio: StudioApi, loop: Hub, place: Place
) -> None:
    deploy(loop, "v1")
    place.named = True
    place.write("serving", "v9")
    studio.add_tasks(1)
    assert versions(predict(loop, studio, 6)) == [*["v1"] * 5, "v9"], "its own word goes before what was brought"
    with pytest.raises(DeployError, match="answers as v9, and v1 is to serve there"):
        jobs.prelabel(str(loop.project(7)))
    assert studio.versions_of(6) == []


def test_before_the_first_version_the_teams_own_model_answers(studio: StudioApi, loop: Hub, place: Place) -> None:
    project = loop.project(7)
    name = announced_version(loop, project)
    assert name == loop.endpoint.name
    place.named = True
    assert versions(predict(loop, studio)) == ["team-model"]
    assert announced_version(loop, project) == "team-model"
    assert "5 tasks pre-annotated with team-model" in jobs.prelabel(str(project))
    assert "deployed: no version of this project" in standing(project_status(loop, project))[1]
    assert place.calls == []

    place.write("slow", "")
    deploy(loop, "v1")
    assert announced_version(loop, project) == "team-model"
    place.named = False
    assert versions(predict(loop, studio)) == ["team-model or v1"]
    place.arrive("v1")
    real = loop.store
    loop.__dict__["_store"] = CrashStore(real, 2)
    with pytest.raises(Killed):
        deploy(loop)
    loop.__dict__["_store"] = real
    assert jobs.prelabel(str(project)) == "v1 may answer: it is done when that is settled", "it is there, not announced"
    assert deploy(loop) == "v1 is announced"
    assert announced_version(loop, project) == "v1"


def test_an_endpoint_that_the_first_version_makes_is_not_asked_before(
    studio: StudioApi, loop: Hub, place: Place
) -> None:
    project = loop.project(7)
    (place.folder / "absent").touch()
    loop.state(project).note("unpredicted", "tasks may be without a prediction")
    assert jobs.prelabel(str(project)) == "there is no version yet"
    assert (place.asked, "unpredicted" in loop.state(project).notes()) == (0, False)
    (place.folder / "absent").unlink()
    assert "pre-annotated" in jobs.prelabel(str(project))
    assert place.asked > 0


def test_a_champion_of_before_is_brought_to_an_endpoint_that_is_new(
    studio: StudioApi, make_loop: MakeLoop, place: Place
) -> None:
    loop = make_loop()
    project = loop.project(7)
    pointer = ChampionPointer(loop.store, project)
    fence = pointer.take_fence()
    pointer.promote("v2", fence)
    pointer.announce("v2", fence)
    assert versions(predict(loop, studio)) == [loop.endpoint.name], "nothing was brought there yet"
    assert consider(loop, project) == "v2 is to be announced"
    assert deploy(loop) == "v2 is announced"
    assert place.calls == ["deploy v2"]
    assert consider(loop, project) == "nothing has changed"


def test_an_endpoint_takes_the_versions_of_one_project(studio: StudioApi, loop: Hub, place: Place) -> None:
    deploy(loop, "v1")
    studio.number = 8
    other = loop.project(8)
    publish(loop, other, "v1")
    with pytest.raises(DeployError, match=f"takes the versions of project {loop.project(7)}, and v1 of {other}"):
        jobs.deploy(str(other), "v1")
    assert place.calls == ["deploy v1"]


def test_the_sweep_sees_what_somebody_brought_by_hand(studio: StudioApi, loop: Hub, place: Place) -> None:
    project = loop.project(7)
    deploy(loop, "v1")
    place.arrive("v2")
    sweep_project(loop, project)
    assert versions(predict(loop, studio)) == ["v2"]
    assert pointers(loop) == ("v1", "v1")
    studio.add_tasks(1)
    with pytest.raises(DeployError, match="cannot be pre-annotated with v1: its endpoint answers as v2"):
        jobs.prelabel(str(project))

    place.write("between", "v2 v3")
    sweep_project(loop, project)
    assert versions(predict(loop, studio)) == ["v2 or v3"]
    place.write("silent", "")
    sweep_project(loop, project)
    assert "the cloud does not answer" in project_status(loop, project).trouble
    place.remove("silent", "between")
    assert deploy(loop, "v1") == "v1 is announced"
    sweep_project(loop, project)
    assert "deployer" not in loop.state(project).notes()


@pytest.mark.parametrize("after", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["before", "after"])
def test_killed_between_every_two_steps_it_ends_as_if_it_had_not_been(
    studio: StudioApi, loop: Hub, place: Place, after: bool
) -> None:
    deploy(loop, "v1")
    real, project = loop.store, loop.project(7)
    for step in range(20):
        before, name = f"v{step + 1}", f"v{step + 2}"
        publish(loop, project, name)
        loop.__dict__["_store"] = CrashStore(real, step, after=after)
        try:
            assert deploy(loop, name) == f"{name} is announced"
            break
        except Killed:
            loop.__dict__["_store"] = real
            loop.redis.flushall()
            assert versions(predict(loop, studio)) in ([before], [f"{before} or {name}"], [name])
            assert pointers(loop)[1] in (before, name)
            assert deploy(loop, name if pointers(loop)[0] == before else None) == f"{name} is announced"
        assert place.calls.count(f"deploy {name}") <= 2, "once more only where nobody knows that it was begun"
        assert (pointers(loop), place.serving) == ((name, name), [name])
        assert {found[-1] for found in predicted(studio).values()} == {name}
        assert studio.backends[0]["title"] == name
        assert consider(loop, project) == "nothing has changed"
    assert step == 8, "fence, promotion, fence, what may answer, what does, table, what is served, announcement"


def test_killed_while_its_script_runs_it_goes_on_with_the_next_look(studio: StudioApi, loop: Hub, place: Place) -> None:
    deploy(loop, "v1")
    place.write("hold", "")
    work = "import sys; from labelloop.loop import jobs; jobs.deploy(sys.argv[1], 'v2')"
    environment = {**os.environ, **environment_of(loop.settings)}
    worker = subprocess.Popen([sys.executable, "-c", work, str(loop.project(7))], env=environment)
    wait_until(lambda: place.calls[-1:] == ["deploy v2"], "the script runs", 60)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    place.remove("hold")

    assert (pointers(loop), versions(predict(loop, studio))) == (("v2", "v1"), ["v1 or v2"])
    loop.redis.delete(key_of(loop.project(7), "lease"))
    assert deploy(loop) == "v2 is announced"
    assert place.calls == ["deploy v1", "deploy v2", "deploy v2"]


@pytest.mark.train
def test_a_run_ends_with_its_promotion_and_what_is_deployed_is_announced_after_it(
    studio: StudioApi, make_hub: MakeHub, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    studio.config = NUMBERS
    studio.connect("labelloop")
    add_numbers(studio, range(1, 71))
    label_numbers(studio, range(1, 61))
    place.classes = ("low", "high")
    made = make_hub(endpoint=place.endpoint, deployer=place.deployer, backbone="no-such-network", image_size=7)
    for loop in of_this_process(made, monkeypatch):
        project = loop.project(7)
        assert "v1 becomes the first champion" in jobs.retrain(str(project), "test", False)
        run = Runs(loop.store, project).latest()
        assert run is not None
        assert (run.state, run.stage, pointers(loop), place.calls) == ("promoted", "done", ("v1", None), [])
        assert studio.predictions == [], "nothing is predicted with what serves nowhere"
        assert run.verdict in reported(loop, project)

        assert consider(loop, project) == "v1 is to be announced"
        assert deploy(loop) == "v1 is announced"
        assert {number: studio.versions_of(number) for number in range(61, 71)} == {
            number: ["v1"] for number in range(61, 71)
        }


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_workers_look_again_until_a_version_is_there_also_when_one_is_killed(
    studio: StudioApi, make_loop: MakeLoop, place: Place, tmp_path: Path
) -> None:
    loop, log = make_loop(poll_seconds=0.5, sweep_seconds=2.0, retry_seconds=1.0), tmp_path / "worker.log"
    project = loop.project(7)
    place.write("slow", "")
    with working(loop, log) as worker:
        loop.queue(project).deploy("v1")
        wait_until((place.folder / "between").exists, log.read_text, 60)
        seen = Deployments(loop.store, project).read(EndpointSpec.of(loop.settings).place)
        wait_until(lambda: looked(loop) > seen.looked, "it is looked at again", 30)
        assert pointers(loop) == ("v1", None)
        for process in (*worker.children(recursive=True), worker):
            process.kill()
    loop.redis.flushall()
    loop.redis.hset(projects_key(loop.tool.addresses[0]), "7", "")
    with working(loop, log):
        before = looked(loop)
        wait_until(lambda: looked(loop) > before, log.read_text, 60)
        place.arrive("v1")
        wait_until(lambda: pointers(loop) == ("v1", "v1"), log.read_text, 60)
        wait_until(lambda: studio.backends[0]["title"] == "v1", log.read_text, 60)
        place.remove("slow")
        place.write("refuse", "no quota")
        loop.queue(project).deploy("v2")
        wait_until(lambda: place.calls.count("deploy v2") >= 2, log.read_text, 60)
        assert pointers(loop) == ("v2", "v1")
        place.remove("refuse")
        wait_until(lambda: pointers(loop) == ("v2", "v2"), log.read_text, 60)
    assert all(found == ["v1", "v2"] for found in predicted(studio).values())
    assert place.calls.count("deploy v1") == 1


def looked(hub: Hub) -> float:
    """When the deployer was asked last."""
    return Deployments(hub.store, hub.project(7)).read(EndpointSpec.of(hub.settings).place).looked


def test_what_cannot_be_a_deployer_is_refused_before_anything_starts(make_hub: MakeHub, place: Place) -> None:
    for wrong, told in (("command:./a 'b", "No closing quotation"), ("command:./a?verbs=stop", "'stop' is no verb")):
        with pytest.raises(SettingsError, match=f"LABELLOOP_DEPLOYER: .*{told}"):
            refuse_impossible(make_hub(deployer=wrong))
        hub = make_hub(allowed_deployers=(wrong,))
        with pytest.raises(OptionsError, match=told):
            open_for(hub, {"deployer": wrong})
    assert "LABELLOOP_DEPLOYER" in " ".join(clashes(Settings(deployer=place.plain)))
    assert not [one for one in clashes(Settings(deployer=place.plain, endpoint=place.endpoint)) if "DEPLOYER" in one]


def test_only_a_deployer_that_is_allowed_may_be_named(make_loop: MakeLoop, place: Place) -> None:
    loop = make_loop(deployer="", allowed_deployers=tuple(place.deployer.split(",")))
    project = loop.project(7)
    hear(loop, project, {"deployer": place.plain})
    with pytest.raises(OptionsError, match="LABELLOOP_ALLOWED_DEPLOYERS, word for word"):
        announced_version(loop, project)
    hear(loop, project, {"deployer": place.deployer})
    share_extra_params(loop, project)
    assert deploy(loop, "v1") == "v1 is announced"


def test_doctor_asks_the_deployer(studio: StudioApi, make_loop: MakeLoop, make_hub: MakeHub, place: Place) -> None:
    loop = make_loop(**NO_TORCH)
    deploy(loop, "v1")
    found = {finding.name: finding for finding in diagnose(loop, 7)}
    assert found["deployer"].detail == "deploy.sh says that v1 serves since 2026-11-29T12:00:00Z"
    assert found["project's deployer"].ok
    place.write("silent", "")
    silent = {finding.name: finding for finding in diagnose(loop, None)}["deployer"]
    assert (silent.ok, "the cloud does not answer" in silent.detail) == (False, True)
    gone = make_hub(deployer="command:./nowhere.sh", **NO_TORCH)
    missing = {finding.name: finding for finding in diagnose(gone, None)}["deployer"]
    assert (missing.ok, "./nowhere.sh is no program" in missing.detail) == (False, True)


def test_a_state_of_another_form_says_which_is_expected(loop: Hub, place: Place) -> None:
    deploy(loop, "v1")
    place.write("serving", '"], oh')
    with pytest.raises(DeployError, match=r"deploy\.sh state answered .* expected a JSON object such as"):
        deploy(loop, "v2")
    assert Deployments(loop.store, loop.project(7)).read(EndpointSpec.of(loop.settings).place).version == "v1"
