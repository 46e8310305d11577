"""Texts are compared by their static embeddings, which come with a package."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labelloop.errors import TrainingError
from labelloop.kinds.base import Learned
from labelloop.kinds.named_entity_recognition import KIND
from labelloop.kinds.texts import likeness
from labelloop.settings import Settings
from labelloop.types import Item

BANK, MONEY, FOREST, LOST = (
    Item.of_text(at, text, ())
    for at, text in enumerate(("The bank lends money.", "A loan from the bank", "Owls live in the forest.", ""))
)


def test_the_most_similar_text_comes_first(tmp_path: Path) -> None:
    settings = Settings(model_dir=str(tmp_path))
    learned = Learned((FOREST, MONEY, LOST, BANK), tmp_path, {}, settings)
    found = KIND.nearest(BANK, learned, lambda *_: None)
    assert [item for item, _ in found] == [MONEY, FOREST]
    assert 1 >= found[0][1] > found[1][1]
    assert KIND.nearest(LOST, learned, lambda *_: None) == []


def test_features_are_those_of_texts_at_hand(tmp_path: Path) -> None:
    items, rows = KIND.features([BANK, LOST, BANK, FOREST], Settings(model_dir=str(tmp_path)), lambda *_: None)
    assert list(items) == [BANK, FOREST]
    assert rows.shape == (2, 256)
    assert np.isfinite(rows).all()


def test_without_the_package_texts_cannot_be_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(likeness, "packaged", lambda: None)
    settings = Settings(model_dir=str(tmp_path))
    assert KIND.nearest(BANK, Learned((MONEY,), tmp_path, {}, settings), lambda *_: None) == []
    with pytest.raises(TrainingError, match="install the package wordllama"):
        KIND.features([replace(BANK)], settings, lambda *_: None)
