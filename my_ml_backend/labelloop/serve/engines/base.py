"""The interface of every engine, and opening a bundle with the one that the settings name."""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from labelloop.bundle_info import ANSWERS, BundleInfo, EndpointHeadInfo, ForeignInfo, NetworkInfo
from labelloop.endpoints.answers.labelloop import read_item
from labelloop.errors import BundleError, SettingsError
from labelloop.kinds.base import SCORED_BY, find
from labelloop.models.bundle import read_answers, read_bundle_info
from labelloop.settings import Settings
from labelloop.types import Answer, Failure, Input, NotAsked


class Predictor(Protocol):
    """What can be asked for answers: a loaded model, or what is known of one."""

    def predict(self, contents: Sequence[bytes], version: str) -> Sequence[Answer | Failure]:
        """Answer for every input, in order, naming ``version``."""
        ...


class Engine(Protocol):
    """One loaded model. Implementations are safe to share between threads."""

    @property
    def info(self) -> BundleInfo:
        """What the bundle says of itself."""
        ...

    def pixels(self, contents: Sequence[bytes]) -> int:
        """Say how many pixels the largest work on these holds in memory; 0 where inputs are no pictures."""
        ...

    @property
    def measured(self) -> Predictor:
        """What versions are measured with: of regions it gives all, however unsure; else it is the engine itself."""
        ...

    def predict(self, contents: Sequence[bytes], version: str) -> Sequence[Answer | Failure]:
        """Answer for every input, in order, naming ``version``; one that cannot be read is a Failure.

        Of regions those are given that are to be shown. Raises BundleError when the model itself fails.
        """
        ...


class RecordedEngine:
    """Looks answers up by the content of inputs. Raises BundleError when they cannot be read."""

    def __init__(self, directory: Path, info: ForeignInfo) -> None:
        self.info = info
        self._answers = read_answers(directory / ANSWERS)

    def predict(self, contents: Sequence[bytes], version: str) -> list[Answer | Failure]:
        """Give the answer to every input, in order; NotAsked where there is none."""
        return [self._answer(content, version) for content in contents]

    def _answer(self, content: bytes, version: str) -> Answer | Failure:
        known = self._answers.get(hashlib.sha256(content).hexdigest())
        return NotAsked() if known is None else read_item(known, Input(content), version, self.info.classes)


def check_engine(engine: str) -> None:
    """Raise SettingsError for an engine that is none, or whose libraries are not installed."""
    possible = Settings.choices_of("engine")
    if engine not in possible:
        raise SettingsError(f"ENGINE: {engine!r} is no engine. Possible are {', '.join(possible)}.")
    if engine == "torchscript" and find_spec("torch") is None:
        raise SettingsError(
            "ENGINE=torchscript needs torch, which is not installed here: use the image of the target `worker` "
            "(docs/inference.md), or install requirements-train.txt; ENGINE=onnx needs neither"
        )


def open_engine(directory: Path, engine: str) -> Engine:
    """Load a bundle of any kind; raises BundleError when it cannot be used, SettingsError for an impossible engine."""
    check_engine(engine)
    info = require_model(read_bundle_info(directory), directory)
    return find(info.kind).open(directory, info, engine)


def require_model(info: BundleInfo, directory: Path) -> BundleInfo:
    """Give a description back; raises BundleError where the model lies elsewhere, so that nothing here can run it."""
    if isinstance(info, ForeignInfo):
        raise BundleError(
            f"bundle {directory}: its model lies elsewhere, as {info.model!r}, and cannot be served here: let "
            "LABELLOOP_ENDPOINT name the endpoint that serves it"
        )
    return require_features(info, directory)


def require_features(info: BundleInfo, directory: Path) -> BundleInfo:
    """Give a description back; raises BundleError where nothing here gives the features that its head answers by."""
    if isinstance(info, EndpointHeadInfo):
        raise BundleError(
            f"bundle {directory}: it is a head on the features of an endpoint, and answers where these are asked for: "
            "in the project whose endpoint gives them (docs/endpoint-features.md)"
        )
    return info


def open_measured(directory: Path) -> Predictor:
    """Open a bundle of any kind as versions are measured: its model, or the answers of one that lies elsewhere.

    Raises BundleError.
    """
    info = read_bundle_info(directory)
    if isinstance(info, ForeignInfo):
        return RecordedEngine(directory, info)
    require_features(info, directory)
    # A head is measured by the features that are at hand, those of its backbone itself, and so are the others.
    engine = "onnx-float32" if isinstance(info, NetworkInfo) and info.features else SCORED_BY
    return find(info.kind).open(directory, info, engine).measured
