"""An encoder learns spans: beside the head where there are labels enough, and served without torch."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelloop.errors import BundleError, TrainingError
from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.kinds.named_entity_recognition import KIND
from labelloop.kinds.named_entity_recognition.recipes.base import Labeled, Material
from labelloop.kinds.named_entity_recognition.recipes.contest import entrants, f1
from labelloop.models.bundle import check_bundle
from labelloop.run.context import Context
from labelloop.run.folder import RunFolder
from labelloop.serve.engines.base import open_engine
from labelloop.settings import Settings
from labelloop.types import Findings, Region, Span
from support import tiny_encoder

CITIES = ("Paris", "Rome")


def labeled(number: int, text: str) -> Labeled:
    return Labeled(
        f"{number:064x}",
        text,
        tuple(
            Region("city", Span(at, at + len(city)))
            for at in range(len(text))
            for city in CITIES
            if text.startswith(city, at)
        ),
    )


def material(folder: Path, encoder: Path, validation: int = 60, **more: Any) -> Material:
    settings = Settings(encoder=str(encoder), epochs=8, batch_size=16, learning_rate=0.01, **more)
    train, held = tiny_encoder.texts(80)[0], tiny_encoder.texts(validation, seed=1)[0]
    # Joined emoji before each text: what comes after them stands where it does, in characters.
    sides = (
        [labeled(at, f"\N{FAMILY}\u200d\N{WOMAN} {text}") for at, text in enumerate(side)] for side in (train, held)
    )
    one, other = map(tuple, sides)
    return Material(
        one, other, ("city",), OwnParameters.of(KIND, settings), folder, folder / "checkpoints", lambda *_: None
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder.write(tmp_path_factory.mktemp("encoder") / "tiny")


def test_without_an_encoder_the_head_learns_alone_and_that_is_told(tmp_path: Path) -> None:
    settings = Settings()
    assert KIND.competing(settings) == ("head",)
    assert KIND.competing(Settings(recipes=("finetune",))) == ("head",)
    assert KIND.competing(Settings(encoder="maker/tiny")) == ("head", "finetune")
    given = replace(material(tmp_path, tmp_path), parameters=OwnParameters.of(KIND, settings))
    names, notes = entrants(settings, given)
    assert list(names) == ["head"]
    assert notes == ("finetune is left out: LABELLOOP_ENCODER names no encoder that it could begin with",)
    assert entrants(Settings(recipes=("head",)), given)[1] == ()


@pytest.mark.train
def test_another_encoder_is_another_run(tmp_path: Path, encoder: Path) -> None:
    import shutil

    moved = Path(shutil.copytree(encoder, tmp_path / "moved"))
    key = OwnParameters.of(KIND, Settings(encoder=str(encoder))).fingerprint()
    assert OwnParameters.of(KIND, Settings(encoder=str(moved))).fingerprint() == key
    tiny_encoder.change_json(moved / "config.json", layer_norm_eps=1e-7)
    assert OwnParameters.of(KIND, Settings(encoder=str(moved))).fingerprint() != key


@pytest.mark.train
def test_it_is_left_out_where_it_cannot_win(tmp_path: Path, encoder: Path) -> None:
    def said(given: Material) -> tuple[list[str], tuple[str, ...]]:
        names, notes = entrants(Settings(), given)
        return list(names), notes

    assert said(material(tmp_path, encoder)) == (["head", "finetune"], ())
    names, notes = said(material(tmp_path, encoder, validation=49))
    assert (names, notes[0][:60]) == (["head"], "finetune is left out: with 49 validation texts it cannot win")
    alone = material(tmp_path, encoder, validation=5, recipes=("finetune",))
    assert said(alone) == (["finetune"], ())
    bare = tuple(replace(one, regions=()) for one in alone.train)
    assert said(replace(material(tmp_path, encoder), train=bare))[1][0].endswith("no training text has a span")
    with pytest.raises(TrainingError, match="no training text has a span"):
        said(replace(alone, train=bare))


@pytest.mark.train
def test_a_folder_without_an_encoder_is_told_before_any_run(tmp_path: Path, encoder: Path) -> None:
    KIND.check_settings(Settings(encoder=str(encoder)), thorough=True)
    KIND.check_settings(Settings(encoder="maker/yet-to-be-fetched"), thorough=True)
    with pytest.raises(TrainingError, match=r"it holds no model\.safetensors"):
        KIND.check_settings(Settings(encoder=str(tmp_path)), thorough=True)


@pytest.mark.train
def test_spans_are_learned_written_and_served_to_the_character(tmp_path: Path, encoder: Path) -> None:
    from labelloop.kinds.named_entity_recognition.recipes.contest import train

    given = material(tmp_path, encoder, recipes=("finetune",))
    folder = RunFolder(tmp_path / "run")
    told = train(Context(folder, Settings(recipes=("finetune",), encoder=str(encoder)), lambda *_: None), given)
    assert told["recipe"] == "finetune"
    assert told["validation"]["finetune"] > 0.95
    assert told["curves"]["finetune"][-1]["validation_f1"] > 0.95
    assert told["calibration"]["log_loss_after"] <= told["calibration"]["log_loss_before"] + 1e-6

    info = check_bundle(folder.bundle)
    assert set(info.files) == {"model.onnx", "tokenizer.json", "encoder.json"}
    engine = open_engine(folder.bundle, "onnx")
    texts = [one.text for one in given.validation]
    answers = engine.predict([text.encode() for text in (*texts, "", " ")], "v1")
    found = [answer.regions for answer in answers if isinstance(answer, Findings)]
    assert len(found) == len(texts) + 2
    assert found[-2:] == [(), ()]
    assert f1(given.validation, found[:-2]) == pytest.approx(told["validation"]["finetune"])
    assert all(0 <= (region.score or 0) <= 1 for regions in found for region in regions)

    details = json.loads((folder.bundle / "encoder.json").read_text())
    (folder.bundle / "encoder.json").write_text(json.dumps(details | {"labels": 7}))
    with pytest.raises(BundleError, match=r"encoder\.json is of an unknown form"):
        open_engine(folder.bundle, "onnx")
