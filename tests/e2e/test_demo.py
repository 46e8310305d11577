"""The demo as a newcomer runs it: what it prints works in a second terminal, and what is kept goes on."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from labelloop.demo.label_studio import LabelStudio
from support.servers import free_port
from support.waiting import wait_until

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(600)]


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def demo(command: Path, log: Path, *words: str) -> Iterator[Callable[[], str]]:
    """Run it until the block ends, then as Ctrl-C ends it; gives what it has said by now."""
    called = [sys.executable, "-m", "labelloop", "demo", "--label-studio", str(command), *words]
    with log.open("wb") as output:
        # A terminal's process hears Ctrl-C, whoever runs the tests: one in the background hands on that it is ignored.
        child = subprocess.Popen(called, stdout=output, stderr=output, start_new_session=True, preexec_fn=_hear_ctrl_c)  # noqa: PLW1509
    try:
        wait_until(lambda: "Ctrl-C ends" in log.read_text() or child.poll() is not None, log.read_text, 300)
        assert child.poll() is None, log.read_text()
        yield log.read_text
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 0, log.read_text()


def pasted(said: str, command: str) -> str:
    """Run a command in a shell that was given the lines that the demo printed."""
    lines = [line for line in said.splitlines() if line.startswith("export ")]
    shell = "\n".join([*lines, command])
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    bare |= {
        "LABELLOOP_REDIS_URL": "redis://127.0.0.1:1",
        "LABELLOOP_STORE": "file:///nowhere",
        "MODEL_DIR": "/nowhere",
    }
    done = subprocess.run(["sh", "-c", shell], env=bare, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_lines_work_in_another_terminal_and_what_is_kept_goes_on(
    label_studio_command: Path, tmp_path: Path
) -> None:
    kept, port = tmp_path / "kept", str(free_port())
    status = f"{sys.executable} -m labelloop status --json"
    with demo(label_studio_command, tmp_path / "first.log", "--keep", str(kept), "--port", port) as said:
        assert f"http://127.0.0.1:{port}/projects/1/data?tab=" in said()
        assert "export LABELLOOP_MIN_LABELS=60" in said(), "a first version of fewer labels than are given for it"
        assert json.loads(pasted(said(), status))[0]["announced"] == "v1"
        pasted(said(), f"{sys.executable} -m labelloop report --project 1 --output {tmp_path}/report.html")
        assert "<html" in (tmp_path / "report.html").read_text()
        tab = re.findall(r"\?tab=(\d+)", said())[0]
        shown = tasks_of(tab, port)
        assert len(shown) == 740
        scores = [float(str(task["predictions_score"])) for task in shown]
        assert scores == sorted(scores)
        assert {task["total_annotations"] for task in shown} == {0}

    with demo(label_studio_command, tmp_path / "second.log", "--keep", str(kept)) as said:
        assert "goes on with version v1" in said()
        assert json.loads(pasted(said(), status))[0]["announced"] == "v1"
        assert f"http://127.0.0.1:{port}/projects/1/data?tab={tab}" in said()


def tasks_of(tab: str, port: str) -> list[dict[str, object]]:
    """The tasks that a tab shows, in its order."""
    with requests.Session() as session:
        session.get(f"http://127.0.0.1:{port}/user/login/", timeout=30)
        form = {"email": LabelStudio.email, "password": LabelStudio.password}
        form["csrfmiddlewaretoken"] = session.cookies["csrftoken"]
        session.post(f"http://127.0.0.1:{port}/user/login/", data=form, timeout=30)
        answer = session.get(
            f"http://127.0.0.1:{port}/api/tasks?view={tab}&page_size=1000&project=1&fields=all", timeout=60
        )
        found: list[dict[str, object]] = answer.json()["tasks"]
        return found
