"""An encoder learns classes of texts beside the head, by what the head trusts, and is served without torch."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelloop.errors import BundleError, TrainingError
from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.kinds.text_classification import KIND
from labelloop.kinds.text_classification.bundle import TextInfo
from labelloop.kinds.text_classification.engine import TextEngine
from labelloop.kinds.text_classification.recipes import last_layer
from labelloop.kinds.text_classification.recipes.material import Candidate, Labeled, Material, OnNetwork
from labelloop.kinds.text_classification.recipes.trainer import entrants, last_layers, train, write_bundle
from labelloop.models.bundle import check_bundle
from labelloop.models.features import Features
from labelloop.serve.engines.base import open_engine
from labelloop.settings import Settings
from labelloop.train.dataset import FinetunedNetwork
from labelloop.types import Choice, Output
from support import tiny_encoder

COLOURS = tiny_encoder.WORDS[:3]


def labeled(count: int, seed: int, choice: Choice) -> Labeled:
    texts, colours = tiny_encoder.texts(count, seed)
    shown = np.eye(3, dtype=bool)[colours]
    if choice == "multiple":
        shown = np.array([[word in text.split() for word in ("red", "Paris", "Rome")] for text in texts])
    names = tuple(f"{at + 1000 * seed:064x}" for at in range(count))
    return Labeled(names, tuple(texts), shown, np.zeros(count, dtype=bool))


def material(folder: Path, encoder: Path, choice: Choice = "single", validation: int = 60, **more: Any) -> Material:
    settings = Settings(encoder=str(encoder), epochs=8, batch_size=16, learning_rate=0.03, **more)
    return Material(
        COLOURS,
        choice,
        labeled(100, 1, choice),
        labeled(validation, 2, choice),
        OwnParameters.of(KIND, settings),
        lambda *_: None,
        checkpoints=folder / "checkpoints",
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder.write(tmp_path_factory.mktemp("encoder") / "tiny")


def test_without_an_encoder_the_head_learns_alone_and_that_is_told(tmp_path: Path) -> None:
    assert KIND.competing(Settings()) == ("head",)
    assert KIND.competing(Settings(recipes=("finetune",))) == ("head",)
    assert KIND.competing(Settings(encoder="maker/tiny")) == ("head", "finetune")
    given = material(tmp_path, Path("x"), recipes=("head",))
    assert not entrants(given, ("head",))[1]
    names, notes = entrants(given, ("head", "finetune"))
    assert list(names) == ["head"]
    assert notes == ["finetune is left out: LABELLOOP_ENCODER names no encoder that it could begin with"]


@pytest.mark.train
@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_it_competes_with_the_head_and_is_served_as_it_was_trained(
    tmp_path: Path, encoder: Path, choice: Choice
) -> None:
    given = material(tmp_path, encoder, choice)
    told = train(given, ("head", "finetune"), {}, tmp_path)
    assert set(told["validation"]) == {"head", "finetune"}
    assert told["validation"]["finetune"] > 0.9
    assert told["curves"]["finetune"][-1]["validation_accuracy"] > 0.9

    alone = train(material(tmp_path, encoder, choice, recipes=("finetune",)), ("finetune",), {}, tmp_path / "alone")
    assert alone["recipe"] == "finetune"
    bundle = tmp_path / "alone" / "bundle"
    assert set(check_bundle(bundle).files) == {"model.onnx", "tokenizer.json", "encoder.json"}
    answers = open_engine(bundle, "onnx").predict([text.encode() for text in given.validation.texts], "v1")
    right = 0
    for answer, shown in zip(answers, given.validation.shown, strict=True):
        assert isinstance(answer, Output)
        gives = [answer.gives(name) if choice == "multiple" else name == answer.label for name in COLOURS]
        right += gives == shown.tolist()
    assert right / len(answers) == pytest.approx(alone["validation"]["finetune"])
    learn_last_layers(tmp_path, bundle, given)


def learn_last_layers(folder: Path, finetuned: Path, given: Material) -> None:
    """On its network a last layer learns from more labels, and is served behind an encoder that is loaded once."""
    network = FinetunedNetwork("v2", finetuned / "model.onnx", frozenset(given.train.names))
    on = OnNetwork(network, partial(Features.beside, folder / "features"), folder / "cache")
    more = replace(given, train=given.train.joined(labeled(40, 3, given.choice)))
    before = Candidate("head", np.zeros(0, dtype=np.float32), lambda *_: ())
    found = last_layer.fit(more, on, before)
    assert found.held is not None
    assert len(found.held.truth) == 40, "what the network has learned from says nothing"
    bundles = [folder / "v3", folder / "v4"]
    write_bundle(found, more, bundles[0])
    on_last = OnNetwork(replace(network, weights=bundles[0] / "backbone.onnx"), on.opens, folder / "elsewhere")
    write_bundle(last_layer.fit(more, on_last, before), more, bundles[1])
    files = [check_bundle(bundle).files for bundle in bundles]
    assert files[0] == files[1], "the same labels make the same version, whoever had the network"
    assert set(files[0]) == {"head.safetensors", "backbone.onnx", "backbone.tokenizer.json", "encoder.json"}
    assert not (folder / "elsewhere").exists(), "nothing is cut out of a last layer's bundle"

    first = open_engine(bundles[0], "onnx")
    # The file itself may be that of the cache and of the other bundle.
    (bundles[1] / "backbone.onnx").unlink()
    (bundles[1] / "backbone.onnx").write_bytes(b"")
    second = open_engine(bundles[1], "onnx")
    unseen = labeled(40, 4, given.choice)
    answers = [engine.predict([text.encode() for text in unseen.texts], "v4") for engine in (first, second)]
    assert answers[0] == answers[1]
    right = [
        [one.gives(name) for name in COLOURS] == shown.tolist()
        for one, shown in zip(answers[0], unseen.shown, strict=True)
        if isinstance(one, Output)
    ]
    assert np.mean(right) > 0.8
    (folder / "file").touch()
    none, notes = last_layers(more, replace(on, caches=folder / "file"), before)
    assert not none, "there is the head"
    assert "last-layer is left out: an encoder without its last layer cannot be kept in" in notes[0]
    info = check_bundle(bundles[0])
    assert isinstance(info, TextInfo)
    other = replace(info, files={**info.files, "backbone.onnx": "0" * 64})
    with pytest.raises(BundleError, match="cannot be loaded"):
        TextEngine(bundles[1], other)
    moved = replace(network, learned=frozenset(given.validation.names[:2]))
    with pytest.raises(TrainingError, match="v2 has learned from 2 of the items it would be chosen by"):
        last_layer.fit(more, replace(on, network=moved), before)


@pytest.mark.train
def test_it_is_left_out_where_too_few_texts_would_tell_whether_it_is_worse(tmp_path: Path, encoder: Path) -> None:
    names, notes = entrants(material(tmp_path, encoder, validation=49), ("head", "finetune"))
    assert list(names) == ["head"]
    assert notes[0].startswith("finetune is left out: with 49 validation texts it cannot win")
