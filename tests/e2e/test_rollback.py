"""A version that annotators of a real Label Studio always correct: the worker takes it back by itself."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest

from labelloop.demo.examples import Example, Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.loop.order import is_held_out
from labelloop.loop.status import ProjectStatus
from support.bundles import COLOURS, picture, publish_bundle
from support.loop_machine import LoopMachine, loop_settings

pytestmark = [pytest.mark.studio, pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(300)]

TASKS, LABELED = 30, 22


def held_out(folder: Path) -> Iterator[Example]:
    """Pictures of the validation and test sides: each is served at random."""
    for number in count(1):
        colour = COLOURS[number % 3]
        content = picture(colour, (8 + number, 10))
        if is_held_out(hashlib.sha256(content).hexdigest()):
            path = folder / f"{number}.png"
            path.write_bytes(content)
            yield Example(path, (colour,))


def announced(version: str) -> Callable[[ProjectStatus], bool]:
    """The version is announced and nothing is under way."""
    return lambda status: status.announced == version and status.step is None


def test_a_version_that_is_always_corrected_is_taken_back(label_studio: LabelStudio, tmp_path: Path) -> None:
    settings = loop_settings(label_studio, tmp_path, retrain_after=1000, first_labels=False)
    pictures = Examples(COLOURS, tuple(islice(held_out(tmp_path), TASKS)), ())
    with LoopMachine(label_studio, settings, tmp_path / "labelloop.log") as machine:
        project, store = machine.project(pictures, "rollback"), machine.hub.store
        for version, classes in (("v1", COLOURS), ("v2", (*COLOURS[1:], COLOURS[0]))):
            publish_bundle(store, project.key, tmp_path, run=f"run of {version}", classes=classes)
            machine.hub.queue(project.key).deploy()
            machine.wait_for(project, announced(version), "it is announced")
        assert project.annotator.annotate_next(LABELED, "v2").agreement == 0.0

        status = machine.wait_for(project, announced("v1"), "it is taken back", 90)

        assert status.rollback.startswith(
            f"v2 was rolled back to v1: on {LABELED} randomly served tasks annotators agree"
        )
        assert machine.client.project(project.key.id).model_version == "v1"
        assert all("v1" in versions for versions in machine.predictions(project).values())
        served = project.annotator.annotate_next(TASKS - LABELED, "v1")
        assert (served.annotated, served.agreement) == (TASKS - LABELED, 1.0)
