"""What is to stand on Cloud Run, by the settings of this shell: names, variables, secrets and roles.

Nothing is asked here. Variables that the settings' table calls secret, and addresses with a user, go to Secret Manager.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from labelloop import setting_values as values
from labelloop.errors import SettingsError
from labelloop.settings import Settings, source

_OF_THIS_MACHINE = ("HOST", "PORT", "MODEL_DIR", "K_SERVICE", "STORAGE_EMULATOR_HOST")
"""Variables that say nothing of a service."""

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}

_NEEDED = ("Dockerfile", "cloudbuild.yaml", "model.py", "requirements.txt", "labelloop/__init__.py")

REDIS = "LABELLOOP_REDIS_URL"
PASSWORD = "BASIC_AUTH_PASS"  # noqa: S105 - the name of a variable

_VERTEX = ("vertex", "vertex-job", "vertex-pipeline", "vertex-automl")


@dataclass(frozen=True, slots=True)
class Grant:
    """A role for the service account, on what gcloud's words name: ``projects proj``, ``secrets NAME``."""

    on: tuple[str, ...]
    role: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a deployment.

    ``secrets`` maps variables to values; an empty value is made up where there is none yet. ``made`` names what is made
    for ``worker``: Redis, a bucket. ``networked`` says that the service has to reach private addresses.
    """

    folder: Path
    project: str
    region: str
    service: str
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    worker: bool = False
    worker_image: str = ""
    ingress: str = "all"
    network: str = "default"
    subnet: str = "default"

    @property
    def account(self) -> str:
        """The service account that web and worker run as."""
        return f"{self.service}-runner@{self.project}.iam.gserviceaccount.com"

    @property
    def bucket(self) -> str:
        """The bucket that is made for the store where none is named; empty where one is."""
        return "" if "LABELLOOP_STORE" in self.environment or not self.worker else f"{self.project}-{self.service}"

    @property
    def redis(self) -> str:
        """The Redis that is made where none is named; empty where one is."""
        return "" if REDIS in {*self.environment, *self.secrets} or not self.worker else f"{self.service}-redis"

    @property
    def pool(self) -> str:
        """The worker pool; empty where there is none."""
        return f"{self.service}-worker" if self.worker else ""

    @property
    def trains_there(self) -> bool:
        """Whether the worker trains by itself, for which it needs torch."""
        return self.environment.get("LABELLOOP_TRAINER", "local") == "local"

    @property
    def networked(self) -> bool:
        """Whether the service has to reach private addresses: Redis is at one."""
        return self.worker or REDIS in {*self.environment, *self.secrets}

    @property
    def variables(self) -> dict[str, str]:
        """The variables that are no secrets, those of what is made among them."""
        return {**self.environment, **({"LABELLOOP_STORE": f"gs://{self.bucket}/labelloop"} if self.bucket else {})}

    @property
    def all_variables(self) -> dict[str, str]:
        """All that a process of the service has, as far as it is known beforehand."""
        return {**self.variables, **self.secrets, "K_SERVICE": self.service}

    @property
    def apis(self) -> list[str]:
        """The APIs that the project must have switched on."""
        more = ["redis", "compute"] if self.redis else []
        roles = {grant.role.removeprefix("roles/").partition(".")[0] for grant in grants(self)}
        asked = [name for name in ("aiplatform", "pubsub", "monitoring") if name in roles]
        names = ["run", "cloudbuild", "artifactregistry", "secretmanager", "iam", *more, *asked]
        return [f"{name}.googleapis.com" for name in names]

    @property
    def hidden(self) -> list[str]:
        """The variables that come from Secret Manager, that of the Redis which is made among them."""
        return [*self.secrets, *([REDIS] if self.redis else [])]

    def secret(self, variable: str) -> str:
        """Name the secret of a variable."""
        return f"{self.service}-{variable.lower().replace('_', '-')}"


def plan_of(
    environment: Mapping[str, str],
    folder: Path,
    *,
    project: str,
    region: str,
    service: str = "",
    **choices: Any,
) -> Plan:
    """Make a plan of this shell's settings; raises SettingsError for what cannot work on Cloud Run."""
    _check_folder(folder)
    service = service or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,21}[a-z0-9])?", service):
        raise SettingsError(
            f"{service!r} cannot be the name of a service: at most 23 small letters, digits and -, a letter first "
            "(--service)"
        )
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,29}", project):
        raise SettingsError(f"{project!r} is not the id of a project of Google Cloud (--gcp-project-id)")
    plain, secrets = _variables(environment)
    return Plan(folder, project, region, service, plain, secrets, **choices)


def grants(plan: Plan) -> list[Grant]:
    """List the roles that the service account needs, and no more: by what the settings name."""
    found = [Grant(("secrets", plan.secret(name)), "roles/secretmanager.secretAccessor") for name in plan.hidden]
    named = plan.variables
    folders = (named.get(name, "") for name in ("LABELLOOP_STORE", "LABELLOOP_GOOGLE_FOLDER"))
    buckets = (f"gs://{urlsplit(folder).netloc}" for folder in folders if folder.startswith("gs://"))
    found += [Grant(("storage", "buckets", bucket), "roles/storage.objectUser") for bucket in buckets]
    if account := named.get("LABELLOOP_GOOGLE_SERVICE_ACCOUNT"):
        found.append(Grant(("iam", "service-accounts", account), "roles/iam.serviceAccountUser"))
    for scheme, place, rest in _addresses(named):
        if scheme in _VERTEX:
            found.append(Grant(("projects", place), "roles/aiplatform.user"))
        elif scheme == "cloud-monitoring":
            found.append(Grant(("projects", place), "roles/monitoring.metricWriter"))
        elif scheme == "pubsub":
            on, of = ("pubsub", "subscriptions", rest), ("--project", place)
            # What doctor looks at, the subscriber's role does not show.
            found += [Grant(on, f"roles/pubsub.{role}", of) for role in ("subscriber", "viewer")]
    if live := named.get("LABELLOOP_LABELBOX_VERTEX"):
        found.append(Grant(("projects", live.partition("/")[0]), "roles/aiplatform.user"))
    templates = (one for value in named.values() for one in re.findall(r"[?&]template=(gs://[^/?&,]+)", unquote(value)))
    found += [Grant(("storage", "buckets", bucket), "roles/storage.objectViewer") for bucket in templates]
    return list(dict.fromkeys(found))


def _addresses(named: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield scheme, place and path of all addresses that settings name, in lists too."""
    for value in named.values():
        for one in value.split(","):
            scheme, mark, rest = one.strip().partition("://")
            place, _, path = rest.partition("?")[0].partition("/")
            if mark and re.fullmatch(r"[a-z][a-z0-9-]*", place):
                yield scheme, place, path


def _variables(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Split what this shell sets into what may be read by everybody who may see the service, and secrets."""
    plain: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for entry in fields(Settings):
        name = entry.metadata["name"]
        value = environment.get(source(entry.metadata, environment), "")
        if not value or name in _OF_THIS_MACHINE or (name, value) == (REDIS, "embedded"):
            continue
        _refuse_local(name, value)
        (secrets if entry.metadata["secret"] or values.names_user(value) else plain)[name] = value
    for name, what in (("LABEL_STUDIO_URL", "where Label Studio is"), ("LABEL_STUDIO_API_KEY", "the token of a user")):
        if name not in plain and name not in secrets:
            raise SettingsError(f"{name} is not set: the service has to know {what}")
    plain.setdefault("BASIC_AUTH_USER", "label-studio")
    secrets.setdefault(PASSWORD, "")
    return plain, secrets


def _refuse_local(name: str, value: str) -> None:
    """Refuse an address that means another place on Cloud Run than here."""
    scheme, mark, _ = value.partition("://")
    if mark and (scheme in ("file", "unix") or urlsplit(value).hostname in _LOOPBACK):
        raise SettingsError(
            f"{name} is {values.without_secrets(value)}, which on Cloud Run is the container itself: name an address "
            "that is reached from there, or unset it"
        )


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be built, or that holds secrets which would be sent along."""
    lacking = [name for name in _NEEDED if not (folder / name).is_file()]
    if "labelloop/__init__.py" in lacking and "model.py" not in lacking:
        raise SettingsError(
            f"{folder} holds model.py without labelloop/, as label-studio-ml 1.0.9 makes it: it cannot start. Name the "
            "folder my_ml_backend of a checkout of LabelLoop"
        )
    if lacking:
        raise SettingsError(
            f"{folder} is not the folder my_ml_backend of a checkout of LabelLoop: it has no {lacking[0]}"
        )
    ignored = folder / ".gcloudignore"
    if (folder / ".env").exists() and (not ignored.is_file() or ".env" not in ignored.read_text().split()):
        raise SettingsError(
            f"{folder / '.env'} would be sent to Cloud Build with the rest: name it in {ignored}, or put it elsewhere"
        )
