"""The ML backend's class, where Label Studio's own tools look for it."""

import json
from collections.abc import Sequence
from typing import Any

from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.loop.process import process_hub
from labelloop.loop.registry import remember_project
from labelloop.loop.serving import announced_version, hear
from labelloop.loop.state import EXTRA_PARAMS, ProjectState
from labelloop.studio.interface import LabelStudioInterface
from labelloop.studio.webhook_events import event_of
from labelloop.types import NO_VERSION, Identity, Json, ProjectKey
from labelloop.web.upstream import LabelStudioMLBase


class LabelLoop(LabelStudioMLBase):  # type: ignore[misc]  # the base class has no types
    """Pre-annotates with the announced version and hands events to the loop; for label-studio-ml 1.0.9 and 2.x.

    ``get``, ``set`` and ``has`` share values with every other process. The base class's constructor is left out: both
    1.0.9's and 2.x's parse the label config, fail for one that ``/predict`` has to survive, and keep copies in one
    process or one file.
    """

    label_config: str = ""
    """As Label Studio sent it; a class attribute, because 2.x has a read-only property of this name."""

    def __init__(
        self,
        project_id: str | int | None = None,
        label_config: str | None = None,
        *,
        hub: Hub | None = None,
        **_: Any,
    ) -> None:
        """Bind to a project ("7", "7.1795187589", or none yet). 1.0.9's further arguments are of no use here."""
        self.project_uid = str(project_id or "")
        self.project_id = self.project_uid.partition(".")[0]
        self.label_config = label_config or ""
        self.hub = process_hub() if hub is None else hub

    @property
    def model_version(self) -> str:
        """The announced version, NO_VERSION before the first; never empty."""
        return announced_version(self.hub, self._project) if self.project_id else NO_VERSION

    def get(self, key: str) -> str | None:
        """Read a value that any process set, None when none did; ``model_version`` is the announced version."""
        if key != "model_version":
            return self._state.value(key)
        if self.project_id:
            # This is all that the /setup of 2.x's own server calls, so it is where the sweep gets to know the project.
            remember_project(self.hub, self._project, None)
        return self.model_version

    def set(self, key: str, value: object) -> None:
        """Share a value with all processes, as JSON unless it is text. Raises ValueError for ``model_version``."""
        if key == "model_version":
            raise ValueError("model_version is the announced version: it moves when a run announces, not by set()")
        if key == EXTRA_PARAMS and self.project_id:
            hear(self.hub, self._project, value)
        self._state.set_value(key, value if isinstance(value, str) else json.dumps(value))

    def has(self, key: str) -> bool:
        """Say whether ``get`` has a value."""
        return self.get(key) is not None

    def predict(self, tasks: Sequence[Any], context: Json | None = None, **_: Any) -> list[Prediction]:
        """Predict: one prediction, or ``[]``, per task, in order. Never raises (contract, section 2).

        ``context`` is what interactive requests carry: what the annotator drew.
        """
        return predict_tasks(self.hub, self.project_uid or _project_of(tasks), self._interface, tasks, context)

    def fit(self, event: Any = None, data: Any = None, /, **named: Any) -> Json:
        """Note a webhook's event and return at once; ``{"job": id}`` when it asked for a training.

        2.x calls ``fit(event, data)``; 1.0.9 ``fit((), event=..., data=..., ...)``. Raises ValueError for a payload of
        no known shape, QueueError without Redis.
        """
        job = note(self.hub, event_of(named.get("event", event), named.get("data", data)))
        return {"job": job} if job else {}

    def _interface(self, project: ProjectKey, trained: bool) -> LabelStudioInterface:
        return LabelStudioInterface.of(self.label_config, self.hub.media, project.id, trained=trained)

    @property
    def _project(self) -> ProjectKey:
        return self.hub.project(Identity.parse(self.project_uid))

    @property
    def _state(self) -> ProjectState:
        return self.hub.state(self._project if self.project_id else ProjectKey(self.hub.tool.addresses[0], 0))


def _project_of(tasks: Sequence[Any]) -> str:
    """1.0.9's own server does not say for which project it asks, the tasks do."""
    first = tasks[0] if tasks else None
    return str(first.get("project", "")) if isinstance(first, dict) else ""
