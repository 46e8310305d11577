"""A stage in a processing container of SageMaker: what it takes, what it leaves, and what it says when it fails."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.data.shards import pictures_of, shards
from labelloop.errors import Damaged, NotEnoughLabels, SettingsError, TrainingError
from labelloop.run.container import find_container
from labelloop.run.context import Labeled
from labelloop.run.folder import RunFolder
from labelloop.run.record import RunInfo
from labelloop.run.steps import Step, find_step, telling, unpack_shards
from labelloop.types import Item, ProjectKey

ADDRESS = "s3://bucket/labelloop/digits/pictures"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """SageMaker's folder, as a processing job finds it."""
    config = tmp_path / "ml" / "config"
    config.mkdir(parents=True)
    outputs = [{"OutputName": "pictures", "S3Output": {"S3Uri": ADDRESS, "LocalPath": "x", "S3UploadMode": "EndOfJob"}}]
    (config / "processingjobconfig.json").write_text(json.dumps({"ProcessingOutputConfig": {"Outputs": outputs}}))
    return tmp_path / "ml"


@pytest.fixture
def step(root: Path) -> Step:
    found = find_step({"SAGEMAKER_BASE_DIR": str(root)})
    assert found is not None
    return found


@pytest.fixture
def cache(tmp_path: Path) -> PictureCache:
    return PictureCache(tmp_path / "cache")


def fetched(step: Step, cache: PictureCache, count: int) -> RunFolder:
    """A run's folder after fetch, with its pictures in the cache."""
    folder = RunFolder(step.run)
    folder.path.mkdir(parents=True)
    items = [Item(task, cache.add(b"picture %d" % task), ("cat",)) for task in range(1, count + 1)]
    Labeled(Manifest.of(ProjectKey("local", 1), "single", ("cat",), items)).write(folder)
    RunInfo("now", {}, key="abc", manifest="def").write(folder)
    return folder


def packed(target: Path, files: dict[str, bytes], folder: Path) -> None:
    target.parent.mkdir(parents=True)
    with tarfile.open(target, "w:gz") as archive:
        for name, content in files.items():
            (folder / "content").write_bytes(content)
            archive.add(folder / "content", name)


def test_elsewhere_there_is_no_step(tmp_path: Path) -> None:
    assert find_step({"SAGEMAKER_BASE_DIR": str(tmp_path)}) is None


def test_a_configuration_that_cannot_be_read_is_named(root: Path) -> None:
    (root / "config" / "processingjobconfig.json").write_text("{")
    with pytest.raises(SettingsError, match=r"processingjobconfig\.json cannot be read"):
        find_step({"SAGEMAKER_BASE_DIR": str(root)})


def test_fetch_leaves_shards_and_the_list_of_them_and_tells_the_key(step: Step, cache: PictureCache) -> None:
    folder = fetched(step, cache, 5)
    step.leave("fetch", folder, cache)
    prefix, *names = json.loads((step.run / "shards.json").read_bytes())
    assert prefix == {"prefix": f"{ADDRESS}/"}
    assert sorted(file.name for file in (step.root / "processing" / "pictures").iterdir()) == names
    other = PictureCache(step.work)
    unpack_shards(step.root / "processing" / "pictures", other)
    manifest = Labeled.read(folder).manifest
    assert all(other.has(picture) for picture in pictures_of(manifest))
    assert (step.root / "output" / "message").read_text() == "abc"


def test_a_list_that_was_handed_over_stays_and_nothing_is_packed_again(step: Step, cache: PictureCache) -> None:
    folder = fetched(step, cache, 2)
    (step.run / "shards.json").write_text("as handed over")
    step.leave("fetch", folder, cache)
    assert (step.run / "shards.json").read_text() == "as handed over"
    assert not (step.root / "processing" / "pictures").exists()


def test_without_a_picture_there_is_nothing_to_hand_on(step: Step, cache: PictureCache) -> None:
    with pytest.raises(NotEnoughLabels, match="nothing was fetched"):
        step.leave("fetch", fetched(step, cache, 0), cache)


def test_a_job_that_our_pipeline_did_not_make_is_told_so(root: Path, cache: PictureCache) -> None:
    step = Step(root, {})
    with pytest.raises(SettingsError, match="no output 'pictures': make it with `labelloop aws pipeline apply`"):
        step.leave("fetch", fetched(step, cache, 2), cache)


def test_a_step_takes_pictures_and_what_a_training_job_left(step: Step, cache: PictureCache, tmp_path: Path) -> None:
    folder = fetched(step, cache, 3)
    before = folder.manifest.read_bytes()
    (one,) = shards(pictures_of(Labeled.read(folder).manifest), cache)
    one.write(cache, step.root / "processing" / "input" / "pictures" / one.name)
    model = {"model.json": b"{}", "model.onnx": b"weights", "../escaped": b"no", "notes.txt": b"no"}
    packed(step.root / "processing" / "input" / "model" / "model.tar.gz", model, tmp_path)
    results = {"train.json": b'{"recipe": "head"}', "run.json": b"{}", "manifest.jsonl": b"another"}
    packed(step.root / "processing" / "input" / "results" / "output.tar.gz", results, tmp_path)
    shutil.copytree(folder.path, step.root / "processing" / "input" / "run")
    shutil.rmtree(folder.path)
    other = PictureCache(step.work)

    step.take(folder, other)

    assert all(other.has(picture) for picture in one.pictures)
    assert {file.name for file in folder.bundle.iterdir()} == {"model.json", "model.onnx"}
    assert folder.trained.read_bytes() == b'{"recipe": "head"}'
    assert folder.manifest.read_bytes() == before, "only what a training makes is taken of it"
    assert not list(tmp_path.rglob("escaped"))
    step.leave("evaluate", folder, other)
    assert (step.root / "output" / "message").read_text() == "head"


def test_a_damaged_shard_is_named_before_any_work(step: Step, cache: PictureCache) -> None:
    place = step.root / "processing" / "input" / "pictures"
    place.mkdir(parents=True)
    name = hashlib.sha256(b"").hexdigest() + ".tar"
    (place / name).write_bytes(b"<Error>AccessDenied</Error>")
    with pytest.raises(Damaged, match=name):
        step.take(RunFolder(step.run), cache)


def test_why_a_step_failed_is_told_in_one_line_that_sagemaker_can_keep(step: Step) -> None:
    def fail() -> None:
        raise TrainingError("first\nsecond " + "x" * 2000)

    with pytest.raises(TrainingError), telling(step.tell):
        fail()
    said = (step.root / "output" / "message").read_text()
    assert said.startswith("first second xxx")
    assert len(said) == 800


def test_a_message_is_never_cut_within_a_letter(step: Step) -> None:
    step.tell("x" + "猫" * 1000)
    said = (step.root / "output" / "message").read_bytes()
    assert len(said) == 799
    assert said.decode() == "x" + "猫" * 266


def test_a_user_who_may_not_write_is_told_how_to_build_the_image(step: Step, cache: PictureCache) -> None:
    (step.root / "processing").mkdir()
    (step.root / "processing" / "run").touch()
    with pytest.raises(SettingsError, match=r"may not write to .*/processing/run: .*RUN_AS=0:0"):
        step.take(RunFolder(step.run), cache)


def test_an_error_of_the_program_is_told_too(step: Step) -> None:
    with pytest.raises(ZeroDivisionError), telling(step.tell):
        _ = 1 / 0
    assert (step.root / "output" / "message").read_text() == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("location", ["s3://bucket/scenes/train/", "/data/source/k/", "s3://bucket/x/source/k"])
def test_another_location_is_nothing_that_was_handed_over(step: Step, location: str) -> None:
    assert step.source(RunFolder(step.run), location) is None


def test_a_training_job_with_a_run_as_channel_makes_its_train_stage_alone(tmp_path: Path) -> None:
    (tmp_path / "input" / "config").mkdir(parents=True)
    (tmp_path / "input" / "data" / "run").mkdir(parents=True)
    container = find_container({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert container is not None
    assert container.run == tmp_path / "input" / "data" / "run"
    assert container.shards == tmp_path / "input" / "data" / "pictures"
    assert container.parameters == {}
