"""A search's folder and its study, without any training."""

from pathlib import Path

import optuna
import pytest

from labelloop.run.folder import RunFolder
from labelloop.run.search.journal import open_study
from labelloop.run.search.search_folder import SearchFolder
from labelloop.run.search.space import Space


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
    return Space(("a", "b"), (32, 64), ("adamw", "sgd"), ("none", "light"), (1e-4, 1e-1), ("head", "finetune"))
