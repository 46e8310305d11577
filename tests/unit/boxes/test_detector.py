"""The detector learns boxes, goes on where it was killed, and is served as it was trained."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from labelloop.bundle_info import PictureSpec
from labelloop.errors import TrainingError
from labelloop.kinds.object_detection.engine import DetectorEngine
from labelloop.kinds.object_detection.info import DetectorInfo
from labelloop.models.bundle import check_bundle
from labelloop.types import Failure, Findings, Json, TrainSettings
from support import scattered

if TYPE_CHECKING:
    from labelloop.kinds.object_detection.recipes.examples import Example, Examples
    from labelloop.kinds.object_detection.recipes.network import Detector

pytestmark = pytest.mark.train

SPEC = PictureSpec(height=64, width=96, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def examples_of(folder: Path, numbers: range) -> "list[Example]":
    from labelloop.kinds.object_detection.recipes.examples import Example
    from labelloop.train.dataset import Sample

    found = []
    for number in numbers:
        path, regions = scattered.picture(folder, number)
        found.append(Example.of(Sample(path, scattered.sha256(path), ()), regions, scattered.CLASSES))
    return found


def trained(folder: Path, settings: TrainSettings) -> Json:
    from labelloop.kinds.object_detection.recipes.sizes import Size
    from labelloop.kinds.object_detection.recipes.training import Place, Sides, train

    some, others = examples_of(folder, range(30)), examples_of(folder, range(30, 40))
    sides = Sides(scattered.CLASSES, tuple(some), tuple(others))
    return train(sides, Size(SPEC, 14.0), settings, folder / "bundle", Place(folder / "caches"), lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a bundle that learned to find what they show."""
    folder = tmp_path_factory.mktemp("detector")
    first = scattered.weights(folder)
    settings = TrainSettings(
        backbone="test_resnet", weights=str(first), weights_hash="first", epochs=3, learning_rate=0.008
    )
    (folder / "train.json").write_text(json.dumps(trained(folder, settings)))
    return folder


def test_both_recipes_learn_and_the_better_one_serves(folder: Path) -> None:
    found = json.loads((folder / "train.json").read_text())
    assert found["recipe"] == "finetune"
    assert found["validation"]["finetune"] > max(0.8, found["validation"]["head"])
    assert {name: len(epochs) for name, epochs in found["curves"].items()} == {"head": 8, "finetune": 8}
    info = check_bundle(folder / "bundle")
    assert isinstance(info, DetectorInfo)
    assert (info.kind, info.classes, info.strides) == ("object-detection", scattered.CLASSES, (8, 16, 32))
    assert info.parity["model.onnx"] < 1e-3


def engine_of(folder: Path) -> DetectorEngine:
    info = check_bundle(folder / "bundle")
    assert isinstance(info, DetectorInfo)
    return DetectorEngine(folder / "bundle", info)


def test_the_engine_finds_what_pictures_show_and_measures_with_all_it_finds(folder: Path) -> None:
    from labelloop.kinds.object_detection.recipes.choosing import overlaps

    engine, found, there = engine_of(folder), 0, 0
    for number in range(30, 40):
        path, regions = scattered.picture(folder, number)
        answer, unreadable = engine.predict([path.read_bytes(), b"no picture"], "v1")
        assert isinstance(answer, Findings)
        assert isinstance(unreadable, Failure)
        assert (answer.model_version, answer.size) == ("v1", (scattered.WIDTH, scattered.HEIGHT))
        (everything,) = engine.measured.predict([path.read_bytes()], "v1")
        assert isinstance(everything, Findings)
        assert set(answer.regions) < set(everything.regions)
        doubts = [one.score if one in answer.regions else 1 - (one.score or 0) for one in everything.regions]
        assert answer.score == min(one for one in doubts if one is not None), "a box that is left out counts, too"
        for region in regions:
            same = tuple(one for one in answer.regions if one.label == region.label)
            shared = overlaps(scattered.corners(same), scattered.corners((region,)))
            found, there = found + bool((shared > 0.5).any()), there + 1
    assert found >= 0.75 * there


def test_suppression_in_the_graph_is_torchvisions(tmp_path: Path) -> None:
    """ONNX's NonMaxSuppression and torchvision's are written by others, and find the same."""
    import onnx
    import onnxruntime
    import torch
    from torchvision.ops import batched_nms

    from labelloop.kinds.object_detection.engine import OUTPUTS
    from labelloop.kinds.object_detection.recipes.export import NAMES, PLACES, suppress

    shapes: dict[str, list[str | int]] = {PLACES: ["n", 50, 4], NAMES: ["n", 2, 50]}
    inputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, one) for name, one in shapes.items()]
    graph = onnx.helper.make_graph([], "nothing", inputs, [])
    suppress(graph, 0.4, 0.2)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    chance = np.random.default_rng(0)
    first = chance.uniform(0, 0.6, (3, 50, 2))
    corners = np.concatenate([first, first + chance.uniform(0.1, 0.4, (3, 50, 2))], axis=2).astype(np.float32)
    scores = chance.uniform(0, 1, (3, 2, 50)).astype(np.float32)

    places, kept, sure = session.run(OUTPUTS, {PLACES: corners, NAMES: scores})

    assert 0 < len(sure) < (scores > 0.2).sum()
    for picture in range(3):
        labels, cells = np.nonzero(scores[picture] > 0.2)
        left = torch.from_numpy(corners[picture][cells]), torch.from_numpy(scores[picture][labels, cells])
        rows = batched_nms(*left, torch.from_numpy(labels), 0.4).numpy()
        own = np.flatnonzero(places[:, 0] == picture)
        own = own[np.argsort(-sure[own])]
        assert places[own, 1].tolist() == labels[rows].tolist()
        assert np.array_equal(kept[own], corners[picture][cells][rows])
        assert np.array_equal(sure[own], scores[picture][labels, cells][rows])


def small(labels: int = 2) -> "Detector":
    import torch

    from labelloop.kinds.object_detection.recipes.network import Detector, build_body

    torch.manual_seed(0)
    body = build_body(TrainSettings(backbone="test_resnet", weights="none"), SPEC)
    return Detector(body, labels, (8, 16, 32), (SPEC.height, SPEC.width)).eval()


def drawn(folder: Path, numbers: range) -> "Examples":
    from labelloop import pictures
    from labelloop.kinds.object_detection.recipes.examples import Examples
    from labelloop.train.augmentations.policy import load_policy

    some = examples_of(folder, numbers)
    pixels = np.stack([pictures.fitted(one.sample.path.read_bytes(), SPEC) for one in some])
    return Examples(some, pixels, SPEC, load_policy("light"))


def test_validation_pictures_without_a_box_are_no_figure(tmp_path: Path) -> None:
    from labelloop.kinds.object_detection.recipes.training import reached

    held = drawn(tmp_path, range(2))
    empty = [replace(one, corners=one.corners[:0], labels=one.labels[:0]) for one in held.examples]
    assert [*reached(small(), held)] == ["validation_ap50"]
    assert reached(small(), replace(held, examples=empty)) == {}


@pytest.mark.parametrize("way", ["h", "v", "hv"])
def test_with_mirror_images_a_mirrored_picture_gives_the_mirrored_boxes(tmp_path: Path, way: str) -> None:
    import torch

    from labelloop.kinds.object_detection.recipes.detecting import averaged
    from labelloop.kinds.object_detection.recipes.examples import FLIPS

    detector, images = small(), drawn(tmp_path, range(2)).plain(range(2)).images
    with torch.inference_mode():
        logits, corners = averaged(detector, images, ("h", "v", "hv"))
        again, mirrored = averaged(detector, images.flip(FLIPS[way]), ("h", "v", "hv"))
    torch.testing.assert_close(detector.flipped(again, FLIPS[way]), logits, atol=1e-4, rtol=1e-4)
    back = detector.flipped(mirrored, FLIPS[way])
    if "h" in way:
        back = torch.stack([96 - back[..., 2], back[..., 1], 96 - back[..., 0], back[..., 3]], dim=-1)
    if "v" in way:
        back = torch.stack([back[..., 0], 64 - back[..., 3], back[..., 2], 64 - back[..., 1]], dim=-1)
    torch.testing.assert_close(back, corners, atol=1e-2, rtol=1e-4)


def test_every_box_is_learned_by_cells_within_it_however_small_it_is() -> None:
    import torch

    from labelloop.kinds.object_detection.recipes.losses import Truth, assign

    detector = small()
    large, tiny = (10, 10, 50, 50), (70, 33, 72, 35)
    truth = Truth.of(
        [
            (np.array([large, tiny], dtype=np.float32), np.array([0, 1])),
            (np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)),
        ]
    )
    with torch.inference_mode():
        logits, corners = detector(torch.zeros(2, 3, 64, 96))
        box, fit = assign(detector, logits.sigmoid(), corners, truth)
    assert not (fit[1] > 0).any()
    for at, (left, top, right, bottom) in enumerate((large, tiny)):
        centres = detector.centres[(fit[0] > 0) & (box[0] == at)]
        assert 1 <= len(centres) <= 10
        assert ((centres[:, 0] >= left - 4) & (centres[:, 0] <= right + 4)).all()
        assert ((centres[:, 1] >= top - 4) & (centres[:, 1] <= bottom + 4)).all()


class Killed(Exception):
    """Stands for a signal."""


@pytest.mark.parametrize("remembers", [True, False])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path, *, remembers: bool) -> None:
    import torch

    from labelloop.kinds.object_detection.recipes import fitting
    from labelloop.kinds.object_detection.recipes.maps import kept

    examples = drawn(tmp_path, range(4))
    plan = fitting.Plan(epochs=3, steps=2, batch=2, rate=1e-3, body=0.0 if remembers else 1e-3)

    def fit(progress: Callable[[str, int, int], None], checkpoint: Path | None) -> "Detector":
        detector = small()
        with kept(detector, examples, 2, 0, tmp_path / "maps", lambda *_: None) as maps:
            source = fitting.Remembered(maps) if remembers else fitting.Seen(examples, learns=True)
            told = fitting.Told("head", progress)
            fitting.fit(detector, source, plan, 0, told, checkpoint)
        return detector

    def kill(_: str, done: int, total: int) -> None:
        if done == total - 1:
            raise Killed

    whole = fit(lambda *_: None, None)
    checkpoint = fitting.checkpoint_file(tmp_path / "checkpoints", "head", small(), ("facts",))
    with pytest.raises(Killed):
        fit(kill, checkpoint)
    done: list[int] = []
    again = fit(lambda _, at, __: done.append(at), checkpoint)
    assert 1 < done[0] < done[-1] == 6
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not any(Path(tmp_path / "maps").iterdir())


def test_what_learns_nothing_says_so(tmp_path: Path) -> None:
    from labelloop.kinds.object_detection.recipes.sizes import Size
    from labelloop.kinds.object_detection.recipes.training import Place, Sides, train

    (one,) = examples_of(tmp_path, range(1))
    bare = type(one)(one.sample, one.corners[:0], one.labels[:0])
    settings: dict[str, Any] = {"backbone": "test_resnet", "weights": "none"}

    def fail(sides: Sides, **more: Any) -> str:
        with pytest.raises(TrainingError) as found:
            train(
                sides,
                Size(SPEC, 14.0),
                TrainSettings(**settings, **more),
                tmp_path / "b",
                Place(tmp_path),
                lambda *_: None,
            )
        return str(found.value)

    assert "none of the 1 training pictures has a box" in fail(Sides(scattered.CLASSES, (bare,), ()))
    assert "a head on random weights" in fail(Sides(scattered.CLASSES, (one,), ()), recipes=("head",))
