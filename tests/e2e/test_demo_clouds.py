"""``make demo-aws`` and ``make demo-gcp`` as a newcomer runs them, on stand-ins of the clouds, and what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(900)]

ON_AWS = ("Fetch succeeded", "Train succeeded", "Register succeeded", "CreateEndpoint")
ON_GOOGLE = (
    "a custom job",
    "succeeded",
    "a version goes to the model registry",
    "0 of 17 checks failed",
    "traffic moves",
)


@pytest.mark.parametrize(("cloud", "rounds", "told"), [("aws", 1, ON_AWS), ("google", 0, ON_GOOGLE)])
def test_it_trains_registers_deploys_and_predicts(
    label_studio_command: Path, tmp_path: Path, cloud: str, rounds: int, told: tuple[str, ...]
) -> None:
    report = tmp_path / "rounds.json"
    words = ["--label-studio", str(label_studio_command), "--auto", "--rounds", str(rounds), "--json", str(report)]
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LABELLOOP_", "AWS_", "GOOGLE_"))}
    done = subprocess.run(
        [sys.executable, "-m", f"support.{cloud}.demo", *words],
        env=bare | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=850,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(report.read_text())
    assert [one["round"] for one in found] == list(range(rounds + 1))
    assert found[0]["version"] == "v1"
    assert all(one["test"] > 0.8 for one in found)
    said = done.stdout + done.stderr
    for line in ("objects written -> queue", *told):
        assert line in said, said[-3000:]
