"""When a project's challenger begins, or goes on, and why: pure, as the outlook of its runs is (loop/outlook.py)."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from labelloop.loop.outlook import Situation, is_unfinished, retry_at
from labelloop.loop.retrain_policy import RetrainPolicy, duration

SHARE = 0.2
"""Labels that are new since the last challenger, as a share of what that learned from, which call for another one."""


@dataclass(frozen=True, slots=True)
class ChallengerOutlook:
    """What comes ``next`` for a project's challenger, ``at`` which moment (Unix seconds; None: not known), and ``why``.

    ``recipes`` are those it trains. ``labels`` are new since the last one, of ``needed`` (0: it is not by labels).
    ``trigger`` is what its record will say, ``forced`` that the same labels are trained on once more.
    """

    next: Literal["nothing", "begin", "training", "paused"]
    why: str
    recipes: tuple[str, ...] = ()
    at: float | None = None
    labels: int = 0
    needed: int = 0
    trigger: str = ""
    forced: bool = False

    def is_now(self, now: float) -> bool:
        """Whether it begins, or goes on, at the moment ``now`` (Unix seconds)."""
        return self.next == "begin" and self.at is not None and self.at <= now

    def told(self, now: float) -> str:
        """Say it in a line: ``finetune in the background: 12 of 60 new labels``."""
        soon = f" in {duration(self.at - now)}" if self.next == "begin" and self.at and self.at > now else ""
        return f"{' and '.join(self.recipes)} in the background{soon}: {self.why}"


def decide_challenger(policy: RetrainPolicy, stands: Situation) -> ChallengerOutlook | None:
    """Say what comes next for the project's challenger; None where its runs leave no recipe to one."""
    if not stands.left:
        return None
    found = _under_way(policy, stands) or _kept_back(stands) or _by_labels(policy, stands)
    return replace(found, recipes=found.recipes or stands.left)


def _under_way(policy: RetrainPolicy, stands: Situation) -> ChallengerOutlook | None:
    """Say how it stands with one that has begun."""
    if stands.challenging:
        return ChallengerOutlook("training", "it is at work")
    begun = stands.challenger
    if begun is not None and begun.is_left_over:
        return ChallengerOutlook("begin", "it was cut off after its verdict", at=stands.now)
    if begun is None or not is_unfinished(policy, begun):
        return None
    if begun.state == "failed" and stands.pause:
        # One that was cut off goes on.
        return ChallengerOutlook("paused", str(stands.pause))
    at = max(retry_at(policy, begun, stands.now), stands.now)
    why = "it failed, and is tried again" if begun.state == "failed" else "it was cut off, and goes on"
    return ChallengerOutlook("begin", why, at=at, trigger=begun.trigger, forced=begun.forced)


def _kept_back(stands: Situation) -> ChallengerOutlook | None:
    """Say what keeps a new one from being begun, whatever the labels are."""
    last = stands.last
    if last is None or not last.judged or stands.lacking:
        return ChallengerOutlook("nothing", "a run is to come to its verdict first")
    if stands.pause:
        return ChallengerOutlook("paused", str(stands.pause))
    if stands.wait:
        return ChallengerOutlook("nothing", "the project waits after a failure")
    against = last.metrics.get("challengers")
    if against is None:
        return ChallengerOutlook("nothing", "the last run leaves nothing to it: it predates challengers")
    if all(against.get(name, "") for name in stands.left):
        told = "; ".join(dict.fromkeys(against[name] for name in stands.left))
        return ChallengerOutlook("nothing", told)
    return None


def _by_labels(policy: RetrainPolicy, stands: Situation) -> ChallengerOutlook:
    """Say whether there are enough new labels, or a person asked for the run that it would learn the labels of."""
    last, before = stands.last, stands.challenger
    assert last is not None  # noqa: S101 - see _kept_back
    now = int(last.metrics.get("labels") or 0)
    if before is None:
        found = ChallengerOutlook("begin", "the first one", at=stands.now, trigger="the first challenger")
    elif last.forced and last.created > before.created:
        found = ChallengerOutlook("begin", last.trigger, at=stands.now, trigger=last.trigger, forced=True)
    elif stands.challenger_improved:
        improved = stands.challenger_improved
        found = ChallengerOutlook("begin", improved, at=stands.now, trigger=improved)
    elif last.manifest != before.manifest and last.asked_for:
        found = ChallengerOutlook("begin", last.trigger, at=stands.now, trigger=last.trigger)
    else:
        then = int(before.metrics.get("labels") or 0)
        share = math.ceil(SHARE * then) if before.judged else 0
        needed, new = max(policy.challenger_after, share, 1), max(0, now - then)
        why = f"{new} of {needed} new labels"
        if new < needed:
            return ChallengerOutlook("nothing", why, labels=new, needed=needed)
        found = ChallengerOutlook("begin", why, at=stands.now, labels=new, needed=needed, trigger=f"{new} new labels")
    # The cool-down is between runs that annotators are told of one after the other.
    hold = replace(policy, cool_down=0.0).held(stands.ran, None, stands.now)
    return replace(found, at=hold.until, why=f"{found.why}; {hold}") if hold else found
