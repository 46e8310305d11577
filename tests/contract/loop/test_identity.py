"""A project is what its Label Studio calls it, whatever its address: adopted, told apart, found again.

``tests/fixtures/store_by_address`` was made by ``labelloop demo`` of a release that kept projects by their addresses:
one round, two classes of tiny pictures. What its bundles weigh is left out, and nothing here asks for it.
"""

import base64
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from labelloop.cli import main
from labelloop.cli.doctor import diagnose
from labelloop.data.manifest import Manifest
from labelloop.environment import environment_of
from labelloop.errors import NoSuchProject
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.moments import planned
from labelloop.loop.process import open_hub, process_hub
from labelloop.loop.project_registry import (
    backend_url,
    confirmed_project,
    existing_project,
    known_projects,
    meet_project,
    present_project,
    remember_project,
)
from labelloop.loop.queue import BACKGROUND, LONG, SHORT, queue
from labelloop.loop.redis_client import key_of
from labelloop.loop.serving import announced_version
from labelloop.loop.status import left_over, project_status
from labelloop.loop.sweep import sweep
from labelloop.loop.waker import make_due
from labelloop.models.champion import ChampionPointer, Pointers
from labelloop.models.runs import Runs
from labelloop.models.takeover import plan_takeover, take_over
from labelloop.models.versions import Versions
from labelloop.types import NO_VERSION, Identity, ProjectKey
from support.studio_api import StudioApi

OLD_STORE = Path(__file__).parents[2] / "fixtures" / "store_by_address"
MADE_AT = "127.0.0.1-8080"
CREATED_AT = "2026-11-20T15:13:50.666978Z"
CREATED = 1795187630
LAST_RUN = "2026-11-29T03:18:55"
LATER_AT = "2027-02-03T04:05:06.000700Z"

MakeHub = Callable[..., Hub]
Before = tuple[Hub, ProjectKey]


@pytest.fixture
def before(make_hub: MakeHub, studio: StudioApi) -> Before:
    """The demo's store, Redis and Label Studio, as if that had had the address of this test's; and the old key."""
    hub = make_hub(
        label_studio_url=studio.url, endpoint="fake://?classes=blue,red", backbone="test_resnet", image_size=32,
        min_labels=40, retrain_after=20, allow_private_addresses=True,
    )  # fmt: skip
    key = ProjectKey.of(studio.url, 1)
    made = OLD_STORE / MADE_AT / "1"
    for path in (path for path in made.rglob("*") if path.is_file()):
        content = path.read_bytes().replace(MADE_AT.encode(), key.instance.encode())
        hub.store.write(f"{key}/{path.relative_to(made).as_posix()}", content)
    _remember(hub, json.loads((OLD_STORE / "redis.json").read_text().replace(MADE_AT, key.instance)))
    told = json.loads((OLD_STORE / "label_studio.json").read_text())
    studio.number, studio.created_at = told["project"]["id"], told["project"]["created_at"]
    studio.config, studio.model_version = told["project"]["label_config"], told["project"]["model_version"]
    studio.tasks = {task["id"]: task for task in told["tasks"]}
    studio.pictures = {path: base64.b64decode(content) for path, content in told["pictures"].items()}
    return hub, key


def _remember(hub: Hub, kept: dict[str, Any]) -> None:
    for name, value in kept.items():
        if isinstance(value, dict):
            hub.redis.hset(name, mapping=value)
        else:
            hub.redis.set(name, value)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Hub], Hub]]:
    """Let jobs that are run in this process have a hub of these settings."""

    def given(hub: Hub) -> Hub:
        for name, value in environment_of(hub.settings).items():
            monkeypatch.setenv(name, value)
        process_hub.cache_clear()
        return process_hub()

    yield given
    for part in (process_hub().redis, process_hub().tool, process_hub().media):
        part.close()
    process_hub.cache_clear()


def content(hub: Hub) -> dict[str, bytes]:
    return {path: hub.store.read(path).content for path in hub.store.walk("")}


@pytest.mark.usefixtures("first_methods")
class TestAStoreThatWasKeptByTheAddress:
    def test_is_adopted_with_champion_versions_and_keys(self, before: Before, caplog: pytest.LogCaptureFixture) -> None:
        (hub, key), held = before, content(before[0])
        with caplog.at_level(logging.INFO):
            assert sweep(hub, scan_now=True) == {str(key): "nothing has changed"}
            assert sweep(hub) == {str(key): "nothing has changed"}

        assert [hub.project(1), hub.project(Identity(1, 1795922265)), *known_projects(hub)] == [key] * 3
        pointers = ChampionPointer(hub.store, key).read()
        assert (pointers.champion, pointers.announced, pointers.fence) == ("v2", "v2", 2)
        assert [reign.version for reign in pointers.history] == ["v1", "v2"]
        assert [(one.version, one.run, one.promoted) for one in Versions(hub.store, key).all()] == [
            ("v1", "4b3a7a71beb5734f", True),
            ("v2", "2e5db7efe4d43399", True),
        ]
        assert [(run.key, run.state, run.version) for run in Runs(hub.store, key).all()] == [
            ("4b3a7a71beb5734f", "promoted", "v1"),
            ("2e5db7efe4d43399", "promoted", "v2"),
        ]
        assert announced_version(hub, key) == "v2"
        assert backend_url(hub, key.id) == "http://127.0.0.1:9090"
        assert not hub.redis.exists(key_of(key, "changed"))
        now = content(hub)
        assert {path: now[path] for path in held} == held, "nothing is moved, nothing is changed"
        assert set(now) - set(held) == {"_projects/1.json", f"{key}/project.json"}
        said = [one.getMessage() for one in caplog.records if "goes on in" in one.getMessage()]
        told = (
            f"project 1, created 2026-11-29 03:17:45 UTC, goes on in {key}, which was kept under the address of Label "
            "Studio: its champion is v2"
        )
        assert said == [told]

    @pytest.mark.train
    def test_trains_nothing_anew_from_the_same_labels(self, before: Before, job: Callable[[Hub], Hub]) -> None:
        key = before[1]
        hub = job(before[0])
        told = jobs.retrain(str(key), "Start Training", False)

        assert told.startswith("nothing has changed since run 2e5db7efe4d43399 made v2: v2 replaces v1: 11 of 11")
        assert Versions(hub.store, key).names() == ["v1", "v2"]
        assert len(Runs(hub.store, key).all()) == 2

    def test_is_served_before_label_studio_was_asked(self, before: Before) -> None:
        hub, key = before
        asked = Identity(1, confirmed_project(hub, 1)[1].identity.created)
        unasked = open_hub(replace(hub.settings, label_studio_api_key=""))
        shutil.rmtree(hub.settings.directory / "store" / "_projects")
        assert unasked.project(asked) == unasked.project(1) == key
        assert announced_version(unasked, key) == "v2"
        assert "_projects/1.json" not in content(unasked), "who only asks for predictions leaves nothing in the store"

    def test_is_found_under_every_address(self, before: Before, make_hub: MakeHub, studio: StudioApi) -> None:
        hub, key = before
        port = studio.url.rpartition(":")[2]
        sweep(hub)
        for url in (f"http://localhost:{port}", f"https://studio.corp:{port}/annotate", "http://moved"):
            other = make_hub(label_studio_url=url, model_dir=hub.settings.model_dir)
            assert other.project(Identity(1, 1795922265)) == key
        assert known_projects(make_hub(label_studio_url=f"http://localhost:{port}")) == [key]
        assert known_projects(make_hub(label_studio_url="http://moved")) == []

    def test_is_not_for_a_fresh_label_studio_at_its_address(
        self, before: Before, studio: StudioApi, caplog: pytest.LogCaptureFixture
    ) -> None:
        (hub, key), held = before, content(before[0])
        studio.created_at = LATER_AT
        fresh, _ = confirmed_project(hub, 1)
        confirmed_project(hub, 1)

        assert fresh == ProjectKey("1801627506", 1)
        assert ChampionPointer(hub.store, fresh).read() == Pointers()
        assert announced_version(hub, fresh) == NO_VERSION
        assert caplog.text.count(f"{key} is older than the project") == 1
        assert {path: one for path, one in content(hub).items() if not path.startswith("_")} == held


@pytest.fixture
def dated(studio: StudioApi) -> StudioApi:
    """A Label Studio that says when its project was created, with one task."""
    studio.created_at = CREATED_AT
    studio.add_tasks(1)
    return studio


def test_a_new_project_lies_under_its_creation_time_for_every_process(
    studio_hub: Hub, make_hub: MakeHub, dated: StudioApi
) -> None:
    key = ProjectKey(str(CREATED), 7)
    remember_project(studio_hub, studio_hub.project(Identity(7, CREATED)), "http://labelloop:9090")
    assert sweep(make_hub()) == {str(ProjectKey.of(dated.url, 7)): "nothing has changed"}

    assert list(studio_hub.store.walk("")) == [f"{key}/project.json", "_projects/7.json"]
    assert known_projects(make_hub()) == [key]
    assert backend_url(make_hub(), key.id) == "http://labelloop:9090"


def test_another_spelling_of_the_address_knows_what_the_first_has_noted(
    studio_hub: Hub, make_hub: MakeHub, dated: StudioApi
) -> None:
    other = make_hub(label_studio_url=dated.url.replace("127.0.0.1", "localhost"))
    remember_project(other, other.project(Identity(7, CREATED)), "http://labelloop:9090")
    assert [project.id for project in known_projects(studio_hub)] == [7]
    assert backend_url(studio_hub, 7) == "http://labelloop:9090"


def test_what_label_studio_was_found_to_have_is_known_while_it_is_down(
    studio_hub: Hub, make_hub: MakeHub, dated: StudioApi
) -> None:
    key, _ = confirmed_project(studio_hub, 7)
    dated.refusing = 503
    other = make_hub()
    asked = len(dated.asked)
    assert existing_project(other, 7) == other.project(7) == key
    assert project_status(other, key).project == str(key)
    assert len(dated.asked) == asked


def test_a_project_that_came_in_the_place_of_another_has_nothing_of_it(
    studio_hub: Hub, make_hub: MakeHub, job: Callable[[Hub], Hub], dated: StudioApi
) -> None:
    first, _ = confirmed_project(studio_hub, 7)
    pointer = ChampionPointer(studio_hub.store, first)
    fence = pointer.take_fence()
    pointer.promote("v1", fence)
    pointer.announce("v1", fence)
    dated.created_at = LATER_AT
    hub = job(make_hub())
    for function, arguments in ((jobs.retrain, ("x", False)), (jobs.deploy, (None,)), (jobs.prelabel, ())):
        with pytest.raises(NoSuchProject, match="has another project 7 now, which lies in 1801627506/7"):
            function(str(first), *arguments)

    assert dated.predictions == []
    assert announced_version(hub, hub.project(7)) == NO_VERSION
    assert announced_version(hub, first) == "v1"
    assert known_projects(make_hub()) == [ProjectKey("1801627506", 7)]


def test_a_job_for_a_place_that_nobody_could_know_better_goes_on_where_the_project_lies(
    studio_hub: Hub, make_hub: MakeHub, job: Callable[[Hub], Hub], dated: StudioApi
) -> None:
    guessed, key = ProjectKey.of(dated.url, 7), ProjectKey(str(CREATED), 7)
    assert studio_hub.project(7) == guessed
    hub = job(make_hub())
    hub.state(guessed).note("trouble", "it is over")
    for told in (
        jobs.retrain(str(guessed), "x", False),
        jobs.deploy(str(guessed), None),
        jobs.prelabel(str(guessed)),
        jobs.compare(str(guessed)),
        jobs.features(str(guessed)),
    ):
        assert told == f"project 7 lies in {key}: it is done there"
    assert "trouble" not in hub.state(guessed).notes()
    assert jobs.consider(str(guessed)) == "nothing has changed"

    make_due(hub.redis)
    waiting = [one.args for name in (SHORT, LONG, BACKGROUND) for one in queue(hub.redis, name).jobs]
    assert sorted(waiting, key=str) == sorted(
        [[str(key), None], [str(key)], [str(key)], [str(key)], [str(key), "x", False]], key=str
    )
    assert not [path for path in hub.store.walk("") if path.startswith(str(guessed))]


def test_where_a_project_lies_is_not_asked_for_with_every_request(studio_hub: Hub, dated: StudioApi) -> None:
    old = ProjectKey.of(dated.url, 7)
    ChampionPointer(studio_hub.store, old).take_fence()
    assert studio_hub.project(Identity(7, CREATED)) == old
    shutil.rmtree(studio_hub.settings.directory / "store")
    for _ in range(3):
        assert studio_hub.project(Identity(7, CREATED)) == studio_hub.project(7) == old


def test_a_server_that_tells_no_creation_time_is_known_by_its_address(studio_hub: Hub, studio: StudioApi) -> None:
    key = ProjectKey.of(studio.url, 7)
    assert confirmed_project(studio_hub, 7)[0] == present_project(studio_hub, key) == key
    assert list(studio_hub.store.walk("")) == []


def test_a_redis_that_is_wiped_before_the_first_sweep_takes_no_project(job_hub: Hub, studio: StudioApi) -> None:
    studio.connect("v0")
    for _ in range(3):
        meet_project(job_hub, job_hub.project(7), "http://backend:9090")
    [look] = planned(job_hub.redis)
    assert look.name == "consider"

    jobs.consider(str(look.project))
    job_hub.redis.flushall()

    [known] = known_projects(process_hub())
    assert known.id == 7
    sweep(process_hub())
    assert backend_url(process_hub(), 7) == "http://backend:9090"


def test_a_project_that_label_studio_has_not_is_looked_at_once(job_hub: Hub, studio: StudioApi) -> None:
    studio.connect("v0")
    meet_project(job_hub, job_hub.project(8), "http://backend:9090")
    assert "8" in jobs.consider(str(job_hub.project(8)))
    assert known_projects(process_hub()) == []


class TestMove:
    """``labelloop move``: a project that was exported and imported anew has another number and another second."""

    @pytest.fixture
    def moved(self, before: Before, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Before:
        """A hub of another Label Studio with the old store, and that store's folder."""
        hub, key = before
        studio.number, studio.created_at, studio.backends = 12, LATER_AT, []
        elsewhere = ProjectKey("studio.gone", 1)
        for path in list(hub.store.walk(f"{key}/")):
            hub.store.write(path.replace(str(key), str(elsewhere)), hub.store.read(path).content)
        shutil.rmtree(hub.settings.directory / "store" / str(key))
        hub.redis.flushall()
        for name, value in environment_of(hub.settings).items():
            monkeypatch.setenv(name, value)
        return hub, elsewhere

    def test_takes_over_all_versions_and_their_champion(self, moved: Before, studio: StudioApi) -> None:
        hub, source = moved
        for name in ("contents/a.npy", "features/taken.json"):  # what its tasks show is nothing of another project's
            hub.store.write(f"{source}/{name}", b"")
        held, target = content(hub), ProjectKey("1801627506", 12)
        told = run("move", "--project", "12", "--from", str(source))

        assert told.exit_code == 0, told.output
        assert told.stdout.splitlines() == [
            f"project 12 ({target}) has taken over 2 versions of {source}, champion v2: 11 objects",
            f"{source} stays as it is",
            "v2 is announced after the next sweep, with predictions of the tasks that wait",
        ]
        pointers = ChampionPointer(hub.store, target).read()
        assert (pointers.champion, pointers.announced, pointers.fence) == ("v2", None, 3)
        assert [one.version for one in pointers.history] == ["v1", "v2"]
        assert Versions(hub.store, target).all() == Versions(hub.store, source).all()
        assert {one.project for one in Runs(hub.store, target).all()} == {str(target)}
        newest = Runs(hub.store, target).latest()
        assert newest is not None
        manifest = Manifest.from_jsonl(hub.store.read(f"{target}/manifests/{newest.manifest}.jsonl").content.decode())
        assert (manifest.project, manifest.hash) == (target, newest.manifest)
        assert {path: one for path, one in content(hub).items() if path in held} == held
        assert left_over(hub) == {}, "what was taken over is not told of again"

        studio.connect("v0")
        studio.backends[0]["project"] = 12
        assert sweep(hub) == {str(target): "v2 is to be announced"}

    def test_refuses_where_there_are_versions_already(self, moved: Before) -> None:
        hub, source = moved
        target, _ = confirmed_project(hub, 12)
        Versions(hub.store, target).claim("its own run")
        held = content(hub)
        for more in ((), ("--dry-run",)):
            told = run("move", "--project", "12", "--from", str(source), *more)
            assert told.exit_code == 1
            assert told.stderr.startswith("Error: project 12 has versions of its own in 1801627506/12, up to v1")
        assert content(hub) == held

    def test_says_what_it_would_do(self, moved: Before) -> None:
        hub, source = moved
        confirmed_project(hub, 12)
        held = content(hub)
        told = json.loads(run("move", "--project", "12", "--from", str(source), "--dry-run", "--json").stdout)

        assert told == {
            "source": str(source),
            "target": "1801627506/12",
            "objects": 11,
            "versions": ["v1", "v2"],
            "champion": "v2",
            "dry_run": True,
        }
        assert content(hub) == held

    @pytest.mark.parametrize("cut", [1, 6, 11])
    def test_goes_on_where_it_was_killed(self, moved: Before, cut: int) -> None:
        hub, source = moved
        target, _ = confirmed_project(hub, 12)

        def die(what: str, done: int, total: int) -> None:
            if done == cut:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            take_over(hub.store, hub.projects, plan_takeover(hub.store, hub.projects, source, target), die)
        assert ChampionPointer(hub.store, target).read() == Pointers()
        for _ in range(2):
            assert run("move", "--project", "12", "--from", str(source)).exit_code == 0
        pointers = ChampionPointer(hub.store, target).read()
        assert (pointers.champion, pointers.fence) == ("v2", 3)
        assert Versions(hub.store, target).all() == Versions(hub.store, source).all()

    @pytest.mark.usefixtures("moved")
    @pytest.mark.parametrize(
        ("source", "told"),
        [("nowhere/1", "there is nothing in nowhere/1"), ("1801627506/12", "project 12 lies in 1801627506/12 already")],
    )
    def test_says_what_is_no_folder_to_take_over(self, source: str, told: str) -> None:
        answer = run("move", "--project", "12", "--from", source)
        assert (answer.exit_code, answer.stderr.partition(told)[1]) == (1, told)

    @pytest.mark.usefixtures("moved")
    @pytest.mark.parametrize("source", ["../1", "a/../b/1", "/etc/1", "x", "a/1/versions"])
    def test_what_names_no_folder_is_wrong_usage(self, source: str) -> None:
        assert run("move", "--project", "12", "--from", source).exit_code == 2

    def test_waits_for_who_works_on_either(self, moved: Before) -> None:
        hub, source = moved
        with Lease(hub, source):
            told = run("move", "--project", "12", "--from", str(source))
        assert (told.exit_code, "is held by another worker" in told.stderr) == (1, True)

    def test_status_and_doctor_name_what_else_the_store_holds(self, moved: Before) -> None:
        hub, source = moved
        said = f"project 1 of studio.gone, created at a time that is not known, champion v2, last run {LAST_RUN}"
        assert f"also in the store, {source}: {said}" in run("status").stdout.splitlines()
        assert str(source) not in run("status", "--project", "12").stdout
        hub.settings = replace(hub.settings, trainer="command:true")  # so that doctor need not load torch
        found = [finding for finding in diagnose(hub, None) if finding.name == f"in the store, {source}"]
        assert [(one.ok, one.detail) for one in found] == [(True, said)]
        assert f"labelloop move --project NUMBER --from {source}" in found[0].remedy


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)
