"""Versions that a worker asks itself in bulk: one whose recipe is quick needs no call of the endpoint.

A text's head answers in microseconds, and a head of pictures by a product with features that were taken before anybody
labeled; no picture is read for that. What is answered is what the endpoint would say of the same version.
"""

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence

from labelloop.bundle_info import HEAD, BundleInfo, ClassesInfo, NetworkInfo
from labelloop.data.site import Interface, shown_of
from labelloop.errors import BundleError, NotFound, UnknownKind
from labelloop.kinds.base import SCORED_BY, find
from labelloop.loop.hub import Hub
from labelloop.loop.serving import OwnAnswers, Serving
from labelloop.models.bundle import read_bundle_info, served_by
from labelloop.models.features import Features
from labelloop.models.task_contents import TaskContents
from labelloop.serve.engines.base import Engine
from labelloop.serve.engines.head import Head
from labelloop.types import SPANS, TEXTS, Answer, Failure, Input, Json, ProjectKey, chunks

_log = logging.getLogger(__name__)

_TOGETHER = 256
"""Tasks that are answered together."""

_MOST_LEFT = 2048
"""Tasks that are held until the endpoint is asked for them."""


def own_answers(hub: Hub, project: ProjectKey, by: Serving, interface: Interface) -> OwnAnswers | None:
    """Open the version that ``by`` is, where this process can ask it itself; None where the endpoint is to be asked.

    Raises StoreError.
    """
    record = hub.versions(project).find(by.version) if by.by_name else None
    if record is None or record.pruned:
        return None
    cache = hub.settings.directory / "cache" / "bundles"
    try:
        bundle = hub.versions(project).fetch_bundle(by.version, cache, _needed)
        info = read_bundle_info(bundle)
        kind = find(info.kind)
        if info.recipe not in kind.quick:
            return None
        if isinstance(info, ClassesInfo) and info.features:
            head: Head[ClassesInfo] = Head.read(bundle, info)
            features = hub.features(project)(info.features, head.width)
            return OwnFeatures(head, features, hub.task_contents(project), interface, by.version)
        if kind.name in (TEXTS, SPANS):
            return OwnTexts(kind.open(bundle, info, SCORED_BY), by.version)
    except (BundleError, NotFound, UnknownKind) as error:
        _log.warning("project %s: the endpoint is asked for %s: %s", project, by.version, error)
    return None


def _needed(info: BundleInfo) -> Collection[str]:
    """Name the files that are needed of a version: its last layer alone, where there are features for it."""
    if isinstance(info, ClassesInfo) and info.features:
        return (HEAD,)
    if isinstance(info, NetworkInfo):
        return ()
    return served_by(SCORED_BY)(info) if info.recipe in find(info.kind).quick else ()


class OwnTexts:
    """A version of texts; see OwnAnswers."""

    def __init__(self, engine: Engine, version: str) -> None:
        self._engine, self._version = engine, version

    def calls(self, tasks: Iterable[Json], batch: int) -> Iterator[list[Json]]:  # noqa: ARG002 - nothing is left to it
        """Cut tasks into calls of many."""
        return chunks(tasks, _TOGETHER)

    def at_hand(self, tasks: Sequence[Json]) -> list[Json]:
        """Name all of them."""
        return [*tasks]

    def known(self, tasks: Sequence[Json]) -> list[Input | None]:
        """Know nothing: a text stands in its task, or has to be read."""
        return [None] * len(tasks)

    def answers(self, inputs: Sequence[Input]) -> list[Answer | Failure | None]:
        """Answer for every text, in order."""
        texts = [one.text for one in inputs if one.text is not None]
        contents = [text.encode(errors="surrogatepass") for text in texts]
        found = iter(self._engine.predict(contents, self._version) if contents else ())
        return [None if one.text is None else next(found) for one in inputs]


class OwnFeatures:
    """A head on features at hand; see OwnAnswers. What a task shows is known by its number and address, and not read.

    Features lie in half precision: scores differ from the endpoint's by its rounding.
    """

    def __init__(
        self, head: Head[ClassesInfo], features: Features, contents: TaskContents, interface: Interface, version: str
    ) -> None:
        self._head, self._version, self._interface = head, version, interface
        self._contents, self._features, self._flips = contents, features, head.info.flips
        self._asking = threading.Lock()
        """Of both: neither is to be shared between threads."""

    def calls(self, tasks: Iterable[Json], batch: int) -> Iterator[list[Json]]:
        """Cut tasks into calls: what is at hand, then the others as the endpoint takes them, the newest first.

        Their features may be taken just now, the oldest first: from the other end few files are read twice.
        """
        left: list[Json] = []
        for some in chunks(tasks, _TOGETHER):
            if at_hand := self.at_hand(some):
                yield at_hand
            answered = {task["id"] for task in at_hand}
            left += (task for task in some if task["id"] not in answered)
            if len(left) >= _MOST_LEFT:
                yield from _from_the_newest(left, batch)
                left = []
        yield from _from_the_newest(left, batch)

    def at_hand(self, tasks: Sequence[Json]) -> list[Json]:
        """Name those whose features are there."""
        return [task for task, one in zip(tasks, self.known(tasks), strict=True) if one is not None]

    def known(self, tasks: Sequence[Json]) -> list[Input | None]:
        """Name what tasks show by its sha256, where its features are at hand."""
        with self._asking:
            contents = self._contents.find([shown_of(self._interface, task) for task in tasks])
            at_hand = self._features.asked([one for one in contents if one], flips=self._flips)[1]
        found = iter(at_hand)
        return [Input(known=content) if content and next(found) else None for content in contents]

    def answers(self, inputs: Sequence[Input]) -> list[Answer | Failure | None]:
        """Answer for every input whose features are at hand, in order."""
        known = [one.known for one in inputs if one.known]
        if not known:
            return [None] * len(inputs)
        with self._asking:
            rows, at_hand = self._features.asked(known, flips=self._flips)
        answers = iter(self._head.answers(rows, self._version))
        found = iter(next(answers) if there else Failure("its features were removed meanwhile") for there in at_hand)
        return [next(found) if one.known else None for one in inputs]


def _from_the_newest(tasks: list[Json], batch: int) -> Iterator[list[Json]]:
    return chunks(sorted(tasks, key=lambda task: int(task["id"]), reverse=True), batch)
