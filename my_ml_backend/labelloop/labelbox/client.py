"""The Labelbox client: all that LabelLoop asks of Labelbox's API and tells it, and the error that each failure becomes.

Every call of the SDK goes through ``Labelbox.ask``. The SDK is imported there, with the first call: a process that asks
nothing, such as the web process, does not need it.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from labelloop.errors import (
    LabelboxAway,
    LabelboxDenied,
    LabelboxError,
    MediaError,
    ModelRunGone,
    SettingsError,
    Transient,
)
from labelloop.settings import Settings
from labelloop.sources.guard import PublicOnly
from labelloop.sources.media import Broken, Fetcher
from labelloop.sources.transport import TRANSIENT, open_socket
from labelloop.sources.urls import Origin, shown
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.labelbox.sdk import Client

T = TypeVar("T")

Status = Literal["EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL", "COMPLETE", "FAILED"]

CALL_SECONDS = 60.0
"""What one exchange with Labelbox may take, tries and pauses included."""

_EXPIRED = (400, 401, 403, 404, 410)
"""Answers to links that no longer work; Cloud Storage answers 400 to those whose time is over."""

_MOST_SAID = 300
"""Characters of what Labelbox says that are told again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How an export or an import is waited for, in seconds.

    It is looked at after ``first``, then after twice that, up to every ``most``; where nothing moves in it for
    ``still``, it is given up, as something that is away.
    """

    first: float = 0.25
    most: float = 10.0
    still: float = 1800.0
    wait: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic


PACE = Pace()


class DeadLink(LabelboxAway):
    """A signed link does not work, or no longer: a new one may."""


@dataclass(frozen=True, slots=True)
class ModelRunInfo:
    """A model run; ``model`` is the id of the model that it belongs to, ``config`` what people set for its training."""

    id: str
    name: str
    model: str
    config: Json


@dataclass(frozen=True, slots=True)
class ImportPlace:
    """Where predictions are imported to: a model run, or a project, whose annotators begin with them."""

    kind: Literal["model run", "project"]
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @classmethod
    def of_model_run(cls, run: str) -> Self:
        """Give the place of a model run."""
        return cls("model run", run)

    @classmethod
    def of_project(cls, project: str) -> Self:
        """Give the place of a project."""
        return cls("project", project)


@dataclass(frozen=True, slots=True)
class Import:
    """An import of predictions, known by its ``name``.

    ``state`` is RUNNING, FINISHED or FAILED, ``progress`` such as ``35%``. ``errors`` and ``statuses`` are signed links
    to what became of its lines: of those that were refused, and of all.
    """

    name: str
    state: str
    progress: str = ""
    errors: str = ""
    statuses: str = ""

    @property
    def share(self) -> float:
        """How much of it is done, in [0, 1]."""
        done = re.match(r"\s*(\d+(?:\.\d+)?)", self.progress)
        return min(1.0, float(done[1]) / 100) if done else 0.0


class Labelbox:
    """Labelbox, asked with an API key. Safe to share between threads, not between processes; asked when needed.

    Every method raises LabelboxAway where Labelbox is away (``seconds`` bounds an exchange), LabelboxDenied,
    ModelRunGone where it has no such model run, and LabelboxError for all else that it refuses. No message holds the
    key, or of a link what signs it. ``wait`` pauses between tries.
    """

    def __init__(
        self, settings: Settings, seconds: float = CALL_SECONDS, wait: Callable[[float], object] = time.sleep
    ) -> None:
        self.settings = settings
        self._seconds, self._wait = seconds, wait
        self._making = threading.Lock()
        self._made: Client | None = None
        self._runs: dict[str, Any] = {}
        try:
            origin = Origin.of(settings.labelbox_endpoint)
        except MediaError as error:
            raise SettingsError(f"LABELLOOP_LABELBOX_ENDPOINT: {error}") from None
        connect = open_socket if settings.allow_private_addresses else PublicOnly(origin)
        self._fetcher = Fetcher(settings.media_max_bytes, 4, connect)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make a client from the settings; raises SettingsError without an API key."""
        if not settings.labelbox_api_key:
            raise SettingsError(
                "LABELBOX_API_KEY is not set, so Labelbox cannot be asked. Create a key in Labelbox's Workspace "
                "settings > API keys, and set it for the worker."
            )
        return cls(settings)

    def model_run(self, run: str) -> ModelRunInfo:
        """Describe a model run; raises ModelRunGone."""
        found = self.ask(f"show model run {run}", lambda sdk: sdk.get_model_run(run), gone(run))
        self._runs[run] = found
        config = found.training_metadata
        return ModelRunInfo(run, str(found.name or ""), str(found.model_id), config if isinstance(config, dict) else {})

    def ontology(self, model: str) -> Json:
        """Give the ontology of a model: its ``name``, ``tools`` and ``classifications``, as Labelbox normalizes it."""

        def ask(sdk: "Client") -> Json:
            found = sdk.get_ontology(sdk.get_model(model).ontology_id)
            return {**found.normalized, "name": found.name}

        return self.ask(f"show the ontology of model {model}", ask)

    def tell(self, run: str, status: Status, metadata: Mapping[str, object] | None = None, error: str = "") -> None:
        """Tell how far the training of a model run is; may be repeated. Raises ModelRunGone.

        Labelbox keeps texts only: all that is in the ``metadata`` is told as one. ``error`` goes with FAILED.
        """
        texts = {name: str(value) for name, value in (metadata or {}).items()}

        def ask(sdk: "Client") -> None:
            known = self._runs.get(run) or sdk.get_model_run(run)
            self._runs[run] = known
            known.update_status(status, texts or None, error or None)

        self.ask(f"take {status} for model run {run}", ask, gone(run))

    def find_import(self, place: ImportPlace, name: str) -> Import | None:
        """Give the import of a name, None where there is none."""

        def ask(client: "Client") -> Import | None:
            from labelloop.labelbox import sdk

            kind = _imports(place)
            try:
                found = kind.from_name(client, place.id, name, as_json=True)
            except sdk.exceptions.ResourceNotFoundError:
                return None
            return _import(kind(client, found)) if found else None

        return self.ask(f"show import {name} of {place}", ask)

    def begin_import(self, place: ImportPlace, name: str, path: Path) -> Import:
        """Upload a file of lines and begin its import, under a name that no other import of the place has."""
        return self.ask(
            f"import predictions into {place}",
            lambda sdk: _import(_imports(place).create_from_file(sdk, place.id, name, str(path))),
            gone(place.id) if place.kind == "model run" else _no_project(place.id),
        )

    def execute(
        self,
        query: str,
        variables: Mapping[str, object],
        what: str = "",
        *,
        experimental: bool = False,
        missing: LabelboxError | None = None,
        pick: Callable[[Any], Any] = lambda data: data,
    ) -> Any:
        """Exchange an operation of GraphQL for what ``pick`` takes of its data.

        ``what`` and ``missing`` are as for ``ask``. An answer of which it cannot be taken is a LabelboxError.
        """
        name = what or f"answer {query.partition('(')[0].strip()}"
        return self.ask(name, lambda sdk: pick(sdk.execute(query, dict(variables), experimental=experimental)), missing)

    def ask(self, what: str, call: Callable[["Client"], T], missing: LabelboxError | None = None) -> T:
        """Give what a call of the SDK gives: all that is asked goes through here.

        ``what`` is what Labelbox was to do, as in "could not be asked to ...". ``missing`` is raised where it has not
        got what was asked for.
        """
        client = self._client()
        from labelloop.labelbox import sdk

        try:
            return call(client)
        except sdk.Passing as failure:
            raise LabelboxAway(
                f"Labelbox at {shown(self.settings.labelbox_endpoint)} could not be asked to {what} within "
                f"{failure.seconds:g} s: {self._said(failure)}. If that lasts, check LABELLOOP_LABELBOX_ENDPOINT."
            ) from None
        except sdk.exceptions.AuthenticationError:
            raise _unknown_key(what) from None
        except sdk.exceptions.ResourceNotFoundError as error:
            raise missing or LabelboxError(f"Labelbox could not {what}: {self._said(error)}") from None
        except (sdk.exceptions.AuthorizationError, sdk.exceptions.OperationNotAllowedException) as error:
            raise _forbidden(what, self._said(error)) from None
        except sdk.REFUSALS as error:
            if str(error).startswith("401"):
                raise _unknown_key(what) from None
            if str(error).startswith("403"):
                raise _forbidden(what, self._said(error)) from None
            raise LabelboxError(f"Labelbox refused to {what}: {self._said(error)}") from None
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise LabelboxError(
                f"Labelbox was asked to {what} and gave an answer of unknown form ({type(error).__name__}). Is "
                "LABELLOOP_LABELBOX_ENDPOINT the address of its API?"
            ) from error

    @contextmanager
    def download(self, link: str, seconds: float, what: str) -> Iterator[Iterator[bytes]]:
        """GET a signed link, without the key, and give its bytes piece by piece, within so many seconds.

        ``what`` is what it leads to. Raises DeadLink where it does not work any more.
        """
        failed = f"{what} could not be read from {shown(link)}"
        try:
            with self._fetcher.open(link, {"Accept": "*/*"}, time.monotonic() + seconds) as response:
                if response.status != 200:
                    passing = LabelboxAway if response.status in TRANSIENT else LabelboxError
                    kind = DeadLink if response.status in _EXPIRED else passing
                    raise kind(f"{failed}: its server answered {response.status}")
                yield response.iter_stream()
        except Transient as error:
            why = str(error) if isinstance(error, Broken) else f"it took more than {seconds:.0f} s"
            raise LabelboxAway(f"{failed}: {why}") from None
        except MediaError as error:
            raise LabelboxError(f"{failed}: {error}") from None

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()
        if self._made is not None:
            self._made.connection.close()

    def _client(self) -> "Client":
        with self._making:
            if self._made is None:
                try:
                    from labelloop.labelbox.sdk import Client
                except ImportError as error:
                    raise SettingsError(
                        f"Labelbox's SDK is not here ({error}): install labelloop[labelbox] where the worker runs."
                    ) from None
                key, endpoint = self.settings.labelbox_api_key, self.settings.labelbox_endpoint
                self._made = Client(key, endpoint, self._seconds, self._wait)
            return self._made

    def _said(self, error: Exception) -> str:
        return told(str(error), self.settings.labelbox_api_key)


def told(text: str, key: str = "", most: int = _MOST_SAID) -> str:
    """Make one printable line of what Labelbox says: without what signs its links, the key, and what is too long."""
    line = " ".join(re.sub(r"https?://[^\s\"'<>]+", lambda link: shown(link[0]), text).split())
    if key:
        line = line.replace(key, "(the key)")
    line = "".join(letter for letter in line if letter.isprintable()).rstrip(" .") or "it gave no reason"
    return line if len(line) <= most else line[: most - 1] + "…"


def gone(run: str) -> ModelRunGone:
    """Make the error that says so."""
    return ModelRunGone(
        f"Labelbox has no model run {run}, or does not show it to the user of LABELBOX_API_KEY: it was deleted, or the "
        "key is of another workspace."
    )


def _no_project(project: str) -> LabelboxError:
    return LabelboxError(
        f"Labelbox has no project {project}, or does not show it to the user of LABELBOX_API_KEY: correct "
        "LABELLOOP_LABELBOX_PRELABEL_PROJECT, to which predictions go as pre-labels, and press the button again."
    )


def _unknown_key(what: str) -> LabelboxDenied:
    return LabelboxDenied(
        f"Labelbox was asked to {what} and does not accept LABELBOX_API_KEY: create a key in Workspace settings > API "
        "keys, set it for the worker, and press the button again."
    )


def _forbidden(what: str, said: str) -> LabelboxDenied:
    return LabelboxDenied(
        f"The user of LABELBOX_API_KEY may not have Labelbox {what}: {said}. A key has the rights of the user who "
        "created it: give that user a role that may, or set the key of another one."
    )


def _imports(place: ImportPlace) -> Any:
    from labelloop.labelbox import sdk

    return sdk.MEAPredictionImport if place.kind == "model run" else sdk.MALPredictionImport


def _import(found: Any) -> Import:
    return Import(
        str(found.name),
        str(found.state.value),
        str(found.progress or ""),
        str(found.error_file_url or ""),
        str(found.status_file_url or ""),
    )
