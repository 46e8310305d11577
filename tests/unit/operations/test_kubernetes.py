"""deploy/kubernetes: manifests whose parts fit each other, the images and the settings."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from labelloop.serve.options import ServeOptions, ServePlan
from labelloop.settings import Settings
from labelloop.web.machine import grace_seconds
from support.operations import web_routes

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy/kubernetes"
DOCKERFILE = (ROOT / "my_ml_backend/Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "my_ml_backend/docker-compose.yml").read_text())["services"]
SETTINGS = {entry.metadata["name"]: entry.metadata for entry in fields(Settings)}
OTHERS = {"HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
"""Variables that other programs read."""

Object = dict[str, Any]


def written(path: Path) -> Iterator[Object]:
    yield from yaml.safe_load_all(path.read_text())


def variables(name: str) -> dict[str, str]:
    """What a file of variables sets, or offers behind a ``#``."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (FOLDER / name).read_text(), re.MULTILINE))


KUSTOMIZATION: Object = next(written(FOLDER / "kustomization.yaml"))
OBJECTS = [one for name in KUSTOMIZATION["resources"] for one in written(FOLDER / name)]
WORKLOADS = {
    one["metadata"]["name"].removeprefix("labelloop-"): one
    for one in OBJECTS
    if one["kind"] in ("Deployment", "StatefulSet")
}
PODS: dict[str, Object] = {name: one["spec"]["template"]["spec"] for name, one in WORKLOADS.items()}
CONTAINERS: dict[str, Object] = {name: pod["containers"][0] for name, pod in PODS.items()}
OURS = ["web", "inference", "worker"]


def of_kind(kind: str) -> list[Object]:
    return [one for one in OBJECTS if one["kind"] == kind]


def chosen(selector: dict[str, str]) -> list[str]:
    """The workloads whose pods carry all of these labels."""
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in WORKLOADS.items()}
    return [name for name, carried in labels.items() if selector.items() <= carried.items()]


def ports(name: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in CONTAINERS[name].get("ports", [])}


def probes(name: str) -> dict[str, Object]:
    return {key: probe for key, probe in CONTAINERS[name].items() if key.endswith("Probe")}


def test_every_file_is_part_of_the_whole_and_every_workload_there() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    assert set(WORKLOADS) == {*OURS, "redis"}
    assert [one["metadata"]["name"] for one in of_kind("Namespace")] == [KUSTOMIZATION["namespace"]]
    assert all(len(pod["containers"]) == 1 for pod in PODS.values())


@pytest.mark.parametrize("name", [*OURS, "redis"])
def test_a_workload_selects_its_own_pods(name: str) -> None:
    assert chosen(WORKLOADS[name]["spec"]["selector"]["matchLabels"]) == [name]


@pytest.mark.parametrize("service", of_kind("Service"), ids=lambda one: str(one["metadata"]["name"]))
def test_a_service_leads_to_one_workload_at_ports_that_it_has(service: Object) -> None:
    [name] = chosen(service["spec"]["selector"])

    assert service["metadata"]["name"] == f"labelloop-{name}"
    assert {port["targetPort"] for port in service["spec"].get("ports", [])} <= set(ports(name))
    assert WORKLOADS[name]["spec"].get("serviceName") in (None, service["metadata"]["name"])


@pytest.mark.parametrize("policy", of_kind("NetworkPolicy"), ids=lambda one: str(one["metadata"]["name"]))
def test_a_network_policy_lets_web_and_worker_in(policy: Object) -> None:
    [name] = chosen(policy["spec"]["podSelector"]["matchLabels"])
    [rule] = policy["spec"]["ingress"]

    assert [chosen(one["podSelector"]["matchLabels"]) for one in rule["from"]] == [["worker", "web"]]
    assert {port["port"] for port in rule["ports"]} == set(ports(name))


def test_images_are_those_of_the_dockerfile_and_of_the_compose_file() -> None:
    given = {one["name"] for one in KUSTOMIZATION["images"]}

    assert {name: CONTAINERS[name]["image"] for name in OURS} == {name: f"labelloop-{name}" for name in OURS}
    assert given == {f"labelloop-{name}" for name in OURS}
    assert set(OURS) <= set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert CONTAINERS["redis"]["image"] == COMPOSE["redis"]["image"]
    program, *options = CONTAINERS["redis"]["args"]
    # There NetworkPolicies stand in the place of a password.
    assert COMPOSE["redis"]["command"][-1].endswith(f" {program} - {' '.join(options)}")


@pytest.mark.parametrize("name", OURS)
def test_containers_run_what_their_images_do(name: str) -> None:
    own = re.split(r"^FROM ", DOCKERFILE.partition(f" AS {name}\n")[2], flags=re.MULTILINE)[0]

    assert CONTAINERS[name]["args"] == json.loads(re.findall(r"^CMD (\[.*\])$", own, re.MULTILINE)[0])


@pytest.mark.parametrize("name", [*OURS, "redis"])
def test_what_a_pod_names_is_there(name: str) -> None:
    pod, container = PODS[name], CONTAINERS[name]
    claims = [one["metadata"]["name"] for one in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])]
    generated = {kind: {one["name"] for one in KUSTOMIZATION[f"{kind}Generator"]} for kind in ("configMap", "secret")}

    mounted = [one["name"] for one in container["volumeMounts"]]
    assert sorted(mounted) == sorted([one["name"] for one in pod.get("volumes", [])] + claims)
    for source in container.get("envFrom", []):
        [(kind, named)] = source.items()
        assert named["name"] in generated[kind.removesuffix("Ref")]
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            key = variable["valueFrom"]["secretKeyRef"]
            assert key["name"] in generated["secret"]
            assert key["key"] in variables("secret.env.example")


def test_generated_objects_come_from_files_that_there_are_or_are_copied() -> None:
    [settings], [secret] = KUSTOMIZATION["configMapGenerator"], KUSTOMIZATION["secretGenerator"]

    assert settings["envs"] == ["settings.env"]
    assert secret["envs"] == ["secret.env"]
    # Only its example is in the repository.
    assert "deploy/kubernetes/secret.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_variables_are_settings_and_secrets_lie_with_the_secrets() -> None:
    own = {one["name"] for container in CONTAINERS.values() for one in container.get("env", [])}
    plain, secret = variables("settings.env"), variables("secret.env.example")

    assert own | set(plain) | set(secret) <= set(SETTINGS) | OTHERS
    assert not {name for name in plain if name in SETTINGS and SETTINGS[name]["secret"]}
    assert not set(plain) & set(secret)


def test_settings_lead_to_the_services() -> None:
    settings = Settings.from_environment(variables("settings.env"))
    services = {
        (one["metadata"]["name"], port["port"]) for one in of_kind("Service") for port in one["spec"].get("ports", [])
    }

    redis, endpoint = urlsplit(settings.redis_url), urlsplit(settings.endpoint)
    assert {(redis.hostname, redis.port), (endpoint.hostname, endpoint.port)} <= services
    assert urlsplit(settings.store_address).scheme in ("s3", "gs")  # pods have no folder in common
    assert ports("web") == {"http": int(CONTAINERS["web"]["env"][0]["value"])}
    assert ports("inference") == {"http": ServePlan.of(ServeOptions(), {}).port}


@pytest.mark.parametrize("name", [*OURS, "redis"])
def test_pods_may_as_little_as_the_namespace_demands(name: str) -> None:
    """Pod Security Standards, "Restricted"; Kubernetes would refuse the pods only when they are made."""
    pod, own = PODS[name]["securityContext"], CONTAINERS[name]["securityContext"]

    assert of_kind("Namespace")[0]["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert (pod["runAsNonRoot"], pod["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert PODS[name]["automountServiceAccountToken"] is False
    # Variables of a service called labelloop-web would look like settings.
    assert PODS[name]["enableServiceLinks"] is False
    assert CONTAINERS[name]["resources"].keys() == {"requests", "limits"}


@pytest.mark.parametrize("name", OURS)
def test_what_is_written_lies_on_a_volume(name: str) -> None:
    mounts = {Path(one["mountPath"]) for one in CONTAINERS[name]["volumeMounts"]}
    given = variables("settings.env")

    assert Path("/tmp") in mounts
    assert Path(given["HOME"]) in mounts
    # Below the volume and not the volume itself, which is root's: the folder is to belong to its process alone.
    assert Path(given["MODEL_DIR"]).parent in mounts
    assert PODS[name]["securityContext"]["runAsUser"] == PODS[name]["securityContext"]["fsGroup"] == 1000


def test_probes_ask_for_what_is_answered() -> None:
    health = ServePlan.of(ServeOptions(), {}).health_route
    asked = {name: {probe["httpGet"]["path"] for probe in probes(name).values()} for name in ("web", "inference")}

    assert asked == {"web": {"/ready", "/health"}, "inference": {health}}
    assert asked["web"] <= web_routes()
    for name in asked:
        assert {probe["httpGet"]["port"] for probe in probes(name).values()} <= set(ports(name))


def test_a_redis_that_is_away_takes_no_prediction_and_cuts_no_training() -> None:
    assert {probes("web")[one]["httpGet"]["path"] for one in ("readinessProbe", "livenessProbe")} == {"/health"}
    assert set(probes("worker")) == {"readinessProbe"}


def test_worker_and_redis_are_looked_at_as_in_compose() -> None:
    own = DOCKERFILE.partition(" AS worker\n")[2].partition("\nFROM ")[0]
    check = re.findall(r'^HEALTHCHECK .*?"-c", "(.*?)"\]$', own, re.MULTILINE | re.DOTALL)[0].replace("\\\n", "")
    command = probes("worker")["readinessProbe"]["exec"]["command"]

    assert command[:2] == ["python", "-c"]
    assert [line.strip() for line in command[2].splitlines()] == [line.strip() for line in check.split(";")]
    compile(command[2], "readinessProbe", "exec")
    assert all(
        one["exec"]["command"] == COMPOSE["redis"]["healthcheck"]["test"][1:] for one in probes("redis").values()
    )


@pytest.mark.parametrize("name", OURS)
def test_pods_have_the_time_to_end(name: str) -> None:
    hook = CONTAINERS[name].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    left = PODS[name]["terminationGracePeriodSeconds"] - int(hook[1])

    assert hook[0] == "sleep"
    assert left >= int(COMPOSE[name]["stop_grace_period"].removesuffix("s"))
    if name == "web":
        assert left > grace_seconds(Settings())
        assert hook[1] != "0"  # requests go elsewhere before the port is closed
