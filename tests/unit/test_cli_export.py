"""``labelloop export``: a folder that serves, with a card; nothing of the user's is touched."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from labelloop.bundle_info import ForeignInfo
from labelloop.cli import main, settings_table
from labelloop.models.bundle import check_bundle, write_foreign
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import Json, ProjectKey
from support.file_bundle import write_bundle

pytestmark = pytest.mark.train

PROJECT = ProjectKey("localhost-8080", 7)
CLASSES = ("cat", "a|b\n<c>", "\ud800")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """A store with two versions, of which v1 is champion; v2 says nothing of what it was measured at."""
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "machine"))
    monkeypatch.setenv("LABELLOOP_REDIS_URL", "redis://:hush@127.0.0.1:1/0")
    store = FileStore(tmp_path / "machine" / "store")
    versions, pointer = Versions(store, PROJECT), ChampionPointer(store, PROJECT)
    trained = {"backbone": "resnet18", "weights": "/home/ann/w.safetensors", "weights_hash": "ab12", "seed": 3}
    for name, metrics in (("v1", {"test": measured()}), ("v2", {})):
        bundle = write_bundle(tmp_path / name, name.encode(), classes=CLASSES)
        versions.claim(f"run of {name}")
        told = f"{name} passed"
        record = VersionRecord(name, f"run of {name}", "head", None, "", True, told, metrics, trained_with=trained)
        versions.publish(name, bundle, record)
    pointer.promote("v1", pointer.take_fence())
    return store


def measured() -> Json:
    from labelloop.train.evaluation import measure

    truth = np.eye(3, dtype=bool)[[0, 0, 1, 2]]
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    return measure(truth, scores, CLASSES, "single")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", "--project", "7", *arguments])


def test_a_version_is_handed_out_whole_with_its_card(store: FileStore, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    answer = run("--to", str(target))

    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith(f"v1 of project 7: {target}, metrics.json, model.json, model.onnx")
    assert check_bundle(target).classes == CLASSES
    assert json.loads((target / "version.json").read_text())["run"] == "run of v1"
    card = (target / "README.md").read_text()
    assert "**v1 passed**" in card
    assert "| accuracy | 0.750 | 0.301 to 0.954 |" in card
    assert "4 test items that training has not seen. These are too few to judge by." in card
    assert "| cat | 2 | 0.500 | 1.000 |" in card
    assert "| a\\|b &lt;c> | 1 |" in card
    assert "- weights_hash: `ab12`" in card
    assert "/home/ann" not in card
    assert sorted(path.name for path in target.parent.iterdir()) == ["out"]


def test_any_version_can_be_had_and_what_is_there_stays(store: FileStore, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    assert run("v2", "--to", str(target)).exit_code == 0
    assert "Measured on no test items" in (target / "README.md").read_text()

    again = run("v1", "--to", str(target))
    assert again.exit_code == 1
    assert "is not empty: name a new folder" in again.output
    assert json.loads((target / "version.json").read_text())["version"] == "v2"


def test_the_card_of_a_model_that_lies_elsewhere_says_where(store: FileStore, tmp_path: Path) -> None:
    write_foreign(tmp_path / "v3", ForeignInfo(CLASSES, "single", "command", model="arn:model/7"), {})
    versions = Versions(store, PROJECT)
    record = VersionRecord(versions.claim("run of v3"), "run of v3", "command", None, "", True, "v3 passed")
    versions.publish("v3", tmp_path / "v3", record)

    answer = run("v3", "--to", str(tmp_path / "out"))

    assert answer.exit_code == 0, answer.output
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The model itself lies elsewhere, as arn:model/7: these are its answers to the test items." in card
    assert "labelloop serve" not in card
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "answers.jsonl",
        "model.json",
        "version.json",
    ]


@pytest.mark.parametrize("version", ["v3", "../v1", ""])
def test_a_version_that_there_is_not_leaves_nothing(store: FileStore, tmp_path: Path, version: str) -> None:
    answer = run(version or "v0", "--to", str(tmp_path / "out"))
    assert answer.exit_code == 1
    assert not (tmp_path / "out").exists()
