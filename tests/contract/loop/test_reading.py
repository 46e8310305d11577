"""What a run asks Label Studio for when few labels have changed, and when it reads all of them."""

import shutil
import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from labelloop.data.site_events import LabelsChanged
from labelloop.errors import NotEnoughLabels
from labelloop.loop import reading
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.order import Order, packed
from labelloop.loop.project_labels import keep_manifest, labeling_of, read_labels
from labelloop.loop.reading import Reading, keep_reading, read_current
from labelloop.loop.retrain import retrain
from labelloop.models.records import to_bytes
from labelloop.models.runs import manifest_path
from labelloop.run.context import Labeled
from support.studio_api import StudioApi
from support.studio_people import People

from .conftest import MakeHub
from .test_intake_stateful import PICTURE

ALL = {"id", "annotations_ids"}
"""How the list of all annotated tasks is filtered."""


@pytest.fixture
def people(studio: StudioApi) -> People:
    """Who has labeled 12 of 14 tasks, two hours ago, and skipped one."""
    studio.pictures = dict.fromkeys((f"/data/upload/7/{task}.png" for task in range(1, 15)), PICTURE)
    studio.ahead = -7200
    studio.add_tasks(14)
    people = People(studio)
    for task in range(1, 13):
        people.submit(task, "cat" if task % 3 else "dog")
    people.submit(13, "cat", skipped=True)
    studio.ahead = 0
    return people


def run(hub: Hub) -> Labeled:
    """Read the labels as a run does, and hold them against all of them."""
    project = hub.project(7)
    labeling = labeling_of(hub, project)
    labeled, how = read_current(hub, project, labeling, lambda *_: None)
    keep_manifest(hub, project, labeled.manifest)
    keep_reading(hub, project, how)
    return labeled


def is_all(hub: Hub, labeled: Labeled) -> bool:
    """Whether these are the labels of now."""
    project = hub.project(7)
    found = read_labels(hub, project, labeling_of(hub, project), lambda *_: None)
    return (found.manifest.to_jsonl(), found.missing) == (labeled.manifest.to_jsonl(), labeled.missing)


def test_one_changed_label_costs_no_list_of_the_project(studio: StudioApi, studio_hub: Hub, people: People) -> None:
    first = run(studio_hub)
    assert studio.listings.count(ALL) == 1
    people.edit(4, 0, "dog")
    people.submit(14, "dog")
    people.submit(13, "cat")
    studio.listings.clear()
    studio.asked.clear()

    labeled = run(studio_hub)
    assert studio.listings == [{"id"}, {"id", "updated_at", "annotations_ids"}]
    # The project and two lists; one picture is new.
    assert len([line for line in studio.asked if "/api/" in line]) == 3
    assert is_all(studio_hub, labeled)
    assert len(labeled.manifest.items) == len(first.manifest.items) + 2


def test_deleted_annotations_are_found_by_their_tasks(studio: StudioApi, studio_hub: Hub, people: People) -> None:
    run(studio_hub)
    people.submit(5, "cat")
    people.delete(5, 0)
    people.delete(6, 0)
    people.skip(7, 0, skipped=True)
    studio.listings.clear()

    labeled = run(studio_hub)
    assert ALL not in studio.listings
    assert {item.task for item in labeled.manifest.items} == {*range(1, 13)} - {6, 7}
    assert is_all(studio_hub, labeled)


def test_what_a_webhook_or_a_look_named_is_read_though_no_moment_tells(
    studio: StudioApi, studio_hub: Hub, people: People
) -> None:
    run(studio_hub)
    for task in (2, 3):
        studio.tasks[task]["annotations"][0]["result"][0]["value"]["choices"] = ["dog" if task % 3 else "cat"]
    note(studio_hub, LabelsChanged(7, (1002,), (2,)))
    studio_hub.state(studio_hub.project(7)).changes.add(["t3"], time.time())
    studio.listings.clear()

    labeled = run(studio_hub)
    assert ALL not in studio.listings
    assert is_all(studio_hub, labeled)
    assert studio_hub.state(studio_hub.project(7)).touched() == []


def test_a_picture_that_could_not_be_had_is_asked_for_again(studio: StudioApi, studio_hub: Hub, people: People) -> None:
    gone = studio.pictures.pop("/data/upload/7/9.png")
    assert run(studio_hub).missing.count == 1
    people.edit(1, 0, "dog")
    studio.listings.clear()
    assert run(studio_hub).missing.count == 1
    studio.pictures["/data/upload/7/9.png"] = gone
    labeled = run(studio_hub)
    assert ALL not in studio.listings
    assert labeled.missing.count == 0
    assert is_all(studio_hub, labeled)


def test_what_was_found_before_all_had_to_be_read_is_not_found_twice(
    studio: StudioApi, studio_hub: Hub, people: People
) -> None:
    run(studio_hub)
    del studio.pictures["/data/upload/7/14.png"]
    people.submit(14, "dog")
    _damaged_here(studio, studio_hub, people)
    assert run(studio_hub).missing.count == 1
    assert kept(studio_hub).again == (14,)


@pytest.mark.parametrize("moment", range(1, 7))
def test_a_task_that_was_deleted_is_found_though_others_come_meanwhile(
    studio: StudioApi, studio_hub: Hub, people: People, moment: int
) -> None:
    run(studio_hub)
    people.remove(3)

    def come() -> None:
        people.bring("dog")
        people.submit(14, "dog")

    studio.between = [*([int] * (moment - 1)), come, come]
    assert 3 not in {item.task for item in run(studio_hub).manifest.items}
    studio.between.clear()
    assert is_all(studio_hub, run(studio_hub))


@pytest.mark.parametrize("moment", range(1, 5))
def test_deleting_one_annotation_meanwhile_hides_no_other(
    studio: StudioApi, studio_hub: Hub, people: People, moment: int
) -> None:
    people.submit(5, "cat")
    run(studio_hub)
    people.delete(6, 0)
    studio.between = [*([int] * (moment - 1)), lambda: people.delete(5, 0)]
    assert 6 not in {item.task for item in run(studio_hub).manifest.items}
    assert is_all(studio_hub, run(studio_hub))


@pytest.mark.parametrize("moment", range(1, 5))
@pytest.mark.parametrize("reading", [1, 2])
def test_a_duplicate_that_is_removed_while_labels_are_read_is_found_the_next_time(
    studio: StudioApi, studio_hub: Hub, people: People, moment: int, reading: int
) -> None:
    if reading == 2:
        run(studio_hub)
    people.bring("dog")
    studio.between = [*([int] * (moment - 1)), lambda: people.join(people.tasks, 4)]
    run(studio_hub)
    studio.between.clear()
    assert is_all(studio_hub, run(studio_hub))


def _changed_config(studio: StudioApi, hub: Hub, people: People) -> None:
    studio.config = studio.config.replace('<Choice value="dog"/>', '<Choice value="hound"/>')


def _wiped(studio: StudioApi, hub: Hub, people: People) -> None:
    hub.redis.flushall()


def _without_pictures(studio: StudioApi, hub: Hub, people: People) -> None:
    shutil.rmtree(hub.settings.directory / "cache" / "pictures")


def _damaged(studio: StudioApi, hub: Hub, people: People) -> None:
    shutil.rmtree(hub.settings.directory / "cache" / "labels")
    project = hub.project(7)
    path = manifest_path(project, kept(hub).manifest)
    hub.store.write(path, hub.store.read(path).content[:-20])


def _damaged_here(studio: StudioApi, hub: Hub, people: People) -> None:
    for path in (hub.settings.directory / "cache" / "labels").glob("*.jsonl"):
        path.write_bytes(path.read_bytes().replace(b"cat", b"dog"))


def _deleted(studio: StudioApi, hub: Hub, people: People) -> None:
    people.remove(3)


def _deduplicated(studio: StudioApi, hub: Hub, people: People) -> None:
    people.join(3, 4)
    studio.add_tasks(1)


def _other_clock(studio: StudioApi, hub: Hub, people: People) -> None:
    studio.ahead = -3600
    people.edit(1, 0, "dog")


def _long_ago(studio: StudioApi, hub: Hub, people: People) -> None:
    keep_reading(hub, hub.project(7), replace(kept(hub), whole=time.time() - 25 * 3600))


def _told_of_much(studio: StudioApi, hub: Hub, people: People) -> None:
    note(hub, LabelsChanged(7, (1002,), tuple(range(100, 700))))


@pytest.mark.parametrize(
    "what",
    [
        _changed_config,
        _wiped,
        _without_pictures,
        _damaged,
        _damaged_here,
        _deleted,
        _deduplicated,
        _other_clock,
        _long_ago,
        _told_of_much,
    ],
)
def test_everything_is_read_where_that_is_not_sure(
    studio: StudioApi, studio_hub: Hub, people: People, what: Any
) -> None:
    run(studio_hub)
    people.edit(8, 0, "dog")
    run(studio_hub)
    assert studio.listings.count(ALL) == 1
    what(studio, studio_hub, people)

    labeled = run(studio_hub)
    assert studio.listings.count(ALL) == 2
    assert is_all(studio_hub, labeled)
    studio.listings.clear()
    assert is_all(studio_hub, run(studio_hub))
    assert studio.listings.count(ALL) == 1


def test_another_release_reads_everything(
    studio: StudioApi, studio_hub: Hub, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(studio_hub)
    monkeypatch.setattr(reading, "__version__", "9.9")
    run(studio_hub)
    assert studio.listings.count(ALL) == 2


def test_predictions_that_are_withheld_make_unseen_annotations_say_nothing(
    studio: StudioApi, make_hub: MakeHub, people: People
) -> None:
    hub = make_hub()
    project = hub.project(7)
    studio.config = studio.config.replace('toName="image">', 'toName="image" choice="multiple">')
    people.submit(14, "cat", parent_prediction=5, lead_time=None)
    studio.tasks[14]["annotations"][0]["result"] = []
    assert 14 in {item.task for item in run(hub).manifest.items}
    people.edit(8, 0, "dog")
    run(hub)
    assert studio.listings.count(ALL) == 1

    hub.store.write(f"{project}/order/v1.json", to_bytes(Order("v1", control=packed([14]))))
    labeled = run(hub)
    assert 14 not in {item.task for item in labeled.manifest.items}
    assert is_all(hub, labeled)


def test_no_annotations_are_counted_as_nothing_changed(studio: StudioApi, studio_hub: Hub, people: People) -> None:
    run(studio_hub)
    studio.predictions.append({"id": 1, "task": 1, "model_version": "v1"})
    studio.add_tasks(3)
    studio.listings.clear()
    labeled = run(studio_hub)
    assert ALL not in studio.listings
    assert is_all(studio_hub, labeled)


def test_before_there_is_a_version_no_look_reads_all_again(
    studio: StudioApi, make_hub: MakeHub, people: People
) -> None:
    hub = make_hub(min_labels=40)
    project = hub.project(7)
    with Lease(hub, project) as lease, closing(ProgressReporter(hub, project, lease)) as reporter:
        for _ in range(2):
            with pytest.raises(NotEnoughLabels, match="more labels"):
                retrain(hub, project, "labels", reporter)
            people.edit(4, 0, "dog")
    assert studio.listings.count(ALL) == 1
    assert [*hub.store.sizes(f"{project}/manifests/")] == []


def kept(hub: Hub) -> Reading:
    """How labels were read last."""
    found = Reading.unpacked(hub.state(hub.project(7)).reading())
    assert found is not None
    return found
