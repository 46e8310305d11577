"""What was asked for a model run of Labelbox, and how far that is: one record a model run and entry of the menu.

An index names those that are open, so that the sweep need not look through all that the store holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from labelloop.errors import Fenced
from labelloop.models.records import now, readable, readable_record, to_bytes, update
from labelloop.models.store import Store
from labelloop.tracing import trace_in_hand
from labelloop.types import Json, ProjectKey

_INDEX = "_model-runs/index.json"
"""No folder of a project can be called so."""

_ENDED = 20
"""Jobs that have ended and are still named, the newest last."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the menu: what somebody chooses there (``name``), and its ``number``, by which it is kept.

    ``endpoint`` is the fingerprint of the endpoint that is asked; empty for a type of model that is trained.
    """

    name: str
    number: int
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class ModelRunJob:
    """``model-run.json``: what was asked for a model run, from the button's request on.

    ``entry`` is what was chosen in the menu, ``endpoint`` the fingerprint of the endpoint that is asked, empty for a
    training. ``model`` and ``organization`` are Labelbox's ids. ``attempts`` counts how often it was asked for anew,
    ``asked`` is when that was last (UTC, ISO 8601), ``forced`` that it is trained whatever was trained before.
    ``stage`` is what is to be done next: ``begin``, ``run``, ``conclude`` or ``fail``; ``deaths`` is how often the
    process of that stage ended by itself. ``reason`` says why it failed, or what it waits for: ``away`` names that, and
    ``since`` is since when (Unix seconds). ``run`` is the key of the run that is made of it, ``version`` whose
    predictions it shows, once there is one; ``parameters`` are those of the model run's config. ``told`` is what its
    tool was told in the end, ``uploaded`` what came of the predictions. ``trace`` is the id of the request
    (labelloop/tracing.py).
    """

    model_run: str
    entry: str
    endpoint: str = ""
    model: str = ""
    organization: str = ""
    state: Literal["open", "complete", "failed"] = "open"
    stage: str = "begin"
    forced: bool = False
    deaths: int = 0
    attempts: int = 1
    asked: str = ""
    reason: str = ""
    away: str = ""
    since: float = 0.0
    run: str = ""
    version: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    uploaded: Json = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    updated: str = ""
    trace: str = ""

    def moved(self, **changed: Any) -> Self:
        """Give it with some fields changed."""
        return replace(self, **changed)


@dataclass(frozen=True, slots=True)
class _Index:
    """``_model-runs/index.json``: the folders of jobs that are open, and of those that ended last."""

    open: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


class ModelRunJobs:
    """Reads and moves the jobs of model runs, by compare-and-swap only. Safe to share between processes.

    A damaged record counts as none.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, project: ProjectKey) -> ModelRunJob | None:
        """Give a job; None where nothing was asked for. Raises StoreError."""
        return readable_record(self._store, _path(project), ModelRunJob)

    def ask(
        self, project: ProjectKey, entry: Entry, model: str = "", organization: str = "", *, force: bool = False
    ) -> ModelRunJob:
        """Open a job and give it: one that is open stays as it is, one that has ended is begun anew."""

        def change(stands: ModelRunJob | None) -> ModelRunJob:
            if stands is not None and stands.state == "open":
                return stands
            return ModelRunJob(
                project.model_run,
                entry.name,
                entry.endpoint,
                model,
                organization,
                forced=force,
                attempts=stands.attempts + 1 if stands else 1,
                asked=now(),
                created=stands.created if stands else now(),
                trace=trace_in_hand(),
            )

        return self._opened(project, change)

    def reopen(self, project: ProjectKey, version: str) -> ModelRunJob:
        """Have a job that has ended show another version, in a new attempt, and give it.

        Raises Fenced where there is none, or it is open.
        """

        def change(stands: ModelRunJob | None) -> ModelRunJob:
            if stands is None or stands.state == "open":
                raise Fenced(f"what was asked for model run {project.shown} is not over: try again when it is")
            return stands.moved(
                state="open",
                stage="conclude",
                version=version,
                attempts=stands.attempts + 1,
                asked=now(),
                reason="",
                away="",
                since=0.0,
                uploaded={},
            )

        return self._opened(project, change)

    def save(self, project: ProjectKey, job: ModelRunJob) -> ModelRunJob:
        """Write how far a job is, and give it as written; raises Fenced where it has ended or was begun anew since."""

        def change(stands: ModelRunJob | None) -> ModelRunJob:
            if stands is None or stands.state != "open" or stands.attempts != job.attempts:
                raise Fenced(
                    f"what was asked for model run {project.shown} has ended, or was begun anew: this stops here"
                )
            return job

        saved = self._move(project, change)
        if saved.state != "open":
            self.close(project)
        return saved

    def open(self) -> list[ProjectKey]:
        """Name those that are open, in the order they were asked for."""
        return _keys(self._index().open)

    def known(self) -> list[ProjectKey]:
        """Name those that are open, and some that ended last."""
        index = self._index()
        return _keys((*index.open, *index.ended))

    def close(self, project: ProjectKey) -> None:
        """Name it among the open ones no more, as it is over, or there is none."""
        name = str(project)
        if name not in self._index().open:
            return
        self._name(lambda index: _moved(index, name, ended=(name,)))
        if (job := self.read(project)) is not None and job.state == "open":
            # Somebody has asked for it anew in between.
            self._name(lambda index: _moved(index, name, opened=(name,)))

    def _opened(self, project: ProjectKey, change: Callable[[ModelRunJob | None], ModelRunJob]) -> ModelRunJob:
        job = self._move(project, change)
        # After the record: what the index names is there. Who is cut off here is asked again, and names it then.
        self._name(lambda index: _moved(index, str(project), opened=(str(project),)))
        return job

    def _move(self, project: ProjectKey, change: Callable[[ModelRunJob | None], ModelRunJob]) -> ModelRunJob:
        path, moved = _path(project), list[ModelRunJob]()

        def rewrite(content: bytes | None) -> bytes | None:
            stands = None if content is None else readable(ModelRunJob, content, path)
            found = change(stands)
            moved.append(found if found == stands else replace(found, updated=now()))
            return None if found == stands else to_bytes(moved[-1])

        update(self._store, path, rewrite)
        return moved[-1]

    def _index(self) -> _Index:
        return _read(readable_record(self._store, _INDEX, _Index))

    def _name(self, change: Callable[[_Index], _Index]) -> None:
        def rewrite(content: bytes | None) -> bytes | None:
            stands = _read(None if content is None else readable(_Index, content, _INDEX))
            changed = change(stands)
            return None if changed == stands else to_bytes(changed)

        update(self._store, _INDEX, rewrite)


def _read(index: _Index | None) -> _Index:
    return _Index(tuple(index.open), tuple(index.ended)) if index else _Index()


def _moved(index: _Index, folder: str, opened: tuple[str, ...] = (), ended: tuple[str, ...] = ()) -> _Index:
    """Take a folder out of both lists, and put it at the end of the one it is given for; one that is open stays."""
    if opened and folder in index.open:
        return index
    others = tuple(tuple(one for one in names if one != folder) for names in (index.open, index.ended))
    return _Index(others[0] + opened, (others[1] + ended)[-_ENDED:])


def _keys(folders: tuple[str, ...]) -> list[ProjectKey]:
    return [ProjectKey.parse(folder) for folder in folders]


def _path(project: ProjectKey) -> str:
    return f"{project}/model-run.json"
