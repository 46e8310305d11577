"""Labels that were changed and changed back: looked at once more before a run is made of them."""

import logging
import time

from labelloop.errors import LabelLoopError
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import site_of
from labelloop.loop.recent_changes import Known, RecentChanges
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

_EARLY_SECONDS = 5.0
"""Between two early looks: whoever labels faster than the quiet time makes them useless."""


def look_once_more(hub: Hub, project: ProjectKey, *, early: bool = False) -> bool:
    """Compare what changed since the last look with the last manifest, and say whether that was done.

    The site is asked for those tasks alone. What changes meanwhile is noted later than this began, and counts on.
    Nothing is asked where the last look knew all that is noted, or nothing was learned yet; where the site is away, or
    does not tell, what is noted counts as it is. An ``early`` look, before the run is due, comes only now and then.
    """
    state, now, known = hub.state(project), time.time(), Known.of(hub, project)
    if not known.manifest or state.changes.pending().last <= known.looked.at:
        return False
    if early and 0 <= now - known.looked.at < _EARLY_SECONDS:
        return False
    try:
        found = site_of(hub, project.id).overview()
        return RecentChanges(hub, project, known, found, now).note()
    except LabelLoopError as error:
        _log.warning("project %s: whether labels were changed back cannot be told now: %s", project, error)
        return False
