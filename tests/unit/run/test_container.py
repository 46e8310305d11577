"""What SageMaker and Vertex AI tell a training container, and where they find its results."""

import json
from pathlib import Path

import pytest

from labelloop.errors import SettingsError
from labelloop.run.container import find_container
from labelloop.run.folder import RunFolder


@pytest.fixture
def sagemaker(tmp_path: Path) -> Path:
    root = tmp_path / "ml"
    (root / "input" / "config").mkdir(parents=True)
    (root / "input" / "data" / "training").mkdir(parents=True)
    (root / "input" / "data" / "test").mkdir()
    given = {"epochs": "3", "learning-rate": "0.01", "sagemaker_program": "train.py", "_tuning_objective_metric": "f1"}
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(given))
    (root / "input" / "config" / "resourceconfig.json").write_text(json.dumps({"hosts": ["algo-1"]}))
    return root


@pytest.fixture
def finished(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.bundle.mkdir(parents=True)
    (folder.bundle / "model.json").write_text("{}")
    folder.evaluation.mkdir()
    folder.metrics.write_text('{"accuracy": 1}')
    folder.report.write_text("<html>")
    return folder


def test_outside_of_a_cloud_there_is_none(tmp_path: Path) -> None:
    assert find_container({"SAGEMAKER_BASE_DIR": str(tmp_path)}) is None


def test_sagemaker_hands_over_hyperparameters_and_channels(sagemaker: Path) -> None:
    container = find_container({"SAGEMAKER_BASE_DIR": str(sagemaker)})
    assert container is not None
    assert container.parameters == {
        "train_location": str(sagemaker / "input" / "data" / "training"),
        "test_location": str(sagemaker / "input" / "data" / "test"),
        "epochs": "3",
        "learning_rate": "0.01",
    }
    assert container.checkpoints == sagemaker / "checkpoints"


def test_sagemaker_gets_the_model_the_results_and_the_failure(sagemaker: Path, finished: RunFolder) -> None:
    container = find_container({"SAGEMAKER_BASE_DIR": str(sagemaker)})
    assert container is not None
    container.deliver(finished)
    container.fail("x" * 5000)
    assert [file.name for file in (sagemaker / "model").iterdir()] == ["model.json"]
    assert {file.name for file in (sagemaker / "output" / "data").iterdir()} == {"metrics.json", "report.html"}
    assert (sagemaker / "output" / "failure").read_text() == "x" * 1024


def test_several_instances_are_refused(sagemaker: Path) -> None:
    (sagemaker / "input" / "config" / "resourceconfig.json").write_text('{"hosts": ["algo-1", "algo-2"]}')
    with pytest.raises(SettingsError, match="2 instances"):
        find_container({"SAGEMAKER_BASE_DIR": str(sagemaker)})
    assert "2 instances" in (sagemaker / "output" / "failure").read_text()


def test_a_channel_of_one_manifest_is_that_manifest(sagemaker: Path) -> None:
    manifest = sagemaker / "input" / "data" / "training" / "output.manifest"
    manifest.write_text("{}")
    container = find_container({"SAGEMAKER_BASE_DIR": str(sagemaker)})
    assert container is not None
    assert container.parameters["train_location"] == str(manifest)


def test_a_folder_that_cannot_be_written_is_named_before_any_work(sagemaker: Path) -> None:
    (sagemaker / "model").touch()
    container = find_container({"SAGEMAKER_BASE_DIR": str(sagemaker)})
    assert container is not None
    with pytest.raises(SettingsError, match=f"may not write to {sagemaker}/model: .*RUN_AS"):
        container.check()


@pytest.mark.parametrize("content", ["[]", "{", "\xff"])
def test_damaged_hyperparameters_are_refused(sagemaker: Path, content: str) -> None:
    (sagemaker / "input" / "config" / "hyperparameters.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"hyperparameters\.json"):
        find_container({"SAGEMAKER_BASE_DIR": str(sagemaker)})


def test_vertex_names_folders_of_its_mounted_buckets(tmp_path: Path, finished: RunFolder) -> None:
    mount = tmp_path / "gcs"
    mount.mkdir()
    container = find_container(
        {
            "AIP_MODEL_DIR": "gs://bucket/job/model/",
            "AIP_CHECKPOINT_DIR": "gs://bucket/job/checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": "gs://bucket/job/logs/",
            "AIP_TRAINING_DATA_URI": "gs://bucket/data/training-*",
            "GCS_MOUNT_DIR": str(mount),
        }
    )
    assert container is not None
    assert container.parameters == {"train_location": str(mount / "bucket/data/training-*")}
    assert container.checkpoints == mount / "bucket/job/checkpoints"
    assert container.events == mount / "bucket/job/logs"
    container.deliver(finished)
    assert (mount / "bucket/job/model/model.json").is_file()
    assert (mount / "bucket/job/results/metrics.json").is_file()
    container.fail("no GPU")
    assert (mount / "bucket/job/told/failure.txt").read_text() == "no GPU"


def test_vertex_without_its_mount_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AIP_MODEL_DIR"):
        find_container({"AIP_MODEL_DIR": "gs://bucket/model", "GCS_MOUNT_DIR": str(tmp_path / "gcs")})


def test_no_address_leads_out_of_the_mount(tmp_path: Path) -> None:
    (tmp_path / "gcs").mkdir()
    with pytest.raises(SettingsError, match="leads out"):
        find_container({"AIP_MODEL_DIR": "gs://../elsewhere", "GCS_MOUNT_DIR": str(tmp_path / "gcs")})


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"cluster": {"workerpool0": ["a:2222"], "workerpool1": ["b:2222", "c:2222"]}}, "3 instances"),
        ([], "CLUSTER_SPEC"),
    ],
)
def test_several_replicas_are_refused(tmp_path: Path, spec: object, told: str) -> None:
    environment = {"AIP_MODEL_DIR": str(tmp_path), "CLUSTER_SPEC": json.dumps(spec)}
    with pytest.raises(SettingsError, match=told):
        find_container(environment)
    alone = {"cluster": {"workerpool0": ["a:2222"]}, "task": {"type": "workerpool0", "index": 0}}
    assert find_container(environment | {"CLUSTER_SPEC": json.dumps(alone)}) is not None
