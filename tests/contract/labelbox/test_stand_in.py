"""The stand-in of Labelbox answers all that the real SDK sends for the calls that LabelLoop makes."""

import ast
import inspect
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import labelbox as sdk
import pytest
import requests
from labelbox.schema import annotation_import, export_task, model_run, task
from lbox import exceptions

from labelloop.types import Json
from support.labelbox import (
    KEY,
    LabelboxStandIn,
    Row,
    box,
    checklist,
    data_row_id,
    entity,
    multi,
    ontology,
    radio,
    rectangle,
    single,
    span,
)
from support.shapes import picture

ONTOLOGY = ontology(
    rectangle("car", radio("colour", ("red", "blue"))),
    entity("person"),
    radio("scene", {"outdoor": [radio("place", ("forest", "sea"))], "indoor": ()}),
    checklist("things", ("tree", "dog")),
)
PICTURE = picture((0,), 1)
TEXT = "Ada met Bob"


def rows(count: int = 3) -> list[Row]:
    """One text and pictures, one of them with three labels."""
    said = (box("car", 2, 3, 10, 12.5), single("scene", "outdoor", single("place", "sea")), multi("things", "dog"))
    pictures = [
        Row(data_row_id(str(number)), file=f"{number}.png", content=PICTURE, labels=(said,) * (3 if number == 1 else 1))
        for number in range(1, count)
    ]
    named = Row(data_row_id("0"), text=TEXT, labels=((span("person", TEXT, 0, 3),),), global_key="first")
    return [named, *pictures]


def client(labelbox: LabelboxStandIn, key: str = KEY) -> Any:
    made = sdk.Client(api_key=key, endpoint=labelbox.endpoint, enable_experimental=True)
    # Unless that is said, each call looks through the stack and all modules for who made it, 50 ms long.
    made.set_sdk_method("tests")
    return made


@pytest.fixture
def run_id(labelbox: LabelboxStandIn) -> str:
    """A model run of 3 rows."""
    model = labelbox.add_model(ONTOLOGY, "cars")
    return labelbox.add_model_run(model, rows(), {rows()[1].id: "TEST"}, {"epochs": 3}, name="first")


def export(run: Any, **params: bool) -> list[Json]:
    task = run.export(params={"model_run_details": True, **params})
    task.wait_till_done()
    assert task.status == "COMPLETE"
    return [one.json for one in task.get_buffered_stream()]


def lines(tmp_path: Path, *told: Json) -> Path:
    """Write predictions to a file."""
    path = tmp_path / f"{uuid.uuid4()}.ndjson"
    path.write_text("".join(json.dumps(one) + "\n" for one in told))
    return path


def done(made: Any) -> Any:
    """Look at an import once more: it was running as it began."""
    assert made.state.value == "RUNNING"
    made.refresh()
    return made


def about(row: str, **more: Any) -> Json:
    return {"uuid": str(uuid.uuid4()), "dataRow": {"id": row}, **more}


def test_a_model_run_its_model_and_its_ontology(labelbox: LabelboxStandIn, run_id: str) -> None:
    asked = client(labelbox)
    run = asked.get_model_run(run_id)
    assert (run.name, run.training_metadata, run.get_config()) == ("first", {"epochs": 3}, {"epochs": 3})
    model = asked.get_model(run.model_id)
    told = asked.get_ontology(model.ontology_id)
    assert (model.name, told.normalized) == ("cars", ONTOLOGY)
    assert [one.name for one in told.tools()] == ["car", "person"]
    scene, things = told.classifications()
    assert [option.label for option in scene.options] == ["outdoor", "indoor"]
    assert scene.options[0].options[0].name == "place"
    assert things.class_type.value == "checklist"
    assert run.update_config({"size": 32}) == {"trainingMetadata": {"epochs": 3, "size": 32}}
    assert run.reset_config() == {"trainingMetadata": {}}
    assert labelbox.config(run_id) == {}


def test_statuses_are_kept_in_order(labelbox: LabelboxStandIn, run_id: str) -> None:
    run = client(labelbox).get_model_run(run_id)
    run.update_status("EXPORTING_DATA")
    run.update_status("TRAINING_MODEL", metadata={"progress": "10%"})
    run.update_status("TRAINING_MODEL", metadata={"progress": "20%"})
    run.update_status("FAILED", error_message="no labels")
    assert labelbox.statuses(run_id)[1:] == [
        {"status": "TRAINING_MODEL", "metadata": {"progress": "10%"}},
        {"status": "TRAINING_MODEL", "metadata": {"progress": "20%"}},
        {"status": "FAILED", "errorMessage": "no labels"},
    ]
    assert labelbox.stages(run_id) == ["EXPORTING_DATA", "TRAINING_MODEL", "FAILED"]
    with pytest.raises(Exception, match="metadata maps strings to strings"):
        run.update_status("COMPLETE", metadata={"f1": 0.9})


def test_an_export_comes_in_parts_by_signed_links(labelbox: LabelboxStandIn) -> None:
    model = labelbox.add_model(ONTOLOGY)
    held = rows(12)
    run_id = labelbox.add_model_run(model, held, {held[1].id: "TEST"})
    told = export(client(labelbox).get_model_run(run_id))
    assert labelbox.calls.count("GET export") > 3
    assert [one["data_row"]["id"] for one in told] == [row.id for row in held]
    runs = [one["experiments"][model]["runs"][run_id] for one in told]
    assert [run["data_split"] for run in runs] == ["UNASSIGNED", "TEST", *["UNASSIGNED"] * 10]
    assert [len(run["labels"]) for run in runs] == [1, 3, *[1] * 10]
    assert told[0]["data_row"]["row_data"] == TEXT
    assert told[0]["data_row"]["global_key"] == "first"
    (marked,) = runs[0]["labels"][0]["annotations"]["objects"]
    assert marked["location"] == {"start": 0, "end": 2, "token": "Ada"}
    said = runs[2]["labels"][0]["annotations"]
    assert said["objects"][0]["bounding_box"] == {"top": 3, "left": 2, "height": 12.5, "width": 10}
    scene, things = said["classifications"]
    assert scene["radio_answer"]["classifications"][0]["radio_answer"]["name"] == "sea"
    assert [one["name"] for one in things["checklist_answers"]] == ["dog"]
    assert scene["feature_schema_id"] == ONTOLOGY["classifications"][0]["featureSchemaId"]
    link = told[1]["data_row"]["row_data"]
    assert requests.get(link, timeout=10).content == PICTURE
    assert requests.get(link, headers={"Authorization": f"Bearer {KEY}"}, timeout=10).status_code == 400
    assert requests.get(link.replace("1.png", "2.png"), timeout=10).status_code == 403
    labelbox.expire_links()
    assert requests.get(link, timeout=10).status_code == 403


def test_a_split_may_be_told_by_pages_alone(labelbox: LabelboxStandIn) -> None:
    held = rows(120)
    run_id = labelbox.add_model_run(labelbox.add_model(ONTOLOGY), held, split_key="")
    run = client(labelbox).get_model_run(run_id)
    run.assign_data_rows_to_split(data_row_ids=[held[0].id, held[119].id], split="VALIDATION")
    (told,) = export(run)[0]["experiments"].values()
    assert "data_split" not in told["runs"][run_id]
    paged = list(run.model_run_data_rows())
    assert labelbox.calls.count("modelRunPyApi") == 2
    assert [one.data_row().uid for one in paged] == [row.id for row in held]
    assert [number for number, one in enumerate(paged) if one.data_split.value == "VALIDATION"] == [0, 119]


def test_predictions_are_taken_line_by_line(labelbox: LabelboxStandIn, run_id: str, tmp_path: Path) -> None:
    run, (text, first, _) = client(labelbox).get_model_run(run_id), [row.id for row in rows()]
    sent = [
        about(first, name="car", confidence=0.9, bbox={"top": 0, "left": 1, "height": 31, "width": 5}),
        about(first, name="scene", answer={"name": "indoor", "confidence": 1.5}),
        about(first, name="things", answer=[{"name": "dog", "confidence": 0.5}]),
        about(text, name="person", confidence=0.8, location={"start": 8, "end": 10}),
        about(first, metricName="loss", metricValue=0.3, aggregation="ARITHMETIC_MEAN"),
    ]
    sent[2]["dataRow"], sent[3]["dataRow"] = {"id": first}, {"globalKey": "first"}
    made = done(run.add_predictions("labelloop-1", lines(tmp_path, *sent)))
    assert made.state.value == "FINISHED"
    (bad,) = made.errors
    assert bad["uuid"] == sent[1]["uuid"]
    assert bad["errors"] == [{"name": "InvalidConfidence", "message": "confidence is a number between 0 and 1"}]
    assert [one["status"] for one in made.statuses] == ["SUCCESS", "FAILURE", *["SUCCESS"] * 3]
    assert made.inputs == sent
    told = labelbox.imports(run_id)["labelloop-1"]
    assert (told.state, list(told.lines), len(told.refused)) == ("FINISHED", sent, 1)
    assert len(labelbox.predictions(run_id)) == 4

    # A uuid that comes again on its row is put in the place of the first one.
    again = {**sent[0], "confidence": 0.1}
    done(run.add_predictions("labelloop-2", lines(tmp_path, again)))
    assert [one["confidence"] for one in labelbox.predictions(run_id) if one["uuid"] == again["uuid"]] == [0.1]
    assert len(labelbox.predictions(run_id)) == 4
    found = sdk.MEAPredictionImport.from_name(client(labelbox), run_id, "labelloop-2")
    assert found.state.value == "FINISHED"
    with pytest.raises(exceptions.ResourceNotFoundError):
        sdk.MEAPredictionImport.from_name(client(labelbox), run_id, "labelloop-3")
    with pytest.raises(exceptions.ResourceConflict):
        run.add_predictions("labelloop-2", lines(tmp_path, again))
    listed = done(run.add_predictions("labelloop-3", [again]))
    assert listed.errors == []


def test_prelabels_go_into_a_project(labelbox: LabelboxStandIn, tmp_path: Path) -> None:
    project = labelbox.add_project(ONTOLOGY, rows())
    asked, name = client(labelbox), "labelloop-1"
    assert asked.get_project(project).name == "project"
    sent = about(rows()[1].id, name="scene", answer={"name": "indoor"})
    path = lines(tmp_path, sent, {**sent, "name": "scenes"})
    made = sdk.MALPredictionImport.create_from_file(asked, project, name, str(path))
    assert made.state.value == "RUNNING"
    found = sdk.MALPredictionImport.from_name(asked, project, name)
    assert (found.state.value, found.project().uid) == ("FINISHED", project)
    assert [one["errors"][0]["name"] for one in found.errors] == ["FeatureNotFound"]
    assert labelbox.predictions(project) == [sent]


def test_who_has_no_key_or_no_right_gets_nothing(labelbox: LabelboxStandIn, run_id: str) -> None:
    with pytest.raises(exceptions.AuthenticationError):
        client(labelbox, "another").get_model_run(run_id)
    labelbox.deny("setPipelineStatusPyApi")
    run = client(labelbox).get_model_run(run_id)
    with pytest.raises(exceptions.AuthorizationError, match="permission"):
        run.update_status("COMPLETE")
    labelbox.revoke()
    with pytest.raises(exceptions.AuthenticationError):
        run.get_config()
    labelbox.mend()
    run.update_status("COMPLETE")
    labelbox.delete_model_run(run_id)
    with pytest.raises(exceptions.ResourceNotFoundError):
        client(labelbox).get_model_run(run_id)
    with pytest.raises(exceptions.ResourceNotFoundError):
        client(labelbox).get_model("no model")


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("rate limit", "ApiLimitError"),
        ("html", "LabelboxError"),
        ("internal", "LabelboxError"),
        ("denied", "AuthorizationError"),
        ("conflict", "ResourceConflict"),
        ("hung up", "NetworkError"),
    ],
)
def test_a_call_fails_as_ordered(labelbox: LabelboxStandIn, run_id: str, how: str, error: str) -> None:
    run = client(labelbox).get_model_run(run_id)
    labelbox.fail("graphql", how)
    with pytest.raises(exceptions.LabelboxError) as raised:
        run.get_config()
    assert type(raised.value).__name__ == error
    assert run.get_config() == {"epochs": 3}
    assert labelbox.calls == ["GetModelRunPyApi", "ModelRunPyApi", "ModelRunPyApi"]
    labelbox.fail("setPipelineStatusPyApi", how, after=True)
    with pytest.raises(exceptions.LabelboxError):
        run.update_status("COMPLETE")
    assert labelbox.stages(run_id) == ["COMPLETE"]


def test_exports_go_wrong_as_ordered(labelbox: LabelboxStandIn) -> None:
    run = client(labelbox).get_model_run(labelbox.add_model_run(labelbox.add_model(ONTOLOGY), rows(12)))
    labelbox.spoil_export(hangs=True)
    labelbox.spoil_export(fails=True)
    labelbox.spoil_export(missing=1)
    labelbox.spoil_export(cut=1)
    hanging, failed, without, cut = (run.export() for _ in range(4))
    assert [one.status for one in (hanging, failed)] == ["IN_PROGRESS", "FAILED"]
    with pytest.raises(requests.HTTPError, match="404"):
        list(without.get_buffered_stream())
    with pytest.raises(AssertionError, match=r"expected \d+ bytes"):
        list(cut.get_buffered_stream())
    assert len(export(run)) == 12


def test_imports_go_wrong_as_ordered(labelbox: LabelboxStandIn, run_id: str, tmp_path: Path) -> None:
    run, row = client(labelbox).get_model_run(run_id), rows()[1].id
    path = lines(tmp_path, *(about(row, name="scene", answer={"name": "indoor"}) for _ in range(3)))
    labelbox.spoil_import(hangs=True)
    labelbox.spoil_import(fails=True)
    labelbox.spoil_import(refused=(0, 2))
    made = [done(run.add_predictions(str(number), path)) for number in range(3)]
    assert [one.state.value for one in made] == ["RUNNING", "FAILED", "FINISHED"]
    with pytest.raises(ValueError, match="Import failed"):
        made[1].errors  # noqa: B018 - it is asked for as it is read
    assert len(made[2].errors) == 2
    assert len(labelbox.predictions(run_id)) == 1
    path.write_text(path.read_text() + "no JSON\n")
    assert done(run.add_predictions("3", path)).state.value == "FAILED"
    path.write_text("")
    with pytest.raises(exceptions.MalformedQueryException):
        run.add_predictions("4", path)


class Made:
    """Rows that are made as they are read, and counted."""

    def __init__(self, count: int) -> None:
        self.count, self.read = count, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        for number in range(self.count):
            self.read += 1
            yield Row(data_row_id(str(number)), text=TEXT)

    def find(self, key: str) -> Row | None:
        return Row(key, text=TEXT)


def test_rows_that_are_made_as_they_are_read_are_not_held(labelbox: LabelboxStandIn, tmp_path: Path) -> None:
    made = Made(200)
    run_id = labelbox.add_model_run(labelbox.add_model(ONTOLOGY), made, lambda row: "TEST" if row else "")
    run = client(labelbox).get_model_run(run_id)
    assert made.read == 0
    assert len(export(run)) == made.read == 200
    assert labelbox.model_runs.runs[run_id].rows is made
    sent = about("any", name="person", location={"start": 0, "end": 2})
    assert done(run.add_predictions("1", lines(tmp_path, sent))).errors == []


# What the SDK has beside the calls that LabelLoop makes.
NOT_ASKED = {
    "GetModelRunCostInfoPyApi",
    "createMEAModelRunLabelRegistrationTaskPyApi",
    "createMEAModelRunProjectLabelRegistrationTaskPyApi",
    "MEALabelRegistrationTaskStatusPyApi",
    "createMEAModelRunDataRowRegistrationTaskPyApi",
    "MEADataRowRegistrationTaskStatusPyApi",
    "DeleteModelRunPyApi",
    "DeleteModelRunDataRowsPyApi",
    "SendToAnnotateFromMeaPyApi",
    "createMEAPredictionImportByUrlPyApi",
    "createMALPredictionImportByUrlPyApi",
    "createMalPredictionImportForModelRunDataRowsPyApi",
    "getMEAToMALPredictionImportPyApi",
    "deleteModelAssistedLabelingPredictionImportPyApi",
    "createLabelImportByUrlPyApi",
    "createLabelImportByFilePyApi",
    "getLabelImportPyApi",
    "SuccessesfulDataRowImportsPyApi",
    "FailedDataRowImportsPyApi",
}
# What it puts together of the names of its classes, in labelbox/orm/query.py, or asks for on the way.
PUT_TOGETHER = {
    "GetModelRunPyApi",
    "GetModelPyApi",
    "GetOntologyPyApi",
    "GetUserPyApi",
    "GetProjectPyApi",
    "GetUserCreatedTasksPyApi",
    "GetMetadataOntologyBetaPyApi",
}


def operations_of(module: ModuleType) -> set[str]:
    """Read the names of all operations that a module of the SDK can send; a name may be put together of constants."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(function, ast.FunctionDef):
            continue
        known = {
            one.targets[0].id: one.value.value
            for one in ast.walk(function)
            if isinstance(one, ast.Assign)
            and isinstance(one.targets[0], ast.Name)
            and isinstance(one.value, ast.Constant)
        }
        for text in map(partial(written, known), ast.walk(function)):
            found |= set(re.findall(r"(?:query|mutation)\s+(\w+PyApi)\s*[({$]", text))
    return found


def written(known: Mapping[str, object], node: ast.AST) -> str:
    """Give a text of the source, with constants in the place of their names."""
    if isinstance(node, ast.JoinedStr):
        return "".join(written(known, one) for one in node.values)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        return str(known.get(node.value.id, ""))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_the_sdk_sends_nothing_that_the_stand_in_does_not_know(labelbox: LabelboxStandIn) -> None:
    sent = set().union(*map(operations_of, (model_run, annotation_import, export_task, task)))
    assert sent >= {"exportDataRowsInModelRunPyApi", "setPipelineStatusPyApi"}
    assert sent - NOT_ASKED - labelbox.front.operations.keys() == set(), "the SDK can send more than it could"
    assert NOT_ASKED - sent == set(), "the SDK does not send these any more"
    assert labelbox.front.operations.keys() - sent == PUT_TOGETHER


def test_all_that_the_stand_in_knows_is_sent_by_the_sdk(labelbox: LabelboxStandIn, run_id: str, tmp_path: Path) -> None:
    asked, row = client(labelbox), rows()[1].id
    run = asked.get_model_run(run_id)
    asked.get_ontology(asked.get_model(run.model_id).ontology_id)
    run.get_config()
    run.update_config({"epochs": 4})
    run.reset_config()
    run.update_status("COMPLETE")
    assert len(export(run)) == 3
    run.assign_data_rows_to_split(global_keys=["first"], split="TRAINING")
    paged = [(one.data_row().global_key, one.data_split.value) for one in run.model_run_data_rows()]
    assert paged == [("first", "TRAINING"), (None, "TEST"), (None, "UNASSIGNED")]
    path = lines(tmp_path, about(row, name="scene", answer={"name": "indoor"}))
    done(run.add_predictions("1", path))
    project = labelbox.add_project(ONTOLOGY, rows())
    asked.get_project(project)
    sdk.MALPredictionImport.create_from_file(asked, project, "1", str(path))
    sdk.MALPredictionImport.from_name(asked, project, "1")
    assert {one for one in labelbox.calls if not one.startswith("GET ")} == labelbox.front.operations.keys()


def test_an_operation_or_a_field_that_there_is_not_is_refused(labelbox: LabelboxStandIn, run_id: str) -> None:
    asked = client(labelbox)
    with pytest.raises(exceptions.InvalidQueryError, match="no operation SomethingNew"):
        asked.execute("query SomethingNew{x}", {})
    query = "query ModelRunPyApi($modelRunId: ID!){modelRun(where: {id: $modelRunId}){trainingMetadata %s}}"
    with pytest.raises(exceptions.InvalidQueryError, match='Cannot query field "weather"'):
        asked.execute(query % "weather", {"modelRunId": run_id})
    with pytest.raises(exceptions.InvalidQueryError, match="is sent to /graphql"):
        asked.execute(query % "", {"modelRunId": run_id}, experimental=True)
    with pytest.raises(exceptions.LabelboxError, match="was not provided"):
        asked.execute(query % "", {})
    with pytest.raises(exceptions.InvalidQueryError, match="Syntax Error"):
        asked.execute("query ModelRunPyApi{modelRun{id", {})


def test_a_page_shows_what_became_of_a_model_run(labelbox: LabelboxStandIn, tmp_path: Path) -> None:
    run_id = labelbox.add_model_run(labelbox.add_model(ONTOLOGY, "cars & trees"), rows(70))
    run, (text, first, *_) = client(labelbox).get_model_run(run_id), [row.id for row in rows()]

    def page(path: str = f"/runs/{run_id}") -> str:
        told = requests.get(f"{labelbox.url}{path}", timeout=10)
        assert told.status_code == 200
        return told.text

    assert "not begun" in page("/")
    assert "cars &amp; trees" in page("/")
    run.update_status("TRAINING_MODEL", metadata={"f1": "<0.91>"})
    assert "http-equiv" in page()
    sent = [
        about(first, name="car", confidence=0.9, bbox={"top": 0, "left": 1, "height": 31, "width": 5}),
        about(text, name="person", confidence=0.8, location={"start": 8, "end": 10}),
        about(first, name="scene", answer={"name": "outdoor", "confidence": 0.7}),
        about(first, metricName="loss", metricValue=0.25),
    ]
    done(run.add_predictions("labelloop-1", lines(tmp_path, *sent)))
    run.update_status("FAILED", error_message="<no> labels")
    shown = page()
    assert "http-equiv" not in shown
    for told in (
        "&lt;0.91&gt;",
        "&lt;no&gt; labels",
        '<rect class="predicted" x="1" y="0" width="5" height="31"><title>car 0.90</title></rect>',
        '<rect class="label" x="2" y="3" width="10" height="12.5"><title>car</title></rect>',
        'Ada met <mark title="person 0.80">Bob</mark>',
        "scene: outdoor 0.70",
        "loss 0.250",
        "labeled 3 times: car x 3, outdoor/sea x 3, dog x 3",
        "60 of 70 are shown",
    ):
        assert told in shown
    (link,) = set(re.findall(r'href="([^"]*/1\.png[^"]*)"', shown))
    assert requests.get(unescape(link), timeout=10).content == PICTURE
    assert requests.get(f"{labelbox.url}/runs/another", timeout=10).status_code == 404
