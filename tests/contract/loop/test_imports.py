"""Importing a stream of predictions: few calls, and whatever ends the stream, none is lost or sent twice."""

import threading

import pytest

from labelloop.errors import LeaseLost, StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.project_registry import site_of
from labelloop.types import Json
from support.studio_api import StudioApi


def prediction(version: str = "m1", size: int = 0) -> Json:
    return {"result": [{"value": {"text": ["x" * size]}}], "score": 0.5, "model_version": version}


def importing(hub: Hub) -> Imports:
    project = hub.project(7)
    return Imports(site_of(hub, project.id), project)


def collect(hub: Hub, error: BaseException) -> None:
    """Collect a prediction of task 1, then end by an error."""
    with importing(hub) as imports:
        imports.add(1, prediction())
        raise error


def test_many_predictions_are_few_imports(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(7)
    with importing(studio_hub) as imports:
        for task in studio.tasks:
            imports.add(task, prediction())

    assert studio.count("POST") == 1
    assert [one["task"] for one in studio.predictions] == list(studio.tasks)


def test_large_predictions_are_imported_sooner_and_at_most_two_imports_are_held(
    studio: StudioApi, studio_hub: Hub
) -> None:
    studio.add_tasks(4)
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(10)

    studio.before_import = hold
    with importing(studio_hub) as imports:
        imports.add(1, prediction(size=17_000_000))
        assert begun.wait(10), "it is being sent while more are collected"
        imports.add(2, prediction())
        waiting = threading.Thread(target=imports.add, args=(3, prediction(size=17_000_000)))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive(), "a third one is not held"
        go_on.set()
        waiting.join(10)
    assert [one["task"] for one in studio.predictions] == [1, 2, 3]


def test_what_was_collected_is_imported_when_the_block_fails(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(2)
    with pytest.raises(KeyboardInterrupt):
        collect(studio_hub, KeyboardInterrupt())
    assert studio.versions_of(1) == ["m1"]


def test_nothing_is_imported_any_more_when_another_worker_has_the_project(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(2)
    with pytest.raises(LeaseLost):
        collect(studio_hub, LeaseLost("another worker"))
    assert studio.predictions == []


def test_an_error_of_the_block_goes_before_one_of_the_import(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(1)
    studio.refusing = 403
    with pytest.raises(ValueError, match="mine"):
        collect(studio_hub, ValueError("mine"))


def test_an_import_that_fails_is_told(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(1)
    studio.refusing = 403
    with (
        pytest.raises(StudioError),
        importing(studio_hub) as imports,
    ):
        imports.add(1, prediction())


def test_after_a_refusal_only_what_waits_for_its_version_is_sent_again(studio: StudioApi, studio_hub: Hub) -> None:
    """Also while the endpoint's model is being replaced, and a stream holds two versions."""
    studio.add_tasks(5)

    def meanwhile() -> None:
        del studio.tasks[5]
        studio.predictions.append({"task": 4, **prediction("m2")})

    studio.before_import = meanwhile
    with importing(studio_hub) as imports:
        for task in (1, 2, 3):
            imports.add(task, prediction("m1"))
        for task in (4, 5):
            imports.add(task, prediction("m2"))

    assert [studio.versions_of(task) for task in (1, 2, 3, 4)] == [["m1"], ["m1"], ["m1"], ["m2"]]
    assert studio.count("POST") == 2
