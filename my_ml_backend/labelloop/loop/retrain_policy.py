"""When a project is due for a run: the labels changed so far, kept in Redis, and pure rules over them.

A label that changes twice is one changed label, and a repeated webhook changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from redis.client import Pipeline

from labelloop.loop.redis_client import RedisClient, as_text
from labelloop.settings import Settings
from labelloop.types import chunks

DAY_SECONDS = 24 * 3600.0

LOOK_AHEAD = 0.5
"""Seconds before a run for changed labels is due, in which it is looked at whether these have changed: the run need not
wait for that then."""

_AT_ONCE = 10_000
"""Names in one command: Redis 6 takes 524,287 at most, and answers nobody else while it works through them."""

# KEYS[1] the changed labels, ARGV[1] a moment (Unix seconds), the rest names. Removes those unchanged since then.
_REMOVE = """
for at = 2, #ARGV do
  local changed = redis.call('zscore', KEYS[1], ARGV[at])
  if changed and tonumber(changed) <= tonumber(ARGV[1]) then redis.call('zrem', KEYS[1], ARGV[at]) end
end
"""

# KEYS[1] the changed labels, ARGV[1] a moment, ARGV[2] how many at most. Removes those unchanged since, gives how many.
_SETTLE = """
local settled = math.min(redis.call('zcount', KEYS[1], '-inf', ARGV[1]), tonumber(ARGV[2]))
if settled > 0 then redis.call('zremrangebyrank', KEYS[1], 0, settled - 1) end
return settled
"""


# KEYS[1] the changed labels, ARGV[1] now, ARGV[2] the moment of the last manifest, then of each task: its name, 1 where
# it has changed, how many annotations it has, their names. What annotations were noted for is noted for their task.
_COMPARE = """
local now, manifest, at = tonumber(ARGV[1]), tonumber(ARGV[2]), 3
while at <= #ARGV do
  local task, changed, last = ARGV[at], ARGV[at + 1], at + 2 + tonumber(ARGV[at + 2])
  local noted = tonumber(redis.call('zscore', KEYS[1], task) or 0)
  local moment = noted
  for one = at + 3, last do
    local label = tonumber(redis.call('zscore', KEYS[1], ARGV[one]) or 0)
    if label > 0 and label <= now then
      moment = math.max(moment, label)
      redis.call('zrem', KEYS[1], ARGV[one])
    end
  end
  if changed == '0' then
    if noted > 0 and noted <= now then redis.call('zrem', KEYS[1], task) end
  elseif moment <= manifest then
    redis.call('zadd', KEYS[1], ARGV[1], task)
  elseif moment > noted then
    redis.call('zadd', KEYS[1], string.format('%.17g', moment), task)
  end
  at = last + 1
end
"""

# KEYS[1] the changed labels, ARGV names, each followed by a moment (Unix seconds). A later moment stays.
_NOTE = """
for at = 1, #ARGV, 2 do
  local noted = redis.call('zscore', KEYS[1], ARGV[at])
  if not noted or tonumber(noted) < tonumber(ARGV[at + 1]) then redis.call('zadd', KEYS[1], ARGV[at + 1], ARGV[at]) end
end
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """The labels changed since the last manifest: how many, and the first and last moment (Unix seconds)."""

    changed: int = 0
    first: float = 0.0
    last: float = 0.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A run: when it began (Unix seconds), and for how many seconds it trained."""

    began: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Why no run begins by itself, and ``until`` when (Unix seconds): of ``limit``, so much is ``used``.

    Seconds since the last run (``cool-down``), ``runs`` of the last 24 hours, ``seconds`` of training in them, or
    seconds since predictions were imported last (``imports``).
    """

    until: float
    what: Literal["cool-down", "runs", "seconds", "imports"]
    used: float
    limit: float

    def __str__(self) -> str:
        return {
            "cool-down": f"the last run was {duration(self.used)} ago, of a cool-down of {duration(self.limit)}",
            "runs": f"{self.used:.0f} of {self.limit:.0f} runs were begun in the last 24 hours",
            "seconds": f"{duration(self.used)} of {duration(self.limit)} were trained in the last 24 hours",
            "imports": f"predictions were imported {duration(self.used)} ago, and Label Studio is left alone for "
            f"{duration(self.limit)}: imports take a tenth of its time at most",
        }[self.what]


def duration(seconds: float) -> str:
    """Write a duration for people: seconds up to two minutes, minutes up to two hours, then hours."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200)):
        if seconds < most:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, slots=True)
class Imported:
    """Predictions of a version that was announced: when that ended (Unix seconds), and how many seconds it took."""

    ended: float
    seconds: float


_IMPORT_SHARE = 0.1
"""Of the time, what predictions may be imported in."""

PAUSE = 1 / _IMPORT_SHARE - 1
"""Seconds for which nothing is imported, for each second that an import took."""

_NO_TIME = 1.0
"""Seconds of importing that hold nothing: a small project's next version is welcome."""


@dataclass(frozen=True, slots=True)
class RetrainPolicy:
    """Retrain after ``retrain_after`` changed labels and ``quiet`` seconds, or ``max_wait`` seconds after the first.

    The first version needs ``min_labels``. A failing run is tried ``run_attempts`` times, ``retry_seconds`` after the
    first failure. No run begins by itself within ``cool_down`` seconds after the last one, nor while ``runs_a_day``
    were begun, or trained for ``training_seconds_a_day``, in the last 24 hours; each 0: no such limit. A challenger
    takes ``challenger_after`` new labels at least.
    """

    retrain_after: int
    quiet: float
    max_wait: float
    min_labels: int = 0
    run_attempts: int = 3
    retry_seconds: float = 60.0
    cool_down: float = 0.0
    runs_a_day: int = 0
    training_seconds_a_day: float = 0.0
    challenger_after: int = 20

    @classmethod
    def of(cls, settings: Settings, *, quick: bool = False) -> "RetrainPolicy":
        """Take the rule from the settings; ``quick`` is a project whose runs take seconds."""
        return cls(
            settings.head_retrain_after if quick else settings.retrain_after,
            settings.head_quiet_seconds if quick else settings.quiet_seconds,
            settings.max_wait_seconds,
            cool_down=settings.cool_down_seconds,
            challenger_after=settings.retrain_after,
            **{name: getattr(settings, name) for name in _NAMED if name not in ("cool_down", "challenger_after")},
        )

    @classmethod
    def parse(cls, text: str) -> "RetrainPolicy | None":
        """Read ``str()`` of a policy back, of an earlier or a later release, too; None for anything else."""
        found = text.split()
        named = dict(word.split("=", 1) for word in found[4:] if "=" in word)
        try:
            more = {name: kind(named[name]) for name, kind in _NAMED.items() if name in named}
            return cls(int(found[0]), float(found[1]), float(found[2]), **{"min_labels": int(found[3]), **more})
        except (ValueError, IndexError):
            return None

    def __str__(self) -> str:
        # The first four as every release reads them; what they do not know they pass over.
        named = " ".join(f"{name}={getattr(self, name)}" for name in _NAMED if name != "min_labels")
        return f"{self.retrain_after} {self.quiet} {self.max_wait} {self.min_labels} {named}"

    def wanted(self, *, lacking: bool = False) -> int:
        """Say how many changed labels call for a run; of a project ``lacking`` labels for a first version, any."""
        return 1 if lacking else self.retrain_after

    def needed(self, *, first: bool) -> int:
        """Say how many labels are to come: changed ones for a run, or all that the ``first`` one needs."""
        return self.min_labels if first else self.retrain_after

    def due(self, pending: Pending, *, lacking: bool = False) -> float | None:
        """Say at which moment (Unix seconds) a run is due, given no further change; None while nothing has changed.

        A project ``lacking`` labels for a first version is due after any change.
        """
        if pending.changed == 0:
            return None
        latest = pending.first + self.max_wait
        if pending.changed < self.wanted(lacking=lacking):
            return latest
        return min(pending.last + self.quiet, latest)

    @property
    def has_budget(self) -> bool:
        """Whether it goes by the runs of the last day."""
        return bool(self.runs_a_day or self.training_seconds_a_day)

    def held(self, ran: Sequence[Ran], last: float | None, now: float, imported: Imported | None = None) -> Hold | None:
        """Say until when no run may begin by itself, and why; None where one may.

        ``ran`` are the runs of the last day, ``last`` is when the last run ended (Unix seconds; None: never),
        ``imported`` what was imported last.
        """
        found = [*self._spent(ran, now)]
        if imported is not None and imported.seconds >= _NO_TIME:
            pause = imported.seconds * PAUSE
            # A moment that is yet to come was noted before the clock was set back.
            if imported.ended <= now < imported.ended + pause:
                found.append(Hold(imported.ended + pause, "imports", now - imported.ended, pause))
        if last is not None and last + self.cool_down > now:
            found.append(Hold(last + self.cool_down, "cool-down", now - last, self.cool_down))
        return max(found, key=lambda hold: hold.until, default=None)

    def _spent(self, ran: Sequence[Ran], now: float) -> Iterator[Hold]:
        """Say what of the budget is spent: a run counts for 24 hours from its beginning on."""
        today = sorted((run for run in ran if run.began + DAY_SECONDS > now), key=lambda run: run.began)
        if self.runs_a_day and len(today) >= self.runs_a_day:
            yield Hold(today[-self.runs_a_day].began + DAY_SECONDS, "runs", len(today), self.runs_a_day)
        left = [sum(run.seconds for run in today[at:]) for at in range(len(today))]
        over = [run for run, spent in zip(today, left, strict=True) if spent >= self.training_seconds_a_day]
        if self.training_seconds_a_day and over:
            yield Hold(over[-1].began + DAY_SECONDS, "seconds", left[0], self.training_seconds_a_day)


_NAMED: dict[str, Callable[[str], Any]] = {
    "min_labels": int,
    "run_attempts": int,
    "retry_seconds": float,
    "cool_down": float,
    "runs_a_day": int,
    "training_seconds_a_day": float,
    "challenger_after": int,
}
"""Fields that are written with their names, and what reads them."""


class Changes:
    """The changed labels of one project, under one key; found at ``ProjectState.changes``."""

    def __init__(self, redis: RedisClient, key: str) -> None:
        self._redis, self._key = redis, key

    def add(self, what: Iterable[str], now: float) -> None:
        """Note changed labels, each named by its annotation (``a7``) or its task (``t7``)."""
        for names in chunks(what, _AT_ONCE):
            self._redis.zadd(self._key, dict.fromkeys(names, now))

    def note(self, moments: Mapping[str, float]) -> None:
        """Note changed labels, each at its own moment; one that is noted later already stays as it is."""
        for some in chunks(moments.items(), _AT_ONCE // 2):
            self._redis.eval(_NOTE, 1, self._key, *chain.from_iterable((name, repr(at)) for name, at in some))

    def compare(self, tasks: Iterable[tuple[int, bool, Iterable[int]]], now: float, manifest: float) -> None:
        """Note tasks that a look, begun ``now``, compared with a manifest of a moment: which, whether changed, labels.

        What is noted of their annotations (by number) is noted of the task from then on, and keeps its moment, as does
        what an earlier look found: the longest wait would never be over. A change is later than the manifest, though.
        """
        words: list[str] = []
        for task, changed, annotations in tasks:
            labels = [f"a{annotation}" for annotation in annotations]
            words += [f"t{task}", str(int(changed)), str(len(labels)), *labels]
            if len(words) >= _AT_ONCE:
                self._redis.eval(_COMPARE, 1, self._key, repr(now), repr(manifest), *words)
                words = []
        if words:
            self._redis.eval(_COMPARE, 1, self._key, repr(now), repr(manifest), *words)

    def drop(self, now: float, kept: Callable[[str], bool] = lambda name: name.startswith("t")) -> None:
        """Forget what was noted up to ``now``, but for what is ``kept`` (default: tasks that a look has compared)."""
        for gone in chunks((name for name, _ in self.noted(now) if not kept(name)), _AT_ONCE):
            self._redis.eval(_REMOVE, 1, self._key, repr(now), *gone)

    def noted(self, now: float) -> Iterator[tuple[str, float]]:
        """Give what is noted up to a moment, and when it changed last, in no order; some may come twice."""
        found = self._redis.zscan_iter(self._key, count=_AT_ONCE)
        return ((as_text(name), moment) for name, moment in found if moment <= now)

    def pending(self) -> Pending:
        """Read how much has changed since the last manifest."""
        return self.read((), 0.0, lambda _: None)[0]

    def read(
        self, added: Iterable[str], now: float, ask: Callable[[Pipeline], object]
    ) -> tuple[Pending, tuple[Any, ...]]:
        """Note changed labels and read how much has changed, in one round trip with whatever else ``ask`` asks for.

        The answers to that come beside it.
        """
        with self._redis.pipeline(transaction=True) as pipe:
            noted = 0
            for names in chunks(added, _AT_ONCE):
                pipe.zadd(self._key, dict.fromkeys(names, now))
                noted += 1
            pipe.zcard(self._key)
            pipe.zrange(self._key, 0, 0, withscores=True)
            pipe.zrange(self._key, -1, -1, withscores=True)
            ask(pipe)
            count, first, last, *others = pipe.execute()[noted:]
        return Pending(count, first[0][1], last[0][1]) if count else Pending(), tuple(others)

    def settle(self, until: float) -> None:
        """Drop what changed up to ``until``: a manifest read after that moment holds it."""
        while self._redis.eval(_SETTLE, 1, self._key, repr(until), _AT_ONCE):
            pass
