"""``LabelLoop`` itself, on the base class of label-studio-ml 1.0.9."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import model
from labelloop.errors import QueueError
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub, process_hub
from labelloop.loop.queue import job_status
from labelloop.types import NO_VERSION, Json
from model import LabelLoop
from support.web import CONFIG, announce

CREATED: Json = {
    "annotation": {"id": 31, "was_cancelled": False, "task": 5},
    "task": {"id": 5},
    "project": {"id": 7, "label_config": CONFIG},
}


def test_label_studios_tools_find_one_class_in_model_py() -> None:
    # After it was imported without torch.
    from label_studio_ml.model import LabelStudioMLBase, get_all_classes_inherited_LabelStudioMLBase

    assert issubclass(LabelLoop, LabelStudioMLBase)
    assert get_all_classes_inherited_LabelStudioMLBase(model.__file__) == ["LabelLoop"]


def test_a_folder_that_1_0_9_made_of_model_py_alone_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    shutil.copy(model.__file__, tmp_path)
    # Without site there are no packages, as in the image that 1.0.9's own Dockerfile builds.
    command = [sys.executable, "-S", "-c", "import model"]
    alone = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert alone.returncode == 1
    last = alone.stderr.strip().splitlines()[-1]
    assert "without the folder labelloop/" in last
    assert "labelloop deploy gcp" in last


def test_it_is_made_as_1_0_9_and_as_2_x_make_it(hub: Hub) -> None:
    first = LabelLoop(label_config=CONFIG, train_output={"a": 1}, hostname="h", access_token="t", hub=hub)
    assert (first.label_config, first.project_id, first.model_version) == (CONFIG, "", NO_VERSION)
    second = LabelLoop("7", label_config=CONFIG, hub=hub)
    assert (second.label_config, second.project_id) == (CONFIG, "7")
    assert LabelLoop(project_id="7.1795187589", hub=hub).project_id == "7"
    assert "t" not in vars(first).values()


@pytest.mark.parametrize("config", ["<View", "", None, "&xxe;"])
def test_a_label_config_nobody_can_read_does_not_stop_it_from_being_made(hub: Hub, config: str | None) -> None:
    assert LabelLoop("7", config, hub=hub).predict([{"id": 1}, {"id": 2}]) == [[], []]


def test_without_a_project_the_tasks_say_which(hub: Hub, pictures: str) -> None:
    announce(hub, 7, "v2")
    bound_by_tasks = LabelLoop(label_config=CONFIG, hub=hub)
    (item,) = bound_by_tasks.predict([{"id": 1, "project": 7, "data": {"image": f"{pictures}/a.png"}}], login=None)
    assert isinstance(item, dict)
    assert item["model_version"] == "v2"
    assert bound_by_tasks.predict([{"id": 1}, "nothing"]) == [[], []]
    assert bound_by_tasks.predict([]) == []


def test_fit_takes_events_as_2_x_hands_them_over(hub: Hub) -> None:
    job = LabelLoop("7", hub=hub).fit("START_TRAINING", {"project": {"id": 7}})["job"]
    assert job_status(hub.redis, job) == "queued"
    assert LabelLoop("7", hub=hub).fit(event="ANNOTATION_CREATED", data=CREATED, job_id="1") == {}
    assert hub.state(hub.project(7)).changes.pending().changed == 1


def test_fit_takes_events_as_1_0_9_hands_them_over(hub: Hub) -> None:
    backend = LabelLoop(label_config=CONFIG, hub=hub)
    assert backend.process_event("ANNOTATION_UPDATED", CREATED, "job", {"workdir": "/tmp"}) == {}
    assert hub.state(hub.project(7)).changes.pending().changed == 1


@pytest.mark.parametrize(
    ("event", "data"), [(None, None), ((), "workdir"), ("START_TRAINING", {}), (7, {"project": 7})]
)
def test_fit_says_what_it_cannot_read(hub: Hub, event: object, data: object) -> None:
    with pytest.raises(ValueError, match=r"action|project"):
        LabelLoop("7", hub=hub).fit(event, data)


def test_values_are_shared_by_hubs_and_kept_apart_by_project(hub: Hub) -> None:
    LabelLoop("7", hub=hub).set("note", "kept")
    LabelLoop("7", hub=hub).set("extra_params", {"any": ["thing"]})
    other_process = open_hub(hub.settings)
    assert LabelLoop("7", hub=other_process).get("note") == "kept"
    assert LabelLoop("7", hub=other_process).get("extra_params") == '{"any": ["thing"]}'
    assert LabelLoop("8", hub=other_process).get("note") is None
    assert LabelLoop("7", hub=other_process).has("note")
    assert not LabelLoop("8", hub=other_process).has("note")
    other_process.redis.close()


def test_the_model_version_is_the_announced_one_and_cannot_be_set(hub: Hub) -> None:
    backend = LabelLoop("7", hub=hub)
    assert backend.get("model_version") == backend.model_version == NO_VERSION
    announce(hub, 7, "v6")
    assert backend.get("model_version") == backend.model_version == "v6"
    with pytest.raises(ValueError, match="announced version"):
        backend.set("model_version", "v7")


def test_values_without_redis_say_what_is_missing(hub: Hub) -> None:
    from dataclasses import replace

    lost = open_hub(replace(hub.settings, redis_url="redis://127.0.0.1:1"))
    with pytest.raises(QueueError, match="Redis cannot be reached"):
        LabelLoop("7", hub=lost).get("note")


def test_one_process_has_one_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    process_hub.cache_clear()
    assert LabelLoop("7").hub is LabelLoop("8").hub is process_hub()
    assert process_hub().settings.directory == tmp_path.resolve()
    process_hub.cache_clear()
