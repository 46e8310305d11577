"""Annotations as they stand: handed to a trainer of one's own, and judged by right and wrong on the test items."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from labelloop.bundle_info import BundleInfo, ForeignInfo
from labelloop.data.manifest import Manifest
from labelloop.data.split import missing
from labelloop.endpoints.answers.labelloop import write_item
from labelloop.errors import BundleError, SettingsError, TrainingError, Unreadable
from labelloop.kinds.annotations import KIND
from labelloop.kinds.base import find
from labelloop.models.bundle import read_bundle_info, write_foreign
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.run.context import Context, Labeled, read_json, write_json
from labelloop.run.folder import RunFolder
from labelloop.run.preprocess import preprocess
from labelloop.run.registrar import Registrar
from labelloop.run.report.html import write_report
from labelloop.run.scoring import Opponent, VersionOpponent
from labelloop.serve.engines.base import open_engine
from labelloop.settings import Settings
from labelloop.studio.label_config import parse_label_config
from labelloop.studio.rendering import render
from labelloop.types import (
    ANNOTATIONS,
    Answer,
    Box,
    Failure,
    Findings,
    Item,
    Json,
    NotAsked,
    ProjectKey,
    Region,
    Rendering,
    Shown,
    Span,
    canonical,
    side,
)

pytestmark = pytest.mark.train

PROJECT = ProjectKey("localhost-8080", 7)
CONFIG = parse_label_config(
    '<View><Text name="text" value="$text"/><Labels name="who" toName="text">'
    '<Label value="person" predicted_values="human"/></Labels></View>'
)
FOREIGN = ForeignInfo(("person",), "multiple", "command", kind=ANNOTATIONS, model="model")
TAGS = frozenset({"who", "m"})
TRAINED: Json = {
    "recipe": "command",
    "validation": {},
    "seconds": {},
    "left_out": {},
    "notes": [],
    "calibration": {},
    "device": "elsewhere",
}


def texts(test: int, others: int = 8) -> list[Item]:
    """Give texts in each of which one person is named: so many of the test side, and of the others."""
    found: dict[bool, list[Item]] = {True: [], False: []}
    task = 0
    while len(found[True]) < test or len(found[False]) < others:
        task += 1
        text = f"{'x' * (task % 7)} Ada{task} wrote it"
        start, end = text.index("Ada"), text.index(" wrote")
        item = Item.of_text(task, text, ("person",), result(start, end))
        kept = found[side(item.content) == "test"]
        if len(kept) < (test if side(item.content) == "test" else others):
            kept.append(item)
    return found[True] + found[False]


def result(start: int, end: int) -> str:
    value = {"start": start, "end": end, "labels": ["person"]}
    return canonical([{"from_name": "who", "to_name": "text", "type": "labels", "value": value}])


def found_in(item: Item, *, right: bool = True) -> Answer:
    value = json.loads(item.result)[0]["value"]
    # What the model calls a human is a person in the label config.
    return Findings((Region("human", Span(value["start"], value["end"] + (0 if right else 1)), 0.9),), "m")


def shown(answer: Answer, item: Item) -> Shown:
    found = render(CONFIG, answer, Rendering(), text=item.text)["result"]
    return Shown(tuple(found), TAGS)


@dataclass
class Machine:
    """A project's runs on one machine: each leaves what its model answered, and is judged."""

    path: Path
    held: list[Item]
    run: int = 0

    @property
    def versions(self) -> Versions:
        return Versions(FileStore(self.path / "store"), PROJECT)

    @property
    def tested(self) -> list[Item]:
        return [item for item in self.held if side(item.content) == "test"]

    def context(self, **more: Any) -> Context:
        self.run += 1
        settings, folder = Settings(model_dir=str(self.path)), RunFolder(self.path / f"run{self.run}")
        context = Context(folder, settings, lambda *_: None, **{"render": shown} | more)
        context.labeled = Labeled(Manifest.of(PROJECT, "multiple", ("person",), self.held, kind=ANNOTATIONS))
        context.labeled.write(folder)
        write_json(folder.trained, TRAINED)
        return context

    def register(
        self, answers: Mapping[str, Answer | Failure], *, force: bool = False, bootstrap: Opponent | None = None
    ) -> RunRecord:
        context = self.context()
        preprocess(context)
        info = replace(FOREIGN, model=f"model-{self.run}")
        write_foreign(context.folder.bundle, info, {one: write_item(said) for one, said in answers.items()})
        context.kind.measure(context)
        store = FileStore(self.path / "store")
        registrar = Registrar(store, PROJECT, ChampionPointer(store, PROJECT).take_fence(), bootstrap=bootstrap)
        record = registrar.register(context, f"key{self.run}", force=force)
        self.page = write_report(context.folder).read_text()
        return record

    def answers(self, wrong: int = 0, asked: int | None = None) -> dict[str, Answer]:
        """Answer the test items: the first so many wrongly, and only so many of all."""
        return {item.content: found_in(item, right=at >= wrong) for at, item in enumerate(self.tested[:asked])}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, texts(40))


def test_the_first_version_must_be_right_more_often_than_the_most_frequent_answer(machine: Machine) -> None:
    record = machine.register(machine.answers(wrong=4))
    assert (record.state, record.version, record.kind) == ("promoted", "v1", ANNOTATIONS)
    assert record.verdict.startswith("v1 becomes the first champion: 36 of 40 test items right (0.900, 95 % interval")
    assert "the most frequent answer alone has 0." in record.verdict
    test = machine.versions.get("v1").metrics["test"]
    assert (test["items"], test["accuracy"]["value"], test["untold"], test["failed"]) == (40, 0.9, 0, 0)
    for part in (record.verdict, "Key figures", "40 test tasks", "0.900"):
        assert part in machine.page
    assert "Left out, because its files are damaged" not in machine.page


def test_one_that_says_the_same_to_all_is_no_first_champion(machine: Machine) -> None:
    usual = Findings((), "m")
    record = machine.register({item.content: usual for item in machine.tested})
    assert record.state == "rejected"
    assert "0 of 40 test items right" in record.verdict
    assert "no better than the most frequent answer" in record.verdict


def test_champion_and_challenger_meet_on_the_same_items(machine: Machine) -> None:
    machine.register(machine.answers(wrong=4))
    worse = machine.register(machine.answers(wrong=20))
    assert worse.state == "rejected"
    assert "v2 is rejected: 20 of 40 test items right (0.500) against 36 (0.900) of v1" in worse.verdict
    assert worse.metrics["gate"]["lost"] == 16
    better = machine.register(machine.answers())
    assert (better.state, better.metrics["gate"]["gained"]) == ("promoted", 4)
    assert "v3 replaces v1: 40 of 40 test items right" in better.verdict
    assert better.verdict in machine.page


def test_an_answer_that_failed_or_cannot_be_shown_is_wrong_and_the_reason_is_kept(machine: Machine) -> None:
    answers: dict[str, Answer | Failure] = {**machine.answers()}
    failed, drawn, other = (item.content for item in machine.tested[:3])
    answers[failed] = Failure("out of memory")
    answers[drawn] = Findings((Region("human", Box(0.1, 0.1, 0.5, 0.5)),), "m")
    # A class that is no label is passed over where the label config says what classes mean: nothing is found.
    answers[other] = Findings((Region("ship", Span(0, 1)),), "m")
    record = machine.register(answers)
    test = machine.versions.get("v1").metrics["test"]
    assert (test["accuracy"]["value"], test["failed"], test["reason"]) == (37 / 40, 2, "out of memory")
    assert "37 of 40 test items right" in record.verdict
    assert record.verdict.endswith("; 2 answers failed and count as wrong: out of memory")
    assert "40 test tasks, 2 of them without an answer" in machine.page


@dataclass(frozen=True)
class ZeroShot:
    """A bootstrap endpoint whose answers annotators see as they are: the first so many wrong, the last so many none."""

    wrong: int
    unanswered: int = 0
    name: str = "zero-shot"
    tags: frozenset[str] = TAGS
    record: None = None

    def answers(self, context: Context, items: Sequence[Item]) -> Iterator[Shown | Failure]:  # noqa: ARG002
        for at, item in enumerate(items):
            said = Shown(() if at < self.wrong else tuple(json.loads(item.result)), self.tags)
            yield NotAsked() if at >= len(items) - self.unanswered else said


def test_the_first_version_must_beat_the_bootstrap_endpoint_too(machine: Machine) -> None:
    lost = machine.register(machine.answers(wrong=4), bootstrap=ZeroShot(wrong=4))
    assert lost.state == "rejected"
    assert lost.verdict.startswith(
        "v1 is rejected: 36 of 40 test items right (0.900) against 36 (0.900) of zero-shot; difference +0.000, 95 %"
    )
    assert "zero-shot predicts until a version beats it" in lost.verdict
    won = machine.register(machine.answers(wrong=4), bootstrap=ZeroShot(wrong=6, unanswered=10))
    assert won.verdict.startswith("v2 replaces zero-shot: 26 of 30 test items right (0.867) against 24 (0.800)")
    assert "10 test items that zero-shot did not answer do not count there" in won.verdict
    assert "v2 becomes the first champion: 36 of 40 test items right" in won.verdict
    later = machine.register(machine.answers(), bootstrap=ZeroShot(wrong=0))
    assert later.verdict.startswith("v3 replaces v2: ")


def test_a_version_that_beats_no_most_frequent_answer_costs_no_call_of_the_bootstrap_endpoint(machine: Machine) -> None:
    class Costly(ZeroShot):
        def answers(self, context: Context, items: Sequence[Item]) -> Iterator[Shown | Failure]:  # noqa: ARG002
            raise AssertionError("it was asked")

    usual = Findings((), "m")
    record = machine.register({item.content: usual for item in machine.tested}, bootstrap=Costly(wrong=0))
    assert "no better than the most frequent answer" in record.verdict


def test_where_the_bootstrap_endpoint_answers_too_few_it_is_not_met(machine: Machine) -> None:
    record = machine.register(machine.answers(wrong=4), bootstrap=ZeroShot(wrong=0, unanswered=25))
    assert record.state == "promoted"
    assert "zero-shot answered 15 of 40 test items, too few for it to be compared with" in record.verdict


def test_who_answers_another_question_is_not_met(machine: Machine) -> None:
    other = ZeroShot(wrong=0, tags=frozenset({"mood"}))
    record = machine.register(machine.answers(wrong=4), bootstrap=other)
    assert record.state == "promoted"
    assert "it answers for m, who, and zero-shot for mood, so the two cannot be compared" in record.verdict

    context = machine.context(render=lambda answer, item: replace(shown(answer, item), tags=other.tags))
    write_foreign(context.folder.bundle, FOREIGN, {one: write_item(said) for one, said in machine.answers().items()})
    context.kind.measure(context)
    champion = VersionOpponent("v1", machine.path / "run1" / "bundle", machine.versions.get("v1"))
    again = KIND.judge(replace(context, render=shown), "v2", champion, str)
    assert not again.passed
    assert again.sentence == (
        "v2 cannot be judged: kept, not promoted; it answers for mood, and v1 for m, who, so the two cannot be compared"
    )


def test_what_no_such_answer_can_say_does_not_count(tmp_path: Path) -> None:
    held = texts(30)
    mood = {"from_name": "mood", "to_name": "text", "type": "choices", "value": {"choices": ["glad"]}}
    machine = Machine(tmp_path, [replace(one, result=canonical([*json.loads(one.result), mood])) for one in held])
    assert machine.register(machine.answers()).verdict.startswith("v1 becomes the first champion: 30 of 30 test items")


def test_where_too_few_items_were_answered_nothing_is_judged(machine: Machine) -> None:
    record = machine.register(machine.answers(asked=12))
    assert record.state == "rejected"
    assert record.verdict == (
        "v1 cannot be judged: kept, not promoted; it can be compared on 12 of 40 test items, and 20 are needed where "
        "it is not all of them; 28 test items that nobody could be asked about do not count"
    )
    assert machine.register(machine.answers(asked=12), force=True).state == "promoted"
    met = machine.register(machine.answers(asked=25))
    assert "it can be compared with v2 on 12 of 40 test items" in met.verdict


def test_a_project_of_masks_cannot_be_judged(tmp_path: Path) -> None:
    mask = canonical([{"from_name": "m", "to_name": "text", "type": "brushlabels", "value": {"rle": [1]}}])
    machine = Machine(tmp_path, [replace(item, result=mask) for item in texts(30)])
    record = machine.register({item.content: Findings((), "m") for item in machine.tested})
    assert record.state == "rejected"
    assert record.verdict == (
        "v1 cannot be judged: kept, not promoted; it can be compared on 0 of 30 test items, and 20 are needed where it "
        "is not all of them; 30 test items cannot be compared (masks, polygons, key points)"
    )
    assert record.verdict in machine.page
    assert machine.register({}, force=True).state == "promoted"


def test_items_that_cannot_be_compared_do_not_count(tmp_path: Path) -> None:
    held = texts(30)
    extra = {"from_name": "m", "to_name": "text", "type": "polygonlabels", "value": {}}
    odd = [replace(item, result=canonical([*json.loads(item.result), extra])) for item in held[:5]]
    machine = Machine(tmp_path, odd + held[5:])
    record = machine.register(machine.answers())
    assert record.verdict.startswith("v1 becomes the first champion: 25 of 25 test items right")
    assert record.verdict.endswith("5 test items cannot be compared (masks, polygons, key points)")
    assert "5 more cannot be compared (masks, polygons, key points) and do not count" in machine.page


def test_one_label_is_enough_and_none_at_all_too(machine: Machine) -> None:
    held = texts(10, 60)
    for labels in (("person",), ()):
        labeled = [replace(item, labels=labels) for item in held]
        assert missing(Manifest.of(PROJECT, "multiple", labels, labeled, kind=ANNOTATIONS), 70) == ""
        assert missing(Manifest.of(PROJECT, "multiple", labels, labeled, kind=ANNOTATIONS), 71) == "1 more label"


def test_nothing_here_learns_or_serves_it(machine: Machine, tmp_path: Path) -> None:
    context = machine.context()
    with pytest.raises(TrainingError, match="learned by a trainer of your own \\(LABELLOOP_TRAINER"):
        KIND.train(context)
    with pytest.raises(SettingsError, match="`labelloop retrain --project ID`"):
        preprocess(machine.context(render=None))
    with pytest.raises(Unreadable, match="empty"):
        KIND.check(b"")
    KIND.check(b"\0 anything")
    write_foreign(tmp_path / "bundle", ForeignInfo((), "multiple", "command", kind=ANNOTATIONS, model="m"), {})
    assert read_bundle_info(tmp_path / "bundle").classes == ()
    with pytest.raises(BundleError, match="cannot be served here"):
        open_engine(tmp_path / "bundle", "onnx")
    ours = BundleInfo(("person",), "multiple", "command", kind=ANNOTATIONS)
    (tmp_path / "bundle" / "model.json").write_text(ours.to_json())
    with pytest.raises(BundleError, match="names no model that lies elsewhere"):
        read_bundle_info(tmp_path / "bundle")
    with pytest.raises(BundleError, match="no model that could be served here"):
        KIND.open(tmp_path, ours, "onnx")
    assert find(ANNOTATIONS) is KIND
    assert read_json(context.folder.trained, "train") == TRAINED
