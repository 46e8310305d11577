"""The predictions of a version that nobody gets next: imported a part at a time, when the tool was left alone for it.

In a large project they take the tool longer than those that annotators get next, and the next version would wait for
them. So each part is paid for before, by a pause in which nothing is imported, as long as the part before took, be it
an earlier version's: a version that comes meanwhile is announced, and begins anew with what waits then. Where Redis has
lost the note, they come in one.
"""

import time
from typing import TYPE_CHECKING

from labelloop.loop.hub import Hub
from labelloop.loop.retrain_policy import PAUSE
from labelloop.types import ProjectKey

if TYPE_CHECKING:
    from labelloop.loop.prelabel import Prelabeled

NOTE = "later"
"""The note that there are some: until when they wait (Unix seconds), and for how many seconds."""

_PART = "part"
"""The note of how many seconds the last part took, whichever version it was of."""

_MOST_GIVING_WAY = 120.0
"""Seconds for which a part gives way to runs that are near: one may come late, or not at all."""


def begin(hub: Hub, project: ProjectKey) -> None:
    """Note that there may be some, which need not wait: whoever goes on after a failure imports them in parts, too."""
    hub.state(project).note(NOTE, f"{time.time()!r} 0.0")


def forget(hub: Hub, project: ProjectKey) -> None:
    """Note that there are none."""
    hub.state(project).note(NOTE, "")


def put_off(hub: Hub, project: ProjectKey, done: "Prelabeled", *, announced: bool = False) -> None:
    """Note what ``done`` has left, to be gone on with when the tool was left alone for that; without any, forget it.

    When a version was ``announced``, what a part will take is paid for, too: what the last one took, or where there was
    none, as long again.
    """
    if not announced and wait(hub, project) is not None and done.importing:
        hub.state(project).note(_PART, repr(done.importing))
    if not done.more or not done.predicted:
        # Tasks that cannot be predicted come first in each part. When they are all of one, the sweep, which looks after
        # tasks without a prediction, has the others predicted in one.
        forget(hub, project)
        return
    pause = PAUSE * (done.importing + ((last_part(hub, project) or done.importing) if announced else 0.0))
    hub.state(project).note(NOTE, f"{time.time() + pause!r} {pause!r}")
    hub.queue(project).prelabel(pause)


def wait(hub: Hub, project: ProjectKey) -> float | None:
    """Say for how many seconds they wait yet; None where there are none."""
    return _left(hub.state(project).notes().get(NOTE, ""))


def last_part(hub: Hub, project: ProjectKey) -> float:
    """Say how many seconds the last part took; 0 where that is not known."""
    try:
        return float(hub.state(project).notes().get(_PART, ""))
    except ValueError:
        return 0.0


def may_give_way(hub: Hub, project: ProjectKey) -> bool:
    """Whether a part whose pause is over may be put off once more."""
    until = hub.state(project).notes().get(NOTE, "").partition(" ")[0]
    try:
        return 0.0 <= time.time() - float(until) < _MOST_GIVING_WAY
    except ValueError:
        return False


def told(note: str) -> str:
    """Say in words what is noted; empty where there are none."""
    left = _left(note)
    if left is None:
        return ""
    when = f"in {left:.0f} s" if left >= 0.5 else "as soon as no run is near"
    return f"not all tasks have its prediction yet: the next part is imported {when}, or after a run"


def _left(note: str) -> float | None:
    until, _, pause = note.partition(" ")
    try:
        left = float(until) - time.time()
        # A moment that is further away was noted before the clock was set back.
        return max(0.0, left) if left <= float(pause) else 0.0
    except ValueError:
        return None
