"""What a sweep reads of Label Studio and when, and what it finds."""

import time
from dataclasses import replace

import pytest

from labelloop.data.listing import Record
from labelloop.data.manifest import Manifest
from labelloop.errors import LabelConfigError
from labelloop.kinds import base
from labelloop.kinds.base import find
from labelloop.loop import jobs
from labelloop.loop.consider import consider
from labelloop.loop.explanation import explain
from labelloop.loop.hub import Hub
from labelloop.loop.moments import first, forget
from labelloop.loop.project_endpoint import hear, learns, share_extra_params
from labelloop.loop.project_labels import labeling_of, read_labels, renderer
from labelloop.loop.project_registry import remember_project
from labelloop.loop.queue import LONG, SHORT, enqueue_sweep
from labelloop.loop.state import Seen
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep, sweep_project
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.run.parameters import methods_of
from labelloop.types import ANNOTATIONS, IMAGES, Box, Findings, Item, LeftOut, Region
from support import outlined_kind
from support.studio_api import CONFIG, StudioApi

from .conftest import MakeHub
from .test_consider import scheduled, waiting


def seen(studio: StudioApi, *, ago: float) -> Seen:
    """The counters as they are now, read some seconds ago."""
    made = [one for task in studio.tasks.values() for one in task["annotations"]]
    skipped = sum(one["was_cancelled"] for one in made)
    return Seen(len(studio.tasks), len(made) - skipped, skipped, time.time() - ago)


def learned(hub: Hub, labels: dict[int, str], left_out: tuple[int, ...] = ()) -> None:
    """Let a run have ended that learned these labels."""
    project = hub.project(7)
    items = [Item(task, f"{task:064x}", (label,)) for task, label in labels.items()]
    outs = [LeftOut(task, "gone") for task in left_out]
    manifest = Manifest.of(project, "single", ("cat", "dog"), items, outs)
    hub.store.write(f"{project}/manifests/{manifest.hash}.jsonl", manifest.to_jsonl().encode())
    Runs(hub.store, project).save(RunRecord("k", str(project), manifest.hash, "s", 0, state="promoted"))


def scans(studio: StudioApi) -> int:
    """How often everything was read: each scan is one page here."""
    return sum("updated_at" not in names for names in studio.listings)


LONG_AGO = 25 * 3600 + 60


@pytest.mark.parametrize(
    ("annotations", "noted", "ago", "expected"),
    [
        (0, 0, 4000, 0),  # nothing happened
        (2, 2, 4000, 0),  # all of it was noted
        (2, 0, 4000, 0),  # none of it was: what changed tells itself
        (0, 0, LONG_AGO, 1),
    ],
)
def test_everything_is_scanned_once_in_a_long_while_alone(
    studio: StudioApi, studio_hub: Hub, annotations: int, noted: int, ago: float, expected: int
) -> None:
    studio.add_tasks(5)
    project = studio_hub.project(7)
    studio_hub.state(project).see(seen(studio, ago=ago))
    for task in range(annotations):
        studio.annotate(task + 1, "cat")
    studio_hub.state(project).changes.add([f"a{100 * number + 100}" for number in range(noted)], time.time())

    sweep_project(studio_hub, project)
    assert scans(studio) == expected
    assert changed(studio_hub) == [f"t{task + 1}" for task in range(annotations)]


def test_a_wiped_redis_leads_to_one_scan_that_finds_what_was_noted(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(4)
    studio.annotate(1, "cat")
    studio.annotate(2, "dog")
    project = studio_hub.project(7)
    for _ in range(3):
        sweep_project(studio_hub, project)

    assert scans(studio) == 1
    assert studio_hub.state(project).changes.pending().changed == 2
    assert studio_hub.state(project).seen().annotations == 2


def changed(hub: Hub) -> list[str]:
    return sorted(name for name, _ in hub.state(hub.project(7)).changes.noted(time.time()))


@pytest.fixture
def looked(studio: StudioApi, studio_hub: Hub) -> Hub:
    """Tasks 1 to 4 were learned, 5 was left out; task 6 was skipped and 7 has nothing. All is known, an hour ago."""
    studio.add_tasks(7)
    studio.ahead = -60
    for task in (1, 2, 3, 4, 5):
        studio.annotate(task, "cat")
    studio.annotate(6, "cat", was_cancelled=True)
    studio.ahead = 0
    learned(studio_hub, {1: "cat", 2: "cat", 3: "cat", 4: "cat"}, left_out=(5,))
    sweep_project(studio_hub, studio_hub.project(7))
    assert (changed(studio_hub), scans(studio)) == ([], 1)
    for _ in range(2):
        sweep_project(studio_hub, studio_hub.project(7))
        studio.ahead += 3600
    studio.listings.clear()
    return studio_hub


def edit(studio: StudioApi, task: int, **fields: object) -> None:
    """Change the first annotation of a task, as its page does."""
    now = studio.moment()
    studio.tasks[task]["annotations"][0] |= fields | {"updated_at": now}
    studio.tasks[task]["updated_at"] = now


def test_a_look_finds_each_kind_of_change_by_asking_for_what_changed(studio: StudioApi, looked: Hub) -> None:
    edit(studio, 1, result=[])
    studio.tasks[1]["annotations"].clear()  # deleted
    edit(studio, 2, was_cancelled=True)
    edit(studio, 3, result=studio.tasks[3]["annotations"][0]["result"])  # saved as it was
    edit(studio, 4, result=[])
    studio.annotate(4, "dog")
    edit(studio, 5, ground_truth=True)
    edit(studio, 6, was_cancelled=False)
    studio.annotate(7, "dog")
    sweep_project(looked, looked.project(7))

    assert changed(looked) == ["t1", "t2", "t4", "t5", "t6", "t7"]
    assert all("updated_at" in names for names in studio.listings)
    # Changed back, all of it that can be: there is nothing to learn.
    cat = studio.tasks[3]["annotations"][0]["result"]
    studio.annotate(1, "cat")
    edit(studio, 2, was_cancelled=False)
    studio.tasks[4]["annotations"].pop()
    edit(studio, 4, result=cat)
    edit(studio, 6, was_cancelled=True)
    edit(studio, 7, was_cancelled=True)
    sweep_project(looked, looked.project(7))

    assert changed(looked) == ["t5"]
    assert all("updated_at" in names for names in studio.listings)


def test_labels_that_were_changed_back_make_no_run(studio: StudioApi, looked: Hub, make_hub: MakeHub) -> None:
    hub, project = make_hub(head_retrain_after=2, head_quiet_seconds=0), looked.project(7)
    hub.state(project).note("missing", "")
    last = hub.runs(project).latest()
    assert last is not None
    hub.runs(project).save(replace(last, methods=methods_of(hub.settings.recipes, find(IMAGES).recipes)))
    state, cat = hub.state(project), studio.tasks[1]["annotations"][0]["result"]

    def note(*annotations: str) -> None:
        state.changes.add(annotations, time.time())

    for task in (1, 2, 3):
        edit(studio, task, result=[])
    note("a100", "a200", "a300")
    for task in (1, 2):
        edit(studio, task, result=cat)
    assert consider(hub, project) == "1 changed labels wait for their moment"
    assert changed(hub) == ["t3"]
    assert (waiting(hub, LONG), scans(studio)) == ([], 0)
    # What the last look knew is not asked for again, and what is edited while it is made counts.
    before = studio.count("GET")
    assert consider(hub, project) == "1 changed labels wait for their moment"
    assert studio.count("GET") == before
    edit(studio, 1, result=[])
    note("a100", "a200")
    assert consider(hub, project) == "run enqueued: 2 changed labels"
    assert changed(hub) == ["t1", "t3"]


def test_a_moment_before_a_run_it_is_looked_whether_labels_were_changed_back(
    studio: StudioApi, looked: Hub, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelloop.loop.consider.LOOK_AHEAD", 70.0)
    monkeypatch.setattr("labelloop.loop.changed_back._EARLY_SECONDS", 60.0)
    hub, project, now = make_hub(head_retrain_after=1, head_quiet_seconds=90), looked.project(7), time.time()
    hub.state(project).note("missing", "")
    last = hub.runs(project).latest()
    assert last is not None
    hub.runs(project).save(replace(last, methods=methods_of(hub.settings.recipes, find(IMAGES).recipes)))
    state = hub.state(project)
    edit(studio, 1, result=[])

    def looks(*, changed: float, looked: float) -> bool:
        """Whether Label Studio is asked when a label changed, and the last look was, so many seconds ago."""
        forget(hub.redis, project)
        state.changes.add(["t1"], now - changed)
        state.look(replace(state.looked(), at=now - looked))
        before = studio.count("GET")
        assert consider(hub, project) == "1 changed labels wait for their moment"
        return studio.count("GET") > before

    assert not looks(changed=0, looked=100)
    assert (first(hub.redis) or 0) - now == pytest.approx(20, abs=1)
    assert looks(changed=30, looked=100)
    # A change is later than the manifest, which is of a moment ago. The next look is at the run's own moment.
    assert (first(hub.redis) or 0) - now == pytest.approx(90, abs=5)
    assert not looks(changed=30, looked=20), "the last look knew it"
    assert not looks(changed=30, looked=40), "early looks come now and then"
    state.changes.add(["t1"], now - 90)
    assert consider(hub, project) == "run enqueued: 1 changed labels"


def test_with_label_studio_away_what_is_noted_counts(studio: StudioApi, looked: Hub, make_hub: MakeHub) -> None:
    looked.state(looked.project(7)).changes.add(["a100", "a200", "a300"], time.time())
    studio.refusing = 503

    assert (
        consider(make_hub(head_retrain_after=2, head_quiet_seconds=0), looked.project(7))
        == "run enqueued: 3 changed labels"
    )


def test_what_changed_before_the_last_look_is_not_read_again(studio: StudioApi, looked: Hub) -> None:
    studio.annotate(7, "dog")
    sweep_project(looked, looked.project(7))
    studio.ahead += 3600
    sweep_project(looked, looked.project(7))
    studio.ahead += 3600
    before = studio.count("GET /api/projects/")
    sweep_project(looked, looked.project(7))
    # The counters, what changed, the ML backend: no label config, for there is nothing to read by it.
    assert studio.count("GET /api/projects/") - before == 1
    assert looked.state(looked.project(7)).looked().since > studio.tasks[7]["updated_at"]
    assert changed(looked) == ["t7"]


def test_a_deleted_task_is_found_by_a_scan_when_two_looks_could_not(studio: StudioApi, looked: Hub) -> None:
    hub = looked
    project, state = hub.project(7), hub.state(hub.project(7))
    del studio.tasks[2]
    studio.annotate(7, "cat")
    state.changes.add(["a200"], time.time())
    for _ in range(3):
        sweep_project(hub, project)
    # Less than an hour has passed since the last scan; what was noted is not lost meanwhile.
    assert scans(studio) == 0
    assert changed(hub) == ["a200", "t7"]
    state.see(replace(state.seen(), scanned=state.seen().scanned - 3601))
    sweep_project(hub, project)
    assert scans(studio) == 1
    assert changed(hub) == ["t2", "t7"]
    sweep_project(hub, project)
    assert (scans(studio), state.looked().doubt) == (1, 0.0)


def test_annotations_that_moved_no_task_are_found_by_a_scan(studio: StudioApi, looked: Hub) -> None:
    project, state = looked.project(7), looked.state(looked.project(7))
    studio.annotate(7, "cat")
    studio.tasks[7]["updated_at"] = studio.tasks[7]["annotations"][0]["updated_at"] = "2026-11-01T00:00:00.000000Z"
    state.see(replace(state.seen(), scanned=state.seen().scanned - 3601))
    sweep_project(looked, project)
    # Once may be a moment in the middle of its being saved.
    assert (scans(studio), state.looked().doubt > 0) == (0, True)
    sweep_project(looked, project)
    sweep_project(looked, project)
    assert (scans(studio), changed(looked)) == (1, ["t7"])


def test_a_clock_of_label_studio_that_is_turned_back_hides_nothing(studio: StudioApi, looked: Hub) -> None:
    studio.ahead -= 7200
    edit(studio, 1, result=[])
    sweep_project(looked, looked.project(7))
    assert changed(looked)[0] == "t1"
    edit(studio, 2, result=[])
    sweep_project(looked, looked.project(7))
    assert changed(looked)[:2] == ["t1", "t2"]


def test_a_new_label_config_is_compared_with_everything(studio: StudioApi, looked: Hub) -> None:
    project, state = looked.project(7), looked.state(looked.project(7))
    studio.config = CONFIG.replace('<Choice value="cat"/>', '<Choice value="puss"/>')
    sweep_project(looked, project)
    assert (scans(studio), changed(looked)) == (0, [])
    told = "has changed since all labels were compared: they are compared again in 60 min, or now by `labelloop sweep"
    assert told in project_status(looked, project).trouble
    state.see(replace(state.seen(), scanned=state.seen().scanned - 3601))
    sweep_project(looked, project)
    assert (scans(studio), changed(looked)) == (1, ["t1", "t2", "t3", "t4"])
    assert "has changed" not in project_status(looked, project).trouble


def test_nobody_is_told_of_a_comparison_where_nothing_is_compared_any_more(
    studio: StudioApi, looked: Hub, make_hub: MakeHub
) -> None:
    project = looked.project(7)
    studio.config = CONFIG.replace('<Choice value="cat"/>', '<Choice value="puss"/>')
    sweep_project(looked, project)
    assert "asked" in looked.state(project).notes()
    studio.connect("labelloop")
    served = make_hub(endpoint="http://127.0.0.1:1/predict")
    assert not learns(served, project)
    sweep_project(served, project)
    assert "asked" not in served.state(project).notes()


def test_another_control_tag_to_be_learned_is_compared_with_everything(studio: StudioApi, looked: Hub) -> None:
    project, state = looked.project(7), looked.state(looked.project(7))
    tag = '<Choices name="sky" toName="image"><Choice value="clear"/><Choice value="grey"/></Choices></View>'
    studio.config = CONFIG.replace("</View>", tag)
    state.look(replace(state.looked(), asked=""))
    sweep_project(looked, project)
    hear(looked, project, {"learn": "sky"})
    share_extra_params(looked, project)
    state.see(replace(state.seen(), scanned=state.seen().scanned - 3601))
    sweep_project(looked, project)

    assert scans(studio) == 1
    assert project_status(looked, project).learns.startswith("<Choices name='sky'> as ")


def test_a_label_config_of_which_nothing_is_learned_is_told_as_what_is_missing(
    studio: StudioApi, studio_hub: Hub
) -> None:
    project, config = studio_hub.project(7), studio.config
    studio.config = '<View><Text name="text" value="$text"/><TextArea name="note" toName="text"/></View>'
    sweep(studio_hub, [project])
    stands = project_status(studio_hub, project)
    assert stands.missing == "a label config of which something can be learned"
    assert "<TextArea name='note'>: LabelLoop does not learn it" in stands.trouble

    studio.config = config
    sweep(studio_hub, [project])
    assert (project_status(studio_hub, project).missing, project_status(studio_hub, project).trouble) == (
        "4 more labels",
        "",
    )


def test_looks_that_are_dear_are_rare(studio: StudioApi, looked: Hub) -> None:
    project, state = looked.project(7), looked.state(looked.project(7))
    state.look(replace(state.looked(), took=3.0, at=time.time() - 200))
    edit(studio, 1, result=[])
    sweep_project(looked, project)
    assert changed(looked) == []
    # Counters that tell of more than is noted are reason to look earlier.
    studio.annotate(7, "cat")
    sweep_project(looked, project)
    assert changed(looked) == ["t1", "t7"]


def test_a_scan_finds_new_edited_and_deleted_labels_and_nothing_else(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(7)
    learned(studio_hub, {1: "cat", 2: "cat", 3: "cat", 4: "cat"}, left_out=(5,))
    studio.annotate(1, "cat")
    studio.annotate(2, "dog")
    studio.annotate(4, "cat", was_cancelled=True)
    studio.annotate(5, "dog")
    studio.annotate(6, "dog")
    studio.annotate(7, "cat", was_cancelled=True)
    project = studio_hub.project(7)

    sweep_project(studio_hub, project, scan_now=True)

    assert changed(studio_hub) == ["t2", "t3", "t4", "t5", "t6"]


def test_a_scan_tells_what_the_first_version_lacks(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(4)
    studio.annotate(1, "cat")
    project = studio_hub.project(7)

    sweep_project(studio_hub, project, scan_now=True)
    assert project_status(studio_hub, project).missing.startswith("3 more labels; ")


def test_repeated_scans_do_not_put_off_the_longest_wait(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(2)
    studio.annotate(1, "cat")
    project = studio_hub.project(7)
    sweep_project(studio_hub, project, scan_now=True)
    first = studio_hub.state(project).changes.pending().first
    studio.annotate(2, "cat")
    sweep_project(studio_hub, project, scan_now=True)

    found = studio_hub.state(project).changes.pending()
    assert (found.changed, found.first) == (2, first)
    assert found.last > first


def test_new_tasks_are_pre_annotated_until_a_job_has_done_it(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(2)
    project = studio_hub.project(7)
    sweep_project(studio_hub, project)
    sweep_project(studio_hub, project)

    assert scheduled(studio_hub).count("prelabel") == 1
    # A job that was lost with its worker: the counter says nothing more, the note does.
    forget(studio_hub.redis, project)
    sweep_project(studio_hub, project)
    assert "prelabel" in scheduled(studio_hub)
    studio_hub.state(project).note("unpredicted", "")
    forget(studio_hub.redis, project)
    sweep_project(studio_hub, project)
    assert "prelabel" not in scheduled(studio_hub)


def announce(hub: Hub, version: str) -> None:
    pointer = ChampionPointer(hub.store, hub.project(7))
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    pointer.announce(version, fence)


def test_a_title_left_behind_is_flipped(studio: StudioApi, studio_hub: Hub) -> None:
    studio.connect("v1")
    announce(studio_hub, "v2")
    sweep_project(studio_hub, studio_hub.project(7))

    assert studio.backends[0]["title"] == studio.model_version == "v2"
    patches = studio.count("PATCH")
    sweep_project(studio_hub, studio_hub.project(7))
    assert studio.count("PATCH") == patches


def test_a_title_that_cannot_be_flipped_holds_up_no_run_and_is_told_until_it_can(
    studio: StudioApi, studio_hub: Hub
) -> None:
    project = studio_hub.project(7)
    announce(studio_hub, "v2")
    studio_hub.state(project).see(seen(studio, ago=0))
    studio.add_tasks(3)
    for task in (1, 2, 3):
        studio.annotate(task, "cat")
    studio_hub.state(project).changes.add(["a100", "a200", "a300"], time.time() - 60)

    assert sweep(studio_hub)[str(project)].startswith("failed: none of the ML backends")
    assert len(waiting(studio_hub, LONG)) == 1
    assert "labelloop connect --project 7" in project_status(studio_hub, project).trouble

    studio.connect("v1")
    sweep(studio_hub)
    assert project_status(studio_hub, project).trouble == ""


def test_a_project_that_fails_does_not_stop_the_others(studio: StudioApi, studio_hub: Hub) -> None:
    other = replace(studio_hub.project(7), id=3)
    for project in (other, studio_hub.project(7)):
        remember_project(studio_hub, project, None)
    studio.others, studio.pages = {3}, {"/api/projects/3": (400, b"{}")}
    done = sweep(studio_hub)

    assert done == {str(other): done[str(other)], str(studio_hub.project(7)): "nothing has changed"}
    assert done[str(other)].startswith("failed: Label Studio at ")
    assert studio_hub.state(other).notes()["sweep"] in done[str(other)]
    assert studio_hub.state(other).swept() is None
    assert time.time() - (studio_hub.state(studio_hub.project(7)).swept() or 0.0) < 60


def test_sweeps_do_not_pile_up_behind_a_long_run(hub: Hub) -> None:
    for _ in range(3):
        enqueue_sweep(hub.redis, every=60)
    hub.redis.delete("labelloop:sweep")
    enqueue_sweep(hub.redis, every=60)

    assert len(waiting(hub, SHORT)) == 1
    hub.redis.delete("labelloop:sweep")
    waiting(hub, SHORT)[0].delete()
    enqueue_sweep(hub.redis, every=60)
    assert len(waiting(hub, SHORT)) == 1


def test_a_sweep_that_takes_longer_than_its_turn_leaves_the_worker_time_for_runs(job_hub: Hub) -> None:
    hub = job_hub
    enqueue_sweep(hub.redis, every=60)
    [begun] = waiting(hub, SHORT)
    begun.delete()
    # Its turn comes again while it is at work: that one waits, before any run.
    hub.redis.delete("labelloop:sweep")
    enqueue_sweep(hub.redis, every=60)
    assert len(waiting(hub, SHORT)) == 1

    jobs.sweep()

    assert waiting(hub, SHORT) == []
    enqueue_sweep(hub.redis, every=60)
    assert waiting(hub, SHORT) == []


BOXES = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    '<Label value="car"/></RectangleLabels></View>'
)


def test_a_box_that_was_moved_is_a_changed_label(studio: StudioApi, make_hub: MakeHub) -> None:
    hub = make_hub(trainer="command:./train.sh", deployer="command:./deploy.sh")
    studio.config = BOXES
    studio.connect("labelloop")
    studio.add_tasks(4)
    for task in (1, 2, 3):
        draw(studio, task, x=10.0)
    project = hub.project(7)
    labeling = labeling_of(hub, project)
    assert (labeling.kind, labeling.choice, labeling.classes) == (ANNOTATIONS, "multiple", ("car",))
    records = [one for one in labeling.records(find(labeling.kind).truth) if isinstance(one, Record)]
    items = [Item(one.task, f"{one.task:064x}", one.labels, result=one.result) for one in records]
    manifest = Manifest.of(project, "multiple", ("car",), items, kind=ANNOTATIONS)
    hub.store.write(f"{project}/manifests/{manifest.hash}.jsonl", manifest.to_jsonl().encode())
    Runs(hub.store, project).save(RunRecord("k", str(project), manifest.hash, "s", 0, state="promoted"))

    sweep_project(hub, project, scan_now=True)
    assert hub.state(project).changes.pending().changed == 0

    # Saved again as it was: nothing of what was said has changed.
    draw(studio, 1, x=10.0, id="another", origin="manual")
    draw(studio, 2, x=12.5)
    sweep_project(hub, project, scan_now=True)
    assert hub.state(project).changes.pending().changed == 1
    # All have the same label, and that is no reason to wait.
    assert "apart" not in hub.state(project).notes().get("missing", "")


def draw(studio: StudioApi, task: int, *, x: float, **more: object) -> None:
    """Let an annotator draw one box around the car of a task, in place of what was there."""
    value = {"x": x, "y": 5, "width": 20, "height": 10, "rotation": 0, "rectanglelabels": ["car"]}
    region = {"from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value} | more
    studio.tasks[task]["annotations"] = [{"id": 100 * task, "result": [region], "was_cancelled": False}]


def test_without_a_trainer_of_its_own_a_project_of_outlines_is_none_that_anything_is_learned_of(
    studio: StudioApi, make_hub: MakeHub
) -> None:
    hub = make_hub()
    studio.config = BOXES.replace("Rectangle", "Polygon")
    studio.connect("labelloop")
    with pytest.raises(LabelConfigError):
        labeling_of(hub, hub.project(7))
    studio.config = CONFIG
    foreign = make_hub(trainer="command:./train.sh")
    assert labeling_of(foreign, foreign.project(7)).kind == IMAGES


def test_files_that_are_not_what_annotators_see_are_no_items(studio: StudioApi, make_hub: MakeHub) -> None:
    hub = make_hub(trainer="command:./train.sh", min_labels=1)
    studio.config = BOXES
    studio.connect("labelloop")
    studio.add_tasks(3)
    for task in (1, 2, 3):
        draw(studio, task, x=10.0)
    studio.pictures["/data/upload/7/2.png"] = b"<!DOCTYPE html><title>Log in</title>"
    studio.pictures["/data/upload/7/3.png"] = b""
    project = hub.project(7)
    found = read_labels(hub, project, labeling_of(hub, project), lambda *_: None).manifest
    assert [item.task for item in found.items] == [1]
    assert [out.reason.partition(": ")[2] for out in found.left_out] == [
        "it is an HTML page, perhaps a login page, which is nothing that annotators are shown",
        "it is empty, which is nothing that annotators are shown",
    ]


def test_what_a_kind_of_regions_learns_is_read_as_regions(
    studio: StudioApi, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "KINDS", {outlined_kind.NAME: outlined_kind.__name__, **base.KINDS})
    hub = make_hub()
    studio.config = BOXES.replace("<View>", "<View >")  # what was read of a label config is remembered
    studio.connect("labelloop")
    studio.add_tasks(2)
    draw(studio, 1, x=10.0)
    studio.tasks[2]["annotations"] = [{"id": 9, "result": [], "was_cancelled": False}]
    labeling = labeling_of(hub, hub.project(7))
    assert (labeling.kind, labeling.choice, labeling.classes) == (outlined_kind.NAME, "multiple", ("car",))
    said = [example.votes[0].result for example in labeling.examples()]
    assert said == ['[{"box":[0.1,0.05,0.2,0.1],"label":"car"}]', "[]"]

    # What an endpoint with a model of its own answers is compared by the same regions, with its scores.
    answer = Findings((Region("car", Box(0.1, 0.05, 0.2, 0.1), 0.75), Region("bus", Box(0.5, 0.5, 0.1, 0.1))), "m")
    shown = renderer(hub, hub.project(7))(answer, Item(1, "", ()))
    assert shown.regions == (Region("car", Box(0.1, 0.05, 0.2, 0.1), 0.75),)


def test_what_the_next_sweep_will_find_is_explained_and_nothing_is_changed(
    studio: StudioApi, looked: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = looked.project(7)
    state = looked.state(project)
    studio.annotate(7, "dog")
    studio.annotate(6, "cat", id=606)
    edit(studio, 1, was_cancelled=True)
    edit(studio, 2, result=[])
    edit(studio, 6, was_cancelled=False)
    studio.tasks[3]["annotations"].clear()
    studio.tasks[3]["updated_at"] = studio.moment()
    edit(studio, 4, result=studio.tasks[4]["annotations"][0]["result"])
    state.changes.add(["a400", "a700", "t5"], time.time())
    before = {key: looked.redis.dump(key) for key in looked.redis.keys(f"*{project}*")}
    stored, patched = sorted(looked.store.names("")), studio.count("P")

    found = explain(looked, project)
    assert found.first == {1: "skipped", 2: "not usable any more", 3: "deleted", 6: "un-skipped", 7: "created"}
    assert (found.compared, found.noted, found.expected, found.adds_up) == (6, 3, 6, True)
    assert found.then == {"tasks": 7, "annotations": 5, "skipped": 1}
    assert found.now == {"tasks": 7, "annotations": 6, "skipped": 1}
    assert found.next.startswith("a look whether labels are enough for a run in ")
    assert 3500 < found.scan_at - time.time() - 23 * 3600 < 3601
    assert {key: looked.redis.dump(key) for key in looked.redis.keys(f"*{project}*")} == before
    assert (sorted(looked.store.names("")), studio.count("P")) == (stored, patched)

    # What it says comes true.
    sweep_project(looked, project)
    assert state.changes.pending().changed == found.expected
    del studio.tasks[2]
    sweep_project(looked, project)
    assert not explain(looked, project).adds_up
