"""How the loop stands, for Prometheus: gathered by the sweep, kept in Redis, told by whichever web process is asked.

No scrape waits for the store: what lies there is read by the sweep, and anew only where it has changed. Redis is asked
at most once in a few seconds, however many ask. Model runs of Labelbox are not told of: there is no end to them.
"""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric

from labelloop.errors import LabelLoopError, QueueError
from labelloop.loop.agreement import Agreement
from labelloop.loop.deploy import deployment_of
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import why_gone
from labelloop.loop.queue import count_jobs, count_workers
from labelloop.loop.redis_client import GAUGES, as_text, key_of
from labelloop.models.champion import Pointers
from labelloop.models.headline import ACCURACY, headline
from labelloop.types import Json, ProjectKey
from labelloop.watch.agreement import Share

_log = logging.getLogger(__name__)

_FRESH_SECONDS = 5.0
"""How long one answer of Redis is good for several scrapes."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the sweep found of one project; moments are Unix seconds, None and empty where there is nothing to tell.

    ``measures`` maps a figure of the champion to its value, low and high end. ``runs`` maps the key of each run to its
    state. ``last`` names the run that was saved last, and when; ``failed`` and the seconds of its ``stages`` are of
    that one. ``succeeded`` is when a run came to its verdict last. ``agreed`` is how many annotations began with a
    prediction of the announced version, and how many kept it, as of the look that is ``counted``.
    ``deployment_failed`` is None where nothing is brought to an endpoint.
    """

    champion: str = ""
    announced: str = ""
    measures: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)
    last: str = ""
    failed: bool = False
    succeeded: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    agreed: Sequence[int] = ()
    counted: str = ""
    drift: bool = False
    deployment_failed: bool | None = None

    @classmethod
    def parse(cls, content: str) -> "Gauges":
        """Read what a sweep kept; what a newer release tells beside is passed over."""
        found, known = json.loads(content), {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in found.items() if name in known})


def keep_gauges(hub: Hub, projects: Iterable[ProjectKey]) -> None:
    """Look how projects stand, and keep it for who asks; those that are not among them are forgotten.

    What goes wrong with one is logged, and what was known of it stays. Raises QueueError.
    """
    kept = {as_text(name): as_text(content) for name, content in hub.redis.hgetall(GAUGES).items()}
    there = [project for project in projects if not why_gone(hub, project)]
    for project in there:
        try:
            found = _gathered(hub, project, Gauges.parse(kept.get(str(project), "{}")))
            hub.redis.hset(GAUGES, str(project), json.dumps(asdict(found)))
        except QueueError:
            raise
        except LabelLoopError as error:
            _log.warning("project %s: how it stands is not told to who watches: %s", project, error)
        except Exception:  # noqa: BLE001 - border: the other projects are to be told of
            _log.exception("project %s: how it stands is not told to who watches", project)
    if gone := kept.keys() - {str(project) for project in there}:
        hub.redis.hdel(GAUGES, *gone)


def _gathered(hub: Hub, project: ProjectKey, before: Gauges) -> Gauges:
    """Read what is not known yet: of runs and versions only what has changed since the sweep before."""
    pointers = hub.pointer(project).read()
    state, deployment = hub.state(project), deployment_of(hub, project)
    found = _with_agreement(state.agreement, pointers.announced, _with_runs(hub, project, before))
    return replace(
        found,
        champion=pointers.champion or "",
        announced=pointers.announced or "",
        measures=before.measures if pointers.champion == before.champion else _measured(hub, project, pointers),
        drift="drift" in state.notes(),
        deployment_failed=None if deployment is None else deployment.stage == "failed",
    )


def _with_agreement(agreement: Agreement, announced: str | None, before: Gauges) -> Gauges:
    counted = f"{announced} {agreement.last_look()}"
    if counted == before.counted:
        return before
    found = agreement.read()
    told = found is not None and found.begun and found.version == announced
    return replace(before, counted=counted, agreed=(found.begun, found.kept) if found is not None and told else ())


def _with_runs(hub: Hub, project: ProjectKey, before: Gauges) -> Gauges:
    runs = hub.runs(project)
    latest = runs.latest()
    if latest is None:
        return before
    moment = f"{latest.key} {latest.updated}"
    if moment == before.last:
        return before
    names = set(runs.names())
    known = {key: state for key, state in before.runs.items() if key in names and state not in ("running", "waiting")}
    read = [runs.find(key) for key in names if key not in known and key != latest.key]
    found = known | {one.key: one.state for one in (*read, latest) if one is not None}
    judged = [one.updated for one in (*read, latest) if one is not None and one.judged]
    succeeded = max([datetime.fromisoformat(at).timestamp() for at in judged], default=0.0)
    return replace(
        before,
        runs=found,
        last=moment,
        failed=latest.state == "failed",
        succeeded=max(succeeded, before.succeeded or 0.0) or None,
        stages=dict(latest.seconds),
    )


def _measured(hub: Hub, project: ProjectKey, pointers: Pointers) -> dict[str, Sequence[float | None]]:
    """Give the champion's figures on the test side, its kind's main figure first."""
    record = hub.versions(project).find(pointers.champion) if pointers.champion else None
    measured = (record.metrics.get("test") or {}) if record else {}
    name, main = headline(measured)
    told: dict[str, Json] = {name: main, ACCURACY: measured.get(ACCURACY) or {}}
    told["macro_f1"] = (measured.get("macro") or {}).get("f1") or {}
    return {
        name: [figure.get(end) for end in ("value", "low", "high")]
        for name, figure in told.items()
        if figure.get("value") is not None
    }


class OfLoop:
    """What all web processes tell alike: queue, workers and projects. Safe to share between threads."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asking = threading.Lock()
        self._told: list[Metric] = []
        self._until = float("-inf")

    def collect(self) -> Iterator[Metric]:
        """Ask Redis, or repeat what it answered a moment ago; one that is away is told, and nothing else."""
        with self._asking:
            if time.monotonic() >= self._until:
                try:
                    self._told = [_single("redis_up", "1 where Redis answers.", 1), *self._asked()]
                except QueueError:
                    self._told = [_single("redis_up", "1 where Redis answers.", 0)]
                self._until = time.monotonic() + _FRESH_SECONDS
            yield from self._told

    def _asked(self) -> Iterator[Metric]:
        redis = self._hub.redis
        kept = {
            ProjectKey.parse(as_text(name)): Gauges.parse(as_text(found))
            for name, found in redis.hgetall(GAUGES).items()
        }
        with redis.pipeline(transaction=False) as pipe:
            for project in kept:
                pipe.zcard(key_of(project, "changed"))
                pipe.get(key_of(project, "swept"))
            answers = pipe.execute()
        # By its number alone: of one that has moved to another address, the later one.
        known = {
            str(project.id): (found, int(changed), swept and float(swept))
            for (project, found), changed, swept in zip(kept.items(), answers[::2], answers[1::2], strict=True)
        }
        yield from told(known, count_jobs(redis), count_workers(redis))


Known = Mapping[str, tuple[Gauges, int, float | None]]
"""By a project's number: what the sweep found, how many changed labels wait, when it was swept last."""


def told(known: Known, jobs: Mapping[tuple[str, str], int], workers: int) -> Iterator[Metric]:
    """Write what is known as Prometheus takes it; ``jobs`` are counted by queue and state."""
    waiting = _family("queue_jobs", "Jobs of a queue, by their state.", "queue", "state")
    for (queue, state), count in jobs.items():
        waiting.add_metric([queue, state], count)
    yield waiting
    yield _single("workers", "Workers that Redis has heard of lately.", workers)
    gauges = {number: found for number, (found, _, _) in known.items()}
    yield _each(
        "changed_labels",
        "Labels that changed since the last manifest.",
        {number: changed for number, (_, changed, _) in known.items()},
    )
    yield _each(
        "swept_timestamp_seconds",
        "When a sweep last looked at the project.",
        {number: swept for number, (_, _, swept) in known.items()},
    )
    yield _each(
        "last_run_failed",
        "1 where the last run has failed.",
        {number: one.failed for number, one in gauges.items() if one.last},
    )
    yield _each(
        "last_success_timestamp_seconds",
        "When a run came to its verdict last.",
        {number: one.succeeded for number, one in gauges.items()},
    )
    yield _each("drift", "1 while predictions drift.", {number: one.drift for number, one in gauges.items()})
    yield _each(
        "deployment_failed",
        "1 where the champion could not be brought to its endpoint.",
        {number: one.deployment_failed for number, one in gauges.items()},
    )
    yield from _of_runs(gauges)
    yield from _of_champions(gauges)
    yield from _of_agreement(gauges)


def _of_runs(gauges: Mapping[str, Gauges]) -> Iterator[Metric]:
    runs = _family("runs", "Runs of the project, by how they stand.", "project", "state")
    stages = _family("run_stage_seconds", "What each stage of the last run took.", "project", "stage")
    for number, one in gauges.items():
        for state, count in Counter(one.runs.values()).items():
            runs.add_metric([number, state], count)
        for stage, seconds in one.stages.items():
            stages.add_metric([number, stage], seconds)
    yield runs
    yield stages


def _of_champions(gauges: Mapping[str, Gauges]) -> Iterator[Metric]:
    crowned = {number: one for number, one in gauges.items() if one.champion}
    info = _family("champion_info", "Which version is champion.", "project", "version")
    ends = {
        "": _family("champion_measure", "The champion's figures on its test side.", "project", "measure"),
        "_low": _family("champion_measure_low", "Low end of their 95 % interval.", "project", "measure"),
        "_high": _family("champion_measure_high", "High end of their 95 % interval.", "project", "measure"),
    }
    for number, one in crowned.items():
        info.add_metric([number, one.champion], 1)
        for measure, figures in one.measures.items():
            for family, value in zip(ends.values(), figures, strict=True):
                if value is not None:
                    family.add_metric([number, measure], value)
    yield info
    yield _each(
        "champion_announced",
        "1 where Label Studio is told of the champion.",
        {number: one.champion == one.announced for number, one in crowned.items()},
    )
    yield from ends.values()


def _of_agreement(gauges: Mapping[str, Gauges]) -> Iterator[Metric]:
    shares = {number: Share.of(*one.agreed) for number, one in gauges.items() if one.agreed}
    yield _each(
        "agreement_ratio",
        "Share of annotations that kept what the announced version predicts.",
        {number: share.kept / share.begun for number, share in shares.items()},
    )
    for at, end in enumerate(("low", "high")):
        found = {number: share.interval[at] for number, share in shares.items() if share.interval}
        yield _each(f"agreement_ratio_{end}", f"{end.capitalize()} end of its 95 % interval.", found)
    yield _each(
        "agreement_annotations",
        "Annotations that began with a prediction of the announced version.",
        {number: share.begun for number, share in shares.items()},
    )


def _family(name: str, help: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"labelloop_{name}", help, labels=labels)


def _single(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"labelloop_{name}", help, value)


def _each(name: str, help: str, values: Mapping[str, float | None]) -> Metric:
    """Tell one number of each project; None is none."""
    family = _family(name, help, "project")
    for number, value in values.items():
        if value is not None:
            family.add_metric([number], float(value))
    return family
