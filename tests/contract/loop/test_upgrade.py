"""Runs that a worker of an earlier release was at are taken up, whatever stage it left them in.

``tests/fixtures/runs_in_flight.json`` holds what such a worker left in the store and in the run's folder when it was
killed as a stage began: the pad of ``test_second_site.py`` with ten labels more than v1 learned from. Its store lay in
another folder, as one that was restored from a backup did.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.loop.consider import consider
from labelloop.loop.deploy import announce
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.project_registry import confirmed_project
from support.notes import NotesSite, NotesTool
from support.number_tasks import label_of

from .test_second_site import notes_hub, pad, train  # noqa: F401 - fixtures

pytestmark = [pytest.mark.train, pytest.mark.slow]

CAPTURED = json.loads((Path(__file__).parents[2] / "fixtures" / "runs_in_flight.json").read_text())
RUN = "a0f40b2c11e1330c"
LEFT = {
    "train": ("running", "train"),
    "publish": ("running", "publish"),
    "promote": ("running", "publish"),
    "flip": ("promoted", "promote"),
}
"""What the run's record said."""


@pytest.mark.parametrize("stage", CAPTURED["stages"])
def test_a_run_of_an_earlier_release_is_taken_up(
    notes_hub: Hub,  # noqa: F811 - a fixture
    pad: NotesSite,  # noqa: F811 - a fixture
    tmp_path: Path,
    stage: str,
) -> None:
    for number in range(61, 71):
        pad.notes[number].said.append(label_of(number))
    for path, content in (CAPTURED["all"] | CAPTURED["stages"][stage]).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    project, _ = confirmed_project(notes_hub, 1)
    before = notes_hub.runs(project).get(RUN)
    assert before is not None
    assert (before.state, before.stage) == LEFT[stage]
    done = consider(notes_hub, project)
    assert done == ("v2 is to be announced" if stage == "flip" else f"run enqueued: {before.trigger}")

    record = train(notes_hub, project)
    if stage == "flip":
        with Lease(notes_hub, project) as lease:
            fence = notes_hub.pointer(project).take_fence()
            announce(notes_hub, project, "v2", fence, ProgressReporter(notes_hub, project, lease))
    assert (record.key, record.state, record.version) == (RUN, "promoted", "v2")
    pointers = notes_hub.pointer(project).read()
    assert (pointers.champion, pointers.announced) == ("v2", "v2")
    assert [reign.version for reign in pointers.history] == ["v1", "v2"]
    assert notes_hub.versions(project).names() == ["v1", "v2"]
    if stage in ("promote", "flip"):
        bundle = [path for path in CAPTURED["stages"][stage] if path.endswith("means.json") and "/v2/" in path]
        assert notes_hub.versions(project).get("v2").bundle == bundle[0].split("/")[-2], "nothing is trained twice"
    elsewhere = Hub(replace(notes_hub.settings, model_dir=str(tmp_path / "other")), NotesTool(pad))
    assert train(elsewhere, project).key == RUN, "nothing has changed since"
    elsewhere.redis.close()
    elsewhere.media.close()
