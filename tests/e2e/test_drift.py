"""A project of a real Label Studio whose pictures grow dark: the worker finds it, and shows the tasks in a tab."""

import io
from pathlib import Path

import pytest
import requests
from PIL import Image, ImageEnhance

from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.pictures import digits
from labelloop.loop.drift import ENOUGH, TAB, last_look
from labelloop.watch.records import Watched
from support.loop_machine import LoopMachine, loop_settings
from support.waiting import wait_until

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(900)]


def darker(content: bytes) -> bytes:
    buffer = io.BytesIO()
    ImageEnhance.Brightness(Image.open(io.BytesIO(content))).enhance(0.6).save(buffer, "PNG")
    return buffer.getvalue()


def test_dark_pictures_are_found_and_shown_in_a_tab(label_studio: LabelStudio, tmp_path: Path) -> None:
    settings = loop_settings(label_studio, tmp_path, drift="tab")
    pictures = digits(tmp_path, seed=1, tasks=settings.min_labels + ENOUGH + 20)
    with LoopMachine(label_studio, settings, tmp_path / "labelloop.log") as machine:
        project = machine.project(pictures, "drift")
        project.annotator.annotate(project.tasks[: settings.min_labels])
        machine.wait_for(project, lambda status: status.announced == "v1" and status.step is None, "v1 is announced")
        kept = Watched(machine.hub.store, project.key, "v1")
        wait_until(lambda: kept.reference() is not None, "there is something to compare with", 60)

        later = pictures.held_out[: ENOUGH + 20]
        machine.studio.import_pictures(
            project.key.id, {f"dark-{number}.png": darker(picture.content) for number, picture in enumerate(later)}
        )
        wait_until(lambda: last_look(machine.hub, project.key).judgement is not None, "a look is made", 120)

        looks = last_look(machine.hub, project.key)
        assert machine.status(project).drift == str(looks.judgement)
        dark = {task["id"] for task in machine.client.tasks(project.key.id)} - set(project.tasks)
        assert looks.judgement is not None
        assert len(looks.judgement.tasks) == 20
        assert set(looks.judgement.tasks) <= dark
        views = label_studio.request("GET", f"/api/dm/views/?project={project.key.id}")
        assert [view["data"]["title"] for view in views].count(TAB) == 1
        number = looks.tab.rpartition("=")[2]
        shown = label_studio.request("GET", f"/api/tasks?project={project.key.id}&view={number}&page_size=100")
        assert {task["id"] for task in shown["tasks"]} == set(looks.judgement.tasks)

        window = machine.hub.state(project.key).window
        before = window.count()
        body = {
            "tasks": [next(iter(machine.client.tasks(project.key.id)))],
            "project": str(project.key.id),
            "label_config": machine.client.project(project.key.id).label_config,
        }
        with requests.Session() as session:
            assert session.post(f"{machine.url}/predict", json=body, timeout=30).json()["results"][0]["result"]
        wait_until(lambda: window.count() == before + 1, "the web process watches what it predicts", 30)
