"""How projects find their folders; a test class of each store inherits these tests and gives the ``store``."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from labelloop.errors import Damaged
from labelloop.models.champion import Pointers, Reign
from labelloop.models.projects import LeftOver, ProjectPlace, Projects, spellings
from labelloop.models.records import to_bytes
from labelloop.models.store import Store
from labelloop.types import Identity, ProjectKey

CREATED = 1795187630
"""A project of the captured requests: 2026-11-20T15:13:50.666978Z."""

SEVEN = Identity(7, CREATED)
OWN = ProjectKey(str(CREATED), 7)
OLD = ProjectKey("localhost-8080", 7)
HOME = "http://localhost:8080"
MOVED = "https://studio.corp/annotate"


def projects(store: Store, url: str = HOME) -> Projects:
    """What a process sees whose Label Studio has this address; nothing of it is kept in memory."""
    return Projects(store, spellings(url))


def reign(store: Store, key: ProjectKey, version: str = "v2", at: float = CREATED + 600) -> None:
    """Let a folder have had a champion since a moment."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    history = (Reign("v1", moment, 1), Reign(version, "2027-01-01T00:00:00.000000+00:00", 2))
    store.write(f"{key}/champion.json", to_bytes(Pointers(version, version, 2, history)))


DAMAGED = [
    b"",
    b"{",
    b"[]",
    b'{"projects": 3}',
    b'{"projects": [{"created": "x", "folder": "a/7"}]}',
    b'{"projects": [{"created": 1, "folder": "a/8"}]}',
    b'{"projects": [{"created": 1, "folder": "../7"}]}',
    b'{"projects": [{"created": 1, "folder": "a/7", "addresses": [1]}]}',
]


class ProjectRules:
    def test_a_new_project_lies_under_its_creation_time(self, store: Store) -> None:
        assert projects(store).find(SEVEN) == ProjectPlace(OWN, settled=False)
        assert list(store.walk("")) == [], "a request alone leaves nothing in the store"
        assert projects(store).claim(SEVEN) == OWN
        assert projects(store).find(SEVEN) == ProjectPlace(OWN, settled=True)
        assert list(store.walk("")) == ["_projects/7.json"]

    def test_an_unknown_number_lies_where_it_always_did(self, store: Store) -> None:
        assert projects(store).find(Identity(7)) == ProjectPlace(OLD, settled=False)
        assert projects(store).here() == {}

    @pytest.mark.parametrize("url", [HOME, "http://127.0.0.1:8080/", "http://[::1]:8080", "https://ls", MOVED])
    def test_one_identity_is_one_project_at_every_address(self, store: Store, url: str) -> None:
        reign(store, OLD)
        projects(store).claim(SEVEN)
        assert projects(store, url).find(SEVEN) == ProjectPlace(OLD, settled=True)
        assert projects(store, url).claim(SEVEN) == OLD
        assert projects(store, url).find(Identity(7)) == ProjectPlace(OLD, settled=True)
        assert projects(store, url).here() == {7: OLD}

    def test_the_old_folder_is_adopted_and_that_is_said_once(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        reign(store, OLD)
        before = {path: store.read(path).content for path in store.walk("")}
        assert projects(store).find(SEVEN) == ProjectPlace(OLD, settled=False)
        assert projects(store).find(Identity(7)) == ProjectPlace(OLD, settled=False)
        assert projects(store).here() == {7: OLD}
        with caplog.at_level(logging.INFO):
            assert [projects(store).claim(SEVEN) for _ in range(3)] == [OLD] * 3

        told = (
            "project 7, created 2026-11-20 15:13:50 UTC, goes on in localhost-8080/7, which was kept under the address "
            "of Label Studio: its champion is v2"
        )
        assert [record.getMessage() for record in caplog.records if record.name.startswith("labelloop")] == [told]
        assert {path: store.read(path).content for path in store.walk("") if path in before} == before

    def test_the_other_spelling_of_this_machine_is_adopted_too(self, store: Store) -> None:
        reign(store, OLD)
        assert projects(store, "http://127.0.0.1:8080").claim(SEVEN) == OLD

    def test_the_folder_as_the_address_is_spelled_goes_before_another_spelling(self, store: Store) -> None:
        other = ProjectKey("127.0.0.1-8080", 7)
        for key in (OLD, other):
            reign(store, key)
        assert projects(store, "http://127.0.0.1:8080").here() == {7: other}
        assert projects(store, "http://127.0.0.1:8080").claim(SEVEN) == other
        assert projects(store).find(SEVEN).key == other

    def test_a_folder_of_another_address_is_left_alone(self, store: Store) -> None:
        reign(store, ProjectKey("elsewhere-8080", 7))
        reign(store, ProjectKey("localhost-8080", 8))
        assert projects(store).claim(SEVEN) == OWN

    def test_a_folder_older_than_the_project_is_anothers(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        reign(store, OLD, at=CREATED - 86400)
        assert projects(store).find(SEVEN) == ProjectPlace(OWN, settled=False)
        assert projects(store).claim(SEVEN) == OWN
        assert "localhost-8080/7 is older than the project" in caplog.text
        assert projects(store).left_over() == [LeftOver(OLD, None, ("localhost-8080",))]

    def test_another_creation_time_is_another_project(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        reign(store, OLD)
        projects(store).claim(SEVEN)
        later = Identity(7, CREATED + 9)
        assert projects(store).find(later) == ProjectPlace(ProjectKey(str(CREATED + 9), 7), settled=False)
        for _ in range(3):
            assert projects(store).claim(later) == ProjectKey(str(CREATED + 9), 7)

        assert caplog.text.count("is another one than the project 7 that was at this address before") == 1
        assert projects(store).find(SEVEN) == ProjectPlace(OLD, settled=True)
        assert projects(store).find(Identity(7)).key == ProjectKey(str(CREATED + 9), 7)
        assert projects(store).here() == {7: ProjectKey(str(CREATED + 9), 7)}
        assert projects(store).left_over() == [LeftOver(OLD, CREATED, ("localhost-8080",))]

    def test_a_project_that_comes_back_is_the_one_at_its_address_again(self, store: Store) -> None:
        later = Identity(7, CREATED + 9)
        for identity in (SEVEN, later, SEVEN):
            projects(store).claim(identity)
        assert projects(store).find(Identity(7)).key == OWN

    def test_two_label_studios_stay_apart(self, store: Store) -> None:
        other = Identity(7, CREATED + 9)
        projects(store).claim(SEVEN)
        assert projects(store, MOVED).claim(other) == ProjectKey(str(CREATED + 9), 7)
        assert projects(store).find(Identity(7)).key == OWN
        assert projects(store, MOVED).find(Identity(7)).key == ProjectKey(str(CREATED + 9), 7)
        assert projects(store).left_over() == []

    def test_only_one_of_many_gets_a_folder(self, store: Store) -> None:
        reign(store, OLD)
        claims = [Identity(7, CREATED + number) for number in range(6)] * 2
        with ThreadPoolExecutor(len(claims)) as pool:
            keys = list(pool.map(lambda one: projects(store).claim(one), claims))

        assert len(set(keys)) == 6
        assert keys.count(OLD) == 2
        assert [projects(store).claim(one) for one in claims] == keys

    @pytest.mark.parametrize("content", DAMAGED)
    def test_a_damaged_index_is_not_taken_for_an_empty_one(self, store: Store, content: bytes) -> None:
        store.write("_projects/7.json", content)
        for call in (projects(store).find, projects(store).claim):
            with pytest.raises(Damaged, match=r"_projects/7\.json is damaged"):
                call(SEVEN)
        assert store.read("_projects/7.json").content == content

    def test_what_a_newer_release_adds_is_passed_over(self, store: Store) -> None:
        store.write(
            "_projects/7.json",
            b'{"projects": [{"created": 1, "folder": "a/7", "addresses": {"a": "2026"}, "site": "x"}], "more": 1}',
        )
        assert projects(store).find(Identity(7, 1)) == ProjectPlace(ProjectKey("a", 7), settled=True)

    def test_what_is_not_a_project_is_not_listed(self, store: Store) -> None:
        for path in ("labelloop-check/object", "doctor/probe", "local/1/champion.json", "_projects/x.json", "a/b/c/7"):
            store.write(path, b"")
        assert projects(store).left_over() == []
        assert projects(store).here() == {}

    def test_a_damaged_champion_does_not_keep_a_project_from_its_folder(self, store: Store) -> None:
        store.write(f"{OLD}/champion.json", b"no JSON")
        assert projects(store).claim(SEVEN) == OLD
