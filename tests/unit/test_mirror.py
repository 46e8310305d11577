"""Store and registry agree: whatever is said where, however often, and wherever whoever mirrors is cut off."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.cloud.base import Approval
from labelloop.errors import CloudAway
from labelloop.loop.mirror import mirror, reject_by_command
from labelloop.loop.promotion import champion_before, promote, standing
from labelloop.loop.pruning import prune
from labelloop.models.champion import ChampionPointer, Pointers
from labelloop.models.runs import RunRecord, Runs
from labelloop.models.versions import VersionRecord, Versions, number_of
from labelloop.types import ProjectKey
from support.crash_store import CrashStore, Killed
from support.examples import examples
from support.file_bundle import write_bundle
from support.memory_registry import MemoryRegistry
from support.memory_store import MemoryStore

PROJECT = ProjectKey("1795187630", 7)


class World:
    """A project's store, a registry, and all who act on them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, MemoryStore()
        self.registry = MemoryRegistry()
        self.versions, self.pointer = Versions(self.store, PROJECT), ChampionPointer(self.store, PROJECT)

    @property
    def pointers(self) -> Pointers:
        return self.pointer.read()

    @property
    def champion(self) -> str | None:
        return self.pointers.champion

    @property
    def reigns(self) -> list[str]:
        return [reign.version for reign in self.pointers.history]

    def run(self, *, passes: bool = True, waits: bool = False) -> str:
        """A run publishes a version, which becomes champion if it passes and nobody is to be asked."""
        fence = self.pointer.take_fence()
        number = len(self.versions.names()) + 1
        name, key = self.versions.claim(f"run{number}"), f"run{number}"
        bundle = write_bundle(self.folder / "made" / name, name.encode())
        verdict = f"{name} is {'good' if passes else 'bad'}"
        record = VersionRecord(name, key, "head", self.champion, "", passes, verdict, waits=waits and passes)
        self.versions.publish(name, bundle, record)
        Runs(self.store, PROJECT).save(RunRecord(key, str(PROJECT), "manifest", "s", 0, state="waiting", version=name))
        if passes and not waits:
            self.pointer.promote(name, fence)
        return name

    def mirror(self) -> str:
        return mirror(self.store, PROJECT, self.registry, self.folder / "cache")

    def mirror_cut_at(self, at: int, *, after: bool) -> bool:
        """Mirror until the process dies at a step; says whether it did."""
        crash = CrashStore(self.store, at, after=after)
        self.registry.step = crash.step
        try:
            mirror(crash, PROJECT, self.registry, self.folder / "cache")
        except Killed:
            return True
        finally:
            self.registry.step = MemoryRegistry().step
        return False

    def say(self, version: str, status: Approval) -> None:
        self.registry.say(self.registry.of(version)[0].name, status)

    @property
    def crowned(self) -> str:
        return self.registry.held[self.registry.crowned].version

    def shown(self) -> dict[str, str]:
        return {one.version: one.status for one in self.registry.held.values()}

    def reason(self, version: str) -> str:
        return self.registry.reasons[self.registry.of(version)[0].name]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_each_version_has_a_package_that_says_how_it_stands_and_why(world: World) -> None:
    for passes, waits in ((True, False), (False, False), (True, False), (True, True)):
        world.run(passes=passes, waits=waits)

    assert world.mirror() == ""

    assert world.shown() == {"v3": "approved", "v4": "pending"}, "what is older than the champion is left alone"
    assert world.reason("v4") == "approve it to make it champion. v4 is good"
    world.run(passes=False)
    world.run()
    world.mirror()
    assert world.shown() == {"v3": "approved", "v4": "rejected", "v5": "rejected", "v6": "approved"}
    assert world.reason("v4") == "passed over: it met v3, and now v6 is champion"
    assert world.reason("v5") == "v5 is bad"
    promote(world.store, PROJECT, "v3")
    world.mirror()
    assert (world.shown()["v6"], world.reason("v6")) == ("rejected", "rolled back to v3. v6 is good")


def test_where_nothing_has_changed_one_listing_is_all(world: World) -> None:
    world.run()
    world.run(waits=True)
    world.mirror()
    world.registry.calls.clear()
    for _ in range(3):
        world.mirror()
    assert world.registry.calls == ["packages"] * 3


def test_a_version_published_after_its_name_was_claimed_is_not_missed(world: World) -> None:
    world.run()
    world.versions.claim("slow")
    world.mirror()
    bundle = write_bundle(world.folder / "slow", b"slow")
    world.versions.publish("v2", bundle, VersionRecord("v2", "slow", "head", "v1", "", False, "v2 is bad"))
    world.mirror()
    assert world.shown() == {"v1": "approved", "v2": "rejected"}


def test_approving_what_waits_makes_it_champion(world: World) -> None:
    world.run()
    world.run(waits=True)
    world.run(waits=True)
    world.mirror()
    world.say("v2", "approved")

    assert world.mirror() == "v2"

    assert (world.champion, world.versions.get("v2").forced) == ("v2", False)
    assert world.shown() == {"v1": "approved", "v2": "approved", "v3": "rejected"}
    run = Runs(world.store, PROJECT).get("run2")
    assert run is not None
    assert (run.state, run.verdict) == ("promoted", "v2 is good")
    assert world.mirror() == ""


def test_approving_what_the_gate_rejected_is_force_and_is_recorded(world: World) -> None:
    world.run()
    world.run(passes=False)
    world.mirror()
    world.say("v2", "approved")

    assert world.mirror() == "v2"

    record = world.versions.get("v2")
    assert (record.forced, record.verdict) == (True, "promoted by force, though the gate said: v2 is bad")


def test_rejecting_the_champion_goes_back_and_further_back(world: World) -> None:
    for _ in range(3):
        world.run()
    world.mirror()  # the first time nothing older than the champion is registered
    world.say("v3", "rejected")
    assert world.mirror() == "v2"
    assert world.shown() == {"v2": "approved", "v3": "rejected"}
    world.say("v2", "rejected")
    assert world.mirror() == "v1"
    world.say("v1", "rejected")
    assert world.mirror() == ""
    assert (world.champion, world.shown()["v1"]) == ("v1", "approved")
    assert world.reason("v1").startswith("it stays champion, for nothing before it could take its place")


def test_rejecting_what_waits_or_has_served_is_kept_in_its_record(world: World) -> None:
    world.run()
    world.mirror()
    world.run()
    world.run(waits=True)
    world.mirror()
    for version in ("v1", "v3"):
        world.say(version, "rejected")
    assert world.mirror() == ""
    assert world.shown() == {"v1": "rejected", "v2": "approved", "v3": "rejected"}
    assert world.versions.get("v3").verdict == "v3 is good; a person rejected it in memory://registry"
    assert champion_before(world.versions, world.pointers) == ""


def test_the_mark_of_the_champion_follows_promotion_and_rollback(world: World) -> None:
    for expected in ("v1", "v2"):
        world.run()
        world.mirror()
        assert world.crowned == expected
    promote(world.store, PROJECT, "v1")
    world.mirror()
    assert (world.crowned, world.shown()["v2"]) == ("v1", "rejected")
    world.registry.calls.clear()
    world.mirror()
    assert world.registry.calls == ["packages"], "nothing has changed since"


@pytest.mark.parametrize("waits", [True, False], ids=["what waits", "an earlier champion"])
def test_who_gives_the_mark_to_a_version_makes_it_champion(world: World, waits: bool) -> None:
    world.run()
    world.mirror()
    world.run(waits=waits)
    world.mirror()
    given = "v2" if waits else "v1"
    world.registry.move_crown(world.registry.of(given)[0].name)
    assert world.mirror() == given
    assert (world.champion, world.crowned, world.shown()[given]) == (given, given, "approved")
    world.run()
    assert world.mirror() == "", "and what was given then says nothing against the next champion"
    assert (world.champion, world.crowned) == ("v3", "v3")


def test_a_mark_that_was_overtaken_by_a_promotion_goes_to_the_champion(world: World) -> None:
    for _ in range(2):
        world.run()
        world.mirror()
    world.registry.move_crown(world.registry.of("v1")[0].name)
    world.run()
    assert world.mirror() == ""
    assert (world.champion, world.crowned) == ("v3", "v3")


def test_a_person_may_write_a_comment_of_their_own(world: World) -> None:
    world.run()
    world.mirror()
    world.registry.put("", "run2", "pending")  # by a pipeline that says nothing of its own
    world.run(waits=True)
    world.mirror()
    package = world.registry.of("")[0].name
    world.registry.say(package, "approved", comment=True)
    assert world.mirror() == "v2"
    assert world.registry.held[package].told == "approved"


def test_what_a_command_rejects_is_shown_at_the_next_look(world: World) -> None:
    world.run()
    world.run(waits=True)
    world.mirror()
    reject_by_command(world.store, PROJECT, "v2", "a person rejected it: blurred")
    world.mirror()
    assert (world.shown()["v2"], world.reason("v2")) == ("rejected", "v2 is good; a person rejected it: blurred")


def test_who_approves_what_a_command_rejects_meanwhile_is_to_say_so_again(world: World) -> None:
    world.run()
    world.run(waits=True)
    world.mirror()
    world.say("v2", "approved")
    reject_by_command(world.store, PROJECT, "v2", "a person rejected it: blurred")
    assert world.mirror() == ""
    assert (world.champion, world.shown()["v2"]) == ("v1", "rejected")
    assert world.reason("v2").endswith("a person rejected it: blurred")
    world.say("v2", "approved")
    assert (world.mirror(), world.versions.get("v2").forced) == ("v2", True)


def test_before_the_first_version_nothing_is_asked(world: World) -> None:
    assert world.mirror() == ""
    world.versions.claim("slow")
    world.mirror()
    assert world.registry.calls == ["packages"]


def test_a_damaged_record_takes_nothing_from_the_other_versions(world: World) -> None:
    world.run()
    for _ in range(2):
        world.run(waits=True)
    world.mirror()
    path = f"{PROJECT}/versions/v2/version.json"
    kept = world.store.read(path).content
    world.store.write(path, b"{")
    for _ in range(2):
        world.mirror()
    world.registry.calls.clear()
    world.mirror()
    assert world.registry.calls == ["packages"], "nothing has changed since"
    world.say("v3", "approved")
    assert world.mirror() == "v3"
    world.store.write(path, kept)
    world.mirror()
    assert world.reason("v2").startswith("passed over")


def test_a_command_that_rejects_what_has_served_is_shown_too(world: World) -> None:
    world.run()
    world.mirror()
    world.run()
    world.mirror()
    reject_by_command(world.store, PROJECT, "v1", "a person rejected it")
    world.mirror()
    assert world.shown() == {"v1": "rejected", "v2": "approved"}


def test_what_was_decided_last_holds(world: World) -> None:
    world.run()
    world.run(waits=True)
    world.mirror()
    world.say("v2", "approved")
    promote(world.store, PROJECT, "v2")
    promote(world.store, PROJECT, "v1")  # who rolls back knows that it was approved
    assert world.mirror() == ""
    assert (world.champion, world.shown()["v2"]) == ("v1", "rejected")


def test_of_several_approvals_the_last_one_counts(world: World) -> None:
    world.run()
    for _ in range(3):
        world.run(waits=True)
    world.mirror()
    for version in ("v4", "v2", "v3"):
        world.say(version, "approved")
    assert world.mirror() == "v3"
    assert world.reigns == ["v1", "v3"]
    assert world.shown() == {"v1": "approved", "v2": "rejected", "v3": "approved", "v4": "rejected"}


def test_a_package_that_a_pipeline_has_registered_for_the_run_is_taken_over(world: World) -> None:
    world.run()
    world.mirror()
    early = world.registry.put("", "run2", "pending", told="pending")
    world.mirror()
    assert world.registry.held[early.name].status == "pending", "its run is not over"
    world.run(waits=True)
    world.mirror()
    assert len(world.registry.held) == 2
    assert world.registry.reasons[early.name] == "approve it to make it champion. v2 is good"
    world.registry.say(early.name, "approved")
    assert world.mirror() == "v2"


def test_what_a_pipeline_registered_as_approved_is_nobodys_word(world: World) -> None:
    world.run()
    world.mirror()
    approved = world.registry.put("", "run2", "approved")
    world.run(passes=False)
    assert world.mirror() == ""
    assert (world.champion, world.registry.held[approved.name].status) == ("v1", "rejected")


def test_packages_of_others_are_left_alone(world: World) -> None:
    world.run()
    theirs = [world.registry.put("", "", "approved"), world.registry.put("v1", "another store's run", "rejected")]
    world.mirror()
    assert [world.registry.held[one.name] for one in theirs] == theirs
    assert len(world.registry.held) == 3


def test_a_second_package_of_a_version_is_rejected(world: World) -> None:
    world.run()
    world.mirror()
    double = world.registry.put("v1", "run1", "pending", told="pending")
    world.mirror()
    assert world.registry.held[double.name].status == "rejected"
    assert world.registry.reasons[double.name] == "v1 is p1 already"


def test_a_deleted_package_comes_back_for_the_champion_and_for_what_waits(world: World) -> None:
    world.run()
    world.mirror()
    world.run()
    world.run(waits=True)
    world.mirror()
    world.registry.held.clear()
    world.mirror()
    assert world.shown() == {"v2": "approved", "v3": "pending"}
    world.mirror()
    assert len(world.registry.held) == 2


def test_a_registry_that_is_away_costs_the_store_nothing_and_is_caught_up_with(world: World) -> None:
    world.run()
    world.mirror()
    world.run(waits=True)

    def away(what: str) -> None:
        raise CloudAway(f"{what}: AWS answered ThrottlingException")

    world.registry.step = away  # type: ignore[assignment]
    with pytest.raises(CloudAway):
        world.mirror()
    world.registry.step = MemoryRegistry().step
    world.mirror()
    assert (world.champion, world.shown()) == ("v1", {"v1": "approved", "v2": "pending"})


def scene(world: World) -> None:
    """Much is to be done: two packages are missing, one is a pipeline's, two persons have spoken."""
    world.run()
    world.mirror()
    world.run()
    world.run(passes=False)
    world.mirror()
    world.registry.put("", "run4", "pending", told="pending")
    world.run(waits=True)
    world.run(passes=False)
    world.run(waits=True)
    world.say("v1", "rejected")
    world.say("v3", "approved")


def outcome(world: World) -> tuple[object, ...]:
    records = [(one.version, one.promoted, one.forced) for one in world.versions.all()]
    packages = sorted((one.version or one.run, one.status, one.told) for one in world.registry.held.values())
    return world.reigns, records, packages


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_cut_off_at_any_step_the_next_look_comes_to_the_same(tmp_path: Path, after: bool) -> None:
    whole = World(tmp_path / "whole")
    scene(whole)
    whole.mirror()
    assert whole.reigns == ["v1", "v2", "v3"]
    for at in itertools.count():
        world = World(tmp_path / f"cut{at}")
        scene(world)
        cut = world.mirror_cut_at(at, after=after)
        world.mirror()
        assert outcome(world) == outcome(whole), f"cut at step {at}"
        world.registry.calls.clear()
        world.mirror()
        assert world.registry.calls == ["packages"], f"cut at step {at}"
        if not cut:
            break
    assert at > 12


@pytest.mark.parametrize("hours", [0, 1])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_rollback_after_a_cut_is_never_undone_by_what_was_carried_out(
    tmp_path: Path, after: bool, hours: int
) -> None:
    for at in itertools.count():
        world = World(tmp_path / f"cut{at}")
        world.registry.ahead = timedelta(hours=hours)
        world.run()
        world.run(waits=True)
        world.mirror()
        world.say("v2", "approved")
        cut = world.mirror_cut_at(at, after=after)
        promote(world.store, PROJECT, "v1")
        world.mirror()
        done = world.reigns == ["v1", "v2", "v1"]
        assert done or world.reigns == ["v1", "v2"], "v1 was champion still, so that its rollback said nothing new"
        assert world.champion == ("v1" if done else "v2")
        if not cut:
            assert done
            break


Act = Callable[["Model"], None]


class Model:
    """What should happen, in few words: who is champion, and what is asked for and not carried out yet."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moment = 0
        self.moved = 0
        self.asked: dict[str, tuple[int, Approval]] = {}
        self.reigns: list[str] = []

    def tick(self) -> int:
        self.moment += 1
        return self.moment

    def reign(self, version: str) -> None:
        if not self.reigns or self.reigns[-1] != version:
            self.reigns.append(version)
            self.moved = self.tick()

    def known(self, index: int) -> str:
        found = sorted({one.version for one in self.world.registry.held.values() if one.version}, key=number_of)
        return found[index % len(found)] if found else ""

    def say(self, index: int, status: Approval) -> None:
        version = self.known(index)
        if not version:
            return
        told = self.world.registry.of(version)[0].told
        self.world.say(version, status)
        self.asked.pop(version, None)
        if status not in (told, "pending"):
            self.asked[version] = (self.tick(), status)

    def wanted(self) -> str:
        """Name the version that a look now makes champion; empty for none."""
        fresh = {version: one for version, one in self.asked.items() if one[0] > self.moved}
        approved = [
            (at, version)
            for version, (at, status) in fresh.items()
            if status == "approved" and version != self.champion and not self.is_refused(version)
        ]
        if approved:
            return max(approved)[1]
        if self.champion in fresh and fresh[self.champion][1] == "rejected":
            return champion_before(self.world.versions, self.world.pointers)
        return ""

    def is_refused(self, version: str) -> bool:
        """Whether a command has rejected what was shown as waiting."""
        return self.world.registry.of(version)[0].told == "pending" and not self.world.versions.get(version).promoted

    @property
    def champion(self) -> str:
        return self.reigns[-1] if self.reigns else ""

    def look(self, at: int | None, *, after: bool) -> None:
        wanted = self.wanted()
        cut = at is not None and self.world.mirror_cut_at(at, after=after)
        if at is None:
            self.world.mirror()
        if wanted and (not cut or self.world.reigns[len(self.reigns) :]):
            self.reign(wanted)
        assert self.world.reigns == self.reigns
        if not cut:
            self.asked.clear()


def run(passes: bool, waits: bool) -> Act:
    def act(model: Model) -> None:
        name = model.world.run(passes=passes, waits=waits)
        if passes and not waits:
            model.reign(name)

    return act


def command(index: int, does: str) -> Act:
    """A person's command on some version."""

    def act(model: Model) -> None:
        names = model.world.versions.names()
        if not names:
            return
        version = names[index % len(names)]
        if does == "promote":
            promote(model.world.store, PROJECT, version, force=True)
            model.reign(version)
        elif version != model.champion:
            reject_by_command(model.world.store, PROJECT, version, "a person rejected it")

    return act


ACTS = st.one_of(
    st.builds(run, st.booleans(), st.booleans()),
    st.builds(
        lambda index, status: lambda model: model.say(index, status),
        st.integers(0, 5),
        st.sampled_from(["approved", "rejected", "pending"]),
    ),
    st.builds(command, st.integers(0, 5), st.sampled_from(["promote", "reject"])),
    st.builds(
        lambda at, after: lambda model: model.look(at, after=after),
        st.one_of(st.none(), st.integers(0, 12)),
        st.booleans(),
    ),
)


@settings(max_examples=examples(60))
@given(acts=st.lists(ACTS, max_size=14))
def test_whatever_happens_in_whatever_order_both_sides_agree_in_the_end(acts: list[Act]) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        model = Model(world)
        for act in acts:
            act(model)
        model.look(None, after=False)

        for package in world.registry.held.values():
            record = world.versions.get(package.version)
            assert package.status == standing(record, world.pointers)[0] == package.told, package
        shown = [one.version for one in world.registry.held.values()]
        assert len(shown) == len(set(shown)), "no version has two packages"
        assert world.champion is None or world.champion in shown
        world.registry.calls.clear()
        assert world.mirror() == ""
        assert world.registry.calls == (["packages"] if world.versions.names() else [])


def test_a_pruned_version_is_shown_as_rejected_and_nobody_approves_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(3):
        world.run()
        world.mirror()
    assert prune(world.store, PROJECT, 1).versions == ("v1",)
    added = world.registry.calls.count("add")
    world.mirror()
    [package] = world.registry.of("v1")
    assert package.status == "rejected"
    assert "its files were pruned on 20" in world.registry.reasons[package.name]
    world.say("v1", "approved")
    for _ in range(2):
        assert world.mirror() == ""
        assert (world.champion, world.registry.of("v1")[0].status) == ("v3", "rejected")
    del world.registry.held[package.name]
    world.mirror()
    assert not world.registry.of("v1")
    assert world.registry.calls.count("add") == added
