"""A run that a loop handed over to a custom job of Vertex AI: what is read of a mounted bucket, and what is left."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from labelloop.cloud.places import write_shards
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.data.shards import pictures_of, shards
from labelloop.errors import Damaged, SettingsError
from labelloop.run.container import Container, find_container
from labelloop.run.context import Labeled
from labelloop.run.folder import RunFolder
from labelloop.run.handed_over import Progress, is_handed_over, mounted_source
from labelloop.types import TEXTS, Item, ProjectKey

LOCATION = "gs://bucket/team/vertex-job/source/abc/"


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A bucket with the labels and the pictures of a run."""
    place = tmp_path / "gcs/bucket/team/vertex-job"
    here = PictureCache(tmp_path / "here")
    items = [Item(task, here.add(b"picture %d" % task), ("cat",)) for task in range(1, 6)]
    source = RunFolder(place / "source/abc")
    source.path.mkdir(parents=True)
    Labeled(Manifest.of(ProjectKey("local", 1), "single", ("cat",), items)).write(source)
    names = []
    for one in shards(pictures_of(Labeled.read(source).manifest), here):
        one.write(here, place / "pictures" / one.name)
        names.append(one.name)
    (source.path / "shards.json").write_bytes(write_shards("gs://bucket/team/vertex-job/pictures/", names))
    return tmp_path / "gcs"


@pytest.fixture
def container(mount: Path) -> Container:
    base = "gs://bucket/team/vertex-job/runs/abc"
    found = find_container({"AIP_MODEL_DIR": f"{base}/model/", "GCS_MOUNT_DIR": str(mount)})
    assert found is not None
    return found


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def test_labels_and_pictures_come_from_the_mounted_bucket(
    container: Container, folder: RunFolder, tmp_path: Path
) -> None:
    cache = PictureCache(tmp_path / "there")
    read = mounted_source(container, folder, LOCATION, cache)
    assert read is not None
    manifest = read(Told()).manifest
    assert len(manifest.items) == 5
    assert all(cache.has(picture) for picture in pictures_of(manifest))


def test_texts_come_in_the_labels_beside_a_shard_of_nothing(
    container: Container, folder: RunFolder, mount: Path
) -> None:
    source = RunFolder(mount / "bucket/team/vertex-job/source/abc")
    items = [Item.of_text(task, f"text {task}", ("good",)) for task in range(1, 4)]
    Labeled(Manifest.of(ProjectKey("local", 1), "single", ("good",), items, kind=TEXTS)).write(source)
    (empty,) = shards(pictures_of(Labeled.read(source).manifest), PictureCache(folder.path))
    empty.write(PictureCache(folder.path), mount / "bucket/team/vertex-job/pictures" / empty.name)
    (source.path / "shards.json").write_bytes(write_shards("gs://bucket/team/vertex-job/pictures/", [empty.name]))
    read = mounted_source(container, folder, LOCATION, PictureCache(folder.path))
    assert read is not None
    assert [item.text for item in read(Told()).manifest.items] == ["text 1", "text 2", "text 3"]


@pytest.mark.parametrize(
    "location", ["gs://bucket/team/pictures/", "gs://bucket/team/vertex-job/source/another/", "/data/scenes"]
)
def test_any_other_location_is_read_as_it_is(container: Container, folder: RunFolder, location: str) -> None:
    assert mounted_source(container, folder, location, PictureCache(folder.path)) is None


def test_a_list_of_shards_that_is_none_is_named(container: Container, folder: RunFolder, mount: Path) -> None:
    (mount / "bucket/team/vertex-job/source/abc/shards.json").write_text("[]")
    read = mounted_source(container, folder, LOCATION, PictureCache(folder.path))
    assert read is not None
    with pytest.raises(Damaged, match=r"shards\.json is no list of shards"):
        read(Told())


@pytest.mark.parametrize(
    ("location", "known"),
    [(LOCATION, True), ("s3://b/p/source/k/", True), ("gs://b/source/k", False), ("https://h/p/source/k/", False)],
)
def test_what_was_handed_over_is_known_by_its_address(location: str, known: bool) -> None:
    assert is_handed_over(location) == known


def test_what_the_loop_takes_is_left_and_nothing_else(container: Container, folder: RunFolder, mount: Path) -> None:
    for name in ("bundle/model.json", "evaluation/explanations/1.png", "train.json", "run.json", "manifest.jsonl"):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_text(name)
    container.leave(folder)
    container.leave(folder)
    left = mount / "bucket/team/vertex-job/runs/abc/run"
    held = {str(file.relative_to(left)): file.read_text() for file in left.rglob("*") if file.is_file()}
    assert held == {
        name: name for name in ("bundle/model.json", "evaluation/explanations/1.png", "train.json", "run.json")
    }


def test_a_job_of_somebody_else_has_no_place_for_a_whole_run(folder: RunFolder) -> None:
    with pytest.raises(SettingsError, match="not begun by a loop"):
        Container().leave(folder)


@dataclass
class Told:
    told: list[tuple[str, int, int]] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self(name, 0, 0)

    def __call__(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


def test_how_far_it_is_is_written_now_and_then_and_at_every_stage(tmp_path: Path) -> None:
    now, told, path = [100.0], Told(), tmp_path / "told" / "progress.json"
    progress = Progress(told, path, lambda: now[0])

    def written() -> object:
        found = json.loads(path.read_text())
        return found["stage"], found["what"], found["done"], found["total"]

    progress.stage("train")
    assert written() == ("train", "train", 0, 0)
    progress("epochs", 1, 9)
    assert written() == ("train", "train", 0, 0)
    now[0] += 20
    progress("epochs", 2, 9)
    assert written() == ("train", "epochs", 2, 9)
    progress.stage("evaluate")
    assert written() == ("evaluate", "evaluate", 0, 0)
    assert told.told == [("train", 0, 0), ("epochs", 1, 9), ("epochs", 2, 9), ("evaluate", 0, 0)]


def test_a_file_that_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    (tmp_path / "told").touch()
    told = Told()
    Progress(told, tmp_path / "told" / "progress.json").stage("train")
    assert told.told == [("train", 0, 0)]
