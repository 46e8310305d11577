"""Vertex AI's model registry on the wire: a version of a model for each of ours, and what goes wrong."""

import itertools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from labelloop.cloud.base import Package, Publication
from labelloop.cloud.google.client import Google
from labelloop.cloud.google.models import Models
from labelloop.cloud.google.objects import Folder
from labelloop.cloud.google.registry import VertexRegistry
from labelloop.cloud.opening import open_registry
from labelloop.deployers.base import Deployable
from labelloop.deployers.opening import open_deployer
from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing, SettingsError
from labelloop.models.versions import VersionRecord
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey
from support.bundles import make_bundle
from support.crash_store import Killed
from support.file_bundle import write_bundle
from support.google import LOCATION, PROJECT, StandIn
from support.google.kills import dying_at

OURS = ProjectKey("1795187630", 7)
MODEL = f"projects/{PROJECT}/locations/{LOCATION}/models/labelloop-1795187630-7"
PLACE = "gs://team/loop"
IMAGE = "europe-docker.pkg.dev/shop-1/labelloop/inference:1"
UPLOAD = "aiplatform:POST models:upload"
RECORD = VersionRecord(
    "v3",
    "0123456789abcdef",
    "finetune",
    "v2",
    "2026-11-20T10:00:00.000000+00:00",
    True,
    "v3 replaces v2: 45 of 50 test items right (0.900)",
    {"test": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}}},
)


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return Publication(OURS, RECORD, write_bundle(tmp_path / "bundle"), "f00d", b"<!doctype html>v3")


@pytest.fixture
def registry(google: StandIn) -> VertexRegistry:
    google.bucket("team")
    return opened()


def opened() -> VertexRegistry:
    """Open it as a process does that has just begun, and waits for nothing."""
    place = Google(PROJECT, LOCATION, wait=lambda _: None)
    return VertexRegistry(Models(place, Folder(place, PLACE), IMAGE, "onnx"))


def seen(google: StandIn, which: str) -> Json:
    found: Json = google.ask("GET", f"models/labelloop-1795187630-7@{which}")
    return found


def theirs(google: StandIn, body: dict[str, Any], **query: str) -> Json:
    """Let somebody else do something to the first version."""
    found: Json = google.ask("PATCH", "models/labelloop-1795187630-7@1", body, **query)
    return found


def test_a_version_holds_the_model_its_metrics_its_report_and_where_it_comes_from(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    assert registry.packages(OURS) == []

    made = registry.add(publication)

    assert made.name == f"{MODEL}@1"
    assert registry.packages(OURS) == [Package(made.name, "pending")]
    found = seen(google, "v3")
    assert found["containerSpec"]["imageUri"] == IMAGE
    files = f"{found['artifactUri']}/"
    assert [one.removeprefix(files) for one in google.objects.names(files)] == [
        "model.json",
        "model.onnx",
        "version.json",
    ]
    told = {"version": "v3", "run": RECORD.run, "parent": "v2", "manifest": "f00d", "recipe": "finetune"}
    assert {f"labelloop-{name}": value for name, value in told.items()}.items() <= found["labels"].items()
    said = found["versionDescription"]
    assert said.startswith(f"LabelLoop: pending. v3 of project {OURS}: {RECORD.verdict}")
    places = [word.rstrip(",") for word in said.split() if word.startswith("gs://")]
    metrics, report = (google.objects.read(place) for place in places)
    assert json.loads(metrics or b"") == RECORD.metrics["test"]
    assert report == publication.report
    described = registry.describe(made.name)
    assert (described.version, described.run, described.status, described.told) == (
        "v3",
        RECORD.run,
        "pending",
        "pending",
    )
    assert described.changed.endswith("Z")


def test_the_same_bundle_is_handed_over_once(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    first = registry.add(publication)
    assert registry.add(publication).name == first.name
    assert google.calls.count(UPLOAD) == 1


def test_versions_of_many_pages_are_all_listed_the_oldest_first(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    registry.add(publication)
    told = {"displayName": "x", "containerSpec": {"imageUri": IMAGE}, "labels": {"labelloop-status": "pending"}}
    for _ in range(60):
        google.models.add(MODEL.partition("/models/")[0], dict(told), parent_model=MODEL)
    assert [one.name for one in registry.packages(OURS)] == [f"{MODEL}@{number}" for number in range(1, 62)]
    assert google.calls.count("aiplatform:GET models/*:listVersions") > 2


def test_what_we_say_of_a_version_is_told_from_what_a_person_says(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    package = registry.add(publication)
    registry.approve(package, "rejected", "rolled back to v2,\nfor a reason")
    ours = registry.describe(package.name)
    assert (ours.status, ours.told) == ("rejected", "rejected")
    assert seen(google, "1")["versionDescription"] == "LabelLoop: rejected. rolled back to v2, for a reason"

    labels = seen(google, "1")["labels"] | {"labelloop-status": "approved"}
    theirs(google, {"labels": labels}, updateMask="labels")

    said = registry.describe(package.name)
    assert (said.status, said.told) == ("approved", "rejected")
    assert said.changed > ours.changed
    registry.approve(said, "approved", "a" * 3000)
    assert registry.describe(package.name).told == "approved"


def test_the_champions_alias_leads_to_one_version_and_giving_it_approves(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    first = registry.add(publication)
    second = registry.add(Publication(OURS, RECORD, write_bundle(publication.bundle, b"other"), "f00d"))
    for package in (first, second):
        registry.crown(package)
    assert (
        seen(google, "champion")["versionId"] == google.ask("GET", "models/labelloop-1795187630-7")["versionId"] == "2"
    )
    assert [one.crowned for one in registry.packages(OURS)] == [False, True]
    assert registry.describe(second.name).status == "approved"


def test_a_version_of_somebody_elses_pipeline_says_its_run(google: StandIn, registry: VertexRegistry) -> None:
    labels = {"labelloop-status": "pending", "labelloop-run": "abc"}
    told = {"displayName": "x", "containerSpec": {"imageUri": IMAGE}, "labels": labels}
    google.models.add(MODEL.partition("/models/")[0], told, "labelloop-1795187630-7")
    (package,) = registry.packages(OURS)
    found = registry.describe(package.name)
    assert (found.version, found.run, found.told, found.status) == ("", "abc", "", "pending")


def test_what_is_gone_is_missing_and_no_model_is_no_version(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    package = registry.add(publication)
    google.operations.looks = 0
    google.ask("DELETE", "models/labelloop-1795187630-7")
    with pytest.raises(CloudMissing, match=MODEL):
        registry.describe(package.name)
    with pytest.raises(CloudMissing, match=MODEL):
        registry.approve(package, "approved", "why")
    assert registry.packages(OURS) == []
    assert registry.add(publication).name == f"{MODEL}@1", "the model is made anew"


@pytest.mark.parametrize(
    ("permission", "step"),
    [("aiplatform.models.upload", "add"), ("aiplatform.models.update", "add"), ("storage.objects.create", "check")],
)
def test_a_permission_that_is_lacking_is_named(
    google: StandIn, registry: VertexRegistry, publication: Publication, permission: str, step: str
) -> None:
    google.deny(permission)
    with pytest.raises(CloudDenied, match=permission.replace(".", r"\.")):
        registry.add(publication) if step == "add" else registry.check()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("RESOURCE_EXHAUSTED", CloudAway),
        ("UNAVAILABLE", CloudAway),
        ("INTERNAL", CloudAway),
        ("DEADLINE_EXCEEDED", CloudAway),
        ("INVALID_ARGUMENT", CloudError),
        ("FAILED_PRECONDITION", CloudError),
    ],
)
def test_what_google_refuses_says_of_what(
    google: StandIn, registry: VertexRegistry, status: str, kind: type[CloudError]
) -> None:
    google.fail("GET models/*:listVersions", status, "not today", times=None)
    with pytest.raises(CloudError, match=f"the versions of model {MODEL}.*not today") as raised:
        registry.packages(OURS)
    assert type(raised.value) is kind


def test_an_account_that_was_revoked_and_a_location_without_vertex_ai_are_told(
    google: StandIn, registry: VertexRegistry
) -> None:
    google.revoke()
    with pytest.raises(CloudDenied, match="see whether the service account is disabled"):
        registry.packages(OURS)
    google.mend()
    google.front.locations = {"us-central1"}
    with pytest.raises(CloudMissing, match=LOCATION):
        registry.check()


def test_a_quota_of_uploads_is_named_and_waited_for(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    google.exhaust("POST models:upload", "aiplatform.googleapis.com/model_uploads", None)
    with pytest.raises(CloudAway, match=r"the quota aiplatform\.googleapis\.com/model_uploads is used up"):
        registry.add(publication)
    google.mend()
    assert registry.add(publication).name == f"{MODEL}@1"


def test_an_upload_that_fails_after_an_hour_leaves_nothing_and_is_begun_anew(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    google.operations.fail("upload", "INTERNAL", "the image could not be copied")
    with pytest.raises(CloudError, match=r"version v3-\w+ failed: INTERNAL \(the image could not be copied\)"):
        registry.add(publication)
    assert registry.packages(OURS) == []
    assert registry.add(publication).name == f"{MODEL}@1"


def test_an_upload_whose_answer_is_lost_is_not_made_twice(
    google: StandIn, registry: VertexRegistry, publication: Publication
) -> None:
    google.hang_up("POST models:upload", after=True)
    with pytest.raises(CloudAway):
        registry.add(publication)
    assert opened().add(publication).name == f"{MODEL}@1"
    assert google.calls.count(UPLOAD) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_request_it_uploads_one_version(
    google: StandIn, registry: VertexRegistry, publication: Publication, after: bool
) -> None:
    for number in itertools.count():
        with suppress(Killed), dying_at(number, after=after):
            made = opened().add(publication)
            break
        for _ in range(2):
            assert opened().add(publication).name == f"{MODEL}@1", f"killed at {number}"
        (only,) = opened().packages(OURS)
        assert (only.name, google.calls.count(UPLOAD)) == (f"{MODEL}@1", 1), f"killed at {number}"
        google.reset()
        google.bucket("team")
    assert made.name == f"{MODEL}@1"
    assert number > 5


def test_what_is_there_is_said(google: StandIn, registry: VertexRegistry, publication: Publication) -> None:
    registry.add(publication)
    said = f"vertex://{PROJECT}/{LOCATION}: 1 model of ours, files in {PLACE}"
    assert registry.check() == said
    google.bucket("locked")
    google.storage.buckets.bucket("locked").retention = 3600
    locked = VertexRegistry(
        Models(registry.models.google, Folder(registry.models.google, "gs://locked/x"), IMAGE, "onnx")
    )
    with pytest.raises(CloudDenied, match="retention"):
        locked.check()


def test_what_a_deployer_has_uploaded_is_registered_and_not_uploaded_again(
    google: StandIn, registry: VertexRegistry, tmp_path: Path
) -> None:
    make_bundle(tmp_path / "v3")
    settings = Settings(google_inference_image=IMAGE, google_folder=PLACE)
    deployer = open_deployer(f"vertex://{PROJECT}/{LOCATION}/cats", OURS, settings)
    deployer.deploy(Deployable(OURS, "v3", tmp_path / "v3"))
    assert registry.packages(OURS) == [], "nobody has registered it yet"
    made = registry.add(Publication(OURS, RECORD, tmp_path / "v3"))
    assert registry.packages(OURS) == [Package(made.name, "pending")]
    assert google.calls.count(UPLOAD) == 1


def test_an_address_opens_a_registry_or_says_what_is_wrong(google: StandIn) -> None:
    settings = Settings(google_inference_image=IMAGE, google_folder=PLACE)
    assert open_registry(f"vertex://{PROJECT}/{LOCATION}", settings).name == f"vertex://{PROJECT}/{LOCATION}"
    for address, given, told in (
        ("vertex://shop", settings, "expected vertex://PROJECT/LOCATION"),
        (f"vertex://{PROJECT}/{LOCATION}?region=a", settings, "'region' is no option"),
        (f"vertex://{PROJECT}/{LOCATION}", Settings(google_folder=PLACE), "set LABELLOOP_GOOGLE_INFERENCE_IMAGE"),
        (f"vertex://{PROJECT}/{LOCATION}", Settings(google_inference_image=IMAGE), "LABELLOOP_GOOGLE_FOLDER"),
    ):
        with pytest.raises(SettingsError, match=told):
            open_registry(address, given)
    assert google.calls == []
