"""Which folder of the store is which project's: over a folder; ``tests/contract/test_s3_store.py`` asks a bucket."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.models.file_store import FileStore
from labelloop.models.projects import own_key, spellings
from labelloop.models.store import is_confined
from labelloop.studio.webhook_events import created_second, identity
from labelloop.types import Identity, ProjectKey
from support.captured import captured, captured_webhooks
from support.project_rules import CREATED, ProjectRules


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


class TestProjectsInAFolder(ProjectRules):
    pass


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("http://localhost:8080", ("localhost-8080", "127.0.0.1-8080", "1-8080")),
        ("https://127.0.0.1:8080/", ("127.0.0.1-8080", "localhost-8080", "1-8080")),
        ("http://ls:8080/sub/", ("ls-8080-sub",)),
        ("https://Studio.Corp", ("studio.corp", "studio.corp-80", "studio.corp-443")),
        ("http://me:hush@studio.corp:80", ("studio.corp-80", "studio.corp", "studio.corp-443")),
    ],
)
def test_an_address_has_its_own_spelling_first(url: str, names: tuple[str, ...]) -> None:
    assert spellings(url) == names
    assert spellings(url)[0] == ProjectKey.of(url, 7).instance


@pytest.mark.parametrize("url", ["http://[::1", "http://x:y", "http://x:99999"])
def test_what_is_no_address_has_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        spellings(url)


class TestIdentity:
    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("requests/setup.json", Identity(1, 1795187589)),
            ("requests/predict.json", Identity(1, CREATED)),
            ("requests/predict_interactive.json", Identity(6, 1795187807)),
        ],
    )
    def test_setup_and_predict_tell_it(self, path: str, told: Identity) -> None:
        assert identity(captured(path)["body"]["project"]) == told

    def test_webhooks_tell_the_same_second_as_predict(self) -> None:
        told = {
            (path.partition("/")[0], identity(body["project"]))
            for path, body in captured_webhooks().items()
            if "project" in body
        }
        assert told == {
            ("requests", Identity(1, CREATED)),
            ("requests", identity(captured("requests/predict_interactive.json")["body"]["project"])),
            ("webhooks", identity(captured("webhooks/ml-backend.setup.1.json")["body"]["project"])),
        }

    @pytest.mark.parametrize(
        ("created_at", "second"),
        [
            ("2026-11-20T15:13:50.666978Z", CREATED),
            ("2026-11-20T15:13:50.999999Z", CREATED),
            ("2026-11-20T15:13:50Z", CREATED),
            ("2026-11-20T16:13:50.666978+01:00", CREATED),
            ("2026-11-20T15:13:50.666978", CREATED),
            ("", None),
            ("yesterday", None),
            (None, None),
            (7, None),
            ("1960-01-01T00:00:00Z", None),
            ("0001-01-01T00:00:00", None),
        ],
    )
    def test_a_moment_of_the_api_is_cut_to_the_second(self, created_at: object, second: int | None) -> None:
        assert created_second(created_at) == second
        assert identity({"id": 7, "created_at": created_at}) == Identity(7, second)

    @pytest.mark.parametrize(
        "value", [7, "7", "7.", "7.0", "7.x", "7.1e9", "7.1.2", "7.-1", "7." + "9" * 12, "7.\u0667"]
    )
    def test_a_creation_time_that_is_none_counts_as_not_told(self, value: object) -> None:
        assert identity(value) == Identity(7)

    @given(st.text(max_size=30) | st.from_regex(r"[0-9]{1,20}\.[0-9]{0,30}", fullmatch=True))
    def test_a_wild_project_leads_to_a_confined_path_or_is_refused(self, wild: str) -> None:
        try:
            read = identity(wild)
        except ValueError:
            return
        keys = [own_key(read)] if read.created else [ProjectKey("localhost-8080", read.id)]
        for key in keys:
            assert is_confined(f"{key}/champion.json")
            assert ProjectKey.parse(str(key)) == key
        assert identity(str(read)) == read
