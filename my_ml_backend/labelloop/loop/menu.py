"""What people choose from when they press Labelbox's button: what can be trained here, and what predicts by itself.

The menu is made anew for whoever asks, and what comes back is looked up in it: a name is never taken apart. Endpoints
of Vertex AI are found by the sweep, for the web process has no credentials and no time to ask.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit

from labelloop.cloud.google.automl_terms import MODELS
from labelloop.data.formats.listings import FORMATS
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import LabelLoopError, QueueError, SettingsError
from labelloop.labelbox.model_types import FIRST_INFERENCE, TYPES, ModelType, find_type
from labelloop.loop.hub import Hub
from labelloop.loop.startup import workers
from labelloop.models.model_runs import Entry
from labelloop.models.records import readable_record, to_bytes
from labelloop.settings import Settings
from labelloop.trainers.base import Trainer
from labelloop.trainers.opening import open_trainer
from labelloop.types import caseless

_log = logging.getLogger(__name__)

_LIVE = "_model-runs/endpoints.json"
_MOST_LIVE = 40
"""Endpoints of Vertex AI in the menu: each is open while it is there, and a process keeps 64 open, with those of
projects."""

_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One entry: a model ``type`` that is trained, or else an ``endpoint`` that is asked.

    ``key`` is what is shown and sent back. ``number`` is that of the project which a model run is by it (ProjectKey):
    the type's own, or one that is made of the endpoint's fingerprint, so that it is the same everywhere.
    """

    key: str
    number: int
    type: ModelType | None = None
    endpoint: EndpointSpec | None = None

    @property
    def entry(self) -> Entry:
        """Give what is kept of it with what was asked."""
        return Entry(self.key, self.number, self.endpoint.fingerprint if self.endpoint else "")


@dataclass(frozen=True, slots=True)
class Menu:
    """All entries, and ``left_out``: what might be one, by its name, and why it is none."""

    entries: tuple[MenuEntry, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def find(self, key: str) -> MenuEntry | None:
        """Give the entry of a key, in any letter case; None where there is none."""
        wanted = caseless(key)
        return next((entry for entry in self.entries if caseless(entry.key) == wanted), None)

    def of_number(self, number: int) -> MenuEntry | None:
        """Give the entry of a project's number; None where there is none, or no longer."""
        return next((entry for entry in self.entries if entry.number == number), None)

    def refusal(self, key: str) -> str:
        """Say why a key is none of an entry, and what to do."""
        known = find_type(key)
        if known is not None and known.name in self.left_out:
            return f"{known.name} cannot be trained here: {self.left_out[known.name]}"
        there = ", ".join(entry.key for entry in self.entries) or "nothing (see `labelloop labelbox doctor`)"
        return f"{key[:100]!r} is not in the menu, or is no longer: open the menu anew. There is: {there}"


def menu_of(hub: Hub) -> Menu:
    """Make the menu of now: no cloud is asked. Raises StoreError where Vertex AI is looked at."""
    left_out = dict(_untaught(hub.settings))
    if nobody := _no_trainer(hub):
        left_out = {one.name: left_out.get(one.name, nobody) for one in TYPES}
    entries = [MenuEntry(one.name, one.number, type=one) for one in TYPES if one.name not in left_out]
    for name, spec in _endpoints(hub, left_out):
        entries.append(MenuEntry(f"inference: {name} ({spec.fingerprint[:8]})", _number(spec), endpoint=spec))
    return Menu(tuple(entries), left_out)


def _number(spec: EndpointSpec) -> int:
    """Make a number of 48 bits: 4,000 endpoints have one in common once in 35 million times."""
    return FIRST_INFERENCE + int(spec.fingerprint[:12], 16)


def _no_trainer(hub: Hub) -> str:
    """Say so where there are workers, and none that could train; what comes while there is none waits for one."""
    try:
        found = workers(hub)
    except QueueError:
        return ""
    if not found or any(worker.trains for worker in found):
        return ""
    return "no worker has torch: install requirements-train.txt where one runs"


@lru_cache(maxsize=8)
def _untaught(settings: Settings) -> Mapping[str, str]:
    """Say of each model type that the settings' trainer cannot learn why it cannot.

    One that cannot be opened says so where it is to train.
    """
    try:
        trainer = open_trainer(settings)
    except SettingsError:
        return {}
    return {one.name: why for one in TYPES if (why := _why_untaught(settings, trainer, one))}


def _why_untaught(settings: Settings, trainer: Trainer, wanted: ModelType) -> str:
    name = f"{trainer.name} (LABELLOOP_TRAINER)"
    if trainer.ours:
        return ""
    if settings.trainer.startswith("vertex-automl:"):
        return "" if wanted.kind in MODELS else f"{name} learns classes of pictures, and boxes"
    options = parse_qs(urlsplit(settings.trainer).query)
    for form in (*options.get("format", ()), *options.get("manifest_format", ())):
        carries = FORMATS[form].carries
        if "kind" not in carries and wanted.kind not in FORMATS[form].kinds:
            return f"{name} is given its labels as {form}, which cannot carry them"
        if wanted.choice == "multiple" and "several labels" not in carries:
            return f"{name} is given its labels as {form}, which has one label a picture"
    if settings.trainer.startswith("sagemaker-pipeline:") and not trainer.predicts:
        return f"models of {name} answer nothing that could be uploaded, for they are judged by metrics (judge=metrics)"
    return ""


def _endpoints(hub: Hub, left_out: dict[str, str]) -> Iterator[tuple[str, EndpointSpec]]:
    """Give the endpoints with a model of their own, each once, by a name that can be shown."""
    seen: set[str] = set()
    for title, spec in _specs(hub):
        try:
            endpoint = hub.endpoint_of(spec)
        except SettingsError as error:
            told = str(error).replace("LABELLOOP_ENDPOINT", "LABELLOOP_ALLOWED_ENDPOINTS")
            left_out[f"endpoint {title}" if title else "an allowed endpoint"] = told
            continue
        if endpoint.follows or (hub.settings.deployer and spec.address == hub.settings.endpoint):
            # It serves the versions of projects: without one it has nothing to answer with.
            if spec.address != hub.settings.endpoint:
                left_out[f"endpoint {endpoint.name}"] = "it serves versions trained here, and no model of its own"
        elif (place := spec.address.partition("?")[0]) not in seen:
            seen.add(place)
            yield _shown(title or endpoint.name), spec


def _specs(hub: Hub) -> Iterator[tuple[str, EndpointSpec]]:
    """Give what may be asked, the settings' own endpoint first, each with its title where it has one.

    As in extra_params, what the settings say of their endpoint is for that one.
    """
    settings = hub.settings
    own = EndpointSpec.of(settings)
    allowed = [(address, "") for address in settings.allowed_endpoints if not _is_pattern(address)]
    yield "", own
    for address, title in (*allowed, *_live(hub)):
        if address != own.address:
            yield title, EndpointSpec(address, timeout=settings.endpoint_timeout, base=settings.vertex_base_url)


def _is_pattern(address: str) -> bool:
    """Whether an allowed endpoint stands for many; a question mark alone begins a query."""
    parts = urlsplit(address)
    return bool(set("*?[") & set(parts.netloc + parts.path + parts.query))


def _shown(name: str) -> str:
    """Shorten a name to what can be shown in one line."""
    return "".join(letter if letter.isprintable() else " " for letter in name)[:_LONGEST_NAME].strip()


@dataclass(frozen=True, slots=True)
class _Live:
    """``_model-runs/endpoints.json``: the endpoints of Vertex AI with a model, each an address and a title."""

    place: str = ""
    endpoints: tuple[tuple[str, str], ...] = ()


def _live(hub: Hub) -> tuple[tuple[str, str], ...]:
    """Read what the sweep has found where the settings say; raises StoreError."""
    place = hub.settings.labelbox_vertex
    found = readable_record(hub.store, _LIVE, _Live) if place else None
    if found is None or found.place != place:
        return ()
    return tuple((str(address), str(title)) for address, title in found.endpoints)


def look_for_endpoints(hub: Hub) -> str:
    """Ask Vertex AI which endpoints have a model, keep them for all processes, and say how many; empty: not asked.

    Where it cannot be asked, those found before stay.
    """
    place = hub.settings.labelbox_vertex
    if not place:
        return ""
    try:
        found = _with_a_model(place)
        kept = _Live(place, tuple(sorted(found)))
        if _live(hub) != kept.endpoints:
            hub.store.write(_LIVE, to_bytes(kept))
    except LabelLoopError as error:
        _log.warning("which endpoints of vertex://%s have a model is not known anew: %s", place, error)
        return f"failed: {error}"
    return f"{len(found)} of vertex://{place} have a model"


def _with_a_model(place: str) -> list[tuple[str, str]]:
    # Imported here: nobody else needs Google's credentials.
    from labelloop.cloud.google.client import Google
    from labelloop.cloud.google.hosting import Hosting

    project, _, location = place.partition("/")
    return [
        (f"vertex://{place}/{one.id}" + (f"?dedicated={one.dns}" if one.dns else ""), one.title or one.id)
        for one in Hosting(Google(project, location)).live()[:_MOST_LIVE]
    ]


def asking(settings: Settings, spec: EndpointSpec) -> Settings:
    """Give the settings by which an entry's endpoint is the one that predicts; headers are for the settings' own."""
    if spec == EndpointSpec.of(settings):
        return settings
    return replace(
        settings,
        deployer="",
        endpoint=spec.address,
        request_format=spec.request,
        response_format=spec.response,
        response_mapping=spec.mapping,
        classes=spec.classes,
        parameters=spec.parameters,
        model_version=spec.version,
        endpoint_headers="",
        endpoint_concurrency=spec.concurrency,
        endpoint_batch=spec.batch,
        payload_max_bytes=spec.payload_bytes,
    )
