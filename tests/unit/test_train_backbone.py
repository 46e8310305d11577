"""Making the network: names, arguments, sizes, and weights that fit or do not."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labelloop.errors import TrainingError
from support.servers import free_port
from support.shapes import settings

pytestmark = pytest.mark.train


def build(classes: int = 3, **given: Any) -> Any:
    from labelloop.train.backbone import build as make

    return make(settings(**given), classes)


@pytest.fixture
def weight_file(tmp_path: Path) -> Path:
    """Weights of a test_resnet with 1000 classes, as the hub has them."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


def test_an_unknown_name_is_answered_with_names_near_it() -> None:
    with pytest.raises(TrainingError, match=r"no network named 'resnet_18'; near: .*resnet18"):
        build(backbone="resnet_18")


def test_arguments_of_the_network_follow_its_name() -> None:
    from timm.layers.conv2d_same import Conv2dSame

    layers = [type(layer) for layer in build(backbone="test_efficientnet?pad_type=same").modules()]
    assert Conv2dSame in layers
    assert Conv2dSame not in [type(layer) for layer in build(backbone="test_efficientnet").modules()]


@pytest.mark.parametrize("backbone", ["test_resnet?no_such=1", "test_resnet?same"])
def test_wrong_arguments_are_named(backbone: str) -> None:
    with pytest.raises(TrainingError, match="test_resnet"):
        build(backbone=backbone)


def test_a_network_of_fixed_size_is_made_for_the_size_wanted() -> None:
    from labelloop.train.backbone import picture_spec

    assert picture_spec(build(backbone="test_vit", image_size=64), 64).width == 64
    assert picture_spec(build(backbone="test_vit", image_size=0), 0).width == 160


def test_a_size_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"33 x 33 pixels.*LABELLOOP_IMAGE_SIZE"):
        build(backbone="test_vit", image_size=33)


def test_a_network_with_two_last_layers_is_refused() -> None:
    with pytest.raises(TrainingError, match="one linear layer"):
        build(backbone="deit_tiny_distilled_patch16_224", image_size=0)


def test_weights_of_a_file_are_loaded_and_its_classifier_is_not(weight_file: Path) -> None:
    from safetensors.torch import load_file

    loaded, file = build(weights=str(weight_file)).state_dict(), load_file(weight_file)
    assert loaded["fc.weight"].shape[0] == 3
    assert all(bool((loaded[name] == tensor).all()) for name, tensor in file.items() if not name.startswith("fc."))


def test_weights_without_classifier_fit(weight_file: Path) -> None:
    from safetensors.torch import load_file, save_file

    body = {name: tensor for name, tensor in load_file(weight_file).items() if not name.startswith("fc.")}
    save_file(body, weight_file)
    build(weights=str(weight_file))


def test_weights_of_another_network_are_refused_naming_a_few_differences(weight_file: Path) -> None:
    with pytest.raises(TrainingError, match=r"missing: \d+ \(.*unexpected: \d+ \(") as caught:
        build(backbone="test_convnext", weights=str(weight_file))
    assert len(str(caught.value)) < 1000


def test_weights_with_one_tensor_missing_are_refused(weight_file: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(weight_file)
    del state["layer1.0.conv1.weight"]
    save_file(state, weight_file)
    with pytest.raises(TrainingError, match=r"missing: 1 \(layer1.0.conv1.weight\)"):
        build(weights=str(weight_file))


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".pt", ".ckpt"])
def test_pickled_weights_are_never_opened(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"weights{suffix}").write_bytes(b"would run code")
    with pytest.raises(TrainingError, match="only safetensors"):
        build(weights=str(tmp_path / f"weights{suffix}"))


@pytest.mark.parametrize("content", [None, b"", b"no safetensors at all"])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"weights\.safetensors"):
        build(weights=str(path))


@contextmanager
def hub(file: bytes | None, status: int = 200) -> Iterator[str]:
    """Answer as the hub does for one file of every repository."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("ETag", '"abc"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(file or b"")))
            self.end_headers()

        def do_GET(self) -> None:
            if "/resolve/" not in self.path:
                body = json.dumps({"siblings": []}).encode()
                self.send_response(404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
            self.do_HEAD()
            self.wfile.write(file or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An empty hub cache of this test's own."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return monkeypatch


def ask(address: str, patch: pytest.MonkeyPatch) -> None:
    """Let the hub be at ``address``: what HF_ENDPOINT does to a new process."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


def test_pretrained_weights_come_from_the_hub_once(cached: pytest.MonkeyPatch, weight_file: Path) -> None:
    from safetensors.torch import load_file

    with hub(weight_file.read_bytes()) as address:
        ask(address, cached)
        fetched = build(weights="pretrained").state_dict()
    again = build(weights="pretrained").state_dict()  # the hub is gone
    expected = load_file(weight_file)["conv1.0.weight"]
    assert bool((fetched["conv1.0.weight"] == expected).all())
    assert bool((again["conv1.0.weight"] == expected).all())


def test_without_a_hub_the_ways_out_are_named_within_seconds(cached: pytest.MonkeyPatch) -> None:
    ask(f"http://127.0.0.1:{free_port()}", cached)
    build(weights="none")  # what else takes its time: torch is imported
    begun = time.monotonic()
    with pytest.raises(TrainingError, match="hub cannot be reached") as caught:
        build(weights="pretrained")
    assert time.monotonic() - begun < 10
    for way in ("LABELLOOP_WEIGHTS=none", "LABELLOOP_WEIGHTS=FILE", "HF_HOME", "HF_HUB_OFFLINE", "LABELLOOP_BACKBONE"):
        assert way in str(caught.value)


def test_a_hub_that_refuses_is_not_asked_again(cached: pytest.MonkeyPatch) -> None:
    with hub(b"", status=503) as address:
        ask(address, cached)
        with pytest.raises(TrainingError, match="the hub answered 503"):
            build(weights="pretrained")


def test_offline_no_hub_is_asked(cached: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    cached.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TrainingError, match="HF_HUB_OFFLINE is set"):
        build(weights="pretrained")


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("test_resnet", 0),
        ("test_resnet", 32),
        ("test_vit", 0),
        ("mobilenetv2_100?pad_type=same", 160),
        ("resnet18.a1_in1k", 0),
    ],
)
def test_what_pictures_a_network_takes_is_known_without_making_it(backbone: str, size: int) -> None:
    from labelloop.train.backbone import picture_spec, spec_of

    given = settings(backbone=backbone, weights="none", image_size=size)
    assert spec_of(given) == picture_spec(build(backbone=backbone, weights="none", image_size=size), size)
