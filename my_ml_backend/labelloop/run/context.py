"""What every stage is given: the run's labels, folder and settings, this machine's caches, whom to tell of progress."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import StoreError
from labelloop.files import whole_file
from labelloop.kinds.base import Hyperparameters, Kind, find, on_features
from labelloop.models.features import OpenFeatures
from labelloop.models.runs import run_key
from labelloop.run.folder import RunFolder
from labelloop.run.parameters import parameters_of
from labelloop.settings import Settings
from labelloop.trainers.foreign import Learner, learner
from labelloop.types import IMAGES, Answer, Arm, Item, Json, LeftOut, Progress, Shown, Side, Watch, unwatched

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.run.champion_network import ChampionNetwork

_NAMED = 3
"""Inputs that could not be had and are named with their reasons."""

_AT_ONCE = 1 << 20
"""Bytes of a file that are hashed at a time."""


@dataclass(slots=True)
class Missing:
    """Tasks whose input could not be had: how many, and the first of them with their reasons."""

    count: int = 0
    first: list[LeftOut] = field(default_factory=list)

    def add(self, out: LeftOut) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(out)


@dataclass(frozen=True, slots=True)
class Labeled:
    """What a source gives: the manifest, which names all that was left out, with every picture on this machine.

    ``sides`` are those that the source named, by picture; those of a site, as far as the content says another.
    ``moved`` are tasks that another task of the same picture contradicts about its side. ``missing`` counts the tasks
    whose input could not be had this time. ``warnings`` are for whoever made the source. ``chosen`` are test tasks that
    annotators got because of their scores: the hardest.
    """

    manifest: Manifest
    sides: Mapping[str, Side] = field(default_factory=dict)
    moved: tuple[LeftOut, ...] = ()
    missing: Missing = field(default_factory=Missing)
    warnings: tuple[str, ...] = ()
    chosen: frozenset[int] = frozenset()

    def contradicting(self) -> Iterator[LeftOut]:
        """Name tasks that another one of the same input contradicts about its labels: no side of a split has them."""
        return self.manifest.twins.contradictions(find(self.manifest.kind).item)

    def write(self, folder: RunFolder) -> None:
        """Write ``sides.json`` and ``manifest.jsonl``."""
        write_text(folder.sides, self.sides_text())
        if self.chosen or folder.chosen.is_file():
            write_json(folder.chosen, {"tasks": sorted(self.chosen)})
        self.manifest.write(folder.manifest)

    @classmethod
    def read(cls, folder: RunFolder) -> Self:
        """Read what ``write`` wrote; raises StoreError when there is nothing, or it is damaged."""
        try:
            manifest = Manifest.from_file(folder.manifest)
        except OSError as error:
            raise _unread(folder.manifest, "fetch", error) from error
        sides, moved = sides_of(read_json(folder.sides, "fetch"))
        chosen = read_json(folder.chosen, "fetch")["tasks"] if folder.chosen.is_file() else ()
        return cls(manifest, sides, moved, chosen=frozenset(chosen))

    def key(self, settings: Hyperparameters) -> str:
        """Name the run of these labels with these settings, whoever makes it."""
        named = json.dumps(dict(self.sides), sort_keys=True)
        held = digest_of(self.manifest.hash, named) if self.sides else self.manifest.hash
        return run_key(held, settings.fingerprint(), settings.seed)

    def former_key(self, settings: Hyperparameters) -> str:
        """Name the run as ``labelloop train`` did in 0.1: ``sides.json`` counted, whatever it held."""
        held = digest_of(self.manifest.hash, self.sides_text())
        return run_key(held, settings.fingerprint(), settings.seed)

    @property
    def sides_hash(self) -> str:
        """Name the sides by their content; empty where none were named."""
        return hashlib.sha256(self.sides_text().encode()).hexdigest() if self.sides else ""

    def sides_text(self) -> str:
        """Spell the sides as ``sides.json`` has them."""
        moved = [{"task": out.task, "reason": out.reason} for out in self.moved]
        return _json_text({"sides": dict(self.sides), "moved": moved})


def picture_cache(settings: Settings) -> PictureCache:
    """Give the pictures on this machine."""
    return PictureCache(settings.directory / "cache" / "pictures")


Render = Callable[[Answer, Item], Shown]
"""Gives what an annotator of an item would see of an answer; raises LabelConfigError where nothing takes it.

Raises the site's errors, too."""


class FeatureSource(Protocol):
    """The features that a project's endpoint (by its fingerprint) gives, by one ``version`` of its model."""

    @property
    def name(self) -> str:
        """What they are kept under."""

    @property
    def endpoint(self) -> str:
        """Which endpoint gives them."""

    @property
    def version(self) -> str:
        """Which version of its model does."""

    def take(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Ask for those that are not kept yet; maps inputs (sha256) that it gives none of to the reason."""

    def rows(self, contents: Sequence[str]) -> "tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]":
        """Give those of inputs (sha256), float32 (n, width), and which are at hand: bool, (n,)."""


Arms = Callable[[Iterable[int]], Mapping[int, Arm]]
"""Says of tasks how they were served, of those that a version has served. Raises StoreError."""


@dataclass
class Context:
    """One run as its stages see it; what earlier stages wrote is read when first asked for.

    ``render`` is there where the run is that of a site's project. ``champion`` says which version stands, and the name
    of its model where that lies elsewhere; ``arms`` how tasks were served, where a loop has served any. ``watch`` is
    told of a training's epochs, where its recipe tells them. ``features`` opens those of the run's project; None where
    no store keeps them. ``endpoint_features`` are what is learned from where the project's endpoint gives them.
    ``challengers`` are recipes that are left to a challenger; ``challenger`` says that this run is one. ``network`` is
    the champion's, where a last layer is to be learned on it.
    """

    folder: RunFolder
    settings: Settings
    progress: Progress
    expected: str = IMAGES
    render: Render | None = None
    champion: Callable[[], Json | None] = lambda: None
    arms: Arms = lambda _: {}
    watch: Watch = unwatched
    features: OpenFeatures | None = None
    endpoint_features: FeatureSource | None = None
    challengers: tuple[str, ...] = ()
    challenger: bool = False
    network: "ChampionNetwork | None" = None

    @property
    def pictures(self) -> PictureCache:
        """The pictures on this machine."""
        return picture_cache(self.settings)

    @property
    def caches(self) -> Path:
        """Where pixels, features and exported backbones of all runs are kept."""
        return self.settings.directory / "cache" / "train"

    @property
    def kind(self) -> Kind:
        """What is learned; before the labels are there, what is expected."""
        known = "labeled" in self.__dict__ or self.folder.manifest.is_file()
        kind = find(self.manifest.kind if known else self.expected)
        return kind if self.endpoint_features is None else on_features(kind)

    @cached_property
    def training(self) -> Hyperparameters:
        """What training takes from the settings."""
        return self.learner.hyperparameters(self.settings)

    @property
    def parameters(self) -> dict[str, str]:
        """What the run is trained with, spelled as on the command line."""
        return parameters_of(self.settings, self.learner.settings)

    @property
    def learner(self) -> Learner:
        """Who knows what training takes: the kind, or nobody but the trainer."""
        return learner(self.kind, self.settings)

    def contents(self, items: Iterable[Item]) -> Iterator[bytes]:
        """Give the input of each item; nothing for a file that is not on this machine, as for one that is damaged."""
        for item in items:
            if item.text:
                yield item.text.encode(errors="surrogatepass")
                continue
            try:
                yield self.pictures.path(item.content).read_bytes()
            except OSError:
                yield b""

    @cached_property
    def labeled(self) -> Labeled:
        """What is labeled; raises StoreError when the run has not fetched it, or its files are damaged."""
        return Labeled.read(self.folder)

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        return self.labeled.manifest

    @property
    def named_sides(self) -> Mapping[str, Side]:
        """The sides that the source named, by picture."""
        return self.labeled.sides


def sides_of(raw: Json) -> tuple[Mapping[str, Side], tuple[LeftOut, ...]]:
    """Read what ``Labeled.sides_text`` spells: the sides, and the tasks that lost theirs."""
    return raw["sides"], tuple(LeftOut(one["task"], one["reason"]) for one in raw["moved"])


def read_json(path: Path, stage: str) -> Json:
    """Read a JSON object that a stage wrote; raises StoreError naming that stage when it is not there, or damaged."""
    try:
        found: Json = json.loads(path.read_text())
    except OSError as error:
        raise _unread(path, stage, error) from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): remove it and run the {stage} stage again") from error
    return found


def _unread(path: Path, stage: str, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be read ({error.strerror}): run the {stage} stage of this run first")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, _json_text(value))


def _json_text(value: object) -> str:
    """Spell a value as a run's files have it."""
    return json.dumps(value, indent=2) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole_file(path) as aside:
        aside.write_text(text)


def digest_of(*parts: str | Path) -> str:
    """Hash texts and the contents of files, in order: sha256, hex. A missing file counts as such."""
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path) and part.is_file():
            whole.update(part.stat().st_size.to_bytes(8))
            with part.open("rb") as file:
                while read := file.read(_AT_ONCE):
                    whole.update(read)
        else:
            content = b"missing" if isinstance(part, Path) else part.encode()
            whole.update(len(content).to_bytes(8))
            whole.update(content)
    return whole.hexdigest()
