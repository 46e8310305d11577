"""What a bundle's network makes of pictures: the same as in training, without torch, and why some have no features."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from labelloop.errors import BundleError, Unreadable
from labelloop.watch.features import FeatureExtractor, comparable
from support.bundles import make_bundle, make_head_bundle, picture


def test_features_are_what_the_last_layer_takes(tmp_path: Path) -> None:
    """The network of these bundles takes the mean of each channel there."""
    make_bundle(tmp_path)
    features = FeatureExtractor(tmp_path)
    assert features(picture("red")) == pytest.approx([10, 0, 0])
    assert features(picture("yellow")) == pytest.approx([10 / np.sqrt(2), 10 / np.sqrt(2), 0])
    with pytest.raises(Unreadable):
        features(b"no picture")


def test_weights_that_are_transposed_and_cast_before_their_use_are_a_last_layer_too(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    graph = model.graph
    last = graph.node[-1]
    earlier = [onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32)[::-1] * 2, "earlier")]
    graph.initializer.extend(earlier)
    made = [
        onnx.helper.make_node("MatMul", [last.input[0], "earlier"], ["turned"]),
        onnx.helper.make_node("Transpose", [last.input[1]], ["across"]),
        onnx.helper.make_node("Cast", ["across"], ["cast"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("MatMul", ["turned", "cast"], [last.output[0]]),
    ]
    del graph.node[-1]
    graph.node.extend(made)
    onnx.save(model, tmp_path / "model.onnx")
    assert FeatureExtractor(tmp_path)(picture("red")) == pytest.approx([0, 0, 10]), "behind the earlier layer"


def test_features_become_rows_of_one_length_whatever_their_sign() -> None:
    assert comparable(np.array([4.0, -9.0, 0.0])) == pytest.approx(np.array([2, -3, 0]) * 10 / np.sqrt(13))
    assert comparable(np.zeros(3)).tolist() == [0, 0, 0]


def test_a_network_without_a_last_layer_is_said(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    del model.graph.node[-1]
    model.graph.output[0].name = "features"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BundleError, match="no last layer of weights"):
        FeatureExtractor(tmp_path)


def test_a_last_layer_that_looks_at_every_pixel_takes_no_features_of_pictures(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    last = model.graph.node[-1]
    last.CopyFrom(onnx.helper.make_node("MatMul", ["pictures", "weights"], ["logits"]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        FeatureExtractor(tmp_path)


@pytest.mark.train
def test_features_of_a_trained_network_are_those_of_torch_with_and_without_flips(tmp_path: Path) -> None:
    import torch

    from labelloop import pictures
    from labelloop.train.backbone import pre_logits
    from labelloop.train.bundle import load_network
    from labelloop.train.export import LOGITS
    from labelloop.train.frozen import write_flipped_onnx
    from support import shapes, small_network

    samples = shapes.samples(tmp_path, 2, seed=0)
    bundle = tmp_path / "bundle"
    small_network.make_bundle(bundle, samples, steps=1)
    content = samples[0].path.read_bytes()
    with torch.no_grad():
        images = torch.from_numpy(pictures.prepare(content, small_network.SPEC)[None])
        expected = comparable(pre_logits(load_network(bundle), images)[0].numpy())
    assert FeatureExtractor(bundle)(content) == pytest.approx(expected, abs=1e-3)
    write_flipped_onnx(bundle / "model.onnx", bundle / "model.onnx", LOGITS)
    assert FeatureExtractor(bundle)(content) == pytest.approx(expected, abs=1e-3)


def test_features_of_a_head_are_those_that_it_answers_by(tmp_path: Path) -> None:
    make_head_bundle(tmp_path, flips=True)
    assert FeatureExtractor(tmp_path)(picture("red")) == pytest.approx(np.array([1, 1, 0, 0, 0, 0]) * 10 / np.sqrt(2))
