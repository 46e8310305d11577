"""The tasks that are predicted before all others: a sample of what waits, and of it those that annotators get next.

By the scores of the sample held-out tasks are ordered (loop/order.py), so it is drawn by chance: the tasks that wait
may be sorted by class. Where these scores are those that tasks are served by, the lowest of them come next.
"""

import hashlib
import heapq
import json
import random
from collections import Counter
from collections.abc import Callable, Generator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

from labelloop.data.site import Sampling
from labelloop.errors import EndpointError
from labelloop.loop.order import is_held_out, keep_scores
from labelloop.loop.predict import Found, Made, in_order
from labelloop.loop.prediction_stream import predict_stream
from labelloop.loop.serving import PredictionPlan
from labelloop.loop.waiting_tasks import MOST_BYTES, Waiting, bytes_of
from labelloop.types import Json

_SIZE, _SHARE, _MOST = 2000, 10, 20_000
"""Tasks of a sample: 2,000, or one in ten; masks, and texts in the tasks, fill memory sooner. What a worker answers
itself is held back up to the most: it takes no time."""

_NEXT, _NEXT_OF_MANY = 250, 50
"""Tasks that are imported before a version is announced: as many as annotators can get while the rest is. Where very
many wait, an import costs the tool seconds, and a few predictions can do without one (studio/tool.py)."""

Pair = tuple[Json, Found]
Counted = Callable[[Generator[Pair, None, None]], Generator[Pair, None, None]]
"""Counts predictions as they come."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Waiting tasks that are predicted before the ``others``, if there are any.

    A table is made of the scores of the ``drawn`` ones (their ids); None: of all.
    """

    tasks: list[Json]
    others: bool
    drawn: Set[int] | None = None


def wants_scores(plan: PredictionPlan) -> bool:
    """Whether held-out tasks are ordered, and there is no table yet, or one of few scores.

    A version that was announced before there were tables is left as it is: its tasks are in the order of their true
    scores already.
    """
    order = plan.hub.orders.find(plan.project, plan.version) if plan.ordered else None
    if order is not None:
        return order.may_grow
    return plan.ordered and plan.hub.pointer(plan.project).read().announced != plan.version


def size_of(plan: PredictionPlan, total: int) -> int:
    """Say how many of ``total`` waiting tasks are in a sample at most; of what costs no call of the endpoint, most."""
    return _MOST if plan.own is not None else min(_MOST, max(_SIZE, total // _SHARE))


def how_many(waiting: Waiting) -> int:
    """Say how many tasks are imported before a version is announced."""
    return _NEXT_OF_MANY if waiting.many else _NEXT


def choose(plan: PredictionPlan, waiting: Waiting, size: int, sampling: Sampling) -> Sample:
    """Choose a sample of ``size`` tasks at most; of very many tasks some of a few places, without a list of all."""
    return _spread(plan, waiting, sampling) or _by_chance(plan, waiting, size, sampling)


def _spread(plan: PredictionPlan, waiting: Waiting, sampling: Sampling) -> Sample | None:
    """Choose some waiting tasks without a list of all; None where that is not called for, or cannot be."""
    if plan.own is None or sampling != "uncertainty" or not waiting.many:
        return None
    chosen = [*waiting.some]
    random.Random(plan.version).shuffle(chosen)
    return Sample(chosen, others=True) if len(chosen) > _NEXT else None


def _by_chance(plan: PredictionPlan, waiting: Waiting, size: int, sampling: Sampling) -> Sample:
    """Choose some waiting tasks by chance, in an order of chance: any first part is a random sample, too.

    Who annotates 100 of a million sees the lowest scores alone, of which a small sample has none. Where tasks are
    served in sequence, the first ones come before them.
    """

    def rank(task: Json) -> int:
        digest = hashlib.sha256(f"{plan.version}\n{task['id']}".encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big")

    tasks = waiting.all()
    first = list(islice(tasks, _NEXT)) if sampling == "sequence" else []
    room = MOST_BYTES - sum(map(bytes_of, first))
    # A heap whose first is the last in rank: what has no room is dropped, and so is all that ranks behind it.
    chosen: list[tuple[int, int, int, Json]] = []
    beyond = 1 << 64
    for task in tasks:
        if (at := rank(task)) >= beyond:
            continue
        room -= (taken := bytes_of(task))
        heapq.heappush(chosen, (-at, -task["id"], taken, task))
        while chosen and (room < 0 or len(first) + len(chosen) > size):
            last, _, freed, _ = heapq.heappop(chosen)
            room, beyond = room + freed, -last
    drawn = (task for *_, task in sorted(chosen, key=lambda one: one[:2], reverse=True))
    return Sample([*first, *drawn], others=beyond < 1 << 64)


def soon_answered(plan: PredictionPlan, sample: Sample, most: int, *, scored: bool) -> Sample:
    """Leave out tasks that the endpoint would have to be asked for, but for what ``most`` lacks without them.

    Right after an import of pictures few have features yet, and a version would wait until the others are read. Those
    that have come first, and may be of few classes. So for a table, where it is ``scored``, some are asked for that
    chance chooses, whose scores alone may make it.
    """
    if plan.own is None:
        return sample
    tasks = sample.tasks
    soon = {task["id"] for task in plan.own.at_hand(tasks)}
    room = max(0, most - len(soon))
    slow = {task["id"] for task in islice((task for task in tasks if task["id"] not in soon), room)}
    drawn = None
    if scored and 2 * len(soon) < len(tasks):
        drawn = {task["id"] for task in tasks[: min(most, _NEXT_OF_MANY)]}
    wanted = soon | slow | (drawn or set())
    kept = [task for task in tasks if task["id"] in wanted]
    return Sample(kept, others=sample.others or len(kept) < len(tasks), drawn=drawn)


def predicted(
    plan: PredictionPlan, sample: Sample, counted: Counted, *, scored: bool
) -> tuple[list[Pair], EndpointError | None]:
    """Predict a sample; with ``scored``, a table of their scores is made before any of them gets its place.

    What fills memory ends it. Where the endpoint fails for good, it is of those that there are by then, and that is
    given, too.
    """
    held: list[Pair] = []
    failed, size = None, 0
    try:
        unordered = replace(plan, ordered=plan.ordered and not scored)
        with closing(counted(predict_stream(unordered, sample.tasks))) as stream:
            for pair in stream:
                held.append(pair)
                size += len(json.dumps(pair[1].prediction)) if isinstance(pair[1], Made) else 0
                if size > MOST_BYTES:
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
            if sample.drawn is None or task["id"] in sample.drawn
        ]
        hub, project = plan.hub, plan.project
        order = keep_scores(hub.store, project, version, scores, hub.settings.control_share)
        hub.orders.remember(project, version, order)
    return [(task, in_order(plan, found) if isinstance(found, Made) else found) for task, found in held], failed


def served_next(
    held: Sequence[Pair], sampling: Sampling, most: int, *, spare: bool
) -> tuple[Sequence[Pair], Sequence[Pair]]:
    """Part those that annotators get next, ``most``, from the others.

    With ``spare`` none are parted where there are few others: a few more in one import are cheaper than two imports.
    Where chance decides, any of them may be next.
    """
    if sampling == "chance":
        return held, ()

    def place(pair: Pair) -> tuple[float, int]:
        task, found = pair
        score = found.prediction.get("score", 1.0) if isinstance(found, Made) else float("inf")
        return (score if sampling == "uncertainty" else 0.0), task["id"]

    ordered = sorted(held, key=place)
    size = most if len(ordered) > most * (2 if spare else 1) else len(ordered)
    return ordered[:size], ordered[size:]
