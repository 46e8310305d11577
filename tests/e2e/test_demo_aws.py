"""``make demo-aws`` as a newcomer runs it: the loop once round on AWS' stand-in, and what it says of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(900)]


def test_it_trains_in_a_pipeline_registers_deploys_and_predicts(label_studio_command: Path, tmp_path: Path) -> None:
    report = tmp_path / "rounds.json"
    words = ["--label-studio", str(label_studio_command), "--auto", "--rounds", "1", "--json", str(report)]
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LABELLOOP_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "support.aws.demo", *words],
        env=bare | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=850,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rounds = json.loads(report.read_text())
    assert [one["round"] for one in rounds] == [0, 1]
    assert rounds[0]["version"] == "v1"
    assert all(one["test"] > 0.8 for one in rounds)
    for told in ("objects written to S3", "Fetch succeeded", "Train succeeded", "Register succeeded", "CreateEndpoint"):
        assert told in done.stdout, done.stdout[-3000:]
