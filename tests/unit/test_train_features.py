"""Features of a frozen backbone: exported once, taken once per picture."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelloop.errors import TrainingError
from labelloop.train.pixels import PixelCache
from support import shapes

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def quiet(what: str, done: int, total: int) -> None: ...


def network(seed: int = 0) -> Any:
    import torch

    from labelloop.train.backbone import build

    torch.manual_seed(seed)
    return build(shapes.settings(), 2)


def frozen(model: Any, cache: Path) -> Any:
    from labelloop.train.backbone import picture_spec
    from labelloop.train.frozen import freeze

    return freeze(model, "test_resnet", picture_spec(model, 32), cache)


def test_features_are_what_the_last_layer_sees_and_are_kept(tmp_path: Path, cache: Path) -> None:
    import torch

    from labelloop import pictures
    from labelloop.train.backbone import picture_spec, pre_logits
    from labelloop.train.features import FeatureCache

    model, several = network(), shapes.samples(tmp_path / "pictures", 5, 1)
    pixels = PixelCache(picture_spec(model, 32), cache)
    steps: list[tuple[str, int, int]] = []
    first = FeatureCache(frozen(model, cache), pixels, tmp_path).of(several, lambda *step: steps.append(step))
    with torch.inference_mode():
        expected = pre_logits(model, torch.from_numpy(pictures.normalise(pixels.many(several), pixels.spec)))
    np.testing.assert_allclose(first, expected.numpy(), rtol=2**-11, atol=1e-5)  # half precision
    assert steps == [("features", 5, 5)]

    steps.clear()
    more = [*several, *shapes.samples(tmp_path / "pictures", 1, 9)]
    second = FeatureCache(frozen(model, cache), pixels, tmp_path).of(more, lambda *step: steps.append(step))
    np.testing.assert_array_equal(second[:5], first)
    assert steps == [("features", 1, 1)]


def test_a_backbone_is_exported_once(cache: Path) -> None:
    first = frozen(network(), cache)
    exported = first.onnx.stat().st_mtime_ns
    assert frozen(network(), cache).onnx.stat().st_mtime_ns == exported


def test_exported_backbones_go_a_week_after_their_last_use(tmp_path: Path, cache: Path) -> None:
    from labelloop.loop.caches import Caches, remove

    train = tmp_path / "cache" / "train"
    used, unused = frozen(network(), cache).directory, train / "backbones" / ("0" * 64)
    shutil.copytree(used, train / "backbones" / used.name)
    unused.mkdir()
    assert not list(Caches(tmp_path).backbones()), "they have just come"
    for folder in (train / "backbones").iterdir():
        os.utime(folder, (0, time.time() - 8 * 24 * 3600))
    frozen(network(), train)
    remove(Caches(tmp_path).backbones())
    assert [one.name for one in (train / "backbones").iterdir()] == [used.name]


def test_other_weights_are_another_backbone_and_another_last_layer_is_not() -> None:
    import torch

    from labelloop.train.backbone import classifier, picture_spec
    from labelloop.train.frozen import backbone_hash

    model, other = network(), network(seed=1)
    spec = picture_spec(model, 32)
    name = backbone_hash(model, "test_resnet", spec)
    with torch.no_grad():
        classifier(model).weight.zero_()
    assert backbone_hash(model, "test_resnet", spec) == name
    assert backbone_hash(other, "test_resnet", spec) != name
    assert backbone_hash(model, "test_resnet", picture_spec(model, 64)) != name


def test_no_samples_have_no_features(tmp_path: Path, cache: Path) -> None:
    from labelloop.train.backbone import picture_spec
    from labelloop.train.features import FeatureCache

    model = network()
    assert FeatureCache(frozen(model, cache), PixelCache(picture_spec(model, 32), cache), tmp_path).of(
        [], quiet
    ).shape == (
        0,
        96,
    )


def flipped(images: Any) -> Any:
    return np.ascontiguousarray(images[:, :, :, ::-1])


def test_a_frozen_backbone_is_measured_once_and_its_three_files_agree(cache: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from labelloop.bundle_info import BACKBONES
    from labelloop.files import sha256
    from labelloop.train.backbone import classifier, pre_logits
    from labelloop.train.export import read_torchscript, run_onnx, run_torch

    model = network()
    made = frozen(model, cache)
    assert made.files == {name: sha256(made.directory / name) for name in BACKBONES}
    assert made.parity.keys() == {*BACKBONES}
    assert max(made.parity.values()) < 1e-4
    again = network(seed=5)
    again.load_state_dict(load_file(made.directory / "backbone.safetensors"), strict=False)
    assert not torch.equal(classifier(again).weight, classifier(model).weight), "the last layer is no part of it"
    for count in (1, 5):
        images = np.random.default_rng(count).normal(size=(count, 3, 32, 32)).astype(np.float32)
        with torch.inference_mode():
            expected = pre_logits(model, torch.from_numpy(images)).numpy()
            reread = pre_logits(again, torch.from_numpy(images)).numpy()
        traced = run_torch(read_torchscript(made.directory / "backbone.ts.pt"), images)
        for given in (run_onnx(made.onnx, images), traced, reread):
            np.testing.assert_allclose(given, expected, atol=1e-5)


def test_a_damaged_backbone_is_exported_anew(cache: Path, tmp_path: Path) -> None:
    first = frozen(network(), cache)
    shutil.copytree(cache / "backbones", tmp_path / "backbones")
    (tmp_path / "backbones" / first.hash / "backbone.onnx").write_bytes(b"cut")
    again = frozen(network(), tmp_path)
    assert again.onnx.stat().st_size == first.onnx.stat().st_size
    assert again.hash == first.hash


def test_a_network_that_answers_otherwise_each_time_is_no_backbone(tmp_path: Path) -> None:
    import torch

    class Unsteady(torch.nn.Module):
        def forward(self, features: Any) -> Any:
            return torch.nn.functional.dropout(features, 0.5, training=True)

    model = network()
    model.layer4.append(Unsteady())
    with pytest.raises(TrainingError, match=r"of backbone 'test_resnet' gives features that differ"):
        frozen(model, tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".lock"}


def test_features_of_mirror_images_are_kept_apart(tmp_path: Path, cache: Path) -> None:
    from labelloop.train.backbone import picture_spec
    from labelloop.train.features import FeatureCache

    model, several = network(), shapes.samples(tmp_path / "pictures", 5, 1)
    features = FeatureCache(frozen(model, cache), PixelCache(picture_spec(model, 32), cache), tmp_path)
    straight, mirrored = features.of(several, quiet), features.of(several, quiet, mirrored=True)
    assert np.abs(straight - mirrored).max() > 1e-3
    np.testing.assert_array_equal(features.of(several, quiet), straight)
    np.testing.assert_array_equal(features.of(several, quiet, mirrored=True), mirrored)


def test_a_damaged_part_of_the_cache_is_taken_anew(tmp_path: Path, cache: Path) -> None:
    from labelloop.train.backbone import picture_spec
    from labelloop.train.features import FeatureCache

    model, several = network(), shapes.samples(tmp_path / "pictures", 5, 1)
    features = FeatureCache(frozen(model, cache), PixelCache(picture_spec(model, 32), cache), tmp_path)
    first = features.of(several, quiet)
    (shard,) = (tmp_path / "features").rglob("*.npy")
    shard.write_bytes(shard.read_bytes()[:-100])  # and so the copy that is linked to it
    steps: list[tuple[str, int, int]] = []
    np.testing.assert_array_equal(features.of(several, lambda *step: steps.append(step)), first)
    assert steps == [("features", 5, 5)]


def test_a_picture_that_several_samples_show_is_taken_once(tmp_path: Path, cache: Path) -> None:
    from labelloop.train.backbone import picture_spec
    from labelloop.train.features import FeatureCache

    model, several = network(), shapes.samples(tmp_path / "pictures", 3, 1)
    features = FeatureCache(frozen(model, cache), PixelCache(picture_spec(model, 32), cache), tmp_path)
    steps: list[tuple[str, int, int]] = []
    rows = features.of([*several, several[0]], lambda *step: steps.append(step))
    np.testing.assert_array_equal(rows[3], rows[0])
    assert steps == [("features", 3, 3)]


def test_a_last_layer_learns_from_what_its_network_knows_by_heart_and_is_chosen_by_what_it_does_not(
    cache: Path, tmp_path: Path
) -> None:
    """One feature gives the class of pictures that the network has learned from, and means nothing of others."""
    from labelloop.models.features import Features
    from labelloop.train.backbone import classifier, picture_spec
    from labelloop.train.dataset import Dataset, FinetunedNetwork, Sample
    from labelloop.train.recipes.base import Candidate, Material
    from labelloop.train.recipes.head import fit_last_layer

    model, chance = network(), np.random.default_rng(0)
    known, new, asked = (
        tuple(Sample(tmp_path, f"{at:064x}", (at % 2,)) for at in range(begin, end))
        for begin, end in ((0, 120), (120, 150), (150, 180))
    )
    kept = frozen(model, cache)
    rows = chance.normal(0, 0.1, (180, kept.width))
    sign = np.arange(180) % 2 * 2 - 1
    rows[:120, 0] += sign[:120]
    rows[120:, 0] += chance.choice([-1, 1], 60)
    rows[:, 1] += 0.1 * sign
    opened = Features.beside(tmp_path, kept.hash, kept.width)
    opened.keep([one.picture for one in (*known, *new, *asked)], rows)
    material = Material(
        dataset=Dataset(shapes.CLASSES, "single", (*known, *new), asked),
        settings=shapes.settings(),
        start=model,
        pixels=PixelCache(picture_spec(model, 32), tmp_path),
        cache_dir=cache,
        progress=quiet,
        opens=lambda *_: opened,
    )
    before = Candidate("head", model, np.zeros((30, 2), dtype=np.float32))
    learned = FinetunedNetwork("v2", tmp_path, frozenset(one.picture for one in known))
    found = fit_last_layer(material, learned, before)
    assert found.held is not None
    assert len(found.held.truth) == len(new)
    assert found.strength <= 0.03, "by those it knows the strongest would be the best"
    weight = classifier(found.model).weight.detach().numpy()
    assert weight[1, 0] - weight[0, 0] > 0.1, "it learns from them all the same"

    moved = replace(learned, learned=frozenset({asked[0].picture}))
    with pytest.raises(TrainingError, match="v2 has learned from 1 of the items it would be chosen by"):
        fit_last_layer(material, moved, before)
