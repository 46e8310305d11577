"""Kinds whose truth is regions: what annotators agree on, what is right, how versions are measured and judged."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelloop.bundle_info import ForeignInfo
from labelloop.data.manifest import Manifest
from labelloop.endpoints.answers.labelloop import write_item
from labelloop.errors import StoreError, TrainingError
from labelloop.kinds import base
from labelloop.kinds.majority import Vote
from labelloop.models.bundle import write_foreign
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.regions import write_regions
from labelloop.run.context import Context, Labeled, read_json, write_json
from labelloop.run.finders import _of_few
from labelloop.run.folder import RunFolder
from labelloop.run.located import read_located
from labelloop.run.matching import match
from labelloop.run.preprocess import preprocess
from labelloop.run.registrar import Registrar
from labelloop.run.report.html import write_report
from labelloop.run.scoring import Opponent, VersionOpponent
from labelloop.settings import Settings
from labelloop.types import (
    Answer,
    Failure,
    Findings,
    Item,
    Json,
    NotAsked,
    Output,
    ProjectKey,
    Region,
    Shown,
    Span,
    side,
)
from support import words_kind
from support.words_kind import KIND

PROJECT = ProjectKey("localhost-8080", 7)
CLASSES = ("person", "place")
FOREIGN = ForeignInfo(CLASSES, "multiple", "command", kind=words_kind.NAME, model="model")
TRAINED: Json = {
    "recipe": "command",
    "validation": {},
    "seconds": {},
    "left_out": {},
    "notes": [],
    "calibration": {},
    "device": "elsewhere",
}


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(base.KINDS, words_kind.NAME, words_kind.__name__)


def span(start: int, end: int, label: str = "person", score: float | None = None) -> Region:
    return Region(label, Span(start, end), score)


def drew(*regions: Region, **more: Any) -> Vote:
    return Vote(frozenset(one.label for one in regions), result=write_regions(regions), **more)


def truth(*votes: Vote) -> Any:
    return KIND.truth(votes, "multiple")


def test_a_majority_is_found_region_by_region() -> None:
    found = truth(drew(span(0, 3), span(5, 9, "place")), drew(span(0, 3)), drew(span(5, 9, "place"), span(11, 12)))
    assert found.result == write_regions([span(0, 3), span(5, 9, "place")])
    assert (found.labels, found.reason) == (("person", "place"), "")


def test_one_annotator_is_taken_at_their_word() -> None:
    assert truth(drew(span(0, 3), span(1, 2))).result == write_regions([span(0, 3), span(1, 2)])
    nothing = truth(drew())
    assert (nothing.result, nothing.labels, nothing.reason) == ("[]", (), "")


def test_who_draws_a_region_twice_counts_once() -> None:
    assert truth(drew(span(0, 3), span(0, 3)), drew(), drew()).result == "[]"


def test_what_half_drew_is_none_and_alone_no_truth_at_all() -> None:
    half = truth(drew(span(0, 3)), drew())
    assert half.reason == "half of its 2 annotators drew 'person', half did not"
    beside = truth(drew(span(0, 3), span(5, 9)), drew(span(5, 9)))
    assert beside.result == write_regions([span(5, 9)])
    # The same place with another label is another region.
    assert truth(drew(span(0, 3)), drew(span(0, 3, "place"))).reason.startswith("half of its 2 annotators drew")
    assert truth(drew(span(0, 3)), drew(span(0, 3, "place")), drew()).result == "[]"


def test_skipped_ones_do_not_count_and_ground_truth_does_alone() -> None:
    assert truth(Vote(skipped=True), drew(span(0, 3))).result == write_regions([span(0, 3)])
    assert truth(drew(), drew(), drew(span(0, 3), ground_truth=True)).result == write_regions([span(0, 3)])
    assert truth(Vote(skipped=True)).reason == "skipped by its annotators"
    assert truth(Vote(reason="its label is gone")).reason == "its label is gone"


def test_truth_is_confirmed_by_two_who_say_exactly_that() -> None:
    assert truth(drew(span(0, 3)), drew(span(0, 3)), drew()).confirmed
    assert not truth(drew(span(0, 3), span(5, 9)), drew(span(0, 3)), drew(span(5, 9))).confirmed
    assert truth(drew(span(0, 3), ground_truth=True, confirmed=True)).confirmed
    assert not truth(drew(span(0, 3))).confirmed


def test_regions_are_right_or_confused_in_label_or_border() -> None:
    true = [span(0, 3), span(5, 9), span(20, 24), span(30, 34)]
    found = [span(0, 3, "person", 0.4), span(5, 9, "place"), span(21, 24), span(40, 44), span(0, 3, "person", 0.9)]
    met = KIND.matched(true, found)
    # Of two that are right about the same one, the surer one is.
    assert met.right == ((0, 4),)
    assert (met.labels, met.borders) == (((1, 1),), ((2, 2),))
    assert (met.missed, met.invented, met.exact) == ((1, 2, 3), (0, 1, 2, 3), False)
    assert KIND.matched([], []).exact


def test_each_takes_the_nearest_that_is_free() -> None:
    true, found = [span(0, 1), span(2, 3)], [span(0, 1, score=0.9), span(2, 3, score=0.8), span(4, 5, score=0.7)]
    near = np.array([[0.6, 0.9, 0.8], [0.7, 0.5, 0.6]])
    assert match(true, found, near, 0.5, 0.1).right == ((0, 1), (1, 0))
    assert match(true, found, near, 0.65, 0.1).right == ((0, 1), (1, 0))
    assert match(true, found, near, 0.75, 0.1).borders == ((1, 0),)


def items(test: int, others: int = 8, per: int = 2) -> list[Item]:
    """Give texts, in each of which ``per`` people are named: so many of the test side, and of the others."""
    found: dict[bool, list[Item]] = {True: [], False: []}
    task = 0
    while len(found[True]) < test or len(found[False]) < others:
        task += 1
        names = [f"Ada{task}x{at}" for at in range(per)]
        text = " met ".join(names) + f" here {task}"
        regions = [span(text.index(name), text.index(name) + len(name)) for name in names]
        item = Item.of_text(task, text, ("person",) if per else (), write_regions(regions))
        kept = found[side(item.content) == "test"]
        if len(kept) < (test if side(item.content) == "test" else others):
            kept.append(item)
    return found[True] + found[False]


def said(item: Item, wrong: int = 0) -> Findings:
    """Answer as is true, but for so many regions whose end is another one."""
    true = [Region(one["label"], Span(*one["span"]), 0.9) for one in json.loads(item.result)]
    moved = [replace(one, shape=Span(one.shape.start, one.shape.end + 1)) for one in true[:wrong]]  # type: ignore[union-attr]
    return Findings((*moved, *true[wrong:]), "m")


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

    def measured(self, answers: Mapping[str, Answer | Failure], **settings: Any) -> Context:
        self.run += 1
        folder = RunFolder(self.path / f"run{self.run}")
        context = Context(folder, Settings(model_dir=str(self.path), **settings), lambda *_: None)
        context.labeled = Labeled(Manifest.of(PROJECT, "multiple", CLASSES, self.held, kind=words_kind.NAME))
        context.labeled.write(folder)
        write_json(folder.trained, TRAINED)
        preprocess(context)
        info = replace(FOREIGN, model=f"model-{self.run}")
        write_foreign(folder.bundle, info, {one: write_item(told) for one, told in answers.items()})
        context.kind.measure(context)
        return context

    def register(
        self, answers: Mapping[str, Answer | Failure], *, bootstrap: Opponent | None = None, **settings: Any
    ) -> RunRecord:
        context = self.measured(answers, **settings)
        store = FileStore(self.path / "store")
        registrar = Registrar(store, PROJECT, ChampionPointer(store, PROJECT).take_fence(), bootstrap=bootstrap)
        self.folder = context.folder
        return registrar.register(context, f"key{self.run}")

    def page(self) -> str:
        """Write the last run's report."""
        return write_report(self.folder).read_text()

    def answers(self, wrong: int = 0, asked: int | None = None) -> dict[str, Answer]:
        """Answer the test items: the first so many with one wrong region, and only so many of all."""
        return {item.content: said(item, int(at < wrong)) for at, item in enumerate(self.tested[:asked])}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, items(40))


def test_what_is_measured(machine: Machine) -> None:
    answers: dict[str, Answer | Failure] = {**machine.answers(wrong=4)}
    failed, classified, beside = (item.content for item in machine.tested[37:])
    answers[failed] = Failure("out of memory")
    answers[classified] = Output("person", 1.0, {"person": 1.0, "place": 0.0}, "m")
    # What the label config has no label for is shown to nobody.
    answers[beside] = Findings((*said(machine.tested[39]).regions, Region("ship", Span(0, 2), 0.9)), "m")

    context = machine.measured(answers)
    found = read_json(context.folder.metrics, "evaluate")

    assert found["regions"] == {"true": 80, "found": 76, "right": 72, "missed": 8, "invented": 4}
    assert found["main"] == {"name": "span F1", **found["micro"]["f1"]}
    assert found["main"]["value"] == pytest.approx(144 / 156, abs=1e-6)
    assert found["main"]["low"] < 144 / 156 < found["main"]["high"]
    assert found["accuracy"]["value"] == 34 / 40
    assert (found["items"], found["failed"], found["reason"], found["few"]) == (40, 2, "out of memory", False)
    assert (found["micro"]["recall"]["value"], found["micro"]["precision"]["value"]) == (
        0.9,
        pytest.approx(72 / 76, abs=1e-6),
    )
    person, place = found["per_class"]["person"], found["per_class"]["place"]
    assert (person["support"], person["items"], person["wrong_border"], person["wrong_label"]) == (80, 40, 4, 0)
    assert (place["support"], place["f1"]) == (0, None)
    assert found["macro"]["f1"]["value"] == person["f1"]
    assert found["confusion"] == [[72, 0], [0, 0]]
    assert KIND.right(context) == {item.task: 4 <= at < 37 or at == 39 for at, item in enumerate(machine.tested)}
    located = {one.picture: one for one in read_located(context.folder.predictions)}
    assert located[failed].reason == "out of memory"
    assert [one.label for one in located[beside].given] == ["person", "person"]


def test_how_far_a_version_agrees_is_told_item_by_item(machine: Machine) -> None:
    answers: dict[str, Answer | Failure] = {**machine.answers(wrong=1, asked=3)}
    answers[machine.tested[2].content] = Failure("out of memory")
    nothing = replace(machine.tested[4], result=write_regions(()))
    answers[nothing.content] = Findings((), "m")
    context = machine.measured(answers)
    asked = [*machine.tested[:4], nothing]
    found = KIND.agreement(context, VersionOpponent("v1", context.folder.bundle), asked, str)
    assert found == [0.5, 1.0, 0.0, None, 1.0]


def test_what_is_too_unsure_to_be_shown_does_not_count(machine: Machine) -> None:
    unsure = {
        item.content: Findings(tuple(replace(one, score=0.3) for one in said(item).regions), "m")
        for item in machine.tested
    }
    context = machine.measured(unsure)
    words = {item.text.split()[0]: ("person", 0.6) for item in machine.tested} | {"here": ("place", 0.4)}
    words_kind.write_bundle(context.folder.bundle, CLASSES, words)
    assert read_json(context.folder.metrics, "evaluate")["regions"]["found"] == 80
    KIND.measure(context)
    assert read_json(context.folder.metrics, "evaluate")["regions"] == {
        "true": 80, "found": 40, "right": 40, "missed": 40, "invented": 0,
    }  # fmt: skip
    one = read_located(context.folder.predictions)[0]
    assert ([region.label for region in one.given], [region.label for region in one.unsure]) == (["person"], ["place"])


def test_what_is_not_learned_as_drawn_is_told(tmp_path: Path) -> None:
    held = [replace(item, result=write_regions([span(0, 4)])) for item in items(8)]
    context = Machine(tmp_path, held).measured({})
    (aside,) = read_json(context.folder.data, "preprocess")["aside"]
    assert (aside["reason"], aside["regions"], aside["items"]) == ("it is no single word", 16, 16)
    assert set(aside["tasks"]) == {item.task for item in held}
    page = write_report(context.folder).read_text()
    assert "16 regions not learned as drawn" in page
    assert KIND.aside_notes(context) == ["16 regions of 16 texts are not learned as drawn: it is no single word"]


def test_the_first_version_must_find_something_right(machine: Machine) -> None:
    nothing = machine.register({item.content: Findings((), "m") for item in machine.tested})
    assert nothing.state == "rejected"
    assert nothing.verdict == (
        "v1 is rejected: span F1 0.000 on 40 test items: 0 regions right, 80 missed, 0 invented; "
        "no better than finding nothing"
    )
    first = machine.register(machine.answers(wrong=8))
    assert first.state == "promoted"
    assert first.verdict.startswith("v2 becomes the first champion: span F1 0.900 (95 % interval 0.8")
    assert first.verdict.endswith("72 regions right, 8 missed, 8 invented; finding nothing has 0")


def test_where_no_test_item_has_a_region_nothing_can_be_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(30, per=0))
    record = machine.register({item.content: Findings((), "m") for item in machine.tested})
    assert record.state == "rejected"
    assert "v1 cannot be judged: kept, not promoted; none of the 30 test items has a region" in record.verdict


def test_champion_and_challenger_meet_on_the_same_items(machine: Machine) -> None:
    machine.register(machine.answers(wrong=4))
    worse = machine.register(machine.answers(wrong=12))
    assert worse.state == "rejected"
    assert worse.verdict.startswith(
        "v2 is rejected: span F1 0.850 on 40 test items against 0.950 of v1; difference -0.100, 95 % interval [-0.1"
    )
    assert (
        "68 regions right, 12 missed, 12 invented, against 76, 4, 4; it is worse beyond chance: paired bootstrap"
        in worse.verdict
    )
    gate = worse.metrics["gate"]
    # Eight items lost and none gained: hardly a draw has none of them.
    assert gate["decided_by"]["p"] < 0.002
    better = machine.register(machine.answers(wrong=2))
    assert (better.state, better.metrics["gate"]["difference"]["value"]) == ("promoted", pytest.approx(0.025))
    assert "v3 replaces v1: span F1 0.975 on 40 test items against 0.950 of v1" in better.verdict
    same = machine.register(machine.answers(wrong=2))
    assert same.state == "promoted"
    assert "difference +0.000; 78 regions right" in same.verdict
    page = machine.page()
    for part in (same.verdict, "Key figures", "span F1"):
        assert part in page
    assert "Of 80 regions 78 are found and 2 missed; 2 are invented." in page
    assert "This version has 78 regions right (before: 78), 2 regions missed (before: 2)" in page
    assert "in points of span F1" in page
    row = '<th scope="row">person</th>'
    assert re.search(row + ".*0.975.*0.975.*0.975.*<td class=.n.>80</td><td class=.n.>2</td><td class=.n.>0</td>", page)
    assert "Left out, because its files are damaged" not in page


def test_small_losses_do_not_add_up(machine: Machine) -> None:
    machine.register(machine.answers())
    first, second = [machine.register(machine.answers(wrong=wrong)) for wrong in (1, 2)]
    # One item lost may be chance, and so may another one; both are not.
    assert first.state == "promoted"
    assert "it is measured worse, which may be chance: paired bootstrap of the items, p = 0.1" in first.verdict
    assert first.metrics["gate"]["conceded"] == pytest.approx(0.0125)
    assert second.state == "rejected"
    assert "with what passed since the best version it is worse beyond chance: -0.025 in all" in second.verdict
    assert machine.register(machine.answers()).metrics["gate"]["conceded"] == 0.0


@pytest.mark.parametrize(
    ("z", "items", "p"), [(-1.5, 10, 0.0945), (-1.5, 40, 0.0731), (-1.5, 10_000, 0.0668), (-9, 1, 0.5)]
)
def test_few_items_tell_less(z: float, items: int, p: float) -> None:
    """As scipy.stats.t.cdf(z * sqrt((items - 1) / items), items - 1) has it."""
    assert _of_few(z, items) == pytest.approx(p, abs=0.002)


def test_a_label_that_falls_rejects_unless_the_whole_is_better(tmp_path: Path) -> None:
    held = []
    for item in items(30, per=3):
        first, *others = [Region(one["label"], Span(*one["span"])) for one in json.loads(item.result)]
        regions = [replace(first, label="place"), *others]
        held.append(replace(item, labels=CLASSES, result=write_regions(regions)))
    machine = Machine(tmp_path, held)

    def one(places: int, people: int) -> dict[str, Answer]:
        """Answer with so many places and people missed."""
        found: dict[str, Answer] = {}
        for at, item in enumerate(machine.tested):
            place, *persons = said(item).regions
            found[item.content] = Findings((*([place] if at >= places else []), *(persons[int(at < people) :])), "m")
        return found

    machine.register(one(0, 20))
    rejected = machine.register(one(15, 5))
    assert rejected.state == "rejected"
    assert "class place falls from 1.000 to 0.667 on 30 items" in rejected.verdict
    better = machine.register(one(12, 0))
    assert better.state == "promoted"
    assert "class place falls from 1.000 to 0.750 on 30 items, where the whole is better" in better.verdict


def test_answers_nobody_gave_do_not_count_and_few_are_not_judged(machine: Machine) -> None:
    machine.register(machine.answers(wrong=2))
    some = machine.register(machine.answers(wrong=2, asked=30))
    assert some.state == "promoted"
    assert "on 30 test items" in some.verdict
    assert "10 test items that not both could be asked about do not count" in some.verdict
    few = machine.register(machine.answers(asked=10))
    assert few.state == "rejected"
    assert "v3 cannot be judged: kept, not promoted; both it and v2 could be asked about 10 of 40" in few.verdict
    none = machine.register({})
    assert "cannot be judged" in none.verdict


def test_too_few_test_items_are_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(5))
    assert machine.register(machine.answers(wrong=1)).verdict.endswith("too few test items to judge (5 of at least 20)")
    assert machine.register(machine.answers()).verdict.endswith("too few test items to judge (5 of at least 20)")


def test_a_failed_prediction_finds_nothing(machine: Machine) -> None:
    machine.register(machine.answers())
    answers: dict[str, Answer | Failure] = {**machine.answers()}
    answers |= {item.content: Failure("out of memory") for item in machine.tested[:9]}
    record = machine.register(answers)
    assert record.state == "rejected"
    assert "62 regions right, 18 missed, 0 invented" in record.verdict
    assert record.verdict.endswith("9 predictions of v2 failed and found nothing")


def test_a_least_macro_f1_is_asked_of_labels(machine: Machine) -> None:
    record = machine.register(machine.answers(wrong=8), minimum_f1=0.95)
    assert record.state == "rejected"
    assert "macro F1 0.900 on 40 test items, but LABELLOOP_MINIMUM_F1 asks for 0.95" in record.verdict


@dataclass(frozen=True)
class ZeroShot:
    """A bootstrap endpoint: the first so many items wrong, the last so many not answered."""

    wrong: int
    unanswered: int = 0
    name: str = "zero-shot"
    record: None = None

    def answers(self, context: Context, items: Sequence[Item]) -> Iterator[Shown | Failure]:  # noqa: ARG002
        for at, item in enumerate(items):
            yield (
                NotAsked()
                if at >= len(items) - self.unanswered
                else Shown((), regions=said(item, at < self.wrong).regions)
            )


def test_the_first_version_must_beat_the_bootstrap_endpoint_too(machine: Machine) -> None:
    lost = machine.register(machine.answers(wrong=4), bootstrap=ZeroShot(4))
    assert lost.state == "rejected"
    assert lost.verdict.startswith(
        "v1 is rejected: span F1 0.950 on 40 test items against 0.950 of zero-shot; difference +0.000"
    )
    assert lost.verdict.endswith("zero-shot predicts until a version beats it")
    won = machine.register(machine.answers(wrong=4), bootstrap=ZeroShot(10, unanswered=8))
    assert won.state == "promoted"
    assert won.verdict.startswith("v2 replaces zero-shot: span F1 0.9")
    assert "8 test items that zero-shot did not answer do not count there" in won.verdict
    assert won.metrics["gate"]["bootstrap"]["items"] == 32
    few = Machine(machine.path / "few", machine.held)
    assert (
        "zero-shot answered 5 of 40 test items, too few"
        in few.register(few.answers(), bootstrap=ZeroShot(9, 35)).verdict
    )


def test_a_champion_that_knows_other_labels_is_judged_by_todays(machine: Machine) -> None:
    machine.register(machine.answers(wrong=2))
    record = machine.versions.get("v1")
    older = machine.path / "older"
    human = {item.content: tuple(replace(one, label="human") for one in said(item).regions) for item in machine.tested}
    ship = Region("ship", Span(0, 1), 0.9)
    answers = {one: write_item(Findings((*regions, ship), "m")) for one, regions in human.items()}
    write_foreign(older, replace(FOREIGN, classes=("human", "ship")), answers)
    context = machine.measured(machine.answers(wrong=1))
    names: Mapping[str, str] = {"human": "person"}
    verdict = KIND.judge(context, "v2", VersionOpponent("v1", older, record), names.get)
    # What was called human is a person today, and there are no ships any more.
    assert verdict.sentence.startswith("v2 replaces v1: span F1 0.988 on 40 test items against 1.000 of v1")
    assert "79 regions right, 1 missed, 1 invented, against 80, 0, 0" in verdict.sentence


def test_examples_are_of_the_run_that_was_measured(machine: Machine) -> None:
    machine.register(machine.answers(wrong=3))
    context = machine.measured(machine.answers(wrong=3))
    KIND.analyse(context)
    found = json.loads((context.folder.evaluation / "examples.json").read_text())
    wrong = {item.content: item for item in machine.tested[:3]}
    assert {one["picture"] for one in found[:3]} == set(wrong)
    for one in found[:3]:
        assert one["text"] == wrong[one["picture"]].text
        assert sorted(region["mark"] for region in one["given"]) == ["border", "right"]


def test_what_more_labels_bring_is_told_by_the_main_figure(tmp_path: Path) -> None:
    reached = []
    for others, wrong in ((8, 12), (16, 9), (40, 6)):
        machine = Machine(tmp_path, items(40, others), run=others)
        reached.append(machine.register(machine.answers(wrong=wrong)))
    learning = machine.versions.get("v3").metrics["learning"]
    assert learning["figure"] == "span F1"
    assert [one["right"] / one["items"] for one in learning["versions"]] == pytest.approx(
        [0.85, 0.8875, 0.925], abs=1e-3
    )
    assert "span F1, by labels" in machine.page()


def test_features_and_damage_are_told(machine: Machine) -> None:
    with pytest.raises(TrainingError, match="words has no features that tasks could be compared by"):
        KIND.features((), Settings(), lambda *_: None)
    assert KIND.nearest(machine.held[0], None, lambda *_: None) == ()  # type: ignore[arg-type]
    damaged = machine.path / "predictions.npz"
    damaged.write_bytes(b"nothing")
    with pytest.raises(StoreError, match="run the evaluate stage"):
        read_located(damaged)
