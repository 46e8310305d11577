"""What people do in the stand-in for Label Studio, and the webhooks that it would post of it."""

from dataclasses import dataclass, field
from typing import Any

from support.studio_api import StudioApi

Webhook = tuple[str, dict[str, Any]]
"""An action and its payload."""


@dataclass
class People:
    """Annotators of one project. Every act changes what Label Studio changes, and gives the webhooks that it posts."""

    studio: StudioApi
    numbers: int = 1000
    """The last number of an annotation."""
    tasks: int = 1000
    """The last number of a task that was brought."""
    project: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.project = {"id": self.studio.number}

    def submit(self, task: int, label: str, *, skipped: bool = False, **more: Any) -> list[Webhook]:
        """Annotate a task, or skip it."""
        made = self._annotate(task, label, was_cancelled=skipped, **more)
        return [("ANNOTATION_CREATED", {"annotation": self._told(task, made)} | self._about(task))]

    def edit(self, task: int, at: int, label: str) -> list[Webhook]:
        """Change what an annotation of a task says."""
        return self._change(task, at, result=_result(label))

    def skip(self, task: int, at: int, *, skipped: bool) -> list[Webhook]:
        """Turn an annotation into a skip, or a skip into an annotation."""
        return self._change(task, at, was_cancelled=skipped)

    def delete(self, task: int, at: int) -> list[Webhook]:
        """Delete an annotation; its webhook names no task."""
        gone = self.studio.tasks[task]["annotations"].pop(at)
        self.studio.tasks[task]["updated_at"] = self.studio.moment()
        return [("ANNOTATIONS_DELETED", {"annotations": [{"id": gone["id"]}], "project": self.project})]

    def bulk(self, tasks: list[int], label: str) -> list[Webhook]:
        """Make annotations of predictions, without anybody looking."""
        made = [self._told(task, self._annotate(task, label)) for task in tasks]
        told = [{"id": task, "project": self.studio.number} for task in tasks]
        return [("ANNOTATIONS_CREATED", {"annotation": made, "task": told, "project": self.project})]

    def bring(self, label: str) -> list[Webhook]:
        """Import a task together with its annotation: of that nothing is told."""
        self.tasks += 1
        task, now, path = self.tasks, self.studio.moment(), f"/data/upload/7/{self.tasks}.png"
        self.studio.pictures[path] = next(iter(self.studio.pictures.values()))
        fields = {"id": task, "data": {"image": path}, "annotations": [], "created_at": now, "updated_at": now}
        self.studio.tasks[task] = fields
        self._annotate(task, label)
        return [("TASKS_CREATED", {"tasks": [{"id": task, "project": self.studio.number}], "project": self.project})]

    def remove(self, task: int) -> list[Webhook]:
        """Delete a task with all that was said of it."""
        del self.studio.tasks[task]
        return [("TASKS_DELETED", {"tasks": [{"id": task}], "project": self.project})]

    def join(self, task: int, other: int) -> list[Webhook]:
        """Remove a duplicate of another task, which gets its annotations and does not change for that."""
        self.studio.tasks[other]["annotations"] += self.studio.tasks[task]["annotations"]
        return self.remove(task)

    def export(self) -> dict[int, list[str]]:
        """What Label Studio's export says: of each labeled task what its annotations say that are no skips, sorted."""
        said = {
            task: sorted(
                one["result"][0]["value"]["choices"][0] for one in found["annotations"] if not one["was_cancelled"]
            )
            for task, found in self.studio.tasks.items()
        }
        return {task: labels for task, labels in said.items() if labels}

    def _annotate(self, task: int, label: str, **more: Any) -> dict[str, Any]:
        self.numbers += 1
        self.studio.annotate(task, label, id=self.numbers, **more)
        made: dict[str, Any] = self.studio.tasks[task]["annotations"][-1]
        return made

    def _change(self, task: int, at: int, **fields: Any) -> list[Webhook]:
        changed, now = self.studio.tasks[task]["annotations"][at], self.studio.moment()
        changed |= fields | {"updated_at": now}
        self.studio.tasks[task]["updated_at"] = now
        return [("ANNOTATION_UPDATED", {"annotation": self._told(task, changed)} | self._about(task))]

    def _about(self, task: int) -> dict[str, Any]:
        return {"task": {"id": task, "project": self.studio.number}, "project": self.project}

    def _told(self, task: int, annotation: dict[str, Any]) -> dict[str, Any]:
        return {name: annotation[name] for name in ("id", "was_cancelled", "updated_at")} | {"task": task}


def _result(label: str) -> list[dict[str, Any]]:
    return [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]
