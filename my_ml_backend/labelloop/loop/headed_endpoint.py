"""Somebody else's endpoint with a head of the project's own on its features: what answers ``/predict`` and bulk.

A head answers on features of the model that it learned from alone. Where the endpoint says that another one gave them,
its own answer is what annotators get, and a new head is asked for.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from labelloop.bundle_info import EndpointHeadInfo
from labelloop.endpoints.features import Featured, Row, open_features
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import BundleError, EndpointError, NotFound, QueueError, StoreError
from labelloop.models.bundle import read_bundle_info
from labelloop.serve.engines.head import Head
from labelloop.types import Answer, Failure, Input, ProjectKey, Target

if TYPE_CHECKING:
    from labelloop.loop.endpoint_features import EndpointFeatures
    from labelloop.loop.hub import Hub

_log = logging.getLogger(__name__)
_now = time.monotonic

_HEADS = 64
"""Heads that a process keeps in memory; they have some kilobytes each."""

_DAMAGED_SECONDS = 10.0
"""For which a head that cannot be read is not looked for again: it may be mended, or brought here whole."""

_TOLD = 256
"""Reasons that are remembered as told."""

_KEPT_AT_ONCE = 512
"""Features that are kept together."""

_KEPT = Failure("its features were kept, and its endpoint was not asked")


class _Asked(NamedTuple):
    """A version that is to answer: its ``head``, or ``why`` it has none that can; holds ``until`` then (monotonic)."""

    project: ProjectKey
    version: str
    head: Head[EndpointHeadInfo] | None
    why: str = ""
    until: float = float("inf")


class HeadedEndpoint:
    """Implements Endpoint: a version of the store answers by its head; asked for none, the endpoint by itself."""

    follows = True

    def __init__(self, hub: "Hub", spec: EndpointSpec) -> None:
        self._hub, self._spec = hub, spec
        self.caller = open_features(spec)
        self.name, self.batch, self.concurrency = self.caller.name, self.caller.batch, self.caller.concurrency
        self._heads: OrderedDict[tuple[ProjectKey, str], _Asked] = OrderedDict()
        self._told: dict[tuple[ProjectKey, str, str], None] = {}
        self._guard = threading.Lock()
        self._kept: _Kept | None = None

    def check(self) -> str:
        """Look whether it is there; see Endpoint."""
        return self.caller.check()

    def invoke(self, inputs: Sequence[Input], target: Target, deadline: float | None = None) -> list[Answer | Failure]:
        """Answer by the version's head, by the endpoint itself where none is asked for; see Endpoint."""
        if target.project is None or target.version is None:
            found = self.caller.invoke(inputs, Target(features=True), deadline)
            return [one if isinstance(one, Failure) else one.own for one in found]
        # Before anything is sent: a store that is away is no fault of the endpoint's.
        asked, kept = self._asked(target.project, target.version), self._kept
        if kept is not None:
            answered = self._answered(kept.ask(inputs, deadline), asked)
            return [Failure(self._stale(one, asked)) if isinstance(one, Featured) else one for one in answered]
        answered = self._answered(self.caller.invoke(inputs, Target(features=True), deadline), asked)
        for one in answered:
            if isinstance(one, Featured):
                self._stale(one, asked)
        return [one.own if isinstance(one, Featured) else one for one in answered]

    @contextmanager
    def keeping(self, features: "EndpointFeatures") -> Iterator[None]:
        """Keep all features that are asked for meanwhile, and ask for none that are kept.

        Then heads alone answer: an answer of the endpoint's own is none of the version that is asked for.
        """
        self._kept = _Kept(features)
        try:
            yield
        finally:
            kept, self._kept = self._kept, None
            kept.write()

    def _answered(self, found: Sequence[Featured | Failure], asked: _Asked) -> Sequence[Answer | Featured | Failure]:
        """Put the head's answers in the place of features; those that it has not learned from stay."""
        head = asked.head
        mine = [isinstance(one, Featured) and head is not None and _fits(one, head) for one in found]
        rows = [one.row for one, fits in zip(found, mine, strict=True) if fits and isinstance(one, Featured)]
        if head is None or not rows:
            return found
        answers = iter(head.answers(np.stack(rows), asked.version))
        return [next(answers) if fits else one for one, fits in zip(found, mine, strict=True)]

    def _asked(self, project: ProjectKey, version: str) -> _Asked:
        """Read a version's head, once where it can be read. Raises EndpointError where the store is away."""
        with self._guard:
            if (known := self._heads.get((project, version))) is not None and _now() < known.until:
                self._heads.move_to_end((project, version))
                return known
        try:
            asked = self._read(project, version)
        except (BundleError, NotFound) as error:
            asked = _Asked(project, version, None, str(error), _now() + _DAMAGED_SECONDS)
        except StoreError as error:
            raise EndpointError(f"the head of {version} cannot be read: {error}") from error
        with self._guard:
            self._heads[project, version] = asked
            if len(self._heads) > _HEADS:
                self._heads.popitem(last=False)
        return asked

    def _read(self, project: ProjectKey, version: str) -> _Asked:
        bundle = self._hub.versions(project).fetch_bundle(version, self._hub.settings.directory / "cache" / "bundles")
        info = read_bundle_info(bundle)
        if not isinstance(info, EndpointHeadInfo):
            return _Asked(project, version, None, f"{version} is no head on an endpoint's features")
        if info.endpoint != self._spec.fingerprint:
            return _Asked(project, version, None, f"{version} learned from the features of another endpoint or setting")
        return _Asked(project, version, Head.read(bundle, info))

    def _stale(self, one: Featured, asked: _Asked) -> str:
        """Say why a version has no answer on these features; the first time, ask for one that has."""
        why = asked.why or _other(one, asked)
        mark = (asked.project, asked.version, f"{one.model_version} {len(one.row)}")
        with self._guard:
            if mark in self._told:
                return why
            self._told[mark] = None
            if len(self._told) > _TOLD:
                del self._told[next(iter(self._told))]
        _log.warning("project %s: %s: the endpoint answers itself until there is a new head", asked.project, why)
        state = self._hub.state(asked.project)
        try:
            if state.claim_new_head():
                state.note("head", f"{why}: a new head is trained")
                state.want_again("features of another model")
                self._hub.queue(asked.project).consider(time.time())
        except QueueError as error:
            _log.warning("project %s: a new head is not asked for: %s", asked.project, error)
        return why


def _fits(one: Featured, head: Head[EndpointHeadInfo]) -> bool:
    return (one.model_version, len(one.row)) == (head.info.given_by, head.info.width)


def _other(one: Featured, asked: _Asked) -> str:
    width = asked.head.width if asked.head else 0
    if len(one.row) != width:
        return f"{asked.version} learned from {width} features of an input, and the endpoint gives {len(one.row)} now"
    return f"{asked.version} learned from features of another model than {one.model_version}, which gives them now"


class _Kept:
    """What bulk prediction asks for and keeps; safe to share between its threads."""

    def __init__(self, features: "EndpointFeatures") -> None:
        self._features = features
        self._guard = threading.Lock()
        self._new: dict[str, Row] = {}

    def ask(self, inputs: Sequence[Input], deadline: float | None) -> list[Featured | Failure]:
        """Give the features of inputs, asking for those alone that are not kept."""
        contents = [_content(one) for one in inputs]
        with self._guard:
            rows, there = self._features.rows(contents)
        due = [at for at, at_hand in enumerate(there) if not at_hand]
        asked = [inputs[at] for at in due]
        told = self._features.caller.invoke(asked, Target(features=True), deadline) if due else []
        found: list[Featured | Failure] = [Featured(row, _KEPT, self._features.version) for row in rows]
        for at, one in zip(due, told, strict=True):
            found[at] = one
        with self._guard:
            for at, one in zip(due, told, strict=True):
                if isinstance(one, Featured) and not self._features.trouble(one):
                    self._new[contents[at]] = one.row
            if len(self._new) >= _KEPT_AT_ONCE:
                self._write()
        return found

    def write(self) -> None:
        """Keep what is left."""
        with self._guard:
            self._write()

    def _write(self) -> None:
        try:
            self._features.keep(self._new)
        except StoreError as error:
            _log.warning("features of %d tasks are not kept, and are asked for again: %s", len(self._new), error)
        self._new = {}


def _content(one: Input) -> str:
    """Name an input as a manifest does: by the sha256 of its file, or of its text."""
    sent = one.content or (one.text or "").encode(errors="surrogatepass")
    return hashlib.sha256(sent).hexdigest()
