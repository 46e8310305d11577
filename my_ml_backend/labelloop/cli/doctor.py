"""Looks at everything the loop needs; whatever is wrong comes with its remedy."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import fields, replace
from functools import cache

from labelloop.cloud.base import Figure
from labelloop.cloud.opening import open_meter
from labelloop.deployers.opening import open_deployer
from labelloop.endpoints.spec import EndpointSpec
from labelloop.environment import read_instead, unknown_variables
from labelloop.errors import EndpointError, LabelLoopError, QueueError
from labelloop.kinds.base import find
from labelloop.kinds.classification import Classification
from labelloop.labelbox.diagnosis import check_secret
from labelloop.loop.hub import Hub
from labelloop.loop.notify import check_place
from labelloop.loop.project_endpoint import bootstrap_of, learn_unknown, needless_bootstrap, open_for, project_endpoint
from labelloop.loop.project_labels import labeling_of
from labelloop.loop.project_options import options_of
from labelloop.loop.project_registry import backend_url, confirmed_project, site_of
from labelloop.loop.serving import announced_version
from labelloop.loop.startup import check_training, clashes, comparable, is_open, keep_private, trains_here, workers
from labelloop.loop.status import left_over
from labelloop.loop.webhooks import web_agrees
from labelloop.models.bundle import read_description
from labelloop.models.opening import check_store
from labelloop.settings import Settings
from labelloop.sources.urls import shown
from labelloop.studio import diagnosis
from labelloop.studio.backends import MLBackend, Webhook, own_backend, own_webhooks
from labelloop.studio.client import ProjectInfo, Studio
from labelloop.trainers.opening import open_trainer
from labelloop.types import Finding, ProjectKey
from labelloop.web.cloud_run import lacks_by_settings
from labelloop.web.labelbox import is_alone, is_set_up
from labelloop.webhook_secrets import WebhookSecrets

_log = logging.getLogger(__name__)

_PROBE = "doctor/probe"

_RELEASES = {
    "earlier": ("an earlier one than here", "stop that worker, and start one of this release"),
    "later": ("a later one than here", "install that release here, too, and stop workers of this one"),
    "other": ("another one than here", "stop whichever workers are of the earlier one"),
}
"""What a worker's release is, by its age, and what is to be done about it."""


def diagnose(
    hub: Hub,
    project_id: int | None,
    environment: Mapping[str, str] | None = None,
    faults: Mapping[str, str] | None = None,
) -> Iterator[Finding]:
    """Yield one finding after the other, on this machine's set and on one project; never raises.

    ``environment`` is where the settings came from, ``faults`` what is wrong with them, by name: then nothing else is
    looked at, for it would be looked at with other values than were meant.
    Besides reading, it writes a probe into the store, and saves the project's webhook as it is: Label Studio checks the
    address then, which nothing else shows.
    """
    told: dict[str, str] = {}
    for found in _findings(hub, project_id, environment or {}, faults or {}):
        before = told.setdefault(found.detail, found.name)
        if found.ok or before == found.name:
            yield found
        else:
            yield replace(found, detail=f"cannot be looked at, for what {before} says", remedy="Mend that first.")


def _findings(
    hub: Hub, project_id: int | None, environment: Mapping[str, str], faults: Mapping[str, str]
) -> Iterator[Finding]:
    yield from check_settings(hub.settings, environment, faults)
    if faults:
        return
    with ExitStack() as opened:
        studio = cache(lambda: opened.enter_context(closing(Studio.of(hub.settings))))
        yield from guarded("training", lambda: _training(hub.settings))
        if project_id is None and is_alone(hub.settings):
            yield Finding("Label Studio", ok=True, detail="is not set up here (LABEL_STUDIO_API_KEY); Labelbox is")
        else:
            yield from guarded("Label Studio", lambda: _studio(studio(), hub.settings))
            yield from guarded("API key", lambda: _key(studio()))
            yield from guarded("credentials", lambda: _credentials(hub.settings))
        yield from guarded("Redis", lambda: check_redis(hub))
        yield from guarded("key of webhooks", lambda: _webhook_key(hub))
        yield from guarded("workers", lambda: check_workers(hub))
        yield from guarded("store", lambda: try_store(hub))
        yield from guarded("other projects", lambda: _left_over(hub))
        yield from guarded("endpoint", lambda: _endpoint(hub))
        yield from guarded("deployer", lambda: _deployer(hub, "deployer", hub.settings.deployer))
        yield from guarded("registry", lambda: _registry(hub))
        yield from guarded("bootstrap endpoint", lambda: _bootstrap(hub))
        yield from guarded("events", lambda: _events(hub))
        yield from guarded("figures", lambda: _figures(hub.settings))
        yield from guarded("messages", lambda: _messages(hub.settings))
        yield from guarded("Labelbox", lambda: _labelbox(hub.settings))
        if project_id is not None:
            yield from guarded("project", lambda: _project(hub, studio(), project_id))


def guarded(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Give what a look finds; what it raises is a finding, too."""
    try:
        yield from look()
    except LabelLoopError as error:
        yield Finding(name, ok=False, detail=str(error), remedy="Do as the message says, then ask again.")
    except Exception as error:  # noqa: BLE001 - the border: a doctor who falls over finds nothing more
        _log.debug("doctor: %s", name, exc_info=True)
        detail = f"{type(error).__name__}: {error}"
        yield Finding(name, ok=False, detail=detail, remedy="This was not foreseen: please report it.")


def check_settings(settings: Settings, environment: Mapping[str, str], faults: Mapping[str, str]) -> Iterator[Finding]:
    """Say what is wrong with the settings by themselves; arguments as of ``diagnose``."""
    for name, fault in faults.items():
        yield Finding(
            name,
            ok=False,
            detail=fault.removeprefix(f"{name}: "),
            remedy=f"Correct {name}, then ask again for the rest.",
        )
    if faults:
        return
    yield Finding("settings", ok=True, detail="every value is possible")
    for name, read in read_instead(environment):
        yield Finding(name, ok=True, detail=f"{read} is read in its place")
    for name, sentence in unknown_variables(environment).items():
        yield Finding(name, ok=True, detail=sentence, remedy="It changes nothing: correct its name, or unset it.")
    for number, sentence in enumerate(clashes(settings), 1):
        yield Finding(f"clash {number}", ok=True, detail=sentence, remedy="Change one of them (docs/settings.md).")
    for lack in lacks_by_settings(settings):
        yield Finding(f"on Cloud Run, {lack.name}", ok=False, detail=lack.detail, remedy=lack.remedy)
    if sentence := is_open(settings):
        what, _, remedy = sentence.partition(". ")
        yield Finding("open to everybody", ok=True, detail=what, remedy=f"{remedy}.")


def _training(settings: Settings) -> Iterator[Finding]:
    if not trains_here(settings):
        detail = "torch is not installed here, so network, weights and optimizer are looked at where a worker starts"
        yield Finding("training", ok=True, detail=detail)
        return
    check_training(settings)
    if settings.features:
        detail = "heads on the endpoint's features can be trained (LABELLOOP_FEATURES)"
        yield Finding("training", ok=True, detail=detail)
    elif settings.trainer == "local":
        detail = f"{settings.backbone} can be trained with these settings"
        if settings.weights == "pretrained":
            detail += "; its weights, if it has not fetched them yet, come from the hub with the first run of pictures"
        yield Finding("training", ok=True, detail=detail)
    else:
        trainer = open_trainer(settings)
        trainer.check(thorough=True)
        yield Finding("training", ok=True, detail=f"{trainer.name} trains (LABELLOOP_TRAINER)")


def check_workers(hub: Hub) -> Iterator[Finding]:
    """Look for workers, whether they can train, and whether they have this shell's settings."""
    found = workers(hub)
    if not found:
        detail = "there is none at this Redis, so nothing is trained or pre-annotated"
        yield Finding(
            "workers", ok=False, detail=detail, remedy="Start one: `labelloop worker`, or all: `labelloop start`."
        )
        return
    trains = sum(worker.trains for worker in found)
    detail = f"{len(found)}, of which {trains} can train"
    remedy = "" if trains else "Install requirements-train.txt where the worker runs: without torch nothing is trained."
    yield Finding("workers", ok=bool(trains), detail=detail, remedy=remedy)
    here = comparable(hub.settings)
    for worker in found:
        if release := worker.other_release(hub.settings):
            yield Finding(
                f"release of worker {worker.name[:8]}",
                ok=False,
                detail=f"it is {_RELEASES[release.age][0]}: {release.how}",
                remedy=f'Have one release everywhere: {_RELEASES[release.age][1]} (docs/operations.md, "Upgrade").',
            )
        other = {name for name, value in worker.settings.items() if here.get(name, value) != value}
        if other:
            told = "; ".join(f"{name} is {worker.settings[name] or 'empty'} there" for name in sorted(other))
            yield Finding(
                f"settings of worker {worker.name[:8]}",
                ok=not other & {"LABELLOOP_STORE", "LABEL_STUDIO_URL"},
                detail=f"{told}, and not here",
                remedy="Give both the same environment: else what you see here is not what the worker does.",
            )


def _studio(studio: Studio, settings: Settings) -> Iterator[Finding]:
    yield diagnosis.check_version(studio.version(), shown(settings.label_studio_url))


def _key(studio: Studio) -> Iterator[Finding]:
    yield Finding("API key", ok=True, detail=f"{studio.api.token_kind} of {studio.whoami()}")


def _credentials(settings: Settings) -> Iterator[Finding]:
    if bool(settings.basic_auth_user) != bool(settings.basic_auth_pass):
        yield Finding(
            "credentials",
            ok=False,
            detail="of BASIC_AUTH_USER and BASIC_AUTH_PASS only one is set",
            remedy="Set both or neither, then run `labelloop connect` again.",
        )
    elif not WebhookSecrets(settings):
        yield Finding(
            "credentials",
            ok=False,
            detail="there is no webhook secret, so no webhook is accepted",
            remedy="Set LABEL_STUDIO_API_KEY or LABELLOOP_WEBHOOK_SECRET, the same for all processes.",
        )
    else:
        whose = "set" if settings.webhook_secret else "derived from the API key"
        basic = "on" if settings.basic_auth_user else "off"
        yield Finding("credentials", ok=True, detail=f"webhook secret {whose}, Basic authentication {basic}")
    still = [name for name, value in _previous(settings).items() if value]
    if still:
        remedy = f"Once each project is connected anew (docs/security.md), unset {', '.join(still)}."
        yield Finding("credentials of before", ok=True, detail="they are still taken", remedy=remedy)


def _previous(settings: Settings) -> dict[str, str]:
    return {
        entry.metadata["name"]: getattr(settings, entry.name)
        for entry in fields(settings)
        if entry.name.endswith("_previous")
    }


def _webhook_key(hub: Hub) -> Iterator[Finding]:
    """Compare this shell's key of webhooks with web's; nothing where web has not told of its own."""
    agrees = None
    with suppress(QueueError):  # which is told by another finding
        agrees = web_agrees(hub)
    if agrees is False:
        yield Finding(
            "key of webhooks",
            ok=False,
            detail="the web process makes webhooks' secrets of another key than this shell would",
            remedy="Give both the same LABELLOOP_WEBHOOK_SECRET, or LABEL_STUDIO_API_KEY, before `labelloop connect`.",
        )


def check_redis(hub: Hub) -> Iterator[Finding]:
    """Ask Redis for its version; raises QueueError."""
    version = hub.redis.info("server").get("redis_version", "unknown")
    yield Finding("Redis", ok=True, detail=f"{version}, {shown(hub.settings.redis_url)}")


def try_store(hub: Hub) -> Iterator[Finding]:
    """Write a probe into the store, and look whether it keeps its promises; raises StoreError."""
    if not hub.settings.directory.exists():
        keep_private(hub.settings.directory)  # as a process would that finds none
    hub.store.write(_PROBE, b"written by labelloop doctor\n")
    hub.store.read(_PROBE)
    check_store(hub.store)
    detail = f"{shown(hub.settings.store_address)} can be read and written, and honours conditional writes"
    yield Finding("store", ok=True, detail=detail)


def _left_over(hub: Hub) -> Iterator[Finding]:
    """Name what the store holds of no project of today: an address that is gone, a project that was made anew."""
    for name, what in left_over(hub).items():
        remedy = f"If it is to go on: `labelloop move --project NUMBER --from {name}`. Else it may lie there."
        yield Finding(f"in the store, {name}", ok=True, detail=what, remedy=remedy)


def _endpoint(hub: Hub) -> Iterator[Finding]:
    if hub.endpoint.follows and is_alone(hub.settings):
        detail = f"{hub.endpoint.name} serves versions to projects of Label Studio: model runs of Labelbox need none"
        yield Finding("endpoint", ok=True, detail=detail)
        return
    try:
        yield Finding("endpoint", ok=True, detail=hub.endpoint.check())
    except EndpointError as error:
        start = "`labelloop start` (or `labelloop serve`)" if hub.endpoint.follows else "it"
        remedy = f"Start {start}, or correct LABELLOOP_ENDPOINT, unless the message says something else."
        yield Finding("endpoint", ok=False, detail=str(error), remedy=remedy)


def _deployer(hub: Hub, name: str, address: str, project: ProjectKey | None = None) -> Iterator[Finding]:
    """Open what brings versions to the endpoint, and ask what serves there."""
    if address:
        detail = open_deployer(address, project, hub.settings).check()
        yield Finding(name, ok=True, detail=detail)


def _registry(hub: Hub) -> Iterator[Finding]:
    """Ask what mirrors the versions, and write a probe beside its files."""
    if hub.registry is not None:
        yield Finding("registry", ok=True, detail=hub.registry.check())


def _bootstrap(hub: Hub) -> Iterator[Finding]:
    """Ask the settings' bootstrap endpoint, or say that it is not needed."""
    found = open_for(hub, None)
    if needless := needless_bootstrap(found):
        yield Finding(
            "bootstrap endpoint", ok=True, detail=needless, remedy="Unset it, unless a project names another."
        )
    elif other := bootstrap_of(hub, found):
        when = "it predicts before a project's first version, and where its endpoint is down"
        yield Finding("bootstrap endpoint", ok=True, detail=f"{other.endpoint.check()}; {when}")


def _events(hub: Hub) -> Iterator[Finding]:
    """Ask the queue of events, if there is one."""
    if hub.inbox:
        yield Finding("events", ok=True, detail=hub.inbox.check())


def _figures(settings: Settings) -> Iterator[Finding]:
    """Send one figure to where figures go, if they go anywhere."""
    if settings.metrics:
        meter = open_meter(settings.metrics)
        meter.put([Figure("Checked", 1.0, "labelloop doctor", "", time.time())])
        yield Finding("figures", ok=True, detail=f"{meter.name} takes figures")


def _messages(settings: Settings) -> Iterator[Finding]:
    """Connect to where messages go, if they go anywhere; none is sent, for people would read it."""
    if settings.notify_url:
        where = check_place(settings)
        yield Finding("messages", ok=True, detail=f"{where} can be reached; it is sent {settings.notify_form}")


def _labelbox(settings: Settings) -> Iterator[Finding]:
    """Say whether Labelbox's service is there, where any of its settings is set."""
    if not is_set_up(settings):
        return
    found = check_secret(settings)
    further = "; `labelloop labelbox doctor` looks at the rest" if found.ok else ""
    yield replace(found, name="Labelbox", detail=f"{found.detail}{further}")


def _storages(hub: Hub, project: ProjectKey) -> Iterator[Finding]:
    """Say which of a project's storages events may tell of, where events are heard at all."""
    if not hub.settings.events:
        return
    storages = site_of(hub, project.id).storages()
    told = [f"its {one.holds} lie in {one.address}" for one in storages]
    remedy = "" if told else "Connect one in its settings (Cloud Storage), or leave it: the sweep finds what changes."
    detail = "; ".join(told) or "none of them lies in a bucket, so no event is of this project"
    yield Finding("project's storages", ok=True, detail=detail, remedy=remedy)


def _project(hub: Hub, studio: Studio, project_id: int) -> Iterator[Finding]:
    connect = f"`labelloop connect --project {project_id} --url ADDRESS`."
    project, _ = confirmed_project(hub, project_id)
    info = studio.project(project_id)
    counted = f"{info.counters.labeled} of {info.counters.tasks} tasks are labeled"
    yield Finding("project", ok=True, detail=f"{info.title}: {counted}")
    yield from guarded("project's endpoint", lambda: _own_endpoint(hub, project))
    yield from guarded("project's deployer", lambda: _own_deployer(hub, project))
    yield from guarded("project's bootstrap endpoint", lambda: _own_bootstrap(hub, project))
    yield from guarded("project's storages", lambda: _storages(hub, project))
    yield from guarded("labels", lambda: _labels(hub, project, info))
    yield from guarded("least macro F1", lambda: _minimum_f1(hub, project))
    backends = studio.ml_backends(project_id)
    own = own_backend(backends, backend_url(hub, project_id))
    yield diagnosis.check_backend(backends, own, connect)
    webhooks = studio.webhooks(project_id)
    if own is not None:
        yield from guarded("title", lambda: _title(hub, project, own, info))
        yield diagnosis.check_host(own)
        yield diagnosis.check_webhook(webhooks, own, WebhookSecrets(hub.settings), connect)
        yield from guarded("webhook address", lambda: _webhook_address(studio, webhooks, own))
    yield diagnosis.check_orphans(webhooks, backends)
    yield diagnosis.check_sampling(info, connect)


def _own_endpoint(hub: Hub, project: ProjectKey) -> Iterator[Finding]:
    """Look at what a project's extra_params say, and ask the endpoint that they name or speak to in another way."""
    learn_unknown(hub, project)
    found = project_endpoint(hub, project)
    options, endpoint = found.options, found.endpoint
    if options.endpoint != EndpointSpec.of(hub.settings):
        yield Finding("project's endpoint", ok=True, detail=f"{endpoint.check()}, as extra_params want it")


def _own_deployer(hub: Hub, project: ProjectKey) -> Iterator[Finding]:
    yield from _deployer(hub, "project's deployer", project_endpoint(hub, project).options.deployer, project)


def _own_bootstrap(hub: Hub, project: ProjectKey) -> Iterator[Finding]:
    """Say whether a project's bootstrap endpoint predicts now, and ask one that is not the settings'."""
    found, name = project_endpoint(hub, project), "project's bootstrap endpoint"
    usual, announced = options_of(hub.settings).bootstrap, hub.pointer(project).read().announced
    other = bootstrap_of(hub, found)
    if other is not None:
        told = other.endpoint.name if other.options == usual else f"{other.endpoint.check()}, as extra_params want it"
        now = f"where the one that serves {announced} is down" if announced else "until a version is announced"
        yield Finding(name, ok=True, detail=f"{told}; it predicts {now}")
    elif (needless := needless_bootstrap(found)) and found.options.bootstrap != usual:
        yield Finding(name, ok=True, detail=needless, remedy="Take bootstrap out of extra_params: it is never asked.")


def _labels(hub: Hub, project: ProjectKey, info: ProjectInfo) -> Iterator[Finding]:
    found = project_endpoint(hub, project)
    trains = found.serves in ("store", "features")
    classes = _classes(hub, project, hub.pointer(project).read().announced) if trains else None
    yield diagnosis.check_labels(info.label_config, classes, found.options.subject if trains else None)


def _minimum_f1(hub: Hub, project: ProjectKey) -> Iterator[Finding]:
    """Say where a rule of the gate cannot be applied to what the project learns."""
    if not hub.settings.minimum_f1 or project_endpoint(hub, project).serves == "alone":
        return
    kind = find(labeling_of(hub, project).kind)
    if not isinstance(kind, Classification):
        detail = f"LABELLOOP_MINIMUM_F1 cannot be applied, for {kind.name} are measured without a macro F1"
        yield Finding("least macro F1", ok=True, detail=detail, remedy="Its verdicts say so; the other rules decide.")


def _title(hub: Hub, project: ProjectKey, own: MLBackend, info: ProjectInfo) -> Iterator[Finding]:
    yield diagnosis.check_title(own, announced_version(hub, project), info)


def _webhook_address(studio: Studio, webhooks: list[Webhook], own: MLBackend) -> Iterator[Finding]:
    """Save the webhook as it is: Label Studio sends none to a refused address, and says so only then."""
    for webhook in own_webhooks(webhooks, own.url)[:1]:
        studio.update_webhook(webhook, webhook.spec)
        yield Finding("webhook address", ok=True, detail=f"Label Studio may call {shown(webhook.spec.url)}")


def _classes(hub: Hub, project: ProjectKey, version: str | None) -> tuple[str, ...] | None:
    """Read the classes of a version from its model.json; None before the first."""
    if version is None:
        return None
    bundle = hub.versions(project).get(version).bundle
    return read_description(
        hub.store.read(f"{project}/versions/{version}/{bundle}/model.json").content, version
    ).classes
