"""A team's own training, endpoint and deployment close the loop: the programs of docs/bring-your-own.md, as they are.

The endpoint stands behind SageMaker's URL. What training with LabelLoop needs is hidden, as if it were not installed.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from threading import Event

import psutil
import pytest
import requests
from boto3.session import Session

from labelloop.children import stop_child
from labelloop.demo.examples import Example
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.layouts import LAYOUTS
from labelloop.demo.rounds import Annotator
from labelloop.environment import environment_of
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.redis_client import SWEEP, key_of
from labelloop.loop.status import ProjectStatus, project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import Runs
from labelloop.models.versions import Versions
from labelloop.settings import Settings
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect
from labelloop.types import NO_VERSION, TEXTS, Json, ProjectKey
from labelloop.webhook_secrets import WebhookSecrets
from support.loop_machine import LoopMachine, Project, loop_settings
from support.lossy_proxy import LossyProxy, Stop, lossy_proxy
from support.moto_server import moto_environment, moto_server
from support.servers import free_port
from support.waiting import wait_until
from support.web_machine import WebMachine

pytestmark = [pytest.mark.studio, pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = (Path(__file__).parents[2] / "docs/bring-your-own.md").read_text()
PROGRAMS: dict[str, str] = dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE))
[CONFIG] = re.findall(r"```xml\n(.*?)```", PAGE, re.DOTALL)
SHELL = " ".join(re.findall(r"^\$ export (.*)$", PAGE, re.MULTILINE))
EXPORTS: dict[str, str] = {name: quoted or bare for name, quoted, bare in re.findall(r"(\w+)=(?:'(.*?)'|(\S+))", SHELL)}
PORT = "8500"
BEFORE = "topics/AllTraffic"
"""What the model is called that the endpoint has of its own: by its variant, as SageMaker tells it."""

HIDE = f"""
import sys
if not {{word.rpartition("/")[2] for word in sys.orig_argv}} & {set(PROGRAMS)}:
    for name in "albumentations captum lightning matplotlib onnx optuna sklearn tensorboard timm torch".split():
        sys.modules[name] = None
"""
"""Hides from LabelLoop what my_ml_backend/requirements.txt leaves out, and this environment has."""


class Team:
    """A folder with the page's programs; its endpoint runs with the ``with`` block, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"http://127.0.0.1:{free_port()}"
        for name, program in PROGRAMS.items():
            (folder / name).write_text(program.replace(PORT, self.address.rpartition(":")[2]))
        (folder / "hidden").mkdir()
        (folder / "hidden/sitecustomize.py").write_text(HIDE)
        self.run("messages.py")
        self.messages: list[Json] = json.loads((folder / "messages.json").read_text())

    @property
    def environment(self) -> dict[str, str]:
        """What the team has set beside LabelLoop's settings: where SageMaker is, and whom it knows."""
        aws = {name: value for name, value in EXPORTS.items() if name.startswith("AWS_")}
        return {
            **moto_environment(""),
            **aws,
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.address,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join((str(self.folder / "hidden"), os.environ.get("PYTHONPATH", ""))),
        }

    @property
    def settings(self) -> dict[str, object]:
        """The page's settings by field, with shorter waits."""
        ours = {name: value for name, value in EXPORTS.items() if name.startswith("LABELLOOP_")}
        read = Settings.from_environment(ours)
        said = {one.name: getattr(read, one.name) for one in fields(read) if one.metadata["name"] in ours}
        return said | {"quiet_seconds": 0.5, "poll_seconds": 0.2}

    def run(self, *command: str, **environment: str) -> str:
        """Run one of the programs to its end; gives what it says."""
        done = subprocess.run(
            [sys.executable, *command],
            check=False,
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def serves(self) -> str:
        """Which version the endpoint answers with."""
        return str(requests.get(self.address, timeout=10).json()["version"])

    def begun(self) -> list[str]:
        """The key of each training that began."""
        return (self.folder / "jobs/begun.log").read_text().split()

    @contextmanager
    def endpoint(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the endpoint."""
        with (self.folder / "endpoint.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "endpoint.py"], cwd=self.folder, stdout=log, stderr=log)
        try:
            wait_until(self._answers, (self.folder / "endpoint.log").read_text)
            yield process
        finally:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            return requests.get(self.address, timeout=2).ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    made = Team(tmp_path_factory.mktemp("topics"))
    with made.endpoint():
        yield made


@pytest.fixture(scope="module")
def machine(label_studio: LabelStudio, team: Team, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopMachine]:
    """One LabelLoop for all tests here, started in the team's folder."""
    folder = tmp_path_factory.mktemp("loop")
    settings = loop_settings(label_studio, folder, **team.settings, sweep_seconds=60.0)
    with LoopMachine(label_studio, settings, folder / "labelloop.log", team.folder, team.environment) as made:
        yield made


LAYOUT = replace(LAYOUTS[TEXTS], name="topic")


def filled(label_studio: LabelStudio, client: Studio, number: int, team: Team) -> dict[int, Example]:
    """Import the page's messages; gives their topics by task."""
    label_studio.import_tasks(number, team.messages)
    return {task["id"]: Example(None, (task["data"]["topic"],), task["data"]["text"]) for task in client.tasks(number)}


def announced(version: str) -> Callable[[ProjectStatus], bool]:
    return lambda status: status.announced == version and status.step is None


def versions(machine: LoopMachine, project: Project, tasks: Iterable[int]) -> set[tuple[str, ...]]:
    """Which versions have predicted each of these tasks."""
    found = machine.predictions(project)
    return {tuple(sorted(found[task])) for task in tasks}


def chosen(machine: LoopMachine, project: Project, version: str) -> dict[int, str]:
    """What a version has chosen for each task that it pre-annotated."""
    found = machine.client.tasks(project.key.id, fields=("id", "predictions"))
    return {
        task["id"]: region["value"]["choices"][0]
        for task in found
        for one in task["predictions"]
        if one["model_version"] == version
        for region in one["result"]
    }


@pytest.fixture(scope="module")
def first(machine: LoopMachine, team: Team) -> Project:
    """A project whose first version is announced; its labels are those of the page's annotator."""
    project = machine.connected(
        machine.studio.create_project("Topics", CONFIG),
        lambda number: filled(machine.studio, machine.client, number, team),
        LAYOUT,
    )
    assert machine.status(project).missing == f"{machine.settings.min_labels} more labels"
    # What the endpoint's own model says is imported first, as the page says.
    wait_until(
        lambda: all(machine.predictions(project).values()) and not machine.hub.state(project.key).is_held(),
        "every message has a prediction of the endpoint's own model",
    )
    account = environment_of(machine.settings)
    team.run("annotate.py", str(project.key.id), str(machine.settings.min_labels), **account)
    assert len(list(machine.client.labeled_tasks(project.key.id))) == machine.settings.min_labels
    machine.wait_for(project, announced("v1"), "the first labels lead to v1")
    return project


def test_the_first_version_is_trained_deployed_and_announced(machine: LoopMachine, team: Team, first: Project) -> None:
    record = Versions(machine.hub.store, first.key).get("v1")
    waiting = [task["id"] for task in machine.client.tasks(first.key.id, unlabeled=True)]

    assert record.verdict.startswith("v1 becomes the first champion: ")
    assert team.begun() == [record.run]
    assert team.serves() == "v1"
    assert machine.client.ml_backends(first.key.id)[0].title == "v1"
    found = chosen(machine, first, "v1")
    assert sorted(found) == sorted(waiting)
    right = sum((found[task],) == first.answers[task].labels for task in waiting)
    assert right / len(waiting) > 0.8  # three topics: 0.33 by chance
    assert versions(machine, first, waiting) == {(BEFORE, "v1")}


def test_more_labels_lead_to_a_second_version(machine: LoopMachine, team: Team, first: Project) -> None:
    met = first.annotator.annotate_next(machine.settings.retrain_after, "v1")
    assert met.served == machine.settings.retrain_after

    machine.wait_for(first, announced("v2"), "as many corrections lead to v2")

    record = Versions(machine.hub.store, first.key).get("v2")
    assert record.verdict.startswith("v2 replaces v1: ")
    assert (
        record.metrics["gate"]["test_items"]
        > Versions(machine.hub.store, first.key).get("v1").metrics["gate"]["test_items"]
    )
    assert team.serves() == "v2"
    assert len(team.begun()) == len(set(team.begun())) == 2
    waiting = {task["id"] for task in machine.client.tasks(first.key.id, unlabeled=True)}
    assert set(chosen(machine, first, "v2")) == waiting
    assert versions(machine, first, waiting) == {(BEFORE, "v1", "v2")}


def test_a_task_that_is_opened_is_predicted_with_the_version_that_is_deployed(
    machine: LoopMachine, team: Team, first: Project
) -> None:
    machine.studio.import_tasks(first.key.id, [{"text": "my card was charged twice, again", "topic": "billing"}])
    [task] = [task["id"] for task in machine.client.tasks(first.key.id) if task["id"] not in first.answers]
    machine.studio.request("GET", f"/api/tasks/{task}")

    wait_until(lambda: machine.predictions(first)[task] == ["v2"], "it has a prediction")
    assert chosen(machine, first, "v2")[task] == "billing"


def test_a_rollback_deploys_and_announces_the_version_before(machine: LoopMachine, team: Team, first: Project) -> None:
    team.run(
        "-m",
        "labelloop",
        *("rollback", "--project", str(first.key.id), "--to", "v1"),
        **environment_of(machine.settings),
        **team.environment,
    )

    status = machine.status(first)
    assert (status.champion, status.announced) == ("v1", "v1")
    assert team.serves() == "v1"
    assert machine.client.ml_backends(first.key.id)[0].title == "v1"
    waiting = {task["id"] for task in machine.client.tasks(first.key.id, unlabeled=True)}
    assert waiting <= set(chosen(machine, first, "v1"))


def test_nothing_secret_is_in_the_log(machine: LoopMachine, first: Project) -> None:
    log = machine.log.read_text()

    assert machine.settings.label_studio_api_key not in log
    assert WebhookSecrets(machine.settings).of(first.key.id) not in log
    assert "Traceback" not in log


HOLDER = '''
"""Runs a verb of a program, and waits before it or after it for as long as there is a file that says so."""
import subprocess, sys, time
from pathlib import Path

program, verb, *rest = sys.argv[1:]

def stop(place):
    wanted = Path("holds") / place
    if wanted.exists():
        wanted.with_name(f"{place} reached").touch()
        while wanted.exists():
            time.sleep(0.02)

stop(f"{verb} before")
status = subprocess.call([sys.executable, program, verb, *rest])
stop(f"{verb} after")
sys.exit(status)
'''

CHAMPION, ANNOUNCED = rb'"champion": ?"v1"', rb'"announced": ?"v1"'
REQUESTS: dict[str, tuple[str, Stop]] = {
    "claim after": ("store", Stop("PUT", r"/v1/claim\.json$", after=True)),
    "publish before": ("store", Stop("PUT", r"/v1/version\.json$")),
    "publish after": ("store", Stop("PUT", r"/v1/version\.json$", after=True)),
    "promote after": ("store", Stop("PUT", r"/champion\.json$", CHAMPION, after=True)),
    "prelabel before": ("endpoint", Stop("POST", "/invocations$")),
    "import after": ("studio", Stop("POST", "/import/predictions", after=True)),
    "announce after": ("store", Stop("PUT", r"/champion\.json$", ANNOUNCED, after=True)),
    "flip before": ("studio", Stop("PATCH", "^/api/ml/")),
    "flip after": ("studio", Stop("PATCH", "^/api/ml/", after=True)),
}
"""Requests of a worker at which it is killed, and whose they are."""

PLACES = (
    *("start before", "start after", "poll before", "poll after", "collect before", "collect after"),
    *("claim after", "publish before", "publish after", "promote after"),
    *("deploy before", "deploy after", "state before", "state after"),
    *("prelabel before", "import after", "announce after", "flip before", "flip after"),
)
"""Where the worker is killed on the way to v1, one after the other: a verb of the team's programs, or a request."""


class Hold:
    """A place where a worker waits to be killed."""

    def __init__(self, reached: Callable[[], bool], let_go: Callable[[], None]) -> None:
        self.reached, self.let_go = reached, let_go


class Pieces:
    """LabelLoop without a worker, and a proxy before each service that a worker calls."""

    def __init__(self, machine: WebMachine, team: Team, proxies: Mapping[str, LossyProxy]) -> None:
        self.machine, self.team, self._proxies = machine, team, proxies
        self._worker: subprocess.Popen[bytes] | None = None

    def hold(self, place: str) -> Hold:
        """Let whatever comes to that place next wait there."""
        if place in REQUESTS:
            name, stop = REQUESTS[place]
            held = replace(stop, reached=Event(), go=Event())
            self._proxies[name].stop = held
            return Hold(held.reached.is_set, held.go.set)
        wanted = self.team.folder / "holds" / place
        wanted.touch()
        return Hold(wanted.with_name(f"{place} reached").exists, wanted.unlink)

    def told(self, project: ProjectKey) -> str:
        """Say how the project stands, and what the worker said last."""
        return f"{project_status(self.machine.hub, project)}\n{self.machine.log.read_text()[-4000:]}"

    def work(self) -> None:
        """Start a worker."""
        self._worker = self.machine.start("worker")

    def kill(self, project: ProjectKey) -> None:
        """End the worker and all it has begun by SIGKILL; let its lease of 15 seconds be over, and a sweep be due."""
        assert self._worker is not None
        begun = psutil.Process(self._worker.pid).children(recursive=True)
        self._worker.kill()
        self._worker.wait()
        _gone, alive = psutil.wait_procs(begun, timeout=20)
        assert not alive, "something outlived its worker"
        self.machine.hub.redis.delete(key_of(project, "lease"), SWEEP)

    def end(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            stop_child(self._worker, 10)

    def kill_at(self, place: str, project: ProjectKey, ask: Callable[[], object] = lambda: None) -> None:
        """Start a worker, wait until it is at that place, and kill it there; ``ask`` asks for what leads there."""
        hold = self.hold(place)
        self.work()
        ask()
        wait_until(hold.reached, lambda: f"{place!r} is reached:\n{self.told(project)}")
        self.kill(project)
        hold.let_go()


@pytest.fixture
def pieces(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Pieces]:
    """The team's programs, held by ``HOLDER``; the store is in S3."""
    (tmp_path / "topics").mkdir()
    team = Team(tmp_path / "topics")
    (team.folder / "held.py").write_text(HOLDER)
    (team.folder / "holds").mkdir()
    with ExitStack() as entered:
        entered.enter_context(team.endpoint())
        addresses = {
            "store": entered.enter_context(moto_server()),
            "studio": label_studio.url,
            "endpoint": team.address,
        }
        proxies = {
            name: entered.enter_context(lossy_proxy("127.0.0.1", int(address.rpartition(":")[2])))
            for name, address in addresses.items()
        }
        environment = {
            **team.environment,
            **{name: value for name, value in moto_environment(proxies["store"].url).items() if name.endswith("_S3")},
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": proxies["endpoint"].url,
        }
        given = team.settings | {
            "trainer": str(team.settings["trainer"]).replace("train.py", "held.py train.py"),
            "deployer": str(team.settings["deployer"]).replace("deploy.py", "held.py deploy.py"),
            "label_studio_url": proxies["studio"].url,
            "store": "s3://topics/loop",
            "sweep_seconds": 5.0,
            "retry_seconds": 0.1,
        }
        patched = entered.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patched.setenv(name, value)
        Session().client("s3").create_bucket(Bucket="topics")
        made = Pieces(
            entered.enter_context(WebMachine(label_studio, tmp_path, environment, given, team.folder)), team, proxies
        )
        entered.callback(made.end)
        yield made


def test_whatever_is_killed_one_training_a_key_and_the_same_champion_come_of_it(
    label_studio: LabelStudio, pieces: Pieces
) -> None:
    machine, team = pieces.machine, pieces.team
    number = label_studio.create_project("Killed everywhere", CONFIG)
    connect(machine.client, number, machine.url, machine.settings, NO_VERSION)
    answers = filled(label_studio, machine.client, number, team)
    key = confirmed_project(machine.hub, number)[0]

    def stands(version: str) -> bool:
        return announced(version)(project_status(machine.hub, key))

    with closing(Annotator(machine.client, label_studio.url, number, answers, LAYOUT)) as annotator:
        annotator.annotate(sorted(answers)[: machine.settings.min_labels])
        for place in PLACES:
            pieces.kill_at(place, key)
        pieces.work()
        wait_until(lambda: stands("v1"), lambda: pieces.told(key))
        pieces.kill(key)

        annotator.annotate_next(machine.settings.retrain_after, "v1")
        pieces.kill_at("poll before", key)
        machine.hub.redis.flushall()
        pieces.kill_at("predict before", key)
        pieces.work()
        wait_until(lambda: stands("v2"), lambda: pieces.told(key))
        pieces.kill(key)

    for place in ("rollback before", "rollback after"):
        pieces.kill_at(place, key, lambda: machine.hub.queue(key).deploy("v1"))
    pieces.work()
    wait_until(lambda: stands("v1"), lambda: pieces.told(key))

    versions, runs = Versions(machine.hub.store, key), Runs(machine.hub.store, key)
    made = [versions.get(name).run for name in ("v1", "v2")]
    assert versions.names() == ["v1", "v2"]
    assert team.begun() == made
    assert [record.state for one in made if (record := runs.get(one))] == ["promoted", "promoted"]
    reigns = ChampionPointer(machine.hub.store, key).read().history
    assert [reign.version for reign in reigns] == ["v1", "v2", "v1"]
    assert team.serves() == "v1"
    assert machine.client.ml_backends(number)[0].title == "v1"
    waiting = [task["id"] for task in machine.client.tasks(number, unlabeled=True)]
    found = {task["id"]: task["predictions"] for task in machine.client.tasks(number, fields=("id", "predictions"))}
    assert len(answers) - len(waiting) == machine.settings.min_labels + machine.settings.retrain_after
    assert all({one["model_version"] for one in found[task]} >= {"v1", "v2"} for task in waiting)
    assert all(len({one["model_version"] for one in given}) == len(given) for given in found.values())

    ran = machine.run("retrain", "--project", str(number), "--force")
    assert ran.code == 0, ran.err
    assert "v3 replaces v1: " in ran.out
    assert team.begun() == [*made, versions.get("v3").run]
