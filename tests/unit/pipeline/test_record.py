"""The run's record: what it holds, and that nobody changes a run half way."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import SettingsError, StoreError
from labelloop.pipeline.folder import RunFolder
from labelloop.pipeline.record import RunInfo, digest


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    info = RunInfo.new({"model": "resnet18", "train_location": "/data/a b"}).write(RunFolder(tmp_path))
    assert RunInfo.read(RunFolder(tmp_path)) == info
    assert info.command == "labelloop train --run RUN --model resnet18 --train-location '/data/a b'"
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
    assert corrected.command == "labelloop train --run RUN --train-location /train"


def test_a_digest_is_of_content_and_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert digest(tmp_path / "a", "y") == digest("x", "y") != digest("y", "x")
    assert digest("xy") != digest("x", "y")
    assert digest(tmp_path / "none") == digest("missing")


def test_the_record_is_json_for_other_tools(tmp_path: Path) -> None:
    RunInfo.new({"epochs": "3"}).write(RunFolder(tmp_path))
    assert json.loads((tmp_path / "run.json").read_text())["parameters"] == {"epochs": "3"}
