"""``labelloop label-errors`` on a project of a real Label Studio: the wrong labels are listed and get their tab."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labelloop.demo.label_studio import LabelStudio
from support import shapes
from support.annotating import submit

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.process]

NAMES = ("cat", "dog")

WRONG = ("22.png", "23.png")
"""Far from the threshold, as the other 28 are: e^1.8 times its odds. Of 7 and 8, one is exactly at it."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Any weights do: bars are told apart by the features of random ones."""
    import timm
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_wrong_labels_are_listed_and_get_a_tab(
    label_studio: LabelStudio, project: int, weights: Path, tmp_path: Path
) -> None:
    bars = {f"{number}.png": (shapes.picture((number % 2,), number), number % 2) for number in range(30)}
    label_studio.import_pictures(project, {name: content for name, (content, _) in bars.items()})
    listed = label_studio.request("GET", f"/api/tasks?project={project}&page_size=100&include=id,data")["tasks"]
    names = {task["id"]: task["data"]["image"].rpartition("-")[2] for task in listed}
    shown = {task: bars[name][1] for task, name in names.items()}
    wrong = sorted(task for task, name in names.items() if name in WRONG)
    for task, target in shown.items():
        submit(label_studio, task, NAMES[1 - target if task in wrong else target])
    environment = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "LABELLOOP_ALLOW_PRIVATE_ADDRESSES": "true",
        "MODEL_DIR": str(tmp_path / "models"),
        "LABELLOOP_BACKBONE": "test_resnet",
        "LABELLOOP_IMAGE_SIZE": "32",
        "LABELLOOP_WEIGHTS": str(weights),
    }
    command = ["label-errors", "--project", str(project), "--push", "--json"]
    words = [sys.executable, "-m", "labelloop", *command]
    result = subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["examined"] == 30
    assert sorted(error["task"] for error in found["errors"]) == wrong
    error = found["errors"][0]
    assert error["suggested"] == [NAMES[shown[error["task"]]]]
    assert error["given"] == [NAMES[1 - shown[error["task"]]]]
    assert error["score"] > error["given_score"]
    view = found["tab"].rpartition("=")[2]
    tab = label_studio.request("GET", f"/api/tasks?project={project}&view={view}&include=id")["tasks"]
    assert sorted(task["id"] for task in tab) == wrong
