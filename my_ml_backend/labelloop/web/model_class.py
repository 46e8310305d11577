"""What the routes need of ``model.py``'s class."""

from collections.abc import Sequence
from typing import Any, Protocol

from labelloop.loop.hub import Hub
from labelloop.types import Json


class Model(Protocol):
    """One ML backend object, bound to a project."""

    @property
    def model_version(self) -> str:
        """The announced version."""
        ...

    def predict(self, tasks: Sequence[Any], context: Json | None = None) -> list[Any]:
        """Predict: one item per task."""
        ...

    def fit(self, event: str, data: Json, /) -> Json:
        """Take in an event; ``{"job": id}`` when it started a job."""
        ...


class ModelClass(Protocol):
    """Makes such objects; ``LabelLoop`` itself is one."""

    __name__: str

    def __call__(
        self, project_id: str | int | None = None, label_config: str | None = None, *, hub: Hub | None = None
    ) -> Model:
        """Bind one to a project."""
        ...
