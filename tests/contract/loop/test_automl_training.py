"""Runs of the loop that AutoML trains: one training for each, and what happens to them is said where people look."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labelloop.cli.loop import cancel
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.models.champion import ChampionPointer
from labelloop.models.versions import Versions
from support.bundles import picture
from support.google import LOCATION, PROJECT, StandIn
from support.studio_api import StudioApi

from .conftest import MakeHub
from .test_training import Factory, Machine

pytestmark = pytest.mark.train

ADDRESS = f"vertex-automl://{PROJECT}/{LOCATION}"
COLOURS = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    '<Choice value="red"/><Choice value="blue"/></Choices></View>'
)


@pytest.fixture
def google(google_session: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    google_session.reset()
    google_session.use(monkeypatch)
    google_session.bucket("team")
    google_session.operations.looks = google_session.batches.looks = 0
    return google_session


@pytest.fixture
def make(
    make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Machine]:
    """Make machines whose runs AutoML trains: projects of pictures in two colours, 60 of 90 labeled."""
    factory = Factory(make_hub, studio, monkeypatch, tmp_path)

    def made(**given: Any) -> Machine:
        usual = {"trainer": ADDRESS, "google_folder": "gs://team/labelloop", "poll_seconds": 0.1}
        one = factory(**{**usual, "endpoint": "fake://?classes=red,blue", **given})
        studio.config = COLOURS
        studio.tasks.clear()
        for number in range(1, 91):
            content = base64.b64encode(picture(colour(number), size=(8 + number, 8))).decode()
            data = {"image": f"data:image/png;base64,{content}"}
            studio.tasks[number] = {"id": number, "data": data, "annotations": []}
        label(one, 60)
        return one

    return made


def colour(number: int) -> str:
    return "red" if number % 2 else "blue"


def label(one: Machine, count: int) -> None:
    bare = [number for number, task in one.studio.tasks.items() if not task["annotations"]][:count]
    for number in bare:
        one.studio.annotate(number, colour(number), to_name="image")
    sweep_project(one.hub, one.project, scan_now=True)


def told(one: Machine) -> str:
    return "\n".join(standing(project_status(one.hub, one.project)))


def finish(one: Machine, google: StandIn) -> None:
    """Let nothing go wrong any more, until nothing is left to do."""
    for _ in range(20):
        google.trainings.finish()
        one.pass_time()
        said = one.work()
        if said in (["nothing has changed"], ["1 changed labels wait for their moment"]):
            return
    raise AssertionError(f"it does not come to an end: {said}")


def test_a_run_is_one_training_and_its_model_the_next_version(make: Callable[..., Machine], google: StandIn) -> None:
    one = make()
    google.trainings.looks = None
    assert one.work()[-1].endswith("is being trained elsewhere")
    opened = one.open_run()
    assert opened is not None
    assert list(google.trainings.pipelines) == [opened.handle]
    assert one.work() == [f"run {opened.key} is being trained by {ADDRESS}"]
    assert "now: train: waits for AutoML, at most 8 node hours" in told(one)

    assert CliRunner().invoke(cancel, ["--project", "7"], obj=one.hub).exit_code == 0
    assert "it was cancelled by `labelloop cancel`" in one.work()
    google.trainings.finish()
    assert google.trainings.states() == ["CANCELLED"]
    google.trainings.looks = 1
    label(one, 4)
    finish(one, google)
    assert google.trainings.states() == ["CANCELLED", "SUCCEEDED"]
    assert ChampionPointer(one.hub.store, one.project).read().champion == "v1"
    assert Versions(one.hub.store, one.project).get("v1").recipe == "vertex-automl"
    assert not google.batches.batches


Breaks = Callable[[StandIn], None]

BROKEN: list[tuple[str, Breaks, str]] = [
    (
        "quota",
        lambda google: google.exhaust("POST trainingPipelines", "aiplatform.googleapis.com/automl_trainings", None),
        "the quota aiplatform.googleapis.com/automl_trainings is used up",
    ),
    (
        "denied",
        lambda google: google.deny("aiplatform.datasets.create"),
        "a role with aiplatform.datasets.create",
    ),
    (
        "an import",
        lambda google: google.operations.fail("import", "INVALID_ARGUMENT", "no line could be read"),
        "no line could be read",
    ),
    (
        "after hours",
        lambda google: google.trainings.fail("INTERNAL", "a node was lost"),
        "AutoML failed: INTERNAL (a node was lost)",
    ),
    (
        "a batch",
        lambda google: google.batches.fail("INTERNAL", "no answer was written"),
        "no answer was written",
    ),
]


@pytest.mark.slow
def test_whatever_breaks_is_said_in_status_the_champion_stays_and_later_it_goes_on(
    make: Callable[..., Machine], google: StandIn
) -> None:
    one = make(run_attempts=9, retry_seconds=0.0)
    finish(one, google)
    for number, (name, breaks, says) in enumerate(BROKEN, 2):
        label(one, 4)
        breaks(google)

        for _ in range(4):
            one.pass_time()
            one.work()
            if says in told(one):
                break
            google.trainings.finish()

        assert says in told(one), f"{name}: {told(one)}"
        assert ChampionPointer(one.hub.store, one.project).read().champion == f"v{number - 1}", name
        google.mend()
        finish(one, google)
        assert ChampionPointer(one.hub.store, one.project).read().champion == f"v{number}", name
    assert google.trainings.states().count("SUCCEEDED") == len(BROKEN) + 1
    assert not google.batches.batches
    assert not google.datasets.datasets


def test_a_training_that_hangs_is_stopped_at_the_limit(make: Callable[..., Machine], google: StandIn) -> None:
    one = make()
    google.trainings.looks = None
    one.work()
    # A day later.
    one.hub.open_runs(one.project)._change(lambda stands: stands and replace(stands, until=1.0))
    assert any("LABELLOOP_TRAINING_SECONDS" in sentence for sentence in one.work())
    google.trainings.finish()
    assert google.trainings.states() == ["CANCELLED"]
    assert one.open_run() is None
