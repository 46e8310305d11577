"""An endpoint that only embeds, a real Label Studio, and a machine without torch: labels make a head that predicts."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.pictures import digits
from labelloop.models.versions import Versions
from support.loop_machine import LoopMachine, loop_settings
from support.misbehaving import Exchange, Misbehaving, answer, misbehaving

pytestmark = [pytest.mark.studio, pytest.mark.slow, pytest.mark.process, pytest.mark.timeout(300)]

WITHOUT_TORCH = "import sys\nsys.modules |= dict.fromkeys(('torch', 'timm', 'lightning'))\n"


def embed(exchange: Exchange) -> None:
    """Give a picture's 64 grey values: what a digit is can be learned from them, and nothing is predicted."""
    with Image.open(io.BytesIO(exchange.request.body)) as picture:
        grey = picture.convert("L").resize((8, 8), Image.Resampling.BOX)
    answer({"outputs": [{"embedding": [value / 255 for value in grey.tobytes()]}]})(exchange)


@pytest.fixture
def endpoint() -> Iterator[Misbehaving]:
    with misbehaving(embed) as running:
        yield running


def test_labels_lead_to_a_head_without_torch(label_studio: LabelStudio, endpoint: Misbehaving, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(WITHOUT_TORCH)
    settings = loop_settings(
        label_studio,
        tmp_path,
        endpoint=f"{endpoint.address}/embed",
        features="outputs[].embedding",
        response_format="none",
        model_version="grey",
        min_labels=110,
        retrain_after=40,
        quiet_seconds=1.0,
    )
    hidden = {"PYTHONPATH": f"{tmp_path / 'without'}:{Path(__file__).parents[2] / 'my_ml_backend'}"}
    (tmp_path / "digits").mkdir()
    examples = digits(tmp_path / "digits", 1, 180)
    with LoopMachine(label_studio, settings, tmp_path / "labelloop.log", environment=hidden) as machine:
        project = machine.project(examples, "digits by features")
        assert endpoint.requests == [], "it predicts nothing itself: before there is a head nobody asks it"
        project.annotator.annotate(project.tasks[:110])
        machine.wait_for(project, lambda status: status.announced == "v1" and status.step is None, "v1 is announced")
        record = Versions(machine.hub.store, project.key).get("v1")
        assert record.recipe == "head"
        assert record.metrics["test"]["accuracy"]["value"] > 0.7
        waiting = {task: versions for task, versions in machine.predictions(project).items() if versions}
        assert waiting == {task: ["v1"] for task in project.tasks[110:]}

        met = project.annotator.annotate_next(40, "v1")
        assert met.served == 40
        machine.wait_for(project, lambda status: (status.run or {}).get("version") == "v2", "a second run")
        assert len({request.body for request in endpoint.requests}) <= 180
        # Once each for its features, and once a run to see whose they are; what is opened may be asked about once more.
        assert len(endpoint.requests) <= 180 + 40 + 4
