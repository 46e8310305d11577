"""``label-studio-ml start my_ml_backend``, by that command itself, and the flags of ``_wsgi.py``."""

import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from support.clients import SECONDS
from support.servers import free_port
from support.waiting import wait_until

pytestmark = pytest.mark.process

_ROOT = Path(__file__).resolve().parents[2]
_CONFIG = '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="a"/></Choices></View>'
START_SECONDS, END_SECONDS = 120.0, 60.0
"""How long a start, or the refusal of one, and an end may take on a machine that does much else."""
_LOGIN = {"Authorization": "Basic " + b64encode(b"label:studio").decode()}


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


def status(ask: requests.Session, url: str, job: str) -> str:
    return str(ask.post(f"{url}/job_status", json={"job": job}, timeout=SECONDS).json()["job_status"])


@contextmanager
def started(command: list[str], log: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command in a session of its own, so that all of it can be ended."""
    environment = {**os.environ, **settings, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def wsgi(*flags: str) -> list[str]:
    return [sys.executable, "my_ml_backend/_wsgi.py", *flags]


@pytest.mark.train
def test_label_studios_own_command_starts_all_that_one_machine_needs(tmp_path: Path) -> None:
    port, inference, log = free_port(), free_port(), tmp_path / "log"
    flags = ["-p", str(port), "--host", "127.0.0.1", "--log-level", "INFO", "--model-dir", str(tmp_path / "model")]
    login = ["--basic-auth-user", "label", "--basic-auth-pass", "studio", "--check", "--with", "some=thing"]
    command = ["label-studio-ml", "start", "my_ml_backend", *flags, *login]
    endpoint = f"http://127.0.0.1:{inference}"
    with started(command, log, LABELLOOP_ENDPOINT=endpoint, LABEL_STUDIO_URL="http://127.0.0.1:1") as process:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/health"), log.read_text, START_SECONDS)
        wait_until(lambda: answers(f"{endpoint}/ping"), log.read_text)
        ask = requests.Session()
        assert ask.post(f"{url}/setup", json={"project": "7.1"}, timeout=SECONDS).status_code == 401
        ask.headers.update(_LOGIN)
        assert ask.post(f"{url}/setup", json={"project": "7.1", "schema": _CONFIG}, timeout=SECONDS).json()[
            "model_version"
        ]
        body = {"project": "7.1", "label_config": _CONFIG, "tasks": [{"id": 1}, {"id": 2}]}
        assert ask.post(f"{url}/predict", json=body, timeout=SECONDS).json() == {"results": [[], []]}
        training = {"action": "START_TRAINING", "project": {"id": 7}}
        job = ask.post(f"{url}/webhook", json=training, timeout=SECONDS).json()["job"]
        # Without an API key the run fails: that it does shows a worker at work behind the embedded Redis.
        wait_until(lambda: status(ask, url, job) in ("failed", "finished"), log.read_text, START_SECONDS)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(END_SECONDS)
        gone, alive = psutil.wait_procs(family, timeout=END_SECONDS)
        assert not alive
        assert len(gone) >= 5
    assert "is ready" in log.read_text()


# Rare beside Ctrl-C, which ends the test before; the tests of the supervisor end its processes by each of the three.
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_label_studios_own_command(tmp_path: Path, number: signal.Signals) -> None:
    port, log = free_port(), tmp_path / "log"
    flags = ["-p", str(port), "--host", "127.0.0.1", "--model-dir", str(tmp_path / "model")]
    settings = {"LABELLOOP_ENDPOINT": "fake://?classes=a", "LABEL_STUDIO_URL": "http://127.0.0.1:1"}
    with started(["label-studio-ml", "start", "my_ml_backend", *flags], log, **settings) as process:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), log.read_text, START_SECONDS)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.wait(END_SECONDS)
        gone, alive = psutil.wait_procs(family, timeout=END_SECONDS)
        assert not alive
        assert len(gone) >= 5


def test_a_taken_port_ends_the_start_with_the_remedy(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started(wsgi("-p", port, "--host", "127.0.0.1", "--model-dir", str(tmp_path)), log) as process:
            assert process.wait(START_SECONDS) == 1
    assert f"port {port} of 127.0.0.1 cannot be had" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"LABELLOOP_ENDPOINT": "telnet://x"}, "LABELLOOP_ENDPOINT"),
        ({"LABELLOOP_STORE": "ftp://x"}, "store address"),
        ({"BASIC_AUTH_USER": "label"}, "BASIC_AUTH_PASS is empty"),
        ({"LABELLOOP_SEED": "many"}, "LABELLOOP_SEED"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"LABELLOOP_RECIPES": "heads"}, "LABELLOOP_RECIPES: 'heads' is not a list of head, finetune"),
    ],
)
def test_check_refuses_settings_that_cannot_work_before_anything_starts(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    log = tmp_path / "log"
    with started(wsgi("--check", "-p", str(free_port()), "--model-dir", str(tmp_path)), log, **settings) as process:
        assert process.wait(START_SECONDS) == os.EX_CONFIG
    assert reason in log.read_text()
    assert "Traceback" not in log.read_text()
    assert "is ready" not in log.read_text()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"LABELLOOP_RECIPES": "heads"}, "LABELLOOP_RECIPES: 'heads' is not a list of head, finetune"),
        ({"BASIC_AUTH_USER": "label"}, "BASIC_AUTH_PASS is empty"),
        ({"LABELLOOP_REQUEST_FORMAT": "raw", "LABELLOOP_ENDPOINT_BATCH": "4"}, "raw carries one input, not 4"),
        pytest.param(
            {"LABELLOOP_WEIGHTS": "/nowhere/a.safetensors"},
            "LABELLOOP_WEIGHTS: /nowhere/a.safetensors cannot be read",
            marks=pytest.mark.train,
        ),
    ],
)
def test_a_start_that_can_never_work_is_refused_in_one_line(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    log, port = tmp_path / "log", free_port()
    with started(wsgi("-p", str(port), "--model-dir", str(tmp_path)), log, **settings) as process:
        assert process.wait(START_SECONDS) == os.EX_CONFIG
    [line] = [line for line in log.read_text().splitlines() if "WARNING" not in line]
    assert line.startswith("labelloop: ")
    assert reason in line


@pytest.mark.train
def test_what_the_training_libraries_must_say_is_said_by_the_worker_which_ends_all(tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {
        "LABELLOOP_BACKBONE": "resnet19",
        "LABELLOOP_RETRIAN_AFTER": "5",
        "LABELLOOP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
    }
    with started(wsgi("-p", str(free_port()), "--model-dir", str(tmp_path)), log, **settings) as process:
        assert process.wait(START_SECONDS) == os.EX_CONFIG
    told = log.read_text()
    assert "Error: timm has no network named 'resnet19'; near: resnet18" in told
    assert "worker cannot work with these settings" in told
    assert told.count("LABELLOOP_RETRIAN_AFTER is not a setting; did you mean LABELLOOP_RETRAIN_AFTER?") == 1
    assert told.count("Basic authentication is off and HOST is 0.0.0.0") == 1
    assert "Traceback" not in told


def test_help_names_every_flag_of_label_studios_own_script(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(wsgi("--help"), log) as process:
        assert process.wait(START_SECONDS) == 0
    for flag in (
        *("-p", "--port", "--host", "-d", "--debug", "--log-level", "--model-dir", "--check"),
        *("--basic-auth-user", "--basic-auth-pass", "--kwargs", "--with"),
    ):
        assert flag in log.read_text()
