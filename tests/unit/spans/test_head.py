"""The CRF is learned, kept and served: its probabilities are those of all label sequences, its bundle is whole."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pytest

from labelloop.errors import BundleError
from labelloop.kinds.named_entity_recognition import KIND
from labelloop.kinds.named_entity_recognition.crf import FLOOR, Crf, calibrated, run
from labelloop.kinds.named_entity_recognition.engine import CRF, certainty, read_crf, write_crf
from labelloop.kinds.named_entity_recognition.features import attributes
from labelloop.kinds.named_entity_recognition.recipes.base import Candidate, Labeled
from labelloop.kinds.named_entity_recognition.recipes.contest import ENOUGH, f1, losses, winner
from labelloop.kinds.named_entity_recognition.recipes.head import CrfModel, calibrate, folds, learn, unseen
from labelloop.kinds.named_entity_recognition.tokens import tokenize
from labelloop.models.bundle import check_bundle
from labelloop.serve.engines.base import open_engine
from labelloop.types import Failure, Findings, Region, Span

NAMES = ("Ada Byron", "Bob", "Cleo de Witt", "Dan", "Eve Stone")


def labeled(number: int) -> Labeled:
    """Give a text; one in four names nobody."""
    name = NAMES[number % len(NAMES)]
    text = f"day {number}: rain" if number % 4 == 0 else f"\U0001f44b day {number}: {name} came by"
    at = text.find(name)
    return Labeled(f"{number:064x}", text, (Region("person", Span(at, at + len(name))),) if at >= 0 else ())


TEXTS = tuple(map(labeled, range(40)))


@pytest.fixture(scope="module")
def crf() -> Crf:
    return learn(TEXTS)


def places(regions: tuple[Region, ...]) -> set[tuple[str, object]]:
    return {(one.label, one.shape) for one in regions if (one.score or 0) >= 0.5}


def test_it_finds_what_it_learned_from_and_names_it_never_saw(crf: Crf) -> None:
    found = crf.find([one.text for one in TEXTS])
    assert [places(one) for one in found] == [{(r.label, r.shape) for r in one.regions} for one in TEXTS]
    text = "\U0001f44b day 7: Zoe\u0308 Miller came by"
    (new,) = crf.find([text])
    assert [text[a:b] for _, place in places(new) for a, b in [(place.start, place.end)]] == ["Zoe\u0308 Miller"]  # type: ignore[attr-defined]


def test_texts_are_found_in_one_by_one_as_all_at_once(crf: Crf) -> None:
    texts = [*(one.text for one in TEXTS), "", " \n", "\U0001f44b", "Bob\n\nAda Byron came by"]
    together = crf.find(texts)
    for text, found in zip(texts, together, strict=True):
        (alone,) = crf.find([text])
        assert [(one.label, one.shape) for one in alone] == [(one.label, one.shape) for one in found]
        assert [one.score for one in alone] == pytest.approx([one.score for one in found])


def test_a_spans_score_is_its_share_of_all_sequences() -> None:
    text, labels = "One two Three", ("a", "b")
    words = [text[start:end] for start, end in tokenize(text)]
    vocabulary = {name: at for at, name in enumerate(sorted({name for told in attributes(words) for name in told}))}
    draw = np.random.default_rng(0)
    states = 1 + 2 * len(labels)
    model = Crf(labels, vocabulary, draw.normal(0, 0.3, (len(vocabulary), states)), draw.normal(0, 1, (states, states)))
    scores, allowed = model.scores([words]), model.allowed
    shares: dict[tuple[str, int, int], float] = {}
    total = 0.0
    for path in itertools.product(range(states), repeat=len(words)):
        weight = float(np.exp(sum(scores[at, state] for at, state in enumerate(path))))
        weight *= float(np.prod([allowed[one, other] for one, other in itertools.pairwise(path)]))
        if path[0] in (2, 4):
            continue
        total += weight
        for first, last, label in _spans(path):
            key = labels[label], first, last
            shares[key] = shares.get(key, 0.0) + weight
    (chain,) = model.chains([text])
    tokens = tokenize(text)
    found = {(one.label, one.shape): one.score for one in model.spans(chain)}
    wanted = {
        (label, Span(tokens[first][0], tokens[last - 1][1])): weight / total
        for (label, first, last), weight in shares.items()
        if weight / total >= FLOOR
    }
    assert found == pytest.approx(wanted)
    assert chain.likely.sum(axis=1) == pytest.approx(np.ones(len(words)))


def _spans(path: tuple[int, ...]) -> list[tuple[int, int, int]]:
    found = []
    for first, state in enumerate(path):
        if state % 2:
            last = first + 1
            while last < len(path) and path[last] == state + 1:
                last += 1
            found.append((first, last, (state - 1) // 2))
    return found


def test_a_score_far_below_the_others_is_no_division_by_zero() -> None:
    scores = np.array([[0.0, -1e4, 1e4], [0.0, -1e4, 1e4]])
    forward, backward, *_ = run(scores, np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1.0]]), [(0, 2)])
    assert np.isfinite(forward * backward).all()


def test_the_same_texts_give_the_same_bytes(tmp_path: Path, crf: Crf) -> None:
    write_crf(tmp_path / "one.npz", crf)
    write_crf(tmp_path / "two.npz", learn(TEXTS))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    kept = read_crf((tmp_path / "one.npz").read_bytes())
    assert kept.find([TEXTS[1].text])[0][0].score == pytest.approx(crf.find([TEXTS[1].text])[0][0].score, abs=1e-4)


@pytest.mark.parametrize(
    "texts", [(), (Labeled("a", "nobody here", ()), Labeled("b", "", ())), (Labeled("c", " ", ()),)]
)
def test_without_any_span_nothing_is_found(texts: tuple[Labeled, ...]) -> None:
    assert learn(texts).find(["Ada Byron came by", ""]) == [(), ()]
    assert calibrate(unseen(texts, 0, 300, lambda *_: None)) == (1.0, 0.0, {})


def test_a_single_text_is_enough_to_learn_from() -> None:
    assert unseen(TEXTS[1:2], 0, 300, lambda *_: None) == []
    assert places(learn(TEXTS[1:2]).find([TEXTS[1].text])[0])


def test_equal_texts_are_held_out_together_and_no_more_folds_are_trained_than_needed() -> None:
    twice = (*TEXTS[:10], *TEXTS[:10])
    for part in folds(twice, 3):
        assert {at % 10 for at in part if at < 10} == {at % 10 for at in part if at >= 10}
    assert folds(twice, 3) == folds(twice, 3) != folds(twice, 4)
    assert len(unseen(TEXTS, 0, 1, lambda *_: None)) == len(folds(TEXTS, 0)[0])
    assert {one.content for one, _ in unseen(TEXTS, 0, 300, lambda *_: None)} == {one.content for one in TEXTS}


def test_scores_that_are_too_sure_are_made_more_modest() -> None:
    region = Region("a", Span(0, 1), 0.99)
    held = [(Labeled(str(at), "x", (region,) if at % 2 else ()), (region,)) for at in range(200)]
    slope, shift, told = calibrate(held)
    assert calibrated(0.99, slope, shift) == pytest.approx(0.5, abs=0.05)
    assert told["log_loss_after"] < told["log_loss_before"]


def candidate(name: str, found: Callable[[Labeled], tuple[Region, ...]], texts: tuple[Labeled, ...]) -> Candidate:
    return Candidate(name, CrfModel(learn(())), tuple(map(found, texts)))


def test_the_later_recipe_serves_unless_the_one_before_is_clearly_better() -> None:
    texts = tuple(map(labeled, range(ENOUGH)))
    good = candidate("head", lambda one: tuple(replace(r, score=0.9) for r in one.regions), texts)
    poor = candidate("finetune", lambda _: (), texts)
    equal = replace(good, recipe="finetune")
    assert winner([good, poor], texts).recipe == "head"
    assert winner([good, equal], texts).recipe == "finetune"
    assert winner([poor, good], texts[:-1]) is poor, "with few texts the first one serves"
    assert (f1(texts, good.found), f1(texts, poor.found)) == (1.0, 0.0)
    assert losses(texts, good.found).sum() < losses(texts, poor.found).sum()


def bundle(folder: Path, crf: Crf) -> Path:
    from labelloop.files import sha256
    from labelloop.kinds.named_entity_recognition.info import SpanInfo

    folder.mkdir()
    write_crf(folder / CRF, crf)
    files = {CRF: sha256(folder / CRF)}
    info = SpanInfo(("person",), "multiple", "head", files, kind=KIND.name, thresholds={"person": 0.5})
    (folder / "model.json").write_text(info.to_json())
    return folder


def test_a_bundle_answers_with_what_is_sure_and_is_measured_by_all(tmp_path: Path, crf: Crf) -> None:
    unsure = replace(crf, slope=0.1, shift=-1.0)
    engine = open_engine(bundle(tmp_path / "bundle", unsure), "onnx")
    text = TEXTS[1].text.encode()
    assert check_bundle(tmp_path / "bundle") == engine.info
    answer, failure = engine.predict([text, b"\xff"], "v1")
    assert isinstance(answer, Findings)
    assert answer.regions == ()
    assert answer.score is not None
    assert 0 < answer.score < 0.9, "something may have been overlooked"
    assert failure == Failure("it is no text in UTF-8 (invalid start byte at byte 0)")
    (measured,) = engine.measured.predict([text], "v1")
    assert isinstance(measured, Findings)
    assert all(0 < (one.score or 0) < 0.5 for one in measured.regions)
    assert measured.regions
    half_a_pair = "Bob \ud83d came by".encode(errors="surrogatepass")
    assert isinstance(engine.predict([half_a_pair], "v1")[0], Findings)


def test_a_text_is_as_sure_as_few_mistakes_are_to_be_expected() -> None:
    spans = [Region("a", Span(at, at + 1), score) for at, score in enumerate((0.9, 0.25, 1.0))]
    assert certainty(()) == 1.0
    assert certainty(spans) == pytest.approx(1 / 1.35)


def test_a_damaged_bundle_is_refused(tmp_path: Path, crf: Crf) -> None:
    folder = bundle(tmp_path / "bundle", crf)
    raw = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(raw | {"thresholds": {"person": 7}}))
    with pytest.raises(BundleError, match="a threshold that is not between 0 and 1"):
        open_engine(folder, "onnx")
    (folder / "model.json").write_text(json.dumps(raw))
    whole = (folder / CRF).read_bytes()
    (folder / CRF).write_bytes(whole[:-1])
    with pytest.raises(BundleError, match="is damaged"):
        open_engine(folder, "onnx")
    for strange in (b"no zip", whole[: len(whole) // 2]):
        with pytest.raises((OSError, ValueError, KeyError, BadZipFile)):
            read_crf(strange)
