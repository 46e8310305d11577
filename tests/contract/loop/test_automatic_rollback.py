"""A champion that annotators agree less with than with its predecessor: compared, taken back, told."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelloop.bundle_info import ForeignInfo
from labelloop.cli.main import main
from labelloop.errors import Conflict, Fenced
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.news import News
from labelloop.loop.order import Place, note_places
from labelloop.loop.project_registry import remember_project
from labelloop.loop.promotion import promote
from labelloop.loop.queue import LONG, SHORT
from labelloop.loop.redis_client import key_of
from labelloop.loop.rollback import compare_announced
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.bundle import bundle_digest, bundle_files, write_foreign
from labelloop.models.champion import Pointers
from labelloop.models.versions import VersionRecord
from labelloop.types import IMAGES
from labelloop.watch.agreement import Agreed, keep_agreement
from labelloop.watch.comparison import Comparison
from support.bundles import COLOURS, make_bundle, picture
from support.crash_store import CrashStore, Killed
from support.reports import reported
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import waiting

CHOICES = "".join(f'<Choice value="{colour}"/>' for colour in COLOURS)
CONFIG = f'<View><Image name="image" value="$image"/><Choices name="label" toName="image">{CHOICES}</Choices></View>'
TASKS, LABELED = 40, 30
CONFUSED = ("green", "red", "blue")
"""The classes of a bundle that takes red for green, and green for red."""


@pytest.fixture
def studio(studio: StudioApi) -> StudioApi:
    studio.config = CONFIG
    studio.connect("v2")
    studio.model_version = "v2"
    studio.add_tasks(TASKS)
    for task in studio.tasks:
        path = studio.tasks[task]["data"]["image"]
        studio.pictures[path] = picture(COLOURS[task % 3], (8 + task, 10))
    return studio


@pytest.fixture
def loop(make_hub: MakeHub, studio: StudioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of a project whose v2 took the place of v1, and is worse on two colours of three."""
    made = make_hub(endpoint=f"fake://?classes={','.join(COLOURS)}")
    project, versions, pointer = made.project(7), made.versions(made.project(7)), made.pointer(made.project(7))
    for name, parent, classes in (("v1", None, COLOURS), ("v2", "v1", CONFUSED)):
        make_bundle(tmp_path / name, classes=classes)
        versions.claim(f"run of {name}")
        created = "2026-11-01T00:00:00+00:00"
        versions.publish(
            name, tmp_path / name, VersionRecord(name, f"run of {name}", "head", parent, created, True, f"{name} good")
        )
        fence = pointer.take_fence()
        pointer.promote(name, fence)
        pointer.announce(name, fence)
        versions.write_report(name, f"<header>{name}</header>".encode())
    serve(made, studio, "v2", CONFUSED)
    remember_project(made, project, "http://labelloop-1:9090")
    yield from of_this_process(made, monkeypatch)


def serve(hub: Hub, studio: StudioApi, version: str, classes: tuple[str, ...] = COLOURS, arm: str = "random") -> None:
    """Let all tasks have a version's prediction, served at random."""
    project, number = hub.project(7), 1000 * int(version[1:])
    note_places(hub.store, project, version, [(task, Place(0.5, arm)) for task in studio.tasks])  # type: ignore[arg-type]
    for task in studio.tasks:
        shown = {"choices": [classes[task % 3]]}
        region = {"from_name": "label", "to_name": "image", "type": "choices", "value": shown}
        studio.predictions.append(
            {"id": number + task, "task": task, "model_version": version, "result": [region], "score": 0.5}
        )


def annotate(studio: StudioApi, tasks: int = LABELED, version: str = "v2") -> None:
    """Say what is true, beginning with a version's prediction."""
    for task in list(studio.tasks)[:tasks]:
        studio.annotate(task, COLOURS[task % 3], parent_prediction=1000 * int(version[1:]) + task)


def compared(hub: Hub) -> str:
    """Let ten minutes be over, the sweep ask for a comparison, and do it."""
    hub.redis.delete(key_of(hub.project(7), "compared"))
    sweep_project(hub, hub.project(7))
    [job] = [one for one in waiting(hub, LONG) if str(one.func_name).endswith("compare")]
    told = jobs.compare(*job.args)
    job.delete()
    return told


def pointers(hub: Hub) -> Pointers:
    return hub.pointer(hub.project(7)).read()


def record(hub: Hub, version: str) -> VersionRecord:
    return hub.versions(hub.project(7)).get(version)


def deployed(hub: Hub) -> str:
    """Do what follows."""
    [job] = [one for one in waiting(hub, SHORT) if str(one.func_name).endswith("deploy")]
    told = jobs.deploy(*job.args)
    job.delete()
    return told


def test_a_version_that_is_worse_is_taken_back_with_all_that_it_served(loop: Hub, studio: StudioApi) -> None:
    annotate(studio)
    told = compared(loop)
    assert told.startswith(
        "v2 was rolled back to v1: on 30 randomly served tasks annotators agree with v2 by 33.3% and"
    )
    assert "with v1, asked about the same tasks, by 100.0% (v1 is closer on 20, v2 on 0)" in told

    assert deployed(loop) == "v1 is announced"
    stands = pointers(loop)
    assert [(one.version) for one in stands.history] == ["v1", "v2", "v1"]
    assert (stands.champion, stands.announced, studio.model_version) == ("v1", "v1", "v1")
    unlabeled = [task for task in studio.tasks if not studio.tasks[task]["annotations"]]
    assert len(unlabeled) == TASKS - LABELED
    assert all("v1" in studio.versions_of(task) for task in unlabeled)

    assert record(loop, "v2").rolled_back == told
    assert project_status(loop, loop.project(7)).rollback == told
    assert told in CliRunner().invoke(main, ["versions", "--project", "7"]).output
    assert f"rollback: {told}" in CliRunner().invoke(main, ["status"]).output
    assert "<strong>v2 was rolled back to v1: on 30" in reported(loop, loop.project(7), "v2")
    [message] = [one for one in News(loop, loop.project(7), frozenset()).messages() if one.event == "rolled_back"]
    assert (message.version, message.reason) == ("v1", told)


def test_what_is_asked_is_asked_once_and_nothing_is_asked_for_nothing(loop: Hub, studio: StudioApi) -> None:
    annotate(studio, 10)
    assert compared(loop) == "10 randomly served tasks do not show that v2 is worse than v1"
    kept = Comparison(loop.store, loop.project(7), "v2").read()
    assert [one.task for one in kept.items] == list(range(1, 11))
    assert {(one.own, one.theirs) for one in kept.items} == {(0.0, 1.0), (1.0, 1.0)}

    sweep_project(loop, loop.project(7))
    assert not waiting(loop, LONG), "nobody has said anything since"
    studio.asked.clear()
    assert compare_announced(loop, loop.project(7)).startswith("10 randomly served tasks")
    assert not studio.count("GET /api/tasks"), "no task is read again"

    loop.redis.flushall()
    remember_project(loop, loop.project(7), "http://labelloop-1:9090")
    assert compared(loop) == "10 randomly served tasks do not show that v2 is worse than v1"
    assert Comparison(loop.store, loop.project(7), "v2").read() == kept


def test_a_version_that_is_as_good_stays(loop: Hub, studio: StudioApi, tmp_path: Path) -> None:
    project, versions, pointer = loop.project(7), loop.versions(loop.project(7)), loop.pointer(loop.project(7))
    make_bundle(tmp_path / "v3", classes=COLOURS, gain=5.0)
    versions.claim("third")
    versions.publish("v3", tmp_path / "v3", replace(record(loop, "v1"), version="v3", run="third", parent="v2"))
    fence = pointer.take_fence()
    pointer.promote("v3", fence)
    pointer.announce("v3", fence)
    loop.state(project).announce("v3")
    serve(loop, studio, "v3")
    annotate(studio, version="v3")
    assert compared(loop) == "30 randomly served tasks do not show that v3 is worse than v2"
    assert pointers(loop).champion == "v3"


@pytest.mark.parametrize(("arm", "version"), [("ordered", "v2"), ("random", "v1")])
def test_only_tasks_that_chance_chose_and_nobody_else_has_predicted_count(
    loop: Hub, studio: StudioApi, arm: str, version: str
) -> None:
    serve(loop, studio, "v1")
    loop.store.write(f"{loop.project(7)}/order/v2.json", b"{}")
    note_places(loop.store, loop.project(7), "v2", [(task, Place(0.5, arm)) for task in studio.tasks])  # type: ignore[arg-type]
    annotate(studio, version=version)
    sweep_project(loop, loop.project(7))
    assert not [one for one in waiting(loop, LONG) if str(one.func_name).endswith("compare")]
    told = compare_announced(loop, loop.project(7))
    assert told == "0 randomly served tasks do not show that v2 is worse than v1"


def test_what_an_earlier_release_has_counted_is_counted_anew(loop: Hub, studio: StudioApi) -> None:
    project = loop.project(7)
    serve(loop, studio, "v1")
    annotate(studio, version="v1")
    counted = {"version": "v2", "since": "2026-11-01T00:00:00.000000Z", "seen": "", "t1": "0 0", "a1": "random"}
    for name, value in counted.items():
        loop.redis.hset(key_of(project, "agreement"), name, value)
    sweep_project(loop, project)
    assert loop.state(project).agreement.comparable("v2") == set()


def test_tasks_that_were_shown_without_a_prediction_count(loop: Hub, studio: StudioApi) -> None:
    loop.store.write(f"{loop.project(7)}/order/v2.json", b"{}")
    places = [(task, Place(0.5, "random", control=True)) for task in studio.tasks]
    note_places(loop.store, loop.project(7), "v2", places)
    for prediction in studio.predictions:
        prediction["result"] = []
    annotate(studio)
    assert compared(loop).startswith("v2 was rolled back to v1: on 30 randomly served tasks")


def test_tasks_without_a_truth_are_passed_by_until_they_change(loop: Hub, studio: StudioApi) -> None:
    annotate(studio, 5)
    studio.annotate(1, "blue")
    assert compared(loop) == "4 randomly served tasks do not show that v2 is worse than v1"
    assert loop.state(loop.project(7)).agreement.comparable("v2") == {2, 3, 4, 5}
    studio.annotate(1, COLOURS[1])
    assert compared(loop) == "5 randomly served tasks do not show that v2 is worse than v1"


def told_of(hub: Hub) -> list[str]:
    return [one.reason for one in News(hub, hub.project(7), frozenset()).messages() if one.event == "worse"]


def test_it_may_only_be_told(make_hub: MakeHub, loop: Hub, studio: StudioApi) -> None:
    annotate(studio)
    sweep_project(loop, loop.project(7))
    told = compare_announced(make_hub(rollback="tell"), loop.project(7))
    assert told.startswith("v2 is worse than v1, and is not rolled back (LABELLOOP_ROLLBACK=tell): on 30 randomly")
    assert told.endswith("`labelloop rollback --project 7 --to v1` does it")
    assert (pointers(loop).champion, project_status(loop, loop.project(7)).rollback) == ("v2", told)
    assert told_of(loop) == [told]


def test_off_nothing_is_compared(make_hub: MakeHub, loop: Hub, studio: StudioApi) -> None:
    annotate(studio)
    off = make_hub(rollback="off")
    sweep_project(off, off.project(7))
    assert not waiting(off, LONG)
    assert compare_announced(off, off.project(7)) == "there is nothing to compare"


def test_a_persons_word_goes_first(loop: Hub, studio: StudioApi) -> None:
    promote(loop.store, loop.project(7), "v1")
    promote(loop.store, loop.project(7), "v2")
    annotate(studio)
    assert "v2 is worse than v1, and is not rolled back (a person has made v2 champion)" in compared(loop)
    assert pointers(loop).champion == "v2"


@pytest.mark.parametrize("change", [{"forced": True}, {"waits": True}, {"recipe": "adopted"}])
def test_a_persons_word_that_an_earlier_release_noted_goes_first(
    loop: Hub, studio: StudioApi, change: dict[str, object]
) -> None:
    loop.versions(loop.project(7)).amend(replace(record(loop, "v2"), **change))  # type: ignore[arg-type]
    annotate(studio)
    assert "(a person has made v2 champion)" in compared(loop)


def test_it_is_never_done_twice_for_the_same_two(loop: Hub, studio: StudioApi) -> None:
    annotate(studio)
    compared(loop)
    deployed(loop)
    studio.model_version = "v1"
    jobs.deploy(str(loop.project(7)), "v2")
    told = compare_announced(loop, loop.project(7))
    assert (
        "v2 is worse than v1, and is not rolled back (it was rolled back to v1 before, and is champion again)" in told
    )
    assert pointers(loop).champion == "v2"
    assert project_status(loop, loop.project(7)).rollback == told


def test_a_run_in_progress_is_not_disturbed(loop: Hub, studio: StudioApi) -> None:
    annotate(studio)
    sweep_project(loop, loop.project(7))
    with Lease(loop, loop.project(7)):
        told = compare_announced(loop, loop.project(7))
    assert told.startswith("v2 is rolled back when the run in progress is over: on 30")
    assert pointers(loop).champion == "v2"
    assert compared(loop).startswith("v2 was rolled back to v1")


def test_a_paused_project_is_left_as_it_is_until_it_is_resumed(loop: Hub, studio: StudioApi) -> None:
    pauses = loop.pauses(loop.project(7))
    pauses.begin("ada", "a new guideline")
    annotate(studio)
    assert "v2 is worse than v1, and is not rolled back (the project is paused)" in compared(loop)
    assert pointers(loop).champion == "v2"
    pauses.end()
    assert compared(loop).startswith("v2 was rolled back to v1")


def test_a_predecessor_that_cannot_be_asked_is_told_not_taken_back(
    loop: Hub, studio: StudioApi, tmp_path: Path
) -> None:
    project, made = loop.project(7), tmp_path / "elsewhere"
    elsewhere = ForeignInfo(COLOURS, "single", "command", kind=IMAGES, model="arn:aws:model/7")
    write_foreign(made, elsewhere, {})
    for name in bundle_files(made):
        loop.store.upload(f"{project}/versions/v1/bundle-{bundle_digest(made)}/{name}", made / name)
    loop.versions(project).amend(replace(record(loop, "v1"), bundle=f"bundle-{bundle_digest(made)}"))
    annotate(studio, 40)
    assert compared(loop) == "v2 and v1 cannot be compared: the model of v1 lies elsewhere"
    keep_agreement(loop.store, project, Agreed("v1", 200, 150, 50, 48))
    told = compare_announced(loop, project)
    assert told.startswith("v2 is worse than v1, and is not rolled back (v1 cannot be asked about the same tasks: the ")
    assert "the model of v1 lies elsewhere): of randomly served tasks annotators kept the predictions of v2 in" in told
    assert "kept the predictions of v2 in 13 of 40, and those of v1 in 48 of 50, fewer than chance explains" in told
    assert (pointers(loop).champion, told_of(loop)) == ("v2", [told])

    keep_agreement(loop.store, project, Agreed("v1", 200, 150, 50, 20))
    assert compare_announced(loop, project) == "annotators do not keep fewer predictions of v2 than of v1"
    assert (project_status(loop, project).rollback, told_of(loop)) == ("", [])


def test_killed_at_any_step_it_comes_to_the_same(loop: Hub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> None:
    project, store, kills = loop.project(7), loop.store, 0
    annotate(studio)
    sweep_project(loop, project)
    for at, after in product(range(5), (False, True)):
        monkeypatch.setitem(loop.__dict__, "_store", CrashStore(store, at, after=after))
        try:
            compare_announced(loop, project)
        except Killed:
            kills += 1
    monkeypatch.setitem(loop.__dict__, "_store", store)
    # What a killed job leaves is found by the sweep.
    sweep_project(loop, project)
    deployed(loop)
    stands = pointers(loop)
    assert kills >= 4
    assert [one.version for one in stands.history] == ["v1", "v2", "v1"]
    assert (stands.announced, len(stands.rollbacks())) == ("v1", 1)
    assert record(loop, "v2").rolled_back == stands.rollbacks()[0][2]
    assert len(Comparison(store, project, "v2").read().items) == LABELED


def test_another_worker_that_moves_the_champion_meanwhile_wins(
    loop: Hub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate(studio)
    sweep_project(loop, loop.project(7))
    pointer = type(loop.pointer(loop.project(7)))
    take = pointer.take_fence

    def overtaken(self: object) -> int:
        fence = take(self)  # type: ignore[arg-type]
        take(self)  # type: ignore[arg-type]
        return fence

    monkeypatch.setattr(pointer, "take_fence", overtaken)
    with pytest.raises(Fenced):
        compare_announced(loop, loop.project(7))
    monkeypatch.undo()
    assert pointers(loop).champion == "v2"


def test_who_is_to_be_replaced_must_be_champion_still(loop: Hub) -> None:
    with pytest.raises(Conflict, match=r"v3 of .* does not take the place of v1: now v2 is champion"):
        loop.pointer(loop.project(7)).promote("v3", pointers(loop).fence, instead="v1")
