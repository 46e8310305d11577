"""The order in which a real Label Studio serves the tasks of a project, before and after its first version."""

from pathlib import Path

import pytest

from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.pictures import digits
from labelloop.loop.status import FirstLabels
from labelloop.types import FIRST_LABELS
from support.loop_machine import LoopMachine, Project, loop_settings
from support.waiting import wait_until

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(600)]

TASKS, FIRST = 90, 60


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Any weights do: digits are told apart by the features of random ones, too."""
    import timm
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def in_order(machine: LoopMachine, project: Project, version: str) -> list[int]:
    """The unlabeled tasks by their scores of a version."""
    fields = ("id", "predictions")
    found = {
        task["id"]: prediction["score"]
        for task in machine.client.tasks(project.key.id, unlabeled=True, fields=fields)
        for prediction in task["predictions"]
        if prediction["model_version"] == version
    }
    return sorted(found, key=lambda task: found[task])


def test_tasks_come_in_order_before_and_after_the_first_version(
    label_studio: LabelStudio, weights: Path, tmp_path: Path
) -> None:
    more = {"weights": str(weights), "recipes": ("head",), "min_labels": FIRST, "first_labels": True}
    settings = loop_settings(label_studio, tmp_path, **more)
    with LoopMachine(label_studio, settings, tmp_path / "labelloop.log") as machine:
        project = machine.project(digits(tmp_path, seed=1, tasks=TASKS), "first labels")
        number = project.key.id

        def is_named() -> bool:
            return machine.client.project(number).model_version == FIRST_LABELS

        wait_until(is_named, lambda: f"tasks are ordered:\n{machine.log.read_text()[-3000:]}", 120)
        [backend] = machine.client.ml_backends(number)
        assert (backend.title, backend.state) == (FIRST_LABELS, "Connected")
        assert machine.status(project).first_labels == FirstLabels(TASKS, TASKS)
        expected = in_order(machine, project, FIRST_LABELS)
        assert sorted(expected) == project.tasks
        assert expected != project.tasks

        for task in expected[:10]:
            served = label_studio.request("GET", f"/api/projects/{number}/next")
            assert served["id"] == task
            opened = label_studio.request("GET", f"/api/tasks/{task}?project={number}")
            assert [one["result"] for one in opened["predictions"]] == [[]], "there is nothing to be seen"
            project.annotator.annotate([task])
        rest = project.annotator.annotate_next(FIRST - 10, FIRST_LABELS)
        assert rest.served == FIRST - 10
        labeled = {task["id"] for task in machine.client.labeled_tasks(number)}
        assert labeled == set(expected[:FIRST])

        machine.wait_for(project, lambda status: status.announced == "v1" and status.step is None, "v1 is announced")
        wait_until(lambda: machine.client.project(number).model_version == "v1", "tasks are ordered by v1", 60)
        assert machine.status(project).first_labels is None
        versions = machine.predictions(project)
        assert all(versions[task] == [FIRST_LABELS, "v1"] for task in expected[FIRST:])
        served = label_studio.request("GET", f"/api/projects/{number}/next")
        assert served["id"] == in_order(machine, project, "v1")[0]
        assert machine.status(project).agreement is None
