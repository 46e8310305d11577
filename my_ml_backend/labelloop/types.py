"""What the layers hand each other. Every class here is an immutable value."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Json = dict[str, Any]
Kind = Literal["single", "multiple"]
"""How many labels one picture takes: ``choice="single"`` or ``choice="multiple"`` of a ``Choices`` tag."""

Side = Literal["train", "validation", "test"]

NO_VERSION = "labelloop-untrained"
"""What ``/setup`` answers before the first version: fixed and never empty (contract, section 2)."""


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """One project of one Label Studio instance; ``str()`` of it is the beginning of every store path and Redis key."""

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
    def parse(cls, text: str) -> Self:
        """Read ``instance/id`` back; raises ValueError for anything else."""
        match = re.fullmatch(r"([a-z0-9][a-z0-9.-]*)/(\d{1,18})", text)
        if match is None or ".." in text:
            raise ValueError(f"{text!r} is no project key: expected instance/id, for example localhost-8080/7")
        return cls(match[1], int(match[2]))


@dataclass(frozen=True, slots=True)
class Input:
    """One picture for an endpoint: its encoded bytes, as fetched."""

    content: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Output:
    """An endpoint's answer for one input; ``scores`` maps every class of the model to a finite number in [0, 1].

    With kind ``single`` the scores sum to 1 and ``label`` is the best of them; with ``multiple`` each is independent.
    """

    label: str
    score: float
    scores: Mapping[str, float]
    model_version: str
    kind: Kind = "single"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one input has no output."""

    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """Which model an endpoint should ask: a project's version; None leaves the choice to the endpoint."""

    project: ProjectKey | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One labeled picture: the task, the sha256 of the picture's bytes (hex), its labels (sorted)."""

    task: int
    picture: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A labeled task that is not in the manifest, and why."""

    task: int
    reason: str


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """How a picture becomes a tensor: squeezed to the size, scaled to [0, 1], then ``(x - mean) / std``."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """``model.json`` of a bundle (docs/bundle.md). ``parity`` maps file to largest logit difference from torch."""

    classes: tuple[str, ...]
    kind: Kind
    backbone: str
    recipe: str
    picture: PictureSpec
    files: Mapping[str, str] = field(default_factory=dict)
    parity: Mapping[str, float] = field(default_factory=dict)
    format: int = 1

    def to_json(self) -> str:
        """Write as ``model.json``."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read ``model.json``; raises KeyError, TypeError or ValueError when it is of another form."""
        raw = json.loads(text)
        picture = raw["picture"]
        spec = PictureSpec(**{**picture, "mean": tuple(picture["mean"]), "std": tuple(picture["std"])})
        return cls(**{**raw, "classes": tuple(raw["classes"]), "picture": spec})


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """All that decides what a run's training makes of a manifest; part of the run's key.

    ``weights`` is ``pretrained``, ``none``, or a safetensors file; ``weights_hash`` is the sha256 of that file.
    ``image_size`` is in pixels, 0 for the backbone's own. ``recipes`` compete on the validation split.
    """

    backbone: str
    weights: str
    image_size: int
    recipes: tuple[str, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    weights_hash: str = ""

    def fingerprint(self) -> str:
        """Hash all that matters to the result: where a weight file lies does not, its content does."""
        values = asdict(self) | {"weights": "file" if self.weights_hash else self.weights}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


Progress = Callable[[str, int, int], None]
"""Called with (what, done, total) while long work goes on; total 0 means unknown."""
