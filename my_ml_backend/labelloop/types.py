"""What the layers hand each other. Every class here is an immutable value."""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from typing import Any, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

from labelloop.training_parameters import PictureParameters

Json = dict[str, Any]
Choice = Literal["single", "multiple"]
"""How many labels one input takes: ``choice="single"`` or ``choice="multiple"`` of a ``Choices`` tag."""

IMAGES = "image-classification"
"""The kind that was there first: where nothing says what is learned, it is this."""

TEXTS, SPANS, BOXES = "text-classification", "named-entity-recognition", "object-detection"
"""The other kinds that are learned here."""

ANNOTATIONS = "annotations"
"""The kind that stands in where a label config asks for nothing that another one learns: whatever annotators say."""

ADOPTED = "adopted"
"""The recipe of a version that was not trained here (``labelloop adopt``)."""

Side = Literal["train", "validation", "test"]

LABELBOX = "labelbox--"
"""How the instance of a model run's key begins; no name that an address gives has two hyphens in a row."""

_MODEL_RUN = re.compile(r"[0-9a-z][0-9a-z-]{7,63}")

Arm = Literal["random", "ordered"]
"""How a task was served: at a place that chance gave it, or by its true score."""

NO_VERSION = "labelloop-untrained"
"""What ``/setup`` answers before the first version: fixed and never empty (contract, "Predictions")."""

FIRST_LABELS = "first-labels"
"""What it answers instead where tasks are ordered before there is a version (loop/first_labels.py): none of any model.
"""


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """Where all that is kept of one project lies; ``str()`` of it is the beginning of every store path and Redis key.

    ``instance`` is the second in which the project was created, or, in stores that were made before projects had an
    identity, the address of its Label Studio; ``id`` is the number that Label Studio gave the project. Of a model run
    of Labelbox, ``instance`` says which it is, and ``id`` what is made of it: the number of an entry of the menu.
    """

    instance: str
    id: int

    def __str__(self) -> str:
        return f"{self.instance}/{self.id}"

    @classmethod
    def of(cls, studio_url: str, project: int) -> Self:
        """Name a project by the address of its Label Studio: ``http://ls:8080/x`` and 7 give ``ls-8080-x/7``."""
        parts = urlsplit(studio_url)
        where = (parts.netloc.rpartition("@")[2] + parts.path).strip("/").lower()
        return cls(re.sub(r"[^a-z0-9.]+", "-", where).strip("-.") or "label-studio", project)

    @classmethod
    def of_model_run(cls, model_run: str, number: int) -> Self:
        """Name what is made of a model run of Labelbox; raises ValueError for what is no id of one."""
        if not _MODEL_RUN.fullmatch(model_run):
            raise ValueError(
                f"{model_run[:80]!r} is no id of a model run: expected 8 to 64 small letters, digits, hyphens"
            )
        return cls(LABELBOX + model_run, number)

    @property
    def model_run(self) -> str:
        """The id of the model run; empty for a project of Label Studio."""
        return self.instance.removeprefix(LABELBOX) if self.instance.startswith(LABELBOX) else ""

    @property
    def shown(self) -> str:
        """How commands name it: a project by its number, a model run by its id and the number of the entry."""
        return f"{self.model_run}/{self.id}" if self.model_run else str(self.id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``instance/id`` back; raises ValueError for anything else."""
        match = re.fullmatch(r"([a-z0-9][a-z0-9.-]*)/(\d{1,18})", text)
        if match is None or ".." in text:
            raise ValueError(f"{text!r} is no project key: expected instance/id, for example localhost-8080/7")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True, slots=True)
class Identity:
    """Which project is meant, whatever the address of its Label Studio: its number there, and when it was created.

    ``created`` is in whole Unix seconds: ``/setup`` and ``/predict`` send no more. None where whoever names the project
    says its number only; then the project is meant that was found last at the address.
    """

    id: int
    created: int | None = None

    def __str__(self) -> str:
        return str(self.id) if self.created is None else f"{self.id}.{self.created}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``7`` or ``7.1795187589``, as Label Studio's requests name a project.

        A creation time that cannot be read counts as not told. Raises ValueError for what names no project.
        """
        number, _, told = text.partition(".")
        if not re.fullmatch(r"[0-9]{1,18}", number) or not int(number):
            raise ValueError("the id of project must be a whole number from 1, not text")
        return cls(int(number), (int(told) or None) if re.fullmatch(r"[0-9]{1,11}", told) else None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``remedy`` says what to do when it is not ``ok``, or ``ok`` and yet doubtful."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TaskKey:
    """A task by Label Studio's ids: its project's, and its own, None for one that was never stored."""

    project: int
    id: int | None


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in fractions of the picture's width and height; ``rotation`` in degrees, clockwise, about (x, y).

    (x, y) is the upper left corner. The picture is upright: its EXIF orientation is applied.
    """

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """A point, in fractions of the picture's width and height."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """An outline of three or more points."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """A silhouette: ``inside`` holds height x width bytes, row by row, 0 outside and 255 inside."""

    width: int
    height: int
    inside: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text: Unicode characters from ``start`` to ``end``, which is the first one after it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """Written words: a caption, a transcript, an answer."""

    content: str


@dataclass(frozen=True, slots=True)
class Number:
    """One number: a rating, a count, a price."""

    value: float


@dataclass(frozen=True, slots=True)
class Whole:
    """All of an input: the label is of the whole of it, as a classification's is."""


Shape = Box | Point | Polygon | Mask | Span | Text | Number | Whole


@dataclass(frozen=True, slots=True)
class Prompted:
    """What an annotator drew to ask for a prediction: here is one (``positive``), or here is none of it."""

    shape: Box | Point
    label: str = ""
    positive: bool = True


@dataclass(frozen=True, slots=True)
class WantedLabel:
    """A label that may be answered: its ``name`` in results, how people know it, and what explains it, if anything."""

    name: str
    shown: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one control tag wants to know of an input, in words: labels of the whole, labeled parts of a text, ...

    ``labels`` are those to choose from, ``choice`` says how many of them; ``least`` and ``most`` bound a number, which
    may have to be ``whole``. ``hint`` is what annotators are told of the tag.
    """

    tag: str
    says: Literal["labels", "spans", "text", "number"]
    labels: tuple[WantedLabel, ...] = ()
    choice: Choice = "single"
    hint: str = ""
    least: float | None = None
    most: float | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Assignment:
    """What annotators are asked of each input, for endpoints that have to be told, such as LLMs.

    ``instructions`` is what they read above it. What cannot be said in words, such as boxes, is not in it.
    """

    wanted: tuple[Wanted, ...] = ()
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """What one task gives an endpoint: a file's bytes, else a ``text``, else a ``uri`` that it is to fetch itself.

    ``assignment`` is what is to be said of it, where that is known. ``known`` is the sha256 (hex) of a file's bytes
    that are not read, for its answer needs none of them (loop/own_answers.py).
    """

    content: bytes = field(default=b"", repr=False)
    media_type: str = "application/octet-stream"
    text: str | None = None
    uri: str | None = None
    prompt: tuple[Prompted, ...] = ()
    assignment: Assignment | None = field(default=None, repr=False)
    known: str = ""


HALF = 0.5
"""The score from which on one of several classes is given, where nothing says otherwise."""


@dataclass(frozen=True, slots=True)
class Output:
    """A classification of one input; ``scores`` maps every class of the model to a finite number in [0, 1].

    With choice ``single`` the scores sum to 1 and ``label`` is the best of them; with ``multiple`` each is independent,
    and a class is given from its score in ``thresholds`` on, from ``HALF`` where it has none there.
    """

    label: str
    score: float
    scores: Mapping[str, float]
    model_version: str
    choice: Choice = "single"
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def gives(self, name: str) -> bool:
        """Whether a class of a model with choice ``multiple`` is given."""
        return self.scores[name] >= self.thresholds.get(name, HALF)


@dataclass(frozen=True, slots=True)
class Region:
    """One thing found in an input: a class of the model ("" for texts and numbers), where, and how sure, in [0, 1].

    ``tag`` names the control tag that it is for, where the endpoint says so; "" is any that takes it.
    """

    label: str
    shape: Shape
    score: float | None = None
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found in one input, perhaps nothing; ``size`` is the picture's width and height, where known.

    ``tags`` names the control tags that were answered, perhaps with nothing, where the endpoint was asked by their
    names. ``remarks`` say what of the answer was left out, and why; nothing of the input stands in them. ``score`` is
    how sure the model is of all of it, in [0, 1], where it says so.
    """

    regions: tuple[Region, ...]
    model_version: str
    size: tuple[int, int] | None = None
    tags: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    score: float | None = None


Answer = Output | Findings
"""What an endpoint says of one input."""


Uncertainty = Literal["least_confidence", "margin", "entropy"]
UNCERTAINTIES: tuple[Uncertainty, ...] = get_args(Uncertainty)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a user says of how answers become predictions.

    ``threshold`` is the score from which on something is shown, where the site says nothing of it (in Label Studio, a
    control tag's ``model_score_threshold``). ``label_map`` says which label a class means, before all else that does.
    ``tag`` names the control tag that takes answers; without it, the first that can.
    """

    threshold: float | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    uncertainty: Uncertainty = "least_confidence"
    tag: str = ""

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """The label map as pairs."""
        return tuple(self.label_map.items())


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as annotators see it: results in the words of their tool, what means the same brought together.

    ``tags`` names the control tags that an answer of this form can fill; of the others it says nothing. ``regions`` are
    those that a project's kind learns, where it learns regions, in today's labels and with the model's scores.
    """

    results: tuple[Json, ...]
    tags: frozenset[str] = frozenset()
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one input has no output; ``endpoint`` says that not the input but the endpoint as a whole is at fault."""

    reason: str
    endpoint: bool = False


@dataclass(frozen=True, slots=True)
class NotAsked(Failure):
    """Why nobody could be asked about an input: unlike a model that fails on it, none has shown what it is worth."""

    reason: str = "was not asked"


@dataclass(frozen=True, slots=True)
class Target:
    """Which model an endpoint should ask: a project's version; None leaves the choice to the endpoint.

    ``deployed`` is what was brought to the endpoint, which answers are of that name no version themselves; empty where
    nothing was. While it is ``between`` two versions, what the transport tells goes before. ``features``: it is asked
    for features beside its answers.
    """

    project: ProjectKey | None = None
    version: str | None = None
    deployed: str = ""
    between: bool = False
    features: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One labeled input: the task, the sha256 of the input's bytes (hex), its labels (sorted).

    ``text`` is the input itself where that is text; of a file the manifest has the hash alone. ``result`` is all that
    its truth says (a JSON list, spelled as ``canonical`` does), where labels alone do not say it. ``confirmed``: its
    labels were looked at again and found right (kinds/majority.py), so whoever learns from it does not doubt them.
    """

    task: int
    content: str
    labels: tuple[str, ...]
    text: str = ""
    result: str = ""
    confirmed: bool = False

    @classmethod
    def of_text(
        cls, task: int, text: str, labels: tuple[str, ...], result: str = "", *, confirmed: bool = False
    ) -> Self:
        """Make an item of an input that stands in its task."""
        content = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        return cls(task, content, labels, text, result, confirmed)


_SPLIT_SALT = "labelloop split 1\n"
"""Fixed for ever: with another one, every picture would move and no two versions' scores could be compared."""


def side(picture: str) -> Side:
    """Say on which side a picture is (sha256 of its bytes, hex): 80 % train, 10 % validation, 10 % test."""
    # Hashed again, so that nothing else that is chosen by a picture's hash can go along with its side.
    share = int.from_bytes(hashlib.sha256((_SPLIT_SALT + picture).encode()).digest()[:8]) % 100
    if share < 80:
        return "train"
    return "validation" if share < 90 else "test"


def canonical(value: object) -> str:
    """Spell JSON in the one way that counts: sorted keys, no blanks, ASCII."""
    return _CANONICAL.encode(value)


def caseless(name: str) -> str:
    """Give what is the same of names that differ in letter case, in blanks around, or in how letters are composed."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def bare(text: str) -> str:
    """Take away what stands around a label that is written as a sentence, a quotation or an entry of a list."""
    return text.strip(" \t\r\n.\"'`*-")


def finite(value: object) -> float | None:
    """Give a number of foreign JSON; None for what is none, truth values among it, and for what no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def value_at(data: object, key: str) -> object:
    """Give what task data has under a key; one such as ``photo.url`` or ``photos[0]`` leads into nested data."""
    if isinstance(data, dict) and data.get(key) is not None:
        return data[key]
    for step in re.split(r"[.\[\]]+", key.rstrip("]")):
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and re.fullmatch(r"[0-9]{1,9}", step) and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A labeled task that is not in the manifest, and why."""

    task: int
    reason: str


_ALWAYS_COUNTED = frozenset(
    (
        "backbone",
        "weights",
        "image_size",
        "recipes",
        "epochs",
        "batch_size",
        "learning_rate",
        "seed",
        "weights_hash",
        "optimizer",
        "augmentations",
        "augmentations_hash",
        "mixup",
        "balance",
    )
)
"""The fields of the first release, which have named runs from the beginning, whatever their values."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings(PictureParameters):
    """All that decides what a run's training makes of labeled pictures; part of the run's key.

    ``weights_hash`` and ``augmentations_hash`` are the sha256 of the files that those name. ``raised`` names recipes,
    and the gate, that have improved since their first version (run/parameters.py).
    """

    weights_hash: str = ""
    augmentations_hash: str = ""
    raised: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Give the values themselves, which a version's record keeps."""
        return asdict(self)

    def fingerprint(self) -> str:
        """Hash all that matters to the result: where a weight file lies does not, its content does.

        A field that is younger than the first release counts only where it is not at its default, so that runs keep
        their names.
        """
        values = {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.name in _ALWAYS_COUNTED or getattr(self, entry.name) != entry.default
        }
        values |= {name: "file" for name in ("weights", "augmentations") if values[f"{name}_hash"]}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) while long work goes on; total 0 means unknown."""


Epoch = Mapping[str, float]
"""What an epoch reached: ``epoch`` (from 1), ``learning_rate``, ``train_loss``, ``seconds``, ``pictures_per_second``,
``waiting`` (share of time) and, with validation pictures, ``validation_loss`` and ``validation_accuracy``."""

Watch = Callable[[str, Epoch], bool]
"""Told of every epoch of a recipe as it ends; answers whether to stop there."""


def unwatched(recipe: str, epoch: Epoch) -> bool:  # noqa: ARG001 - a Watch
    """Watch nothing, and let the training go on."""
    return False


T = TypeVar("T")


def from_both_ends(count: int) -> list[int]:
    """Give the numbers from 0 on in turn from both ends, the last one first: what is alike lies side by side."""
    return sorted(range(count), key=lambda at: min(2 * at + 1, 2 * (count - 1 - at)))


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of ``size``, the last one shorter; only one list is held at a time."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
