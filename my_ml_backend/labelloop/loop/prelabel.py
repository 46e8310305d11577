"""Pre-annotation in bulk: a prediction for every task that waits for an annotator and has none of this version.

A project's tasks stream by in constant memory. Before them comes a sample (loop/next_tasks.py). Of that, the ones that
annotators get next are imported first, and then the version may be announced: nobody waits until a large project is
done.
"""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice

from labelloop.data.site import Site
from labelloop.errors import DeployError
from labelloop.loop import batch as batching
from labelloop.loop import next_tasks
from labelloop.loop.endpoint_features import features_kept
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.next_tasks import Pair
from labelloop.loop.order import Place, note_places
from labelloop.loop.own_answers import own_answers
from labelloop.loop.predict import Found, Made, note_versions
from labelloop.loop.prediction_stream import predict_stream
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import PredictionPlan, prediction_plan, serving
from labelloop.loop.waiting_tasks import EarlyLook, Waiting
from labelloop.loop.watched import watching
from labelloop.types import Json, Progress, ProjectKey

_log = logging.getLogger(__name__)

_NOTED = 256
"""Predictions after which an endpoint's version is noted: ``/setup`` is to report it before the last task is done."""

_REASONS = 3

_PART, _PARTS = 1000, 20
"""Tasks of a part at least, and into how many parts more are cut: an import costs as much as the project is large."""

_SOON = 1000
"""Others that may be imported right after that: where there are more, all of them come later."""


@dataclass(frozen=True, slots=True)
class Prelabeled:
    """How many tasks have got a prediction, how many could not be given one, and why: the first few reasons.

    While a batch job is at it nothing is predicted here, and ``job`` says so: whoever asks again gets its answers.
    ``importing`` is for how many seconds the tool was at taking them in; ``more`` says that tasks wait that were left
    for later.
    """

    predicted: int
    left_out: int
    reasons: tuple[str, ...] = ()
    job: str = ""
    importing: float = field(default=0.0, compare=False)
    more: bool = False


def prelabel(
    hub: Hub,
    project: ProjectKey,
    version: str | None,
    report: Progress,
    *,
    dry_run: bool = False,
    batch: bool | None = None,
    announce: Callable[[], None] | None = None,
    look: EarlyLook | None = None,
    part: bool = False,
) -> Prelabeled:
    """Give every unlabeled task a prediction of ``version``; repeating it adds nothing, annotations are not touched.

    None: of the version that ``/setup`` answers, by whatever serves it. Where the endpoint is down, no other one is
    asked. ``batch`` says whether a batch job predicts (loop/batch.py); None: the settings do. ``announce`` is called
    once, when the tasks that annotators get next have their predictions; where many others wait, these are left then.
    ``look`` is at what waited while the version was made.
    Without it, only a ``part`` of what waits is predicted where that is asked for. What a batch job has answered is
    never left.

    Raises DeployError where the endpoint answers with another version, EndpointError when it fails as a whole,
    StudioError when Label Studio does; what was predicted before that is imported, and the next call goes on from
    there.
    """
    served = serving(hub, project, version)
    site = site_of(hub, project.id)
    plan = prediction_plan(hub, project, served, site.interface(served.subject))
    version = served.version
    deployed = plan.deployment
    if deployed.brought and not deployed.serves(version):
        raise DeployError(
            f"project {project.id} cannot be pre-annotated with {version}: its endpoint answers as "
            f"{deployed.answers or 'no version of this project'}"
        )
    waiting = (look and look.found(version)) or Waiting(site, version)
    total = waiting.total
    job = None if dry_run else batching.take_up(plan, site, total, report, batch)
    if isinstance(job, str):
        return Prelabeled(0, 0, job=job)
    own = own_answers(hub, project, served, plan.interface) if total else None
    plan = replace(plan, ordered=plan.ordered and not dry_run, own=own)
    with batching.answered(plan, job) as asked:
        most = _SOON if announce is not None else max(_PART, total // _PARTS) if part else None
        left = _Left(most if job is None else None)
        done = _prelabel(asked, site, waiting, report, announce, left, dry_run=dry_run)
    if job is not None:
        batching.close(hub, project, job, done.left_out)
    for reason in done.reasons:
        _log.warning("project %s: of %d tasks without a prediction of %s: %s", project, done.left_out, version, reason)
    return done


def _prelabel(
    plan: PredictionPlan,
    site: Site,
    waiting: Waiting,
    report: Progress,
    announce: Callable[[], None] | None,
    left: "_Left",
    *,
    dry_run: bool,
) -> Prelabeled:
    """Predict what waits, and import it as it comes."""
    hub, project, version, deployed = plan.hub, plan.project, plan.version, plan.deployment
    report("tasks", 0, waiting.total)
    predicted = left_out = 0
    reasons: dict[str, None] = {}
    latest: Counter[str] = Counter()
    places = _Places(hub, project)

    def announced() -> None:
        if imports is not None:
            imports.flush()
        if announce is not None:
            announce()

    # Closed first, whatever ends this: nothing is predicted any more while the rest is imported.
    with (
        nullcontext() if dry_run else watching(hub),
        nullcontext() if dry_run else Imports(site, project, places.keep) as imports,
        features_kept(hub, project, plan.interface) as note_shown,
        closing(
            _all_predicted(plan, waiting, _Told(report, waiting.total), announced if announce else None, left)
        ) as stream,
    ):
        for task, found in stream:
            if isinstance(found, Made):
                if deployed.brought and found.version != version:
                    raise DeployError(
                        f"the endpoint answers as {found.version}, and {version} is to serve there: have the "
                        "model name the version that it was deployed as, or none"
                    )
                predicted += 1
                latest[found.version] += 1
                note_shown(task, found.content)
                if imports is not None:
                    places.add(task["id"], found)
                    imports.add(task["id"], found.prediction)
            else:
                left_out += 1
                if len(reasons) < _REASONS:
                    reasons[found.reason] = None
            # The first one too: when this is killed after an import, the next start has to know what was imported.
            if predicted == 1 or latest.total() >= _NOTED:
                plan, latest = replace(plan, version=note_versions(plan, latest.elements())), Counter()
    note_versions(plan, latest.elements())
    importing = 0.0 if imports is None else imports.seconds
    return Prelabeled(predicted, left_out, tuple(reasons), importing=importing, more=left.some)


class _Left:
    """What is left for later: of tasks beyond ``most`` (None: of no number) ``some``."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.some = False

    def takes(self, later: int, unlisted: int, *, cheap: bool) -> bool:
        """Whether those predicted ``later``, and the ``unlisted`` ones, are too many to be imported at once.

        Answers that were not ``cheap`` are imported all the same.
        """
        self.some = self.most is not None and later * cheap + unlisted > self.most
        return self.some and cheap

    def of(self, tasks: Iterator[Json], taken: int) -> Iterator[Json]:
        """Give the first ones, as many as are not ``taken`` yet, and see whether there are others."""
        yield from islice(tasks, None if self.most is None else max(0, self.most - taken))
        self.some = self.some or next(tasks, None) is not None


class _Places:
    """The places of predictions that are not imported yet."""

    def __init__(self, hub: Hub, project: ProjectKey) -> None:
        self._hub, self._project = hub, project
        self._places: dict[int, tuple[str, Place]] = {}

    def add(self, task: int, made: Made) -> None:
        """Take one in."""
        if made.place is not None:
            self._places[task] = made.version, made.place

    def keep(self, tasks: Sequence[int]) -> None:
        """Keep, with their versions, those of tasks that are imported now. Raises StoreError."""
        known = [(task, *self._places[task]) for task in tasks if task in self._places]
        for version in {version for _, version, _ in known}:
            placed = [(task, place) for task, by, place in known if by == version]
            note_places(self._hub.store, self._project, version, placed)
        # Not before: where the store fails, it is asked again at the end, and nothing is imported that is not kept.
        for task, _, _ in known:
            del self._places[task]


def _all_predicted(
    plan: PredictionPlan, waiting: Waiting, told: "_Told", announce: Callable[[], None] | None, left: _Left
) -> Generator[Pair, None, None]:
    """Yield every task that waits, with its prediction; first a sample, where one is called for.

    ``announce`` is called as ``_sample_predicted`` says; others are left for later as ``left`` does.
    """
    done, others = frozenset[int](), True
    scored = next_tasks.wants_scores(plan)
    if scored or announce is not None:
        done, others = yield from _sample_predicted(plan, waiting, told, announce, left, scored=scored)
        if left.some:
            return
    rest = (task for task in (waiting.now() if others else ()) if task["id"] not in done)
    taken = len(done) if announce is None else 0
    with closing(told.each(predict_stream(plan, left.of(rest, taken)))) as stream:
        yield from stream


def _sample_predicted(
    plan: PredictionPlan,
    waiting: Waiting,
    told: "_Told",
    announce: Callable[[], None] | None,
    left: _Left,
    *,
    scored: bool,
) -> Generator[Pair, None, tuple[frozenset[int], bool]]:
    """Yield a sample with its predictions, and return which tasks these are, and whether others wait.

    When those that annotators get next have been taken, ``announce`` is called. Where the endpoint fails for good
    before that, it never is.
    """
    sampling = waiting.sampling if announce is not None else "chance"
    most = next_tasks.how_many(waiting)
    size = next_tasks.size_of(plan, waiting.total)
    if announce is None and left.most is not None:
        size = min(size, left.most)
    sample = next_tasks.choose(plan, waiting, size, sampling)
    if announce is not None and sampling == "uncertainty":
        sample = next_tasks.soon_answered(plan, sample, most, scored=scored)
    held, failed = next_tasks.predicted(plan, sample, told.each, scored=scored)
    # One by one, each costs as much as any other.
    first, later = next_tasks.served_next(held, sampling, most, spare=not waiting.many)
    # What comes of the sample may not be imported yet, and where masks fill memory, not all of it comes.
    done = frozenset(task["id"] for task, _ in held)
    # What has come since says so itself.
    others = sample.others or len(held) < len(sample.tasks)
    yield from first
    if failed is None and announce is not None:
        announce()
        unlisted = max(0, waiting.total - len(held)) if others else 0
        if left.takes(len(later), unlisted, cheap=plan.own is not None):
            return done, others
    yield from later
    if failed is not None:
        raise failed
    return done, others


class _Told:
    """Tells how many tasks were predicted."""

    def __init__(self, report: Progress, total: int) -> None:
        self._report, self._total = report, total
        self._done = 0

    def each(self, stream: Generator[tuple[Json, Found], None, None]) -> Generator[tuple[Json, Found], None, None]:
        """Count what comes."""
        with closing(stream):
            for pair in stream:
                self._done += 1
                self._report("tasks", self._done, self._total if self._done <= self._total else 0)
                yield pair
