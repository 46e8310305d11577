"""A head: from features to answers, by a matrix product; behind a backbone from pictures to answers.

By itself it needs neither onnxruntime nor torch.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Self, TypeVar, cast
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from labelloop.bundle_info import HEAD, ClassesInfo, NetworkInfo
from labelloop.errors import BundleError
from labelloop.models.bundle import read_hashed
from labelloop.serve.engines.network import Array, Network, PictureEngine, outputs
from labelloop.types import Failure, Output

Rows = npt.NDArray[np.float32]
"""Features: (items, features)."""


Info = TypeVar("Info", bound=ClassesInfo)


@dataclass(frozen=True, slots=True, eq=False)
class Head(Generic[Info]):
    """The last layer of a bundle that shares its backbone: ``weight`` (classes, features), ``bias`` (classes,)."""

    info: Info
    weight: Rows
    bias: Rows

    @classmethod
    def read(cls, bundle: Path, info: Info) -> Self:
        """Read the head of a bundle, which ``info`` describes; no other file of it is needed. Raises BundleError."""
        try:
            held = load(read_hashed(bundle, info, HEAD))
            weight: Rows = held["weight"]
            bias: Rows = held["bias"]
        except (SafetensorError, KeyError) as error:
            raise BundleError(f"bundle {bundle}: {HEAD} is no head ({error!r}); publish the version again") from error
        classes = len(info.classes)
        if weight.dtype != np.float32 or weight.ndim != 2 or (len(weight), *bias.shape) != (classes, classes):
            raise BundleError(
                f"bundle {bundle}: {HEAD} has {weight.dtype} {weight.shape} and {bias.shape} where model.json calls "
                f"for {classes} classes; publish the version again"
            )
        return cls(info, weight, bias)

    @property
    def width(self) -> int:
        """How many features an item has."""
        return self.weight.shape[1]

    def logits(self, rows: Rows) -> Rows:
        """Give logits (items, classes) for float32 features (items, features)."""
        found: Rows = rows @ self.weight.T + self.bias
        return found

    def answers(self, rows: Rows, version: str) -> list[Output | Failure]:
        """Give every class its score, for float32 features (items, features); raises BundleError for another width.

        With the description's ``flips`` rows are the means of picture and mirror image.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise BundleError(f"{HEAD} takes {self.width} features of an item and was given {rows.shape}")
        info = self.info
        return outputs(self.logits(rows), info.classes, info.choice, version, info.thresholds)


class Seen(NamedTuple):
    """What a head answers for a picture, and the features (features,) that it was answered by."""

    answer: Output | Failure
    row: Rows


class HeadEngine(PictureEngine):
    """Runs a head behind its backbone; raises BundleError when the one does not take what the other gives.

    ``features_of`` names the features that it answers by, where they are not those that the head learned from.
    """

    def __init__(self, head: Head[NetworkInfo], backbone: Network, features_of: str = "") -> None:
        self.info, self.picture = head.info, head.info.picture
        self.features_of = features_of or head.info.features
        self.head, self.backbone = head, backbone
        if backbone.width != head.width:
            raise BundleError(
                f"{backbone.file} gives {backbone.width} features where {HEAD} takes {head.width}; publish the version "
                "again"
            )

    @property
    def measured(self) -> Self:
        """The engine itself: all scores are given anyway; see Engine."""
        return self

    def features(self, pictures: Array) -> Rows:
        """Give what the head sees of float32 (pictures, 3, height, width): with flips, a mean. Raises BundleError."""
        if not self.info.flips:
            return self.backbone(pictures)
        both = self.backbone(np.concatenate((pictures, pictures[..., ::-1])))
        rows: Rows = (both[: len(pictures)] + both[len(pictures) :]) / np.float32(2)
        return rows

    def answers(self, pictures: Array, version: str) -> list[Output | Failure]:
        """Give every class its score; see PictureEngine."""
        return self.head.answers(self.features(pictures), version)

    def see(self, contents: Sequence[bytes], version: str) -> list[Seen | Failure]:
        """Answer for every encoded picture, in order, with its features, of one pass; see Engine.predict."""

        def run(pictures: Array) -> list[Seen]:
            rows = self.features(pictures)
            return [Seen(*one) for one in zip(self.head.answers(rows, version), rows, strict=True)]

        return self._each(contents, run)


Loaded = TypeVar("Loaded")


class Backbones:
    """Backbones that are loaded: each once, as long as any engine runs it. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._loaded: WeakValueDictionary[str, object] = WeakValueDictionary()

    def get(self, hashes: str, load: Callable[[], Loaded]) -> Loaded:
        """Give what files of these hashes are loaded as, by ``load`` where they are not; raises what that raises."""
        with self._lock:
            loading = self._loading[hashes]
        with loading:
            found = self._loaded.get(hashes)
            if found is None:
                self._loaded[hashes] = found = load()
            return cast("Loaded", found)


LOADED = Backbones()
"""Those of this process: versions of a project, and of others, mostly have the same one."""
