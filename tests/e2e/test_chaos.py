"""``make chaos`` itself: some of its faults, so that the program works when somebody needs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.studio,
    pytest.mark.train,
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

KINDS = ("child", "redis", "web")
SEED = 4
"""All three come in the middle of the first round, which therefore is the only one that is made undisturbed, too."""


def test_a_loop_that_is_broken_at_random_points_comes_to_the_same_end(label_studio_command: Path) -> None:
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "chaos", "--label-studio", str(label_studio_command)),
            *("--machines", "1", "--faults", str(len(KINDS)), "--seed", str(SEED)),
            *(word for name in KINDS for word in ("--only", name)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{len(KINDS)} faults in" in done.stdout
    assert ", 0 failed" in done.stdout
