"""How often annotators keep what the announced version predicts, task by task, in Redis.

Each task counts as it was read last, so that an edit replaces what was counted before; one whose annotations were all
deleted stays counted. A wiped Redis is counted anew from the version's beginning.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from labelloop.data.site import Begun, Judged
from labelloop.loop.order import Order
from labelloop.loop.redis_client import RedisClient, as_text
from labelloop.types import chunks
from labelloop.watch.agreement import Agreed

_AT_ONCE = 500

_RANDOM, _CONTROL = "random", "control"
_OTHERS, _PASSED = "o", "p"

_FORM = "2"
"""Of what is noted: of tasks that earlier releases noted nobody knows who began with another version's prediction."""


class Agreement:
    """What is counted of one project's announced version.

    Field ``t<task>`` has how many annotations began with the version's prediction and how many kept it. ``a<task>``,
    which releases before it pass over, has how a task was served, where that was at random, and the seconds of its
    annotations. ``o<task>`` says that one of them began with another version's prediction, ``p<task>`` that it was
    looked at and cannot be compared, until it changes.
    """

    def __init__(self, redis: RedisClient, key: str) -> None:
        self._redis, self._key = redis, key

    def begin(self, version: str, began: Callable[[], str]) -> tuple[str, str]:
        """Count for a version, from nothing where it is another one; gives since when, and what was ``seen`` last.

        ``began`` tells when another one began, as ``Site.judged`` takes it.
        """
        names = ["version", "form", "since", "seen"]
        stored, form, since, seen = (as_text(one or b"") for one in self._redis.hmget(self._key, names))
        if (stored, form) == (version, _FORM):
            return since, seen
        since = began()
        self._redis.delete(self._key)
        self._redis.hset(self._key, mapping={"version": version, "form": _FORM, "since": since})
        return since, ""

    def note(self, judged: Iterable[Judged], order: Order, since: str) -> None:
        """Replace what is known of these tasks."""
        for some in chunks(judged, _AT_ONCE):
            since = max(since, *(one.at for one in some))
            self._redis.hdel(self._key, *(f"{mark}{one.task}" for one in some for mark in (_OTHERS, _PASSED)))
            self._redis.hset(
                self._key, mapping={name: value for one in some for name, value in _noted(one, order).items()}
            )
        self._redis.hset(self._key, "since", since)

    def comparable(self, version: str) -> set[int]:
        """Name the annotated tasks on which ``version`` can be compared with others; none where another one is counted.

        They were served at random, with its prediction or with none, and nobody began with another version's.
        """
        found = {as_text(name): as_text(value) for name, value in self._redis.hgetall(self._key).items()}
        if found.get("version") != version:
            return set()
        tasks: dict[str, set[int]] = {mark: set() for mark in ("a", _OTHERS, _PASSED)}
        for name in found:
            if name[0] in tasks and name[1:].isdigit():
                tasks[name[0]].add(int(name[1:]))
        return tasks["a"] - tasks[_OTHERS] - tasks[_PASSED]

    def pass_by(self, tasks: Iterable[int]) -> None:
        """Leave tasks out of what can be compared, until they change."""
        for some in chunks(tasks, _AT_ONCE):
            self._redis.hset(self._key, mapping={f"{_PASSED}{task}": "1" for task in some})

    def forget(self, tasks: Iterable[int]) -> None:
        """Count some tasks no more."""
        if names := [f"{letter}{task}" for task in tasks for letter in ("t", "a", _OTHERS, _PASSED)]:
            self._redis.hdel(self._key, *names)

    def looked(self, seen: str) -> None:
        """Note what told that there was something to count, when that is done."""
        self._redis.hset(self._key, "seen", seen)

    def last_look(self) -> str:
        """Say which look was the last: of another version, or of other tasks, it is called otherwise."""
        return " ".join(as_text(one or b"") for one in self._redis.hmget(self._key, ["version", "since", "seen"]))

    def read(self) -> Agreed | None:
        """Say how annotators agree with the version that is counted for; None while none of them has said."""
        found = {as_text(name): as_text(value) for name, value in self._redis.hgetall(self._key).items()}
        counts = {name[1:]: value.split() for name, value in found.items() if name.startswith("t")}
        arms = {name[1:]: value.split() for name, value in found.items() if name.startswith("a")}
        begun, kept = _sums(counts.values())
        random, random_kept = _sums(counts[task] for task, one in arms.items() if one[0] == _RANDOM and task in counts)
        shown, control = (tuple(_seconds(arms, arm)) for arm in (_RANDOM, _CONTROL))
        return Agreed(found["version"], begun, kept, random, random_kept, shown, control) if begun or control else None


def _noted(task: Judged, order: Order) -> Mapping[str, str]:
    """Say what is noted of a task: annotations that began with another version's prediction count for nothing."""
    arm = _CONTROL if order.is_control(task.task) else order.arm(task.task)
    counted = [one.kept for one in task.begun if one.version == order.version and not _is_control(one, arm, order)]
    noted = {f"t{task.task}": f"{len(counted)} {sum(counted)}"}
    if arm in (_RANDOM, _CONTROL):
        # All of them, whether they began with the prediction or threw it away: chance chose the tasks, not people.
        taken = [f"{one.seconds:.1f}" for one in task.begun if one.seconds and one.version in ("", order.version)]
        noted[f"a{task.task}"] = " ".join((arm, *(taken if order.share else ())))
        if any(one.version not in ("", order.version) for one in task.begun):
            noted[f"{_OTHERS}{task.task}"] = "1"
    return noted


def _is_control(one: Begun, arm: str | None, order: Order) -> bool:
    """Whether an annotation began without a pre-annotation: of a task that was not served in bulk, this may be why."""
    return arm == _CONTROL or (arm is None and one.blank and order.share > 0)


def _sums(counts: Iterable[list[str]]) -> tuple[int, int]:
    pairs = [(int(begun), int(kept)) for begun, kept in counts]
    return sum(begun for begun, _ in pairs), sum(kept for _, kept in pairs)


def _seconds(arms: Mapping[str, list[str]], arm: str) -> Iterator[float]:
    for task in sorted(arms, key=int):
        if arms[task][0] == arm:
            yield from map(float, arms[task][1:])
