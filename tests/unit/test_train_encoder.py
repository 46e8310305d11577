"""Encoders of transformers: where they come from, how they are trained, and that what is served is what was trained."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelloop.errors import BundleError, TrainingError
from labelloop.kinds.named_entity_recognition.encoder_spans import EncoderSpans
from labelloop.kinds.named_entity_recognition.tokens import ends
from labelloop.kinds.texts.bio import tag_count, tags_of
from labelloop.kinds.texts.encoder_bundle import FILES
from labelloop.kinds.texts.encoder_engine import EncoderSession, write_details
from labelloop.kinds.texts.windows import EncoderSpec
from support import hub, tiny_encoder
from support.servers import free_port

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder.write(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "own"))


def found(named: Path | str) -> Any:
    from labelloop.kinds.texts.recipes.encoder import find

    return find(str(named))


def how(**more: Any) -> Any:
    from labelloop.kinds.texts.recipes.encoder_finetune import How

    given = {"epochs": 6, "batch_size": 16, "learning_rate": 0.03, "seed": 0, "alone": True}
    return How(**{**given, "progress": lambda _what, _done, _total: None, **more})


def classes(folder: Path, **more: Any) -> Any:
    """Plan a finetune of texts that name a colour: (finetune, fit)."""
    from labelloop.kinds.texts.recipes.encoder_finetune import ClassesFinetune

    (train, shown), (held, wanted) = tiny_encoder.texts(90), tiny_encoder.texts(40, seed=1)
    one, eye = ClassesFinetune(found(folder), train, held, 3, how(**more)), np.eye(3, dtype=bool)
    return one, lambda: one.fit(eye[shown], eye[wanted], "single")


def test_an_encoder_learns_which_colour_a_text_names(folder: Path) -> None:
    one, fit = classes(folder)
    before = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    logits, curve = fit()
    assert len(curve) == 3
    assert [epoch["epoch"] for epoch in curve] == [1.0, 2.0, 3.0]
    assert curve[-1]["validation_accuracy"] >= 0.95
    assert curve[-1]["validation_loss"] < 0.5
    assert logits.shape == (40, 3)
    after = one.network.state_dict()
    changed = {name for name in after if not bool((after[name] == before[name]).all())}
    assert "body.embeddings.word_embeddings.weight" not in changed
    assert {"last.weight", "body.encoder.layer.0.output.dense.weight"} <= changed


def test_the_same_texts_and_seed_make_the_same_weights_and_another_seed_others(folder: Path) -> None:
    same, again, other = (classes(folder, epochs=1, seed=seed)[1]()[0] for seed in (0, 0, 1))
    assert (same == again).all()
    assert (same != other).any()


def test_several_classes_at_once_are_learned_too(folder: Path) -> None:
    from labelloop.kinds.texts.recipes.encoder_finetune import ClassesFinetune

    def wanted(texts: list[str]) -> Any:
        return np.array([[word in text.split() for word in ("red", "Paris")] for text in texts])

    train, held = tiny_encoder.texts(120)[0], tiny_encoder.texts(40, seed=1)[0]
    one = ClassesFinetune(found(folder), train, held, 2, how())
    logits, curve = one.fit(wanted(train), wanted(held), "multiple")
    assert curve[-1]["validation_accuracy"] >= 0.9
    assert logits.shape == (40, 2)


class Killed(Exception):
    pass


def test_a_killed_training_ends_where_it_would_have(folder: Path, tmp_path: Path) -> None:
    def die(_what: str, done: int, _total: int) -> None:
        if done == 30:
            raise Killed

    with pytest.raises(Killed):
        classes(folder, checkpoints=tmp_path, progress=die)[1]()
    assert len(list(tmp_path.glob("*.ckpt"))) == 1
    steps: list[int] = []
    one, fit = classes(folder, checkpoints=tmp_path, progress=lambda _what, done, _total: steps.append(done))
    resumed, curve = fit()
    assert steps[0] == one.plan.steps + 1
    straight, expected = classes(folder)[1]()
    assert (resumed == straight).all()
    assert [epoch["train_loss"] for epoch in curve] == [epoch["train_loss"] for epoch in expected]
    steps.clear()
    told = {"checkpoints": tmp_path, "progress": lambda _what, done, _total: steps.append(done)}
    assert (classes(folder, **told)[1]()[0] == straight).all()
    assert not steps


def test_another_training_does_not_go_on_from_that_checkpoint(folder: Path, tmp_path: Path) -> None:
    classes(folder, epochs=2, checkpoints=tmp_path)[1]()
    steps: list[int] = []
    told = {"checkpoints": tmp_path, "progress": lambda _what, done, _total: steps.append(done)}
    classes(folder, epochs=2, batch_size=8, **told)[1]()
    assert steps[0] == 1
    assert len(list(tmp_path.glob("*.ckpt"))) == 1


def test_whoever_watches_may_stop_a_training(folder: Path) -> None:
    told: list[float] = []

    def watch(recipe: str, epoch: Any) -> bool:
        assert recipe == "finetune"
        told.append(epoch["epoch"])
        return len(told) == 2

    assert len(classes(folder, watch=watch)[1]()[1]) == 2


def test_a_training_that_diverges_says_which_setting_to_lower(folder: Path) -> None:
    with pytest.raises(TrainingError, match="diverged; lower LABELLOOP_LEARNING_RATE"):
        classes(folder, learning_rate=1e12)[1]()


def test_a_batch_in_pieces_teaches_the_same(folder: Path) -> None:
    from labelloop.train.recipes.base import Budget

    whole, parts = classes(folder, epochs=1), classes(folder, epochs=1, budget=Budget(cpu_activations=1e5))
    assert parts[0].plan.most < 16 * 4 < whole[0].plan.most
    assert whole[1]()[0] == pytest.approx(parts[1]()[0], abs=1e-3)


def test_how_long_it_goes_is_counted_before_it_begins(folder: Path) -> None:
    from labelloop.train.recipes.base import Budget

    one = classes(folder, epochs=20, alone=False)[0]
    assert (one.plan.epochs, one.plan.wanted, one.plan.too_long) == (10, 10, False)
    assert one.plan.learning_rate == pytest.approx(0.03 * 0.075)
    assert one.plan.steps == 20
    short = classes(folder, epochs=20, alone=False, budget=Budget(cpu_work=1e6))[0].plan
    assert (short.epochs, short.too_long) == (4, True)
    assert not classes(folder, epochs=20, alone=True, budget=Budget(cpu_work=1e6))[0].plan.too_long


CITIES = ("Paris", "Rome")


def spans(text: str) -> list[tuple[int, int, int]]:
    return [
        (at, at + len(city), label)
        for label, city in enumerate(CITIES)
        for at in range(len(text))
        if text.startswith(city, at)
    ]


@pytest.fixture(scope="module", params=["wordpiece", "bytes"])
def tagged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network that has learned two cities in texts of several windows: (finetune, texts, probabilities)."""
    from labelloop.kinds.texts.recipes.encoder_finetune import TagsFinetune

    place = tiny_encoder.write(tmp_path_factory.mktemp("tags") / "tiny", request.param, positions=26)
    encoder = found(place)
    train, held = (tiny_encoder.texts(60, seed=seed, length=40)[0] for seed in (0, 1))
    cut, other = ([encoder.cutter.tokens(text) for text in side] for side in (train, held))
    assert max(len(encoder.cutter.places(tokens)) for tokens in other) > 1
    one = TagsFinetune(encoder, cut, other, tag_count(2), how(epochs=10))
    tags = [tags_of(tokens, spans(text)) for tokens, text in zip(cut, train, strict=True)]
    probabilities, _ = one.fit(tags, lambda given: {"texts": float(len(given))})
    return one, held, other, probabilities


def test_spans_in_texts_of_several_windows_are_learned_to_the_character(tagged: Any) -> None:
    _, held, cut, probabilities = tagged
    right = wanted = 0
    for text, tokens, rows in zip(held, cut, probabilities, strict=True):
        regions = [one for one in EncoderSpans(CITIES).read(text, tokens, rows) if (one.score or 0) >= 0.5]
        given = {(*ends(one), CITIES.index(one.label)) for one in regions}
        right += len(given & set(spans(text)))
        wanted += len(spans(text))
    assert wanted > 100
    assert right / wanted > 0.95


def test_what_is_served_of_spans_is_what_was_trained(tagged: Any, tmp_path: Path) -> None:
    from labelloop.kinds.texts.recipes.encoder_export import parity, write_encoder

    one, held, cut, probabilities = tagged
    write_encoder(one.network, one.encoder.cutter, tmp_path, {})
    assert parity(one.network, one.encoder.cutter, tmp_path, held)["model.onnx"] < 1e-4
    given = EncoderSession(tmp_path).tags(held)
    for (tokens, rows), own, expected in zip(given, cut, probabilities, strict=True):
        assert (tokens.starts == own.starts).all()
        assert rows == pytest.approx(expected, abs=1e-4)


_WITHOUT_TORCH = """
import json, sys
sys.modules |= dict.fromkeys(("torch", "transformers", "sklearn", "scipy"))
from pathlib import Path
from labelloop.kinds.texts.encoder_bundle import FILES
from labelloop.kinds.texts.encoder_engine import EncoderSession, write_details
print(json.dumps(EncoderSession(Path(sys.argv[1])).pooled(json.loads(sys.argv[2])).tolist()))
"""


@pytest.mark.process
def test_what_is_served_of_classes_needs_no_torch_and_says_what_was_trained(folder: Path, tmp_path: Path) -> None:
    from labelloop.kinds.texts.recipes.encoder_export import parity, write_encoder

    one, fit = classes(folder, epochs=1)
    logits, _ = fit()
    one.network.divide(2.0)
    cut, held = one.encoder.cutter, tiny_encoder.texts(40, seed=1)[0]
    assert write_encoder(one.network, cut, tmp_path, {"more": 1}) == FILES
    assert EncoderSession(tmp_path).details["more"] == 1
    assert parity(one.network, cut, tmp_path, held)["model.onnx"] < 1e-4
    command = [sys.executable, "-c", _WITHOUT_TORCH, str(tmp_path), json.dumps(held)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    assert np.array(json.loads(said.stdout)) == pytest.approx(logits / 2, abs=1e-4)
    one.network.divide(0.5)
    with pytest.raises(TrainingError, match=r"differ from the trained network's"):
        parity(one.network, cut, tmp_path, held)


def test_damaged_files_of_a_bundle_are_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"encoder\.json cannot be read"):
        EncoderSession(tmp_path)
    (tmp_path / "encoder.json").write_text('{"spec": {}}')
    tiny_encoder.tokenizer().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(BundleError, match=r"encoder\.json is of an unknown form"):
        EncoderSession(tmp_path)
    write_details(tmp_path / "encoder.json", EncoderSpec("x", 12, 2, (1,), (2,), 0), {})
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        EncoderSession(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read"):
        EncoderSession(tmp_path)


def code(place: Path) -> None:
    tiny_encoder.change_json(place / "config.json", auto_map={"AutoModel": "own.Model"})
    (place / "own.py").write_text("raise SystemExit('code of an encoder was run')")


def tokenizer_code(place: Path) -> None:
    tiny_encoder.change_json(place / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Tokens", None]})


def pickled(place: Path) -> None:
    (place / "model.safetensors").rename(place / "pytorch_model.bin")


def without_weights(place: Path) -> None:
    (place / "model.safetensors").unlink()


def of_no_architecture(place: Path) -> None:
    tiny_encoder.change_json(place / "config.json", model_type="labelloop")


def of_pictures(place: Path) -> None:
    (place / "config.json").write_text(json.dumps({"model_type": "vit", "hidden_size": 32}))


def of_another_tokenizer(place: Path) -> None:
    other = tiny_encoder.tokenizer()
    other.add_tokens([f"one{number}" for number in range(200)])
    other.save(str(place / "tokenizer.json"))


def of_two_halves(place: Path) -> None:
    (place / "config.json").write_text(json.dumps({"model_type": "t5", "d_model": 32}))


def of_other_weights(place: Path) -> None:
    tiny_encoder.change_json(place / "config.json", num_hidden_layers=3)


def of_another_size(place: Path) -> None:
    tiny_encoder.change_json(place / "config.json", hidden_size=64)


def damaged(place: Path) -> None:
    (place / "model.safetensors").write_bytes(b"nothing")


def without_tokenizer(place: Path) -> None:
    (place / "tokenizer.json").write_text("{")


def without_config(place: Path) -> None:
    (place / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (code, "asks for code of its own"),
        (tokenizer_code, "asks for code of its own"),
        (pickled, r"only pytorch_model\.bin, which is pickled and can run code"),
        (without_weights, r"it holds no model\.safetensors"),
        (of_no_architecture, "of no architecture that transformers knows"),
        (of_pictures, "are missing or of another shape, such as"),
        (of_another_tokenizer, "that is another encoder's"),
        (of_two_halves, "is no encoder of texts"),
        (of_other_weights, r"are missing or of another shape, such as encoder\.layer\.2"),
        (of_another_size, "are missing or of another shape, such as"),
        (damaged, "cannot be loaded"),
        (without_tokenizer, r"its tokenizer cannot be read"),
        (without_config, r"config\.json cannot be read"),
    ],
)
def test_what_is_no_safe_or_whole_encoder_is_refused(own: Path, spoil: Callable[[Path], None], said: str) -> None:
    from labelloop.kinds.texts.recipes.encoder_network import network_of

    spoil(own)
    with pytest.raises(TrainingError, match=said):
        network_of(found(own), 3, pooled=True)


def test_a_folder_that_is_not_there_is_told() -> None:
    with pytest.raises(TrainingError, match="there is no such folder; set LABELLOOP_ENCODER"):
        found("/nowhere/encoder")


def test_how_long_texts_may_be_is_read_off_the_encoder(own: Path, tmp_path: Path) -> None:
    assert found(own).cutter.spec.length == 66
    tiny_encoder.change_json(own / "tokenizer_config.json", model_max_length=40)
    assert found(own).cutter.spec.length == 40
    # RoBERTa's positions begin behind the padding's.
    kin = found(tiny_encoder.write(tmp_path / "kin", "bytes"))
    assert kin.cutter.spec.length == 64
    from labelloop.kinds.texts.recipes.encoder_network import network_of, outputs_of

    longest = kin.cutter.beginning("Paris " * 200)
    assert len(longest) == 64
    assert np.isfinite(outputs_of(network_of(kin, 2, pooled=True), [longest], kin.cutter.spec.pad)[0]).all()


def test_an_encoder_comes_from_the_hub_once_and_all_of_one_commit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelloop.kinds.texts.recipes.encoder import load

    asked: list[str] = []
    with hub.serving(folder, asked) as address:
        hub.ask(address, tmp_path / "hub", monkeypatch)
        first = found("maker/tiny")
    assert not [path for path in asked if "/resolve/main/" in path and not path.endswith("config.json")]
    hub.ask(f"http://127.0.0.1:{free_port()}", tmp_path / "hub", monkeypatch, offline=True)
    again = found("maker/tiny")
    assert again.folder == first.folder
    load(again)
    assert replace(again.cutter.spec, name="") == replace(found(folder).cutter.spec, name="")


def test_a_hub_without_safetensors_is_told_apart_from_one_without_the_encoder(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled(own)
    with hub.serving(own) as address:
        hub.ask(address, tmp_path / "hub", monkeypatch)
        with pytest.raises(TrainingError, match=r"on the hub: it holds only pytorch_model\.bin"):
            found("maker/tiny")
        assert not list((tmp_path / "hub").rglob("*.bin"))
    with hub.serving(tmp_path / "nothing") as address:
        hub.ask(address, tmp_path / "hub2", monkeypatch)
        with pytest.raises(TrainingError, match="the hub answered 404"):
            found("maker/other")


def test_without_a_hub_the_ways_out_are_named_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.ask(f"http://127.0.0.1:{free_port()}", tmp_path / "hub", monkeypatch)
    begun = time.monotonic()
    with pytest.raises(TrainingError, match="the hub cannot be reached") as caught:
        found("maker/tiny")
    assert time.monotonic() - begun < 10
    for way in ("LABELLOOP_ENCODER=FOLDER", "HF_HOME", "HF_HUB_OFFLINE", "LABELLOOP_ENCODER= for none"):
        assert way in str(caught.value)
    hub.ask("http://127.0.0.1:1", tmp_path / "hub", monkeypatch, offline=True)
    with pytest.raises(TrainingError, match="HF_HUB_OFFLINE is set"):
        found("maker/tiny")
