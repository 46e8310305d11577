"""What Label Studio's counters said when its annotations were last read whole; the sweep compares with that."""

import json
from dataclasses import asdict, dataclass

from labelloop.loop import keys
from labelloop.loop.hub import Hub
from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class Seen:
    """Label Studio's counters: ``tasks`` at the last look; the others, and the moment, at the last scan or manifest."""

    tasks: int = -1
    annotations: int = -1
    skipped: int = -1
    scanned: float = 0.0


def read_seen(hub: Hub, project: ProjectKey) -> Seen:
    """Read the counters of the last look; all unknown after Redis was wiped."""
    found = hub.redis.get(keys.of(project, "seen"))
    return Seen(**json.loads(found)) if found else Seen()


def write_seen(hub: Hub, project: ProjectKey, seen: Seen) -> None:
    """Keep the counters for the next look."""
    hub.redis.set(keys.of(project, "seen"), json.dumps(asdict(seen)))
