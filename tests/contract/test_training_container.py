"""``labelloop train`` as SageMaker and Vertex AI start it: told by folders and variables what to do, and where."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import labelloop
from labelloop.cli import main, settings_table
from labelloop.models.bundle import check_bundle
from support.digit_pictures import write_digits
from support.waiting import wait_until

pytestmark = [pytest.mark.process, pytest.mark.train]

SECONDS = 120.0
"""How long a job of seconds may take on a machine that does much else."""

SMALL = {"model": "test_resnet", "weights": "none", "image-size": "32", "recipe": "finetune"}
BUNDLE = {"model.json", "model.onnx", "model.safetensors", "model.ts.pt"}
RESULTS = {"run.json", "data.json", "train.json", "metrics.json", "report.html"}


@contextmanager
def job(workdir: Path, variables: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Start the image's command, with these variables; its words go to ``log``."""
    paths = {"PYTHONPATH": str(Path(labelloop.__file__).parents[1]), "MODEL_DIR": str(workdir / "data")}
    command = [sys.executable, "-m", "labelloop", "train"]
    log = (workdir / "log").open("wb")
    with log, subprocess.Popen(command, env={**os.environ, **paths, **variables}, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)


@pytest.fixture
def sagemaker(tmp_path: Path) -> Path:
    """SageMaker's folder, as a job with two channels finds it."""
    root = tmp_path / "ml"
    config = root / "input" / "config"
    config.mkdir(parents=True)
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    (config / "inputdataconfig.json").write_text(json.dumps({"train": channel, "test": channel}))
    write_digits(root / "input" / "data" / "train", range(40), classes=3)
    write_digits(root / "input" / "data" / "test", range(40, 50), classes=3)
    return root


def give(sagemaker: Path, **hyperparameters: str) -> dict[str, str]:
    """Write a job's hyperparameters; gives the variables of its container."""
    (sagemaker / "input" / "config" / "hyperparameters.json").write_text(json.dumps(SMALL | hyperparameters))
    return {"SAGEMAKER_BASE_DIR": str(sagemaker)}


def epochs(checkpoints: Path) -> list[dict[str, Any]]:
    """The epochs that a checkpoint knows of, with the seconds that each took."""
    import torch

    (file,) = checkpoints.glob("*.ckpt")
    known: list[dict[str, Any]] = torch.load(file, weights_only=True)["finetune"]["curve"]
    return known


def require_results(sagemaker: Path) -> None:
    """Assert that a job left its bundle and its results in SageMaker's folder, and no failure."""
    output = sagemaker / "output"
    assert names(sagemaker / "model") == BUNDLE
    assert check_bundle(sagemaker / "model").classes == ("0", "1", "2")
    assert names(output / "data") == RESULTS
    assert json.loads((output / "data" / "metrics.json").read_text())["items"] == 10
    assert any(name.startswith("events.out") for name in names(output / "tensorboard"))
    assert not (output / "failure").exists()


def test_a_sagemaker_job_leaves_its_results_where_its_folders_say(
    tmp_path: Path, sagemaker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**give(sagemaker, epochs="1"), "MODEL_DIR": str(tmp_path / "data")}.items():
        monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(main, ["train"])
    assert answer.exit_code == 0, answer.output
    require_results(sagemaker)
    assert len(epochs(sagemaker / "checkpoints")) == 1


# Two processes that load torch: that a killed training ends where it would have is told by the unit tests of resuming.
@pytest.mark.slow
def test_a_sagemaker_job_that_was_killed_goes_on_elsewhere_and_leaves_its_results(
    tmp_path: Path, sagemaker: Path
) -> None:
    variables = give(sagemaker, epochs="5")
    kept = sagemaker / "checkpoints"
    with job(tmp_path, variables) as process:
        wait_until(lambda: bool(list(kept.glob("*.ckpt"))) or process.poll() is not None, "a checkpoint", SECONDS)
    assert process.returncode < 0, (tmp_path / "log").read_text()
    before = epochs(kept)
    assert 0 < len(before) < 5
    shutil.rmtree(sagemaker / "output")

    with job(tmp_path, variables) as process:
        assert process.wait(SECONDS) == 0, (tmp_path / "log").read_text()
    output = sagemaker / "output"
    assert json.loads((output / "data" / "train.json").read_text())["curves"]["finetune"][: len(before)] == before
    require_results(sagemaker)


def test_sagemaker_is_told_why_a_job_failed(sagemaker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in give(sagemaker, optimizer="adamm").items():
        monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(main, ["train"])
    reason = (sagemaker / "output" / "failure").read_text()
    assert answer.exit_code == 1
    assert "no optimizer named 'adamm'" in reason
    assert f"Error: {reason}" in answer.output
    assert not names(sagemaker / "model")


def test_a_vertex_job_leaves_its_results_where_its_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = tmp_path / "bucket"
    write_digits(bucket / "pictures", range(60), classes=3)
    for number, label in enumerate(sorted(names(bucket / "pictures"))):
        lines = (
            json.dumps({"imageGcsUri": str(picture), "classificationAnnotation": {"displayName": label}})
            for picture in sorted((bucket / "pictures" / label).iterdir())
        )
        (bucket / f"training-0000{number}-of-00003").write_text("\n".join(lines))
    variables = {
        "MODEL_DIR": str(tmp_path / "data"),
        "AIP_DATA_FORMAT": "jsonl",
        "AIP_TRAINING_DATA_URI": f"{bucket}/training-*",
        "AIP_MODEL_DIR": f"{bucket}/job/model/",
        "AIP_CHECKPOINT_DIR": f"{bucket}/job/checkpoints/",
        "AIP_TENSORBOARD_LOG_DIR": f"{bucket}/job/logs/",
        "CLUSTER_SPEC": json.dumps({"cluster": {"workerpool0": ["cmle-training-workerpool0-0:2222"]}}),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = [word for name, value in SMALL.items() for word in (f"--{name}", value)]
    answer = CliRunner().invoke(main, ["train", *options, "--epochs", "1"])
    assert answer.exit_code == 0, answer.output
    assert names(bucket / "job" / "model") == BUNDLE
    assert check_bundle(bucket / "job" / "model").classes == ("0", "1", "2")
    assert names(bucket / "job" / "results") == RESULTS
    assert json.loads((bucket / "job" / "results" / "data.json").read_text())["left_out"] == []
    assert list((bucket / "job" / "checkpoints").glob("*.ckpt"))
    assert any(name.startswith("events.out") for name in names(bucket / "job" / "logs"))
