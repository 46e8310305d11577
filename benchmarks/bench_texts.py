"""How good the head of texts is with few labels, beside a plain one, and how fast it is.

``python -m benchmarks.bench_texts FILE`` takes texts from a CSV file with the columns ``text`` and ``category``.
Fifteen texts of each class are held out; both learn from so many of the others (``--labels``), drawn by ``--seeds``.
The plain one is a logistic regression (C = 30) on TF-IDF of words (1, 2) and of characters within words (2 to 5),
beside the mean of wordllama's embeddings. Intervals are over the texts held out, by bootstrap. Without a file there are
made-up texts, which both learn in no time: then the figures are of speed alone.
"""

import argparse
import csv
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HELD_OUT = 15

Rows = npt.NDArray[np.intp]


def run(path: Path | None = None, counts: Sequence[int] = (5,), seeds: int = 1) -> dict[str, Any]:
    """Compare both."""
    rows = labeled_texts(path) if path else made_up()
    classes = tuple(sorted({name for _, name in rows}))
    labels = np.array([classes.index(name) for _, name in rows])
    held, rest = _held_out(labels)
    found: dict[str, Any] = {"texts held out": len(held), "classes": len(classes)}
    for count in counts:
        found |= _measure([text for text, _ in rows], labels, classes, (held, rest), count, seeds)
    return found


def labeled_texts(path: Path) -> list[tuple[str, str]]:
    """Read texts with their classes."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def made_up() -> list[tuple[str, str]]:
    """Make texts of eight classes, each told by a word of its own."""
    chance = random.Random(0)
    words = [f"word{number}" for number in range(400)]
    return [
        (" ".join([*chance.choices(words, k=10), f"subject{number % 8}"]), f"class {number % 8}")
        for number in range(400)
    ]


def _held_out(labels: npt.NDArray[np.intp]) -> tuple[Rows, Rows]:
    chance = np.random.default_rng(2024)
    held = np.concatenate(
        [chance.permutation(np.flatnonzero(labels == one))[:HELD_OUT] for one in range(labels.max() + 1)]
    )
    return np.sort(held), np.setdiff1d(np.arange(len(labels)), held)


def _measure(
    texts: Sequence[str],
    labels: npt.NDArray[np.intp],
    classes: tuple[str, ...],
    parts: tuple[Rows, Rows],
    count: int,
    seeds: int,
) -> Mapping[str, Any]:
    held, rest = parts
    right: dict[str, list[npt.NDArray[np.bool_]]] = {"baseline": [], "head": []}
    seconds, speed = [], []
    for seed in range(seeds):
        chance = np.random.default_rng(seed)
        drawn_texts = [chance.permutation(rest[labels[rest] == one])[:count] for one in range(len(classes))]
        learned = np.sort(np.concatenate(drawn_texts))
        asked = [texts[at] for at in held]
        right["baseline"].append(_baseline(texts, labels, learned, asked) == labels[held])
        answers, took, each = _head(texts, labels, classes, learned, asked)
        right["head"].append(answers == labels[held])
        seconds.append(took)
        speed.append(each)
    by_text = {name: np.mean(found, axis=0) for name, found in right.items()}
    gain = by_text["head"] - by_text["baseline"]
    drawn = np.random.default_rng(0).integers(0, len(gain), (2000, len(gain)))
    low, high = np.quantile(gain[drawn].mean(axis=1), [0.025, 0.975])
    return {
        f"{count} per class: baseline": round(float(by_text["baseline"].mean()), 4),
        f"{count} per class: head": round(float(by_text["head"].mean()), 4),
        f"{count} per class: gain": f"{gain.mean():+.4f} ({low:+.4f} to {high:+.4f})",
        f"{count} per class: by seed": [
            (round(float(one.mean()), 4), round(float(other.mean()), 4))
            for one, other in zip(right["baseline"], right["head"], strict=True)
        ],
        f"{count} per class: seconds of CPU": f"{max(seconds):.1f}",
        f"{count} per class: texts/s": round(float(np.median(speed))),
    }


def _baseline(
    texts: Sequence[str], labels: npt.NDArray[np.intp], learned: Rows, asked: Sequence[str]
) -> npt.NDArray[np.intp]:
    from scipy.sparse import csr_matrix, hstack  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words, characters = TfidfVectorizer(ngram_range=(1, 2)), TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    known = [texts[at] for at in learned]
    shown = hstack([words.fit_transform(known), characters.fit_transform(known), csr_matrix(_means(known))]).tocsr()
    held = hstack([words.transform(asked), characters.transform(asked), csr_matrix(_means(asked))]).tocsr()
    # In a space as large as there are texts the solution is the same, and found in a fraction of the time.
    scale, directions = np.linalg.eigh((shown @ shown.T).toarray())
    kept = scale > 1e-9 * scale[-1]
    basis = directions[:, kept] / np.sqrt(scale[kept])
    model = LogisticRegression(C=30, max_iter=1000).fit((shown @ shown.T).toarray() @ basis, labels[learned])
    answers: npt.NDArray[np.intp] = model.predict((held @ shown.T).toarray() @ basis)
    return answers


def _means(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    from labelloop.kinds.texts.static_embeddings import packaged

    embeddings = packaged()
    assert embeddings is not None, "wordllama is not installed"
    return np.stack([embeddings.vectors[ids].astype(np.float32).mean(axis=0) for ids in embeddings.ids(texts)])


def _head(
    texts: Sequence[str],
    labels: npt.NDArray[np.intp],
    classes: tuple[str, ...],
    learned: Rows,
    asked: Sequence[str],
) -> tuple[npt.NDArray[np.intp], float, float]:
    """Train as a run does, without a validation side, and answer as a server does."""
    from labelloop.kinds.hyperparameters import OwnParameters
    from labelloop.kinds.text_classification.recipes.material import Labeled, Material
    from labelloop.kinds.text_classification.recipes.trainer import train
    from labelloop.serve.engines.base import open_engine
    from labelloop.types import TEXTS, Output

    def labeled(at: Rows) -> Labeled:
        names, said = tuple(f"{row:064x}" for row in at), tuple(texts[row] for row in at)
        return Labeled(names, said, np.eye(len(classes), dtype=bool)[labels[at]], np.zeros(len(at), dtype=bool))

    parameters = OwnParameters(TEXTS, {"balance": "auto"}, ("head",), 0)
    material = Material(classes, "single", labeled(learned), labeled(learned[:0]), parameters, lambda *_: None)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        train(material, ("head",), {}, Path(folder))
        took = time.process_time() - begun
        engine = open_engine(Path(folder) / "bundle", "onnx")
        begun = time.process_time()
        answers = engine.predict([text.encode() for text in asked], "")
        each = len(asked) / (time.process_time() - begun)
    given = [classes.index(one.label) for one in answers if isinstance(one, Output)]
    return np.array(given), took, each


def main() -> None:
    """Read the arguments, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="a CSV file; default: made-up texts")
    parser.add_argument("--labels", default="5,10,20", help="how many of each class both learn from")
    parser.add_argument("--seeds", type=int, default=3, help="how many draws")
    options = parser.parse_args()
    for what, value in run(options.file, [int(one) for one in options.labels.split(",")], options.seeds).items():
        print(f"{what:<40} {value}")


if __name__ == "__main__":
    main()
