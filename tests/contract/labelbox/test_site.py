"""A model run as a site: what is read of it, what it cannot hold, links that expire, what it is told and given."""

import io
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from labelloop.data.labeling import Example, Subject
from labelloop.data.listing import Record
from labelloop.data.model_run_site import Answered
from labelloop.errors import LabelConfigError, MediaDenied, MediaError, ModelRunGone, SettingsError
from labelloop.kinds.base import find
from labelloop.labelbox import exported
from labelloop.labelbox.rows import row_number
from labelloop.labelbox.site import LabelboxSite
from labelloop.labelbox.tool import LabelboxTool
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.types import Answer, Box, Failure, Findings, Input, Item, Output, Region, Rendering
from support.labelbox import (
    LabelboxStandIn,
    Row,
    box,
    checklist,
    data_row_id,
    ontology,
    radio,
    rectangle,
    single,
)

SCENES = ontology(radio("scene", ("forest", "sea")), checklist("things", ("tree", "boat")), rectangle("car"))
RADIO, CHECKLIST, BOXES, INFERENCE = 3, 4, 1, 101


def picture(shade: int, size: tuple[int, int] = (40, 30)) -> bytes:
    written = io.BytesIO()
    Image.new("L", size, shade).save(written, "PNG")
    return written.getvalue()


def rows() -> list[Row]:
    """Four pictures: two of a forest, one by majority, the sea, and one that nobody has labeled."""
    forest, sea = (single("scene", "forest"),), (single("scene", "sea"),)
    labels = [(forest,), (forest, sea, forest), (sea,), ()]
    return [
        Row(data_row_id(str(at)), file=f"{at}.png", content=picture(40 * at), labels=said)
        for at, said in enumerate(labels)
    ]


SPLITS = {data_row_id("0"): "TRAINING", data_row_id("1"): "VALIDATION", data_row_id("2"): "TEST"}


@pytest.fixture
def settings(labelbox: LabelboxStandIn, tmp_path: Path) -> Settings:
    return replace(Settings.from_environment(), model_dir=str(tmp_path))


@pytest.fixture
def media(settings: Settings) -> Iterator[Media]:
    media = Media(settings, None)
    yield media
    media.close()


class Sites:
    """Makes sites of model runs, as new processes do, and closes them."""

    def __init__(self, labelbox: LabelboxStandIn, settings: Settings, media: Media) -> None:
        self.labelbox, self.settings, self.media = labelbox, settings, media
        self.tools: list[LabelboxTool] = []

    def run(self, told: list[Row] | None = None, config: dict[str, object] | None = None) -> str:
        return self.labelbox.add_model_run(
            self.labelbox.add_model(SCENES), rows() if told is None else told, SPLITS, config
        )

    def of(self, run: str, number: int = RADIO) -> LabelboxSite:
        self.tools.append(LabelboxTool(self.settings, run))
        return self.tools[-1].site(number, self.media, lambda: None)


@pytest.fixture
def sites(labelbox: LabelboxStandIn, settings: Settings, media: Media) -> Iterator[Sites]:
    made = Sites(labelbox, settings, media)
    yield made
    for tool in made.tools:
        tool.close()


def number(name: str) -> int:
    return row_number(data_row_id(name))


def exports(labelbox: LabelboxStandIn) -> int:
    return labelbox.calls.count("exportDataRowsInModelRunPyApi")


def examples(site: LabelboxSite) -> dict[int, Example]:
    return {one.task: one for one in site.labeling().examples()}


def test_labels_are_read_with_their_sides_and_votes(sites: Sites) -> None:
    site = sites.of(sites.run())
    labeling = site.labeling()
    assert (labeling.kind, labeling.choice, labeling.classes) == ("image-classification", "single", ("forest", "sea"))
    assert labeling.asked == "radio question 'scene'"
    found = list(labeling.examples())
    assert [one.task for one in found] == sorted(number(str(at)) for at in range(4))
    by_task = {one.task: one for one in found}
    assert [by_task[number(str(at))].side for at in range(4)] == ["train", "validation", "test", None]
    assert len(by_task[number("1")].votes) == 3
    records = list(labeling.records(find(labeling.kind).truth))
    truth = {one.task: one.labels for one in records if isinstance(one, Record)}
    assert truth == {number("0"): ("forest",), number("1"): ("forest",), number("2"): ("sea",)}
    left = [one for one in records if not isinstance(one, Record)]
    assert [(one.task, one.reason) for one in left] == [(number("3"), "it has no label in this model run")]
    counters = site.overview().counters
    assert (counters.tasks, counters.labeled, counters.skipped) == (4, 3, 0)


def test_files_are_known_by_what_is_not_signed(sites: Sites) -> None:
    site = sites.of(sites.run())
    one = examples(site)[number("2")]
    assert one.uri.endswith(f"/2.png#{data_row_id('2')}")
    assert "signature" not in one.uri
    assert site.read(Record(one.uri, (), one.task)) == picture(80)
    with pytest.raises(MediaError, match="no more in the model run"):
        site.read(Record("", (), 12345))


@pytest.mark.parametrize(
    ("number", "tag", "told"),
    [
        (2, "", "no named-entity tool"),
        (5, "mood", "no radio question 'mood'; it has 'scene'"),
        (101, "", "only predicts"),
    ],
)
def test_what_the_ontology_cannot_hold_is_refused_before_anything_is_exported(
    sites: Sites, labelbox: LabelboxStandIn, number: int, tag: str, told: str
) -> None:
    with pytest.raises(LabelConfigError, match=told):
        sites.of(sites.run(), number).labeling(Subject(tag))
    assert exports(labelbox) == 0


def test_a_number_of_no_entry_is_refused(sites: Sites) -> None:
    with pytest.raises(LabelConfigError, match="number 7"):
        sites.of(sites.run(), 7)


def test_expired_links_are_exported_anew_once(
    sites: Sites, labelbox: LabelboxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_LEAST_AGE", 0.0)
    site = sites.of(sites.run())
    found = examples(site)
    labelbox.expire_links()
    for at in range(4):
        assert site.read(Record(found[number(str(at))].uri, (), number(str(at)))) == picture(40 * at)
    assert exports(labelbox) == 2
    # Votes and sides are those of the first export.
    assert examples(site)[number("1")] == found[number("1")]
    assert exports(labelbox) == 2


def test_links_that_are_refused_while_they_are_new_are_not_renewed(sites: Sites, labelbox: LabelboxStandIn) -> None:
    site = sites.of(sites.run())
    found = examples(site)[number("0")]
    labelbox.fail("GET rows", "forbidden", None)
    with pytest.raises(MediaDenied, match=r"answered 403") as denied:
        site.read(Record(found.uri, (), found.task))
    assert "signature" not in str(denied.value)
    assert exports(labelbox) == 1


def test_links_that_nobody_may_read_are_renewed_less_and_less(
    sites: Sites, labelbox: LabelboxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_LEAST_AGE", 1e-9)
    site = sites.of(sites.run())
    found = examples(site)
    labelbox.fail("GET rows", "forbidden", None)
    for _ in range(30):
        with pytest.raises(MediaDenied):
            site.read(Record("", (), found[number("0")].task))
    assert 2 <= exports(labelbox) <= 11


def test_an_attempt_keeps_its_export_and_another_makes_its_own(sites: Sites, labelbox: LabelboxStandIn) -> None:
    run = sites.run()
    first = sites.of(run)
    first.begin(1)
    examples(first)
    resumed = sites.of(run)
    resumed.begin(1)
    assert len(examples(resumed)) == 4
    assert exports(labelbox) == 1
    again = sites.of(run)
    again.begin(2)
    examples(again)
    assert exports(labelbox) == 2


def test_rows_that_nobody_has_opened_for_a_month_go(sites: Sites) -> None:
    folders = sites.settings.directory / "cache" / "labelbox"
    old, young = folders / "labelbox--some-old-run" / "3", folders / "labelbox--some-young-run" / "3"
    for folder in (old, young):
        folder.mkdir(parents=True)
    run = sites.run()
    site, own = sites.of(run), folders / f"labelbox--{run}" / str(RADIO)
    for folder in (old, own):
        os.utime(folder, (time.time() - 31 * 86400,) * 2)
    site.begin(1)
    assert [folder.exists() for folder in (old, young, own)] == [False, True, True]


def test_a_picture_whose_size_nobody_tells_is_measured(sites: Sites) -> None:
    told = Row(data_row_id("b"), file="b.png", content=picture(9, (200, 100)), labels=((box("car", 20, 10, 100, 50),),))
    unknown = replace(told, id=data_row_id("c"), file="c.png", sides=(0, 0))
    site = sites.of(sites.run([told, unknown]), BOXES)
    drawn = {task: json.loads(one.votes[0].result) for task, one in examples(site).items()}
    assert drawn[number("b")] == drawn[number("c")] == [{"box": [0.1, 0.1, 0.5, 0.5], "label": "car"}]


def test_the_training_config_is_taken_as_far_as_it_means_something(sites: Sites) -> None:
    run = sites.run(config={"epochs": 7, "learn": "scene", "threshold": 0.3, "notes": "for Anna"})
    site = sites.of(run)
    assert dict(site.parameters()) == {"epochs": "7"}
    assert site.connection().extra_params == {"learn": "scene", "threshold": 0.3}
    site.complete({"version": "v1"})
    (told,) = sites.labelbox.statuses(run)
    assert told["status"] == "COMPLETE"
    assert told["metadata"]["version"] == "v1"
    assert "'notes'" in told["metadata"]["config"]


def test_config_and_ontology_are_made_once_though_every_row_asks_for_them(
    sites: Sites, labelbox: LabelboxStandIn
) -> None:
    site = sites.of(sites.run(config={"epochs": 3}))
    record = next(one for one in site.labeling().records(find("image-classification").truth) if isinstance(one, Record))
    config, (ontology,) = site.config(), site.ontologies()
    labelbox.calls.clear()
    site.read(record)
    assert site.config() is config
    assert site.ontologies() == (ontology,)
    assert site.ontologies()[0] is ontology
    assert site.ontologies(Subject("scene"))[0].asked == ontology.asked
    assert labelbox.calls == ["GET rows"]
    # What people have changed since is there when the model run is asked for anew.
    site.overview()
    assert site.config() is not config


def test_an_impossible_config_is_refused_with_a_sentence(sites: Sites) -> None:
    with pytest.raises(SettingsError, match="'epochs': 'many' is not a whole number"):
        sites.of(sites.run(config={"epochs": "many"})).parameters()


def test_statuses_follow_the_stages_and_are_not_repeated(sites: Sites, labelbox: LabelboxStandIn) -> None:
    run = sites.run()
    site = sites.of(run)
    for stage in ("fetch", "manifest", "preprocess", "train", "evaluate"):
        for done in range(50):
            site.tell(stage, "pictures", done, 1000)
    assert labelbox.stages(run) == ["EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL"]
    assert len(labelbox.statuses(run)) == 3
    assert labelbox.statuses(run)[0]["metadata"] == {"stage": "fetch", "progress": "pictures: 0 of 1,000"}


def test_who_tells_does_not_fall_with_labelbox_and_stops_where_the_model_run_is_gone(
    sites: Sites, labelbox: LabelboxStandIn
) -> None:
    run = sites.run()
    site = sites.of(run)
    labelbox.fail("setPipelineStatusPyApi", "conflict")
    site.tell("fetch", "data rows", 1, 2)
    site.tell("fetch", "data rows", 2, 2)
    assert labelbox.statuses(run) == []
    labelbox.delete_model_run(run)
    with pytest.raises(ModelRunGone):
        site.tell("train", "epochs", 1, 2)
    with pytest.raises(ModelRunGone):
        site.overview()


def test_why_it_failed_is_told_without_what_signs_a_link(sites: Sites, labelbox: LabelboxStandIn) -> None:
    run = sites.run()
    sites.of(run).fail("https://files.example/1.png?signature=hush could not be read " + "x" * 1000)
    (told,) = labelbox.statuses(run)
    assert told["status"] == "FAILED"
    assert "hush" not in told["errorMessage"]
    assert len(told["errorMessage"]) < 500


def conclusion() -> list[Answered]:
    output = Output("forest", 0.75, {"forest": 0.75, "sea": 0.25}, "v3")
    items = [Item(number(name), name * 64, ("forest",)) for name in ("1", "2")]
    return [Answered(items[0], "validation", output), Answered(items[1], "test", Failure("it is too large"))]


def test_a_version_and_its_metrics_are_uploaded_once(sites: Sites, labelbox: LabelboxStandIn) -> None:
    run = sites.run()
    site = sites.of(run)
    site.keep("v3", conclusion())
    # Another process goes on.
    resumed = sites.of(run)
    told: list[tuple[int, int]] = []
    done = resumed.finish("v3", lambda _, done, total: told.append((done, total)))
    assert (done.rows, done.refused, done.left_out, done.reasons) == (1, 0, 1, ("it is too large",))
    assert told[-1] == (done.lines, done.lines)
    lines = labelbox.predictions(run)
    (prediction,) = (one for one in lines if "answer" in one)
    assert prediction["dataRow"] == {"id": data_row_id("1")}
    assert prediction["answer"] == {"name": "forest", "confidence": 0.75}
    metrics = {one["metricName"]: one["metricValue"] for one in lines if "metricName" in one}
    assert metrics == {
        "loss": pytest.approx(0.287682),
        "entropy": pytest.approx(0.562335),
        "margin": 0.5,
        "agreement": pytest.approx(2 / 3, abs=1e-6),
    }
    before = dict(labelbox.imports(run))
    assert sites.of(run).finish("v3", lambda *_: None) == done
    assert labelbox.imports(run) == before


def test_what_an_earlier_version_said_and_this_one_does_not_is_withdrawn(
    sites: Sites, labelbox: LabelboxStandIn
) -> None:
    run = sites.run([Row(data_row_id("b"), file="b.png", content=picture(9, (200, 100)), labels=((),))])
    site = sites.of(run, BOXES)
    item = Item(number("b"), "b" * 64, ())
    places = [Region("car", Box(0.1, 0.1, 0.2, 0.2), 0.9), Region("car", Box(0.5, 0.5, 0.2, 0.2), 0.8)]
    for version, found in (("v3", places), ("v4", places[:1]), ("v5", [])):
        site.keep(version, [Answered(item, "test", Findings(tuple(found), version, (200, 100)))])
        site.finish(version, lambda *_: None)
        lines = {one["uuid"]: one for one in labelbox.predictions(run) if "bbox" in one}
        assert [one["confidence"] for one in lines.values()] == [
            *(region.score for region in found),
            *[0.0] * (2 - len(found)),
        ]


def test_boxes_of_a_picture_that_was_not_measured_agree_with_what_was_drawn(
    sites: Sites, labelbox: LabelboxStandIn
) -> None:
    drawn = ((box("car", 20, 10, 100, 50),),)
    told = Row(data_row_id("b"), file="b.png", content=picture(9, (200, 100)), labels=drawn)
    run = sites.run([replace(told, sides=(0, 0))])
    site = sites.of(run, BOXES)
    answer = Findings((Region("car", Box(0.1, 0.1, 0.5, 0.5), 0.5),), "v3")
    site.keep("v3", [Answered(Item(number("b"), "b" * 64, ("car",)), "test", answer)])
    site.finish("v3", lambda *_: None)
    metrics = {one["metricName"]: one["metricValue"] for one in labelbox.predictions(run) if "metricName" in one}
    assert metrics["agreement"] == 1.0


def test_what_is_not_learned_of_labels_is_told_with_complete(sites: Sites, labelbox: LabelboxStandIn) -> None:
    asked = ontology(rectangle("car", radio("colour", ("red", "blue"))), checklist("things", ("tree", "boat")))
    drawn = (box("car", 2, 1, 10, 5, single("colour", "red")), box("car", 9, 9, 9, 9, single("colour", "blue")))
    told = [Row(data_row_id(name), file=f"{name}.png", content=picture(9), labels=(drawn,)) for name in "ab"]
    run = labelbox.add_model_run(labelbox.add_model(asked), told, {})
    site = sites.of(run, BOXES)
    assert len(examples(site)) == 2
    site.complete({"version": "v1"})
    assert labelbox.statuses(run)[-1]["metadata"] == {
        "version": "v1",
        "not_learned": "4 answers about a single box or span",
    }


def test_what_it_cannot_do_as_a_site_it_leaves(sites: Sites) -> None:
    site = sites.of(sites.run())
    examples(site)
    assert (list(site.waiting("v1")), site.count_waiting("v1"), list(site.judged("2026"))) == ([], 0, [])
    assert (site.storages(), site.label_at("s3://x/y"), site.show("Suspects", [1])) == ([], "", "")
    site.announce("v1")
    assert [one["id"] for one in site.tasks([5, number("0")])] == [number("0")]


def test_a_prediction_becomes_lines_in_the_words_of_the_ontology(sites: Sites, labelbox: LabelboxStandIn) -> None:
    run = sites.run()
    site = sites.of(run, INFERENCE)
    site.begin(1)
    assert site.count_waiting("m") == 4
    tasks = list(site.waiting("m"))
    interface = site.interface()
    asked = interface.input_of(tasks[0], None, referable=False)
    assert (asked.media_type, asked.content[:4]) == ("image/png", b"\x89PNG")
    answers: list[Answer] = [
        Output("SEA", 0.9, {"SEA": 0.9, "land": 0.1}, "m"),
        Findings((Region("car", Box(0.1, 0.2, 0.5, 0.5), 0.8),), "m"),
        Findings((), "m"),
    ]
    made = [interface.render(one, Rendering(), Input()) for one in answers]
    site.put_predictions([{"task": task["id"], **one} for task, one in zip(tasks, made, strict=False)])
    assert site.count_waiting("m") == 1
    assert [one["id"] for one in site.waiting("m")] == [tasks[3]["id"]]
    done = site.finish("m", lambda *_: None)
    assert (done.rows, done.lines, done.refused) == (3, 2, 0)
    by_row = {row_number(one["dataRow"]["id"]): one for one in labelbox.predictions(run)}
    assert by_row[tasks[0]["id"]]["answer"] == {"name": "sea", "confidence": 0.9}
    assert by_row[tasks[1]["id"]]["bbox"] == {"top": 6.0, "left": 4.0, "height": 15.0, "width": 20.0}


def test_a_link_is_given_to_an_endpoint_that_reads_by_itself(sites: Sites) -> None:
    site = sites.of(sites.run(), INFERENCE)
    site.count_waiting("")
    task = next(site.waiting(""))
    asked = site.interface().input_of(task, None, referable=True)
    assert asked.uri
    assert "signature=" in asked.uri
    assert (asked.media_type, asked.content) == ("image/png", b"")


def test_an_llm_is_told_what_is_asked(sites: Sites) -> None:
    wanted = sites.of(sites.run(), INFERENCE).interface().assignment.wanted
    assert [(one.tag, one.says, one.choice, [label.name for label in one.labels]) for one in wanted] == [
        ("scene", "labels", "single", ["forest", "sea"]),
        ("things", "labels", "multiple", ["tree", "boat"]),
    ]
