"""The Label Studio that the demo and these tests run."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from labelloop.demo.label_studio import LabelStudio
from labelloop.errors import ServiceError, StudioError
from labelloop.studio.client import Studio
from support.servers import free_port

pytestmark = pytest.mark.studio

SOURCE = Path(__file__).parents[2] / "my_ml_backend"


def test_many_pictures_become_tasks(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    label_studio.import_pictures(project, {f"{number:03}.png": b"picture" for number in range(101)})
    names = [task["data"]["image"].rpartition("-")[2] for task in studio.tasks(project)]
    assert sorted(names) == [f"{number:03}.png" for number in range(101)]


def test_what_it_refuses_is_an_error(label_studio: LabelStudio) -> None:
    with pytest.raises(StudioError, match="HTTP 400"):
        label_studio.create_project("no", "<View/>")


def test_a_taken_port_and_a_missing_executable_are_refused(
    label_studio: LabelStudio, label_studio_command: Path, tmp_path: Path
) -> None:
    port = int(label_studio.url.rpartition(":")[2])
    with pytest.raises(ServiceError, match=f"port {port} is taken"):
        LabelStudio(label_studio_command, tmp_path, port).start()
    with pytest.raises(ServiceError, match="is missing"):
        LabelStudio(tmp_path / "label-studio", tmp_path, port).start()


def test_one_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    command = tmp_path / "label-studio"
    command.write_text("#!/bin/sh\necho out of order\n[ $1 = version ]\n")
    command.chmod(0o755)
    with pytest.raises(ServiceError, match="out of order"):
        LabelStudio(command, tmp_path / "data", free_port(), cache=command / "no-folder").start()


def test_it_starts_again_where_it_left_off_and_ends_with_its_parent(label_studio_command: Path, tmp_path: Path) -> None:
    port = free_port()
    script = (
        "import sys; from pathlib import Path; from labelloop.demo.label_studio import LabelStudio\n"
        f"studio = LabelStudio(Path({str(label_studio_command)!r}), Path({str(tmp_path)!r}), {port}); studio.start()\n"
        "print(studio.create_project('Kept', '<View/>'), studio._child.pid, studio.token, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    with parent:
        assert parent.stdout is not None
        project, child, revoked = parent.stdout.readline().split()
        parent.kill()
    psutil.wait_procs([process for process in [_process(int(child))] if process], timeout=10)
    assert _process(int(child)) is None
    with LabelStudio(label_studio_command, tmp_path, port) as again:
        assert again.request("GET", f"/api/projects/{project}")["title"] == "Kept"
        assert again.token != revoked
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{again.url}/health", timeout=5)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
