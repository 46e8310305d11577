"""Both versions trained anew without items that both learned from: which items count, and where there are none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelloop.data.manifest import Manifest
from labelloop.errors import RunCancelled
from labelloop.kinds import base
from labelloop.loop.caches import Caches, remove
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.runs import RunRecord, Runs, manifest_path
from labelloop.models.versions import Versions
from labelloop.run.context import Context, Labeled, write_json
from labelloop.run.folder import RunFolder
from labelloop.run.registrar import Registrar
from labelloop.settings import Settings
from labelloop.types import Choice, Item, Json, Progress, ProjectKey, side
from support import numbers_kind

PROJECT = ProjectKey("localhost-8080", 7)
CLASSES = ("low", "high")


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})


def items(tested: int, learned: int) -> list[Item]:
    """Give numbers about 1 (low) and 8 (high) in turn: so many of the test side, and of the others."""
    found: dict[bool, list[Item]] = {True: [], False: []}
    for task in range(1, 10_000):
        item = Item.of_text(task, f"{task / 10_000 + (1 if task % 2 else 8):g}", ("low" if task % 2 else "high",))
        found[side(item.content) == "test"].append(item)
    return found[True][:tested] + found[False][:learned]


def far_away(count: int) -> list[Item]:
    """Give numbers labeled low that draw its mean beyond high's: whoever learns from them takes 1 for high."""
    made = (Item.of_text(20_000 + at, f"{100 + at}", ("low",)) for at in range(10 * count))
    return [item for item in made if side(item.content) == "train"][:count]


@dataclass
class Project:
    """A project's runs on one machine, each registered in turn."""

    path: Path
    run: int = 0
    progress: Progress = lambda *_: None
    settings: dict[str, Any] = field(default_factory=dict)
    rename: Callable[[str], str | None] = str

    @property
    def store(self) -> FileStore:
        return FileStore(self.path / "store")

    def register(
        self, held: Sequence[Item], classes: tuple[str, ...] = CLASSES, recipe: str = "nearest", network: str = ""
    ) -> Json:
        """Train on these labels, and give the verdict's numbers with its sentence."""
        self.run += 1
        settings = Settings(model_dir=str(self.path), **self.settings)
        context = Context(RunFolder(self.path / f"run{self.run}"), settings, self.progress)
        context.labeled = Labeled(Manifest.of(PROJECT, "single", classes, held, kind=numbers_kind.NAME))
        context.labeled.write(context.folder)
        write_json(context.folder.trained, {**numbers_kind.KIND.train(context), "recipe": recipe, "network": network})
        context.kind.measure(context)
        fence = ChampionPointer(self.store, PROJECT).take_fence()
        record = Registrar(self.store, PROJECT, fence, self.rename).register(context, f"key{self.run}")
        return {"sentence": record.verdict, "passed": record.state == "promoted", **record.metrics["gate"]}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_refits_reject_what_few_test_items_could_not(project: Project) -> None:
    held = items(2, 60)
    assert project.register(held)["passed"]

    found = project.register(held + far_away(30))

    assert not found["passed"]
    assert found["test_items"] == 2
    assert found["refits"]["items"] == 60
    lost = sum(item.labels == ("low",) for item in held[2:])
    assert (found["refits"]["lost"], found["refits"]["gained"]) == (lost, 0)
    assert found["lost"] < 3, "too few to tell"
    assert (
        f"refits that had not seen them have {60 - lost} of 60 items right that both learned from, against 60"
        in (found["sentence"])
    )


def test_a_head_is_to_be_as_good_as_a_last_layer_on_a_finetunes_network(project: Project) -> None:
    held = items(2, 60)
    assert project.register(held, recipe="last-layer", network="v9")["passed"]
    worse = held + far_away(30)
    found = project.register(worse, recipe="head")
    assert (found["passed"], found["as_good"]["recipe"]) == (False, "last-layer")
    again = project.register(worse[:-1], recipe="last-layer", network="v9")
    assert again["passed"], "too few items to tell"


def test_only_items_that_both_learned_from_count_and_by_their_labels_of_today(project: Project) -> None:
    held = items(4, 60)
    project.register(held[:-10])
    wrong = held[4]
    turned = replace(wrong, labels=("high",) if wrong.labels == ("low",) else ("low",))

    found = project.register([turned if item is wrong else item for item in held[:-5]])

    assert found["refits"]["items"] == 50
    assert (found["refits"]["champion"], found["refits"]["challenger"]) == (0.98, 0.98)


def test_many_test_items_decide_alone(project: Project) -> None:
    held = items(100, 60)
    project.register(held)

    found = project.register(held)

    assert found["decided_by"]["items"] == found["test_items"] == 100
    assert "refits" not in found
    assert "alone" not in found["sentence"]


def test_classes_have_the_names_of_today(project: Project) -> None:
    held = items(4, 60)
    project.register(held)
    project.rename = {"low": "small", "high": "high"}.get

    found = project.register(
        [replace(item, labels=("small",)) if item.labels == ("low",) else item for item in held], ("small", "high")
    )

    assert found["refits"]["champion"] == 1.0
    assert found["refits"]["items"] == 60


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("settings", "v1 was trained with other settings"),
        ("labels", "the labels of v1 are not in the store"),
        ("damage", "the labels of v1 are damaged in the store"),
        ("recipe", "this version (another) is not trained anew"),
        ("few", "both learned from 8 items, of at least 20"),
    ],
)
def test_where_they_cannot_be_trained_alike_the_test_items_decide_alone(
    project: Project, change: str, told: str
) -> None:
    held = items(6, 8 if change == "few" else 60)
    project.register(held)
    if change == "settings":
        project.settings["seed"] = 1
    if change in ("labels", "damage"):
        run = Runs(project.store, PROJECT).find("key1")
        assert isinstance(run, RunRecord)
        kept = project.path / "store" / manifest_path(PROJECT, run.manifest)
        if change == "labels":
            kept.unlink()
        else:
            kept.write_text(kept.read_text()[:-80])

    found = project.register(held, recipe="another" if change == "recipe" else "nearest")

    assert found["passed"]
    assert f"the test items decide alone: {told}" in found["sentence"]
    assert "refits" not in found
    assert found["decided_by"]["items"] == 6


def test_who_cancels_a_run_while_they_are_trained_ends_it(project: Project) -> None:
    held = items(4, 60)
    project.register(held)

    def cancelled(what: str, done: int, total: int) -> None:
        if what == "refits":
            raise RunCancelled("somebody has cancelled it")

    project.progress = cancelled
    with pytest.raises(RunCancelled):
        project.register(held)
    assert Versions(project.store, PROJECT).find("v2") is None


def test_a_champion_that_waits_for_no_labels_has_them_in_the_store(project: Project) -> None:
    project.register(items(4, 60))
    record = Runs(project.store, PROJECT).find("key1")
    assert record is not None
    assert Versions(project.store, PROJECT).get("v1").run == "key1"
    assert project.store.names(f"{PROJECT}/manifests/") == [f"{record.manifest}.jsonl"]


def test_the_verdict_says_how_many_versions_the_test_side_has_judged(project: Project) -> None:
    held = items(4, 60)
    found = [project.register(held) for _ in range(11)]

    assert [one.get("judged_before") for one in found] == [None, *range(1, 11)]
    told = "the test side has judged 10 versions before, and measures somewhat too well what it let pass"
    assert [told in one["sentence"] for one in found] == [False] * 10 + [True]


@pytest.mark.train
def test_a_head_answers_for_pictures_that_it_has_not_learned_from() -> None:
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.refitted_head import RefittedHead

    chance = np.random.default_rng(0)
    shown = np.eye(2, dtype=bool)[chance.integers(0, 2, 80)]
    noise = chance.normal(size=(80, 400)).astype(np.float32)
    held = [Item(at, f"{at:064x}", ()) for at in range(80)]

    def answers(features: np.ndarray[Any, Any], held: Sequence[Item]) -> np.ndarray[Any, Any]:
        names = [item.content for item in everything]
        refit = RefittedHead.chosen(names, Problem(features, shown, "single"), "auto", 0, lambda rows: features[rows])
        return refit.answers(held)

    everything = held
    assert (answers(noise, held[:40]) == shown[:40]).all(axis=1).mean() < 0.75, "it knows none of them by heart"
    told = noise + 6 * shown[:, :1]
    assert (answers(told.astype(np.float32), held[:40]) == shown[:40]).all()


@pytest.mark.train
@pytest.mark.parametrize("kind", ["single", "multiple"])
def test_what_was_chosen_for_the_same_labels_is_not_chosen_again(
    kind: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelloop.train import refitted_head
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.refitted_head import KeptChoice, RefittedHead

    chance = np.random.default_rng(0)
    shown = np.eye(3, dtype=bool)[np.minimum(chance.integers(0, 12, 150), 2)]  # rare ones and a frequent one
    rows = (chance.normal(size=(150, 20)) + 3 * shown @ chance.normal(size=(3, 20))).astype(np.float32)
    shown[:4] = shown[[4, 5, 6, 7]]  # a few wrong ones
    items = [Item(at, f"{at:064x}", ()) for at in range(150)]

    def refit() -> RefittedHead:
        problem, names = Problem(rows, shown, kind), [item.content for item in items]
        return RefittedHead.chosen(names, problem, "loss", 0, lambda at: rows[at], kept=KeptChoice(tmp_path / "a.json"))

    first = refit()
    assert first.anew is None
    made = first.choice
    suspects = [items[one.row].content for one in made.suspects]
    KeptChoice(tmp_path / "a.json").write(made.strength, made.balance, suspects, flips=made.flips)
    monkeypatch.delattr(refitted_head, "choose")
    again = refit()
    np.testing.assert_array_equal(again.answers(items[:50]), first.answers(items[:50]))
    together = first.all_answers([items[:50], items[50:]])
    for answers, part in zip(together, (items[:50], items[50:]), strict=True):
        assert (answers == first.answers(part)).all(axis=1).mean() > 0.97, "they differ by the arithmetic alone"
    assert (again.choice.strength, again.choice.flips) == (first.choice.strength, first.choice.flips)
    np.testing.assert_array_equal(again.learned, first.learned)
    assert again.anew is not None
    with pytest.raises(NameError, match="choose"):
        again.anew()

    (tmp_path / "a.json").write_text('{"strength": "much"}')
    with pytest.raises(NameError, match="choose"):
        refit()


@pytest.mark.train
def test_what_a_run_has_chosen_is_found_by_its_labels_in_any_order(tmp_path: Path) -> None:
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.dataset import Sample
    from labelloop.train.refitted_head import KeptChoice, RefittedHead

    samples = [Sample(Path(), f"{at:064x}", (at % 2,), confirmed=at == 3) for at in range(40)]
    folder = tmp_path / "cache" / "train"

    def kept(held: Sequence[Sample], features: str = "a", balance: str = "auto", seed: int = 0) -> KeptChoice:
        return KeptChoice.of(folder, features, (one.said for one in held), "single", balance, seed)

    known = kept(samples)
    known.write(0.3, "loss", [samples[1].picture, samples[8].picture])
    others = {kept(samples[1:]), kept(samples, "b"), kept(samples, balance="none"), kept(samples, seed=1)}
    turned = [replace(samples[0], targets=(1,)), *samples[1:]]
    confirmed = [*samples[:3], replace(samples[3], confirmed=False), *samples[4:]]
    assert len({known, *others, kept(turned), kept(confirmed)}) == 7
    shown = np.eye(2, dtype=bool)[[one.targets[0] for one in samples]]
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    names = [one.picture for one in samples]
    found = RefittedHead.chosen(names, Problem(rows, shown, "single"), "auto", 0, None, None, kept(samples[::-1]))
    assert (found.choice.strength, found.choice.balance) == (0.3, "loss")
    assert found.learned.tolist() == [at for at in range(40) if at not in (1, 8)]

    remove(Caches(tmp_path).of({samples[1].picture}))
    assert not known.path.exists(), "it names pictures that are erased"


def test_one_that_is_chosen_anew_meets_another_that_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    held, asked = items(2, 60), list[int]()

    class Chosen(numbers_kind.NumbersRefit):
        def anew(self) -> numbers_kind.NumbersRefit:
            asked.append(len(self._items))
            return self

    made = iter([Chosen, numbers_kind.NumbersRefit, Chosen, Chosen])
    monkeypatch.setattr(type(numbers_kind.KIND), "refit", lambda _, _context, some, _others: next(made)(CLASSES, some))
    project.register(held)
    project.register(held[:-1])
    assert asked == [60]
    project.register(held[:-2])
    assert asked == [60]
