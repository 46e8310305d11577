"""``make demo-labelbox`` as a newcomer runs it, with the model type that is learned in the shortest time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.train, pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_button_is_pressed_until_all_is_complete(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "support.labelbox.demo", "--auto", "--types", "NER", "--json", str(report)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(report.read_text())
    assert set(found) == {"ner", "inference"}
    assert found["ner"]["metadata"]["version"] == "v1"
    assert 0 < found["ner"]["rows"] <= int(found["ner"]["metadata"]["rows_with_predictions"])
    assert found["inference"]["metadata"]["rows_with_predictions"] == "12"
    for line in ("GET /models -> bounding_box, ner, ", "TRAINING_MODEL  train", "Nothing was trained: v1 stands"):
        assert line in done.stdout


def test_a_type_that_there_is_not_is_refused_before_anything_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.labelbox.demo", "--auto", "--types", "masks"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "masks: there are bounding_box, ner" in done.stderr
