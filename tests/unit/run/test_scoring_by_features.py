"""Versions that are heads answer test items by features that are at hand; no picture is opened, no network loaded."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from labelloop.models.bundle import read_network_info
from labelloop.models.features import Features, feature_folder
from labelloop.models.file_store import FileStore
from labelloop.run.context import Context
from labelloop.run.folder import RunFolder
from labelloop.run.scoring import VersionOpponent
from labelloop.serve.engines import head as heads
from labelloop.serve.engines.base import open_engine
from labelloop.settings import Settings
from labelloop.types import Failure, Item, Output, ProjectKey
from support.bundles import make_head_bundle, picture

COLOURS = ("red", "green", "blue")


@pytest.mark.parametrize("flips", [False, True])
def test_items_with_features_need_no_picture_and_the_others_are_asked_as_ever(
    flips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    make_head_bundle(bundle, flips=flips)
    settings = Settings(model_dir=str(tmp_path))
    features = partial(Features, FileStore(tmp_path / "store"), ProjectKey("1", 7), cache=feature_folder(settings))
    context = Context(RunFolder(tmp_path / "run"), settings, lambda *_: None, features=features)
    contents = [picture(colour) for colour in COLOURS]
    items = [Item(at, hashlib.sha256(content).hexdigest(), ()) for at, content in enumerate(contents)]
    engine = open_engine(bundle, "onnx")
    expected = engine.predict(contents, "v1")
    assert isinstance(engine, heads.HeadEngine)
    rows = np.stack([one.row for one in engine.see(contents, "v1") if not isinstance(one, Failure)])
    by = VersionOpponent("v1", bundle)

    for content in contents:
        context.pictures.add(content)
    assert list(by.answers(context, items)) == expected, "nothing is at hand yet"

    kept = features(read_network_info(bundle).features, rows.shape[1])
    kept.keep([item.content for item in items[1:]], rows[1:])
    kept.keep([item.content for item in items[1:]], rows[1:], mirrored=True)
    for item in items[1:]:
        context.pictures.path(item.content).unlink()
    given = list(by.answers(context, items))
    for one, other in zip(given, expected, strict=True):
        assert isinstance(one, Output)
        assert isinstance(other, Output)
        assert one.label == other.label
        assert one.scores == pytest.approx(other.scores, abs=1e-3)

    monkeypatch.delattr(heads, "LOADED")
    assert len(list(by.answers(context, items[1:]))) == 2, "no network is loaded for them"
    without = replace(context, features=None)
    with pytest.raises(ImportError):
        list(by.answers(without, items[1:]))
