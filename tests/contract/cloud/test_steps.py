"""The stages as steps of a pipeline: in containers that hand each other a run's folder and shards, and nothing else."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labelloop.cli import main, settings_table
from labelloop.cloud.aws.places import read_shards
from labelloop.models.bundle import check_bundle
from support.digit_pictures import write_digits

pytestmark = pytest.mark.train

SMALL = ["--model", "test_resnet", "--weights", "none", "--image-size", "32", "--recipe", "finetune", "--epochs", "3"]
SHARDS = "s3://bucket/labelloop/digits/pictures"


class Machine:
    """Containers one after the other, each in a folder of its own; what they hand each other is copied by hand."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._environment = folder, monkeypatch

    def processing(self, step: str, *arguments: str, run: Path | None = None, pictures: Path | None = None) -> Result:
        root = self.folder / step
        (root / "config").mkdir(parents=True)
        outputs = [{"OutputName": "pictures", "S3Output": {"S3Uri": SHARDS}}]
        job = {"ProcessingOutputConfig": {"Outputs": outputs}}
        (root / "config" / "processingjobconfig.json").write_text(json.dumps(job))
        for source, name in ((run, "run"), (pictures, "pictures")):
            if source is not None:
                shutil.copytree(source, root / "processing" / name)
        return self.made(root, "stage", step, *arguments)

    def made(self, root: Path, *command: str) -> Result:
        self._environment.setenv("SAGEMAKER_BASE_DIR", str(root))
        return CliRunner().invoke(main, list(command))

    def run_of(self, step: str) -> Path:
        return self.folder / step / "processing" / "run"

    def message(self, step: str) -> str:
        return (self.folder / step / "output" / "message").read_text()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "never"))
    return Machine(tmp_path, monkeypatch)


def packed(folder: Path, target: Path) -> None:
    """Pack a folder's files as SageMaker does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:gz") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)


def require(answer: Result) -> None:
    assert answer.exit_code == 0, answer.output


def test_a_run_goes_through_containers_that_share_nothing_but_what_is_handed_on(
    tmp_path: Path, machine: Machine
) -> None:
    write_digits(tmp_path / "digits", range(60), classes=3)
    require(machine.processing("fetch", "--train-location", str(tmp_path / "digits"), "--test-location", "", *SMALL))
    shutil.rmtree(tmp_path / "digits")
    fetched, pictures = machine.run_of("fetch"), machine.folder / "fetch" / "processing" / "pictures"
    prefix, names = read_shards((fetched / "shards.json").read_bytes())
    assert prefix == f"{SHARDS}/"
    assert sorted(names) == sorted(file.name for file in pictures.iterdir())

    require(machine.processing("preprocess", run=fetched, pictures=pictures))
    prepared = machine.run_of("preprocess")
    assert machine.message("preprocess") == json.loads((prepared / "data.json").read_text())["manifest"]

    root = tmp_path / "train"
    (root / "input" / "config").mkdir(parents=True)
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps({"epochs": "3", "weights": "none"}))
    shutil.copytree(prepared, root / "input" / "data" / "run")
    shutil.copytree(pictures, root / "input" / "data" / "pictures")
    require(machine.made(root, "train"))
    assert {file.name for file in (root / "output" / "data").iterdir()} == {"run.json", "train.json", "data.json"}

    archives = tmp_path / "evaluate" / "processing"
    packed(root / "model", archives / "model" / "model.tar.gz")
    packed(root / "output" / "data", archives / "results" / "output.tar.gz")
    require(machine.processing("evaluate", run=prepared, pictures=pictures))
    evaluated = machine.run_of("evaluate")
    assert machine.message("evaluate") == "finetune"
    assert check_bundle(evaluated / "bundle").classes == ("0", "1", "2")

    require(machine.processing("judge", run=evaluated, pictures=pictures))
    verdict = json.loads((machine.run_of("judge") / "verdict.json").read_text())
    measured = json.loads((machine.run_of("judge") / "evaluation" / "metrics.json").read_text())
    assert machine.message("judge") == verdict["sentence"]
    assert verdict["promoted"] == int(verdict["passed"])
    assert verdict["macro_f1"] == measured["macro"]["f1"]["value"]
    assert verdict["sentence"] in (machine.run_of("judge") / "report.html").read_text()
    assert machine.message("fetch") == json.loads((machine.run_of("judge") / "run.json").read_text())["key"]
    assert not list(tmp_path.rglob("v1.json")), "a judge publishes nothing"
    assert not (tmp_path / "never").exists()
