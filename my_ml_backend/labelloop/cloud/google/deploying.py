"""A deployment to Cloud Run, step by step with gcloud. Each step finds out what is there: it may be repeated at will.

Nothing that is there is removed. A secret gets a version only where its value has changed.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from labelloop.cloud.google.cloud_run import PASSWORD, REDIS, Grant, Plan, grants
from labelloop.cloud.google.gcloud import Gcloud
from labelloop.errors import CloudError

_WEB = ("--cpu", "1", "--memory", "1Gi", "--concurrency", "80", "--timeout", "120", "--min-instances", "1")
"""One instance always runs: Label Studio waits a second for /health, and a process takes longer to start. A request may
take longer than the deadline of predictions."""

_WORKER = ("--cpu", "1", "--memory", "2Gi", "--scaling", "1")
_TRAINING_WORKER = ("--cpu", "4", "--memory", "16Gi", "--scaling", "1")
"""A worker that trains holds torch, and its folder is memory, too."""

_REDIS = ("--size", "1", "--tier", "basic", "--redis-version", "redis_7_2", "--enable-auth")
_KEEP_ALL = ("--redis-config", "maxmemory-policy=noeviction")
"""Redis holds a queue, of which nothing may be dropped; all of it may be lost, and is found again."""

_DELIMITERS = ("|", "@", "#", "~", "%", "|@|")

_BUILDING = ("PENDING", "QUEUED", "WORKING", "CREATING")
"""States of a build, or of a Redis, that is not ready yet."""
_PAUSE_SECONDS = 10.0

Step = tuple[str, Callable[[], str]]


class Deployment:
    """Brings a plan about. ``say`` takes a line for each step that is done."""

    def __init__(
        self,
        plan: Plan,
        gcloud: Gcloud,
        say: Callable[[str], object],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._wait = wait
        self._plan = plan
        self._gcloud = gcloud
        self._say = say
        self._region = ("--region", plan.region)
        self._values = dict(plan.secrets)
        self._service: Mapping[str, Any] = {}

    def run(self) -> str:
        """Take all steps, and give the address of the service; raises CloudError naming the step that failed."""
        steps = self.steps()
        for number, (what, step) in enumerate(steps, 1):
            if self._gcloud.dry:
                self._say(f"# {number}/{len(steps)} {what}")
            try:
                done = step()
            except CloudError as error:
                raise CloudError(
                    f"step {number} of {len(steps)}, {what}: {error}. The steps before it are done and stay; mend this "
                    "one and call the command again"
                ) from error
            if not self._gcloud.dry:
                self._say(f"{number}/{len(steps)} {what}: {done}")
        return str(self._service.get("status", {}).get("url", ""))

    def steps(self) -> list[Step]:
        """List the steps in order, each with what it is about."""
        plan = self._plan
        found: list[Step] = [("APIs of the project", self._enable), (f"service account {plan.account}", self._account)]
        if plan.redis:
            found.append((f"Redis {plan.redis}", self._redis))
        if plan.bucket:
            found.append((f"bucket gs://{plan.bucket}", self._bucket))
        found += [(f"secret {plan.secret(name)}", self._secret_step(name)) for name in plan.hidden]
        found += [(f"{one.role} on {' '.join(one.on)}", self._grant_step(one)) for one in grants(plan)]
        found.append((f"service {plan.service}", self._web))
        if plan.pool and plan.trains_there and not plan.worker_image:
            found.append((f"image {self._built_image}", self._build))
        if plan.pool:
            found.append((f"worker pool {plan.pool}", self._worker))
        return found

    def _enable(self) -> str:
        self._gcloud.run("services", "enable", *self._plan.apis)
        return "switched on"

    def _account(self) -> str:
        name = self._plan.account.partition("@")[0]
        title = f"LabelLoop {self._plan.service}"
        made = self._gcloud.make("iam", "service-accounts", "create", name, "--display-name", title)
        return _word(made)

    def _redis(self) -> str:
        """Make the Redis, or find it, and wait until it is ready: making one takes minutes, and may have been left."""
        name = self._plan.redis
        made = not self._described_redis()
        if made:
            network = ("--network", self._plan.network)
            words = ("redis", "instances", "create", name, *self._region, *network, *_REDIS, *_KEEP_ALL)
            self._gcloud.run(*words, watched=True)
        while (place := self._described_redis()).get("state") in _BUILDING:
            self._wait(_PAUSE_SECONDS)
        if not self._gcloud.dry and place.get("state") != "READY":
            raise CloudError(f"it is in state {place.get('state')}: look at it with `gcloud redis instances describe`")
        told = self._gcloud.read("redis", "instances", "get-auth-string", name, *self._region, "--format", "json")
        login = f":{json.loads(told)['authString']}@" if told else ""
        self._values[REDIS] = f"redis://{login}{place.get('host')}:{place.get('port')}/0"
        return _word(made)

    def _described_redis(self) -> dict[str, Any]:
        words = ("redis", "instances", "describe", self._plan.redis, *self._region, "--format", "json(host,port,state)")
        return dict(json.loads(self._gcloud.read(*words) or "{}"))

    def _bucket(self) -> str:
        address = f"gs://{self._plan.bucket}"
        if self._gcloud.read("storage", "buckets", "describe", address) is not None:
            return _word(made=False)
        safe = ("--uniform-bucket-level-access", "--public-access-prevention")
        self._gcloud.run("storage", "buckets", "create", address, "--location", self._plan.region, *safe)
        return _word(made=True)

    def _secret_step(self, variable: str) -> Callable[[], str]:
        return lambda: self._secret(variable)

    def _secret(self, variable: str) -> str:
        """Give the secret the value that it should have; a password that is to be made up stays as it is."""
        name, value = self._plan.secret(variable), self._values.get(variable, "")
        held = self._gcloud.read("secrets", "versions", "access", "latest", "--secret", name)
        if held is not None and (held == value or (not value and variable == PASSWORD)):
            return "as it was"
        value = value or secrets.token_urlsafe(24)
        how = ("--replication-policy", "automatic", "--data-file=-")
        if held is None and self._gcloud.make("secrets", "create", name, *how, given=value, named=variable):
            return _word(made=True)
        self._gcloud.run("secrets", "versions", "add", name, "--data-file=-", given=value, named=variable)
        return "has a new version"

    def _grant_step(self, grant: Grant) -> Callable[[], str]:
        return lambda: self._grant(grant)

    def _grant(self, grant: Grant) -> str:
        *kind, name = grant.on
        words = (
            *kind,
            "add-iam-policy-binding",
            name,
            *grant.options,
            "--member",
            f"serviceAccount:{self._plan.account}",
        )
        # gcloud asks which condition is meant where others are bound by one; buckets and the rest know no such option.
        always = ("--condition", "None") if kind in (["projects"], ["secrets"], ["iam", "service-accounts"]) else ()
        self._gcloud.run(*words, "--role", grant.role, *always, "--format", "none")
        return "granted"

    def _web(self) -> str:
        plan = self._plan
        # Label Studio sends no identity token of Google's, so anybody may call; LabelLoop asks for a password itself.
        # Without Redis what one instance hears of a project no other one knows.
        self._gcloud.run(
            *("run", "deploy", plan.service, "--source", str(plan.folder), *self._region, "--allow-unauthenticated"),
            *(
                "--ingress",
                plan.ingress,
                *_WEB,
                "--max-instances",
                "default" if plan.networked else "1",
                *self._common(),
            ),
            *("--update-env-vars", _joined(plan.variables), *self._changed_kinds()),
            *("--update-secrets", self._secret_words()),
            watched=True,
        )
        self._service = self._described() or {}
        return "answers"

    def _described(self) -> dict[str, Any] | None:
        told = self._gcloud.read("run", "services", "describe", self._plan.service, *self._region, "--format", "json")
        return None if told is None else dict(json.loads(told))

    def _changed_kinds(self) -> tuple[str, ...]:
        """Take away what was a plain variable and is a secret now, or the other way round: gcloud refuses both."""
        held = _variables(self._described() or {})
        plain = [name for name in self._plan.hidden if "value" in held.get(name, {})]
        hidden = [name for name in self._plan.variables if "valueFrom" in held.get(name, {})]
        removed = ("--remove-env-vars", ",".join(plain)) if plain else ()
        return (*removed, *(("--remove-secrets", ",".join(hidden)) if hidden else ()))

    @property
    def _built_image(self) -> str:
        return (
            f"{self._plan.region}-docker.pkg.dev/{self._plan.project}/cloud-run-source-deploy/{self._plan.pool}:latest"
        )

    def _build(self) -> str:
        """Build the Dockerfile's target that holds torch: Cloud Run by itself builds the last one alone."""
        config, of = self._plan.folder / "cloudbuild.yaml", f"_TARGET=worker,_IMAGE={self._built_image}"
        how = ("--config", str(config), "--substitutions", of, *self._region)
        # To wait for it gcloud would want to read its log, which takes another role.
        begun = self._gcloud.run(
            "builds", "submit", str(self._plan.folder), *how, "--async", "--format", "json", watched=True
        )
        return self._built(json.loads(begun)) if begun else "built"

    def _built(self, build: Mapping[str, Any]) -> str:
        """Wait until a build is over; raises CloudError where it failed."""
        words = ("builds", "describe", build["id"], *self._region, "--format", "value(status)")
        while (status := self._gcloud.run(*words).strip()) in _BUILDING:
            self._wait(_PAUSE_SECONDS)
        if status != "SUCCESS":
            raise CloudError(f"the build ended as {status}; its log: {build.get('logUrl')}")
        return "built"

    def _worker(self) -> str:
        plan = self._plan
        image = plan.worker_image or (self._built_image if plan.trains_there else self._image_of_web())
        self._gcloud.run(
            *("beta", "run", "worker-pools", "deploy", plan.pool, "--image", image, *self._region, "--args", "worker"),
            *(*(_TRAINING_WORKER if plan.trains_there else _WORKER), *self._common()),
            *("--set-env-vars", _joined(plan.variables), "--set-secrets", self._secret_words()),
            watched=True,
        )
        return "works"

    def _image_of_web(self) -> str:
        """Name the image of the service: it holds all that a worker needs whose trainer is elsewhere."""
        if not self._service:
            return "IMAGE-OF-THE-SERVICE"
        return str(self._service["spec"]["template"]["spec"]["containers"][0]["image"])

    def _common(self) -> tuple[str, ...]:
        network = (
            "--network",
            self._plan.network,
            "--subnet",
            self._plan.subnet,
            "--vpc-egress",
            "private-ranges-only",
        )
        return ("--service-account", self._plan.account, *(network if self._plan.networked else ()))

    def _secret_words(self) -> str:
        return ",".join(f"{name}={self._plan.secret(name)}:latest" for name in self._plan.hidden)


def _word(made: bool) -> str:
    return "made" if made else "there already"


def _variables(service: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the variables of a service by name; none of one that is not there."""
    containers = service.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    return {one["name"]: one for container in containers for one in container.get("env", [])}


def _joined(variables: Mapping[str, str]) -> str:
    """Write variables as gcloud reads them, with a sign between them that is in none (`gcloud topic escaping`)."""
    texts = [f"{name}={value}" for name, value in variables.items()]
    between = next(sign for sign in _DELIMITERS if not any(sign in text for text in texts))
    return f"^{between}^{between.join(texts)}"
