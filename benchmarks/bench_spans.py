"""How good the head for spans is, beside a plain CRF, and how fast both are.

``python -m benchmarks.bench_spans FILE`` takes sentences from a CoNLL file: of each of five folds both learn from so
many of the others (``--sentences``), drawn by ``--seeds``, and find spans in the fold. The plain CRF weighs words,
shapes, prefixes and suffixes of three letters in a window of two words (c1 = c2 = 0.1, 80 iterations). Without a file
there are made-up sentences, which both learn in no time: then the figures are of speed alone.
"""

import argparse
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycrfsuite

from labelloop.data.formats import Hints
from labelloop.data.formats.conll import read_conll
from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.kinds.named_entity_recognition.engine import CRF, read_crf
from labelloop.kinds.named_entity_recognition.recipes import head
from labelloop.kinds.named_entity_recognition.recipes.base import Labeled, Material, Regions
from labelloop.kinds.named_entity_recognition.recipes.contest import f1
from labelloop.kinds.named_entity_recognition.tokens import ends
from labelloop.regions import read_regions
from labelloop.train.intervals import ends as interval
from labelloop.types import SPANS, Item, Region, Span

FOLDS = 5
_WORD = re.compile(r"\S+")

Find = Callable[[Sequence[str]], Sequence[Regions]]


@dataclass(frozen=True)
class Result:
    """What a model reached on a fold: span F1, and seconds of this process to learn it."""

    f1: float
    seconds: float


def sentences(path: Path) -> list[Labeled]:
    """Read a CoNLL file."""
    listing = read_conll(path, Hints(), "")
    found = []
    for task, record in enumerate(listing.records):
        item = Item.of_text(task, record.text, record.labels, record.result)
        found.append(Labeled(item.content, record.text, read_regions(record.result or "[]")))
    return found


def made_up(count: int = 400) -> list[Labeled]:
    """Make sentences that name somebody, and some that do not."""
    draw = random.Random(0)
    found = []
    for number in range(count):
        name = f"{draw.choice(('Ada', 'Bob', 'Cleo', 'Dan'))} {draw.choice(('Stone', 'Miller', 'Witt'))}"
        text = f"On day {number} of the voyage {name} kept the log , and nobody else was on deck ."
        at = text.index(name)
        regions = (Region("person", Span(at, at + len(name))),) if number % 5 else ()
        text = text if number % 5 else text.replace(name, "it")
        found.append(Labeled(Item.of_text(number, text, ()).content, text, regions))
    return found


def ours(texts: Sequence[Labeled], seed: int) -> Find:
    """Learn as the product does: all texts, and scores calibrated by those that were held out."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = OwnParameters(SPANS, {}, ("head",), seed)
        aside = Path(folder)
        model = head.fit(Material(tuple(texts), (), (), parameters, aside, aside, lambda *_: None)).model
    return model.find


def plain(texts: Sequence[Labeled], _: int) -> Find:
    """Learn the plain CRF."""
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params({"c1": 0.1, "c2": 0.1, "max_iterations": 80})
    for one in texts:
        words = [match.span() for match in _WORD.finditer(one.text)]
        trainer.append(list(_told([one.text[a:b] for a, b in words])), _tags(one, words))
    tagger = pycrfsuite.Tagger()
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(f"{folder}/crf")
        content = Path(f"{folder}/crf").read_bytes()
    tagger.open_inmemory(content)

    def find(many: Sequence[str]) -> list[Regions]:
        # CRFsuite reads on in these bytes, and does not keep them.
        return [tuple(_found(tagger, text)) for text in many] if content else []

    return find


def _told(words: Sequence[str]) -> Iterator[list[str]]:
    for at in range(len(words)):
        told = ["always"]
        for place in range(-2, 3):
            if not 0 <= at + place < len(words):
                told.append(f"{place}none")
                continue
            word = words[at + place]
            shape = re.sub("[0-9]", "d", re.sub("[a-z]", "x", re.sub("[A-Z]", "X", word)))
            told += [f"{place}w{word.lower()}", f"{place}s{shape}", f"{place}<{word[:3]}", f"{place}>{word[-3:]}"]
        yield told


def _tags(one: Labeled, words: Sequence[tuple[int, int]]) -> list[str]:
    tags = ["O"] * len(words)
    for region in one.regions:
        start, end = ends(region)
        inside = [at for at, (a, b) in enumerate(words) if a < end and start < b]
        for at in inside:
            tags[at] = f"{'B' if at == inside[0] else 'I'}-{region.label}"
    return tags


def _found(tagger: pycrfsuite.Tagger, text: str) -> Iterator[Region]:
    words = [match.span() for match in _WORD.finditer(text)]
    tags = tagger.tag(list(_told([text[a:b] for a, b in words])))
    begin: int | None = None
    for at, tag in enumerate([*tags, "O"]):
        if begin is not None and (tag != f"I-{tags[begin][2:]}"):
            yield Region(tags[begin][2:], Span(words[begin][0], words[at - 1][1]), 1.0)
            begin = None
        if tag != "O" and begin is None:
            begin = at


LEARNED: dict[str, Callable[[Sequence[Labeled], int], Find]] = {"plain CRF": plain, "head": ours}


def compare(texts: Sequence[Labeled], count: int, seed: int) -> dict[str, list[Result]]:
    """Let both learn from ``count`` texts of four folds and answer for the fifth, five times."""
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)
    found: dict[str, list[Result]] = {name: [] for name in LEARNED}
    for fold in range(FOLDS):
        held = [texts[at] for at in order[fold::FOLDS]]
        others = [texts[at] for place, at in enumerate(order) if place % FOLDS != fold][:count]
        for name, learn in LEARNED.items():
            begun = time.process_time()
            find = learn(others, seed)
            seconds = time.process_time() - begun
            found[name].append(Result(f1(held, find([one.text for one in held])), seconds))
    return found


def run(path: Path | None = None, counts: Sequence[int] = (50,), seeds: int = 1) -> dict[str, str]:
    """Compare both, and say how fast the head's bundle is."""
    texts = sentences(path) if path else made_up()
    told = {}
    for count in counts:
        every = [compare(texts, count, seed) for seed in range(seeds)]
        for name in LEARNED:
            values = [one.f1 for each in every for one in each[name]]
            seconds = statistics.median(one.seconds for each in every for one in each[name])
            told[f"{count} sentences, {name}"] = f"span F1 {np.mean(values):.4f}, {seconds:.2f} s"
        gains = np.array([[a.f1 - b.f1 for a, b in zip(*each.values(), strict=True)] for each in every])
        # Folds of a seed share what they learn from: seeds are drawn, with their folds.
        draw = np.random.default_rng(0).integers(0, seeds, (2000, seeds))
        low, high = interval(-gains.mean(axis=1)[draw].mean(axis=1))
        told[f"{count} sentences, head - plain CRF"] = f"{-gains.mean():+.4f} ({low:+.4f} to {high:+.4f})"
    return told | speed(texts)


def speed(texts: Sequence[Labeled]) -> dict[str, str]:
    """Measure loading and answering of the head that has learned from up to 800 texts, on one core."""
    model = head.CrfModel(head.learn(texts[:800]))
    with tempfile.TemporaryDirectory() as folder:
        model.write(Path(folder))
        content = (Path(folder) / CRF).read_bytes()
    begun = time.perf_counter()
    crf = read_crf(content)
    load = time.perf_counter() - begun
    many = [one.text for one in texts]
    rates = {}
    for size in (1, 32):
        crf.find(many)  # words are remembered
        begun = time.perf_counter()
        for start in range(0, len(many), size):
            crf.find(many[start : start + size])
        rates[size] = len(many) / (time.perf_counter() - begun)
    words = sum(len(one.split()) for one in many) / len(many)
    return {
        "bundle": f"{len(content) / 1e3:.0f} kB, {len(crf.vocabulary)} attributes, loaded in {1e3 * load:.1f} ms",
        "texts/s": f"{rates[1]:.0f} one by one, {rates[32]:.0f} by 32s; {words:.0f} words each",
    }


def main() -> None:
    """Read the arguments, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="a CoNLL file; default: made-up sentences")
    parser.add_argument("--sentences", default="50,200,800", help="how many both learn from")
    parser.add_argument("--seeds", type=int, default=2, help="how many draws")
    options = parser.parse_args()
    for what, value in run(options.file, [int(one) for one in options.sentences.split(",")], options.seeds).items():
        print(f"{what:<40} {value}")


if __name__ == "__main__":
    main()
