"""What `labelloop policy` tells of a project, from the answers of Label Studio and from the store."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from labelloop.cli.main import main
from labelloop.loop.hub import Hub
from labelloop.loop.project_registry import remember_project
from labelloop.models.runs import RunRecord
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process


@pytest.fixture
def loop(make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of the commands. Tasks 1 to 40 were labeled a second apart on November 1, the first three edited at 2."""
    made = make_hub(retrain_after=3, quiet_seconds=60, min_labels=40)
    remember_project(made, made.project(7), "http://labelloop-1:9090")
    studio.add_tasks(42)
    for task in range(1, 41):
        at = f"2026-11-01T00:00:{task:02d}.000000Z"
        edited = "2026-11-01T02:00:00.000000Z" if task <= 3 else at.replace("000000Z", "000031Z")
        studio.annotate(task, "cat", created_at=at, updated_at=edited)
    studio.annotate(41, "cat", was_cancelled=True, created_at="2026-11-01T03:00:00Z", updated_at="2026-11-01T03:00:00Z")
    yield from of_this_process(made, monkeypatch)


def policy(*more: str) -> Result:
    return CliRunner().invoke(main, ["policy", "--project", "7", *more])


def test_the_policy_is_the_workers_and_says_what_is_next(loop: Hub) -> None:
    loop.state(loop.project(7)).note_policy()
    told = policy()
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        "a run after 3 changed labels and 60 s without another",
        "or 60 min after the first change; the first version needs 40 labels",
        "next: nothing has changed",
    ]
    assert json.loads(policy("--json").stdout)["policy"]["retrain_after"] == 3
    assert "add --replay" in policy("--quiet", "5").output


def test_a_projects_history_says_when_it_would_have_trained_beside_when_it_did(loop: Hub) -> None:
    real = RunRecord(
        "k", str(loop.project(7)), "m", "s", 0, "Start Training", state="rejected", seconds={"train": 20.0}
    )
    loop.runs(loop.project(7)).save(real)
    told = policy("--replay", "--cool-down", "600")
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[2] == "none within 10 min after the last one"
    assert lines[3] == (
        "2026-11-01 00:01:40 UTC  would train  40 changed labels, 40 labeled tasks; "
        "40 of 40 labels for a first version, quiet for 60 s of 60 s"
    )
    assert lines[4].startswith("2026-11-01 02:01:00 UTC  would train  3 changed labels, 40 labeled tasks; 3 of 3")
    assert lines[5].endswith("trained      run k rejected, 40 labeled tasks; Start Training")
    assert lines[6] == (
        "43 changes of 40 tasks, runs of 20 s; runs by this policy: 2, real ones: 1; a label waited for 99 s at most"
    )


def test_other_settings_are_tried_by_options(loop: Hub) -> None:
    found = json.loads(
        policy("--replay", "--json", "--retrain-after", "41", "--max-wait", "60", "--run-seconds", "5").stdout
    )

    assert (found["policy"]["retrain_after"], found["run_seconds"], found["began"]) == (41, 5, [])
    assert [(one["moment"], one["changed"]) for one in found["would_have_begun"]] == [
        ("2026-11-01 00:01:01 UTC", 40),
        ("2026-11-01 02:01:00 UTC", 3),
    ]
