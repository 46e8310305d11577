"""``labelloop adopt``: a model that is there already becomes a version, is served, and predicts."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from labelloop.cli import main
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.queue import SHORT
from labelloop.loop.status import project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import Runs
from labelloop.models.versions import Versions
from support.inference import inference
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import waiting

pytestmark = pytest.mark.train

COLOURS = {"cat": 0, "dog": 2}
"""Cats are red here, and dogs blue."""

HALF = ",".join(["0.5"] * 3)


def picture(label: str, number: int) -> bytes:
    colour = [number % 50, number % 90, number % 40]
    colour[COLOURS[label]] = 150 + number % 100
    held = io.BytesIO()
    Image.new("RGB", (20 + number % 7, 24), tuple(colour)).save(held, "png")
    return held.getvalue()


def write_model(path: Path, gain: float = 4.0) -> Path:
    """Write a network of the classes dog, cat that ends in probabilities; a negative gain is always wrong."""
    weights = np.zeros((3, 2), dtype=np.float32)
    weights[COLOURS["dog"], 0] = weights[COLOURS["cat"], 1] = gain
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def fill(studio: StudioApi, count: int) -> None:
    """Import tasks with a picture each, and label them."""
    studio.add_tasks(count)
    for number, task in studio.tasks.items():
        label = ("cat", "dog")[number % 2]
        studio.pictures[task["data"]["image"]] = picture(label, number)
        studio.annotate(number, label)


@pytest.fixture
def served_hub(make_hub: MakeHub, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of the commands and jobs of this process; its endpoint serves its store."""
    with inference(tmp_path / "served", LABELLOOP_STORE=hub.settings.store_address) as server:
        yield from of_this_process(make_hub(endpoint=server.address), monkeypatch)


def adopt(model: Path, *options: str, classes: str = "dog,cat") -> Result:
    named = ("--classes", classes, "--mean", HALF, "--std", HALF) if classes else ()
    return CliRunner().invoke(main, ["adopt", str(model), "--project", "7", "--no-wait", *named, *options])


def test_an_adopted_model_is_measured_served_and_announced_and_predicts(
    served_hub: Hub, studio: StudioApi, tmp_path: Path
) -> None:
    from support.web import client_of

    fill(studio, 300)
    studio.connect("v0")
    model = write_model(tmp_path / "team.onnx")

    answer = adopt(model)

    assert answer.exit_code == 0, answer.output
    record = Versions(served_hub.store, served_hub.project(7)).get("v1")
    items = record.metrics["test"]["items"]
    assert 20 <= items <= 50
    assert record.verdict.startswith("v1 becomes the first champion: adopted from team.onnx (sha256 ")
    assert "measured accuracy 1.000 (95 % interval 0." in record.verdict
    assert f"on {items} test items" in record.verdict
    assert "its outputs are probabilities, as found by running it" in answer.output
    assert project_status(served_hub, served_hub.project(7)).champion == "v1"
    [job] = waiting(served_hub, SHORT)
    assert jobs.deploy(*job.args) == "v1 is announced"
    assert studio.model_version == "v1"

    tasks = [studio.tasks[1], studio.tasks[2]]
    asked = {"tasks": tasks, "project": "7.1", "label_config": studio.config, "params": {}}
    said = client_of(served_hub).post("/predict", json=asked)
    assert said.status_code == 200, said.text
    results = said.get_json()["results"]
    assert [one["model_version"] for one in results] == ["v1", "v1"]
    assert [one["result"][0]["value"]["choices"] for one in results] == [["dog"], ["cat"]]


def test_adopting_the_same_again_changes_nothing(served_hub: Hub, studio: StudioApi, tmp_path: Path) -> None:
    fill(studio, 60)
    studio.connect("v0")
    model = write_model(tmp_path / "team.onnx")
    assert adopt(model, "--json").exit_code == 0
    [job] = waiting(served_hub, SHORT)
    jobs.deploy(*job.args)
    pointers, record = (
        ChampionPointer(served_hub.store, served_hub.project(7)).read(),
        Versions(served_hub.store, served_hub.project(7)).get("v1"),
    )
    run = Runs(served_hub.store, served_hub.project(7)).latest()

    again = adopt(model, "--json")

    assert json.loads(again.stdout)["version"] == "v1"
    assert "it was adopted before, as v1: nothing changes" in again.output
    assert ChampionPointer(served_hub.store, served_hub.project(7)).read() == pointers
    assert Versions(served_hub.store, served_hub.project(7)).get("v1") == record
    assert Runs(served_hub.store, served_hub.project(7)).latest() == run
    assert [one.id for one in waiting(served_hub, SHORT)] == [job.id]
    assert run is not None
    place = served_hub.settings.directory / "store" / str(served_hub.project(7))
    (place / "runs" / f"{run.key}.json").unlink()  # as if the command had been killed before it wrote that
    assert json.loads(adopt(model, "--json").stdout)["version"] == "v1"
    assert Versions(served_hub.store, served_hub.project(7)).all() == [record]
    other = adopt(model, classes="cat,dog")
    assert other.stdout.startswith("v2 of project 7")


def test_where_there_is_a_champion_it_is_met_and_only_a_person_overrules_the_gate(
    served_hub: Hub, studio: StudioApi, tmp_path: Path
) -> None:
    fill(studio, 300)
    pointer = ChampionPointer(served_hub.store, served_hub.project(7))
    assert adopt(write_model(tmp_path / "good.onnx")).exit_code == 0
    worse = write_model(tmp_path / "worse.onnx", gain=-4.0)

    answer = adopt(worse)
    record = Versions(served_hub.store, served_hub.project(7)).get("v2")
    assert (answer.exit_code, record.promoted, record.parent) == (0, False, "v1")
    assert record.verdict.startswith("v2 is rejected")
    assert "adopted from worse.onnx (sha256 " in record.verdict
    assert pointer.read().champion == "v1"

    forced = adopt(worse, "--force")
    assert "v2 of project 7: promoted by force, though the gate said: v2 is rejected" in forced.output
    assert pointer.read().champion == "v2"
    assert Versions(served_hub.store, served_hub.project(7)).names() == ["v1", "v2"]


def test_without_labels_a_model_is_adopted_and_another_cannot_be_compared(
    served_hub: Hub, studio: StudioApi, tmp_path: Path
) -> None:
    studio.add_tasks(3)
    first = adopt(write_model(tmp_path / "one.onnx"), classes="dog,cat")
    assert "measured on nothing, for there are no labeled test items" in first.output
    assert ChampionPointer(served_hub.store, served_hub.project(7)).read().champion == "v1"

    second = adopt(write_model(tmp_path / "two.onnx", gain=3.0))
    assert "v2 is kept, not promoted" in second.output
    assert "cannot be compared with v1" in second.output
    assert ChampionPointer(served_hub.store, served_hub.project(7)).read().champion == "v1"


def test_a_model_may_know_fewer_classes_than_the_label_config(
    served_hub: Hub, studio: StudioApi, tmp_path: Path
) -> None:
    studio.config = studio.config.replace('<Choice value="dog"/>', '<Choice value="dog"/><Choice value="owl"/>')
    answer = adopt(write_model(tmp_path / "team.onnx"))
    assert answer.exit_code == 0, answer.output
    assert "the label config has classes that it does not know, and never says: owl" in answer.output


@pytest.mark.parametrize(
    ("options", "classes", "told"),
    [
        ((), "dog,eel", "the model's classes eel are not in the label config, which has cat, dog"),
        ((), "dog,dog", "name each class once (dog comes twice)"),
        ((), "", "name the model's classes in the order of its outputs"),
        (("--choice", "multiple"), "dog,cat", "the label config of the project asks for single"),
        ((), "cat", "tells 2 classes apart, and --classes names 1"),
        (("--image-size", "17"), "dog,cat", "takes pictures of 16 x 16 pixels"),
    ],
)
def test_what_cannot_be_adopted_leaves_nothing(
    job_hub: Hub, studio: StudioApi, tmp_path: Path, options: tuple[str, ...], classes: str, told: str
) -> None:
    answer = refused(job_hub, studio, write_model(tmp_path / "team.onnx"), *options, classes=classes)
    assert told in answer.output


def refused(hub: Hub, studio: StudioApi, model: Path, *options: str, classes: str = "dog,cat") -> Result:
    """Adopt in vain: exit code 1, an error of one line, and a store without a version."""
    answer = adopt(model, *options, classes=classes)
    assert answer.exit_code == 1, answer.output
    assert answer.output.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in answer.output
    assert Versions(hub.store, hub.project(7)).names() == []
    assert ChampionPointer(hub.store, hub.project(7)).read().champion is None
    assert not waiting(hub, SHORT)
    assert not hub.state(hub.project(7)).is_held()
    return answer


@pytest.mark.parametrize("std", ["0,1,1", "1,1", "a,b,c", "nan,1,1"])
def test_impossible_colours_are_wrong_usage(job_hub: Hub, studio: StudioApi, tmp_path: Path, std: str) -> None:
    answer = adopt(write_model(tmp_path / "team.onnx"), "--std", std)
    assert answer.exit_code == 2
    assert f"'{std}' are not three numbers above 0" in answer.output


def test_without_a_worker_the_version_stands_and_its_announcement_waits(
    served_hub: Hub, studio: StudioApi, tmp_path: Path
) -> None:
    answer = adopt(write_model(tmp_path / "team.onnx"), "--wait")
    assert answer.exit_code == 1
    assert answer.output.index("v1 of project 7: v1 becomes") < answer.output.index("there is no worker")
    assert len(waiting(served_hub, SHORT)) == 1


def test_a_project_that_another_process_holds_is_left_alone(job_hub: Hub, studio: StudioApi, tmp_path: Path) -> None:
    with Lease(job_hub, job_hub.project(7)):
        answer = adopt(write_model(tmp_path / "team.onnx"))
    assert answer.exit_code == 1
    assert "is held by another worker" in answer.output
    assert Versions(job_hub.store, job_hub.project(7)).names() == []


def test_what_export_handed_out_is_adopted_by_its_folder(served_hub: Hub, studio: StudioApi, tmp_path: Path) -> None:
    assert adopt(write_model(tmp_path / "team.onnx")).exit_code == 0
    handed = tmp_path / "handed"
    assert CliRunner().invoke(main, ["export", "--project", "7", "--to", str(handed)]).exit_code == 0
    assert "test items; whether it had learned from them is not known." in (handed / "README.md").read_text()

    answer = adopt(handed, "--force", classes="")

    assert answer.exit_code == 0, answer.output
    record = Versions(served_hub.store, served_hub.project(7)).get("v2")
    assert "adopted from handed (sha256 " in record.verdict
    assert (record.promoted, record.forced) == (True, True)
