"""Both speeds against a real Label Studio: heads at quiet moments, beside a finetune that is killed and goes on."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import psutil
import pytest
from rq import Worker

from labelloop.demo.examples import Example, Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.pictures import digits
from labelloop.loop.queue import CHALLENGERS, queue
from labelloop.loop.redis_client import key_of
from labelloop.models.runs import RunRecord
from labelloop.train.selection import ENOUGH
from labelloop.types import Side, side
from support.loop_machine import LoopMachine, Project, loop_settings
from support.scattered import weights
from support.waiting import wait_until

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(400)]

FIRST = {"validation": ENOUGH, "test": 12, "train": 30}
"""Pictures that are labeled for the first version: no more than a finetune needs that is to be judged."""

MORE = 6
"""Labels that call for another head."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Digits, those of the first version before the others."""
    found = digits(tmp_path_factory.mktemp("digits"), seed=1, tasks=1500)
    by_side: dict[Side, list[Example]] = {"validation": [], "test": [], "train": []}
    for one in found.shown:
        by_side[side(sha256(one.content).hexdigest())].append(one)
    first = [one for name, count in FIRST.items() for one in by_side[name][:count]]  # type: ignore[index]
    return replace(found, shown=(*first, *by_side["train"][FIRST["train"] :][: 4 * MORE]))


@pytest.fixture(scope="module")
def machine(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopMachine]:
    folder = tmp_path_factory.mktemp("loop")
    settings = loop_settings(
        label_studio,
        folder,
        weights=str(weights(folder)),
        min_labels=sum(FIRST.values()),
        retrain_after=MORE,
        epochs=25,
    )
    with LoopMachine(label_studio, settings, folder / "labelloop.log") as made:
        yield made


def latest(machine: LoopMachine, project: Project) -> RunRecord:
    found = machine.hub.runs(project.key).latest()
    assert found is not None
    return found


def another_head(machine: LoopMachine, project: Project, begin: int) -> RunRecord:
    """Label some more, and wait for the run that they lead to."""
    before = latest(machine, project)
    project.annotator.annotate(project.tasks[begin : begin + MORE])
    wait_until(
        lambda: (now := latest(machine, project)).key != before.key and now.judged,
        lambda: f"a head follows {before}:\n{machine.log.read_text()[-3000:]}",
        90,
    )
    return latest(machine, project)


def test_a_finetune_that_is_killed_goes_on_beside_two_heads_and_meets_the_champion_of_then(
    machine: LoopMachine, pictures: Examples
) -> None:
    project, count = machine.project(pictures, "two speeds"), sum(FIRST.values())
    project.annotator.annotate(project.tasks[:count])
    machine.wait_for(project, lambda status: status.announced == "v1", "a head is the first version")
    first = latest(machine, project)
    assert (first.recipe, first.metrics["challengers"]) == ("head", {"finetune": ""})

    state, runs = machine.hub.state(project.key), machine.hub.runs(project.key)
    wait_until(
        lambda: (
            (step := state.progress(challenger=True).step()) is not None and step.stage == "train" and step.done > 0
        ),
        lambda: f"the finetune is trained in the background:\n{machine.log.read_text()[-3000:]}",
        60,
    )
    [background] = Worker.all(queue=queue(machine.hub.redis, CHALLENGERS))
    process = psutil.Process(background.pid)
    jobs = process.children(recursive=True)
    process.kill()
    psutil.wait_procs(jobs, timeout=20)

    # On a slow machine its lease would be over long before the first head, and so would the finetune.
    lease = key_of(project.key, "challenger-lease")
    machine.hub.redis.persist(lease)
    heads = [another_head(machine, project, count)]
    machine.hub.redis.delete(lease)
    heads.append(another_head(machine, project, count + MORE))
    assert [head.recipe for head in heads] == ["head", "head"]
    champion = machine.hub.pointer(project.key).read().champion
    begun = runs.latest_challenger()
    assert begun is not None
    assert not begun.judged, "it was over before two heads were: let it train longer"

    def is_over() -> bool:
        found = runs.latest_challenger()
        return found is not None and found.judged

    wait_until(is_over, lambda: f"the finetune goes on:\n{machine.log.read_text()[-3000:]}", 180)
    found = runs.latest_challenger()
    assert found is not None
    assert (found.manifest, found.attempts, found.own_failures) == (first.manifest, 2, 0)
    assert found.recipe == "finetune"
    assert machine.hub.versions(project.key).get(found.version or "").parent == champion
    assert f" {champion}" in found.verdict
    stands = machine.wait_for(
        project, lambda status: status.champion == status.announced and status.step is None, "all is announced"
    )
    assert stands.champion == (found.version if found.state == "promoted" else champion)
