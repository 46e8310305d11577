"""`labelloop deploy gcp` with a gcloud that notes what it is asked, and answers as if it were so."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from labelloop.cli.main import main
from labelloop.cloud.google.cloud_run import Grant, Plan, grants, plan_of
from labelloop.cloud.google.deploying import Deployment
from labelloop.cloud.google.gcloud import Gcloud
from labelloop.errors import CloudError, SettingsError
from labelloop.types import Json

FOLDER = Path(__file__).resolve().parents[3] / "my_ml_backend"
GIVEN = {"LABEL_STUDIO_URL": "https://studio.example.com", "LABEL_STUDIO_API_KEY": "hush-key"}
ACCOUNT = "serviceAccount:my-ml-backend-runner@proj.iam.gserviceaccount.com"
IMAGE = "us-central1-docker.pkg.dev/proj/x@sha256:0"
PROGRAM = r"""#!/bin/sh
cd {state}
echo "$*" >> asked
export -p > environment
if [ -f fail ] && echo "$*" | grep -q -f fail; then cat refusal >&2; exit 1; fi
missing() {{ echo 'ERROR: (gcloud) NOT_FOUND: it was not found' >&2; exit 1; }}
case "$*" in
"iam service-accounts create "*) [ ! -f account ] || {{ echo "ERROR: $4 already exists" >&2; exit 1; }}
    touch account ;;
"secrets create "*) [ ! -f "secret-$3" ] || {{ echo "ERROR: $3 already exists" >&2; exit 1; }}
    cat > "secret-$3" ;;
"secrets versions access latest --secret "*) [ -s "secret-$6" ] || missing; cat "secret-$6" ;;
"secrets versions add "*) cat > "secret-$4" ;;
"redis instances create "*) echo READY > redis ;;
"redis instances describe "*) [ -f redis ] || missing
    echo '{{"host": "10.0.0.3", "port": 6379, "state": "'$(head -n 1 redis)'"}}'
    [ "$(wc -l < redis)" = 1 ] || sed -i 1d redis ;;
"redis instances get-auth-string "*) echo '{{"authString": "hush-redis"}}' ;;
"storage buckets create "*) touch bucket ;;
"storage buckets describe "*) [ -f bucket ] || missing ;;
"run deploy "*) [ -f service ] || echo '{service}' > service ;;
"run services describe "*) [ -f service ] || missing; cat service ;;
"builds submit "*) echo '{{"id": "b1", "logUrl": "https://log"}}' ;;
"builds describe "*) head -n 1 builds; sed -i 1d builds ;;
esac
"""


class Project:
    """What the recording gcloud knows of a project, and what it was asked."""

    def __init__(self, state: Path) -> None:
        self.state = state

    @property
    def asked(self) -> list[str]:
        path = self.state / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def forget(self) -> None:
        (self.state / "asked").unlink()

    def refuse(self, pattern: str, said: str) -> None:
        (self.state / "fail").write_text(f"{pattern}\n")
        (self.state / "refusal").write_text(said)

    def holds(self, service: dict[str, object]) -> None:
        (self.state / "service").write_text(json.dumps(service))

    def secret(self, name: str) -> str:
        return (self.state / f"secret-my-ml-backend-{name}").read_text()


def service(*variables: Mapping[str, object]) -> dict[str, object]:
    containers = [{"image": IMAGE, "env": list(variables)}]
    return {"status": {"url": "https://web.run"}, "spec": {"template": {"spec": {"containers": containers}}}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    state = tmp_path / "state"
    state.mkdir()
    program = tmp_path / "bin" / "gcloud"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(state=state, service=json.dumps(service())))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    (state / "builds").write_text("SUCCESS\n" * 9)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return Project(state)


def deploy(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["deploy", "gcp", str(FOLDER), "--gcp-project-id", "proj", *arguments])


def plan(**variables: str) -> Plan:
    return plan_of({**GIVEN, **variables}, FOLDER, project="proj", region="us-central1", worker=True)


def test_apis_are_switched_on_as_far_as_settings_name_them() -> None:
    named = {"LABELLOOP_EVENTS": "pubsub://proj/events", "LABELLOOP_METRICS": "cloud-monitoring://proj"}
    named["LABELLOOP_ENDPOINT"] = "vertex://proj/europe-west4/cats"
    more = {f"{name}.googleapis.com" for name in ("pubsub", "monitoring", "aiplatform")}
    assert set(plan(**named).apis) - set(plan().apis) == more


def test_the_service_alone_takes_an_account_secrets_and_one_deployment(project: Project) -> None:
    done = deploy()

    assert done.exit_code == 0, done.output
    kinds = [" ".join(line.split()[:3]) for line in project.asked]
    assert kinds == [
        "services enable run.googleapis.com",
        "iam service-accounts create",
        *["secrets versions access", "secrets create my-ml-backend-label-studio-api-key"],
        *["secrets versions access", "secrets create my-ml-backend-basic-auth-pass"],
        "secrets add-iam-policy-binding my-ml-backend-label-studio-api-key",
        "secrets add-iam-policy-binding my-ml-backend-basic-auth-pass",
        *["run services describe", "run deploy my-ml-backend", "run services describe"],
    ]
    assert "https://web.run" in done.output
    assert "cannot send Google's identity tokens" in done.output
    assert "It lacks endpoint" in done.output
    assert "It lacks Redis and a worker" in done.output
    [deployment] = [line for line in project.asked if line.startswith("run deploy")]
    assert f"--source {FOLDER} --region us-central1 --allow-unauthenticated --ingress all" in deployment
    assert "^|^LABEL_STUDIO_URL=https://studio.example.com|BASIC_AUTH_USER=label-studio" in deployment
    assert "--update-secrets LABEL_STUDIO_API_KEY=my-ml-backend-label-studio-api-key:latest" in deployment
    assert "--max-instances 1 " in deployment, "instances share nothing without Redis"
    assert "--network" not in deployment


def test_no_secret_is_in_a_command_a_childs_environment_or_the_output(project: Project) -> None:
    done = deploy("--worker")

    assert done.exit_code == 0, done.output
    assert project.secret("label-studio-api-key") == "hush-key"
    assert project.secret("labelloop-redis-url") == "redis://:hush-redis@10.0.0.3:6379/0"
    password = project.secret("basic-auth-pass")
    assert len(password) >= 24
    everywhere = "\n".join([*project.asked, (project.state / "environment").read_text(), done.output])
    assert "hush" not in everywhere
    assert password not in everywhere


def test_a_second_time_nothing_is_made_and_no_secret_changes(project: Project) -> None:
    deploy("--worker")
    before = {path.name: path.read_bytes() for path in project.state.glob("secret-*")}
    project.forget()
    done = deploy("--worker")

    assert done.exit_code == 0, done.output
    assert not [line for line in project.asked if " create " in line and "iam service-accounts" not in line]
    assert not [line for line in project.asked if "versions add" in line]
    assert {path.name: path.read_bytes() for path in project.state.glob("secret-*")} == before
    assert "service account my-ml-backend-runner@proj.iam.gserviceaccount.com: there already" in done.output


def test_only_the_secret_whose_value_changed_gets_a_version(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy()
    password = project.secret("basic-auth-pass")
    project.forget()
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "hush-other")
    deploy()

    added = [line.split()[3] for line in project.asked if line.startswith("secrets versions add")]
    assert added == ["my-ml-backend-label-studio-api-key"]
    assert project.secret("label-studio-api-key") == "hush-other"
    assert project.secret("basic-auth-pass") == password


def test_a_secret_that_was_left_without_a_version_gets_one(project: Project) -> None:
    (project.state / "secret-my-ml-backend-label-studio-api-key").touch()
    done = deploy()
    assert done.exit_code == 0, done.output
    assert project.secret("label-studio-api-key") == "hush-key"


@pytest.mark.parametrize(
    ("pattern", "step"),
    [
        ("services enable", "step 1 of 14, APIs of the project"),
        ("iam service-accounts create", "step 2 of 14, service account"),
        ("storage buckets describe", "step 4 of 14, bucket gs://proj-my-ml-backend"),
        ("add-iam-policy-binding gs", "step 11 of 14, roles/storage.objectUser on storage buckets"),
        ("worker-pools deploy", "step 14 of 14, worker pool my-ml-backend-worker"),
    ],
)
def test_a_step_that_fails_is_named_and_the_last(project: Project, pattern: str, step: str) -> None:
    project.refuse(pattern, "ERROR: (gcloud.x) PERMISSION_DENIED: Permission 'x.y' denied\n")
    done = deploy("--worker")

    assert done.exit_code == 1
    assert step in done.stderr
    assert pattern in project.asked[-1]
    if pattern != "worker-pools deploy":  # what takes minutes is watched
        assert "PERMISSION_DENIED: Permission 'x.y' denied" in done.stderr
    (project.state / "fail").unlink()
    assert deploy("--worker").exit_code == 0, "it goes on from there"


def test_a_service_account_that_is_not_known_everywhere_yet_is_waited_for(project: Project) -> None:
    project.refuse(
        "projects add-iam-policy-binding",
        "ERROR: INVALID_ARGUMENT: Service account my-ml-backend-runner@proj.iam.gserviceaccount.com does not exist.\n",
    )
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            (project.state / "fail").unlink()

    wanted = plan(
        LABELLOOP_ENDPOINT="vertex://models/europe-west4/7", LABELLOOP_TRAINER="vertex-job://proj/europe-west4"
    )
    Deployment(wanted, Gcloud("proj", print, wait=wait), print).run()

    assert len(waited) == 3
    granted = [line for line in project.asked if line.startswith("projects add-iam-policy-binding")]
    assert [line.split()[2] for line in granted] == ["models"] * 4 + ["proj"]
    assert all(f"--member {ACCOUNT} --role roles/aiplatform.user --condition None" in line for line in granted)


def test_a_redis_that_was_left_while_it_was_made_is_waited_for(project: Project) -> None:
    (project.state / "redis").write_text("CREATING\nCREATING\nCREATING\nREADY\n")
    waited: list[float] = []
    Deployment(plan(), Gcloud("proj", print), print, waited.append).run()
    assert len(waited) == 2
    assert not [line for line in project.asked if line.startswith("redis instances create")]
    assert project.secret("labelloop-redis-url") == "redis://:hush-redis@10.0.0.3:6379/0"


def test_a_redis_that_cannot_be_had_ends_the_deployment(project: Project) -> None:
    (project.state / "redis").write_text("FAILED\n")
    with pytest.raises(CloudError, match="step 3 of 14, Redis my-ml-backend-redis: it is in state FAILED"):
        Deployment(plan(), Gcloud("proj", print), print).run()


def test_a_worker_whose_trainer_is_elsewhere_runs_the_image_of_the_service(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELLOOP_TRAINER", "sagemaker-pipeline://loop?region=eu-west-1")
    done = deploy("--worker")

    assert done.exit_code == 0, done.output
    assert not [line for line in project.asked if line.startswith("builds")]
    [pool] = [line for line in project.asked if "worker-pools deploy" in line]
    assert f"beta run worker-pools deploy my-ml-backend-worker --image {IMAGE}" in pool
    assert "--args worker" in pool


def test_a_build_is_waited_for_and_one_that_fails_is_told_with_its_log(project: Project) -> None:
    waited: list[float] = []
    (project.state / "builds").write_text("QUEUED\nWORKING\nSUCCESS\n")
    Deployment(plan(), Gcloud("proj", print), print, waited.append).run()
    assert len(waited) == 2

    (project.state / "builds").write_text("FAILURE\n")
    with pytest.raises(CloudError, match=r"step 13 of 14, image .*the build ended as FAILURE; its log: https://log"):
        Deployment(plan(), Gcloud("proj", print), print, waited.append).run()


def test_what_the_ml_sdk_left_as_a_plain_variable_becomes_a_secret(project: Project) -> None:
    plain = {"name": "LABEL_STUDIO_API_KEY", "value": "hush-key"}
    hidden: Json = {"name": "BASIC_AUTH_USER", "valueFrom": {}}
    project.holds(service(plain, hidden, {"name": "MINE", "value": "stays"}))
    deploy()

    [deployment] = [line for line in project.asked if line.startswith("run deploy")]
    assert "--remove-env-vars LABEL_STUDIO_API_KEY --remove-secrets BASIC_AUTH_USER --update-secrets" in deployment
    assert "MINE" not in deployment


def test_a_dry_run_asks_nothing_and_shows_no_secret(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("BASIC_AUTH_PASS", "hush-pass")
    monkeypatch.setenv("BASIC_AUTH_USER", "studio")
    done = deploy("--worker", "--dry-run")

    assert done.exit_code == 0, done.output
    assert project.asked == []
    assert "hush" not in done.output
    commands = [line.strip() for line in done.output.splitlines() if not line.startswith("#")]
    assert len(commands) == 14
    assert all(line.startswith("gcloud ") and "--project proj" in line for line in commands)
    assert "reads the value of BASIC_AUTH_PASS" in done.output


def test_without_gcloud_it_says_where_to_get_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = deploy()
    assert done.exit_code == 1
    assert "gcloud is not on the PATH: install it (https://cloud.google.com/sdk/docs/install)" in done.stderr


def test_a_key_on_the_command_line_is_refused(project: Project) -> None:
    done = deploy("--label-studio-api-key", "hush-key")
    assert done.exit_code == 2
    assert "give the key as the variable LABEL_STUDIO_API_KEY" in done.stderr
    assert "hush" not in done.output
    assert project.asked == []


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"LABEL_STUDIO_URL": ""}, "LABEL_STUDIO_URL is not set: the service has to know where Label Studio is"),
        ({"LABEL_STUDIO_API_KEY": ""}, "LABEL_STUDIO_API_KEY is not set"),
        ({"LABEL_STUDIO_URL": "http://localhost:8080"}, "http://localhost:8080, which on Cloud Run is the container"),
        ({"LABELLOOP_STORE": "file:///data"}, "LABELLOOP_STORE is file:///data, which on Cloud Run is the container"),
        ({"LABELLOOP_ENDPOINT": "http://127.0.0.1:9091"}, "LABELLOOP_ENDPOINT is http://127.0.0.1:9091"),
        ({"LABELLOOP_REDIS_URL": "redis://:hush@localhost:6379/0"}, "LABELLOOP_REDIS_URL is redis://***@localhost"),
    ],
)
def test_what_cannot_work_there_is_refused_before_anything_is_asked(variables: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError) as refused:
        plan(**variables)
    assert reason in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("name", ["My-Service", "my_ml_backend", "9lives", "a-", "", "a" * 24])
def test_the_name_of_a_service_is_one_that_cloud_run_takes(tmp_path: Path, name: str) -> None:
    if name:
        with pytest.raises(SettingsError, match="cannot be the name of a service"):
            plan_of(GIVEN, FOLDER, project="proj", region="r", service=name)
    assert plan_of(GIVEN, FOLDER, project="proj", region="r").service == "my-ml-backend"
    with pytest.raises(SettingsError, match="is not the folder my_ml_backend of a checkout of LabelLoop: it has no"):
        plan_of(GIVEN, tmp_path, project="proj", region="r")


def test_a_folder_as_1_0_9_makes_it_or_with_secrets_that_would_be_sent_is_refused(tmp_path: Path) -> None:
    for name in ("Dockerfile", "model.py", "requirements.txt", "cloudbuild.yaml"):
        (tmp_path / name).write_text("")
    with pytest.raises(SettingsError, match=r"holds model.py without labelloop/, as label-studio-ml 1\.0\.9 makes it"):
        plan_of(GIVEN, tmp_path, project="proj", region="r", service="web")
    (tmp_path / "labelloop").mkdir()
    (tmp_path / "labelloop" / "__init__.py").write_text("")
    (tmp_path / ".env").write_text("LABEL_STUDIO_API_KEY=hush")
    with pytest.raises(SettingsError, match=r"\.env would be sent to Cloud Build"):
        plan_of(GIVEN, tmp_path, project="proj", region="r", service="web")
    (tmp_path / ".gcloudignore").write_text(".env\n")
    assert plan_of(GIVEN, tmp_path, project="proj", region="r", service="web").service == "web"


def test_settings_of_this_shell_go_along_secrets_apart_and_what_is_of_this_machine_stays() -> None:
    wanted = plan(
        LABELLOOP_ENDPOINT_HEADERS="Authorization: Bearer hush",
        LABELLOOP_REDIS_URL="redis://:hush@10.0.0.9:6379/1",
        LABELLOOP_CLASSES="cat,dog",
        LABEL_STUDIO_HOST="https://other.example.com",
        MODEL_DIR="/home/me",
        PORT="9090",
        HOME="/home/me",
    )
    assert wanted.secrets.keys() == {
        *("LABEL_STUDIO_API_KEY", "LABELLOOP_ENDPOINT_HEADERS", "LABELLOOP_REDIS_URL", "BASIC_AUTH_PASS")
    }
    assert wanted.variables == {
        "LABEL_STUDIO_URL": "https://studio.example.com",
        "BASIC_AUTH_USER": "label-studio",
        "LABELLOOP_CLASSES": "cat,dog",
        "LABELLOOP_STORE": "gs://proj-my-ml-backend/labelloop",
    }
    assert (wanted.redis, wanted.networked) == ("", True)


def test_the_service_account_gets_what_the_settings_name_and_no_more() -> None:
    wanted = plan(
        LABELLOOP_ENDPOINT="vertex://models/europe-west4/7?dedicated=x",
        LABELLOOP_ALLOWED_ENDPOINTS="vertex://models/*, vertex://*/x",
        LABELLOOP_STORE="gs://mine/loop",
        LABELLOOP_REDIS_URL="redis://10.0.0.9:6379/1",
        LABELLOOP_GOOGLE_SERVICE_ACCOUNT="trainer@proj.iam.gserviceaccount.com",
        LABELLOOP_TRAINER="vertex-pipeline://models/europe-west4?template=gs%3A//theirs/p.yaml&manifest=m&output=o",
        LABELLOOP_EVENTS="pubsub://proj/events",
        LABELLOOP_LABELBOX_VERTEX="live/europe-west4",
        LABELLOOP_LABELBOX_SECRET="hush",
        LABELBOX_API_KEY="hush",
    )
    assert {"LABELLOOP_LABELBOX_SECRET", "LABELBOX_API_KEY"} <= set(wanted.hidden)
    assert "hush" not in str(wanted.variables)
    assert [grant for grant in grants(wanted) if grant.on[0] != "secrets"] == [
        Grant(("storage", "buckets", "gs://mine"), "roles/storage.objectUser"),
        Grant(("iam", "service-accounts", "trainer@proj.iam.gserviceaccount.com"), "roles/iam.serviceAccountUser"),
        Grant(("projects", "models"), "roles/aiplatform.user"),
        Grant(("pubsub", "subscriptions", "events"), "roles/pubsub.subscriber", ("--project", "proj")),
        Grant(("pubsub", "subscriptions", "events"), "roles/pubsub.viewer", ("--project", "proj")),
        Grant(("projects", "live"), "roles/aiplatform.user"),
        Grant(("storage", "buckets", "gs://theirs"), "roles/storage.objectViewer"),
    ]
    assert (wanted.bucket, wanted.redis) == ("", "")
    assert "aiplatform.googleapis.com" in wanted.apis
    assert "redis.googleapis.com" not in wanted.apis
