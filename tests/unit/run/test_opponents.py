"""Versions whose model lies elsewhere: what is known of them, and how they are judged with it."""

# ruff: noqa: ARG002 - trainers and opponents are asked in one way, whatever they need of that

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from labelloop.bundle_info import ForeignInfo
from labelloop.data.manifest import Manifest
from labelloop.endpoints.answers.labelloop import write_item
from labelloop.errors import BundleError, TrainingError
from labelloop.kinds import base
from labelloop.models.bundle import write_foreign
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.context import Context, Labeled, read_json, write_json
from labelloop.run.folder import RunFolder
from labelloop.run.gate import macro_f1
from labelloop.run.registrar import Registrar
from labelloop.serve.engines.base import open_engine, open_measured
from labelloop.settings import Settings
from labelloop.trainers.base import Training
from labelloop.trainers.handover import RunInputs
from labelloop.types import Answer, Failure, Input, Item, Json, NotAsked, Output, ProjectKey, side
from support import numbers_kind

pytestmark = pytest.mark.train

PROJECT = ProjectKey("localhost-8080", 7)
CLASSES = ("low", "high")
TRAINED = {"recipe": "command", "validation": {}, "seconds": {}, "left_out": {}, "notes": [], "calibration": {}}


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})


def items(test: int, others: int = 8) -> list[Item]:
    """Give numbers with their labels: so many of the test side, and of the others."""
    found: dict[bool, list[Item]] = {True: [], False: []}
    task = 0
    while len(found[True]) < test or len(found[False]) < others:
        task += 1
        item = Item.of_text(task, f"{task / 100 + (1 if task % 2 else 8):g}", ("low" if task % 2 else "high",))
        wanted = test if side(item.content) == "test" else others
        kept = found[side(item.content) == "test"]
        if len(kept) < wanted:
            kept.append(item)
    return found[True] + found[False]


def output(item: Item, *, right: bool = True) -> Output:
    label = item.labels[0] if right else next(name for name in CLASSES if name not in item.labels)
    scores = {name: 0.9 if name == label else 0.1 for name in CLASSES}
    return Output(label, 0.9, scores, "m")


@dataclass
class Machine:
    """A project's runs on one machine: each leaves a bundle, and is judged."""

    path: Path
    held: list[Item]
    trainer: "Asked | None" = None
    run: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tested(self) -> list[Item]:
        return [item for item in self.held if side(item.content) == "test"]

    def context(self) -> Context:
        self.run += 1
        settings = Settings(model_dir=str(self.path), **self.settings)
        context = Context(RunFolder(self.path / f"run{self.run}"), settings, lambda *_: None)
        context.labeled = Labeled(Manifest.of(PROJECT, "single", CLASSES, self.held, kind=numbers_kind.NAME))
        context.labeled.write(context.folder)
        write_json(context.folder.trained, TRAINED)
        return context

    def elsewhere(self, answers: dict[str, Json], model: str = "model-1", *, force: bool = False) -> RunRecord:
        """Register a version whose model lies elsewhere."""
        context = self.context()
        info = ForeignInfo(CLASSES, "single", "command", kind=numbers_kind.NAME, model=model)
        write_foreign(context.folder.bundle, info, answers)
        return self._register(context, force=force)

    def ours(self) -> RunRecord:
        """Register a version that was trained here."""
        context = self.context()
        write_json(context.folder.trained, numbers_kind.KIND.train(context))
        return self._register(context)

    def again(self, record: RunRecord) -> RunRecord:
        """Register a run a second time, as after a cut."""
        self.run -= 1
        return self._register(self.context())

    def _register(self, context: Context, *, force: bool = False) -> RunRecord:
        context.kind.measure(context)
        store = FileStore(self.path / "store")
        fence = ChampionPointer(store, PROJECT).take_fence()
        registrar = Registrar(store, PROJECT, fence, trainer=self.trainer)
        return registrar.register(context, f"key{self.run}", force=force)


@dataclass
class Asked:
    """A trainer that can be asked about its models."""

    answer: Callable[[str, Input], Answer | Failure]
    name: str = "asked"
    elsewhere: bool = False
    predicts: bool = True
    ours: bool = False
    asked: list[str] = field(default_factory=list)

    def check(self, *, thorough: bool) -> None:
        return

    def start(self, context: Context, key: str) -> str:
        return key

    def find(self, key: str) -> str:
        return key

    def poll(self, handle: str) -> Training:
        return Training("done")

    def collect(self, handle: str, context: Context) -> Json:
        return {}

    def cancel(self, handle: str) -> None:
        return

    def predict(self, model: str, inputs: Sequence[Input], classes: tuple[str, ...] = ()) -> list[Answer | Failure]:
        self.asked += [str(one.text) for one in inputs]
        return [self.answer(model, one) for one in inputs]


def all_right(held: Sequence[Item]) -> dict[str, Json]:
    return {item.content: write_item(output(item)) for item in held}


def test_the_answers_of_a_model_elsewhere_are_measured_and_judged(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=25))
    answers = all_right(machine.tested)
    answers[machine.tested[0].content] = write_item(output(machine.tested[0], right=False))
    answers[machine.tested[1].content] = {"error": "no number"}

    record = machine.elsewhere(answers)

    assert record.state == "promoted"
    assert record.verdict.startswith("v1 becomes the first champion: 23 of 25 test items right")
    assert "1 predictions of v1 failed and count as wrong" in record.verdict
    assert (record.metrics["test"]["items"], record.metrics["test"]["failed"]) == (25, 1)


def test_a_first_version_without_answers_cannot_be_judged_and_may_be_forced(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=25))

    record = machine.elsewhere({})

    assert record.state == "rejected"
    assert record.verdict == (
        "v1 cannot be judged: kept, not promoted; it could be asked about 0 of 25 test items, and 20 are needed where "
        "it is not all of them"
    )
    assert record.metrics["test"] == {}
    forced = machine.elsewhere({}, force=True)
    assert (forced.state, forced.version) == ("promoted", "v2")
    assert forced.verdict.startswith("promoted by force, though the gate said: v2 cannot be judged")


def test_a_version_must_reach_the_macro_f1_that_is_asked_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=25), settings={"minimum_f1": 0.9})
    half = {item.content: write_item(output(item, right=at % 4 != 0)) for at, item in enumerate(machine.tested)}

    first = machine.elsewhere(half)

    reached = first.metrics["test"]["macro"]["f1"]["value"]
    assert (first.state, first.version) == ("rejected", "v1")
    assert first.verdict.startswith(
        f"v1 is rejected: macro F1 {reached:.3f} on 25 test items, but LABELLOOP_MINIMUM_F1 asks for 0.9; without that "
        "rule, v1 becomes the first champion: 18 of 25 test items right"
    )
    forced = machine.elsewhere(half, force=True)
    assert (forced.state, forced.verdict.split(":")[0]) == ("promoted", "promoted by force, though the gate said")
    better = machine.elsewhere(all_right(machine.tested))
    assert better.state == "promoted"
    assert better.verdict.endswith("; macro F1 1.000 on 25 test items, and LABELLOOP_MINIMUM_F1 asks for 0.9")
    worse = machine.elsewhere(half)
    assert worse.state == "rejected"
    assert worse.verdict.startswith("v4 is rejected: 18 of 25 test items right (0.720) against 25")
    assert f"macro F1 {reached:.3f} on 25 test items, but LABELLOOP_MINIMUM_F1 asks for 0.9" in worse.verdict


def test_a_version_that_nothing_was_measured_of_is_not_held_to_a_macro_f1(tmp_path: Path) -> None:
    record = Machine(tmp_path, items(test=25), settings={"minimum_f1": 0.9}).elsewhere({})
    assert record.verdict.endswith("LABELLOOP_MINIMUM_F1 is not applied, for no macro F1 was measured")
    assert record.metrics["gate"]["macro_f1"] == {"value": None, "least": 0.9}


@pytest.mark.parametrize(
    ("measured", "reached"),
    [({}, None), ({"macro": {}}, None), ({"macro": {"f1": None}}, None), ({"macro": {"f1": {"value": 0.5}}}, 0.5)],
)
def test_a_macro_f1_that_is_undefined_is_none(measured: Json, reached: float | None) -> None:
    assert macro_f1(measured) == reached


def test_where_a_person_is_to_approve_nothing_that_passes_becomes_champion_by_itself(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=25), settings={"approval": "manual"})
    store = FileStore(tmp_path / "store")
    pointer, versions = ChampionPointer(store, PROJECT), Versions(store, PROJECT)

    first = machine.elsewhere(all_right(machine.tested))

    assert (first.state, first.version, pointer.read().champion) == ("waiting", "v1", None)
    told = "v1 waits for approval: `labelloop approve --project 7 v1` makes it champion"
    assert told in first.verdict
    assert told in read_json(RunFolder(tmp_path / "run1").verdict, "register")["sentence"]
    assert machine.elsewhere(all_right(machine.tested)).state == "waiting", "a newer one waits beside it"
    assert [one.version for one in versions.waiting(pointer.read())] == ["v1", "v2"]
    pointer.promote("v1", pointer.take_fence())
    assert versions.waiting(pointer.read()) == [], "v2 never met v1"
    wrong = {item.content: write_item(output(item, right=False)) for item in machine.tested}
    assert machine.elsewhere(wrong).state == "rejected"
    forced = machine.elsewhere(wrong, force=True)
    assert (forced.state, pointer.read().champion) == ("promoted", "v4"), "a person has said so"


def test_what_waits_is_passed_over_where_another_one_has_become_champion(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=25), settings={"approval": "manual"})
    machine.elsewhere(all_right(machine.tested))
    pointer = ChampionPointer(FileStore(tmp_path / "store"), PROJECT)
    pointer.promote("v1", pointer.take_fence())
    machine.elsewhere(all_right(machine.tested))
    third = machine.elsewhere(all_right(machine.tested))
    pointer.promote("v2", pointer.take_fence())

    again = machine.again(third)

    assert again.state == "rejected"
    assert "it is not promoted, for now v2 is champion" in again.verdict


def test_all_of_a_few_test_items_are_judged_as_ever(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=4))
    assert machine.elsewhere(all_right(machine.tested)).state == "promoted"
    assert "cannot be judged" in machine.elsewhere(all_right(machine.tested[:3])).verdict


def test_only_what_both_answered_counts(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=25))
    machine.elsewhere(all_right(machine.tested[:22]))

    record = machine.ours()

    assert record.state == "promoted"
    assert record.verdict.startswith("v2 replaces v1: 22 of 22 test items right (1.000) against 22 (1.000) of v1")
    assert "3 test items that not both could be asked about do not count" in record.verdict
    assert record.metrics["gate"]["left_out"] == 3
    third = machine.elsewhere(all_right(machine.tested[5:]))
    assert third.metrics["gate"]["test_items"] == 20
    assert third.state == "promoted"
    fourth = machine.elsewhere(all_right(machine.tested[:21]))
    assert fourth.verdict.startswith(
        "v4 cannot be judged: kept, not promoted; both it and v3 could be asked about 16 of"
    )
    assert ChampionPointer(FileStore(tmp_path / "store"), PROJECT).read().champion == "v3"


def test_a_version_of_ours_that_fails_on_an_input_is_wrong_about_it(tmp_path: Path) -> None:
    held = items(test=25)
    number = next(task for task in range(1000, 2000) if side(Item.of_text(task, f"x{task}", ()).content) == "test")
    machine = Machine(tmp_path, [*held, Item.of_text(number, f"x{number}", ("low",))])
    machine.elsewhere(all_right(machine.tested))

    record = machine.ours()

    assert "25 of 26 test items right (0.962) against 26" in record.verdict
    assert "1 predictions of v2 failed and count as wrong" in record.verdict
    assert "left_out" not in record.metrics["gate"]


def test_the_trainer_is_asked_about_test_items_that_are_new(tmp_path: Path) -> None:
    machine = Machine(tmp_path, items(test=25))
    known = machine.tested[:10]
    by_text = {item.text: item for item in machine.tested}
    machine.trainer = Asked(lambda model, one: output(by_text[str(one.text)], right=model == "model-1"))
    machine.elsewhere(all_right(known), force=True)

    record = machine.ours()

    assert "25 of 25 test items right (1.000) against 25 (1.000) of v1" in record.verdict
    assert machine.trainer.asked == [item.text for item in machine.tested if item not in known]


def test_a_trainer_that_no_longer_has_the_model_leaves_it_unjudged(tmp_path: Path) -> None:
    def gone(model: str, _: Input) -> Answer:
        raise TrainingError(f"there is no {model}")

    machine = Machine(tmp_path, items(test=25), trainer=Asked(gone))
    machine.elsewhere(all_right(machine.tested[:10]), force=True)
    assert (
        "v2 cannot be judged: kept, not promoted; both it and v1 could be asked about 10 of 25"
        in machine.ours().verdict
    )


def test_who_meets_the_first_version_need_be_no_version(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Endpoint:
        """An endpoint that half of the time is right."""

        name: str = "zero-shot"
        record: VersionRecord | None = None

        def answers(self, context: Context, items: Sequence[Item]) -> Iterator[Answer | Failure]:
            return (output(item, right=at % 2 == 0) for at, item in enumerate(items))

    machine = Machine(tmp_path, items(test=25))
    context = machine.context()
    info = ForeignInfo(CLASSES, "single", "command", kind=numbers_kind.NAME, model="model-1")
    write_foreign(context.folder.bundle, info, all_right(machine.tested))
    context.kind.measure(context)
    store = FileStore(tmp_path / "store")
    fence = ChampionPointer(store, PROJECT).take_fence()

    record = Registrar(store, PROJECT, fence, bootstrap=Endpoint()).register(context, "key")

    assert record.verdict.startswith("v1 replaces zero-shot: 25 of 25 test items right (1.000) against 13 (0.520)")
    assert "; v1 becomes the first champion: 25 of 25 test items right" in record.verdict
    assert record.state == "promoted"
    assert read_json(context.folder.verdict, "register")["champion"] is None


def test_recorded_answers_are_found_by_content_and_no_server_runs_the_model(tmp_path: Path) -> None:
    one, other = items(test=2)[:2]
    info = ForeignInfo(CLASSES, "single", "command", kind=numbers_kind.NAME, model="arn:model/7")
    write_foreign(tmp_path / "bundle", info, {one.content: write_item(output(one))})

    answers = open_measured(tmp_path / "bundle").predict([other.text.encode(), one.text.encode()], "v3")

    assert answers[0] == NotAsked("was not asked")
    assert isinstance(answers[1], Output)
    assert (answers[1].label, answers[1].scores, answers[1].model_version) == (*one.labels, output(one).scores, "v3")
    assert hashlib.sha256(one.text.encode()).hexdigest() == one.content
    with pytest.raises(BundleError, match=r"its model lies elsewhere, as 'arn:model/7'.*LABELLOOP_ENDPOINT"):
        open_engine(tmp_path / "bundle", "onnx")


def test_a_picture_goes_out_under_its_own_type_and_a_text_as_it_is(tmp_path: Path) -> None:
    context = Machine(tmp_path, items(test=1)).context()
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    kept = hashlib.sha256(picture.getvalue()).hexdigest()
    context.pictures.path(kept).parent.mkdir(parents=True, exist_ok=True)
    context.pictures.path(kept).write_bytes(picture.getvalue())
    asked = RunInputs(context, [Item(1, kept, ("low",)), Item.of_text(2, "7.5", ("high",))])
    assert list(asked) == [Input(picture.getvalue(), "image/png"), Input(text="7.5")]
