"""The client against a real Label Studio: paging, filters, counters, predictions."""

import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest

from labelloop.data.labeling import Counters
from labelloop.data.site import Begun
from labelloop.demo.label_studio import LabelStudio
from labelloop.errors import NoSuchProject, NotAllowed, StudioError
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.studio.backends import WebhookSpec
from labelloop.studio.client import UNCERTAINTY, Studio
from labelloop.studio.tool import LabelStudioSite
from labelloop.types import Json
from support.annotating import LABEL_CONFIG, add_tasks, choice, delete_task, draft, prediction, skip, submit

pytestmark = [pytest.mark.studio, pytest.mark.versions]


def ids(tasks: Iterable[Json]) -> list[int]:
    return [task["id"] for task in tasks]


def test_it_says_who_and_what_it_is(
    studio: Studio, label_studio: LabelStudio, label_studio_version: str, token_kind: str
) -> None:
    assert studio.version() == label_studio_version
    assert studio.whoami() == label_studio.email
    assert studio.api.token_kind == token_kind


def test_a_legacy_token_works_where_it_is_allowed(label_studio: LabelStudio, project: int) -> None:
    legacy = Studio(label_studio.url, label_studio.legacy_token())
    assert legacy.api.token_kind == "legacy token"
    assert legacy.project(project).identity.id == project
    legacy.close()


def test_a_wrong_key_is_not_allowed(label_studio: LabelStudio, label_studio_version: str) -> None:
    wrong = Studio(label_studio.url, "0" * 40)
    assert wrong.version() == label_studio_version
    with pytest.raises(NotAllowed, match="LABEL_STUDIO_API_KEY"):
        wrong.whoami()
    wrong.close()


def test_a_project_that_is_not_there(studio: Studio) -> None:
    with pytest.raises(NoSuchProject, match=r"404 to GET /api/projects/999999.*number of the project"):
        studio.project(999999)
    with pytest.raises(NoSuchProject, match="404 to GET /api/ml"):
        studio.ml_backends(999999)


def test_tasks_come_page_by_page_in_order_of_id(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    tasks = add_tasks(label_studio, project, 25)
    other = label_studio.create_project("Others", LABEL_CONFIG)
    add_tasks(label_studio, other, 3)
    for page in (1, 7, 25, 500):
        assert ids(studio.tasks(project, page=page)) == tasks
    assert ids(studio.tasks(project, after=tasks[19], page=2)) == tasks[20:]
    first = next(studio.tasks(project))
    assert first == {"id": tasks[0], "data": {"image": "http://pictures.example/0.png"}}


def test_tasks_deleted_and_created_meanwhile_do_not_disturb(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    tasks = add_tasks(label_studio, project, 9)
    paging = studio.tasks(project, page=3)
    begun = ids(itertools.islice(paging, 3))
    for gone in (tasks[0], tasks[2], tasks[4]):
        delete_task(label_studio, gone)
    late = add_tasks(label_studio, project, 2)[-2:]
    assert begun + ids(paging) == [*tasks[:4], *tasks[5:], *late]


def test_labeled_means_a_submitted_annotation(studio: Studio, label_studio: LabelStudio) -> None:
    project = label_studio.create_project("Overlap", LABEL_CONFIG, maximum_annotations=2)
    plain, submitted, skipped, drafted, both, deleted = add_tasks(label_studio, project, 6)
    submit(label_studio, submitted, "cat")
    skip(label_studio, skipped)
    draft(label_studio, drafted, "dog")
    skip(label_studio, both)
    submit(label_studio, both, "dog")
    annotation = submit(label_studio, deleted, "cat")
    label_studio.request("DELETE", f"/api/annotations/{annotation}/")
    assert ids(studio.labeled_tasks(project)) == [submitted, both]
    assert ids(studio.tasks(project, unlabeled=True)) == [plain, skipped, drafted, deleted]
    assert ids(studio.unpredicted_tasks(project, "v1")) == [plain, skipped, drafted, deleted]


def test_what_is_submitted_while_predictions_are_imported_is_labeled_even_where_it_is_not_counted(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    tasks = add_tasks(label_studio, project, 1000)
    free, submitted, uncounted = iter(tasks), set[int](), set[int]()
    predictions = [prediction(task, "cat", "v1") for task in tasks]
    with ThreadPoolExecutor(1) as pool:
        # The import counts a task's annotations and writes the number later: it takes some tries to come between.
        for _ in range(40):
            importing = pool.submit(studio.import_predictions, project, predictions)
            while not importing.done():
                submitted.add(next(free))
                submit(label_studio, max(submitted), "dog")
            assert importing.result() == len(tasks)
            uncounted = submitted & set(ids(studio.tasks(project, unlabeled=True, fields=("id",), page=1000)))
            if uncounted:
                break
    assert uncounted, "this Label Studio counts all of them"
    assert {task["id"] for task in studio.labeled_tasks(project)} == submitted
    assert studio.project(project).counters.labeled == len(submitted)


def test_is_labeled_would_say_something_else(studio: Studio, label_studio: LabelStudio) -> None:
    project = label_studio.create_project("Ignoring skips", LABEL_CONFIG, skip_queue="IGNORE_SKIPPED")
    [skipped] = add_tasks(label_studio, project, 1)
    skip(label_studio, skipped)
    [task] = studio.tasks(project, fields=("is_labeled", "total_annotations", "cancelled_annotations"))
    assert task == {"id": skipped, "is_labeled": True, "total_annotations": 0, "cancelled_annotations": 1}


def test_labeled_tasks_come_with_all_their_annotations(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    first, second, _ = add_tasks(label_studio, project, 3)
    skip(label_studio, first)
    submit(label_studio, first, "cat")
    submit(label_studio, second, "dog")
    tasks = list(studio.labeled_tasks(project, page=1))
    assert ids(tasks) == [first, second]
    cancelled = {annotation["was_cancelled"] for annotation in tasks[0]["annotations"]}
    assert cancelled == {True, False}
    [annotation] = tasks[1]["annotations"]
    assert annotation["result"][0]["value"] == {"choices": ["dog"]}
    assert {"id", "ground_truth", "updated_at", "completed_by", "lead_time", "parent_prediction"} <= set(annotation)
    known = {one["id"]: one["annotations"] for one in studio.task_moments(project)}
    assert set(known) == {first, second}
    # The oldest Label Studio that works tells more than it is asked for.
    assert [set(one) >= {"id", "was_cancelled", "created_at", "updated_at"} for one in known[second]] == [True]
    label_studio.request("PATCH", f"/api/annotations/{annotation['id']}/", json={"result": annotation["result"]})
    [one] = next(task["annotations"] for task in studio.task_moments(project) if task["id"] == second)
    assert one["created_at"] == known[second][0]["created_at"] < one["updated_at"]


def test_a_project_is_described_with_its_counters(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    tasks = add_tasks(label_studio, project, 5)
    for _ in range(2):
        submit(label_studio, tasks[0], "cat")
    submit(label_studio, tasks[1], "cat")
    skip(label_studio, tasks[2])
    studio.import_predictions(project, [prediction(task, "cat", "v1") for task in tasks[:4]])
    info = studio.project(project)
    assert (info.identity.id, info.title, info.label_config) == (project, "Cats and dogs", LABEL_CONFIG)
    assert info.counters == Counters(tasks=5, labeled=2, annotations=3, skipped=1)
    assert studio.model_versions(project) == {"v1": 4}


def test_predictions_are_missing_until_they_are_imported(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    tasks = add_tasks(label_studio, project, 7)
    submit(label_studio, tasks[0], "cat")
    missing = studio.unpredicted_tasks(project, "v1", page=2)
    while chunk := list(itertools.islice(missing, 3)):
        assert set(chunk[0]) == {"id", "data"}
        assert studio.import_predictions(project, [prediction(task["id"], "cat", "v1") for task in chunk]) == len(chunk)
    assert studio.model_versions(project) == {"v1": 6}
    assert ids(studio.unpredicted_tasks(project, "v1")) == []
    assert ids(studio.unpredicted_tasks(project, "v2")) == tasks[1:]


@pytest.mark.parametrize("others", [["v10"], ["V1"], ["v1.1", "my-v1"], [f"v1{number}" for number in range(150)]])
def test_a_version_is_not_mistaken_for_another(
    studio: Studio, label_studio: LabelStudio, project: int, others: list[str]
) -> None:
    none, other, both, own = add_tasks(label_studio, project, 4)
    items = [prediction(task, "cat", version) for task in (other, both) for version in others]
    items += [prediction(task, "dog", "v1") for task in (both, own)]
    studio.import_predictions(project, items)
    assert sorted(ids(studio.unpredicted_tasks(project, "v1", page=1))) == [none, other]
    assert all(set(task) == {"id", "data"} for task in studio.unpredicted_tasks(project, "v1"))


def test_old_predictions_of_unlabeled_tasks_are_found_and_removed(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    tasks = add_tasks(label_studio, project, 3)
    items = [prediction(task, "cat", version) for task in tasks for version in ("v1", "v10", "v2")]
    studio.import_predictions(project, items)
    submit(label_studio, tasks[0], "cat")
    old = list(studio.predictions_by(project, {"v1", "v3"}))
    assert len(old) == 2
    for number in old:
        studio.remove_prediction(number)
    assert studio.model_versions(project) == {"v1": 1, "v10": 3, "v2": 3}
    assert list(studio.predictions_by(project, {"v1"})) == []
    assert ids(studio.unpredicted_tasks(project, "v1")) == tasks[1:]
    [me] = [number for number, mail in studio.people().items() if mail == studio.whoami()]
    assert list(studio.annotated_by(project, me)) == [tasks[0]]
    assert list(studio.annotated_by(project, me + 1)) == []


def test_predictions_without_a_version_do_not_hide_a_task(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    [task] = add_tasks(label_studio, project, 1)
    for version in (None, "", "undefined"):
        item = prediction(task, "cat", "") | {"model_version": version}
        label_studio.request("POST", f"/api/projects/{project}/import/predictions", json=[item])
    assert ids(studio.unpredicted_tasks(project, "v1")) == [task]
    studio.import_predictions(project, [prediction(task, "cat", "v10")])
    assert ids(studio.unpredicted_tasks(project, "v1")) == [task]


def test_predictions_for_a_task_that_was_deleted_are_refused(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    kept, gone = add_tasks(label_studio, project, 2)
    delete_task(label_studio, gone)
    items = [prediction(task, "cat", "v1") for task in (kept, gone)]
    with pytest.raises(StudioError, match=rf"answered 400 .*'task': {gone}"):
        studio.import_predictions(project, items)
    assert ids(studio.unpredicted_tasks(project, "v1")) == [kept]


@pytest.mark.since("1.21")
def test_predictions_that_do_not_fit_the_label_config_are_noticed(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    tasks = add_tasks(label_studio, project, 2)
    items = [prediction(task, label, "v1") for task, label in zip(tasks, ("cat", "horse"), strict=True)]
    with pytest.raises(StudioError, match="stored 1 of 2 predictions"):
        studio.import_predictions(project, items)
    assert ids(studio.unpredicted_tasks(project, "v1")) == tasks[1:]


def test_a_task_is_read_whole(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    label_studio.import_tasks(project, [{"image": "s3://bucket/a.png"}])
    [task] = studio.tasks(project)
    submit(label_studio, task["id"], "cat")
    studio.import_predictions(project, [prediction(task["id"], "dog", "v1")])
    [whole] = studio.tasks(project, fields=("data", "annotations", "predictions"))
    assert whole["data"] == {"image": "s3://bucket/a.png"}
    assert [one["model_version"] for one in whole["predictions"]] == ["v1"]
    assert len(whole["annotations"]) == 1


@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated:DeprecationWarning")  # the SDK's own
def test_label_studio_s_own_client_reads_and_stores_the_same(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    from label_studio_sdk import LabelStudio as Sdk

    tasks = add_tasks(label_studio, project, 5)
    submit(label_studio, tasks[0], "cat")
    skip(label_studio, tasks[1])
    spec = WebhookSpec("http://192.0.2.1:9090/webhook", {"X-LabelLoop-Secret": "hush"})
    webhook = studio.create_webhook(project, spec)
    with httpx.Client() as http:
        sdk = Sdk(base_url=f"{label_studio.url}/", api_key=label_studio.token, httpx_client=http)  # type: ignore[no-untyped-call]
        half: Any = [prediction(task, "dog", "v1") for task in tasks]
        assert studio.import_predictions(project, half) == 5
        assert sdk.projects.import_predictions(project, request=half).created == 5
        [same] = sdk.webhooks.list(project=str(project))
        listed: list[Any] = list(sdk.tasks.list(project=project, page_size=2))
        theirs: Any = sdk.projects.get(project)
    found = studio.project(project)
    assert (webhook.id, spec.url, spec.headers) == (same.id, same.url, same.headers)
    assert sorted(spec.actions) == sorted(same.actions)
    assert found.identity.created == int(theirs.created_at.timestamp())
    labeled = theirs.num_tasks_with_annotations
    same_counters = (theirs.task_number, labeled, theirs.total_annotations_number, theirs.skipped_annotations_number)
    assert found.counters == Counters(*same_counters) == Counters(5, 1, 1, 1)
    assert theirs.total_predictions_number == sum(studio.model_versions(project).values()) == 10
    pages = studio.tasks(project, fields=("data", "annotations", "predictions"), page=2)
    ours = [(task["id"], task["data"], *_results(task["annotations"], task["predictions"])) for task in pages]
    assert ours == [(task.id, task.data, *_results(task.annotations, task.predictions)) for task in listed]


def _results(*stored: Any) -> list[list[object]]:
    """Of annotations and predictions; the SDK makes objects of some of them."""
    return [[one["result"] if isinstance(one, dict) else one.result for one in some] for some in stored]


def test_sampling_can_be_set(studio: Studio, project: int) -> None:
    assert studio.project(project).sampling == "Sequential sampling"
    studio.set_sampling(project)
    assert studio.project(project).sampling == UNCERTAINTY


def test_a_tab_shows_exactly_the_tasks_it_was_put_for(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    from labelloop.studio.data_manager import put_tab

    tasks = add_tasks(label_studio, project, 8)

    def shown(address: str) -> list[int]:
        query = f"/api/tasks?project={project}&view={address.rpartition('=')[2]}&page_size=100&include=id"
        return [task["id"] for task in label_studio.request("GET", query)["tasks"]]

    first = put_tab(studio.api, project, "Odd ones", [tasks[6], tasks[1]])
    assert first.startswith(f"{label_studio.url}/projects/{project}/data?tab=")
    assert shown(first) == [tasks[1], tasks[6]]
    view = f"/api/dm/views/{first.rpartition('=')[2]}/"
    data = label_studio.request("GET", view)["data"] | {"columnsWidth": {"image": 300}}
    label_studio.request("PATCH", view, json={"project": project, "data": data})
    again = put_tab(studio.api, project, "Odd ones", [*tasks[2:5], tasks[7]])
    assert again == first  # the same tab, as people left it
    assert shown(again) == [*tasks[2:5], tasks[7]]
    assert label_studio.request("GET", view)["data"]["columnsWidth"] == {"image": 300}
    other = put_tab(studio.api, project, "None", [])
    assert other != first
    assert shown(other) == []


def test_what_annotators_keep_of_a_prediction_is_told_by_version(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    tasks = add_tasks(label_studio, project, 4)
    submit(label_studio, tasks[3], "cat")
    [before] = studio.labeled_tasks(project)
    studio.import_predictions(project, [prediction(task, "cat", "v1") for task in tasks])
    site = LabelStudioSite(studio, Media(Settings(), None), project, lambda: None)
    since = next(site.judged("2020-01-01T00:00:00.000000Z")).at
    assert since == before["annotations"][0]["updated_at"]
    made = {
        task["id"]: task["predictions"][0]["id"]
        for task in studio.tasks(project, fields=("predictions", "annotations"))
    }
    submit(label_studio, tasks[0], "cat", parent_prediction=made[tasks[0]])
    submit(label_studio, tasks[1], "dog", parent_prediction=made[tasks[1]])
    submit(label_studio, tasks[2], "cat")
    told, me = {one.task: one.begun for one in site.judged(since)}, before["annotations"][0]["completed_by"]
    assert {task: told[task] for task in tasks[:3]} == {
        tasks[0]: (Begun("v1", True, by=me),),
        tasks[1]: (Begun("v1", False, by=me),),
        tasks[2]: (Begun("", False, by=me),),
    }


def test_a_task_changes_with_its_annotations_and_not_with_predictions(
    studio: Studio, label_studio: LabelStudio, project: int
) -> None:
    site = LabelStudioSite(studio, Media(Settings(), None), project, lambda: None)
    tasks = add_tasks(label_studio, project, 9)
    made = [submit(label_studio, task, "cat") for task in tasks[:5]]
    made.append(skip(label_studio, tasks[5]))
    studio.import_predictions(project, [prediction(tasks[7], "cat", "v1")])
    [*_, last] = studio.tasks(project, fields=("updated_at",))
    since = max(task["updated_at"] for task in studio.tasks(project, fields=("updated_at",)))
    assert last["id"] == tasks[8]
    # Its clock is asked for with the counters, whole seconds of it.
    overview = site.overview()
    at = datetime.fromisoformat(overview.at)
    assert abs((at - datetime.fromisoformat(since)).total_seconds()) < 30
    assert (overview.counters.tasks, overview.counters.rows) == (9, 6)
    assert "<Choices" in overview.asked

    studio.import_predictions(project, [prediction(tasks[0], "cat", "v1"), prediction(tasks[8], "cat", "v1")])
    draft(label_studio, tasks[0], "dog")
    assert list(site.changed(since)) == list(site.changed(since, annotated=False)) == []

    def act(action: str, included: list[int]) -> None:
        body = {"selectedItems": {"all": False, "included": included}, "ordering": [], "project": str(project)}
        label_studio.request("POST", f"/api/dm/actions/?id={action}&project={project}", json=body)

    def change(number: int, **fields: object) -> None:
        label_studio.request("PATCH", f"/api/annotations/{made[number]}/", json=fields)

    change(0, result=[choice("dog")])
    change(1, was_cancelled=True)
    label_studio.request("DELETE", f"/api/annotations/{made[2]}/")
    act("delete_tasks_annotations", [tasks[3]])
    again = submit(label_studio, tasks[4], "dog")
    change(5, was_cancelled=False, result=[choice("cat")])
    act("predictions_to_annotations", [tasks[7]])
    label_studio.import_tasks(
        project, [{"data": {"image": "http://a/b.png"}, "annotations": [{"result": [choice("cat")]}]}]
    )

    found = {one.task: one for one in site.changed(since)}
    assert list(found) == [tasks[0], tasks[1], tasks[4], tasks[5], tasks[7], tasks[8] + 1]
    assert found[tasks[1]].example is None
    assert list(found[tasks[4]].made) == [made[4], again]
    assert found[tasks[4]].made[made[4]] < since < found[tasks[4]].made[again]
    assert (example := found[tasks[4]].example) is not None
    assert found[tasks[4]].made[again] <= example.at
    votes = {task: one.example.votes[0].labels for task, one in found.items() if one.example is not None}
    cats = (tasks[4], tasks[5], tasks[7], tasks[8] + 1)
    assert votes == {task: {"cat"} for task in cats} | {tasks[0]: {"dog"}}
    emptied = list(site.changed(since, annotated=False))
    assert [(one.task, one.example, one.made) for one in emptied] == [(task, None, {}) for task in tasks[2:4]]


def test_of_tasks_that_are_deleted_counters_tell_alone(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    site = LabelStudioSite(studio, Media(Settings(), None), project, lambda: None)
    tasks = add_tasks(label_studio, project, 2)
    submit(label_studio, tasks[0], "cat")
    since = max(task["updated_at"] for task in studio.tasks(project, fields=("updated_at",)))
    delete_task(label_studio, tasks[0])
    assert list(site.changed(since)) == list(site.changed(since, annotated=False)) == []
    assert (site.overview().counters.tasks, site.overview().counters.rows) == (1, 0)
    feed = site.labeling().feed
    assert feed is not None
    assert [feed.up_to(last) for last in (0, tasks[0], tasks[1])] == [0, 0, 1]
    assert [feed.newest(after) for after in (0, tasks[0], tasks[1])] == [(1, tasks[1]), (1, tasks[1]), (0, tasks[1])]
    submit(label_studio, tasks[1], "dog")
    assert [(one.task, len(one.made)) for one in feed.these(tasks)] == [(tasks[1], 1)]
    assert [one.task for one in feed.annotated()] == [one.task for one in feed.annotated(since)] == [tasks[1]]


def test_tasks_are_read_by_their_numbers(studio: Studio, label_studio: LabelStudio, project: int) -> None:
    from labelloop.studio.data_manager import read_these

    tasks = add_tasks(label_studio, project, 60)
    label_studio.request("DELETE", f"/api/tasks/{tasks[3]}/")
    wanted = [*tasks[::2], tasks[3], tasks[-1] + 1_000_000]

    found = list(read_these(studio.api, project, wanted))
    assert [task["id"] for task in found] == tasks[::2]
    assert all(task["data"] for task in found)
    assert list(read_these(studio.api, project, [])) == []
