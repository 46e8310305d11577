"""The run's record: what it holds, and that nobody changes a run half way."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import SettingsError, StoreError
from labelloop.run.context import digest_of
from labelloop.run.folder import RunFolder
from labelloop.run.record import RunInfo, command
from labelloop.settings import Settings


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = {"model": "resnet18", "train_location": "/data/a b"}
    info = replace(RunInfo.new(made), command=command(made, Settings())).write(RunFolder(tmp_path))
    assert RunInfo.read(RunFolder(tmp_path)) == info
    assert info.command == "labelloop train --run RUN --no-register --model resnet18 --train-location '/data/a b'"
    assert info.packages["numpy"]
    assert info.machine["python"]


def test_there_is_none_before_the_first_stage(tmp_path: Path) -> None:
    assert RunInfo.read(RunFolder(tmp_path)) is None


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "\xff", '{"colour": 1}', '{"created": "", "parameters": []}', '{"created": "", "parameters": null}'],
)
def test_a_damaged_one_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match="another folder"):
        RunInfo.read(RunFolder(tmp_path))


def test_a_run_keeps_its_parameters(tmp_path: Path) -> None:
    info = replace(RunInfo.new({"epochs": "3"}), stages={"fetch": "made"})
    assert info.agreeing({"epochs": "3", "test_location": "x"}).parameters == {"epochs": "3", "test_location": "x"}
    with pytest.raises(SettingsError, match="epochs=3, and now epochs=4"):
        info.agreeing({"epochs": "4"})


def test_parameters_may_be_corrected_until_a_stage_is_done() -> None:
    corrected = RunInfo.new({"train_location": "/trian"}).agreeing({"train_location": "/train"})
    assert command(corrected.parameters, Settings()) == (
        "labelloop train --run RUN --no-register --train-location /train"
    )


def test_its_command_holds_in_every_folder_and_says_what_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.safetensors").touch()
    settings = Settings(model_dir="my data", min_labels=8, label_studio_api_key="hush")
    given = {
        "train_location": "a b",
        "test_location": "s3://b/$x",
        "weights": "own.safetensors",
        "augmentations": "auto",
    }

    assert shlex.split(command(given, settings)) == [
        f"MODEL_DIR={tmp_path / 'my data'}", "LABELLOOP_MIN_LABELS=8", "labelloop", "train", "--run", "RUN",
        "--no-register", "--train-location", str(tmp_path / "a b"), "--test-location", "s3://b/$x",
        "--weights", str(tmp_path / "own.safetensors"), "--augmentations", "auto",
    ]  # fmt: skip
    location = {"train_location": "s3://store/here/7/manifests/ab.jsonl", "format": "labelloop"}
    kept = command({"model": "resnet18", "project_key": "here/7"} | location, Settings())
    assert shlex.split(kept)[-4:] == [
        "--train-location",
        "s3://store/here/7/manifests/ab.jsonl",
        "--format",
        "labelloop",
    ]


def test_a_digest_is_of_content_and_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert digest_of(tmp_path / "a", "y") == digest_of("x", "y") != digest_of("y", "x")
    assert digest_of("xy") != digest_of("x", "y")
    assert digest_of(tmp_path / "none") == digest_of("missing")


def test_the_record_is_json_for_other_tools(tmp_path: Path) -> None:
    RunInfo.new({"epochs": "3"}).write(RunFolder(tmp_path))
    assert json.loads((tmp_path / "run.json").read_text())["parameters"] == {"epochs": "3"}


def test_a_run_that_was_trained_in_sagemaker_is_repeated_with_the_folder_that_it_was_handed_over_in() -> None:
    there = Settings(trainer="sagemaker-pipeline://scenes", aws_location="s3://bucket/labelloop")
    assert command({}, there).startswith(
        "LABELLOOP_TRAINER=sagemaker-pipeline://scenes LABELLOOP_AWS_LOCATION=s3://bucket/labelloop labelloop train"
    )
    assert "AWS" not in command({}, Settings(aws_location="s3://bucket/labelloop"))


def test_a_run_that_was_trained_in_vertex_ai_is_repeated_with_folder_and_image() -> None:
    there = Settings(
        trainer="vertex-job://shop-1/europe-west4", google_folder="gs://bucket/loop", google_training_image="worker:1"
    )
    told = command({}, there).partition(" labelloop train")[0].split()
    assert sorted(told) == [
        "LABELLOOP_GOOGLE_FOLDER=gs://bucket/loop",
        "LABELLOOP_GOOGLE_TRAINING_IMAGE=worker:1",
        "LABELLOOP_TRAINER=vertex-job://shop-1/europe-west4",
    ]
