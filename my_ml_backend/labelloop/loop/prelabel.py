"""Pre-annotation in bulk: a prediction for every task that waits for an annotator and has none of this version.

A project's tasks stream by in constant memory. Before them come as many that chance chooses as the table takes by which
held-out tasks are ordered (loop/order.py): the others may be sorted by class. Of those, the ones that annotators get
next are imported first, and then the version may be announced: nobody waits until a large project is done.
"""

import hashlib
import heapq
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice

from labelloop.data.site import Sampling, Site
from labelloop.errors import DeployError, EndpointError
from labelloop.loop import batch as batching
from labelloop.loop.endpoint_features import features_kept
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.order import Place, is_held_out, keep_scores, note_places
from labelloop.loop.own_answers import own_answers
from labelloop.loop.predict import Found, Made, in_order, note_versions
from labelloop.loop.prediction_stream import predict_stream
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import PredictionPlan, prediction_plan, serving
from labelloop.loop.watched import watching
from labelloop.types import Json, Progress, ProjectKey

_log = logging.getLogger(__name__)

_NOTED = 256
"""Predictions after which an endpoint's version is noted: ``/setup`` is to report it before the last task is done."""

_REASONS = 3

_SAMPLE, _SAMPLE_SHARE, _MOST_SAMPLE, _SAMPLE_BYTES = 2000, 10, 20_000, 64_000_000
"""Tasks whose predictions are held back until there is a table of their scores: 2,000, or one in ten; masks, and texts
in the tasks, fill memory sooner. What a worker answers itself is held back up to the most: it takes no time."""

_LISTED, _PLACES, _EACH = 5000, 8, 250
"""Of more waiting tasks than that no list is waited for where they cost no call of the endpoint: the sample is so many
tasks from each of so many places, which chance chooses."""

_NEXT, _NEXT_OF_MANY = 250, 50
"""Tasks that are imported before a version is announced: as many as annotators can get while the rest is. Where more
than ``_LISTED`` wait, an import costs the tool seconds, and a few predictions can do without one (studio/tool.py)."""

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
    part: bool = False,
) -> Prelabeled:
    """Give every unlabeled task a prediction of ``version``; repeating it adds nothing, annotations are not touched.

    None: of the version that ``/setup`` answers, by whatever serves it. Where the endpoint is down, no other one is
    asked. ``batch`` says whether a batch job predicts (loop/batch.py); None: the settings do. ``announce`` is called
    once, when the tasks that annotators get next have their predictions; where many others wait, these are left then.
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
    total = site.count_waiting(version)
    job = None if dry_run else batching.take_up(plan, site, total, report, batch)
    if isinstance(job, str):
        return Prelabeled(0, 0, job=job)
    own = own_answers(hub, project, served, plan.interface) if total else None
    plan = replace(plan, ordered=plan.ordered and not dry_run, own=own)
    with batching.answered(plan, job) as asked:
        most = _SOON if announce is not None else max(_PART, total // _PARTS) if part else None
        left = _Left(most if job is None else None)
        done = _prelabel(asked, site, report, total, announce, left, dry_run=dry_run)
    if job is not None:
        batching.close(hub, project, job, done.left_out)
    for reason in done.reasons:
        _log.warning("project %s: of %d tasks without a prediction of %s: %s", project, done.left_out, version, reason)
    return done


def _prelabel(
    plan: PredictionPlan,
    site: Site,
    report: Progress,
    total: int,
    announce: Callable[[], None] | None,
    left: "_Left",
    *,
    dry_run: bool,
) -> Prelabeled:
    """Predict what waits, and import it as it comes."""
    hub, project, version, deployed = plan.hub, plan.project, plan.version, plan.deployment
    report("tasks", 0, total)
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
            _all_predicted(plan, site, _Told(report, total), total, announced if announce else None, left)
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
    plan: PredictionPlan,
    site: Site,
    told: "_Told",
    total: int,
    announce: Callable[[], None] | None,
    later_on: _Left,
) -> Generator[tuple[Json, Found], None, None]:
    """Yield every task that waits, with its prediction; first those by which held-out ones are ordered.

    When those that annotators get next have been taken, ``announce`` is called. Where the endpoint fails for good
    before that, it never is. Others are left to ``later_on``.
    """
    done: set[int] = set()
    left = True
    scored = _wants_scores(plan)
    if scored or announce is not None:
        sampling = site.overview().sampling if announce is not None else "chance"
        size, drawn = _sample_size(plan, total), None
        if announce is None and later_on.most is not None:
            size = min(size, later_on.most)
        sample, left = _spread(plan, site, total, sampling) or _sample(plan, site, size, sampling)
        most = _NEXT_OF_MANY if total > _LISTED else _NEXT
        if announce is not None and sampling == "uncertainty":
            chosen, (sample, drawn) = sample, _soon_answered(plan, sample, most, scored=scored)
            left = left or len(sample) < len(chosen)
        held, failed = _held_back(plan, sample, told, scored=scored, drawn=drawn)
        # A few more in one import are cheaper than two imports; one by one they are not.
        first, later = served_next(held, sampling, most, spare=0 if total > _LISTED else most)
        # What comes of the sample may not be imported yet, and where masks fill memory, not all of it comes.
        done.update(task["id"] for task, _ in held)
        # What has come since says so itself.
        left = left or len(held) < len(sample)
        yield from first
        if failed is None and announce is not None:
            announce()
            unlisted = max(0, total - len(held)) if left else 0
            if later_on.takes(len(later), unlisted, cheap=plan.own is not None):
                return
        yield from later
        if failed is not None:
            raise failed
        if later_on.some:
            return
    rest = (task for task in (site.waiting(plan.version) if left else ()) if task["id"] not in done)
    taken = len(done) if announce is None else 0
    with closing(told.each(predict_stream(plan, later_on.of(rest, taken)))) as stream:
        yield from stream


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


def _wants_scores(plan: PredictionPlan) -> bool:
    """Whether held-out tasks are ordered, and there is no table yet, or one of few scores.

    A version that was announced before there were tables is left as it is: its tasks are in the order of their true
    scores already.
    """
    order = plan.hub.orders.find(plan.project, plan.version) if plan.ordered else None
    if order is not None:
        return order.may_grow
    return plan.ordered and plan.hub.pointer(plan.project).read().announced != plan.version


def _sample_size(plan: PredictionPlan, total: int) -> int:
    """Say how many of ``total`` waiting tasks are held back at most; what costs no call of the endpoint, for all."""
    return _MOST_SAMPLE if plan.own is not None else min(_MOST_SAMPLE, max(_SAMPLE, total // _SAMPLE_SHARE))


def _spread(plan: PredictionPlan, site: Site, total: int, sampling: Sampling) -> tuple[list[Json], bool] | None:
    """Choose some waiting tasks without a list of all; None where that is not called for, or cannot be."""
    if plan.own is None or sampling != "uncertainty" or total <= _LISTED:
        return None
    chosen = [*{task["id"]: task for task in site.some_waiting(plan.version, _PLACES, _EACH)}.values()]
    random.Random(plan.version).shuffle(chosen)
    return (chosen, True) if len(chosen) > _NEXT else None


def _soon_answered(
    plan: PredictionPlan, sample: list[Json], most: int, *, scored: bool
) -> tuple[list[Json], Set[int] | None]:
    """Leave out tasks that the endpoint would have to be asked for, but for what ``most`` lacks without them.

    Right after an import of pictures few have features yet, and a version would wait until the others are read. Those
    that have come first, and may be of few classes. So for a table, where it is ``scored``, some are asked for that
    chance chooses, whose scores alone may make it: their ids are given, too, and None where all may.
    """
    if plan.own is None:
        return sample, None
    soon = {task["id"] for task in plan.own.at_hand(sample)}
    room = max(0, most - len(soon))
    slow = {task["id"] for task in islice((task for task in sample if task["id"] not in soon), room)}
    drawn = None
    if scored and 2 * len(soon) < len(sample):
        drawn = {task["id"] for task in sample[: min(most, _NEXT_OF_MANY)]}
    wanted = soon | slow | (drawn or set())
    return [task for task in sample if task["id"] in wanted], drawn


def _sample(plan: PredictionPlan, site: Site, size: int, sampling: Sampling) -> tuple[list[Json], bool]:
    """Choose some waiting tasks by chance, in an order of chance: any first part is a random sample, too.

    Who annotates 100 of a million sees the lowest scores alone, of which a small sample has none. Where tasks are
    served in sequence, the first ones come before them. Says, too, whether there are others.
    """

    def rank(task: Json) -> int:
        digest = hashlib.sha256(f"{plan.version}\n{task['id']}".encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big")

    waiting = site.waiting(plan.version)
    first = list(islice(waiting, _NEXT)) if sampling == "sequence" else []
    room = _SAMPLE_BYTES - sum(map(_bytes_of, first))
    # The last rank comes first: what has no room goes, and so does all that would have come behind it.
    chosen: list[tuple[int, int, int, Json]] = []
    beyond = 1 << 64
    for task in waiting:
        if (at := rank(task)) >= beyond:
            continue
        room -= (taken := _bytes_of(task))
        heapq.heappush(chosen, (-at, -task["id"], taken, task))
        while chosen and (room < 0 or len(first) + len(chosen) > size):
            last, _, freed, _ = heapq.heappop(chosen)
            room, beyond = room + freed, -last
    return [*first, *(task for *_, task in sorted(chosen, key=lambda one: one[:2], reverse=True))], beyond < 1 << 64


def _bytes_of(task: Json) -> int:
    return len(json.dumps(task))


def _held_back(
    plan: PredictionPlan, sample: Sequence[Json], told: "_Told", *, scored: bool, drawn: Set[int] | None
) -> tuple[list[tuple[Json, Found]], EndpointError | None]:
    """Predict tasks; with ``scored``, a table of their scores is made before any of them gets its place.

    Of the scores of ``drawn`` tasks, where these are named.

    Where the endpoint fails for good, it is of those that there are by then, and that is given, too.
    """
    held: list[tuple[Json, Found]] = []
    failed, size = None, 0
    try:
        with closing(told.each(predict_stream(replace(plan, ordered=plan.ordered and not scored), sample))) as stream:
            for pair in stream:
                held.append(pair)
                size += len(json.dumps(pair[1].prediction)) if isinstance(pair[1], Made) else 0
                if size > _SAMPLE_BYTES:
                    break
    except EndpointError as error:
        failed = error
    if not scored:
        return held, failed
    made = [found for _, found in held if isinstance(found, Made)]
    if made or failed is None:
        # Where nothing waits yet, what comes later is ordered all the same.
        version = Counter([*(one.version for one in made), plan.version]).most_common(1)[0][0]
        scores = [
            one.prediction["score"]
            for task, one in held
            if isinstance(one, Made) and one.version == version and not is_held_out(one.content)
            if drawn is None or task["id"] in drawn
        ]
        hub, project = plan.hub, plan.project
        order = keep_scores(hub.store, project, version, scores, hub.settings.control_share)
        hub.orders.remember(project, version, order)
    return [(task, in_order(plan, found) if isinstance(found, Made) else found) for task, found in held], failed


def served_next(
    held: Sequence[tuple[Json, Found]], sampling: Sampling, most: int, spare: int
) -> tuple[Sequence[tuple[Json, Found]], Sequence[tuple[Json, Found]]]:
    """Part those that annotators get next, ``most``, from the others, if these are more than ``spare``.

    Where chance decides, any of them may be next.
    """
    if sampling == "chance":
        return held, ()

    def place(pair: tuple[Json, Found]) -> tuple[float, int]:
        task, found = pair
        score = found.prediction.get("score", 1.0) if isinstance(found, Made) else float("inf")
        return (score if sampling == "uncertainty" else 0.0), task["id"]

    ordered = sorted(held, key=place)
    size = most if len(ordered) > most + spare else len(ordered)
    return ordered[:size], ordered[size:]
