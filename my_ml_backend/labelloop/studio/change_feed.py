"""What Label Studio tells of single tasks: those that changed, those that are named, how many are new."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from labelloop.data.labeling import Counters, Example, Touched
from labelloop.data.site import spelled
from labelloop.sources.urls import cleaned
from labelloop.studio.client import Studio
from labelloop.studio.control_tag import ObjectTag
from labelloop.studio.interface import value_of
from labelloop.studio.votes import Reader
from labelloop.types import Json


@dataclass(frozen=True, slots=True)
class LabelStudioFeed:
    """The tasks of one project, their annotations read as ``target`` and ``read`` of its label config say.

    ``asked`` is that label config, read ``at`` a moment of Label Studio's clock. See ``ChangeFeed``.
    """

    studio: Studio
    project: int
    target: ObjectTag
    read: Reader
    asked: str = ""
    at: str = ""

    def annotated(self, since: str = "") -> Iterator[Touched]:
        """Read the annotated tasks that changed since a moment, or all of them."""
        return map(self.touched, self.studio.annotated_tasks(self.project, since))

    def emptied(self, since: str, until: str) -> Iterator[Touched]:
        """Read the tasks that have no annotation, and may have had one."""
        return map(self.touched, self.studio.emptied_tasks(self.project, since, until))

    def these(self, tasks: Sequence[int]) -> Iterator[Touched]:
        """Read these tasks."""
        return map(self.touched, self.studio.these_tasks(self.project, tasks))

    def newest(self, after: int) -> tuple[int, int]:
        """Count the tasks that came after the one of that id."""
        return self.studio.newest_task(self.project, after)

    def up_to(self, last: int) -> int:
        """Count the tasks up to the one of that id."""
        return self.studio.count_up_to(self.project, last)

    def counters(self) -> Counters:
        """Ask for the project's counters."""
        return self.studio.counted(self.project)[0].counters

    def examples(self, tasks: Sequence[int] | None = None) -> Iterator[Example]:
        """Read all labeled tasks, or the labeled ones of these."""
        return map(self._example, self.studio.labeled_tasks(self.project, only=tasks))

    def touched(self, task: Json) -> Touched:
        """Say what a task shows and what its annotations say, as Label Studio gives it."""
        made = {int(one["id"]): _moment(one.get("created_at")) for one in task["annotations"]}
        said = any(not one["was_cancelled"] for one in task["annotations"])
        return Touched(int(task["id"]), self._example(task) if said else None, made)

    def _example(self, task: Json) -> Example:
        url, votes = value_of(self.target.data_key, task), self.read(_annotations(task))
        reason = "" if url else f"no {self.target.data_key!r} in its data"
        where, text = ("", url or "") if self.target.inline else (cleaned(url or ""), "")
        moments = (str(one.get("updated_at") or "") for one in _annotations(task))
        return Example(int(task["id"]), where, votes, reason, text, at=max(moments, default=""))


def _annotations(task: Json) -> Iterable[Json]:
    found: Iterable[Json] = task.get("annotations") or ()
    return found


def _moment(told: object) -> str:
    """Spell a moment of the API as filters take it: where it is a whole second, its fraction is left out there."""
    try:
        return spelled(datetime.fromisoformat(str(told)))
    except ValueError:
        return ""
