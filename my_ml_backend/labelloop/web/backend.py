"""The ML backend's class, one object for each request that needs one.

It stands by itself. Where label-studio-ml is installed, requests go through its subclass in the deployable folder's
``model.py``, which is a ``LabelStudioMLBase``, too.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from labelloop.data.labeling import Subject
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.loop.process import process_hub
from labelloop.loop.project_endpoint import hear
from labelloop.loop.project_registry import meet_project
from labelloop.loop.serving import announced_version
from labelloop.loop.state import EXTRA_PARAMS, ProjectState
from labelloop.studio.interface import LabelStudioInterface
from labelloop.studio.webhook_events import event_of
from labelloop.types import NO_VERSION, Identity, Json, ProjectKey

FOLDER = Path(__file__).resolve().parents[2]
"""The folder that holds the package: with ``_wsgi.py`` and ``model.py`` where it is the deployable one."""


class LabelLoop:
    """Pre-annotates with the announced version and hands events to the loop.

    ``get``, ``set`` and ``has`` share values with every other process.
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
        """Bind to a project ("7", "7.1795187589", or none yet). label-studio-ml 1.0.9 gives more, of no use here."""
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
            meet_project(self.hub, self._project, None)
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
        """Predict: one prediction, or ``[]``, per task, in order. Never raises (contract, "Predictions").

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

    def _interface(self, project: ProjectKey, subject: Subject | None) -> LabelStudioInterface:
        return LabelStudioInterface.of(self.label_config, self.hub.media, project.id, subject)

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


def backend_class() -> type[LabelLoop]:
    """Give the class that requests go through: ``model.py``'s in a deployable folder with label-studio-ml, else ours.

    It is read from the folder by its path: whatever else is called ``model`` on this machine is not ours to run.
    """
    path = FOLDER / "model.py"
    spec = spec_from_file_location("model", path)
    if spec is None or spec.loader is None or not path.is_file() or find_spec("label_studio_ml") is None:
        return LabelLoop
    if "model" not in sys.modules:
        module = sys.modules["model"] = module_from_spec(spec)
        spec.loader.exec_module(module)
    found: type[LabelLoop] = sys.modules["model"].LabelLoop
    return found


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Make imports of one package raise ImportError inside the block, whether or not it was imported before."""
    before = {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] == package}
    for name in before:
        del sys.modules[name]
    sys.modules[package] = None  # type: ignore[assignment]  # how the import system spells: there is none
    try:
        yield
    finally:
        del sys.modules[package]
        sys.modules.update(before)
