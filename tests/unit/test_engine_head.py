"""Heads: the same answers by features and by pictures, and one loaded backbone for all that share it."""

import gc
import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from safetensors.numpy import save_file

from labelloop.bundle_info import HEAD
from labelloop.errors import BundleError
from labelloop.models.file_store import FileStore
from labelloop.serve.engines.base import Engine, open_engine
from labelloop.serve.engines.head import LOADED, Head, HeadEngine
from labelloop.serve.engines.network import BATCH, Network
from labelloop.serve.stored import StoreCatalog
from labelloop.types import Failure, Output, ProjectKey, Target
from support.bundles import make_head_bundle, picture, publish_bundle

PROJECT = ProjectKey("localhost-8080", 7)


def halves(left: str, right: str, folder: Path) -> bytes:
    """Encode a picture of two colours."""
    image = Image.new("RGB", (8, 8), right)
    image.paste(Image.new("RGB", (4, 8), left), (0, 0))
    image.save(folder / "halves.png")
    return (folder / "halves.png").read_bytes()


def opened(bundle: Path, engine: str = "onnx") -> HeadEngine:
    found = open_engine(bundle, engine)
    assert isinstance(found, HeadEngine)
    return found


@pytest.mark.parametrize("engine", ["onnx", pytest.param("torchscript", marks=pytest.mark.train)])
@pytest.mark.parametrize(("flips", "share"), [(False, 4), (True, 2)])
def test_a_head_answers_by_its_backbone_and_flips_are_the_mean_of_both(
    engine: str, flips: bool, share: float, tmp_path: Path
) -> None:
    make_head_bundle(tmp_path, flips=flips, torchscript=engine == "torchscript")
    content = halves("red", "blue", tmp_path)
    (answer,) = opened(tmp_path, engine).predict([content], "v3")
    assert isinstance(answer, Output)
    red, blue = math.exp(share), math.exp(4 - share)
    assert answer.scores == pytest.approx(
        {"red": red / (red + blue + 1), "green": 1 / (red + blue + 1), "blue": blue / (red + blue + 1)}
    )
    assert answer.model_version == "v3"


def test_answers_by_features_are_those_by_pictures(tmp_path: Path) -> None:
    info = replace(make_head_bundle(tmp_path, choice="multiple", flips=True), thresholds={"green": 0.9})
    (tmp_path / "model.json").write_text(info.to_json())
    engine, head = opened(tmp_path), Head.read(tmp_path, info)
    contents = [picture(colour) for colour in ("red", "yellow", "navy") * 4]
    contents[1] = b"no picture"
    seen = engine.see(contents, "v1")
    answers = engine.predict(contents, "v1")
    assert [one if isinstance(one, Failure) else one.answer for one in seen] == answers
    assert isinstance(seen[1], Failure)
    assert len(contents) > BATCH
    rows = np.stack([one.row for one in seen if not isinstance(one, Failure)])
    assert rows.shape == (len(contents) - 1, head.width)
    assert head.answers(rows, "v1") == [one for one in answers if isinstance(one, Output)]
    assert head.answers(rows[:0], "v1") == []
    assert isinstance(head.answers(np.full((1, 6), np.nan, dtype=np.float32), "v1")[0], Failure)
    with pytest.raises(BundleError, match=r"takes 6 features of an item and was given \(2, 5\)"):
        head.answers(rows[:2, :5], "v1")


def test_a_head_that_is_none_or_of_another_width_is_refused(tmp_path: Path) -> None:
    info = make_head_bundle(tmp_path)
    whole = (tmp_path / HEAD).read_bytes()
    (tmp_path / HEAD).write_bytes(whole[:-1] + b"x")
    with pytest.raises(BundleError, match=r"head\.safetensors is damaged"):
        open_engine(tmp_path, "onnx")

    def described(**layer: npt.NDArray[np.floating[Any]]) -> None:
        save_file(layer, tmp_path / HEAD)
        known = {**info.files, HEAD: hashlib.sha256((tmp_path / HEAD).read_bytes()).hexdigest()}
        (tmp_path / "model.json").write_text(replace(info, files=known).to_json())

    for weight, bias, said in (
        (np.zeros((3, 5), np.float32), np.zeros(3, np.float32), "gives 6 features where head.safetensors takes 5"),
        (np.zeros((2, 6), np.float32), np.zeros(2, np.float32), r"\(2, 6\) and \(2,\) where model.json calls for 3"),
        (np.zeros((3, 6), np.float16), np.zeros(3, np.float32), "has float16"),
    ):
        described(weight=weight, bias=bias)
        with pytest.raises(BundleError, match=said):
            open_engine(tmp_path, "onnx")
    described(weights=np.zeros((3, 6), np.float32))
    with pytest.raises(BundleError, match="is no head"):
        open_engine(tmp_path, "onnx")
    (tmp_path / "model.json").write_text(info.to_json())
    (tmp_path / HEAD).write_bytes(whole)
    assert open_engine(tmp_path, "onnx")


def backbone_of(engine: Engine) -> object:
    assert isinstance(engine, HeadEngine)
    return engine.backbone


def test_versions_share_a_loaded_backbone_as_long_as_one_is_there(tmp_path: Path) -> None:
    for run, gain in (("one", 2.0), ("two", 4.0)):
        make_head_bundle(tmp_path / run, gain=gain)
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda run: open_engine(tmp_path / run, "onnx"), ("one", "two") * 4))
    assert len({id(backbone_of(engine)) for engine in engines}) == 1
    scores = {engine.predict([picture("red")], "v1")[0].score for engine in engines}  # type: ignore[union-attr]
    assert len(scores) == 2
    hashed = engines[0].info.files["backbone.onnx"]
    known = backbone_of(engines[0])
    assert LOADED.get(hashed, _anew) is known
    del engines, known
    gc.collect()
    with pytest.raises(BundleError, match="loaded anew"):
        LOADED.get(hashed, _anew)


def _anew() -> Network:
    raise BundleError("loaded anew")


def test_a_server_of_the_store_loads_a_backbone_once_for_all_versions(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    catalog = StoreCatalog(store, tmp_path / "cache", 2)
    publish_bundle(store, PROJECT, tmp_path, run="one", head=True)
    first = catalog.choose(Target(PROJECT))
    publish_bundle(store, PROJECT, tmp_path, run="two", head=True, gain=1.0)
    second = catalog.choose(Target(PROJECT, "v2"))
    assert (first.version, second.version) == ("v1", "v2")
    assert backbone_of(first.engine) is backbone_of(second.engine)
    assert first.engine.predict([picture("red")], "v1") != second.engine.predict([picture("red")], "v1")
