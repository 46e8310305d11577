"""The jobs of model runs: opened once, moved by their own attempt alone, and named while they are open."""

from pathlib import Path

import pytest

from labelloop.errors import Fenced
from labelloop.models.file_store import FileStore
from labelloop.models.model_runs import Entry, ModelRunJob, ModelRunJobs
from labelloop.models.records import to_bytes
from labelloop.models.store import Versioned
from labelloop.types import ProjectKey

RUN = "9e3f331a-551b-0e24-6ab5-f69855df64ea"
BOXES = Entry("bounding_box", 1)
PROJECT = ProjectKey.of_model_run(RUN, BOXES.number)


@pytest.fixture
def jobs(tmp_path: Path) -> ModelRunJobs:
    return ModelRunJobs(FileStore(tmp_path))


def ended(jobs: ModelRunJobs, project: ProjectKey, **how: object) -> ModelRunJob:
    job = jobs.read(project)
    assert job is not None
    return jobs.save(project, job.moved(**how))


def test_a_job_is_asked_for_once_while_it_is_open(jobs: ModelRunJobs) -> None:
    first = jobs.ask(PROJECT, BOXES, "a-model", "an-organization")
    assert (first.model_run, first.entry, first.state, first.attempts) == (RUN, "bounding_box", "open", 1)
    assert jobs.ask(PROJECT, BOXES, "another", "one") == first == jobs.read(PROJECT)
    assert jobs.open() == jobs.known() == [PROJECT]


@pytest.mark.parametrize("state", ["failed", "complete"])
def test_what_has_ended_is_begun_anew(jobs: ModelRunJobs, state: str) -> None:
    first = jobs.ask(PROJECT, BOXES)
    ended(jobs, PROJECT, state=state, reason="why", run="a run", version="v1", stage="conclude")
    assert jobs.open() == []
    assert jobs.known() == [PROJECT]
    again = jobs.ask(PROJECT, BOXES)
    assert (again.state, again.attempts, again.reason, again.version, again.stage) == ("open", 2, "", "", "begin")
    assert again.created == first.created
    assert again.asked > first.asked
    assert jobs.open() == jobs.known() == [PROJECT]


def test_an_attempt_that_was_left_behind_changes_nothing(jobs: ModelRunJobs) -> None:
    first = jobs.ask(PROJECT, BOXES)
    jobs.save(PROJECT, first.moved(state="failed"))
    with pytest.raises(Fenced):
        jobs.save(PROJECT, first.moved(state="complete"))
    again = jobs.ask(PROJECT, BOXES)
    with pytest.raises(Fenced):
        jobs.save(PROJECT, first.moved(state="complete"))
    assert jobs.read(PROJECT) == again


def test_what_is_over_may_show_another_version(jobs: ModelRunJobs) -> None:
    with pytest.raises(Fenced):
        jobs.reopen(PROJECT, "v1")
    jobs.ask(PROJECT, BOXES)
    with pytest.raises(Fenced):
        jobs.reopen(PROJECT, "v1")
    ended(jobs, PROJECT, state="complete", run="a run", version="v2")
    shown = jobs.reopen(PROJECT, "v1")
    assert (shown.state, shown.stage, shown.run, shown.version, shown.attempts) == (
        "open",
        "conclude",
        "a run",
        "v1",
        2,
    )
    assert jobs.open() == [PROJECT]


def test_a_record_that_is_damaged_counts_as_none(jobs: ModelRunJobs, tmp_path: Path) -> None:
    jobs.ask(PROJECT, BOXES)
    (tmp_path / str(PROJECT) / "model-run.json").write_text("{")
    assert jobs.read(PROJECT) is None
    assert jobs.ask(PROJECT, BOXES).attempts == 1
    (tmp_path / "_model-runs" / "index.json").write_text("[]")
    assert jobs.known() == []
    jobs.ask(PROJECT, BOXES)
    assert jobs.open() == [PROJECT]


class Pressed(FileStore):
    """A store in which the button is pressed just before a record is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.press: list[ModelRunJobs] = []

    def read(self, path: str) -> Versioned:
        if path.endswith("model-run.json") and self.press:
            self.press.pop().ask(PROJECT, BOXES)
        return super().read(path)


def test_what_is_asked_for_as_it_ends_stays_named(tmp_path: Path) -> None:
    store = Pressed(tmp_path)
    jobs = ModelRunJobs(store)
    job = jobs.ask(PROJECT, BOXES)
    # Killed before the index was told.
    store.write(f"{PROJECT}/model-run.json", to_bytes(job.moved(state="complete")))
    assert jobs.open() == [PROJECT]
    store.press.append(ModelRunJobs(FileStore(tmp_path)))
    jobs.close(PROJECT)
    assert jobs.open() == [PROJECT]
    store.write(f"{PROJECT}/model-run.json", to_bytes(job.moved(state="complete")))
    jobs.close(PROJECT)
    assert (jobs.open(), jobs.known()) == ([], [PROJECT])
    # What nobody asked for is not named at all.
    jobs.close(ProjectKey.of_model_run(RUN, 2))
    assert jobs.known() == [PROJECT]


def test_of_those_that_ended_the_last_are_named(jobs: ModelRunJobs) -> None:
    runs = [ProjectKey.of_model_run(f"model-run-{number}", 3) for number in range(25)]
    for project in runs:
        jobs.ask(project, Entry("image_single_classification", 3))
        ended(jobs, project, state="complete")
    assert jobs.known() == runs[5:]


@pytest.mark.parametrize("run", ["", "short", "Capital-letters", "../../etc", "a" * 65, "-begins-so", "with space"])
def test_what_is_no_id_of_a_model_run_is_refused(run: str) -> None:
    with pytest.raises(ValueError, match="no id of a model run"):
        ProjectKey.of_model_run(run, 1)


@pytest.mark.parametrize("run", [RUN, "cl0123456789abcdefghijklm"])
def test_a_key_tells_its_model_run(run: str) -> None:
    key = ProjectKey.of_model_run(run, 6)
    assert ProjectKey.parse(str(key)) == key
    assert (key.model_run, key.id, key.shown) == (run, 6, f"{run}/6")
    # No address makes such a name.
    assert ProjectKey.of(f"http://labelbox--{run}:8080", 6).model_run == ""
    assert (ProjectKey("localhost-8080", 7).model_run, ProjectKey("localhost-8080", 7).shown) == ("", "7")
