"""The ML backend's class, where Label Studio's own tools look for it."""

from collections.abc import Sequence
from typing import Any

from labelloop.loop.intake import note
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.studio.events import event_of
from labelloop.types import Json
from labelloop.web.upstream import LabelStudioMLBase
from labelloop.web.values import SharedValues


class LabelLoop(SharedValues, LabelStudioMLBase):  # type: ignore[misc]  # the base class has no types
    """Pre-annotates with the announced version and hands events to the loop; for label-studio-ml 1.0.9 and 2.x."""

    def predict(self, tasks: Sequence[Any], context: Json | None = None, **_: Any) -> list[Prediction]:
        """Predict: one prediction, or ``[]``, per task, in order. Never raises (contract, section 2).

        ``context`` is what interactive requests carry: what the annotator drew.
        """
        return predict_tasks(self.hub, self.project_uid or _project_of(tasks), self.label_config, tasks, context)

    def fit(self, event: Any = None, data: Any = None, /, **named: Any) -> Json:
        """Note a webhook's event and return at once; ``{"job": id}`` when it asked for a training.

        2.x calls ``fit(event, data)``; 1.0.9 ``fit((), event=..., data=..., ...)``. Raises ValueError for a payload of
        no known shape, QueueError without Redis.
        """
        job = note(self.hub, event_of(named.get("event", event), named.get("data", data)))
        return {"job": job} if job else {}


def _project_of(tasks: Sequence[Any]) -> str:
    """1.0.9's own server does not say for which project it asks, the tasks do."""
    first = tasks[0] if tasks else None
    return str(first.get("project", "")) if isinstance(first, dict) else ""
