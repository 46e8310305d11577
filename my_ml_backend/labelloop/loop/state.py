"""Everything of one project in Redis, behind the domain's verbs. ``loop/redis_client.py`` lists the keys.

Without Redis everything raises QueueError, but what is only told, which may be lost, and what the store knows too. A
wiped Redis is a project without state: the store and the sweep bring back what matters.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Literal

from redis.client import Pipeline

from labelloop.errors import Fenced, LeaseLost, QueueError
from labelloop.loop.agreement import Agreement
from labelloop.loop.backoff import Backoff, away
from labelloop.loop.counted import Counted
from labelloop.loop.moments import Planned, ask_when
from labelloop.loop.moments import forget as forget_moments
from labelloop.loop.progress import RunProgress
from labelloop.loop.redis_client import LOADING, STARTED, RedisClient, as_text, key_of, may_be_lost, of_run
from labelloop.loop.retrain_policy import Changes, Ran, RetrainPolicy
from labelloop.loop.window import Window
from labelloop.settings import Settings
from labelloop.tracing import trace_in_hand
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)

EXTRA_PARAMS = "extra_params"

UNLEARNED = "unlearned"
"""The note of a project whose label config holds nothing that is learned: what is missing there."""

_FORGOTTEN = (
    "changed",
    "trace",
    "consider",
    "again",
    "begun",
    "failures",
    "died",
    "job",
    "resume",
    "deploy",
    "progress",
    "note",
    "seen",
    "swept",
    "looked",
    "read",
    "reading",
    "touched",
    "prelabel",
    "postponed",
    "policy",
    "announced",
    "served",
    "deployed",
    "watched",
    "predicted",
    "judged",
    "counted",
    "storages",
    "webhook",
    "arrived",
    "agreement",
    "ran",
    "room",
    "room_rests",
    "compare",
    "compared",
    "features",
    "reports",
    "taken",
    "drifting",
    "new_head",
    "outdated",
    "challenging",
    "challenger-progress",
    "challenger-died",
)

_TRACED_SECONDS = 30 * 24 * 3600

_ANNOUNCED_SECONDS = 10
"""How long a cached answer stands: the most that a worker killed between store and cache can delay the truth."""

MOST_TOUCHED = 10_000
"""Tasks that are remembered because webhooks named them: the last ones."""

_LOADING_SECONDS = 300
"""How long a worker is said to load, unless it says before that it has started."""

_NEW_HEAD_SECONDS = 3600
"""An endpoint that answers by two models in turn is not trained for over and over."""

_GONE_SECONDS = 6 * 3600
"""How long a project that Label Studio does not have is not asked for again, unless Label Studio names it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Label Studio's counters: ``tasks`` at the last look; the others, and the moment, at the last scan or manifest."""

    tasks: int = -1
    annotations: int = -1
    skipped: int = -1
    scanned: float = 0.0


@dataclass(frozen=True, slots=True)
class Looked:
    """Where the next look at what changed begins: how the project stood at the last one that added up.

    ``since`` is the site's moment from which it asks. Of the ``annotations``, skipped ones too, ``recent`` were made
    after that: by number, when each was; None where that is not known. ``asked`` names what annotators were asked then
    (a hash), ``manifest`` what was compared with. ``at`` (Unix seconds) is when the last look was made, ``took`` how
    many seconds it waited for the site. From ``doubt`` on (Unix seconds, 0: none) counters tell of something that no
    look has found.
    """

    since: str = ""
    tasks: int = -1
    annotations: int = -1
    recent: Mapping[str, str] | None = None
    asked: str = ""
    manifest: str = ""
    at: float = 0.0
    took: float = 0.0
    doubt: float = 0.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What processes share of how a project is served, ``None`` where nothing is noted.

    The text of its ``extra_params``, the announced version as ``/setup`` answers it, and the version that each
    endpoint's own model answered with last, by the endpoint's fingerprint. Of an endpoint that versions are brought to,
    what was last seen of it (JSON of a Deployment).
    """

    extra_params: str | None
    announced: str | None
    served: Mapping[str, str]
    deployed: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """A run that must not be lost: wanted ``again`` after the one in progress, or ``begun`` and cut off."""

    trigger: str
    force: bool
    kind: Literal["begun", "again"] = "again"


class ProjectState:
    """One project's notes, changes, counters, wishes, failures and versions, as all processes see them."""

    def __init__(self, redis: RedisClient, project: ProjectKey, settings: Settings) -> None:
        self._redis, self._project, self._settings = redis, project, settings

    @property
    def changes(self) -> Changes:
        """The labels that changed since the last manifest."""
        return Changes(self._redis, self._key("changed"))

    @property
    def window(self) -> Window:
        """What was predicted since the last look at it."""
        return Window(self._redis, self._project)

    def judge(self, seconds: float) -> bool:
        """Say whether nobody has judged what was predicted within so many seconds, and that it is done now."""
        return seconds < 1 or bool(self._redis.set(self._key("judged"), repr(time.time()), nx=True, ex=int(seconds)))

    def is_judged(self, seconds: float) -> bool:
        """Say whether somebody has judged what was predicted within so many seconds."""
        return seconds >= 1 and bool(self._redis.exists(self._key("judged")))

    def claim_housekeeping(self, seconds: int) -> bool:
        """Say whether nobody has looked after the project's room for so many seconds, and that it is done now.

        False while that rests (``rest_housekeeping``), too.
        """
        if self._redis.exists(self._key("room_rests")):
            return False
        return bool(self._redis.set(self._key("room"), repr(time.time()), nx=True, ex=seconds))

    def rest_housekeeping(self, seconds: float) -> None:
        """Have nobody look after the project's room for so many seconds, whoever asks."""
        self._redis.set(self._key("room_rests"), "1", px=int(1000 * seconds))

    def ask_for_housekeeping(self) -> None:
        """Let the next sweep look after the project's room, unless that rests."""
        self._redis.delete(self._key("room"))

    def compare(self, seconds: float) -> bool:
        """Say whether no comparison was asked for within so many seconds, and that one is now."""
        return seconds < 1 or bool(self._redis.set(self._key("compared"), "1", nx=True, ex=int(seconds)))

    def claim_new_head(self) -> bool:
        """Say whether nobody has asked within an hour for a head on an endpoint's new features, and that it is now."""
        return bool(self._redis.set(self._key("new_head"), "1", nx=True, ex=_NEW_HEAD_SECONDS))

    @property
    def agreement(self) -> Agreement:
        """How annotators agree with the announced version."""
        return Agreement(self._redis, self._key("agreement"))

    @property
    def counted(self) -> Counted:
        """What is counted between two times that figures are sent."""
        return Counted(self._redis, self._key("counted"))

    def progress(self, *, challenger: bool = False) -> RunProgress:
        """What is being done for the project, or for its challenger."""
        return RunProgress(self._redis, self._project, challenger=challenger)

    @property
    def backoff(self) -> Backoff:
        """Why and until when the project is left alone."""
        return Backoff(self._redis, self._key("failures"), self._settings)

    def note(self, name: str, sentence: str) -> None:
        """Note a sentence for ``status``, as ``missing`` or ``trouble``; an empty one takes the note away."""
        if sentence:
            self._redis.hset(self._key("note"), name, f"{time.time():.3f} {sentence}")
        else:
            self._redis.hdel(self._key("note"), name)

    def notes(self) -> dict[str, str]:
        """Read all notes, without their moments."""
        found = self._redis.hgetall(self._key("note"))
        return {as_text(name): as_text(value).partition(" ")[2] for name, value in found.items()}

    def see(self, seen: Seen) -> None:
        """Keep Label Studio's counters for the next look."""
        self._redis.set(self._key("seen"), json.dumps(asdict(seen)))

    def seen(self) -> Seen:
        """Read the counters of the last look; all unknown after Redis was wiped."""
        found = self._redis.get(self._key("seen"))
        return Seen(**json.loads(found)) if found else Seen()

    def look(self, looked: Looked) -> None:
        """Keep where the next look begins."""
        self._redis.set(self._key("looked"), json.dumps(asdict(looked)))

    def looked(self) -> Looked:
        """Read where the next look begins; nowhere after Redis was wiped."""
        found = self._redis.get(self._key("looked"))
        known = {one.name for one in fields(Looked)}
        return Looked(**{key: value for key, value in json.loads(found or "{}").items() if key in known})

    def note_read(self, manifest: str, began: float) -> None:
        """Note when a run began to read the labels of its manifest (a hash)."""
        self._redis.set(self._key("read"), f"{manifest} {began!r}")

    def read_at(self, manifest: str) -> float | None:
        """Say when a run began to read the labels of this manifest (Unix seconds); None where that is not known."""
        name, _, began = (_text(self._redis.get(self._key("read"))) or "").partition(" ")
        return float(began) if manifest and name == manifest else None

    def keep_reading(self, reading: bytes, began: float) -> None:
        """Keep how labels were read (loop/reading.py), from a moment on (Unix seconds); forgets what that has seen."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(self._key("reading"), reading)
            pipe.zremrangebyscore(self._key("touched"), "-inf", repr(began))
            pipe.execute()

    def reading(self) -> bytes | None:
        """Give how labels were read last; None where that is not known."""
        found = self._redis.get(self._key("reading"))
        return found.encode() if isinstance(found, str) else found

    def forget_reading(self) -> None:
        """Have the next run read all labels."""
        self._redis.delete(self._key("reading"))

    def touched(self) -> list[int]:
        """Give the tasks that webhooks named since labels were read last, the latest ``MOST_TOUCHED`` of them."""
        return [int(as_text(task)) for task in self._redis.zrange(self._key("touched"), 0, -1)]  # type: ignore[arg-type]

    def note_swept(self) -> None:
        """Note that a sweep has looked at the project, whole."""
        self._redis.set(self._key("swept"), repr(time.time()))

    def swept(self) -> float | None:
        """Say when a sweep last ended without an error (Unix seconds); None where none has since Redis was wiped."""
        found = self._redis.get(self._key("swept"))
        return float(found) if found else None

    def note_policy(self, *, quick: bool = False) -> None:
        """Note the policy of this process, a worker, for whoever asks how the project stands with other settings.

        ``quick`` says that the project's runs take seconds.
        """
        self._redis.set(self._key("policy"), str(RetrainPolicy.of(self._settings, quick=quick)))

    def policy(self) -> RetrainPolicy:
        """Read the policy that a worker last looked at the project with; before the first look, that of the settings.

        Those are of this process, and the best guess.
        """
        return self._policy(self._redis.get(self._key("policy")))

    def ran(self) -> dict[str, Ran]:
        """Read what is known here of runs that have ended, by their keys."""
        found = self._redis.hgetall(self._key("ran"))
        return {as_text(key): Ran(*map(float, as_text(value).split())) for key, value in found.items()}

    def note_ran(self, key: str, ran: Ran) -> None:
        """Note a run that has ended, so that its record need not be read again."""
        self._redis.hset(self._key("ran"), key, f"{ran.began!r} {ran.seconds!r}")

    def due(self) -> float | None:
        """Say when the project is due for a run (Unix seconds), None while nothing has changed."""
        return self.note_changes((), 0.0)[0]

    def note_changes(
        self, what: Iterable[str], now: float, tasks: Iterable[int] = ()
    ) -> tuple[float | None, float | None]:
        """Note changed labels, and their ``tasks`` where these are known.

        Says when the project is due for a run, by the policy of the worker that looks after it, before whose first look
        by the settings here; and when it is looked at next (None: never). All in one round trip to Redis: an annotator
        may be waiting.
        """

        def ask(pipe: Pipeline) -> None:
            pipe.hexists(self._key("note"), "missing")
            pipe.get(self._key("policy"))
            ask_when(pipe, Planned("consider", self._project))
            if what:
                # The run that they lead to is of the last one's trace.
                pipe.set(self._key("trace"), f"{now!r} {trace_in_hand()}", ex=_TRACED_SECONDS)
            if tasks:
                pipe.zadd(self._key("touched"), dict.fromkeys(map(str, tasks), now))
                pipe.zremrangebyrank(self._key("touched"), 0, -MOST_TOUCHED - 1)

        pending, (lacking, noted, planned, *_) = self.changes.read(what, now, ask)
        return self._policy(noted).due(pending, lacking=bool(lacking)), planned

    def _policy(self, noted: bytes | str | None) -> RetrainPolicy:
        return (noted and RetrainPolicy.parse(as_text(noted))) or RetrainPolicy.of(self._settings)

    def trace(self, since: float) -> str:
        """Give the id under which changed labels were told of last; empty where that was before ``since``."""
        at, _, trace = (_text(self._redis.get(self._key("trace"))) or "0").partition(" ")
        return trace if float(at) >= since else ""

    def is_held(self, *, challenger: bool = False) -> bool:
        """Say whether some worker holds the project's lease now, or that of its challenger."""
        return bool(self._redis.exists(self._key(of_run("lease", challenger=challenger))))

    def want_again(self, trigger: str, *, force: bool = False) -> None:
        """Ask for one more run after the one in progress; a wish for a forced one is not taken back by another."""
        self._wish(Wish(trigger, force), keep=not force)

    @contextmanager
    def begun(self, trigger: str, force: bool) -> Iterator[None]:
        """Remember what is begun until the run's record does, which is when the block ends.

        A killed worker leaves it, and so does an outage: what was asked for is begun again.
        """
        wish = Wish(trigger, force, "begun")
        self._wish(wish)
        try:
            yield
        except (LeaseLost, Fenced):
            # What is noted there may be the other worker's.
            raise
        except Exception as error:
            if not away(error, self._settings.directory):
                self.granted(wish)
            raise
        self.granted(wish)

    def wish(self, *, waits: bool = False) -> Wish | None:
        """Read the run that is wished for; what was begun waits while the project ``waits`` after a failure."""
        kinds: tuple[Literal["begun", "again"], ...] = ("again",) if waits else ("begun", "again")
        for kind in kinds:
            if found := self._redis.get(self._key(kind)):
                return Wish(**json.loads(found), kind=kind)
        return None

    def granted(self, wish: Wish) -> None:
        """Forget a wish: somebody else answers for it now."""
        self._redis.delete(self._key(wish.kind))

    def shared(self) -> Shared | None:
        """Read in one round trip what a request is answered with; None, logged, without Redis: the store knows most."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hget(self._values, EXTRA_PARAMS)
                pipe.mget(self._key("announced"), self._key("deployed"))
                pipe.hgetall(self._key("served"))
                extra_params, (announced, deployed), served = pipe.execute()
        except QueueError as error:
            _log.warning("project %s is served by what the store and this process know: %s", self._project, error)
            return None
        versions = {as_text(mark): as_text(version) for mark, version in served.items()}
        return Shared(_text(extra_params), _text(announced), versions, _text(deployed))

    def share(self, extra_params: str) -> None:
        """Let every process know the project's ``extra_params``."""
        with may_be_lost(f"extra_params of project {self._project}"):
            self.set_value(EXTRA_PARAMS, extra_params)

    def announce(self, version: str, *, fresh: bool = True) -> None:
        """Let every process know the announced version, which the store holds; what is not ``fresh`` replaces none."""
        with may_be_lost(f"announced version {version} of project {self._project}"):
            self._redis.set(self._key("announced"), version, ex=_ANNOUNCED_SECONDS, nx=not fresh)

    def deployed(self, content: str, *, fresh: bool = True) -> None:
        """Let every process know what is deployed, which the store holds; what is not ``fresh`` replaces none."""
        with may_be_lost(f"what is deployed for project {self._project}"):
            self._redis.set(self._key("deployed"), content, ex=_ANNOUNCED_SECONDS, nx=not fresh)

    def serve(self, mark: str, version: str) -> None:
        """Let every process know the version that the endpoint of a fingerprint answers with."""
        with may_be_lost(f"version {version} of project {self._project}"):
            self._redis.hset(self._key("served"), mark, version)

    def value(self, key: str) -> str | None:
        """Read what ``LabelLoop.set`` keeps; None when it was never set."""
        return _text(self._redis.hget(self._values, key))

    def set_value(self, key: str, value: str) -> None:
        """Keep what ``LabelLoop.get`` reads."""
        self._redis.hset(self._values, key, value)

    def forget(self) -> None:
        """Delete all but the lease, which stays with whoever holds it, and the values."""
        forget_moments(self._redis, self._project)
        self._redis.delete(*(self._key(name) for name in _FORGOTTEN))

    def lose(self, why: str) -> bool:
        """Leave alone a project that Label Studio does not have, its values gone; says whether that is new."""
        self._redis.delete(self._values)
        return bool(self._redis.set(self._key("gone"), why, nx=True, ex=_GONE_SECONDS))

    def gone(self) -> str:
        """Say why Label Studio does not have the project, as found lately; empty otherwise."""
        return _text(self._redis.get(self._key("gone"))) or ""

    @property
    def _values(self) -> str:
        # Number 0 is no project's: it stands for what a backend object keeps that is bound to none.
        return f"labelloop:values:{self._project.instance}:{self._project.id or ''}"

    def _wish(self, wish: Wish, *, keep: bool = False) -> None:
        content = json.dumps({"trigger": wish.trigger, "force": wish.force})
        self._redis.set(self._key(wish.kind), content, nx=keep)

    def _key(self, name: str) -> str:
        return key_of(self._project, name)


def _text(found: bytes | str | None) -> str | None:
    return None if found is None else as_text(found)


def note_loading(redis: RedisClient) -> None:
    """Note that a worker begins to load what its jobs need, which takes some seconds."""
    with may_be_lost("that a worker loads"):
        redis.set(LOADING, repr(time.time()), ex=_LOADING_SECONDS)


def note_start(redis: RedisClient) -> None:
    """Note that a worker starts: projects that were left alone for its settings are looked at again."""
    redis.set(STARTED, repr(time.time()))
    redis.delete(LOADING)
