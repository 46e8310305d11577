"""Whole trainings, for real: small networks, small pictures, seconds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labelloop.errors import TrainingError
from labelloop.serve.engines.base import open_engine
from labelloop.serve.engines.head import Head
from labelloop.train.dataset import Dataset, FinetunedNetwork, Sample, Trained
from labelloop.types import Output, TrainSettings
from support import shapes
from support.bundles import checked

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Trained:
    """A finetune of five epochs, which has learned bars."""
    folder = tmp_path_factory.mktemp("finetuned")
    return run(shapes.dataset(folder / "pictures"), shapes.settings(("finetune",), epochs=5), folder, cache)


@pytest.fixture(scope="module")
def learned(finetuned: Trained) -> Path:
    """Weights that have learned bars: the safetensors file of a finetuned bundle."""
    return finetuned.bundle / "model.safetensors"


def quiet(what: str, done: int, total: int) -> None: ...


def run(dataset: Dataset, settings: TrainSettings, workdir: Path, cache: Path, **more: Any) -> Trained:
    from labelloop.train.trainer import train

    return train(dataset, settings, workdir, cache, quiet, **more)


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def serve(bundle: Path, samples: list[Sample]) -> list[Output]:
    answers = open_engine(bundle, "onnx").predict([sample.path.read_bytes() for sample in samples], "v1")
    assert all(isinstance(answer, Output) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Output)]


def accuracy(bundle: Path, samples: list[Sample], classes: tuple[str, ...]) -> float:
    truth = [classes[sample.targets[0]] for sample in samples]
    return float(np.mean([answer.label == name for answer, name in zip(serve(bundle, samples), truth, strict=True)]))


def torch_logits(bundle: Path, samples: list[Sample]) -> npt.NDArray[np.float32]:
    """Compute a bundle's logits from its safetensors file and its description alone."""
    import torch
    from safetensors.torch import load_file

    from labelloop import pictures
    from labelloop.train.backbone import build

    info = checked(bundle)
    model = build(shapes.settings(backbone=info.backbone, image_size=info.picture.height), len(info.classes))
    if info.features:
        head = load_file(bundle / "head.safetensors")
        last = {f"{model.pretrained_cfg['classifier']}.{name}": tensor for name, tensor in head.items()}  # type: ignore[index]
        model.load_state_dict(load_file(bundle / "backbone.safetensors") | last, strict=True)
    else:
        model.load_state_dict(load_file(bundle / "model.safetensors"), strict=True)
    images = np.stack([pictures.prepare(sample.path.read_bytes(), info.picture) for sample in samples])
    given = torch.from_numpy(images)
    with torch.inference_mode():
        logits = (model(given) + model(given.flip(3))) / 2 if info.flips else model(given)
    return np.asarray(logits.numpy())


def file_logits(bundle: Path, samples: list[Sample]) -> Iterator[npt.NDArray[np.float32]]:
    """Compute a bundle's logits from its ONNX file and from its TorchScript file."""
    from labelloop import pictures
    from labelloop.train.export import read_torchscript, run_onnx, run_torch

    info = checked(bundle)
    images = np.stack([pictures.prepare(sample.path.read_bytes(), info.picture) for sample in samples])
    if not info.features:
        yield run_onnx(bundle / "model.onnx", images)
        yield run_torch(read_torchscript(bundle / "model.ts.pt"), images)
        return
    shown = [images, np.ascontiguousarray(images[..., ::-1])] if info.flips else [images]
    head, traced = Head.read(bundle, info), read_torchscript(bundle / "backbone.ts.pt")
    yield head.logits(np.mean([run_onnx(bundle / "backbone.onnx", one) for one in shown], axis=0))
    yield head.logits(np.mean([run_torch(traced, one) for one in shown], axis=0))


def test_a_head_is_a_whole_bundle_that_serves(tmp_path: Path, cache: Path) -> None:
    from labelloop.train.trainer import train

    data = shapes.dataset(tmp_path / "pictures", classes=("across", "upright", "never"))
    steps: list[tuple[str, int, int]] = []
    trained = train(data, shapes.settings(("head",)), tmp_path, cache, lambda *step: steps.append(step))
    unseen = shapes.samples(tmp_path / "unseen", 40, 3)
    assert trained.recipe == "head"
    assert trained.validation.keys() == {"head"}
    assert {step[0] for step in steps} == {"pictures", "backbone", "features", "export"}
    info = checked(trained.bundle)
    assert info.files.keys() == info.parity.keys() - {"picture"}
    assert accuracy(trained.bundle, unseen, data.classes) >= 0.9
    assert max(answer.scores["never"] for answer in serve(trained.bundle, unseen)) < 0.05
    for logits in file_logits(trained.bundle, unseen):
        np.testing.assert_allclose(logits, torch_logits(trained.bundle, unseen), atol=1e-3)


def test_wrong_labels_are_left_out_by_both_recipes_until_they_are_confirmed(
    tmp_path: Path, cache: Path, learned: Path
) -> None:
    data = shapes.dataset(tmp_path / "pictures", train=160, validation=50)
    train, validation = (
        tuple(replace(one, targets=(1 - one.targets[0],)) if at % 9 == 0 else one for at, one in enumerate(side))
        for side in (data.train, data.validation)
    )
    wrong = {one.picture for side in (train, validation) for at, one in enumerate(side) if at % 9 == 0}
    mistaken = replace(data, train=train, validation=validation)
    trained = run(mistaken, shapes.settings(weights=str(learned)), tmp_path / "first", cache)
    found = {one["picture"] for one in trained.suspects}
    assert trained.curves
    assert len(found & wrong) >= 0.4 * len(wrong)
    assert len(found - wrong) <= 2
    kept = replace(mistaken, train=tuple(replace(one, confirmed=one.picture in found) for one in train))
    again = run(kept, shapes.settings(("head",), weights=str(learned)), tmp_path / "again", cache)
    assert {one["picture"] for one in again.suspects}.isdisjoint(found & {one.picture for one in train})


def test_the_next_head_on_the_same_backbone_exports_nothing(tmp_path: Path, cache: Path) -> None:
    settings = shapes.settings(("head",))
    first = run(shapes.dataset(tmp_path / "a"), settings, tmp_path / "first", cache)
    exported = {file: file.stat().st_mtime_ns for file in (cache / "backbones").rglob("*.*")}
    second = run(shapes.dataset(tmp_path / "b", train=30), settings, tmp_path / "second", cache)
    assert {file: file.stat().st_mtime_ns for file in (cache / "backbones").rglob("*.*")} == exported
    assert checked(first.bundle).files != checked(second.bundle).files


def test_a_finetune_learns_and_its_three_files_agree(tmp_path: Path, finetuned: Trained) -> None:
    unseen = shapes.samples(tmp_path / "unseen", 40, 3)
    assert accuracy(finetuned.bundle, unseen, shapes.CLASSES) >= 0.95
    for logits in file_logits(finetuned.bundle, unseen):
        np.testing.assert_allclose(logits, torch_logits(finetuned.bundle, unseen), atol=1e-3)
    assert b"/train/" not in (finetuned.bundle / "model.onnx").read_bytes()  # no source path of this machine


@pytest.mark.parametrize("recipe", ["head", pytest.param("finetune", marks=pytest.mark.slow)])
def test_the_same_run_gives_the_same_model_in_whatever_order_labels_came(
    recipe: str, tmp_path: Path, cache: Path, request: pytest.FixtureRequest
) -> None:
    data, settings = shapes.dataset(tmp_path / "pictures"), shapes.settings((recipe,), epochs=5)
    turned = replace(data, train=data.train[::-1], validation=data.validation[::-1])
    before = recipe == "finetune"
    one = request.getfixturevalue("finetuned") if before else run(data, settings, tmp_path / "one", cache)
    two = run(turned, settings, tmp_path / "two", cache)
    # TorchScript numbers its modules anew in each trace.
    for file in ("model.safetensors", "model.onnx") if before else ("head.safetensors",):
        assert checked(one.bundle).files[file] == checked(two.bundle).files[file]
    assert one.validation == two.validation


def test_another_seed_gives_another_model(tmp_path: Path, cache: Path, finetuned: Trained) -> None:
    settings = shapes.settings(("finetune",), epochs=5, seed=1)
    other = run(shapes.dataset(tmp_path / "pictures"), settings, tmp_path, cache)
    assert checked(finetuned.bundle).files["model.safetensors"] != checked(other.bundle).files["model.safetensors"]


def test_training_leaves_the_callers_random_numbers_alone(tmp_path: Path, cache: Path) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(shapes.dataset(tmp_path / "pictures"), shapes.settings(("head",)), tmp_path, cache)
    assert torch.equal(torch.rand(3), expected)


def test_two_recipes_compete_from_learned_weights(tmp_path: Path, cache: Path, learned: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures", validation=50)
    trained = run(data, shapes.settings(weights=str(learned)), tmp_path, cache)
    assert trained.validation.keys() == {"head", "finetune"}
    assert trained.recipe == checked(trained.bundle).recipe
    assert {"head", "finetune", "export"} <= trained.seconds.keys()
    assert trained.curves.keys() == {"finetune"}
    assert trained.device == ("cuda" if trained.recipe == "finetune" and cuda() else "cpu")
    assert trained.temperature == checked(trained.bundle).temperature
    assert trained.calibration["log_loss_after"] <= trained.calibration["log_loss_before"] + 0.05


def test_a_finetune_begins_at_the_heads_solution(tmp_path: Path, cache: Path, learned: Path) -> None:
    """With a learning rate of next to nothing it must end there too."""
    data = shapes.dataset(tmp_path / "pictures", validation=50)
    settings = shapes.settings(weights=str(learned), learning_rate=1e-9)
    trained = run(data, settings, tmp_path, cache)
    assert trained.validation["finetune"] == trained.validation["head"] == 1.0


def test_a_finetune_that_cannot_win_is_not_trained(tmp_path: Path, cache: Path, learned: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures", validation=49)
    trained = run(data, shapes.settings(weights=str(learned)), tmp_path, cache)
    assert trained.validation.keys() == {"head"}
    assert "finetune" not in trained.seconds
    assert any("with 49 validation pictures it cannot win, from 50 on" in note for note in trained.notes)


@pytest.mark.parametrize(("validation", "why"), [(49, "with 49 validation pictures it cannot win"), (50, "")])
def test_of_what_is_left_to_a_challenger_it_is_said_whether_it_can_win(
    tmp_path: Path, cache: Path, validation: int, why: str
) -> None:
    data = shapes.dataset(tmp_path / "pictures", validation=validation)
    trained = run(data, shapes.settings(("head",)), tmp_path, cache, challengers=("finetune",))
    assert trained.validation.keys() == {"head"}
    assert why in trained.challengers["finetune"]
    assert bool(why) == bool(trained.challengers["finetune"])


def test_a_finetune_alone_is_trained_however_few_pictures_there_are(tmp_path: Path, cache: Path, learned: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    trained = run(data, shapes.settings(("finetune",), weights=str(learned)), tmp_path, cache)
    assert trained.recipe == "finetune"


def test_without_learned_weights_a_head_on_fixed_features_meets_a_finetune_from_random_ones(
    tmp_path: Path, cache: Path
) -> None:
    trained = run(shapes.dataset(tmp_path / "pictures", validation=50), shapes.settings(), tmp_path, cache)
    assert trained.validation.keys() == {"head", "finetune"}
    assert trained.recipe == "head", "an epoch from random weights is too little"
    assert checked(trained.bundle).backbone == "oriented_gradients"
    assert accuracy(trained.bundle, shapes.samples(tmp_path / "unseen", 40, 3), shapes.CLASSES) >= 0.95


def test_a_finetune_beyond_what_this_cpu_can_do_leaves_the_head(tmp_path: Path, cache: Path, learned: Path) -> None:
    import torch

    from labelloop.train.recipes.base import Budget

    if torch.cuda.is_available():
        pytest.skip("a GPU takes any finetune")
    settings = shapes.settings(weights=str(learned), epochs=6)
    trained = run(shapes.dataset(tmp_path / "pictures"), settings, tmp_path, cache, budget=Budget(cpu_work=1e6))
    assert trained.validation.keys() == {"head"}
    assert "finetune is left out" in trained.notes[0]
    assert "LABELLOOP_RECIPES" in trained.notes[0]


def test_without_validation_pictures_there_is_still_a_model(tmp_path: Path, cache: Path) -> None:
    gone = FinetunedNetwork("v2", tmp_path / "gone.safetensors", frozenset())
    dataset = shapes.dataset(tmp_path / "pictures", validation=0)
    trained = run(dataset, shapes.settings(), tmp_path, cache, network=gone)
    assert trained.validation == {}
    assert any(note.startswith("last-layer is left out: weights") for note in trained.notes)
    assert trained.network == ""
    assert checked(trained.bundle).recipe == "head"


@pytest.mark.parametrize("recipe", ["head", "finetune"])
def test_multiple_labels(recipe: str, tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures", train=48, choice="multiple")
    trained = run(data, shapes.settings((recipe,), epochs=6), tmp_path, cache)
    thresholds = checked(trained.bundle).thresholds
    assert (thresholds.keys() == set(data.classes)) is (recipe == "head"), "56 pictures of both sides, or 8"
    unseen = shapes.samples(tmp_path / "unseen", 40, 3, ((0,), (1,), (0, 1), ()))
    given = [{name for name in answer.scores if answer.gives(name)} for answer in serve(trained.bundle, unseen)]
    truth = [{data.classes[target] for target in sample.targets} for sample in unseen]
    assert checked(trained.bundle).choice == "multiple"
    assert np.mean([one == other for one, other in zip(given, truth, strict=True)]) >= 0.7


def test_an_unreadable_picture_is_left_out_and_named(tmp_path: Path, cache: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    broken = shapes.sample(tmp_path / "pictures", b"no picture", (0,))
    trained = run(replace(data, train=(broken, *data.train)), shapes.settings(("head",)), tmp_path, cache)
    assert trained.left_out.keys() == {broken.picture}
    assert checked(trained.bundle).recipe == "head"


def test_too_few_readable_pictures_are_an_error(tmp_path: Path) -> None:
    data = shapes.dataset(tmp_path / "pictures")
    for sample in data.train:
        if sample.targets == (1,):
            sample.path.write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"fewer than two classes \(seen: across\).*12 pictures could not be read"):
        run(data, shapes.settings(), tmp_path, tmp_path / "cache")


def test_a_training_that_diverges_is_an_error(tmp_path: Path, cache: Path) -> None:
    settings = shapes.settings(("finetune",), learning_rate=1e30)
    with pytest.raises(TrainingError, match="diverged; lower LABELLOOP_LEARNING_RATE"):
        run(shapes.dataset(tmp_path / "pictures"), settings, tmp_path, cache)


def test_model_json_is_written_last(tmp_path: Path, cache: Path) -> None:
    """A bundle that is cut off while it is written has no description, whatever lay in the folder before."""
    data, settings = shapes.dataset(tmp_path / "pictures"), shapes.settings(("head",))
    bundle = run(data, settings, tmp_path, cache).bundle
    written = {file.name: file.stat().st_mtime_ns for file in bundle.iterdir()}
    assert max(written, key=lambda name: written[name]) == "model.json"
    assert json.loads((bundle / "model.json").read_text())["classes"] == list(data.classes)


@pytest.mark.slow
def test_digits_are_read_at_95_percent_from_208_labels(tmp_path: Path, cache: Path) -> None:
    """What the demo promises, in fewer epochs and without the advantage of choosing which pictures to label."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    order = np.random.default_rng(3).permutation(len(data.target))
    samples = []
    for at in order[: 208 + 26 + 1000]:
        grey = Image.fromarray((255 - data.images[at] * (255 / 16)).astype(np.uint8))
        path = tmp_path / f"{at}.png"
        grey.resize((96, 96), Image.Resampling.BICUBIC).save(path)
        samples.append(Sample(path, f"{at:064x}", (int(data.target[at]),)))
    classes = tuple("0123456789")
    labeled = Dataset(classes, "single", tuple(samples[:208]), tuple(samples[208:234]))
    trained = run(labeled, shapes.settings(epochs=12), tmp_path, cache)
    assert accuracy(trained.bundle, samples[234:], classes) >= 0.95
