"""A network in whole numbers of 8 bits is served where it answers as the network itself does, and only there."""

import json
import logging
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from labelloop import pictures
from labelloop.bundle_info import INT8_MODEL, Int8, NetworkInfo, PictureSpec
from labelloop.errors import BundleError
from labelloop.files import multiplies_bytes, sha256
from labelloop.models.bundle import read_bundle_info
from labelloop.serve.engines.base import open_engine
from labelloop.serve.engines.network import NetworkEngine
from labelloop.train.dataset import Dataset
from support import shapes
from support.bundles import checked

Array = NDArray[np.float32]

pytestmark = pytest.mark.train


SPEC = PictureSpec(height=32, width=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def write_network(file: Path) -> None:
    """Write a small network of two classes: a convolution, the mean of its 32 maps, and a last layer."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    shapes_of = {"kernels": (32, 3, 3, 3), "shifts": (32,), "weight": (32, 2), "bias": (2,)}
    weights = [
        numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes_of.items()
    ]
    steps = [
        helper.make_node("Conv", ["images", "kernels", "shifts"], ["maps"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["kept"], "relu"),
        helper.make_node("GlobalAveragePool", ["kept"], ["means"], "mean"),
        helper.make_node("Flatten", ["means"], ["features"], "flat"),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], "last"),
    ]
    graph = helper.make_graph(
        steps,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(file))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return shapes.dataset(tmp_path_factory.mktemp("shapes"), train=8, validation=100)


@pytest.fixture(scope="module")
def bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with its form in 8 bits beside it."""
    from labelloop.train.int8 import calibration, quantize
    from labelloop.train.pixels import PixelCache

    folder = tmp_path_factory.mktemp("bundle")
    write_network(folder / "model.onnx")
    files = {"model.onnx": sha256(folder / "model.onnx")}
    info = NetworkInfo(shapes.CLASSES, "single", "finetune", files, backbone="small", picture=SPEC)
    (folder / "model.json").write_text(info.to_json())
    quantize(
        folder / "model.onnx",
        calibration(dataset.train, PixelCache(SPEC, folder.parent / "caches")),
        folder / INT8_MODEL,
    )
    return folder


@pytest.fixture(scope="module")
def images(dataset: Dataset) -> Array:
    return np.stack([pictures.prepare(one.path.read_bytes(), SPEC) for one in dataset.validation])


def test_it_answers_nearly_as_the_network_does(bundle: Path, images: Array) -> None:
    from labelloop.train.export import run_onnx

    exact, given = (run_onnx(bundle / file, images) for file in ("model.onnx", INT8_MODEL))
    assert 0 < np.abs(given - exact).max() < 0.2 * np.abs(exact).max()
    assert (given.argmax(1) == exact.argmax(1)).mean() > 0.9
    # The last layer is as it was: its numbers are not rounded to 256 steps.
    assert len(np.unique(given)) > 0.9 * given.size


def described(bundle: Path, folder: Path, **changed: object) -> Path:
    """Copy a bundle and say in it that its form in 8 bits is served."""
    shutil.copytree(bundle, folder)
    info = read_bundle_info(folder)
    assert isinstance(info, NetworkInfo)
    found = Int8(served=True, compared=200, agreement=0.995, change=0.0, low=-0.02, high=0.02)
    files = {**info.files, INT8_MODEL: sha256(folder / INT8_MODEL)}
    values = {"files": files, "int8": found, **changed}
    (folder / "model.json").write_text(replace(info, **values).to_json())  # type: ignore[arg-type]
    return folder


def test_a_server_runs_it_where_the_processor_does_and_nobody_wants_otherwise(bundle: Path, tmp_path: Path) -> None:
    folder = described(bundle, tmp_path / "bundle")

    def file(engine: str) -> str:
        opened = open_engine(folder, engine)
        assert isinstance(opened, NetworkEngine)
        return opened.network.file

    assert file("onnx") == (INT8_MODEL if multiplies_bytes() else "model.onnx")
    assert file("onnx-float32") == "model.onnx"


def test_a_bundle_that_says_it_is_served_and_has_no_file_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = described(bundle, tmp_path / "bundle", files=read_bundle_info(bundle).files)
    with pytest.raises(BundleError, match=r"has no hash of model\.int8\.onnx"):
        read_bundle_info(folder)


def test_a_form_that_is_not_served_is_no_field_that_earlier_releases_would_refuse() -> None:
    found = Int8(served=False, compared=200, agreement=0.9, change=-0.1, low=-0.12, high=-0.08)
    info = NetworkInfo(shapes.CLASSES, "single", "head", {}, backbone="small", picture=SPEC, int8=found)
    assert "int8" not in json.loads(info.to_json())
    assert json.loads(replace(info, int8=replace(found, served=True)).to_json())["int8"]["compared"] == 200


def test_making_it_silences_its_own_thread_alone(caplog: pytest.LogCaptureFixture) -> None:
    from labelloop.train.int8 import _quiet

    root = logging.getLogger()
    with _quiet():
        root.warning("advice")
        other = threading.Thread(target=root.warning, args=("of somebody else",))
        other.start()
        other.join()
    root.warning("afterwards")
    assert caplog.messages == ["of somebody else", "afterwards"]


def given(right: int, lost: int = 0, gained: int = 0, wrong: int = 0) -> Int8:
    """Compare answers to pictures of two classes, all of the first one."""
    from labelloop.train.int8 import compare
    from labelloop.train.recipes.base import Candidate
    from labelloop.train.selection import Validation

    first, second = [2.0, 0.0], [0.0, 1.0]
    exact = np.array([first] * (right + lost) + [second] * (gained + wrong), dtype=np.float32)
    other = np.array([first] * right + [second] * lost + [first] * gained + [second] * wrong, dtype=np.float32)
    names = tuple(map(str, range(len(exact))))
    truth = np.tile([True, False], (len(exact), 1))
    candidate = Candidate("finetune", None, exact)  # type: ignore[arg-type]
    return compare(candidate, Validation(names, truth, "single"), other)


def test_it_may_cost_half_a_point_of_accuracy() -> None:
    same = given(right=180, wrong=20)
    assert same.served
    assert (same.compared, same.agreement, same.change) == (200, 1.0, 0.0)
    assert -0.03 < same.low < -0.01 < 0.01 < same.high < 0.03  # 200 pictures tell no more than that
    assert given(right=190, lost=1, wrong=9).served
    worse = given(right=188, lost=3, gained=1, wrong=8)
    assert (worse.served, worse.agreement, round(worse.change, 6)) == (False, 0.98, -0.01)
    assert worse.told().startswith(
        "not served in 8 bits, half a point is allowed: 98.0% of 200 validation items answered alike"
    )


@pytest.mark.skipif(not multiplies_bytes(), reason="this processor is not one that it is served on")
def test_it_is_kept_where_enough_pictures_show_that_it_is_as_good(
    bundle: Path, images: Array, dataset: Dataset, tmp_path: Path
) -> None:
    from torch import nn

    from labelloop.train.export import run_onnx
    from labelloop.train.int8 import whole_network
    from labelloop.train.pixels import PixelCache
    from labelloop.train.recipes.base import Candidate, Material

    shutil.copy(bundle / "model.onnx", tmp_path)
    logits = run_onnx(bundle / "model.onnx", images)
    # What the network answers counts as right, so every other answer of the form in 8 bits is one that is lost.
    told = tuple(
        replace(one, targets=(int(row.argmax()),)) for one, row in zip(dataset.validation, logits, strict=True)
    )
    data = replace(dataset, validation=told)
    pixels = PixelCache(SPEC, bundle.parent / "caches")
    material = Material(data, shapes.settings(), nn.Identity(), pixels, tmp_path, lambda *_: None)
    made = Candidate("finetune", nn.Identity(), logits)

    found = whole_network(made, material, tmp_path)
    assert found is not None
    assert (found.compared, found.change) == (100, found.agreement - 1)
    assert (tmp_path / INT8_MODEL).exists() == found.served == (found.change >= -0.005)
    turned = whole_network(replace(made, logits=-logits), material, tmp_path)
    assert turned is not None
    assert turned.served  # all that was wrong is right now
    switched = replace(made, logits=logits[:, ::-1].copy())
    other = replace(data, validation=tuple(replace(one, targets=(1 - one.targets[0],)) for one in told))
    refused = whole_network(switched, replace(material, dataset=other), tmp_path)
    assert refused is not None
    assert not refused.served
    assert refused.change < -0.9
    assert not (tmp_path / INT8_MODEL).exists()
    assert whole_network(made, replace(material, settings=replace(shapes.settings(), int8="off")), tmp_path) is None
    few = replace(data, validation=told[:99])
    assert whole_network(made, replace(material, dataset=few), tmp_path) is None


@pytest.mark.slow
@pytest.mark.skipif(not multiplies_bytes(), reason="this processor is not one that it is served on")
def test_a_finetune_is_published_with_what_came_of_it(dataset: Dataset, tmp_path: Path) -> None:
    import torch

    from labelloop.train.backbone import build
    from labelloop.train.bundle import write_bundle
    from labelloop.train.export import run_torch
    from labelloop.train.pixels import PixelCache
    from labelloop.train.recipes.base import Candidate, Material

    torch.manual_seed(7)
    start, pixels = build(shapes.settings(), 2), PixelCache(SPEC, tmp_path)
    material = Material(dataset, shapes.settings(), start, pixels, tmp_path, lambda *_: None)
    logits = run_torch(start, pictures.normalise(pixels.many(dataset.validation), SPEC))
    info = write_bundle(Candidate("finetune", start, logits), material, tmp_path / "bundle")
    assert info.int8 is not None
    assert (tmp_path / "bundle" / INT8_MODEL).exists() == info.int8.served == (INT8_MODEL in info.files)
    assert checked(tmp_path / "bundle") == (info if info.int8.served else replace(info, int8=None))
