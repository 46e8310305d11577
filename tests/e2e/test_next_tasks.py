"""What a real Label Studio serves between the moment a version is announced and that in which all is pre-annotated."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labelloop.demo.label_studio import LabelStudio
from labelloop.loop import next_tasks
from labelloop.loop.hub import Hub
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.process import open_hub
from labelloop.settings import Settings
from labelloop.studio.client import UNCERTAINTY, Studio
from labelloop.types import Json
from support.ml_backend import Backend, running_backend
from support.servers import free_port

pytestmark = [pytest.mark.studio, pytest.mark.slow, pytest.mark.timeout(300)]

CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="kind" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
TASKS, NEXT = 60, 10


def annotate_next(label_studio: LabelStudio, project: int, count: int) -> list[tuple[int, list[str]]]:
    """Take tasks as an annotator does, submit each, and give them with the versions of the predictions shown."""
    served = []
    for _ in range(count):
        task: Json = label_studio.request("GET", f"/api/projects/{project}/next")
        served.append((task["id"], [one["model_version"] for one in task["predictions"]]))
        choice = {"from_name": "kind", "to_name": "text", "type": "choices", "value": {"choices": ["cat"]}}
        begun = {"result": [choice], "parent_prediction": task["predictions"][0]["id"] if task["predictions"] else None}
        label_studio.request("POST", f"/api/tasks/{task['id']}/annotations/", json=begun)
    return served


def by_score(studio: Studio, project: int) -> list[int]:
    """The tasks with a prediction, the lowest score first."""
    tasks = studio.tasks(project, fields=("id", "predictions"))
    return [task for _, task in sorted((one["score"], task["id"]) for task in tasks for one in task["predictions"])]


def asked(backend: Backend) -> int:
    """How often Label Studio asked for a prediction."""
    return sum(one.path == "/predict" for one in backend.received)


@pytest.fixture
def hub(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Hub]:
    """A hub without Redis, whose endpoint answers by the hash of a text."""
    settings = Settings(
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
        model_dir=str(tmp_path),
        redis_url=f"redis://127.0.0.1:{free_port()}",
        endpoint="fake://?classes=cat,dog",
        drift="off",
    )
    made = open_hub(settings)
    yield made
    made.redis.close()
    made.tool.close()
    made.media.close()


@pytest.mark.parametrize("sampling", [UNCERTAINTY, "Sequential sampling"])
def test_annotators_get_the_same_tasks_in_between_as_when_all_is_there(
    label_studio: LabelStudio, hub: Hub, sampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "_NEXT", NEXT)
    studio, project = hub.tool.studio, label_studio.create_project("Next", CONFIG)  # type: ignore[attr-defined]
    label_studio.import_tasks(project, [{"text": f"text {number}"} for number in range(TASKS)])
    with running_backend() as backend:
        backend.version = "v1"
        made = studio.create_ml_backend(project, backend.url, "labelloop")
        studio.set_sampling(project, sampling)
        between: list[tuple[int, list[str]]] = []

        def announce() -> None:
            studio.set_title(made, "v1")
            assert len(by_score(studio, project)) == NEXT
            between.extend(annotate_next(label_studio, project, NEXT - 2))

        assert prelabel(hub, hub.project(project), "v1", lambda *_: None, announce=announce) == Prelabeled(TASKS, 0)
        later = annotate_next(label_studio, project, 5)
        assert not asked(backend), "each had its prediction when it was opened"
    expected = by_score(studio, project) if sampling == UNCERTAINTY else [one["id"] for one in studio.tasks(project)]
    assert [task for task, _ in [*between, *later]] == expected[: NEXT + 3]
    assert all(versions == ["v1"] for _, versions in [*between, *later])
    assert studio.model_versions(project) == {"v1": TASKS}
