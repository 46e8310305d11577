"""The bootstrap endpoint as whom a first version meets: asked about the test items, judged by what annotators get.

So an endpoint that names labels alone, in whatever form, can be met too.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labelloop.chunks import chunks
from labelloop.endpoints.answers.labelloop import read_item, write_item
from labelloop.errors import BootstrapAway, EndpointError, LabelConfigError
from labelloop.loop.hub import Hub
from labelloop.loop.serving import Serving, bootstrap
from labelloop.loop.site import renderer
from labelloop.run.context import Context, Render
from labelloop.run.opponent import Inputs
from labelloop.types import Answer, Failure, Input, Item, Json, NotAsked, Output, ProjectKey, Shown, Target

_log = logging.getLogger(__name__)


def bootstrap_opponent(hub: Hub, project: ProjectKey) -> "BootstrapOpponent | None":
    """Give whom a project's first version must beat; None where nothing predicts until there is one."""
    by = bootstrap(hub, project)
    if by is None:
        return None
    rendering = by.options.rendering
    return BootstrapOpponent(
        project, by, renderer(hub, project, rendering), renderer(hub, project, replace(rendering, threshold=None))
    )


@dataclass(frozen=True, slots=True)
class BootstrapOpponent:
    """Implements Opponent; ``by`` is the endpoint with its version.

    ``shows`` gives what annotators see of what it finds, ``names`` of how it classifies: as with versions of ours, the
    best class counts, whatever its score. What it has answered is kept in the run's folder: neither an outage nor a
    killed worker makes anybody pay twice.
    """

    project: ProjectKey
    by: Serving
    shows: Render
    names: Render
    record: None = None

    @property
    def name(self) -> str:
        """Its version, under which annotators know it."""
        return self.by.version

    def answers(self, context: Context, items: Sequence[Item]) -> Iterator[Shown | Failure]:
        """Give what annotators would see of each item; see Opponent. Raises BootstrapAway, and the site's errors."""
        kept = _Kept(context.folder.evaluation / f"bootstrap-{self.by.options.endpoint.fingerprint}.jsonl")
        found = kept.read(items)
        missing = [item for item in items if item.content not in found]
        if missing:
            _log.info(
                "project %s: %d test items are sent to its bootstrap endpoint %s, which a first version must beat",
                self.project,
                len(missing),
                self.by.endpoint.name,
            )
        failed: list[str] = []
        for part in chunks(missing, self.by.endpoint.batch * self.by.endpoint.concurrency):
            told = dict(zip((item.content for item in part), self._ask(context, part), strict=True))
            answered = {content: one for content, one in told.items() if not isinstance(one, Failure)}
            failed += [one.reason for one in told.values() if isinstance(one, Failure)]
            kept.add(answered)
            found |= answered
            context.progress(f"test items with {self.name}", len(found), len(items))
        if failed:
            _log.warning("project %s: %s did not answer %d: %s", self.project, self.name, len(failed), failed[0])
        return (self._shown(item, found.get(item.content)) for item in items)

    def _ask(self, context: Context, items: Sequence[Item]) -> list[Answer | Failure]:
        try:
            return self.by.endpoint.invoke(list(Inputs(context, items)), Target(self.project))
        except EndpointError as error:
            raise BootstrapAway(f"the bootstrap endpoint cannot be asked about the test items: {error}") from error

    def _shown(self, item: Item, answer: Answer | None) -> Shown | Failure:
        if answer is None:
            return NotAsked()
        try:
            return Shown(tuple((self.names if isinstance(answer, Output) else self.shows)(answer, item)))
        except LabelConfigError as error:
            return Failure(str(error))


def _sent(item: Item) -> Input:
    return Input(text=item.text or None)


class _Kept:
    """A file of answers by the content of their inputs, a line each; a line that a kill has cut off counts as none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, items: Sequence[Item]) -> dict[str, Answer]:
        lines = self._path.read_text(encoding="ascii").splitlines() if self._path.is_file() else []
        known = {one["content"]: one for line in lines if (one := _object(line))}
        read = {
            item.content: read_item(found["answer"], _sent(item), found["version"], ())
            for item in items
            if (found := known.get(item.content))
        }
        return {content: answer for content, answer in read.items() if not isinstance(answer, Failure)}

    def add(self, answers: Mapping[str, Answer]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="ascii") as file:
            for content, answer in answers.items():
                said = {"content": content, "answer": write_item(answer), "version": answer.model_version}
                file.write(f"\n{json.dumps(said)}")


def _object(line: str) -> Json:
    try:
        found: Json = json.loads(line)
    except ValueError:
        return {}
    return found
