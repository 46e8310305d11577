"""Pre-annotation in bulk, over HTTP: what Label Studio has afterwards."""

import pytest

from labelloop.endpoints.fake import FakeEndpoint
from labelloop.errors import EndpointError, LabelConfigError, NotAllowed, StudioError
from labelloop.loop.hub import Hub
from labelloop.loop.prelabel import Prelabeled, prelabel
from support.studio_api import StudioApi

from .conftest import MakeHub


def nothing(what: str, done: int, total: int) -> None:
    """Take no progress."""


def run(hub: Hub, version: str = "v1", *, dry_run: bool = False) -> Prelabeled:
    return prelabel(hub, hub.project(7), version, nothing, dry_run=dry_run)


def test_every_unlabeled_task_gets_one_prediction_however_often_it_is_repeated(
    studio: StudioApi, studio_hub: Hub
) -> None:
    studio.add_tasks(5)
    studio.annotate(2, "cat")
    studio.annotate(3, "cat", was_cancelled=True)

    assert run(studio_hub) == Prelabeled(4, 0)
    assert run(studio_hub) == Prelabeled(0, 0)
    assert [studio.versions_of(task) for task in studio.tasks] == [["v1"], [], ["v1"], ["v1"], ["v1"]]
    one = studio.predictions[0]
    assert one["result"][0]["value"]["choices"][0] in ("cat", "dog")
    assert 0.5 <= one["score"] <= 1


def test_v1_and_v10_are_two_versions(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(2)
    run(studio_hub, "v10")

    assert run(studio_hub, "v1") == Prelabeled(2, 0)
    assert [sorted(studio.versions_of(task)) for task in (1, 2)] == [["v1", "v10"]] * 2


def test_progress_is_reported_and_a_dry_run_imports_nothing(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(3)
    told: list[tuple[str, int, int]] = []

    done = prelabel(studio_hub, studio_hub.project(7), "v1", lambda *step: told.append(step), dry_run=True)

    assert done == Prelabeled(3, 0)
    assert told == [("tasks", done, 3) for done in range(4)]
    assert studio.predictions == []


def test_a_task_deleted_meanwhile_costs_only_its_own_prediction(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(4)
    studio.before_import = lambda: studio.tasks.__delitem__(3)

    run(studio_hub)

    assert [studio.versions_of(task) for task in (1, 2, 3, 4)] == [["v1"], ["v1"], [], ["v1"]]
    assert studio.count("POST") == 2


def test_a_refusal_that_no_deleted_task_explains_is_an_error_and_not_repeated(
    studio: StudioApi, studio_hub: Hub
) -> None:
    studio.add_tasks(2)
    hidden: dict[int, dict[str, object]] = {}

    def hide() -> None:
        hidden.update(studio.tasks)
        studio.tasks.clear()

    def answer(*given: object) -> tuple[int, object]:
        status, body = StudioApi.answer(studio, *given)  # type: ignore[arg-type]
        studio.tasks.update(hidden)
        return status, body

    studio.before_import = hide
    studio.answer = answer  # type: ignore[method-assign, assignment]
    with pytest.raises(StudioError, match="answered 400"):
        run(studio_hub)
    assert studio.count("POST") == 1


@pytest.mark.parametrize("step", ["down", "open"])
def test_an_endpoint_that_fails_for_good_stops_it_and_what_was_predicted_is_not_lost(
    studio: StudioApi, make_hub: MakeHub, step: str
) -> None:
    studio.add_tasks(40)
    hub = make_hub(endpoint=f"fake://?classes=cat,dog&script=ok,{step}*", retry_seconds=0.01)
    with pytest.raises(EndpointError):
        run(hub)
    predicted = len(studio.predictions)
    assert predicted in (8, 16), "one call of three was answered"

    assert run(make_hub()) == Prelabeled(40 - predicted, 0)
    assert all(studio.versions_of(task) == ["v1"] for task in studio.tasks)


@pytest.mark.parametrize("step", ["down", "open"])
def test_an_endpoint_that_comes_back_is_waited_for(studio: StudioApi, make_hub: MakeHub, step: str) -> None:
    studio.add_tasks(40)
    hub = make_hub(endpoint=f"fake://?classes=cat,dog&script=ok,{step},{step}", retry_seconds=0.5)

    assert run(hub) == Prelabeled(40, 0)


@pytest.mark.parametrize(("step", "left_out"), [("none*", 4), ("half*", 2), ("late*", 4)])
def test_tasks_that_get_no_answer_are_left_out_and_tried_again_the_next_time(
    studio: StudioApi, make_hub: MakeHub, step: str, left_out: int
) -> None:
    studio.add_tasks(4)

    done = run(make_hub(endpoint=f"fake://?classes=cat,dog&script={step}"))
    assert (done.predicted, done.left_out, len(done.reasons)) == (4 - left_out, left_out, 1)
    assert run(make_hub()) == Prelabeled(left_out, 0)
    assert all(studio.versions_of(task) == ["v1"] for task in studio.tasks)


def test_the_deadline_of_predict_is_not_its_own(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.add_tasks(3)

    assert run(make_hub(predict_deadline=1e-9)) == Prelabeled(3, 0)


def test_a_picture_that_cannot_be_read_is_left_out(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(3)
    del studio.pictures["/data/upload/7/2.png"]
    studio.tasks[3]["data"] = {"text": "no picture"}

    done = run(studio_hub)
    assert (done.predicted, done.left_out) == (1, 2)
    assert any("2.png could not be read" in reason for reason in done.reasons)
    assert any("'image'" in reason for reason in done.reasons)


def test_the_endpoint_is_asked_for_the_version_by_name(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(300)
    run(studio_hub, "v3")

    endpoint = studio_hub.endpoint
    assert isinstance(endpoint, FakeEndpoint)
    assert {(target.project, target.version) for target, _ in endpoint.asked} == {(studio_hub.project(7), "v3")}
    assert sum(count for _, count in endpoint.asked) == 300
    assert studio.count("POST") == 1


def test_a_label_config_without_choices_is_said(studio: StudioApi, studio_hub: Hub) -> None:
    studio.config = "<View/>"
    with pytest.raises(LabelConfigError, match="it has no <Choices>, <Labels> or <RectangleLabels> tag"):
        run(studio_hub)


def test_a_dead_key_is_said(studio: StudioApi, studio_hub: Hub) -> None:
    studio.refusing = 401
    with pytest.raises(NotAllowed, match="LABEL_STUDIO_API_KEY"):
        run(studio_hub)
