"""Takes the features of a project's tasks as they are imported, before anybody labels them (docs/training.md).

A head then trains, judges and answers by a product with them. What each task shows is noted on the way, so that nobody
reads its file again to know. It goes on where it was when it was killed, and holds a few hundred pictures at a time.
It gives way to whatever else waits for the background, and goes on after that. It does not hold the project, for
whatever comes of it twice is the same; its own lease keeps it from writing what somebody erases just now.
"""

import codecs
import hashlib
import logging
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

from labelloop.data.labeling import Counters, Labeling
from labelloop.data.listing import OF_TEXTS, Record
from labelloop.data.picture_cache import PictureCache
from labelloop.data.site import Interface, shown_of
from labelloop.errors import LabelConfigError, LeaseLost, MediaError, TrainingError
from labelloop.kinds.base import FeatureTaker, Kind, find
from labelloop.loop.attempts import project_settings
from labelloop.loop.background import machine_of
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.project_endpoint import learns, subject_of
from labelloop.loop.project_labels import labeling_of
from labelloop.loop.project_registry import site_of
from labelloop.loop.queue import awaits_background
from labelloop.loop.right_of_way import RightOfWay
from labelloop.loop.speeds import champion_network
from labelloop.models.features import Features, Taken, read_taken, taken_path
from labelloop.models.records import to_bytes
from labelloop.models.task_contents import Shown, TaskContents
from labelloop.run.fetch import in_order, noted, patiently
from labelloop.sources.reader import READERS
from labelloop.types import Json, ProjectKey, TaskKey, chunks

_log = logging.getLogger(__name__)

NOTE, FAILED = "features", "unseen"
"""Notes for ``status``: how far it is, and which files could not be read."""

_TOGETHER, _TOGETHER_BYTES = 256, 64 << 20
"""Tasks that are looked at together, and bytes of their files from which on no more of these come into memory."""

_FEW = 16
"""Tasks that are looked at together while others come first: it takes as long, and a pause or a report waits for it."""

_KEPT = 20_000
"""Tasks whose pictures are kept for the first run, and of whose mirror images features are taken, too. Of more a run
fetches what is labeled, and takes of mirror images what it looks at."""

_KEPT_BYTES, _FREE = 4 << 30, 0.1
"""Bytes of a project's pictures that are kept at most, and the share of the disk that they leave free."""

_AGAIN_SECONDS = 3600.0
_LISTED, _NAMED = 1000, 3
"""Tasks whose file could not be read that are looked at again after an hour, and those that ``status`` names."""

_OUT_OF_ORDER = 100
"""When so many tasks one after the other cannot be read, the place they come from is out of order."""

_LEASE_SECONDS = 60.0
"""How long nobody else begins after the last sign of life: longer than a process stands still where memory is short."""


class _Read(NamedTuple):
    """A task with its file: the content, and by which name the cache of pictures knows its address ("": a text).

    ``sha`` is the hash of the content as it was noted before; empty where it was not.
    """

    shown: Shown
    content: bytes
    name: str
    sha: str = ""


def look_for_features(hub: Hub, project: ProjectKey, counters: Counters) -> None:
    """Ask for the features of a project's tasks where some are not taken, or others are by today's settings."""
    if not hub.settings.early_features or project.model_run or hub.pauses(project).read() is not None:
        return
    taken = read_taken(hub.store, project)
    try:
        named = _named(hub, project, find(taken.kind)) if taken.kind else ""
    except TrainingError:
        named = ""  # a file of weights that is not there: the job says so once there are new tasks
    due = taken.failed and time.time() > taken.at + _AGAIN_SECONDS
    if taken.named != named or taken.tasks != counters.tasks or due:
        hub.queue(project).features()


def take_features(hub: Hub, project: ProjectKey) -> str:
    """Take the features of all tasks that lack them, and say how many were looked at.

    Raises MediaError when so many files cannot be read that the place they come from must be out of order,
    TrainingError or BundleError where there is no such network, StudioError, StoreError and QueueError.
    """
    try:
        labeling = labeling_of(hub, project)
    except LabelConfigError:
        return _nothing(hub, project, "")
    kind = find(labeling.kind)
    if not (named := _named(hub, project, kind)):
        return _nothing(hub, project, kind.name)
    with ExitStack() as held:
        try:
            lease = held.enter_context(Lease(hub, project, _LEASE_SECONDS, features=True))
        except LeaseLost:
            return "another worker is at it"
        taker = _taker(hub, project, kind)
        begin = Taken(kind.name, named, taker.backbone, taker.width)
        taking = _Taking(hub, project, lease, labeling, taker, begin)
        told = taking.all()
    if taking.gives_way:
        # Not before the lease is given back: another worker may take the job at once.
        hub.queue(project).features()
    return told


def _named(hub: Hub, project: ProjectKey, kind: Kind) -> str:
    """Name the features that are taken of a project by its settings; empty for none."""
    if not hub.settings.early_features or project.model_run or not learns(hub, project):
        return ""
    settings = project_settings(hub, project)
    network = champion_network(hub.store, project, kind, settings)
    return kind.featured(settings, network.version if network else "")


def _taker(hub: Hub, project: ProjectKey, kind: Kind) -> FeatureTaker:
    """Open what takes features by: the network of the settings, or the champion's where last layers are learned."""
    settings = project_settings(hub, project)
    network = champion_network(hub.store, project, kind, settings)
    if network is None:
        return kind.taker(settings)
    return kind.taker(settings, network.weights(hub.settings.directory / "cache" / "bundles"))


def _nothing(hub: Hub, project: ProjectKey, kind: str) -> str:
    """Keep that no features are taken, so that nobody asks again before there are new tasks."""
    tasks = site_of(hub, project.id).overview().counters.tasks
    hub.store.write(taken_path(project), to_bytes(Taken(kind, tasks=tasks)))
    return "no features are taken of this project"


class _Taking:
    """One go at the features of a project; ``gives_way`` says that it has stopped before its end, for other jobs."""

    def __init__(
        self, hub: Hub, project: ProjectKey, lease: Lease, labeling: Labeling, taker: FeatureTaker, begin: Taken
    ) -> None:
        self._hub, self._project, self._lease, self._labeling, self._taker = hub, project, lease, labeling, taker
        self._state, self._site = hub.state(project), site_of(hub, project.id)
        self._interface: Interface = self._site.interface(subject_of(hub, project))
        self._cache = PictureCache(hub.settings.directory / "cache" / "pictures")
        self._contents: TaskContents = hub.task_contents(project)
        self._features: Features = hub.features(project)(taker.backbone, taker.width)
        before = read_taken(hub.store, project)
        same = (before.named, before.backbone) == (begin.named, begin.backbone)
        self._taken = before if same else begin
        self._asks_site = hub.media.asks_home
        self._way = RightOfWay(hub.redis, lease.check, self._note)
        self._in_a_row = self._looked = self._total = 0
        self.gives_way = False

    def all(self) -> str:
        """Look again at what failed, then at all tasks that have come since."""
        self._total = total = self._site.overview().counters.tasks
        if self._taken.failed:
            self._again()
        stopped = ""
        waiting = self._site.all_tasks(self._taken.after)
        while tasks := [*islice(waiting, _FEW if self._way.gives_way else _TOGETHER)]:
            self._part(tasks)
            done = replace(self._taken, after=int(tasks[-1]["id"]), done=self._taken.done + len(tasks))
            self._tell(done)
            if self._hub.pauses(self._project).read() is not None:
                stopped = "; the project is paused: it goes on when it is resumed"
                break
            # After the last ones it is soon over.
            if len(tasks) >= _FEW and awaits_background(self._hub.redis, machine_of(self._hub.settings.directory)):
                stopped, self.gives_way = "; it goes on when what waits is done", True
                break
        if not stopped:
            self._tell(replace(self._taken, tasks=total, at=time.time()))
            self._state.note(NOTE, "")
        return f"{self._looked} tasks looked at{stopped}"

    def _again(self) -> None:
        failing = [int(task) for task in self._taken.failing]
        # Those that are not listed are found again by nothing but another round.
        unlisted = self._taken.failed > len(failing)
        self._taken = replace(self._taken, failed=0, failing={})
        if unlisted:
            self._taken = replace(self._taken, after=0, done=0)
        if not unlisted:
            for tasks in chunks(self._site.tasks(failing), _TOGETHER):
                self._part(tasks)
        self._tell(self._taken)

    def _part(self, tasks: Sequence[Json]) -> None:
        """Take the features of some tasks, as far as they are not at hand."""
        texts = {shown_of(self._interface, task) for task in tasks if self._interface.text_of(task)}
        shown = [one for task in tasks if (one := shown_of(self._interface, task))[1]]
        known = self._contents.find(shown)
        there = self._at_hand([content for content in known if content])
        lacking = {one: content for one, content in zip(shown, known, strict=True) if content not in there}
        self._looked += len(tasks)
        written = (_Read(one, one[1].encode(errors="surrogatepass"), "") for one in lacking if one in texts)
        with closing(self._read([one for one in lacking if one not in texts])) as read:
            for some in _by_size(one._replace(sha=lacking[one.shown]) for one in chain(written, read)):
                self._keep(some)

    def _at_hand(self, contents: Sequence[str]) -> set[str]:
        there = self._features.rows(contents)[1]
        if self._mirrors:
            there = there & self._features.rows(contents, mirrored=True)[1]
        return {content for content, known in zip(contents, there, strict=True) if known}

    @property
    def _mirrors(self) -> bool:
        return self._taker.mirrors and self._taken.done < _KEPT

    def _read(self, shown: Sequence[Shown]) -> Generator[_Read, None, None]:
        """Read files, several at a time; what cannot be read is noted."""
        for one, found in in_order(self._file, shown, READERS):
            if isinstance(found, _Read):
                self._in_a_row = 0
                yield found
                continue
            self._fail(one[0], found)
            self._in_a_row += 1
            if self._in_a_row >= _OUT_OF_ORDER:
                raise MediaError(
                    f"{self._in_a_row} tasks one after the other could not be read, the last, task {one[0]}, "
                    f"because: {found}. Features are taken when the place they come from is in order again"
                )

    def _file(self, shown: Shown) -> _Read | str:
        """Give a task's file, from this machine where it is here; or say why not."""
        task, address = shown
        name = noted(address)
        try:
            if (content := self._cache.find(self._project, name)) is not None:
                return _Read(shown, self._as_item(self._cache.path(content).read_bytes()), name)
        except OSError:
            _log.debug("picture of task %d is gone from the cache", task)
        try:
            found = patiently(lambda: self._from_site(task, address))
        except MediaError as error:
            return str(error)
        if other := self._labeling.instead(found):
            return f"it is {other}, which is nothing that annotators are shown"
        return _Read(shown, self._as_item(found), name)

    def _from_site(self, task: int, address: str) -> bytes:
        """Read a task's file; where the tool is asked for it, as that has time."""
        read = partial(self._site.read, Record(address, (), task))
        return self._way.read(read) if self._asks_site(address, TaskKey(self._project.id, task)) else read()

    def _as_item(self, content: bytes) -> bytes:
        """Give what an item's hash is of: that of a text in a file counts no byte order mark (run/fetch.py)."""
        return content.removeprefix(codecs.BOM_UTF8) if self._labeling.kind in OF_TEXTS else content

    def _keep(self, read: Sequence[_Read]) -> None:
        """Take and keep the features of files, and note what the tasks show; a file that several show is taken once."""
        by_content: dict[str, list[_Read]] = {}
        for one in read:
            by_content.setdefault(hashlib.sha256(one.content).hexdigest(), []).append(one)
        contents = [several[0].content for several in by_content.values()]
        rows, reasons = self._taker.take(contents)
        self._lease.check()
        good = [at for at in range(len(contents)) if at not in reasons]
        names = [*by_content]
        kept = [names[at] for at in good]
        self._features.keep(kept, rows[good])
        if self._mirrors and good:
            mirrored, _ = self._taker.take([contents[at] for at in good], mirrored=True)
            self._lease.check()
            self._features.keep(kept, mirrored, mirrored=True)
        for at, reason in reasons.items():
            for one in by_content[names[at]]:
                # A text that stands in its task stays as it is: to look at it again in an hour shows nothing new.
                if one.name:
                    self._fail(one.shown[0], reason)
        pairs = [(one, name) for name in kept for one in by_content[name]]
        new = [(one.shown, name) for one, name in pairs if one.sha != name]
        self._contents.note([shown for shown, _ in new], [name for _, name in new])
        for name in kept:
            self._keep_pictures(by_content[name], name)

    def _keep_pictures(self, read: Sequence[_Read], name: str) -> None:
        """Keep one picture, which several tasks may show, for the first run, where there is room."""
        if not self._mirrors:
            return
        size = len(read[0].content)
        disk = shutil.disk_usage(self._hub.settings.directory)
        room = min(_KEPT_BYTES - self._taken.kept, disk.free - _FREE * disk.total)
        if size > room:
            return
        self._cache.add(read[0].content)
        for one in read:
            self._cache.remember(self._project, one.name, name)
        self._taken = replace(self._taken, kept=self._taken.kept + size)

    def _fail(self, task: int, reason: str) -> None:
        taken = self._taken
        failing = taken.failing if len(taken.failing) >= _LISTED else taken.failing | {str(task): reason}
        self._taken = replace(taken, failed=taken.failed + 1, failing=failing)

    def _tell(self, taken: Taken) -> None:
        """Keep how far it is, and tell it."""
        self._lease.check()
        self._taken = taken
        self._hub.store.write(taken_path(self._project), to_bytes(taken))
        self._note()
        self._state.note(FAILED, _told(taken))

    def _note(self) -> None:
        done, slowly = self._taken.done, ", slowly while a run comes first" if self._way.gives_way else ""
        self._state.note(NOTE, f"features of {done} of {max(self._total, done)} tasks are taken{slowly}")


def _by_size(read: Iterable[_Read]) -> Iterator[list[_Read]]:
    """Give files in lists of ``_TOGETHER_BYTES`` or a little more, the last one of fewer; one is held at a time."""
    part: list[_Read] = []
    size = 0
    for one in read:
        part.append(one)
        size += len(one.content)
        if size >= _TOGETHER_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _told(taken: Taken) -> str:
    if not taken.failed:
        return ""
    named = "; ".join(f"task {task}: {reason.rstrip('.')}" for task, reason in islice(taken.failing.items(), _NAMED))
    more = f"; and {taken.failed - _NAMED} more" if taken.failed > _NAMED else ""
    return f"no features of {taken.failed} tasks, whose files are looked at again in an hour: {named}{more}"
