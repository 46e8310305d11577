"""The ONNX engine: real networks, real pictures."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelloop.errors import BundleError
from labelloop.serve.engines.base import Engine, open_engine
from labelloop.serve.engines.network import BATCH, outputs
from labelloop.train.metrics import sigmoid, softmax
from labelloop.types import Choice, Failure, Output
from support.bundles import COLOURS, make_bundle, picture


def answer(engine: Engine, content: bytes) -> Output:
    output = engine.predict([content], "v1")[0]
    assert isinstance(output, Output)
    return output


def test_single_scores_are_the_softmax_of_the_logits(tmp_path: Path) -> None:
    make_bundle(tmp_path, gain=4.0)
    output = answer(open_engine(tmp_path, "onnx"), picture("blue"))
    assert (output.label, output.choice, output.model_version) == ("blue", "single", "v1")
    assert list(output.scores) == list(COLOURS)
    assert output.score == output.scores["blue"] == pytest.approx(math.exp(4) / (math.exp(4) + 2))
    assert sum(output.scores.values()) == pytest.approx(1)


def test_multiple_scores_stand_for_themselves(tmp_path: Path) -> None:
    make_bundle(tmp_path, choice="multiple", gain=6.0)
    output = answer(open_engine(tmp_path, "onnx"), picture("yellow"))
    high, low = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3))
    assert output.choice == "multiple"
    assert output.scores == pytest.approx({"red": high, "green": high, "blue": low})
    assert output.score == max(output.scores.values())
    assert output.label in ("red", "green")


def test_every_picture_gets_its_own_answer_over_several_batches(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    colours = [COLOURS[number % 3] for number in range(2 * BATCH + 3)]
    contents = [picture(colour) for colour in colours]
    contents[1] = contents[BATCH] = b"no picture"
    answers = open_engine(tmp_path, "onnx").predict(contents, "v1")
    labels = [item.label if isinstance(item, Output) else None for item in answers]
    expected: list[str | None] = list(colours)
    expected[1] = expected[BATCH] = None
    assert labels == expected


@pytest.mark.parametrize("count", [1, 3])
def test_nothing_but_damaged_pictures(tmp_path: Path, count: int) -> None:
    make_bundle(tmp_path)
    damaged = [b"", picture("red")[:-30], b"GIF89a"][:count]
    answers = open_engine(tmp_path, "onnx").predict(damaged, "v1")
    assert len(answers) == count
    assert all(isinstance(item, Failure) and "not a readable picture" in item.reason for item in answers)


def test_a_picture_damaged_inside_fails_alone(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    engine = open_engine(tmp_path, "onnx")
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"):
        whole = picture("red", form=form)
        for place in range(0, len(whole), 7):
            damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
            first, second = engine.predict([damaged, whole], "v1")
            assert isinstance(first, (Output, Failure))
            assert isinstance(second, Output)


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    assert open_engine(tmp_path, "onnx").predict([], "v1") == []


def test_other_forms_of_picture_are_read(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    engine = open_engine(tmp_path, "onnx")
    grey = io.BytesIO()
    Image.new("L", (5, 5), 128).save(grey, "PNG")
    assert answer(engine, picture("red", form="JPEG")).label == "red"
    assert answer(engine, picture("green", size=(1, 300), form="WEBP")).label == "green"
    assert answer(engine, grey.getvalue()).score == pytest.approx(1 / 3)


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_scores_stay_finite_for_huge_logits_and_fail_for_endless_ones(choice: Choice) -> None:
    logits = np.array([[3e38, -3e38, 0], [np.nan, 0, 0], [np.inf, 0, 0], [-np.inf, 0, 1]], dtype=np.float32)
    huge, *endless = outputs(logits, ("a", "b", "c"), choice, "v1")
    assert isinstance(huge, Output)
    assert huge.label == "a"
    assert all(0 <= score <= 1 for score in huge.scores.values())
    assert isinstance(endless[0], Failure)
    assert all(
        isinstance(item, Failure) or all(math.isfinite(score) for score in item.scores.values()) for item in endless
    )


def test_outputs_say_from_which_score_on_a_class_is_given() -> None:
    logits = np.log(np.array([[0.4, 0.6, 0.2]], dtype=np.float32) / np.array([0.6, 0.4, 0.8], dtype=np.float32))
    (one,) = outputs(logits, ("a", "b", "c"), "multiple", "v1", {"a": 0.3, "b": 0.7})
    assert isinstance(one, Output)
    assert [name for name in one.scores if one.gives(name)] == ["a"]
    assert [name for name in one.scores if replace(one, thresholds={}).gives(name)] == ["b"]


def test_softmax_and_sigmoid() -> None:
    logits = np.log(np.array([[1.0, 2.0, 5.0]]))
    assert softmax(logits) == pytest.approx(np.array([[0.125, 0.25, 0.625]]))
    assert sigmoid(logits) == pytest.approx(np.array([[1 / 2, 2 / 3, 5 / 6]]))


def test_a_bundle_that_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    info = make_bundle(tmp_path)
    description = tmp_path / "model.json"
    description.write_text(info.to_json().replace('"blue"', '"blue", "pink"'))
    with pytest.raises(BundleError, match=r"\(1, 3\) where model.json calls for \(1, 4\)"):
        open_engine(tmp_path, "onnx")
    description.write_text(info.to_json().replace('"height": 8', '"height": 16'))
    with pytest.raises(BundleError, match="cannot be run"):
        open_engine(tmp_path, "onnx")
    description.write_text("{}")
    with pytest.raises(BundleError, match=r"model.json is of an unknown form"):
        open_engine(tmp_path, "onnx")
    description.write_text(info.to_json())
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(BundleError, match=r"model.onnx cannot be loaded"):
        open_engine(tmp_path, "onnx")
