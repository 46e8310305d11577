"""``make demo-gcp``: the loop on Google Cloud from nothing, on one machine (``support.cloud_demo``).

A custom job of Vertex AI trains, registry and endpoint are Vertex AI's, the store is in Cloud Storage, events come by
Pub/Sub.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from labelloop.settings import Settings
from labelloop.types import Json
from support.cloud_demo import ANNOTATIONS, NAME, RAW, InCloud, demo_command
from support.google import LOCATION, PROJECT, StandIn, google_stand_in
from support.google.buckets import Object

_IMAGES = f"{LOCATION}-docker.pkg.dev/{PROJECT}/labelloop"

_TOPIC, _SUBSCRIPTION = f"projects/{PROJECT}/topics/{NAME}", f"projects/{PROJECT}/subscriptions/{NAME}"


class OnGoogle(InCloud):
    """The demo's pictures in Cloud Storage, its trainer, registry, deployer and endpoint in Vertex AI."""

    kind, bucket = "gcs", f"gs://{NAME}"
    meaning: Mapping[str, str] = {
        "aiplatform:POST customJobs": "the loop starts a custom job",
        "aiplatform:POST customJobs/*:cancel": "a custom job is cancelled",
        "aiplatform:POST models:upload": "a version goes to the model registry",
        "aiplatform:POST models/*:mergeVersionAliases": "an alias of a version is moved",
        "aiplatform:POST endpoints": "an endpoint is made",
        "aiplatform:POST endpoints/*:deployModel": "a version is deployed to an endpoint",
        "aiplatform:POST endpoints/*:undeployModel": "a version is taken off an endpoint",
        "aiplatform:PATCH endpoints/*": "traffic moves",
    }

    def __init__(self, google: StandIn) -> None:
        super().__init__()
        self._google, self._jobs = google, dict[str, str]()

    @property
    def calls(self) -> Sequence[str]:
        """What was asked of Google Cloud."""
        return self._google.calls

    def settings(self, settings: Settings) -> Settings:
        """Name Google Cloud for all that would be on this machine, and make there what its owner makes once."""
        place = f"{PROJECT}/{LOCATION}"
        self._set_up()
        return replace(
            settings,
            store=f"gs://{NAME}/store",
            endpoint=f"vertex://{place}/{NAME}",
            trainer=f"vertex-job://{place}?machine=n1-standard-8&spot=yes",
            deployer=f"vertex://{place}/{NAME}?canary=20&wait=2",
            registry=f"vertex://{place}",
            events=f"pubsub://{PROJECT}/{NAME}",
            metrics=f"cloud-monitoring://{PROJECT}",
            vertex_base_url=self._google.url,
            storage_emulator=self._google.url,
            google_service_account=f"labelloop@{PROJECT}.iam.gserviceaccount.com",
            google_training_image=f"{_IMAGES}/worker:demo",
            google_inference_image=f"{_IMAGES}/inference:demo",
            poll_seconds=1.0,
        )

    def studio_environment(self) -> Mapping[str, str]:
        """Let Label Studio find the bucket as Google's own clients find one elsewhere."""
        download = f"{self._google.url}/download/storage/v1/b/{{bucket_name}}/o/{{blob_name}}?alt=media"
        return {"STORAGE_EMULATOR_HOST": self._google.url, "RESOLVER_PROXY_GCS_DOWNLOAD_URL": download}

    def put(self, key: str, content: bytes) -> None:
        """Write a picture into the bucket."""
        self._google.objects.write(f"{self.bucket}/{key}", content)

    def storage(self) -> Json:
        """Say how Label Studio reaches the bucket: by itself, for signed addresses would be Google's."""
        return {"bucket": NAME, "google_project_id": PROJECT, "presign": False}

    def tell_more(self) -> None:
        """Say how the custom jobs stand."""
        for job in self._google.ask("GET", "customJobs").get("customJobs", ()):
            name, state = str(job["name"]), str(job["state"]).removeprefix("JOB_STATE_").lower()
            if self._jobs.get(name) != state:
                self._jobs[name] = state
                why = f": {job['error']['message']}" if job.get("error") else ""
                click.echo(f"  job:   {name.rpartition('/')[2]} {state}{why}")

    def _set_up(self) -> None:
        """Make the bucket, and the subscription that is told of it."""
        google, pubsub = self._google, self._google.pubsub
        google.bucket(NAME)
        for prefix in (RAW, ANNOTATIONS):
            pubsub.watch(NAME, _TOPIC, prefix)
        pubsub.subscribe(_SUBSCRIPTION, {"topic": _TOPIC, "ackDeadlineSeconds": 60})
        told = google.storage.buckets.changed

        def changed(what: str, one: Object, more: dict[str, str]) -> None:
            told(what, one, more)
            if one.bucket == NAME and one.name.startswith((RAW, ANNOTATIONS)):
                self.object_written()

        google.storage.buckets.changed = changed


@contextmanager
def _stand_in(folder: Path) -> Iterator[StandIn]:
    """Open the stand-in for this process and all that it starts, and no account."""
    with google_stand_in(folder) as google:
        for name in [one for one in os.environ if one.startswith(("GOOGLE_", "CLOUDSDK_"))]:
            del os.environ[name]
        os.environ.update(google.environment)
        yield google


main = demo_command("Google Cloud", _stand_in, OnGoogle)

if __name__ == "__main__":
    main()
