"""``docker compose up`` goes once round the loop, by the words of docs/docker.md."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from labelloop.demo.examples import Examples
from labelloop.demo.layouts import LAYOUTS, label_config, upload
from labelloop.demo.pictures import digits
from labelloop.demo.rounds import Annotator
from labelloop.types import FIRST_LABELS, Json
from support.waiting import wait_until

from .conftest import ANNOTATED, BUILT, TOKEN, Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(2400)]

URL = "http://web.labelloop.internal:9090"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """120 digits to show."""
    return digits(tmp_path_factory.mktemp("digits"), seed=1, tasks=120)


@pytest.fixture(scope="module")
def stack(make_stack: Callable[[str], Stack]) -> Stack:
    """All services, up and healthy: ``--wait`` fails where one is not."""
    made = make_stack("loop")
    made.compose("up", "--no-build", "--detach", "--wait", "--wait-timeout", "420", seconds=480)
    return made


@pytest.fixture(scope="module")
def project(stack: Stack, pictures: Examples) -> int:
    """A project of digits that was connected as docs/docker.md says, and went once round."""
    studio, client = stack.studio, stack.client()
    number = studio.create_project("Digits", label_config(pictures))
    answers = upload(studio, client, number, pictures)
    said = stack.labelloop("connect", "--project", str(number), "--url", URL)
    assert f"registered at {URL}" in said
    with closing(Annotator(client, studio.url, number, answers, LAYOUTS[pictures.kind])) as annotator:
        annotator.annotate(sorted(answers)[:ANNOTATED])

    wait_until(
        lambda: stack.status(number)["announced"] == "v1",
        lambda: f"v1: {stack.compose('logs', '--tail', '60', 'worker', 'web')}",
        420,
    )
    client.close()
    return number


def test_every_container_of_ours_is_healthy_and_none_was_restarted(stack: Stack, project: int) -> None:
    for service in BUILT:
        container = stack.container(service)
        assert container["State"]["Health"]["Status"] == "healthy", service
        assert container["RestartCount"] == 0, stack.compose("logs", "--tail", "40", service)


def test_the_inference_image_holds_what_predicts_and_is_much_smaller(stack: Stack, project: int) -> None:
    """It has served the predictions of this loop by now."""
    listed = "import importlib.metadata as m; print(*sorted({d.name.lower() for d in m.distributions()}))"
    names = stack.compose("exec", "-T", "inference", "python", "-c", listed).split()
    size = {image: int(stack.on.run("inspect", "--format", "{{.Size}}", f"labelloop-{image}")) for image in BUILT}

    assert {"onnxruntime", "botocore", "flask"} <= set(names)
    assert not {"label-studio-sdk", "label_studio_sdk", "label-studio-ml", "rq", "redis", "pandas"} & set(names)
    assert size["web"] - size["inference"] > 250_000_000


def _versions(task: Json) -> list[str]:
    """The versions of a task's predictions, but for the order that it had before the first one."""
    return [one["model_version"] for one in task["predictions"] if one["model_version"] != FIRST_LABELS]


def test_the_loop_goes_round(stack: Stack, project: int) -> None:
    studio = stack.studio
    tasks = studio.request("GET", f"/api/tasks?project={project}&page_size=200&fields=all")["tasks"]
    waiting = [task for task in tasks if not task["is_labeled"]]

    assert len(waiting) == 40
    assert all(_versions(task) == ["v1"] for task in waiting)


def test_commands_of_the_pages_work_inside(stack: Stack, project: int, tmp_path: Path) -> None:
    assert "v1" in stack.labelloop("versions", "--project", str(project))
    assert "v1" in stack.labelloop("status")
    doctor = stack.labelloop("doctor", "--project", str(project))
    assert "ok" in doctor.lower()


def test_a_killed_worker_and_a_wiped_redis_leave_version_and_predictions(stack: Stack, project: int) -> None:
    stack.compose("kill", "worker", "redis")
    stack.compose("rm", "--force", "--volumes", "redis")
    stack.compose("up", "--no-build", "--detach", "--wait", "--wait-timeout", "180", seconds=200)

    assert stack.status(project)["announced"] == "v1"
    studio = stack.studio
    tasks = studio.request("GET", f"/api/tasks?project={project}&page_size=200&fields=all")["tasks"]
    assert all(_versions(task) == ["v1"] for task in tasks if not task["is_labeled"])


def test_a_worker_that_starts_before_redis_waits_for_it(make_stack: Callable[[str], Stack]) -> None:
    stack = make_stack("late-redis")
    stack.compose("up", "--no-build", "--no-deps", "--detach", "worker", "web")
    wait_until(lambda: "redis" in stack.compose("logs", "worker").lower(), lambda: stack.compose("logs", "worker"), 90)
    assert stack.container("worker")["RestartCount"] == 0

    stack.compose("up", "--no-build", "--no-deps", "--detach", "--wait", "--wait-timeout", "60", "redis")
    wait_until(
        lambda: stack.container("worker")["State"]["Health"]["Status"] == "healthy",
        lambda: stack.compose("logs", "worker"),
        120,
    )
    assert stack.container("worker")["RestartCount"] == 0


def test_no_container_can_do_more_than_it_has_to(stack: Stack, project: int) -> None:
    """After a loop that went round; a file system is tried by writing to it, a network by connecting."""
    written = "open('/app/x', 'w')"
    for service in BUILT:
        assert "Read-only file system" in stack.compose("exec", "-T", service, "python", "-c", written, check=False)
        held = stack.compose("exec", "-T", service, "python", "-c", "import os; print(os.environ)")
        assert (TOKEN in held) == (service != "inference")
    for host, port in (("redis", 6379), ("inference", 9091)):
        reached = f"import socket; socket.create_connection(('{host}', {port}), 3)"
        refused = stack.compose("exec", "-T", "label-studio", "python3", "-c", reached, check=False)
        assert "gaierror" in refused, refused
    asked = "import socket; to = socket.create_connection(('redis', 6379)); to.send(b'PING\\r\\n'); print(to.recv(99))"
    assert "Authentication required" in stack.compose("exec", "-T", "web", "python", "-c", asked, check=False)


def test_a_label_studio_of_ones_own_is_left_out_and_the_dashboard_is_published(
    make_stack: Callable[[str], Stack],
) -> None:
    stack = make_stack("own")
    with (stack.folder / ".env").open("a") as file:
        file.write("LABEL_STUDIO_REPLICAS=0\nLABEL_STUDIO_URL=http://labels.example.com\n")
    stack.compose("up", "--no-build", "--detach", "--wait", "--wait-timeout", "120", seconds=180)

    assert "label-studio" not in stack.compose("ps", "--all", "--services").split()
    assert "No project is connected yet" in httpx.get(f"{stack.web}/dashboard").text
