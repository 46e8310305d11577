"""What one backend object is bound to, and the values it shares with every other process."""

import json
from typing import Any

from labelloop.loop.hub import Hub
from labelloop.loop.process import process_hub
from labelloop.loop.registry import remember_project
from labelloop.loop.serving import announced_version, hear
from labelloop.loop.state import EXTRA_PARAMS, ProjectState
from labelloop.studio.events import identity
from labelloop.types import NO_VERSION, ProjectKey


class SharedValues:
    """The constructor, ``get``, ``set``, ``has`` and ``model_version`` of ``LabelLoop``, on any base class.

    Comes before ``LabelStudioMLBase`` among the bases and leaves that class's constructor out: both 1.0.9's and 2.x's
    parse the label config, fail for one that ``/predict`` has to survive, and keep copies in one process or one file.
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

    @property
    def _project(self) -> ProjectKey:
        return self.hub.project(identity(self.project_uid))

    @property
    def _state(self) -> ProjectState:
        return self.hub.state(self._project if self.project_id else ProjectKey(self.hub.addresses[0], 0))
