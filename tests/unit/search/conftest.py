"""A search's folder and its study, without any training."""

from pathlib import Path

import optuna
import pytest

from labelloop.run.folder import RunFolder
from labelloop.run.search.journal import open_study
from labelloop.run.search.search_folder import SearchFolder
from labelloop.run.search.space import Space, Values


@pytest.fixture
def folder(tmp_path: Path) -> SearchFolder:
    made = SearchFolder(RunFolder(tmp_path))
    made.path.mkdir()
    return made


@pytest.fixture
def study(folder: SearchFolder) -> optuna.Study:
    return open_study(folder, warmup=1)


@pytest.fixture
def space() -> Space:
    lists: dict[str, Values] = {"models": ("a", "b"), "sizes": (32, 64), "optimizers": ("adamw", "sgd")}
    lists |= {"augmentations": ("none", "light"), "learning_rates": (1e-4, 1e-1)}
    return Space(lists, ("head", "finetune"))
