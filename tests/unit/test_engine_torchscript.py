"""The TorchScript engine, and the choice between the engines."""

import sys
from pathlib import Path

import pytest

from labelloop.errors import BundleError, SettingsError
from labelloop.models.file_store import FileStore
from labelloop.serve.engines.base import open_engine
from labelloop.serve.engines.network import NetworkEngine
from labelloop.serve.options import ServeOptions
from labelloop.serve.server import serve
from labelloop.serve.stored import StoreCatalog
from labelloop.settings import Settings
from labelloop.types import Failure, Output, ProjectKey, Target
from support.bundles import make_bundle, picture, publish_bundle

PROJECT = ProjectKey("ls", 7)


def cached(folder: Path) -> set[str]:
    """Name the weight files that were downloaded."""
    return {file.name for file in folder.rglob("model.*")} - {"model.json"}


@pytest.mark.train
@pytest.mark.parametrize("kind", ["single", "multiple"])
def test_both_engines_give_the_same_answers(kind: str, tmp_path: Path) -> None:
    make_bundle(tmp_path, choice="multiple" if kind == "multiple" else "single", torchscript=True)
    contents = [picture(colour) for colour in ("red", "yellow", "grey", "navy")] * 5
    contents[3] = b"no picture"
    ours, theirs = (open_engine(tmp_path, engine).predict(contents, "v1") for engine in ("onnx", "torchscript"))
    assert len(ours) == len(theirs) == 20
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, Failure):
            assert one == other
        else:
            assert isinstance(one, Output)
            assert isinstance(other, Output)
            assert (other.label, other.choice) == (one.label, one.choice)
            assert other.scores == pytest.approx(one.scores, abs=1e-6)


@pytest.mark.train
def test_a_torchscript_file_that_is_not_the_described_one_is_never_loaded(tmp_path: Path) -> None:
    """It holds code: damaged or exchanged, it is refused before torch sees it."""
    make_bundle(tmp_path / "other", gain=2.0, torchscript=True)
    make_bundle(tmp_path / "bundle", torchscript=True)
    (tmp_path / "bundle/model.ts.pt").write_bytes((tmp_path / "other/model.ts.pt").read_bytes())
    with pytest.raises(BundleError, match=r"model\.ts\.pt is damaged, its sha256 is not the one in model\.json"):
        open_engine(tmp_path / "bundle", "torchscript")


@pytest.mark.train
def test_a_torchscript_file_that_torch_cannot_read_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("model.ts.pt").write_bytes(b"no archive")
    make_bundle(tmp_path)
    with pytest.raises(BundleError, match=r"model\.ts\.pt cannot be loaded: "):
        open_engine(tmp_path, "torchscript")


@pytest.mark.train
def test_a_bundle_without_torchscript_says_so(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    with pytest.raises(BundleError, match=r"there is no model\.ts\.pt; export the version again, or use another"):
        open_engine(tmp_path, "torchscript")


@pytest.mark.train
def test_two_engines_share_a_cache_and_each_downloads_what_it_runs(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    publish_bundle(store, PROJECT, tmp_path, run="one", torchscript=True)
    for engine, expected in (("onnx", {"model.onnx"}), ("torchscript", {"model.ts.pt", "model.onnx"})):
        choice = StoreCatalog(store, tmp_path / "cache", 2, engine).choose(Target(PROJECT))
        (answer,) = choice.engine.predict([picture("red")], choice.version)
        assert isinstance(answer, Output)
        assert answer.label == "red"
        assert cached(tmp_path / "cache") == expected


def test_the_default_engine_runs_onnx(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    engine = open_engine(tmp_path, Settings().engine)
    assert isinstance(engine, NetworkEngine)
    assert engine.network.file == "model.onnx"


def test_without_torch_the_way_out_is_said_before_anything_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    make_bundle(tmp_path)
    with pytest.raises(SettingsError, match=r"ENGINE=torchscript needs torch.*image of the target `worker`"):
        serve(ServeOptions(bundle=tmp_path), Settings(model_dir=str(tmp_path), engine="torchscript"), {})


def test_an_engine_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"ENGINE: 'tensorrt' is no engine\. Possible are onnx, onnx-float32, torchscript"
    ):
        serve(ServeOptions(), Settings(model_dir=str(tmp_path), engine="tensorrt"), {})
