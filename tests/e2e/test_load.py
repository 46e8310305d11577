"""``make load``, as small as it can be: that it measures all it says, and that no webhook is lost."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.studio, pytest.mark.process, pytest.mark.train]

_SMALL = ["--rate", "20", "--seconds", "1", "--rounds", "1", "--at-once", "64"]


@pytest.mark.timeout(300)
def test_load_prints_both_tables_and_loses_no_webhook() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *_SMALL], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split("|")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("| ")}
    for row in (
        "webhooks, 20/s beside a training and predictions",
        "one `TASKS_CREATED` of 5,000 tasks",
        "webhooks beside 200 silent and 50 dripping clients",
        "a backend that answers constants",
        "LabelLoop, busy",
        "its workers frozen, the standby alive",
        "all of its processes stopped",
    ):
        assert row in rows, done.stdout
    assert "64 predicted" in rows["one `/predict` of 64 tasks"]
    assert "lost, 0: kept" in done.stdout
