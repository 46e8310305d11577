"""A second kind goes once round: labels from the site, a run, the gate, the store, its engine, predictions.

Nothing outside ``support.numbers_kind`` knows of it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import labelloop
from labelloop.cli.data import label_errors
from labelloop.data.manifest import Manifest
from labelloop.data.rows import HELD
from labelloop.errors import BundleError, SettingsError, StoreError, TrainingError
from labelloop.kinds import base
from labelloop.kinds.base import kind_of
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.predict import predict_tasks
from labelloop.loop.project_labels import keep_manifest
from labelloop.loop.retrain import retrain
from labelloop.loop.sweep import sweep_project
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.run.driver import Run
from labelloop.run.folder import STAGES, RunFolder
from labelloop.run.parameters import GATE
from labelloop.studio.label_config import parse_trained
from labelloop.types import TEXTS
from support import numbers_kind
from support.inference import SCRIPT, inference
from support.label_configs import interface
from support.number_tasks import NUMBERS, add_numbers, label_numbers, label_of
from support.reports import reported
from support.studio_api import CONFIG, StudioApi
from support.training_programs import BUNDLE, program

from .conftest import MakeHub
from .test_retrain import Quiet

pytestmark = pytest.mark.train

SERVE = 'from labelloop.kinds.base import KINDS\nKINDS["numbers"] = "support.numbers_kind"\n' + SCRIPT


@pytest.fixture(autouse=True)
def second_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a second kind, as a package of its own would."""
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})


@pytest.fixture
def hub(make_hub: MakeHub, studio: StudioApi, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose project asks about numbers, sixty of them labeled, and an inference server of its store.

    What its settings say of networks is another kind's matter.
    """
    studio.config = NUMBERS
    studio.connect("labelloop")
    add_numbers(studio, range(1, 81))
    label_numbers(studio, range(1, 61))
    store, tests = (tmp_path / "store").as_uri(), Path(numbers_kind.__file__).parents[1]
    paths = os.pathsep.join((str(Path(labelloop.__file__).parents[1]), str(tests)))
    with inference(tmp_path / "serve", script=SERVE, LABELLOOP_STORE=store, PYTHONPATH=paths) as server:
        yield make_hub(endpoint=server.address, store=store, backbone="no-such-network", image_size=7)


def train(hub: Hub) -> RunRecord:
    project = hub.project(7)
    with Lease(hub, project) as lease:
        return retrain(hub, project, "test", ProgressReporter(hub, project, lease))


def test_a_second_kind_goes_once_round(hub: Hub, studio: StudioApi) -> None:
    record, project = train(hub), hub.project(7)

    assert (record.state, record.version, record.recipe, record.kind) == ("promoted", "v1", "nearest", "numbers")
    assert record.methods == {"nearest": 1, **GATE}
    versions = Versions(hub.store, project)
    assert versions.get("v1").trained_with["sharpness"] == 1.0
    assert versions.get("v1").verdict in reported(hub, project)
    header, first = hub.store.read(f"{project}/manifests/{record.manifest}.jsonl").content.splitlines()[:2]
    assert json.loads(header)["learns"] == "numbers"
    assert json.loads(first) == {"task": 1, "text": "1.001", "labels": ["low"]}

    # Whoever waits is pre-annotated by the served version.
    assert ChampionPointer(hub.store, project).read().announced == "v1"
    brought = {one["task"]: one["result"][0]["value"]["choices"] for one in studio.predictions}
    assert brought == {number: [label_of(number)] for number in range(61, 81)}
    assert {one["model_version"] for one in studio.predictions} == {"v1"}
    (asked,) = predict_tasks(hub, 7, interface(hub, NUMBERS), [{"id": 99, "data": {"number": "8.25"}}])
    assert isinstance(asked, dict)
    assert asked["result"][0]["value"]["choices"] == ["high"]
    assert predict_tasks(hub, 7, interface(hub, NUMBERS), [{"id": 99, "data": {"number": "many"}}]) == [[]]

    # More labels lead to another run, which is judged by the one before.
    assert "nothing" in sweep_project(hub, project, scan_now=True)
    label_numbers(studio, range(61, 81))
    studio.tasks[81] = {"id": 81, "data": {"number": "many"}, "annotations": []}
    studio.annotate(81, "low", to_name="number")
    later = train(hub)
    assert (later.version, versions.get("v2").parent) == ("v2", "v1")
    assert "v2 replaces v1" in later.verdict
    assert later.metrics["gate"]["champion"] == 1.0
    assert (
        b'{"left_out":"it is no number","task":81}'
        in hub.store.read(f"{project}/manifests/{later.manifest}.jsonl").content
    )


def test_a_program_trains_what_our_server_serves_and_another_one_makes_another_run(
    hub: Hub, make_hub: MakeHub, studio: StudioApi, tmp_path: Path
) -> None:
    address = program(tmp_path / "theirs", BUNDLE)
    theirs = make_hub(endpoint=hub.settings.endpoint, store=hub.settings.store, trainer=address)

    record, project = train(theirs), theirs.project(7)

    assert (record.state, record.version, record.recipe) == ("promoted", "v1", "theirs")
    assert record.methods == {"command": 1, **GATE}
    assert reported(hub, project)
    assert {one["model_version"] for one in studio.predictions} == {"v1"}
    brought = {one["task"]: one["result"][0]["value"]["choices"] for one in studio.predictions}
    assert brought == {number: [label_of(number)] for number in range(61, 81)}
    assert train(theirs).key == record.key
    ours = train(hub)
    assert (ours.version, ours.recipe, ours.manifest) == ("v2", "nearest", record.manifest)
    assert ours.key != record.key
    assert train(theirs).version == "v1"


def test_the_command_makes_the_same_run(hub: Hub, tmp_path: Path) -> None:
    record, project = train(hub), hub.project(7)
    manifest = f"{hub.settings.store_address}/{project}/manifests/{record.manifest}.jsonl"
    given = {"train_location": manifest, "format": "labelloop", "project_key": str(project)}
    run = Run(RunFolder(tmp_path / "run"), replace(hub.settings, backbone="test_resnet", image_size=0), given, Quiet())
    with run.alone():
        for stage in STAGES:
            run.make(stage)
    assert run.key == record.key
    assert Versions(hub.store, project).names() == ["v1"]
    assert json.loads((tmp_path / "run" / "verdict.json").read_text())["version"] == "v1"
    assert check_bundle(tmp_path / "run" / "bundle").kind == "numbers"


@pytest.mark.parametrize("left", ["", '{"classes": ["lo'])
def test_a_bundle_that_a_killed_training_has_left_half_is_made_anew(hub: Hub, tmp_path: Path, left: str) -> None:
    record, project = train(hub), hub.project(7)
    manifest = f"{hub.settings.store_address}/{project}/manifests/{record.manifest}.jsonl"
    given = {"train_location": manifest, "format": "labelloop", "project_key": str(project)}
    run = Run(RunFolder(tmp_path / "run"), replace(hub.settings, backbone="test_resnet", image_size=0), given, Quiet())
    with run.alone():
        for stage in STAGES:
            if stage == "train":
                run.folder.bundle.mkdir()
                (run.folder.bundle / "means.json").write_text("{}")
                if left:
                    (run.folder.bundle / "model.json").write_text(left)
                assert not run.has("train")
            run.make(stage)
    assert check_bundle(run.folder.bundle).kind == "numbers"
    assert Versions(hub.store, project).names() == ["v1"]


def test_label_errors_are_for_images_and_say_so_of_another_kinds_champion(hub: Hub) -> None:
    train(hub)
    assert ChampionPointer(hub.store, hub.project(7)).read().champion == "v1"

    found = CliRunner().invoke(label_errors, ["--project", "7"], obj=hub)

    assert isinstance(found.exception, TrainingError)
    assert str(found.exception) == "nothing looks for probable label errors where numbers is learned"


def test_a_manifest_that_cannot_be_kept_is_said_with_its_folder(hub: Hub) -> None:
    project = hub.project(7)
    folder = hub.settings.directory / "cache" / "labels"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("no folder")
    with pytest.raises(StoreError, match=f"the manifest cannot be kept in {folder}: File exists"):
        keep_manifest(hub, project, Manifest(project, "single", ("low", "high"), ()))


def test_one_server_learns_several_kinds(hub: Hub, studio: StudioApi) -> None:
    tags = [parse_trained(text).tags[0] for text in (NUMBERS, CONFIG)]
    assert [kind_of(tag.tag, tag.target.tag).name for tag in tags] == ["numbers", "image-classification"]
    studio.config = CONFIG
    with pytest.raises(SettingsError, match="no-such-network"):
        train(hub)


def test_a_release_without_the_kind_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    train(hub)
    bundle = Versions(hub.store, hub.project(7)).fetch_bundle("v1", hub.settings.directory / "cache" / "bundles")
    monkeypatch.delitem(base.KINDS, numbers_kind.NAME)
    with pytest.raises(BundleError, match="'numbers', which this release does not know"):
        check_bundle(bundle)
    (tag,) = parse_trained(NUMBERS.replace("low", "lower")).tags
    assert kind_of(tag.tag, tag.target.tag).name == TEXTS


def test_labels_that_are_too_many_for_memory_go_round_as_well(hub: Hub, studio: StudioApi) -> None:
    for task in studio.tasks.values():
        task["data"]["number"] += " " * 80_000
    record, project = train(hub), hub.project(7)

    assert (record.state, record.version) == ("promoted", "v1")
    kept = hub.store.read(f"{project}/manifests/{record.manifest}.jsonl").content
    assert len(kept) > HELD
    manifest = Manifest.from_jsonl(kept.decode())
    assert (manifest.hash, [item.task for item in manifest.items]) == (record.manifest, list(range(1, 61)))
    assert "v1" in reported(hub, project)

    studio.tasks[5]["annotations"].clear()
    studio.annotate(5, "high", to_name="number")
    sweep_project(hub, project, scan_now=True)
    assert hub.state(project).changes.pending().changed == 1
