"""What a batch prediction of Vertex AI leaves behind, as Google and as containers write it."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from labelloop.cloud.base import Folder
from labelloop.cloud.google.batch import BatchPrediction, Predicted
from labelloop.cloud.google.client import Google
from labelloop.errors import CloudError

OF_AUTOML = {
    "prediction-colours-2026-11-30T08:00:00.000Z/predictions_00001.jsonl": (
        '{"instance":{"content":"gs://b/1","mimeType":"image/png"},"prediction":{"displayNames":["red"]}}\n'
        '{"instance":{"content":"gs://b/2","mimeType":"image/png"},"prediction":{"displayNames":["blue"]}}\n'
    ),
    "prediction-colours-2026-11-30T08:00:00.000Z/errors_00001.jsonl": (
        '{"instance":{"content":"gs://b/3","mimeType":"image/tiff"},"error":{"code":3,"message":"it is no picture"}}\n'
        '{"content":"gs://b/2","mimeType":"image/png","error":{"code":13,"message":"once it failed"}}\n'
    ),
}
OF_A_CONTAINER = {
    "prediction-ours-2026_11_30/prediction.results-00000-of-00002": '{"key":"a","prediction":[1]}\n',
    "prediction-ours-2026_11_30/prediction.results-00001-of-00002": '{"key":"b","prediction":{"key":"c"}}\n\n',
    "prediction-ours-2026_11_30/prediction.errors_stats-00000-of-00001": '["Post request fails.", 1]\nno JSON\n',
}


@dataclass
class Disk:
    """A folder of this machine, as far as it is read."""

    path: Path
    uri: str = "gs://team/judged"

    def below(self, name: str) -> "Disk":
        return Disk(self.path / name, f"{self.uri}/{name}")

    def names(self) -> Iterator[str]:
        return (str(one.relative_to(self.path)) for one in self.path.rglob("*") if one.is_file())

    def fetch(self, folder: Path, wanted: Iterable[str]) -> None:
        for name in wanted:
            shutil.copyfile(self.path / name, folder / name)


def read(path: Path, files: dict[str, str]) -> list[Predicted]:
    for name, content in files.items():
        target = path / "out" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    jobs = BatchPrediction(Google("shop", "europe-west4"), cast(Folder, Disk(path)))
    return list(jobs.results(f"gs://team/judged/out/{next(iter(files)).partition('/')[0]}"))


def test_what_failed_comes_before_what_was_answered(tmp_path: Path) -> None:
    def one(name: str) -> Any:
        return {"content": f"gs://b/{name}", "mimeType": "image/png"}

    assert read(tmp_path, OF_AUTOML) == [
        Predicted({"content": "gs://b/3", "mimeType": "image/tiff"}, None, "it is no picture"),
        Predicted(one("2"), None, "once it failed"),
        Predicted(one("1"), {"displayNames": ["red"]}),
        Predicted(one("2"), {"displayNames": ["blue"]}),
    ]


def test_of_instances_with_a_key_the_key_comes_back_and_counts_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, OF_A_CONTAINER) == [Predicted("a", [1]), Predicted("b", {"key": "c"})]


def test_answers_are_read_below_the_folder_alone() -> None:
    jobs = BatchPrediction(Google("shop", "europe-west4"), cast(Folder, Disk(Path("/"))))
    for output in ("", "gs://team/judgedX/out", "gs://others/out"):
        with pytest.raises(CloudError, match="not below gs://team/judged: none is read"):
            list(jobs.results(output))
