"""``pip install .`` in a new virtual environment, and what that gives: ``labelloop start``, without label-studio-ml."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from support.clients import SECONDS
from support.servers import free_port
from support.tools import missing_tool
from support.waiting import wait_until
from support.web import CONFIG

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(1200)]

_ROOT = Path(__file__).resolve().parents[2]
_BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
SECRET = "of-the-webhooks"
_UNREACHABLE = (
    "NewConnectionError",
    "No matching distribution found for boto3",
    "Temporary failure in name resolution",
)


def called(*command: str | Path, seconds: float = 900, check: bool = True, folder: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds, env=environment, cwd=folder
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what it is made of, so that nothing is left in the folder of the tests."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(_ROOT / name, source)
    shutil.copytree(_ROOT / "my_ml_backend", source / "my_ml_backend", ignore=shutil.ignore_patterns("__pycache__"))
    called(sys.executable, "-c", _BUILD, built, folder=source)
    [made] = built.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new virtual environment, in which pip itself resolved what the wheel needs."""
    place = tmp_path_factory.mktemp("venv")
    called(sys.executable, "-m", "venv", place)
    said = called(place / "bin/pip", "install", "--disable-pip-version-check", wheel, check=False)
    if any(sign in said for sign in _UNREACHABLE):
        missing_tool("no package registry can be reached")
    assert "Successfully installed" in said, said[-3000:]
    return place / "bin"


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    listed = called(sys.executable, "-m", "zipfile", "-l", wheel)
    folders = {line.split("/")[0] for line in listed.splitlines()[1:]}

    assert {name for name in folders if not name.endswith(".dist-info")} == {"labelloop"}


def test_pip_finds_versions_of_all_that_is_needed_and_no_label_studio_ml_among_them(programs: Path) -> None:
    assert called(programs / "pip", "check").strip() == "No broken requirements found."
    packages = called(programs / "pip", "list", "--format", "freeze")

    assert "label-studio-sdk==" in packages
    assert "label-studio-ml" not in packages


@contextmanager
def started(programs: Path, folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """``labelloop start`` in a folder whose own ``model.py`` is not its business."""
    (folder / "model.py").write_text('raise SystemExit("this is somebody else\'s")\n')
    own = {
        "LABEL_STUDIO_URL": "http://127.0.0.1:1",
        "LABELLOOP_WEBHOOK_SECRET": SECRET,
        "LABELLOOP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "MODEL_DIR": str(folder / "model"),
    }
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(programs / "labelloop"), "start", "-p", str(port), "--host", "127.0.0.1", "--check", "--with", "a=b"]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=inherited | own, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_labelloop_start_serves_the_routes_without_label_studio_ml(programs: Path, tmp_path: Path) -> None:
    port, log, ask = free_port(), tmp_path / "log", requests.Session()
    ask.headers["X-LabelLoop-Secret"] = SECRET
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return ask.get(f"{url}/health", timeout=2).ok
        except requests.RequestException:
            return process.poll() is not None

    with started(programs, tmp_path, port) as process:
        wait_until(is_up, log.read_text, 120)
        assert process.poll() is None, log.read_text()
        assert ask.get(f"{url}/health", timeout=SECONDS).json() == {"status": "UP", "model_class": "LabelLoop"}
        version = ask.post(f"{url}/setup", json={"project": "7.1", "schema": CONFIG}, timeout=SECONDS).json()[
            "model_version"
        ]
        assert version == "labelloop-untrained"
        body = {"project": "7.1", "label_config": CONFIG, "tasks": [{"id": 1}, {"id": 2}]}
        assert ask.post(f"{url}/predict", json=body, timeout=30).json() == {"results": [[], []]}
        training = {"action": "START_TRAINING", "project": {"id": 7}}
        job = ask.post(f"{url}/webhook", json=training, timeout=SECONDS).json()["job"]
        assert ask.post(f"{url}/job_status", json={"job": job}, timeout=SECONDS).status_code == 200
        created = {"annotation": {"id": 1, "task": 2}, "task": {"id": 2}, "project": {"id": 7}}
        webhook = ask.post(f"{url}/webhook", json={"action": "ANNOTATION_CREATED", **created}, timeout=SECONDS)
        assert (webhook.status_code, webhook.json()) == (200, {"status": "noted"})
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive
    for service in ("redis", "inference", "web"):
        assert f"{service} is ready" in log.read_text()
    assert "worker has started" in log.read_text()
    assert "somebody else" not in log.read_text()
