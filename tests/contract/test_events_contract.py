"""Every webhook captured from Label Studio 1.23.2 gives the event it should (contract, "Webhooks")."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.data.site_events import (
    Event,
    Ignored,
    LabelConfigChanged,
    LabelsChanged,
    TasksCreated,
    TrainingRequested,
)
from labelloop.studio.webhook_events import event_of, project_id
from support.captured import captured, captured_webhooks

WEBHOOKS = captured_webhooks()
EXPECTED: dict[str, Event] = {
    "requests/webhook_ANNOTATION_CREATED.json": LabelsChanged(1, (1,), (1,)),
    "requests/webhook_ANNOTATION_UPDATED.json": LabelsChanged(1, (1,), (1,)),
    "requests/webhook_ANNOTATIONS_CREATED.json": LabelsChanged(6, (22, 23, 24), (43, 44, 45)),
    "requests/webhook_ANNOTATIONS_DELETED.json": LabelsChanged(1, (1,)),
    "requests/webhook_ANNOTATION_CREATED_nopayload.json": Ignored(
        "ANNOTATION_CREATED", "it carries no payload (send_payload is off): the sweep will find what changed"
    ),
    "requests/webhook_PROJECT_UPDATED.json": LabelConfigChanged(1),
    "requests/webhook_START_TRAINING.json": TrainingRequested(1),
    "requests/webhook_TASKS_CREATED.json": TasksCreated(1, (1, 2, 3, 4, 5, 6)),
    "requests/webhook_TASKS_DELETED.json": Ignored("TASKS_DELETED", "LabelLoop has no use for this action"),
    "webhooks/ml-backend.START_TRAINING.1.json": TrainingRequested(1),
    "webhooks/project-webhook.TASKS_CREATED.1.json": TasksCreated(1, tuple(range(1, 19))),
}
# The same events as the ML backend's own webhook and as a project's webhook with a header bring them.
for sender in ("ml-backend", "project-webhook"):
    EXPECTED |= {
        f"webhooks/{sender}.ANNOTATION_CREATED.1.json": LabelsChanged(1, (1,), (1,)),
        f"webhooks/{sender}.ANNOTATION_CREATED.2.json": LabelsChanged(1, (2,), (2,)),
        f"webhooks/{sender}.ANNOTATION_CREATED.skipped.1.json": Ignored("ANNOTATION_CREATED", "the task was skipped"),
        f"webhooks/{sender}.ANNOTATION_UPDATED.1.json": LabelsChanged(1, (2,), (2,)),
        f"webhooks/{sender}.ANNOTATIONS_CREATED.1.json": LabelsChanged(1, (10, 11, 12, 13), (11, 12, 13, 14)),
        f"webhooks/{sender}.ANNOTATIONS_DELETED.1.json": LabelsChanged(1, (3,)),
        f"webhooks/{sender}.ANNOTATIONS_DELETED.2.json": LabelsChanged(1, (4, 5)),
    }


def heard(body: dict[str, Any]) -> Event:
    """What ``fit`` makes of a webhook's body."""
    return event_of(body.get("action"), body)


def test_every_captured_webhook_is_expected() -> None:
    assert set(WEBHOOKS) == set(EXPECTED)


# When the projects of these requests were created: as /setup and /predict of the same Label Studio tell it.
CREATED = {("requests", 1): 1795187630, ("requests", 6): 1795187807, ("webhooks", 1): 1795189614}
for path, event in EXPECTED.items():
    if not isinstance(event, Ignored):
        EXPECTED[path] = replace(event, created=CREATED[path.partition("/")[0], event.project_id])


@pytest.mark.parametrize("path", sorted(EXPECTED))
def test_a_captured_webhook_gives_its_event(path: str) -> None:
    assert heard(WEBHOOKS[path]) == EXPECTED[path]


@pytest.mark.parametrize("path", sorted(EXPECTED))
def test_fit_is_given_the_same_event(path: str) -> None:
    payload = dict(WEBHOOKS[path])

    assert event_of(payload.pop("action"), payload) == EXPECTED[path]


@pytest.mark.parametrize(
    ("path", "project"),
    [("requests/setup.json", 1), ("requests/predict.json", 1), ("requests/predict_interactive.json", 6)],
)
def test_the_project_of_other_requests_is_read_too(path: str, project: int) -> None:
    assert project_id(captured(path)["body"]["project"]) == project


JUNK: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})
)


@given(data=st.data(), path=st.sampled_from(sorted(WEBHOOKS)))
def test_a_captured_webhook_with_anything_changed_is_an_event_or_a_value_error(data: st.DataObject, path: str) -> None:
    body = copy.deepcopy(WEBHOOKS[path])
    if isinstance(body.get("project"), dict):
        body["project"]["token"] = "hunter2"
    place = data.draw(st.sampled_from(_places(body)), label="place")
    _change(body, place, data.draw(JUNK | st.just("hunter2"), label="junk"))

    said = ""
    try:
        assert isinstance(heard(body), Event)
    except ValueError as error:
        said = str(error)
    assert "hunter2" not in said


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All paths to what an event is made of: the first two levels and the first items of lists."""
    if len(path) == 3:
        return []
    inside = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [found for key, item in inside for found in ((*path, key), *_places(item, (*path, key)))]


def _change(value: Any, path: tuple[Any, ...], junk: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = junk
