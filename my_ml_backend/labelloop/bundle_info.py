"""What a bundle says of itself, in its ``model.json`` (docs/bundle.md)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Literal, Self

from labelloop.types import IMAGES, Choice, Json

ANSWERS = "answers.jsonl"
"""The one file of a bundle whose model lies elsewhere: what that answered to the test items (models/bundle.py)."""

HEAD = "head.safetensors"
"""A head's last layer: ``weight`` float32 (classes, features) and ``bias`` (classes,), its temperature in both."""

BACKBONES = ("backbone.onnx", "backbone.safetensors", "backbone.ts.pt")
"""What gives a head its features. Versions with the same backbone have the same files, which the store holds once."""


INT8_MODEL, INT8_BACKBONE = "model.int8.onnx", "backbone.int8.onnx"
"""A network, or a head's backbone, in whole numbers of 8 bits: where that answers as ``model.onnx`` does, or it."""

BACKBONE_TOKENIZER = "backbone.tokenizer.json"
"""What cuts texts for a backbone that is an encoder."""

SHARED = (*BACKBONES, INT8_BACKBONE, BACKBONE_TOKENIZER)
"""All files that versions share."""


@dataclass(frozen=True, slots=True)
class Int8:
    """How a network's form in whole numbers of 8 bits answered to validation items, and whether it is ``served``.

    Of ``compared`` items both answer the share ``agreement`` alike. ``change`` is the difference in accuracy, in
    [-1, 1], with its 95% interval from ``low`` to ``high``.
    """

    served: bool
    compared: int
    agreement: float
    change: float
    low: float
    high: float

    def told(self) -> str:
        """Say it in a sentence."""
        kept = "served in 8 bits" if self.served else "not served in 8 bits, half a point is allowed"
        return (
            f"{kept}: {self.agreement:.1%} of {self.compared} validation items answered alike, accuracy changed by "
            f"{100 * self.change:+.1f} points ({100 * self.low:+.1f} to {100 * self.high:+.1f})"
        )


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """How a picture becomes a tensor: squeezed to the size, scaled to [0, 1], then ``(x - mean) / std``."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    @classmethod
    def read(cls, raw: Json) -> Self:
        """Read what ``model.json`` says of it; raises KeyError, TypeError or ValueError for another form."""
        return cls(**{**raw, "mean": tuple(raw["mean"]), "std": tuple(raw["std"])})

    @property
    def is_possible(self) -> bool:
        """Whether a picture can be prepared so."""
        sizes = all(isinstance(size, int) and size > 0 for size in (self.height, self.width))
        numbers = all(isinstance(value, (int, float)) for value in (*self.mean, *self.std))
        three = len(self.mean) == len(self.std) == 3
        known = self.interpolation in ("bilinear", "bicubic")
        return sizes and numbers and three and all(value > 0 for value in self.std) and known


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """``model.json`` of a bundle (docs/bundle.md), as far as all kinds have it.

    ``files`` maps the name of each file to the sha256 of its bytes (hex); ``kind`` is what was learned. ``apart`` are
    the files of a bundle whose kind does not say which it has, because something of its model lies elsewhere.
    """

    apart: ClassVar[tuple[str, ...]] = ()

    classes: tuple[str, ...]
    choice: Choice
    recipe: str
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = 1
    kind: str = IMAGES

    def to_json(self) -> str:
        """Write as ``model.json``, where ``choice`` is called ``kind``, and a ``kind`` other than images ``learns``."""
        values = asdict(self) | {"kind": self.choice}
        del values["choice"]
        for name in ("thresholds", "features", "flips", "int8"):
            if not values.get(name):
                values.pop(name, None)  # earlier releases do not know the field, or not of every kind
        if "int8" in values and not values["int8"]["served"]:
            del values["int8"]  # those can serve the bundle; the version's record tells of it
        return json.dumps(values if self.kind == IMAGES else values | {"learns": self.kind}, indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read ``model.json``; raises KeyError, TypeError or ValueError when it is of another form."""
        return cls.read(json.loads(text))

    @classmethod
    def read(cls, raw: Json) -> Self:
        """Read what ``model.json`` holds; raises what ``from_json`` raises."""
        choice, kind = raw["kind"], raw.get("learns", IMAGES)
        values = {name: value for name, value in raw.items() if name not in ("kind", "learns")}
        return cls(**cls._own({**values, "choice": choice, "kind": kind, "classes": tuple(raw["classes"])}))

    @classmethod
    def _own(cls, values: Json) -> Json:
        """Read what a kind's own description has of its own."""
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesInfo(BundleInfo):
    """What a bundle says beside that gives classes by logits, and so may be a last layer beside a backbone.

    ``temperature`` is what the logits were divided by, so that scores are calibrated; the last layer of every file
    holds it already. ``thresholds`` maps classes to the scores from which on they are given, with choice ``multiple``;
    a half for the others. ``features`` is set where the bundle is a last layer beside what gives its features, and
    names these (hex, by all that decides them). With ``flips`` it answers for the mean over picture and mirror image.
    """

    flips: bool = False
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    features: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo(ClassesInfo):
    """What a bundle that classifies pictures says beside. ``parity`` maps file to largest logit difference from torch.

    Its ``features`` are named by ``train.frozen.backbone_hash``. A backbone's files know of no flips: whoever runs them
    takes the mean of the features of the picture and of its mirror image. ``int8`` says what came of its form in 8
    bits, where it was tried.
    """

    backbone: str
    picture: PictureSpec
    parity: Mapping[str, float] = field(default_factory=dict)
    int8: Int8 | None = None

    @property
    def in_8_bits(self) -> bool:
        """Whether it is served in 8 bits, where a processor does that."""
        return self.int8 is not None and self.int8.served

    @classmethod
    def _own(cls, values: Json) -> Json:
        int8 = values.get("int8")
        return {
            **values,
            "picture": PictureSpec.read(values["picture"]),
            "int8": None if int8 is None else Int8(**int8),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignInfo(BundleInfo):
    """What a bundle of any kind says whose model lies elsewhere: the ``model``'s name there."""

    apart: ClassVar[tuple[str, ...]] = (ANSWERS,)

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHeadInfo(ClassesInfo):
    """What a bundle says that is a head on the features of an ``endpoint``, named by its fingerprint.

    ``given_by`` is the version of the endpoint's model, and ``width`` how many features an input has of it; by
    ``features`` (sha256, hex) it is known where they are kept.
    """

    apart: ClassVar[tuple[str, ...]] = (HEAD,)

    endpoint: str
    given_by: str
    width: int
