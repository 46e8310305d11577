"""What a web process on Cloud Run lacks. No shell runs beside it, so its log, ``/setup`` and ``/status`` say it.

The ML SDK's ``deploy gcp`` gives it Label Studio's address and key, and nothing else (docs/docker.md, "Cloud Run").
"""

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from labelloop.errors import QueueError
from labelloop.loop.hub import Hub
from labelloop.loop.startup import workers
from labelloop.settings import Settings
from labelloop.types import Json
from labelloop.web.labelbox import is_alone

_SECONDS = 10.0
"""For which what Redis said of workers is not asked again: Label Studio calls /setup with most of its pages."""

_THIS_CONTAINER = {"127.0.0.1", "localhost", "::1"}

_DEPLOY = "`labelloop deploy gcp` with --worker makes one"


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is missing, what follows from that, and what to do."""

    name: str
    detail: str
    remedy: str

    def to_json(self) -> Json:
        """Give it as ``/setup`` and ``/status`` do."""
        return {"what": self.name, "detail": self.detail, "remedy": self.remedy}


def lacks_by_settings(settings: Settings) -> list[Lack]:
    """Say what the settings of a process on Cloud Run lack, without asking anybody; nothing for one elsewhere."""
    if not settings.cloud_run:
        return []
    alone = is_alone(settings)
    found = {
        Lack(
            "Label Studio's address",
            f"{settings.label_studio_url} is this container itself, so no project can be read",
            "Set LABEL_STUDIO_URL to where Label Studio is reached from Google Cloud.",
        ): _is_here(settings.label_studio_url) and not alone,
        Lack(
            "API key",
            "without LABEL_STUDIO_API_KEY no picture of Label Studio's and no annotation can be read",
            "Set it from Secret Manager: `--update-secrets LABEL_STUDIO_API_KEY=NAME:latest`.",
        ): not settings.label_studio_api_key and not alone,
        Lack(
            "endpoint",
            f"{settings.endpoint} is this container itself, so nothing predicts",
            "Set LABELLOOP_ENDPOINT, for instance to vertex://PROJECT/LOCATION/ENDPOINT.",
        ): _is_here(settings.endpoint) and not settings.bootstrap_endpoint and not alone,
        Lack(
            "store",
            "versions would lie in this container's memory and go with it",
            f"Set LABELLOOP_STORE to gs://BUCKET/PREFIX; {_DEPLOY}.",
        ): not settings.store,
    }
    return [lack for lack, holds in found.items() if holds]


class Lacks:
    """Says what is missing in all, Redis and workers among it; in one round of questions in ten seconds."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._by_settings = lacks_by_settings(hub.settings)
        self._asked_at = float("-inf")
        self._of_redis: list[Lack] = []

    def __call__(self) -> list[Lack]:
        """Look; nothing is missing elsewhere than on Cloud Run, where `labelloop doctor` can look."""
        if not self._hub.settings.cloud_run:
            return []
        if time.monotonic() - self._asked_at > _SECONDS:
            self._of_redis, self._asked_at = _of_redis(self._hub), time.monotonic()
        return [*self._by_settings, *self._of_redis]

    def refusal(self) -> str:
        """Say why this backend can do nothing at all, neither predict nor learn; empty where it can do something."""
        found = {lack.name for lack in self()}
        if not {"endpoint", "Redis"} <= found:
            return ""
        return (
            f"LabelLoop is up on Cloud Run and can do nothing yet. It lacks: {', '.join(sorted(found))}. To predict, "
            f"`gcloud run services update {self._hub.settings.cloud_run} --update-env-vars LABELLOOP_ENDPOINT=...`; "
            "for all of it, `labelloop deploy gcp --worker`"
        )


def _of_redis(hub: Hub) -> list[Lack]:
    try:
        if workers(hub):
            return []
    except QueueError:
        return [
            Lack(
                "Redis",
                "nothing that annotators do is noted, and nothing is trained; predictions need none",
                f"Set LABELLOOP_REDIS_URL to one in the service's network; {_DEPLOY}.",
            ),
            Lack("worker", "there is none without Redis", f"Run `labelloop worker` in a worker pool; {_DEPLOY}."),
        ]
    detail = "there is none at this Redis, so nothing is trained or pre-annotated in bulk"
    return [Lack("worker", detail, f"Run `labelloop worker` in a worker pool; {_DEPLOY}.")]


def _is_here(address: str) -> bool:
    return urlsplit(address).hostname in _THIS_CONTAINER
