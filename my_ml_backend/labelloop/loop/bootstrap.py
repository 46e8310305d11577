"""The bootstrap endpoint as whom a first version meets: asked about the test items, judged by what annotators get.

So an endpoint that names labels alone, in whatever form, can be met too.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labelloop.endpoints.answers.labelloop import read_item, write_item
from labelloop.errors import BootstrapAway, EndpointError, LabelConfigError
from labelloop.loop.hub import Hub
from labelloop.loop.project_labels import renderer
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import Serving, bootstrap
from labelloop.run.context import Context, Render
from labelloop.trainers.handover import RunInputs
from labelloop.types import Answer, Assignment, Failure, Input, Item, Json, NotAsked, ProjectKey, Shown, Target, chunks

_log = logging.getLogger(__name__)

_REASONS = 3


def bootstrap_opponent(hub: Hub, project: ProjectKey) -> "BootstrapOpponent | None":
    """Give whom a project's first version must beat; None where nothing predicts until there is one."""
    by = bootstrap(hub, project)
    if by is None:
        return None
    return BootstrapOpponent(
        project, by, renderer(hub, project, by.options.rendering), lambda: _assignment(hub, project)
    )


def _assignment(hub: Hub, project: ProjectKey) -> Assignment | None:
    """Read what annotators are asked now; None where that is nothing any more."""
    try:
        return site_of(hub, project.id).interface().assignment
    except LabelConfigError:
        return None


@dataclass(frozen=True, slots=True)
class BootstrapOpponent:
    """Implements Opponent; ``by`` is the endpoint with its version.

    ``shows`` gives what annotators see of what it finds, ``asks`` what it is to say. What it has answered is kept in
    the run's folder: neither an outage nor a killed worker makes anybody pay twice.
    """

    project: ProjectKey
    by: Serving
    shows: Render
    asks: Callable[[], Assignment | None]
    record: None = None

    @property
    def name(self) -> str:
        """Its version, under which annotators know it."""
        return self.by.version

    def answers(self, context: Context, items: Sequence[Item]) -> Iterator[Shown | Failure]:
        """Give what annotators would see of each item; see Opponent. Raises BootstrapAway, and the site's errors."""
        kept = _Kept(context.folder.evaluation / f"bootstrap-{self.by.options.endpoint.fingerprint}.jsonl")
        if due := sum(item.content not in kept for item in items):
            _log.info(
                "project %s: %d test items are sent to its bootstrap endpoint %s, which a first version must beat",
                self.project,
                due,
                self.by.endpoint.name,
            )
        failed, done = Counter[str](), 0
        for part in chunks(items, self.by.endpoint.batch * self.by.endpoint.concurrency):
            missing = [item for item in part if item.content not in kept]
            told = dict(zip(missing, self._ask(context, missing, known=bool(kept)), strict=True))
            kept.add({item: one for item, one in told.items() if not isinstance(one, Failure)})
            failed.update(one.reason for one in told.values() if isinstance(one, Failure))
            done += len(part)
            context.progress(f"test items with {self.name}", done, len(items))
            yield from (self._shown(item, kept.read(item)) for item in part)
        for reason, count in failed.most_common(_REASONS):
            _log.warning("project %s: %s did not answer %d test items: %s", self.project, self.name, count, reason)

    def _ask(self, context: Context, items: Sequence[Item], *, known: bool) -> list[Answer | Failure]:
        """Ask; the only item that lacks an answer, of some that were answered (``known``), may be at fault itself."""
        if not items:
            return []
        assignment = self.asks()
        inputs = [replace(one, assignment=assignment) for one in RunInputs(context, items)]
        try:
            return self.by.endpoint.invoke(inputs, Target(self.project))
        except EndpointError as error:
            if known and len(items) == 1 and error.by_input:
                return [Failure(str(error))]
            raise BootstrapAway(f"the bootstrap endpoint cannot be asked about the test items: {error}") from error

    def _shown(self, item: Item, answer: Answer | Failure) -> Shown | Failure:
        if isinstance(answer, Failure):
            return answer
        try:
            return self.shows(answer, item)
        except LabelConfigError as error:
            return Failure(str(error))


class _Kept:
    """A file of answers by the content of their inputs, a line each; a line that a kill has cut off counts as none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
        self._known = {one["content"]: one for line in lines if (one := _object(line))}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, content: str) -> bool:
        return content in self._known

    def read(self, item: Item) -> Answer | Failure:
        """Give the answer to an item; NotAsked where there is none."""
        found = self._known.get(item.content)
        return read_item(found["answer"], _sent(item), found["version"], ()) if found else NotAsked()

    def add(self, answers: Mapping[Item, Answer]) -> None:
        """Keep answers to items."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="ascii") as file:
            for item, answer in answers.items():
                said = {"content": item.content, "answer": write_item(answer), "version": answer.model_version}
                file.write(f"\n{json.dumps(said)}")
                self._known[item.content] = said


def _sent(item: Item) -> Input:
    return Input(text=item.text or None)


def _object(line: str) -> Json:
    try:
        found: Json = json.loads(line)
    except ValueError:
        return {}
    return found
