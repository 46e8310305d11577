"""Which of a project's ML backends this LabelLoop is."""

from labelloop.errors import QueueError
from labelloop.loop import registry
from labelloop.loop.hub import Hub
from labelloop.studio.backends import MLBackend
from labelloop.types import ProjectKey


def own_backend(hub: Hub, project: ProjectKey) -> MLBackend | None:
    """Find this LabelLoop among the project's ML backends: by the address Label Studio calls, or as the only one."""
    backends = hub.studio.ml_backends(project.id)
    try:
        address = registry.backend_url(hub, project)
    except QueueError:
        address = None
    for backend in backends:
        if address is not None and backend.url.rstrip("/") == address:
            return backend
    return backends[0] if len(backends) == 1 else None
