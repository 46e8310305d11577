"""A kind of learning: what is true of an item, how that is learned, measured, judged and served.

The loop, the run, the store and the server are the same for all kinds; they ask the kind of a project for the rest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from labelloop.bundle_info import ANSWERS, BundleInfo
from labelloop.errors import UnknownKind
from labelloop.kinds.majority import Truth, Vote
from labelloop.settings import Settings
from labelloop.types import ANNOTATIONS, BOXES, IMAGES, SPANS, TEXTS, Choice, Item, Json, LeftOut, Progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.models.features import OpenFeatures
    from labelloop.run.context import Context
    from labelloop.run.scoring import Opponent, Rename
    from labelloop.run.verdict import Verdict
    from labelloop.serve.engines.base import Engine

KINDS: dict[str, str] = {
    IMAGES: "labelloop.kinds.image_classification",
    TEXTS: "labelloop.kinds.text_classification",
    SPANS: "labelloop.kinds.named_entity_recognition",
    BOXES: "labelloop.kinds.object_detection",
    ANNOTATIONS: "labelloop.kinds.annotations",
}
"""The module of each kind, by the kind's name; its ``KIND`` is the kind. It is imported when it is first asked for."""

LAST_LAYER = "last-layer"
"""The recipe that learns a last layer anew on the network of a finetune of the project's (docs/training.md)."""

SCORED_BY = "onnx"
"""The engine that measures versions, and most often serves them."""

Says = Literal["labels", "regions", "result"]
"""What votes must carry for a kind: classes, regions (labelloop/regions.py), or results in the tool's own words."""

Supported = tuple[tuple[str, tuple[str, ...]], ...]
"""Control tags of Label Studio, each with the object tags it may be about."""


class Hyperparameters(Protocol):
    """All that decides what a kind's training makes of a manifest.

    ``recipes`` are those that compete, ``seed`` decides every draw.
    """

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes that compete on the validation side."""

    @property
    def seed(self) -> int:
        """What decides every draw."""

    def to_json(self) -> Json:
        """Give the values themselves, which a version's record keeps."""

    def fingerprint(self) -> str:
        """Hash all that matters to the result, as a part of a run's key; what a release adds counts off its default."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a version has learned from: ``items``, by the settings ``trained_with``; its ``bundle`` is what came of it.

    ``settings`` are those of this process: they say where its files lie. ``features`` opens those of its project.
    """

    items: Sequence[Item]
    bundle: Path
    trained_with: Json
    settings: Settings
    features: "OpenFeatures | None" = None


class FeatureTaker(Protocol):
    """Takes features by a frozen backbone."""

    @property
    def backbone(self) -> str:
        """The hash of the backbone."""

    @property
    def width(self) -> int:
        """How many numbers a file gives."""

    @property
    def mirrors(self) -> bool:
        """Whether files have mirror images."""

    def take(
        self, contents: Sequence[bytes], *, mirrored: bool = False
    ) -> "tuple[npt.NDArray[np.float32], Mapping[int, str]]":
        """Give the features of files, (files, width), and why some cannot be read, by their places among the files."""


class Kind(Protocol):
    """One kind. What needs torch is imported by the methods of the stages, and not before: servers have none.

    ``item`` is what a sentence calls an input, such as ``picture``. ``says`` tells what votes carry. ``contrasts`` says
    that items must differ in their labels, or there is nothing to learn; ``as_shown`` that answers are judged as
    annotators would see them, which only a site's project says. ``whoever_trains`` says that a trainer of one's own
    learns it, too, without being told; of what other kinds learn it gets all that annotators say. ``label_configs`` are
    the control tags it learns, with what they are about; one that draws what ``Labels`` name, such as ``Rectangle``, is
    learned with them. ``recipes`` maps its recipes to their versions: one is raised where the same labels now give a
    better model, and every project is then trained once with it. ``settings`` are the fields of the settings that are
    its own; the seed is everybody's. ``figure`` is what the figure is called by which its recipes compete.
    ``weights`` are the files that its bundles may hold beside ``model.json`` and the report. ``quick`` are the recipes
    that train in seconds once the features of items are at hand: where they compete with others, a loop's run trains
    them alone, and the others are challengers (docs/training.md). ``begins_with`` are the settings that decide, beside
    the labels, which network a finetune makes: last layers are learned on it as long as they stay.
    """

    name: str
    item: str
    says: Says
    contrasts: bool
    as_shown: bool
    whoever_trains: bool
    figure: str
    label_configs: Supported
    recipes: Mapping[str, int]
    settings: tuple[str, ...]
    weights: tuple[str, ...]
    quick: tuple[str, ...]
    begins_with: tuple[str, ...]

    def truth(self, votes: Sequence[Vote], choice: Choice) -> Truth:
        """Make one truth of what a task's annotators say, at least one of them; or say why there is none."""

    def check(self, content: bytes) -> None:
        """Raise Unreadable for a file that is no input of this kind."""

    def competing(self, settings: Settings) -> tuple[str, ...]:
        """Name the recipes that compete by the settings; reads no file, and so never fails."""

    def hyperparameters(self, settings: Settings) -> Hyperparameters:
        """Take from the settings what training needs; raises TrainingError where a file they name cannot be read."""

    def check_settings(self, settings: Settings, *, thorough: bool) -> None:
        """Raise TrainingError for settings that nothing could be trained with.

        ``thorough``: what would be trained is made once, which takes seconds.
        """

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Bring the items of all sides into the form that training reads; maps what cannot be read to the reason.

        There are ``total`` of them. They may be more than memory should hold: go through them once, one at a time.
        """

    def aside(self, context: "Context", items: Iterable[Item]) -> Iterator[LeftOut]:
        """Name by its task what the items' truth holds and this kind does not learn as it stands, and why."""

    def train(self, context: "Context") -> Json:
        """Write the folder's ``bundle/``, and give what ``train.json`` is to hold. Raises TrainingError.

        The loop reads of it: ``recipe``, ``validation``, ``seconds``, ``left_out``, ``notes``, ``calibration``,
        ``device``, and, where labels were left out because they are probably wrong, ``suspects``.
        """

    def measure(self, context: "Context") -> None:
        """Write ``metrics.json`` and ``predictions.npz``: the folder's bundle on the test side. Raises BundleError."""

    def judge(self, context: "Context", name: str, opponent: "Opponent | None", rename: "Rename") -> "Verdict":
        """Judge what was measured, as version ``name``, against an opponent on the same test items (None: it is first).

        ``rename`` gives the opponent's classes the names that they have today.
        """

    def right(self, context: "Context") -> Mapping[int, bool]:
        """Tell of the test items that were measured, by task, whether the run's bundle is right about them."""

    def agreement(
        self, context: "Context", by: "Opponent", items: Sequence[Item], rename: "Rename"
    ) -> "Sequence[float | None]":
        """Say how far what annotators would see of a version's answers agrees with what is true of items, in [0, 1].

        Nothing is written. None for an item that it could not be asked about; who fails at one agrees in nothing.
        """

    def analyse(self, context: "Context") -> None:
        """Write the rest of ``evaluation/``: what explains the figures. Nobody's next step waits for it."""

    def label_errors(self, context: "Context", learned: "Learned | None") -> Json:
        """Find labels that are probably wrong, as ``evaluation/label_errors.json`` holds them; raises TrainingError.

        ``context`` has them, be it a run's or, where nothing was trained, one that holds labels alone: then ``learned``
        is the champion to look by, None where there is none. ``errors`` has for each its ``task``, the labels ``given``
        and ``suggested``, ``score`` and ``given_score``; ``examined`` is how many items were looked at.
        """

    def nearest(self, asked: Item, learned: "Learned", progress: Progress) -> Sequence[tuple[Item, float]]:
        """Give the items learned from that are at hand, the most similar to one first, with a similarity up to 1.

        Empty where the kind knows no similarity. Raises TrainingError.
        """

    def features(
        self, items: Sequence[Item], settings: Settings, progress: Progress, opens: "OpenFeatures | None" = None
    ) -> "tuple[Sequence[Item], npt.NDArray[np.float32]]":
        """Give those items that can be read, and features to compare them by, untouched by labels: (items, features).

        Their files are at hand; ``opens`` opens those that are kept of their project. Raises TrainingError where the
        kind has none, or the settings none that say anything.
        """

    def featured(self, settings: Settings, network: str = "") -> str:
        """Name all that decides the features by which heads learn with these settings; reads no file but weights.

        ``network`` is the version whose network last layers are learned on; empty where there is none. Gives "" where
        nothing learns by features, or not on this machine. Raises TrainingError.
        """

    def taker(self, settings: Settings, network: Path | None = None) -> "FeatureTaker":
        """Open what takes these features; ``network`` is the file of a network's weights, as of ``network_files``.

        Raises TrainingError or BundleError.
        """

    def network_files(self, info: BundleInfo) -> tuple[str, ...]:
        """Name the files of a bundle that hold the network that last layers are learned on, its weights first."""

    def describe(self, raw: Json) -> BundleInfo:
        """Read a bundle's ``model.json``; raises KeyError, TypeError or ValueError when it is of another form."""

    def problems(self, info: BundleInfo) -> Iterator[str]:
        """Say what of a description can never be served, the first thing first."""

    def served(self, engine: str) -> tuple[str, ...]:
        """Name the weight files that an engine (``onnx``, ``torchscript``) runs."""

    def open(self, directory: Path, info: BundleInfo, engine: str) -> "Engine":
        """Load a bundle, which ``info`` describes; raises BundleError when it cannot be used."""


def find(name: object) -> Kind:
    """Give the kind of that name; raises UnknownKind."""
    if not isinstance(name, str) or name not in KINDS:
        raise UnknownKind(
            f"what is learned here is {str(name)[:60]!r}, which this release does not know: install one that does. "
            f"It knows {', '.join(KINDS)}"
        )
    return _load(KINDS[name])


def on_features(kind: Kind) -> Kind:
    """Give a kind as it is learned on the features of an endpoint."""
    found: Kind = import_module("labelloop.kinds.on_features").of(kind.name)
    return found


def kinds() -> list[Kind]:
    """Give all kinds there are."""
    return [find(name) for name in KINDS]


def learnable(*, foreign: bool = False) -> Supported:
    """Give the label configs that any kind learns, or that a ``foreign`` trainer learns as such without being told."""
    about: dict[str, dict[str, None]] = {}
    for kind in kinds():
        if foreign and not kind.whoever_trains:
            continue
        for control, objects in kind.label_configs:
            about.setdefault(control, {}).update(dict.fromkeys(objects))
    return tuple((control, tuple(objects)) for control, objects in about.items())


def kind_of(control: str, about: str) -> Kind:
    """Give the kind that learns a control tag about an object tag, one of ``learnable``; raises UnknownKind."""
    for kind in kinds():
        if any(control == tag and about in objects for tag, objects in kind.label_configs):
            return kind
    raise UnknownKind(f"no kind learns <{control}> about <{about}>")


def weight_files() -> tuple[str, ...]:
    """Name all files that a bundle of any kind may hold its model in, or what one that lies elsewhere answered."""
    return (*dict.fromkeys(name for kind in kinds() for name in kind.weights), ANSWERS)


@lru_cache
def _load(module: str) -> Kind:
    found: Kind = import_module(module).KIND
    return found
