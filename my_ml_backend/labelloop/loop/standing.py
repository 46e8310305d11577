"""How a project stands, in words: what ``labelloop status`` prints, and the dashboard shows."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from labelloop.deployers.base import Deployed
from labelloop.loop.backoff import Wait
from labelloop.loop.process import named_project
from labelloop.loop.progress import StageProgress
from labelloop.loop.status import ChallengerStatus, FirstLabels, ProjectStatus
from labelloop.types import Json, ProjectKey
from labelloop.watch.agreement import Agreed, Share
from labelloop.watch.timing import ENOUGH, Saved


def standing(one: ProjectStatus) -> list[str]:
    """Say how a project stands, a line for each thing worth knowing."""
    lines = _versions(one)
    # What a look found missing is older than labels that have come since.
    lacks = one.missing and not (one.outlook and one.outlook.enough and one.run is None)
    before = "before the next version" if one.champion else "before the first version"
    looked = ", when labels were looked at last" if one.changed and one.outlook and one.outlook.looks else ""
    told = (
        f"learns {one.learns}" if one.learns else "",
        f"{before}{looked}: {one.missing}" if lacks else "",
        _first_labels(one.first_labels) if one.first_labels else "",
        _now(one.step) if one.step else "",
        _training(one.opened) if one.opened else "",
        _paused(one) if one.pause else "",
        f"next: {one.outlook.told(time.time())}" if one.outlook and one.outlook.next != "paused" else "",
        *(_WAITS.format(version=version, project=_named(one)) for version in one.waiting),
        _last_run(one.run, one.waiting) if one.run else "",
        _left_out(one) if one.run and one.run.get("suspects") else "",
        *(_challenger(one.challenger) if one.challenger else ()),
        one.learning,
        one.features,
        f"predictions: {one.predictions}" if one.predictions else "",
        f"order of tasks: {one.run['order']}" if one.run and one.run.get("order") else "",
        _agreed(one.agreement) if one.agreement and one.agreement.begun else "",
        _saved(one.saved) if one.saved else "",
        _waiting(one.wait) if one.wait else "",
        f"drift: {one.drift}; see `labelloop drift`" if one.drift else "",
        _disk(one.disk) if one.disk else "",
        f"rollback: {one.rollback}" if one.rollback else "",
        f"trouble: {one.trouble}" if one.trouble else "",
        _LOADS if one.loading else _UNATTENDED if one.workers == 0 else "",
    )
    return lines + [f"  {line}" for line in told if line]


def _named(one: ProjectStatus) -> str:
    return named_project(ProjectKey.parse(one.project))


_WAITS = "{version} waits for approval: `labelloop approve --project {project} {version}`, or `labelloop reject`"

_LOADS = "a worker is starting: it loads what jobs need, which takes 5 to 20 s, more on a busy machine"

_UNATTENDED = "no worker is running: nothing is trained or pre-annotated until you start `labelloop worker`"


def _paused(one: ProjectStatus) -> str:
    """Say who has paused it, and what waits."""
    told = one.outlook.why if one.outlook and one.outlook.next == "paused" else one.pause
    return f"{told}; no run begins until `labelloop resume --project {_named(one)}`"


def _first_labels(found: FirstLabels) -> str:
    """Say by what tasks are ordered before there is a version."""
    told = f"{found.compared:,} of {found.tasks:,} compared"
    return f"the first labels are ordered: typical and different tasks first; {told}"


def _now(step: StageProgress) -> str:
    return f"now: {step.stage}: {step.what}{_share(step)}"


def _share(step: StageProgress) -> str:
    return f" {step.done}/{step.total or '?'}" if step.done else ""


def _last_run(run: Json, waiting: Sequence[str], what: str = "run") -> str:
    if run["state"] == "waiting" and run["version"] not in waiting:
        return f"last {what} {run['key']}: passed over, for {run['version']} has not met the champion of today"
    told = run["verdict"] if run["state"] in ("promoted", "waiting", "rejected") else run["reason"]
    state = "failed for good" if run.get("given_up") else run["state"]
    on = f", last layer on the network of {run['network']}" if run.get("network") else ""
    return f"last {what} {run['key']}: {state}, attempt {run['attempts']}{on}{f'. {told}' if told else ''}"


def _challenger(found: ChallengerStatus) -> Iterator[str]:
    """Say what is done, or waited for, in the background, and what came of it last."""
    step = found.step
    doing = f"; now {step.stage}: {step.what}{_share(step)}" if step else ""
    yield f"challenger: {found.outlook.told(time.time())}{doing}"
    if found.run and found.run["state"] != "running":
        yield _last_run(found.run, (found.run["version"],), "challenger")


def _left_out(one: ProjectStatus) -> str:
    count, project = (one.run or {})["suspects"], _named(one)
    which = "1 label was" if count == 1 else f"{count} labels were"
    return (
        f"{which} left out of that run's training as probably wrong: see `labelloop label-errors --project {project}`"
    )


def _training(opened: Json) -> str:
    """Say who is training the open run, and for how long that may take."""
    known = f", known there as {opened['handle']}" if opened["handle"] else ", not started yet"
    if opened["cancelled"]:
        return f"run {opened['key']} is to end: {opened['cancelled']}"
    until = datetime.fromtimestamp(opened["until"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"run {opened['key']} is trained by {opened['trainer']}{known}; it may take until {until}"


def _versions(one: ProjectStatus) -> list[str]:
    """Say which versions there are, and what predicts besides."""
    if one.job:
        return [_model_run_told(one, one.job)]
    if not one.store:
        return [f"project {one.project}: what the store has of it cannot be read"]
    if one.endpoint is not None:
        return [f"project {one.project}: version {one.announced} of endpoint {one.endpoint}; nothing is trained"]
    lines = [f"project {one.project}: champion {one.champion or 'none'}, announced {one.announced or 'none'}"]
    if one.deployed:
        lines.append(f"  {_deployed(one.deployed)}")
    if one.bootstrap and one.bootstrap.predicts:
        told = f"{one.bootstrap.endpoint} predicts until a version is announced, as {one.bootstrap.version}"
        lines.append(f"  bootstrap endpoint {told}")
    elif one.bootstrap:
        lines.append(f"  bootstrap endpoint {one.bootstrap.endpoint} predicts where the project's own is down")
    return lines


def _model_run_told(one: ProjectStatus, job: Json) -> str:
    """Say how a model run stands."""
    told = f"model run {_named(one)} ({job['entry']}): {job['state']}, attempt {job['attempts']}"
    version = f", {job['version']}" if job["version"] else ""
    return told + version + (f": {job['reason']}" if job["reason"] else "")


def _deployed(there: Deployed) -> str:
    """Say what an endpoint serves that versions are brought to."""
    since = f" since {there.since}" if there.since else ""
    told = f"deployed: {there.version or 'no version of this project'}{since}"
    if there.between:
        told += f"; just now {' or '.join(there.between)} answers"
    return told + (f"; the last deployment failed: {there.reason}" if there.reason else "")


def _agreed(agreed: Agreed) -> str:
    """Say how often annotators left what the announced version predicts as it was."""
    what = "1 annotation" if agreed.begun == 1 else f"{agreed.begun} annotations"
    said = f"{what} began with a prediction of {agreed.version}, {agreed.kept} kept it"
    arms = agreed.arms
    if not arms["random"].begun:
        return said
    return f"{said}: of tasks served at random {share(arms['random'])}, of the others {share(arms['ordered'])}"


def share(found: Share) -> str:
    """Write how many annotations kept a prediction, with the interval of their share."""
    if found.interval is None:
        return "none yet"
    low, high = found.interval
    return f"{found.kept} of {found.begun} ({found.kept / found.begun:.0%}, 95 % interval {low:.0%} to {high:.0%})"


def _saved(saved: Saved) -> str:
    """Say how much time pre-annotations saved, or what is lacking to know that."""
    if saved.seconds is None or saved.minutes is None:
        lacking = [
            f"{ENOUGH - there} more {which} are annotated"
            for there, which in (
                (saved.control, "tasks without a pre-annotation"),
                (saved.shown, "randomly served tasks with one"),
            )
            if there < ENOUGH
        ]
        return f"time saved: not known before {' and '.join(lacking)}"
    seconds, low, high = saved.seconds
    _, least, most = saved.minutes
    return (
        f"time saved: {seconds:.1f} s a task (95 % interval {low:.1f} to {high:.1f}; {saved.shown} with a "
        f"pre-annotation, {saved.control} without), {least:.0f} to {most:.0f} minutes over {saved.begun} annotations"
    )


def _disk(disk: Json) -> str:
    """Say what the project takes, as a worker counted it last."""
    told = ", ".join(f"{name} {in_bytes(disk[name])}" for name in ("versions", "runs", "caches"))
    return f"disk: {told}" + (f"; {in_bytes(disk['free'])} free on the worker" if disk["free"] is not None else "")


def _waiting(wait: Wait) -> str:
    """Say what a project waits for, and how long yet."""
    soon = f"{max(0, wait.until - time.time()):.0f} s"
    if wait.settings:
        return f"waiting for a worker with other settings; looked at again in {soon}"
    if not wait.away:
        return f"the last attempt failed; tried again in {soon}"
    since = datetime.fromtimestamp(wait.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"waiting for {wait.away} since {since}, tried again in {soon}"


def in_bytes(size: float) -> str:
    """Say a size: ``87 B``, ``1.2 kB``, ``45.4 MB``."""
    power = sum(size >= 1000**step for step in range(1, 5))
    return f"{size / 1000**power:.1f} {'kMGT'[power - 1]}B" if power else f"{size:.0f} B"
