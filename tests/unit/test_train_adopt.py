"""Making a bundle of a model that is there already: what it gives, and what is refused with a remedy."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from labelloop.errors import LabelLoopError, TrainingError
from labelloop.models.bundle import check_bundle
from labelloop.types import Choice, Output
from support.bundles import make_head_bundle

pytestmark = pytest.mark.train

CLASSES = ("cat", "dog", "owl")
WEIGHTS = np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4]], dtype=np.float32)
SIDE = 16


def write_onnx(
    path: Path,
    *,
    last: str = "",
    batch: int | str = "n",
    shape: tuple[int | str, ...] = (3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("scores",),
    pool: str = "GlobalAveragePool",
    weights: np.ndarray[Any, Any] = WEIGHTS,
    flatten: list[int] | None = None,
    opset: int = 17,
) -> Path:
    """Write a network that says which of three colours there is most of; ``last`` is a step after its logits."""
    constants = [numpy_helper.from_array(weights, "w")]
    steps = [helper.make_node(pool, ["pictures"], ["pooled"])]
    if flatten is None:
        steps.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    else:
        constants.append(numpy_helper.from_array(np.array(flatten, dtype=np.int64), "sides"))
        steps.append(helper.make_node("Reshape", ["pooled", "sides"], ["flat"]))
    steps.append(helper.make_node("MatMul", ["flat", "w"], ["logits" if last else "scores"]))
    if last:
        steps.append(helper.make_node(last, ["logits"], ["scores"]))
    graph = helper.make_graph(
        steps,
        "net",
        [helper.make_tensor_value_info("pictures", kind, [batch, *shape])],
        [helper.make_tensor_value_info(name, kind, [batch, weights.shape[1]]) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def quiet(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def make(model: Path, tmp_path: Path, **asked: Any) -> Any:
    from labelloop.train.adopt import ModelFacts, adopt

    folder, work = tmp_path / "bundle", tmp_path / "work"
    for one in (folder, work):
        one.mkdir(exist_ok=True)
    return adopt(model, ModelFacts(**{"classes": CLASSES, "choice": "single", **asked}), folder, work, quiet)


def answer(tmp_path: Path, colour: tuple[int, int, int], count: int = 3) -> Output:
    """Ask the bundle about some pictures of one colour, as a server does."""
    from io import BytesIO

    from PIL import Image

    from labelloop.serve.engines.base import open_engine

    held = BytesIO()
    Image.new("RGB", (40, 30), colour).save(held, "png")
    found = open_engine(tmp_path / "bundle", "onnx").predict([held.getvalue()] * count, "v1")
    assert isinstance(found[-1], Output)
    for one in found:
        assert isinstance(one, Output)
        assert one.scores == pytest.approx(found[-1].scores, abs=1e-5)
    return found[-1]


def scores(colour: tuple[int, int, int], choice: Choice) -> dict[str, float]:
    """What the network must say, worked out here: mean 0.5 and std 0.5, then four times each colour."""
    logits = 4 * (np.array(colour) / 255 - 0.5) / 0.5
    if choice == "multiple":
        return dict(zip(CLASSES, 1 / (1 + np.exp(-logits)), strict=True))
    powers = np.exp(logits)
    return dict(zip(CLASSES, powers / powers.sum(), strict=True))


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize(
    ("last", "choice", "outputs", "found"),
    [
        ("", "single", "auto", "logits, as found"),
        ("Softmax", "single", "auto", "probabilities, as found"),
        ("Softmax", "single", "probabilities", "probabilities, as told"),
        ("", "multiple", "auto", "logits, as found"),
        ("Sigmoid", "multiple", "auto", "probabilities, as found"),
    ],
)
def test_an_onnx_file_gives_the_scores_that_it_gave_before(
    tmp_path: Path, last: str, choice: Choice, outputs: str, found: str, batch: int | str
) -> None:
    source = write_onnx(tmp_path / "net.onnx", last=last, batch=batch)
    made = make(source, tmp_path, choice=choice, outputs=outputs, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    info = check_bundle(tmp_path / "bundle")
    assert (info.classes, info.choice, info.recipe, set(info.files)) == (CLASSES, choice, "adopted", {"model.onnx"})
    assert found in made.notes[0]
    assert any("batch size was fixed" in note for note in made.notes) == (batch == 1)
    for colour in ((200, 40, 90), (0, 255, 0), (10, 20, 250)):
        said = answer(tmp_path, colour)
        assert said.scores == pytest.approx(scores(colour, choice), abs=2e-3)
    assert said.label == "owl"
    if last == "" and batch == "n":
        assert (tmp_path / "bundle/model.onnx").read_bytes() == source.read_bytes()


def test_a_model_is_named_by_its_file_and_by_all_that_is_said_of_it(tmp_path: Path) -> None:
    source = write_onnx(tmp_path / "net.onnx")
    other = write_onnx(tmp_path / "other.onnx", weights=2 * WEIGHTS)
    keys = [
        make(source, tmp_path).key,
        make(source, tmp_path, classes=("dog", "cat", "owl")).key,
        make(source, tmp_path, choice="multiple").key,
        make(source, tmp_path, mean=(0.0, 0.0, 0.0)).key,
        make(source, tmp_path, interpolation="bilinear").key,
        make(other, tmp_path).key,
    ]
    assert len(set(keys)) == len(keys)
    assert make(source, tmp_path, outputs="logits").key == keys[0]


@pytest.mark.parametrize(
    ("made", "asked", "told"),
    [
        ({}, {"classes": ("cat", "dog")}, "tells 3 classes apart, and --classes names 2"),
        ({"batch": 4}, {}, "takes exactly 4 pictures at once: export it with a free batch size"),
        ({"shape": (3, "h", "w")}, {}, "say with --image-size"),
        ({}, {"image_size": 32}, "takes pictures of 16 x 16 pixels, and --image-size says 32"),
        ({"shape": (SIDE, SIDE, 3)}, {}, "pictures x 3 x height x width"),
        ({"kind": TensorProto.FLOAT16}, {}, "takes float16"),
        ({"outputs": ("scores", "pooled")}, {}, r"has 2 outputs \(scores, pooled\)"),
        ({"last": "Sigmoid"}, {}, "cannot be told: say so with --outputs"),
        ({}, {"outputs": "probabilities"}, "which are no probabilities"),
        ({"batch": 1, "flatten": [1, -1], "pool": "GlobalAveragePool"}, {}, "free batch size|one picture at a time"),
        ({"last": "Softmax", "opset": 7}, {}, "opset 7"),
        ({"pool": "NoSuchStep"}, {}, "is no valid ONNX file"),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused_with_what_to_do(
    tmp_path: Path, made: dict[str, Any], asked: dict[str, Any], told: str
) -> None:
    source = write_onnx(tmp_path / "net.onnx", **made)
    with pytest.raises(TrainingError, match=told) as raised:
        make(source, tmp_path, **asked)
    assert "net.onnx" in str(raised.value)
    assert not (tmp_path / "bundle/model.json").exists()


def test_any_size_goes_with_one_that_is_named(tmp_path: Path) -> None:
    source = write_onnx(tmp_path / "net.onnx", shape=(3, "h", "w"))
    made = make(source, tmp_path, image_size=24)
    assert (made.info.picture.height, made.info.picture.width) == (24, 24)
    assert answer(tmp_path, (255, 0, 0)).label == "cat"


@pytest.mark.parametrize("within", [False, True])
def test_weights_in_another_file_are_refused(tmp_path: Path, within: bool) -> None:
    source = write_onnx(tmp_path / "net.onnx")
    model = onnx.load(str(source))
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")
    if within:
        graph = helper.make_graph([helper.make_node("Identity", ["w"], ["inner"])], "inner", [], [], [tensor])
        model.graph.node[0].attribute.append(helper.make_attribute("body", graph))
        model.graph.initializer.pop()
    source.write_bytes(model.SerializeToString())
    with pytest.raises(TrainingError, match=r"net\.onnx keeps weights in another file: save it with all"):
        make(source, tmp_path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl"])
def test_pickled_files_are_never_opened(tmp_path: Path, suffix: str) -> None:
    from labelloop.train.adopt import model_file

    with pytest.raises(TrainingError, match=r"can run code: save .* safetensors\.torch\.save_file"):
        model_file(tmp_path / f"there-is-none{suffix}")


@given(content=st.binary(max_size=200), cut=st.integers(0, 400), suffix=st.sampled_from([".onnx", ".safetensors"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_ends_otherwise_than_in_an_error_that_names_it(
    tmp_path: Path, content: bytes, cut: int, suffix: str
) -> None:
    whole = write_onnx(tmp_path / "whole.onnx").read_bytes()
    source = tmp_path / f"given{suffix}"
    source.write_bytes(content + whole[: cut % len(whole)])
    with pytest.raises(LabelLoopError, match=source.name):
        make(source, tmp_path, backbone="test_resnet")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small timm network for three classes."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("checkpoint") / "net.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def handed(checkpoint: Path) -> tuple[Any, Path]:
    """What was made of it, and the folder of that."""
    folder = checkpoint.parent
    return make(checkpoint, folder, backbone="test_resnet", image_size=32), folder


def test_a_timm_checkpoint_becomes_all_three_files_with_its_own_weights(
    checkpoint: Path, handed: tuple[Any, Path]
) -> None:
    from safetensors.numpy import load_file

    made, folder = handed
    info = check_bundle(folder / "bundle")
    assert set(info.files) == {"model.onnx", "model.safetensors", "model.ts.pt"}
    assert {"picture", *info.files} == set(made.info.parity)
    assert max(value for name, value in made.info.parity.items() if name != "picture") < 1e-3
    given, kept = load_file(checkpoint), load_file(folder / "bundle/model.safetensors")
    assert given.keys() == kept.keys()
    assert all(np.array_equal(given[name], kept[name]) for name in given)
    assert answer(folder, (255, 0, 0)).label in CLASSES


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"backbone": ""}, "say with --backbone which timm network"),
        ({"backbone": "test_convnext"}, r"does not hold the weights of backbone 'test_convnext' \(missing: \d+"),
        ({"backbone": "test_resnets"}, "timm has no network named 'test_resnets'"),
        ({"classes": ("cat", "dog")}, "tells 3 classes apart, and --classes names 2"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(
    checkpoint: Path, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(TrainingError, match=told):
        make(checkpoint, tmp_path, **{"backbone": "test_resnet", "image_size": 32, **asked})
    assert not (tmp_path / "bundle/model.json").exists()


def test_what_labelloop_handed_out_is_taken_back_without_what_is_code(handed: tuple[Any, Path], tmp_path: Path) -> None:
    first, folder = handed
    given = shutil.copytree(folder / "bundle", tmp_path / "given")
    again = make(given, tmp_path)

    assert set(again.info.files) == {"model.onnx", "model.safetensors"}
    assert again.info.picture == first.info.picture
    with pytest.raises(TrainingError, match="for kind single and the classes cat, dog, owl"):
        make(given, tmp_path, classes=("cat", "owl", "dog"))
    (given / "model.onnx").write_bytes(b"other")
    with pytest.raises(LabelLoopError, match=r"model\.onnx is damaged"):
        make(given, tmp_path)


def test_a_head_that_labelloop_handed_out_is_taken_back_by_what_is_its_own(tmp_path: Path) -> None:
    keys = set()
    for gain in (2.0, 4.0):
        handed = tmp_path / f"{gain}"
        info = make_head_bundle(handed, gain=gain, flips=True)
        made = make(handed, handed, classes=info.classes)
        keys.add(made.key)
        assert check_bundle(handed / "bundle") == made.info
        assert (made.info.features, made.info.flips) == (info.features, True)
        assert set(made.info.files) == {"backbone.onnx", "head.safetensors"}
    assert len(keys) == 2, "the backbone's file is the same"
