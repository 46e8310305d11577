"""Webhooks as domain events: what is read of a body, what is ignored, what is refused."""

import math
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

CHANGES = ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"]


def body(action: str, **payload: Any) -> dict[str, Any]:
    return {"action": action, "project": {"id": 7, "token": "secret"}, **payload}


def heard(body: dict[str, Any]) -> Event:
    """What ``fit`` makes of a webhook's body."""
    return event_of(body.get("action"), body)


def annotation(number: int, *, skipped: bool = False, task: int = 3) -> dict[str, Any]:
    return {"id": number, "was_cancelled": skipped, "task": task, "project": 7}


class TestLabels:
    @pytest.mark.parametrize("action", CHANGES)
    def test_one_annotation_or_a_list_of_them(self, action: str) -> None:
        assert heard(body(action, annotation=annotation(1), task={"id": 3})) == LabelsChanged(7, (1,), (3,))
        several = [annotation(1), annotation(2, task=4), annotation(2, task=4)]
        assert heard(body(action, annotation=several)) == LabelsChanged(7, (1, 2), (3, 4))

    def test_a_new_skip_is_no_changed_label(self) -> None:
        event = heard(body("ANNOTATION_CREATED", annotation=annotation(1, skipped=True)))

        assert event == Ignored("ANNOTATION_CREATED", "the task was skipped")

    def test_an_annotation_that_becomes_a_skip_is_a_changed_label(self) -> None:
        event = heard(body("ANNOTATION_UPDATED", annotation=annotation(1, skipped=True)))

        assert event == LabelsChanged(7, (1,), (3,))

    def test_skips_are_taken_out_of_a_list(self) -> None:
        several = [annotation(1, skipped=True, task=3), annotation(2, task=4)]

        assert heard(body("ANNOTATIONS_CREATED", annotation=several)) == LabelsChanged(7, (2,), (4,))

    def test_deletions_name_no_task(self) -> None:
        event = heard(body("ANNOTATIONS_DELETED", annotations=[{"id": 5}, {"id": 6}]))

        assert event == LabelsChanged(7, (5, 6), ())

    def test_the_task_beside_the_annotation_counts_when_the_annotation_names_none(self) -> None:
        event = heard(body("ANNOTATION_CREATED", annotation={"id": 1}, task={"id": 9}))

        assert event == LabelsChanged(7, (1,), (9,))

    def test_a_project_missing_from_the_body_is_found_in_the_annotation(self) -> None:
        assert heard({"action": "ANNOTATION_CREATED", "annotation": annotation(1)}) == LabelsChanged(7, (1,), (3,))


class TestOthers:
    def test_tasks_training_and_settings(self) -> None:
        assert heard(body("TASKS_CREATED", tasks=[{"id": 1}, {"id": 2}])) == TasksCreated(7, (1, 2))
        assert heard(body("START_TRAINING")) == TrainingRequested(7)
        assert heard(body("PROJECT_UPDATED")) == LabelConfigChanged(7)

    @pytest.mark.parametrize("action", ["TASKS_DELETED", "LABEL_LINK_CREATED", "ANNOTATION_DELETED", "něco\n\ud800"])
    def test_unknown_actions_are_ignored(self, action: str) -> None:
        event = heard(body(action))
        assert isinstance(event, Ignored)
        assert event.action.isprintable()
        assert event.action.isascii()

    @pytest.mark.parametrize("action", [*CHANGES, "ANNOTATIONS_DELETED", "TASKS_CREATED", "PROJECT_UPDATED"])
    def test_a_webhook_without_payload_is_left_to_the_sweep(self, action: str) -> None:
        event = heard({"action": action})

        assert isinstance(event, Ignored)
        assert "send_payload" in event.reason

    @pytest.mark.parametrize(
        "empty", [body("ANNOTATIONS_CREATED", annotation=[]), body("TASKS_CREATED", tasks=[], task=[])]
    )
    def test_empty_lists_are_ignored(self, empty: dict[str, Any]) -> None:
        assert isinstance(heard(empty), Ignored)

    def test_fit_is_given_the_same_event(self) -> None:
        given = body("ANNOTATION_CREATED", annotation=annotation(1))
        payload = {key: value for key, value in given.items() if key != "action"}

        assert event_of("ANNOTATION_CREATED", payload) == heard(given)
        assert event_of("ANNOTATION_CREATED", given) == heard(given)
        for nothing in (None, {}, {"action": "PROJECT_UPDATED"}):
            assert isinstance(event_of("PROJECT_UPDATED", nothing), Ignored)


class TestWrongShapes:
    @pytest.mark.parametrize(
        ("wrong", "why"),
        [
            ({}, "action must be a name, not null"),
            ({"action": None}, "action must be a name, not null"),
            ({"action": ["START_TRAINING"]}, "action must be a name"),
            ({"action": ""}, "action must be a name"),
            ({"action": "START_TRAINING"}, "names no project"),
            (body("ANNOTATION_CREATED"), "names no annotation"),
            (body("ANNOTATION_CREATED", annotation="1"), "must be an object or a list of objects"),
            (body("ANNOTATION_CREATED", annotation=[1]), "must be an object or a list of objects"),
            (body("ANNOTATION_CREATED", annotation={}), "id of annotation"),
            (body("TASKS_CREATED"), "names no tasks"),
            (body("TASKS_CREATED", tasks={"id": None}), "id of task"),
            ({"action": "ANNOTATION_CREATED", "annotation": {"id": 1}}, "names no project"),
        ],
    )
    def test_are_refused_with_a_reason(self, wrong: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            heard(wrong)

    @pytest.mark.parametrize(("data", "what"), [([], "a list"), ("START_TRAINING", "text"), (3, "this number")])
    def test_a_payload_must_be_an_object(self, data: object, what: str) -> None:
        with pytest.raises(ValueError, match=f"must be a JSON object, not {what}"):
            event_of("START_TRAINING", data)


class TestProjectId:
    @pytest.mark.parametrize("value", [7, "7", "7.1795187630", {"id": 7}, {"id": "7", "token": "x"}])
    def test_reads_every_form(self, value: object) -> None:
        assert project_id(value) == 7

    @pytest.mark.parametrize(
        "value",
        [
            *(True, False, None, 0, -7, 10**18, pytest.param(10**5000, id="huge"), 7.0, math.nan),
            *("", "-7", "x", "\u0667", "9" * 19, "7 ", [], [7], {}, {"id": {"id": 7}}, {"id": True}),
        ],
    )
    def test_refuses_all_else(self, value: object) -> None:
        with pytest.raises(ValueError, match="id of project must be a whole number from 1"):
            project_id(value)

    def test_a_refusal_repeats_nothing_of_the_body(self) -> None:
        with pytest.raises(ValueError, match="id of project") as caught:
            heard({"action": "START_TRAINING", "project": {"id": "hunter2", "token": "hunter2"}})
        assert "hunter2" not in str(caught.value)


KEYS = st.sampled_from(["action", "project", "annotation", "annotations", "task", "tasks", "id", "was_cancelled"])
VALUES = st.sampled_from(["START_TRAINING", "TASKS_CREATED", "PROJECT_UPDATED", "ANNOTATIONS_DELETED", *CHANGES])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | VALUES
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


@given(body=JSON | st.dictionaries(KEYS, JSON, max_size=5), action=VALUES | st.none())
def test_any_json_is_an_event_or_a_value_error(body: Any, action: str | None) -> None:
    named = body.get("action") if action is None and isinstance(body, dict) else action
    try:
        event = event_of(named, body)
    except ValueError:
        return
    assert isinstance(event, Event)
    assert isinstance(event, Ignored) or 0 < event.project_id < 10**18
