"""Cloud Run by the real gcloud and a stand-in of what it asks: the ML SDK's command as written, and ours over it.

What was sent to be built is started as Cloud Run starts it, but for the container around it.
"""

import ast
import io
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.children import start_child, stop_child
from support.clients import SECONDS
from support.google.gcloud import gcloud_stand_in
from support.google.gcloud_project import GcloudStandIn
from support.google.gcloud_services import REDIS_PASSWORD
from support.misbehaving import answer, misbehaving
from support.servers import free_port
from support.tools import require_tool
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(300)]

CODE = Path(__file__).resolve().parents[3] / "my_ml_backend"
HOST, KEY = "https://studio.invalid", "hush-key"
TEXTS = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
SETUP = {"project": "7.1795187589", "schema": TEXTS}
ACCOUNT = "my-ml-backend-runner@proj.iam.gserviceaccount.com"
VARIABLES = f"LABEL_STUDIO_ML_BACKEND_V2=1,LABEL_STUDIO_HOSTNAME={HOST},LABEL_STUDIO_API_KEY={KEY}"
COMMANDS_OF_2_X = (
    "gcloud config set project proj",
    f"gcloud run deploy my-ml-backend --source ./my_ml_backend --region us-central1 --update-env-vars {VARIABLES}",
)
"""What label-studio-ml 2.x gives to a shell, after `gcloud auth print-identity-token`; d02cedf."""


@dataclass
class Desk:
    """A folder to deploy from, with gcloud on the PATH: the real one, whose arguments are noted."""

    folder: Path
    cloud: GcloudStandIn
    environment: Mapping[str, str]
    outputs: list[str] = field(default_factory=list)

    def run(self, *words: str, fails: bool = False, **variables: str) -> str:
        """Run a command here, and give all that it prints."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**self.environment, **variables},
            input="y",
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        self.outputs.append(done.stdout + done.stderr)
        assert (done.returncode != 0) == fails, self.outputs[-1]
        return self.outputs[-1]

    def deploy(self, *options: str, fails: bool = False) -> str:
        """Run our command."""
        command = [sys.executable, "-m", "labelloop", "deploy", "gcp", "my_ml_backend", "--gcp-project-id", "proj"]
        return self.run(*command, *options, fails=fails, LABEL_STUDIO_URL=HOST, LABEL_STUDIO_API_KEY=KEY)

    @property
    def arguments(self) -> str:
        return (self.folder / "arguments").read_text()

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of the service by name."""
        [container] = self.cloud.named("/services/my-ml-backend")["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}

    def stands(self) -> str:
        """Spell out all that there is in the project, but for what each deployment of a service counts up."""
        others = {name: thing for name, thing in self.cloud.things.items() if "/namespaces/" not in name}
        [container] = self.cloud.named("/services/my-ml-backend")["spec"]["template"]["spec"]["containers"]
        service = {**container, "image": container["image"].partition("@")[0]}
        found = [others, service, self.cloud.policies, self.cloud.secrets, sorted(self.cloud.enabled)]
        return json.dumps(found, sort_keys=True) + repr(self.cloud.pools.pools)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    gcloud = require_tool("gcloud", "https://cloud.google.com/sdk/docs/install")
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(CODE, folder / "my_ml_backend", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "my_ml_backend" / ".env").write_text("LABEL_STUDIO_API_KEY=hush-of-compose\n")
    recording = folder / "bin" / "gcloud"
    recording.parent.mkdir()
    # An access token of a file is none that gcloud gives away, which the ML SDK asks for first.
    told = f'echo "$*" >> {folder}/arguments\n[ "$1 $2" = "auth print-identity-token" ] && echo token && exit\n'
    recording.write_text(f'#!/bin/sh\n{told}exec {gcloud} "$@"\n')
    recording.chmod(recording.stat().st_mode | stat.S_IEXEC)
    with gcloud_stand_in(tmp_path_factory.mktemp("cloud")) as cloud:
        path = f"{recording.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        yield Desk(folder, cloud, {**os.environ, **cloud.environment, "PATH": path, "PYTHONPATH": str(CODE)})
    assert cloud.proxied == [], "nothing may be asked for elsewhere"


def image(dockerfile: str) -> tuple[dict[str, str], list[str]]:
    """Read the variables and the command of a Dockerfile's last stage, those of the stages below it among them."""
    stages: dict[str, tuple[dict[str, str], list[str]]] = {}
    variables: dict[str, str] = {}
    entry: list[str] = []
    command: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            known, entry = stages.get(base, ({}, []))
            variables, command = dict(known), []
            stages[name] = (variables, entry)
        elif word == "ENV":
            variables.update((name, value) for name, _, value in (one.partition("=") for one in shlex.split(rest)))
        elif word == "ENTRYPOINT":
            entry[:] = ast.literal_eval(rest)
        elif word == "CMD":
            command = ast.literal_eval(rest)
    return variables, [*entry, *command]


@contextmanager
def started(desk: Desk, folder: Path, **more: str) -> Iterator[str]:
    """Start what was sent last as Cloud Run does, with the variables of the service; gives its address."""
    [name] = sorted(name for name in desk.cloud.uploads if "run-sources" in name)[-1:]
    app = folder / "app"
    with zipfile.ZipFile(io.BytesIO(desk.cloud.uploads[name])) as sent:
        sent.extractall(app)
    built, command = image((app / "Dockerfile").read_text())
    port = free_port()
    environment = {
        **built,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(app),
        "MODEL_DIR": str(folder / "data"),
        "PORT": str(port),
        "K_SERVICE": "my-ml-backend",
        "K_REVISION": "my-ml-backend-00001-abc",
        "K_CONFIGURATION": "my-ml-backend",
        **desk.variables,
        **more,
    }
    assert command == ["python", "-m", "labelloop", "web"]
    log = folder / "log"
    child = start_child([sys.executable, *command[1:]], environment=environment, log=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url), log.read_text, 60)
        yield url
    finally:
        stop_child(child, grace=10.0)


def answers(url: str) -> bool:
    try:
        return bool(requests.get(f"{url}/health", timeout=1).json()["status"] == "UP")
    except requests.RequestException:
        return False


def test_1_0_9_leaves_a_folder_that_is_there_and_makes_one_that_neither_it_nor_we_deploy(desk: Desk) -> None:
    command = ["label-studio-ml", "deploy", "gcp", "my_ml_backend", "--from=my_ml_backend/model.py:LabelLoop"]
    options = ["--gcp-project-id", "proj", "--label-studio-host", HOST, "--label-studio-api-key", KEY]

    assert "FileExistsError" in desk.run(*command, *options, fails=True)
    assert (desk.folder / "my_ml_backend" / "labelloop" / "__init__.py").is_file()
    (desk.folder / "new").mkdir()
    assert "Invalid resource name [my_ml_backend]" in desk.run(*command, *options, "--root-dir", "new", fails=True)
    assert not (desk.folder / "new" / "my_ml_backend" / "labelloop").exists()
    assert desk.cloud.calls == [], "gcloud has asked for nothing"
    ours = [sys.executable, "-m", "labelloop", "deploy", "gcp", "new/my_ml_backend", "--gcp-project-id", "proj"]
    said = desk.run(*ours, fails=True, LABEL_STUDIO_URL=HOST, LABEL_STUDIO_API_KEY=KEY)
    assert "holds model.py without labelloop/, as label-studio-ml 1.0.9 makes it" in said


def test_the_command_of_2_x_ends_in_a_backend_that_says_what_it_lacks(desk: Desk, tmp_path: Path) -> None:
    for command in COMMANDS_OF_2_X:
        desk.run("sh", "-c", command)

    assert desk.variables == dict(pair.split("=", 1) for pair in VARIABLES.split(","))
    [sent] = [zipfile.ZipFile(io.BytesIO(content)).namelist() for content in desk.cloud.uploads.values()]
    assert {"Dockerfile", "model.py", "labelloop/__init__.py"} <= set(sent)
    assert not {".env", "docker-compose.yml"} & set(sent)
    # Its one "y" went to another question.
    assert desk.cloud.policies == {}
    with started(desk, tmp_path) as url:
        refused = requests.post(f"{url}/setup", json=SETUP, timeout=SECONDS)
        assert refused.status_code == 503
        for said in ("Redis", "endpoint", "store", "worker", "gcloud run services update my-ml-backend"):
            assert said in refused.reason, "Label Studio shows the reason phrase"


def test_with_an_endpoint_it_predicts_and_says_what_it_still_lacks(desk: Desk, tmp_path: Path) -> None:
    endpoint = "LABELLOOP_ENDPOINT=vertex://proj/us-central1/7"
    update = ("gcloud", "run", "services", "update", "my-ml-backend", "--region", "us-central1")
    desk.run(*update, "--update-env-vars", endpoint)
    answered = {"predictions": [[{"label": "cat", "score": 0.75}]], "deployedModelId": "77"}

    with misbehaving(answer(answered)) as vertex:
        with started(desk, tmp_path, LABELLOOP_VERTEX_BASE_URL=vertex.address) as url:
            told = requests.post(f"{url}/setup", json=SETUP, timeout=SECONDS).json()
            assert [one["what"] for one in told["missing"]] == ["store", "Redis", "worker"]
            body = {"project": "7.1", "label_config": TEXTS, "tasks": [{"id": 1, "data": {"text": "a"}}]}
            [found] = requests.post(f"{url}/predict", json=body, timeout=SECONDS).json()["results"]
            assert found["result"][0]["value"] == {"choices": ["cat"]}
        log = (tmp_path / "log").read_text()
    assert "LABEL_STUDIO_URL is not set: LABEL_STUDIO_HOSTNAME is read in its place" in log
    assert "there is no store: versions would lie in this container's memory" in log


def test_our_command_puts_the_key_of_that_service_away_and_brings_the_rest(desk: Desk) -> None:
    (desk.folder / "arguments").unlink()
    desk.outputs.clear()
    logs = Path(desk.environment["CLOUDSDK_CONFIG"], "logs")
    assert KEY in "".join(path.read_text() for path in logs.rglob("*.log")), "the ML SDK's command leaves it there"
    shutil.rmtree(logs)
    told = desk.deploy("--worker")
    cloud = desk.cloud

    assert "my-ml-backend answers at https://my-ml-backend-abc-uc.a.run.app" in told
    for name in ("label-studio-api-key", "basic-auth-pass", "labelloop-redis-url"):
        assert cloud.named(f"/secrets/my-ml-backend-{name}")["replication"] == {"automatic": {}}
    assert cloud.secrets["my-ml-backend-label-studio-api-key"] == [KEY]
    assert cloud.secrets["my-ml-backend-labelloop-redis-url"] == [f"redis://:{REDIS_PASSWORD}@10.0.0.3:6379/0"]
    [password] = cloud.secrets["my-ml-backend-basic-auth-pass"]
    key = {"secretKeyRef": {"key": "latest", "name": "my-ml-backend-label-studio-api-key"}}
    assert desk.variables["LABEL_STUDIO_API_KEY"] == key
    assert desk.variables["LABELLOOP_STORE"] == "gs://proj-my-ml-backend/labelloop"
    assert desk.variables["LABELLOOP_ENDPOINT"] == "vertex://proj/us-central1/7", "what was set before stays"
    assert cloud.named("/b/proj-my-ml-backend")["iamConfiguration"] == {
        "publicAccessPrevention": "enforced",
        "uniformBucketLevelAccess": {"enabled": True},
    }
    redis = cloud.named("/instances/my-ml-backend-redis")
    assert (redis["authEnabled"], redis["redisConfigs"]) == (True, {"maxmemory-policy": "noeviction"})
    granted = {name: policy["bindings"] for name, policy in cloud.policies.items()}
    assert granted.pop("run/v1/projects/proj/locations/us-central1/services/my-ml-backend") == [
        {"role": "roles/run.invoker", "members": ["allUsers"]}
    ]
    assert {binding["role"] for bindings in granted.values() for binding in bindings} == {
        *("roles/secretmanager.secretAccessor", "roles/storage.objectUser")
    }
    assert all(binding["members"] == [f"serviceAccount:{ACCOUNT}"] for one in granted.values() for binding in one)
    template = cloud.named("/services/my-ml-backend")["spec"]["template"]
    assert template["spec"]["serviceAccountName"] == ACCOUNT
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/minScale"] == "1"
    assert template["metadata"]["annotations"]["run.googleapis.com/vpc-access-egress"] == "private-ranges-only"
    pool = cloud.pools.texts("/my-ml-backend-worker")
    built = "us-central1-docker.pkg.dev/proj/cloud-run-source-deploy/my-ml-backend-worker:latest"
    assert {ACCOUNT, built, "worker", "my-ml-backend-labelloop-redis-url"} <= set(pool)
    assert built in cloud.images
    for secret in (KEY, REDIS_PASSWORD, password):
        assert secret not in desk.arguments + "".join(desk.outputs) + "".join(pool)
    assert not list(logs.rglob("*.log")), "gcloud would write into them what it prints"


def test_a_second_time_it_changes_nothing(desk: Desk) -> None:
    before = desk.stands()
    told = desk.deploy("--worker")

    assert desk.stands() == before
    assert told.count(": as it was") == 3
    assert told.count(": there already") == 3


def test_afterwards_the_ml_sdks_command_is_refused_and_the_key_stays_a_secret(desk: Desk) -> None:
    said = desk.run("sh", "-c", COMMANDS_OF_2_X[1], fails=True)
    assert "Cannot update environment variable [LABEL_STUDIO_API_KEY] to string literal" in said
    assert "secretKeyRef" in json.dumps(desk.variables["LABEL_STUDIO_API_KEY"])


def test_a_step_that_google_refuses_is_named_and_the_last(desk: Desk) -> None:
    desk.cloud.refuse("serviceAccounts", 403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.create' denied")
    desk.cloud.calls.clear()
    told = desk.deploy("--worker", fails=True)

    assert f"step 2 of 14, service account {ACCOUNT}" in told
    assert "Permission 'iam.serviceAccounts.create' denied" in told
    assert str(desk.cloud.calls[-1]) == "iam:POST /v1/projects/proj/serviceAccounts"
