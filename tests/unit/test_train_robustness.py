"""A real network's bundle is loaded back, corrupted pictures and FGSM mislead it, and its answers are explained."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from labelloop import pictures
from labelloop.errors import BundleError
from labelloop.train.corruptions import CORRUPTIONS
from labelloop.train.dataset import Sample, balanced
from labelloop.train.pixels import PixelCache
from support import shapes, small_network

pytestmark = pytest.mark.train


def quiet(what: str, done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return shapes.samples(tmp_path_factory.mktemp("pictures"), 48, seed=3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    small_network.make_bundle(folder, samples)
    return folder


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> PixelCache:
    return PixelCache(small_network.SPEC, tmp_path_factory.mktemp("cache"))


def served(bundle: Path, samples: Sequence[Sample], pixels: PixelCache) -> npt.NDArray[np.float32]:
    from labelloop.train import export

    return export.run_onnx(bundle / "model.onnx", pictures.normalise(pixels.many(samples), pixels.spec))


def test_the_network_that_is_loaded_gives_the_logits_that_are_served(
    bundle: Path, samples: list[Sample], pixels: PixelCache
) -> None:
    import torch

    from labelloop.train import export
    from labelloop.train.bundle import load_network

    before = torch.random.get_rng_state()
    network = load_network(bundle)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not network.training
    logits = export.run_torch(network, pictures.normalise(pixels.many(samples[:6]), pixels.spec))
    np.testing.assert_allclose(logits, served(bundle, samples[:6], pixels), atol=1e-4)


def test_with_flips_the_network_answers_for_both(
    bundle: Path, samples: list[Sample], pixels: PixelCache, tmp_path: Path
) -> None:
    from labelloop.train import export
    from labelloop.train.bundle import load_network

    shutil.copytree(bundle, tmp_path, dirs_exist_ok=True)
    description = json.loads((bundle / "model.json").read_text()) | {"flips": True}
    (tmp_path / "model.json").write_text(json.dumps(description))
    images = pictures.normalise(pixels.many(samples[:6]), pixels.spec)
    mirrored = np.ascontiguousarray(images[..., ::-1])
    one, other = (export.run_torch(load_network(bundle), shown) for shown in (images, mirrored))
    np.testing.assert_allclose(export.run_torch(load_network(tmp_path), images), (one + other) / 2, atol=1e-5)


def test_a_bundle_that_is_damaged_is_refused(bundle: Path, tmp_path: Path) -> None:
    from labelloop.train.bundle import load_network

    with pytest.raises(BundleError, match=r"model.json cannot be read"):
        load_network(tmp_path)
    description = (bundle / "model.json").read_text()
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(BundleError, match="of an unknown form"):
        load_network(tmp_path)
    (tmp_path / "model.json").write_text(description)
    (tmp_path / "model.safetensors").write_bytes(b"pickle?")
    with pytest.raises(BundleError, match=r"model.safetensors could not be read"):
        load_network(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((bundle / "model.safetensors").read_bytes())
    (tmp_path / "model.json").write_text(description.replace('"across"', '"across", "third"'))
    with pytest.raises(BundleError, match=r"not of the network in model.json .*another shape"):
        load_network(tmp_path)


def test_robustness_is_measured_for_every_corruption(bundle: Path, samples: list[Sample], pixels: PixelCache) -> None:
    from labelloop.train.robustness import robustness

    told: list[tuple[str, int, int]] = []
    found = robustness(bundle, samples, pixels, lambda *what: told.append(what), most=24, epsilons=(4, 64))
    assert found["pictures"] == 24
    assert found["clean"] >= 0.95
    assert tuple(found["corruptions"]) == CORRUPTIONS
    shares = np.array(list(found["corruptions"].values()))
    assert shares.shape == (10, 5)
    assert found["mean"] == pytest.approx(shares.mean())
    assert found["relative_drop"] == pytest.approx(1 - shares.mean() / found["clean"])
    assert shares[:, 0].mean() > shares[:, 4].mean()
    assert [entry["epsilon"] for entry in found["fgsm"]] == [4, 64]
    assert found["fgsm"][1]["accuracy"] < 0.5 < found["clean"]
    assert ("robustness", 50, 50) in told
    again = robustness(bundle, samples[::-1], pixels, quiet, most=24, epsilons=())
    assert again["corruptions"] == found["corruptions"], "it depends on order or on threads"


def test_fgsm_raises_the_loss_and_stays_within_epsilon(bundle: Path, samples: list[Sample], pixels: PixelCache) -> None:
    from labelloop.train import metrics
    from labelloop.train.bundle import load_network
    from labelloop.train.dataset import indicators
    from labelloop.train.export import run_torch
    from labelloop.train.robustness import directions, shifted

    network, shown, truth = load_network(bundle), pixels.many(samples), indicators(samples, 2)
    signs = directions(network, shown, truth, "single", pixels.spec)
    losses = []
    for epsilon in (0, 2, 8):
        changed = shifted(shown, signs, epsilon)
        assert np.abs(changed.astype(int) - shown).max() == epsilon
        logits = run_torch(network, pictures.normalise(changed, pixels.spec))
        losses.append(metrics.log_loss(truth, logits, "single"))
    assert losses[0] < losses[1] < losses[2]
    assert set(np.unique(directions(network, shown[:4], truth[:4], "multiple", pixels.spec))) <= {-1, 0, 1}


def test_right_wrong_and_uncertain_samples_are_explained(
    bundle: Path, samples: list[Sample], pixels: PixelCache, tmp_path: Path
) -> None:
    from PIL import Image

    from labelloop.train.explain import explain

    logits = served(bundle, samples, pixels).astype(np.float64)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    mislabeled = Sample(samples[0].path, samples[0].picture, (1 - samples[0].targets[0],))
    entries = explain(bundle, [mislabeled, *samples[1:]], scores, pixels, tmp_path, quiet, few=2, steps=8)
    assert [entry["kind"] for entry in entries] == ["right", "right", "wrong", "least certain", "least certain"]
    assert {entry["predicted"] for entry in entries[:2]} == set(shapes.CLASSES), "two of one class tell less"
    wrong = entries[2]
    assert wrong["picture"] == samples[0].picture
    assert wrong["truth"] != [wrong["predicted"]]
    assert wrong["score"] == pytest.approx(scores[0].max(), abs=1e-6)
    for entry in entries:
        for name in (entry["grad_cam"], entry["integrated_gradients"]):
            with Image.open(tmp_path / name) as drawn:
                assert drawn.size == (2 * 224 + 4, 224)
    assert len(list(tmp_path.iterdir())) == 2 * len(entries)


def test_a_choice_of_samples_is_balanced_and_does_not_depend_on_their_order() -> None:
    crowd = [Sample(Path("x"), f"{at:064x}", (int(at >= 90),)) for at in range(100)]
    few = balanced(crowd, 30, seed=1)
    assert sum(one.targets == (1,) for one in few) == 10
    assert len(set(few)) == 30
    assert balanced(crowd[::-1], 30, seed=1) == few
    assert balanced(crowd, 30, seed=2) != few
    assert set(balanced(crowd, 500, seed=1)) == set(crowd)
