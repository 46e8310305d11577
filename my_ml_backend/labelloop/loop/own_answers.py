"""Versions that a worker asks itself in bulk: one whose recipe is quick needs no call of the endpoint.

A text's head answers in microseconds. What it answers is what the endpoint would say of the same version.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence

from labelloop.errors import BundleError, NotFound, UnknownKind
from labelloop.kinds.base import SCORED_BY, find
from labelloop.loop.hub import Hub
from labelloop.loop.serving import OwnAnswers, Serving
from labelloop.models.bundle import read_bundle_info, served_by
from labelloop.serve.engines.base import Engine
from labelloop.types import SPANS, TEXTS, Answer, Failure, Input, Json, ProjectKey, chunks

_log = logging.getLogger(__name__)

_TOGETHER = 256
"""Tasks that are answered together."""


def own_answers(hub: Hub, project: ProjectKey, by: Serving) -> OwnAnswers | None:
    """Open the version that ``by`` is, where this process can ask it itself; None where the endpoint is to be asked.

    Raises StoreError.
    """
    record = hub.versions(project).find(by.version) if by.serves == "store" else None
    if record is None or record.pruned:
        return None
    cache = hub.settings.directory / "cache" / "bundles"
    try:
        bundle = hub.versions(project).fetch_bundle(by.version, cache, served_by(SCORED_BY))
        info = read_bundle_info(bundle)
        kind = find(info.kind)
        if info.recipe in kind.quick and kind.name in (TEXTS, SPANS):
            return OwnTexts(kind.open(bundle, info, SCORED_BY), by.version)
    except (BundleError, NotFound, UnknownKind) as error:
        _log.warning("project %s: the endpoint is asked for %s: %s", project, by.version, error)
    return None


class OwnTexts:
    """A version of texts; see OwnAnswers."""

    def __init__(self, engine: Engine, version: str) -> None:
        self._engine, self._version = engine, version

    def calls(self, tasks: Iterable[Json], batch: int) -> Iterator[list[Json]]:  # noqa: ARG002 - nothing is left to it
        """Cut tasks into calls of many."""
        return chunks(tasks, _TOGETHER)

    def known(self, tasks: Sequence[Json]) -> list[Input | None]:
        """Know nothing: a text stands in its task, or has to be read."""
        return [None] * len(tasks)

    def answers(self, inputs: Sequence[Input]) -> list[Answer | Failure | None]:
        """Answer for every text, in order."""
        texts = [one.text for one in inputs if one.text is not None]
        contents = [text.encode(errors="surrogatepass") for text in texts]
        found = iter(self._engine.predict(contents, self._version) if contents else ())
        return [None if one.text is None else next(found) for one in inputs]
