"""What is looked at before anything starts: what can never work is refused, what is doubtful is said once."""

import importlib.util
import json
import logging
import os
import stat
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from rq import Worker
from rq.serializers import JSONSerializer

from labelloop.deployers.opening import has_batch
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.environment import environment_of
from labelloop.errors import CloudDenied, LabelLoopError, Outage, SettingsError, StoreError, UnsafeStore
from labelloop.kinds.base import find, kinds
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import open_for
from labelloop.loop.queue import LONG, queue
from labelloop.loop.redis_client import as_text
from labelloop.models.opening import check_store
from labelloop.setting_values import whole_addresses, without_secrets
from labelloop.settings import Settings
from labelloop.trainers.foreign import learner
from labelloop.trainers.opening import ON_FEATURES, open_trainer

_log = logging.getLogger(__name__)

_STUDIO_SECONDS = 100.0
"""Label Studio gives up on a prediction then."""

_STORE_SECONDS = 30.0
_OURS = ("cache", "pinned", "redis", "reports", "runs", "store")
"""What LabelLoop makes in MODEL_DIR."""

_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - read, not bound

OPEN = (
    "Basic authentication is off and HOST is {host}: whoever reaches port {port} can have predictions made with your "
    "endpoint, start trainings and read how your projects stand. Set BASIC_AUTH_USER and BASIC_AUTH_PASS (the same in "
    "Label Studio's settings of the ML backend), or HOST=127.0.0.1 if Label Studio runs on this machine"
)


def refuse_impossible(hub: Hub) -> None:
    """Open what the settings name without sending anything; raises SettingsError or StoreError for what cannot be."""
    open_for(hub, None)
    open_trainer(hub.settings)
    for part in ("store", "redis", "inbox", "registry"):
        getattr(hub, part)


def keep_private(directory: Path) -> None:
    """Make MODEL_DIR, or take it from the machine's other users: it holds labels, pictures and the queue.

    A folder that holds other things than LabelLoop's, or is another user's, stays as it is; what is LabelLoop's in it
    does not. Raises SettingsError for a folder that cannot be.
    """
    try:
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
        shared = {entry.name for entry in directory.iterdir()} - set(_OURS)
        for folder in [directory / name for name in _OURS] if shared else [directory]:
            if shared:
                folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.stat()
            if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
                folder.chmod(0o700)
                _log.warning("%s could be read by other users of this machine; now it cannot (mode 0700)", folder)
    except OSError as error:
        raise SettingsError(f"MODEL_DIR: {directory} cannot be used as a folder ({error.strerror})") from error


def is_open(settings: Settings) -> str:
    """Say what an open backend lets others do; empty for one that asks for a password, or hears this machine alone."""
    if settings.basic_auth_user or settings.host not in _EVERYWHERE:
        return ""
    return OPEN.format(host=settings.host or "every address", port=settings.port)


def clashes(settings: Settings) -> list[str]:
    """Say which settings do not go together, a sentence each; each alone is possible."""
    found = {
        f"LABELLOOP_PREDICT_DEADLINE is {settings.predict_deadline:g} s, but Label Studio waits {_STUDIO_SECONDS:g} s "
        "for a prediction: what comes later is lost": settings.predict_deadline >= _STUDIO_SECONDS,
        f"LABELLOOP_ENDPOINT_TIMEOUT ({settings.endpoint_timeout:g} s) is longer than LABELLOOP_PREDICT_DEADLINE "
        f"({settings.predict_deadline:g} s), which ends a call before": settings.endpoint_timeout
        > settings.predict_deadline,
        f"LABELLOOP_INTERACTIVE_DEADLINE ({settings.interactive_deadline:g} s) is longer than "
        f"LABELLOOP_PREDICT_DEADLINE ({settings.predict_deadline:g} s)": settings.interactive_deadline
        > settings.predict_deadline,
        f"LABELLOOP_MAX_WAIT_SECONDS ({settings.max_wait_seconds:g} s) is shorter than LABELLOOP_QUIET_SECONDS "
        f"({settings.quiet_seconds:g} s), so a run never waits for quiet": settings.max_wait_seconds
        < settings.quiet_seconds,
        f"LABELLOOP_MAX_WAIT_SECONDS ({settings.max_wait_seconds:g} s) is shorter than LABELLOOP_HEAD_QUIET_SECONDS "
        f"({settings.head_quiet_seconds:g} s), so a run of a head never waits for quiet": settings.max_wait_seconds
        < settings.head_quiet_seconds
        and settings.head_quiet_seconds != settings.quiet_seconds,
        "LABELLOOP_BOOTSTRAP_OPTIONS is set without LABELLOOP_BOOTSTRAP_ENDPOINT, so nothing is asked by them": bool(
            settings.bootstrap_options and not settings.bootstrap_endpoint
        ),
        "LABELLOOP_DEPLOYER is set for an inference container, which serves the store's versions by itself: what is "
        "deployed has to be what answers there": bool(settings.deployer) and _is_container(settings),
        "LABELLOOP_DEPLOYER brings versions to another endpoint than LABELLOOP_ENDPOINT asks": _is_another(settings),
        "LABELLOOP_BATCH_FROM is set, but LABELLOOP_DEPLOYER brings versions neither to SageMaker (sagemaker://NAME) "
        "nor to Vertex AI (vertex://PROJECT/LOCATION/NAME), so no batch job is ever begun": bool(settings.batch_from)
        and not any(map(has_batch, (settings.deployer, *whole_addresses(settings.allowed_deployers)))),
        "LABELLOOP_DEPLOYER is set beside LABELLOOP_FEATURES: heads on features answer here, and go nowhere else": (
            bool(settings.features and settings.deployer)
        ),
        "LABELLOOP_TRAINER is set beside LABELLOOP_FEATURES: heads on features are trained by the worker": (
            bool(settings.features) and settings.trainer != "local"
        ),
        "LABELLOOP_LEARNING_RATE is 0, so a finetune learns nothing": settings.learning_rate == 0,
    }
    return [sentence for sentence, holds in found.items() if holds]


def _is_container(settings: Settings) -> bool:
    """Whether each request may ask the endpoint for a version of the store."""
    try:
        return open_endpoint(EndpointSpec.of(settings)).follows
    except SettingsError:
        return False


def _is_another(settings: Settings) -> bool:
    """Whether deployer and endpoint are both named in a cloud, and not the same."""
    deployed, asked = (urlsplit(address)[:3] for address in (settings.deployer, settings.endpoint))
    return deployed != asked and {deployed[0], asked[0]} <= {"sagemaker", "lambda", "vertex"}


def trains_here(settings: Settings) -> bool:
    """Whether what training needs is installed: nothing, where somebody else trains, little for a head on features."""
    return settings.trainer != "local" or bool(settings.features) or has_torch()


def has_torch() -> bool:
    """Whether torch is installed."""
    return importlib.util.find_spec("torch") is not None


ABOUT = "labelloop"
"""Field of RQ's record of a worker that holds what the worker says of itself, as JSON."""

_OF_ONE_PROCESS = (
    *("HOST", "PORT", "WORKERS", "THREADS", "LOG_LEVEL", "LABELLOOP_LOG_FORMAT", "MODEL_DIR", "ENGINE"),
    *("LABELLOOP_LOADED_MODELS", "LABELLOOP_METRICS_LISTEN", "K_SERVICE", "LABELLOOP_RUN_NICENESS"),
)


def comparable(settings: Settings) -> dict[str, str]:
    """Spell out the settings that all processes of one loop should share, without secrets; addresses lose theirs."""
    secret = {entry.metadata["name"] for entry in fields(settings) if entry.metadata["secret"]}
    told = {**environment_of(settings), "LABELLOOP_STORE": settings.store_address}
    return {
        name: without_secrets(value)
        for name, value in told.items()
        if name not in secret and name not in _OF_ONE_PROCESS
    }


def readable() -> list[str]:
    """Name the files that this release can read a model from, by kind: an earlier one refuses bundles of others."""
    return [f"{file} of {kind.name}" for kind in kinds() for file in kind.weights]


Age = Literal["earlier", "later", "other"]


@dataclass(frozen=True, slots=True)
class WorkerAbout:
    """What a living worker says of itself: its ``settings``, and the files of ``bundles`` that it can read.

    What an earlier release does not say is empty.
    """

    name: str
    trains: bool
    settings: Mapping[str, str]
    bundles: Collection[str]

    def other_release(self, settings: Settings) -> "OtherRelease | None":
        """Say how it is seen that this worker is of another release than this process; None where it is not."""
        if not self.settings or not self.bundles:
            what = "which files of bundles it can read" if self.settings else "its settings"
            return OtherRelease(f"it does not say {what}", "earlier")
        here, there = {*comparable(settings), *readable()}, {*self.settings, *self.bundles}
        lacks, has = sorted(here - there), sorted(there - here)
        told = [f"it does not know {lacks[0]}"] if lacks else []
        told += [f"it has {has[0]}, which is unknown here"] if has else []
        age: Age = "other" if lacks and has else "earlier" if lacks else "later"
        return OtherRelease(", and ".join(told), age) if told else None


@dataclass(frozen=True, slots=True)
class OtherRelease:
    """How it is seen that a worker is of another release, and its ``age``: later releases know more.

    The age is ``other`` where each of the two knows something that the other does not.
    """

    how: str
    age: Age


def workers(hub: Hub) -> list[WorkerAbout]:
    """List the workers that Redis has heard of within their time to live; raises QueueError.

    The processes beside them, which take no runs, are not among them.
    """
    found = []
    for worker in Worker.all(queue=queue(hub.redis, LONG), serializer=JSONSerializer):
        about = json.loads(as_text(hub.redis.hget(worker.key, ABOUT) or "{}"))
        told = about.get("settings", {}), about.get("bundles", ())
        found.append(WorkerAbout(worker.name, bool(about.get("trains")), *told))
    return found


def warn_of_other_releases(hub: Hub) -> None:
    """Say in the log which workers beside this one are of another release, and which to stop; raises QueueError."""
    said = {
        "earlier": ("an earlier", "stop it"),
        "later": ("a later", "stop this worker"),
        "other": ("another", "stop whichever is the earlier"),
    }
    for worker in workers(hub):
        if other := worker.other_release(hub.settings):
            _log.warning(
                "worker %s is of %s release (%s): %s. A worker of an earlier release cannot read all models of a later "
                'one, and its runs fail (docs/operations.md, "Upgrade")',
                worker.name,
                said[other.age][0],
                other.how,
                said[other.age][1],
            )


def check_training(settings: Settings) -> None:
    """Refuse training settings that no run could use: network, optimizer, size, files; raises SettingsError.

    It happens in a forked process, for a network that was run in this one would leave threads behind, which a job's
    fork does not survive. Weights that are yet to be downloaded are not looked at.
    """
    import multiprocessing

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_try_training, args=(settings, theirs), name="check of the training settings")
    child.start()
    theirs.close()
    try:
        told = str(ours.recv())
    except EOFError:
        told = "the check of the training settings ended by itself; is there too little memory for LABELLOOP_BACKBONE?"
    child.join()
    ours.close()
    if told:
        raise SettingsError(told)


def _try_training(settings: Settings, told: Connection) -> None:
    try:
        told.send(_wrong_training(settings))
    finally:
        told.close()


def _wrong_training(settings: Settings) -> str:
    wrong: dict[str, str] = {}
    if settings.features:
        settings = replace(settings, trainer=ON_FEATURES)
    for kind in kinds():
        try:
            learner(kind, settings).check_settings(settings, thorough=True)
        except (Outage, CloudDenied) as error:
            # That may be mended while the worker goes on: the run that needs it says so.
            _log.warning("whether runs can be trained is not known yet: %s", error)
        except LabelLoopError as error:
            wrong[kind.name] = " ".join(str(error).split())
    fine = [kind for kind in kinds() if kind.name not in wrong]
    for name, sentence in wrong.items():
        # A network that is none for boxes is one for classes all the same: a project of boxes is told so.
        if not any(set(find(name).settings) <= set(other.settings) for other in fine):
            return sentence
        _log.warning("%s cannot be trained with these settings: %s", name, sentence)
    return ""


def require_safe_store(hub: Hub) -> None:
    """Try on a bucket that it honours conditional writes; raises UnsafeStore where it does not.

    A bucket that cannot be reached now, or is slow, is left to the work that comes.
    """
    if hub.settings.store_address.startswith("file:"):
        return
    found: list[StoreError] = []

    def look() -> None:
        try:
            check_store(hub.store)
        except StoreError as error:
            found.append(error)

    thread = threading.Thread(target=look, name="check of the store", daemon=True)
    thread.start()
    thread.join(_STORE_SECONDS)
    if thread.is_alive():
        _log.warning("the store did not answer within %g s: whether it is safe is not known", _STORE_SECONDS)
    for error in found:
        if isinstance(error, UnsafeStore):
            raise error
        _log.warning("whether the store is safe is not known yet: %s", error)
