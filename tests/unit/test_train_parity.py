"""What is served is what was trained, or the export fails."""

import io
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from labelloop import pictures
from labelloop.bundle_info import PictureSpec
from labelloop.errors import TrainingError
from labelloop.files import multiplies_bytes
from labelloop.models.features import remove_features_beside
from labelloop.train.dataset import Dataset
from support import shapes
from support.bundles import checked

if TYPE_CHECKING:
    from labelloop.train.recipes.base import Candidate, Material

pytestmark = pytest.mark.train


def material(folder: Path, dataset: Dataset | None = None) -> "Material":
    """Give a run with the same network each time."""
    import torch

    from labelloop.train.backbone import build, picture_spec
    from labelloop.train.pixels import PixelCache
    from labelloop.train.recipes.base import Material

    settings = shapes.settings()
    torch.manual_seed(7)
    start = build(settings, 2)
    data = dataset or shapes.dataset(folder / "pictures", train=5, validation=3)
    return Material(data, settings, start, PixelCache(picture_spec(start, 32), folder), folder, lambda *_: None)


def candidate(given: "Material") -> "Candidate":
    from labelloop.train.recipes.base import Candidate

    return Candidate("finetune", given.network(), np.zeros((3, 2), dtype=np.float32), temperature=1.5)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> "Material":
    return material(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def bundle(given: "Material", tmp_path_factory: pytest.TempPathFactory) -> Path:
    from labelloop.train.bundle import write_bundle

    written = tmp_path_factory.mktemp("bundle")
    write_bundle(candidate(given), given, written)
    return written


def test_a_bundle_says_how_near_each_file_and_the_pictures_are(bundle: Path) -> None:
    info = checked(bundle)
    assert info.parity.keys() == {"model.onnx", "model.ts.pt", "model.safetensors", "picture"}
    assert max(info.parity[name] for name in info.files) < 1e-4
    assert info.parity["picture"] < 1e-3
    assert (info.temperature, info.flips) == (1.5, False)


def alter(path: Path) -> None:
    """Multiply some weights of a file by 1.5."""
    import onnx
    import torch
    from safetensors.torch import load_file, save_file

    from labelloop.train.export import read_torchscript

    if path.suffix == ".onnx":
        model = onnx.load(path)
        weights = max(model.graph.initializer, key=lambda one: len(one.dims))
        weights.CopyFrom(onnx.numpy_helper.from_array(1.5 * onnx.numpy_helper.to_array(weights), weights.name))
        onnx.save(model, path)
    elif path.suffix == ".pt":
        module = read_torchscript(path)
        next(module.parameters()).data.mul_(1.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is old
            torch.jit.save(module, path)
    else:
        tensors = load_file(path)
        max(tensors.values(), key=lambda tensor: tensor.ndim).mul_(1.5)
        save_file(tensors, path)


@pytest.mark.parametrize("file", ["model.onnx", "model.ts.pt", "model.safetensors"])
def test_a_file_of_another_network_is_found(file: str, given: "Material", bundle: Path, tmp_path: Path) -> None:
    from labelloop.train.parity import parity

    shutil.copytree(bundle, tmp_path, dirs_exist_ok=True)
    alter(tmp_path / file)
    with pytest.raises(TrainingError, match=rf"{file} of backbone 'test_resnet'.*allowed: 0\.001"):
        parity(candidate(given), given, tmp_path)


def test_flips_are_served_as_the_mean_of_both(given: "Material", tmp_path: Path) -> None:
    from labelloop.train.bundle import write_bundle
    from labelloop.train.export import run_onnx, run_torch

    made = replace(candidate(given), flips=True)
    info = write_bundle(made, given, tmp_path / "bundle")
    assert info.flips
    assert max(info.parity[name] for name in info.files) < 1e-4
    images = pictures.normalise(given.pixels.many(given.dataset.train), given.pixels.spec)
    both = [run_torch(made.model, np.ascontiguousarray(one)) for one in (images, images[..., ::-1])]
    np.testing.assert_allclose(run_onnx(tmp_path / "bundle/model.onnx", images), np.mean(both, axis=0), atol=1e-4)


@pytest.mark.parametrize("flips", [False, True])
def test_a_head_is_its_last_layer_beside_linked_files(given: "Material", tmp_path: Path, *, flips: bool) -> None:
    """By any of its engines, by torch, and by its safetensors files as a finetune's first weights."""
    import torch

    from labelloop.bundle_info import BACKBONES, HEAD
    from labelloop.serve.engines.base import open_engine
    from labelloop.serve.engines.head import HeadEngine
    from labelloop.train.backbone import build
    from labelloop.train.bundle import load_network, open_logits, write_bundle
    from labelloop.train.export import run_torch
    from labelloop.train.frozen import freeze

    spec = given.pixels.spec
    frozen = freeze(given.start, "test_resnet", spec, given.cache_dir)
    made = replace(candidate(given), recipe="head", frozen=frozen, flips=flips)
    written = {path: path.stat().st_mtime_ns for path in frozen.directory.iterdir()}
    info = write_bundle(made, given, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in frozen.directory.iterdir()} == written
    assert checked(tmp_path) == info
    assert (info.features, info.flips) == (frozen.hash, flips)
    assert info.files.keys() == {*BACKBONES, HEAD}
    assert info.parity.keys() == {*BACKBONES, HEAD, "picture"}
    assert max(info.parity.values()) < 1e-3
    for name in BACKBONES:
        assert (tmp_path / name).samefile(frozen.directory / name)
    assert (tmp_path / HEAD).stat().st_size < 5_000
    images = pictures.normalise(given.pixels.many(given.dataset.train), spec)
    turned = np.ascontiguousarray(images[..., ::-1])
    straight, mirrored = (run_torch(made.model, one) for one in (images, turned))
    expected = (straight + mirrored) / 2 if flips else straight
    for engine in ("onnx", "torchscript"):
        opened = open_engine(tmp_path, engine)
        assert isinstance(opened, HeadEngine)
        np.testing.assert_allclose(opened.head.logits(opened.features(images)), expected, atol=1e-4)
    np.testing.assert_allclose(open_logits(tmp_path, info)(images), expected, atol=1e-4)
    np.testing.assert_allclose(run_torch(load_network(tmp_path), images), expected, atol=1e-4)
    torch.manual_seed(3)
    again = build(replace(shapes.settings(), weights=str(tmp_path / "backbone.safetensors")), 2)
    for name, tensor in again.state_dict().items():
        if "fc" not in name:
            assert torch.equal(tensor, given.start.state_dict()[name])


def test_where_features_are_at_hand_no_picture_is_opened(given: "Material", tmp_path: Path) -> None:
    from labelloop.train.bundle import write_bundle
    from labelloop.train.features import FeatureCache
    from labelloop.train.frozen import freeze
    from labelloop.train.pixels import PixelCache

    frozen = freeze(given.start, "test_resnet", given.pixels.spec, given.cache_dir)
    data = given.dataset
    FeatureCache(frozen, given.pixels, given.cache_dir).of([*data.train, *data.validation], given.progress)
    train, validation = (tuple(replace(one, path=tmp_path) for one in side) for side in (data.train, data.validation))
    away = replace(data, train=train, validation=validation)
    unseen = replace(given, dataset=away, pixels=PixelCache(given.pixels.spec, tmp_path / "pixels"))
    info = write_bundle(replace(candidate(given), recipe="head", frozen=frozen), unseen, tmp_path / "bundle")
    assert info.parity.keys() == info.files.keys()


@pytest.mark.skipif(not multiplies_bytes(), reason="this processor is not one that it is served on")
def test_a_head_is_served_by_its_backbone_in_8_bits_where_that_was_made_and_answers_alike(
    given: "Material", tmp_path: Path
) -> None:
    from labelloop.bundle_info import HEAD, INT8_BACKBONE
    from labelloop.serve.engines.base import open_engine, open_measured
    from labelloop.serve.engines.head import HeadEngine
    from labelloop.train import int8_backbone
    from labelloop.train.bundle import write_bundle
    from labelloop.train.export import run_torch
    from labelloop.train.frozen import freeze

    data, pixels = shapes.dataset(tmp_path / "pictures", train=5, validation=100), given.pixels
    many, caches = replace(given, dataset=data), given.cache_dir
    frozen = freeze(many.start, "test_resnet", pixels.spec, caches)
    logits = run_torch(many.start, pictures.normalise(pixels.many(data.validation), pixels.spec))
    # What the head answers counts as right.
    told = tuple(replace(one, targets=(int(row.argmax()),)) for one, row in zip(data.validation, logits, strict=True))
    many = replace(many, dataset=replace(data, validation=told))
    made = replace(candidate(many), recipe="head", frozen=frozen, logits=logits, temperature=1.0)

    assert int8_backbone.compared(made, many) is None  # it was not made yet
    small = int8_backbone.make(frozen, data.train, pixels)
    assert int8_backbone.make(frozen, data.train, pixels) == small == int8_backbone.find(frozen)
    assert int8_backbone.compared(made, many) is None  # no head waits for features
    int8_backbone.take(small, data.validation, pixels, caches, lambda *_: None)
    found = int8_backbone.compared(made, many)
    assert found is not None
    assert found[1].compared == 100
    assert found[1].agreement > 0.9
    assert int8_backbone.compared(replace(made, flips=True), many) is not None
    off = replace(many, settings=replace(many.settings, int8="off"))
    assert int8_backbone.compared(made, off) is None
    # What is erased is gone here, too.
    assert remove_features_beside(caches, {one.picture for one in data.validation}) >= 200
    assert int8_backbone.compared(made, many) is None

    served = replace(made, int8=(small, replace(found[1], served=True)))
    info = write_bundle(served, many, tmp_path / "bundle")
    assert checked(tmp_path / "bundle") == info
    assert (tmp_path / "bundle" / INT8_BACKBONE).samefile(small.onnx)
    assert info.files[INT8_BACKBONE] == small.hash
    opened, exact = open_engine(tmp_path / "bundle", "onnx"), open_engine(tmp_path / "bundle", "onnx-float32")
    measured = open_measured(tmp_path / "bundle")
    assert isinstance(opened, HeadEngine)
    assert isinstance(exact, HeadEngine)
    assert isinstance(measured, HeadEngine)
    assert (opened.backbone.file, opened.features_of) == (INT8_BACKBONE, small.hash)
    # Features that are kept, and what versions are measured by, are always those of the backbone itself.
    assert (exact.features_of, measured.features_of) == (frozen.hash, frozen.hash)
    assert measured.backbone is exact.backbone
    refused = replace(made, int8=(small, replace(found[1], served=False)))
    info = write_bundle(refused, many, tmp_path / "refused")
    assert info.files.keys() == {*frozen.files, HEAD}
    assert info.int8 is not None
    assert not info.int8.served


def test_a_head_of_another_file_is_found(given: "Material", tmp_path: Path) -> None:
    from labelloop.train.bundle import write_bundle
    from labelloop.train.frozen import freeze
    from labelloop.train.parity import head_parity

    frozen = freeze(given.start, "test_resnet", given.pixels.spec, given.cache_dir)
    made = replace(candidate(given), recipe="head", frozen=frozen)
    write_bundle(made, given, tmp_path)
    alter(tmp_path / "head.safetensors")
    with pytest.raises(TrainingError, match=r"head\.safetensors of backbone 'test_resnet'.*allowed: 0\.001"):
        head_parity(made, given, frozen, tmp_path)


def test_pixels_that_are_not_those_of_the_pictures_are_found(bundle: Path, tmp_path: Path) -> None:
    from labelloop.train.parity import parity

    for sample in (first := material(tmp_path)).dataset.train + first.dataset.validation:
        first.pixels.one(sample)
    for cached in (tmp_path / "pixels").rglob("*.npy"):
        np.save(cached, np.minimum(np.load(cached), 250) + 5)
    again = material(tmp_path, first.dataset)
    with pytest.raises(TrainingError, match=r"(4\.\d|5) grey levels apart in the mean"):
        parity(candidate(again), again, bundle)


def photograph(size: tuple[int, int], form: str) -> bytes:
    """Encode a picture with edges, gradients and some noise."""
    random = np.random.default_rng(size[0])
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    pixels = np.stack([across, down, 255 - across], axis=-1) + random.normal(0, 8, (size[1], size[0], 3))
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(image).ellipse((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill="white", outline="red")
    content = io.BytesIO()
    image.save(content, form)
    return content.getvalue()


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "form"), [((640, 427), "JPEG"), ((97, 301), "PNG"), ((20, 20), "PNG")])
def test_serving_training_and_torchvision_see_the_same_picture(
    size: tuple[int, int], form: str, interpolation: str, tmp_path: Path
) -> None:
    """torchvision decodes by itself, resizes with torch's own kernels and normalises in its own order."""
    import torch
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    from labelloop.train.parity import grey_levels, normalised
    from labelloop.train.pixels import PixelCache

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    spec = PictureSpec(64, 96, mean, std, "bilinear" if interpolation == "bilinear" else "bicubic")
    content = photograph(size, form)
    sample = shapes.sample(tmp_path, content, (0,))
    served = pictures.prepare(content, spec)[None]
    pixels = torch.from_numpy(PixelCache(spec, tmp_path).many([sample]))
    trained = normalised(pixels, torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)).numpy()
    assert grey_levels(served, trained, spec) < 1e-3
    oracle = v2.Compose(
        [
            v2.Resize((64, 96), v2.InterpolationMode(interpolation), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    expected = oracle(decode_image(encoded, ImageReadMode.RGB)).numpy()[None]
    assert grey_levels(served, expected, spec) < 0.5
