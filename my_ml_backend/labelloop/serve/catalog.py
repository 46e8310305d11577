"""The interface between the server and where its models come from."""

from typing import NamedTuple, Protocol

from labelloop.serve.engines.base import Engine
from labelloop.types import Json, Target


class Choice(NamedTuple):
    """The model that answers a request, and the name of its version."""

    engine: Engine
    version: str


class Catalog(Protocol):
    """The models a server offers. Implementations are safe to share between threads."""

    def choose(self, target: Target) -> Choice:
        """Find the model for a request, loading it when needed.

        Raises NotFound for a project or version that is not offered, NotReady when nothing can be served yet,
        StoreError when the store cannot be reached, BundleError for a damaged bundle, and BadRequest when the target
        does not say enough.
        """
        ...

    def state(self) -> Json:
        """Say what is loaded; raises NotReady while nothing can be served."""
        ...
