"""All six model types from the button to COMPLETE: the real SDK, our own recipes, and processes as a user starts them.

The web process is asked as Labelbox asks it, a worker trains, and the stand-in says what it was told and given.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from labelloop.labelbox.model_types import find_type
from labelloop.models.model_runs import ModelRunJobs
from labelloop.models.opening import open_store
from labelloop.models.runs import Runs
from labelloop.models.versions import Versions
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey
from support import scattered
from support.labelbox import KEY, LabelboxStandIn, labelbox_stand_in
from support.labelbox.materials import MODEL_TYPES, Material, model_run_of
from support.labelbox.service import SECRET, Service, config_of, labelbox_service
from support.waiting import wait_until

pytestmark = [pytest.mark.train, pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = 400.0
SEQUENCE = ["EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL", "COMPLETE"]
REGIONS = ("ner", "bounding_box")
METRICS = {"loss", "entropy", "margin", "agreement"}
OF_REGIONS = {"entropy", "agreement"}
"""Names of an item's metrics: where parts of it are marked, there is no answer that a loss or a margin would be of."""
LEARNED = {"ner": 0.9, "bounding_box": 0.2}
"""What share of the answers must be right; of classes more than four in five."""

every_type = pytest.mark.parametrize("name", MODEL_TYPES)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelboxStandIn]:
    with labelbox_stand_in(tmp_path_factory.mktemp("labelbox"), part=20_000) as labelbox:
        yield labelbox


@pytest.fixture(scope="module")
def service(there: LabelboxStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One web process and one worker for all model runs; what a training is like, their configs say."""
    folder = tmp_path_factory.mktemp("service")
    settings = Settings(backbone="test_resnet", weights=str(scattered.weights(folder)))
    with labelbox_service(there, folder, settings) as running:
        yield running


@pytest.fixture(scope="module")
def pressed(there: LabelboxStandIn, service: Service) -> dict[str, Material]:
    """A model run of each type, the button pressed for all of them at once; twice, as somebody impatient does."""
    made = {}
    for name in MODEL_TYPES:
        material = model_run_of(there, name)
        # Files are named by settings alone: boxes are learned from the settings' weights, pictures from none.
        there.model_runs.runs[material.run].config.update(config_of(material.settings))
        if name == "bounding_box":
            del there.model_runs.runs[material.run].config["weights"]
        made[name] = material
        first, again = (service.button.press(name.upper(), material.run, material.model) for _ in range(2))
        assert first == again == {"modelRunId": material.run, "modelType": name, "state": "open", "attempt": 1}
    return made


def wait_for(there: LabelboxStandIn, service: Service, run: str, ends: int = 1) -> Json:
    """Wait until a model run has ended so often; gives what was told last."""

    def ended() -> bool:
        assert service.worker.poll() is None, service.said[-4000:]
        told = [one["status"] for one in there.statuses(run)]
        return sum(one in ("COMPLETE", "FAILED") for one in told) >= ends

    wait_until(ended, lambda: f"{there.statuses(run)}\n{service.said[-4000:]}", SECONDS)
    return there.statuses(run)[-1]


def key_of(material: Material, name: str) -> ProjectKey:
    found = find_type(name)
    assert found is not None
    return ProjectKey.of_model_run(material.run, found.number)


@every_type
def test_the_button_leads_to_a_version_and_its_predictions(
    there: LabelboxStandIn, service: Service, pressed: dict[str, Material], name: str
) -> None:
    material = pressed[name]
    told = wait_for(there, service, material.run)
    assert there.stages(material.run) == SEQUENCE, told
    facts = told["metadata"]
    assert all(isinstance(value, str) for value in facts.values())
    assert (facts["version"], facts["champion"]) == ("v1", "v1")
    assert facts["verdict"].startswith("v1 becomes the first champion: ")
    assert facts["model_weights"].startswith(f"{service.settings.store_address}/{key_of(material, name)}/versions/v1/")
    assert facts["rows_left_out"].startswith(f"{len(material.unlabeled)} ")
    counted = [int(facts[f"{side}_rows"]) for side in ("train", "validation", "test")]
    assert sum(counted) == len(material.rows) - len(material.unlabeled)

    imports = there.imports(material.run)
    assert {one.state for one in imports.values()} == {"FINISHED"}
    assert not [line for one in imports.values() for line in one.refused]
    lines = there.predictions(material.run)
    labeled = {row.id for row in material.rows if row.labels}
    held_out = {row for row, side in material.splits.items() if side in ("VALIDATION", "TEST")} & labeled
    answered = {line["dataRow"]["id"] for line in lines}
    # Those that nobody has put on a side are on the one of their content's hash.
    assert held_out <= answered <= held_out | (labeled - set(material.splits))
    assert len(answered) == int(facts["rows_with_predictions"]) == sum(counted[1:])

    measured = [line for line in lines if "metricName" in line]
    assert {line["metricName"] for line in measured} == (OF_REGIONS if name in REGIONS else METRICS)
    assert len(measured) == len({(line["dataRow"]["id"], line["metricName"]) for line in measured})
    found = {row: said_of(lines, row) for row in answered}
    right, all_of_them = shares_right(material, found)
    assert right >= LEARNED.get(name, 0.8) * all_of_them, found


def said_of(lines: list[Json], row: str) -> list[Json]:
    """Give the predictions of a row, each with a confidence where Labelbox wants it."""
    said = [line for line in lines if line["dataRow"]["id"] == row and "metricName" not in line]
    for line in said:
        answers = line.get("answer", line)
        for one in answers if isinstance(answers, list) else [answers]:
            assert 0 < one["confidence"] <= 1
    return said


def shares_right(material: Material, found: dict[str, list[Json]]) -> tuple[int, int]:
    """Count what of all that is true of these rows was predicted; of boxes, those that lie on the true one by half."""
    right = there = 0
    for row, said in found.items():
        for truth in material.truth[row]:
            there += 1
            right += any(is_right(truth, line) for line in said)
    return right, there


def is_right(truth: Any, line: Json) -> bool:
    if isinstance(truth, str):
        answers = line["answer"] if isinstance(line["answer"], list) else [line["answer"]]
        return any(path_of(one) == truth for one in answers)
    label, *where = truth
    if line["name"] != label:
        return False
    if "location" in line:
        return bool(where == [line["location"]["start"], line["location"]["end"] + 1])
    left, top, width, height = (line["bbox"][side] for side in ("left", "top", "width", "height"))
    x, y, wide, high = where
    across = max(0, min(left + width, x + wide) - max(left, x))
    along = max(0, min(top + height, y + high) - max(top, y))
    both = across * along
    return bool(both >= 0.5 * (width * height + wide * high - both))


def path_of(answer: Json) -> str:
    return "/".join((answer["name"], *(path_of(one["answer"]) for one in answer.get("classifications", ()))))


def test_pressed_again_nothing_is_trained_and_the_same_lines_are_there(
    there: LabelboxStandIn, service: Service, pressed: dict[str, Material]
) -> None:
    name = "ner"
    material = pressed[name]
    before = wait_for(there, service, material.run)
    lines, told = there.predictions(material.run), len(there.statuses(material.run))

    answer = service.button.press(name, material.run, material.model)

    assert (answer["state"], answer["attempt"]) == ("open", 2)
    after = wait_for(there, service, material.run, 2)
    assert after == before
    assert "train" not in {one["metadata"].get("stage") for one in there.statuses(material.run)[told:]}
    assert there.predictions(material.run) == lines
    store, project = open_store(service.settings.store_address), key_of(material, name)
    assert Versions(store, project).names() == ["v1"]
    latest, jobs = Runs(store, project).latest(), ModelRunJobs(store)
    assert latest is not None
    assert latest.attempts == 1
    # Labelbox hears of it first: who is killed in between tells it once more.
    wait_until(lambda: (job := jobs.read(project)) is not None and job.state == "complete", "its job is over")
    over = jobs.read(project)
    assert over is not None
    assert (over.run, over.version, over.attempts) == (latest.key, "v1", 2)


def test_nothing_secret_is_in_the_log(service: Service, pressed: dict[str, Material]) -> None:
    assert service.said.count("COMPLETE") >= len(pressed)
    for secret in (KEY, SECRET, "X-Amz-Signature", "Signature=", "sha1="):
        assert secret not in service.said
